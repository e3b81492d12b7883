"""One Latin and one CJK text: LibreOffice's help in French, and in Chinese and Japanese.

    python -m benchmarks.help_texts FOLDER

Debian's packages of it, by apt-get: the text of all pages, each line once and in random order, so
that no part repeats another. Of the Chinese and Japanese pages those lines count of which at least
half are such characters: much of them is not translated.
"""

import argparse
import random
import re
import subprocess
import tempfile
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path

LATIN, CJK = "latin", "cjk"
_PACKAGES = {LATIN: ["fr"], CJK: ["zh-cn", "zh-tw", "ja"]}
_CJK_CHARACTER = re.compile("[\N{IDEOGRAPHIC SPACE}-\u9fff\uff00-\uffef]")


class _Text(HTMLParser):
    """The text of a page, without scripts."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[str] = []

    def handle_data(self, data: str) -> None:
        """See `HTMLParser.handle_data`."""
        if self.lasttag not in ("script", "style"):
            self.parts.append(data)


def _lines(folder: Path) -> Iterator[str]:
    for page in sorted(folder.rglob("*.html")):
        parser = _Text()
        parser.feed(page.read_text(encoding="utf-8"))
        for line in "".join(parser.parts).split("\n"):
            yield line.strip()


def write_text(script: str, folder: Path) -> None:
    """Write a script's text to FOLDER/<script>.txt."""
    with tempfile.TemporaryDirectory(prefix="codedata-benchmark-") as work:
        packages = [f"libreoffice-help-{language}" for language in _PACKAGES[script]]
        subprocess.run(["apt-get", "download", "-qq", *packages], cwd=work, check=True)
        for package in Path(work).glob("*.deb"):
            subprocess.run(["dpkg-deb", "-x", str(package), work], check=True)
        lines = dict.fromkeys(_lines(Path(work)))
    kept = [
        line
        for line in lines
        if script == LATIN or 2 * len(_CJK_CHARACTER.findall(line)) > len(line)
    ]
    random.Random(0).shuffle(kept)
    text = "\n".join(kept)
    (folder / f"{script}.txt").write_text(text, encoding="utf-8")
    print(f"{folder / script}.txt: {len(text):,} characters, {len(text.encode()):,} bytes")


def main() -> None:
    """Write both texts."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    for script in _PACKAGES:
        write_text(script, folder)


if __name__ == "__main__":
    main()
