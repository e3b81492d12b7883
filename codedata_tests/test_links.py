"""README.md and docs/ as GitHub shows them: relative links lead to committed files and headings."""

import os
import re
import subprocess
from collections import Counter
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from markdown_it.token import Token

ROOT = Path(__file__).parent.parent
LIST_FILES = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]


@pytest.fixture(scope="module")
def files() -> set[str]:
    """What git knows, or would add: what a clone has."""
    if not (ROOT / ".git").exists():
        pytest.skip("this is no clone: no git says which files are committed")
    listing = subprocess.run(LIST_FILES, cwd=ROOT, capture_output=True, text=True, check=True)
    return {name for name in listing.stdout.split("\0") if (ROOT / name).is_file()}


def parsed(text: str) -> list[Token]:
    """A page's tokens, those within paragraphs, headings and cells among them."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    return [each for token in tokens for each in (token, *(token.children or ()))]


def targets(text: str) -> Iterator[str]:
    """The relative targets of a page's links and images."""
    for token in parsed(text):
        target = str(token.attrGet("href") or token.attrGet("src") or "")
        if target and not re.match(r"[a-z]+:", target):
            yield target


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives a page's headings."""
    found: list[str] = []
    seen = Counter[str]()
    for token, inline in pairwise(parsed(text)):
        if token.type == "heading_open":
            title = "".join(each.content for each in inline.children or ())
            slug = re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
            found.append(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return set(found)


def broken(page: str, text: str, files: set[str]) -> list[str]:
    """The targets of a page that lead nowhere."""
    bad: list[str] = []
    for target in targets(text):
        path, _, anchor = target.partition("#")
        file = os.path.normpath(Path(page).parent / path) if path else page
        folder = any(name.startswith(f"{file}/") for name in files)
        if file not in files and not folder:
            bad.append(target)
        elif anchor:
            own = text if file == page else (ROOT / file).read_text(encoding="utf-8")
            bad += [target] if anchor not in anchors(own) else []
    return bad


def test_every_relative_link_and_anchor_of_a_committed_page_leads_somewhere(
    files: set[str],
) -> None:
    pages = sorted(name for name in files if name.endswith(".md"))
    texts = {page: (ROOT / page).read_text(encoding="utf-8") for page in pages}
    assert sum(len(list(targets(text))) for text in texts.values()) > 100
    assert not {page: bad for page, text in texts.items() if (bad := broken(page, text, files))}


def test_a_broken_link_is_seen_for_what_it_is(files: set[str]) -> None:
    text = """
# A `heading`, twice?

## A heading, twice?

[a](#a-heading-twice) [b](#a-heading-twice-1) [file](../README.md#start) [dir](howto) `[c](no.md)`
[web](https://example.org/no.md) ![picture](images/lineage.png)

| [gone](gone.md) | [other](../README.md#no-such) | [own](#a-heading) | [ignored](../.venv) |
|---|---|---|---|
"""
    bad = ["gone.md", "../README.md#no-such", "#a-heading", "../.venv"]
    assert broken("docs/page.md", text, files | {"docs/page.md"}) == bad
