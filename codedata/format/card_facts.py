"""A card's bytes -> the facts in its head, typed; and the same facts without this machine's paths.

Read is what `dump_card` writes and nothing else of YAML: under `codedata:` lines of an indented
name and a JSON value. So there are no aliases, tags or nesting that a small card could use up
memory with, and every value is of its type or the card is refused.
"""

import json
import re
import shlex
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePosixPath
from typing import Any, cast

from codedata.format.card import Origin, card_probe
from codedata.recipe.settings import Settings

_HEAD = re.compile(
    r"---\n(?:.*\n)*?pretty_name: (?P<name>.*)\n(?:.*\n)*?codedata:\n(?P<facts>(?:  .*\n)+)---\n"
)
_LINE = re.compile(r"(?P<indent>(?:  ){1,4})(?P<key>[A-Za-z0-9_]+):(?: (?P<value>.*))?")
"""Four levels: `codedata`, its corpus, the corpus's files, and what is known of each."""

_PROBE = ("probe_sha256", "probe_ids")
"""What stands beside the tokenizer's texts, and is read by `card_probe`."""

_PATH_OPTIONS = ("--data_file", "--tokenization_folder")
_CORPUS_VARIABLE = "CODEDATA_CORPUS"
_TOKENIZER_OPTION = "--tokenizer_base"
_TOKENIZER_VARIABLE = re.compile(r"CODEDATA_TOKENIZER|CODEDATA_\w+_TOKENIZER_BASE")
_ASSIGNMENT = re.compile(r"(CODEDATA_\w+)=(.*)", re.DOTALL)


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What a card says.

    Attributes:
        name: of the dataset.
        digest: of its meta.
        origin: what it was made of.
        settings: the switches.
    """

    name: str
    digest: str
    origin: Origin
    settings: Settings


def read_facts(card: bytes) -> CardFacts:
    """The facts of a card.

    Raises:
        ValueError: it has no head of facts, or one that lacks or misstates something.
    """
    head = _HEAD.match(card.decode())
    if head is None:
        raise ValueError("has no head that says so")
    try:
        facts = _parse(head["facts"].splitlines())
        corpus = {key: _of_files(value) for key, value in _mapping(facts["corpus"]).items()}
        return CardFacts(
            name=_text(json.loads(head["name"])),
            digest=_text(facts["digest"]),
            origin=Origin(
                corpus=corpus,
                tokenizer=_texts(
                    {
                        name: value
                        for name, value in _mapping(facts["tokenizer"]).items()
                        if name not in _PROBE
                    }
                ),
                engine=_text(facts["engine"]),
                versions=_texts(facts["versions"]),
                command=_text(facts["command"]),
                probe=card_probe(card),
            ),
            settings=Settings(**_mapping(facts["switches"])),
        )
    except (KeyError, TypeError, ValueError, RecursionError) as error:
        raise ValueError(f"lacks or misstates {error}") from error


def _parse(lines: Iterable[str]) -> dict[str, Any]:
    facts: dict[str, Any] = {}
    open_: list[dict[str, Any]] = [facts]
    for line in lines:
        found = _LINE.fullmatch(line)
        level = len(found["indent"]) // 2 if found else 0
        if found is None or level > len(open_) or found["key"] in open_[level - 1]:
            raise ValueError(f"the line {line[:80]!r}")
        del open_[level:]
        if found["value"] is None:
            open_.append({})
            open_[-2][found["key"]] = open_[-1]
        else:
            open_[-1][found["key"]] = json.loads(found["value"])
    return facts


def _mapping(value: object) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise TypeError(f"a mapping, which is {str(value)[:80]!r}")
    return cast("dict[str, Any]", value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"a text, which is {str(value)[:80]!r}")
    return value


def _texts(value: object) -> dict[str, str]:
    return {key: _text(each) for key, each in _mapping(value).items()}


def _of_files(value: object) -> str | dict[str, dict[str, str]]:
    """What is known of a corpus: texts, and of several files each file's."""
    if isinstance(value, str):
        return value
    files = _mapping(value)
    _ = [int(file) for file in files]
    return {file: _texts(known) for file, known in files.items()}


def without_paths(origin: Origin) -> Origin:
    """The same origin, with the names of files and folders in the place of their paths.

    Paths in a repository of the hub, and its tokenizers, are the same everywhere, and stay.
    """
    is_hub = "revision" in origin.tokenizer
    tokenizer = dict(origin.tokenizer)
    if not is_hub:
        tokenizer["source"] = name_of(tokenizer["source"])
    return replace(
        origin,
        corpus=_named_corpus(origin.corpus),
        tokenizer=tokenizer,
        command=_named_command(origin.command, tokenizer_is_hub=is_hub),
    )


def name_of(path: str) -> str:
    """The last part of a path."""
    return PurePosixPath(path).name or path


def _named_corpus(corpus: Mapping[str, Any]) -> dict[str, Any]:
    if "files" in corpus:
        repo = {name: corpus[name] for name in ("repo",) if name in corpus}
        files = {key: _named_file({**repo, **known}) for key, known in corpus["files"].items()}
        shared = {key: value for key, value in corpus.items() if key != "files"}
        return shared | {
            "files": {
                key: {name: value for name, value in known.items() if name not in repo}
                for key, known in files.items()
            }
        }
    return _named_file(corpus)


def _named_file(known: Mapping[str, Any]) -> dict[str, Any]:
    if "repo" in known or "path" not in known:
        return dict(known)
    others = {name: value for name, value in known.items() if name != "path"}
    return {"file": name_of(known["path"]), **others}


def _named_command(command: str, *, tokenizer_is_hub: bool) -> str:
    words: list[str] = []
    before = ""
    for word in shlex.split(command):
        is_path = before in _PATH_OPTIONS or (before == _TOKENIZER_OPTION and not tokenizer_is_hub)
        found = _ASSIGNMENT.fullmatch(word)
        if found and (
            found[1] == _CORPUS_VARIABLE
            or (_TOKENIZER_VARIABLE.fullmatch(found[1]) and not tokenizer_is_hub)
        ):
            words.append(f"{found[1]}={shlex.quote(name_of(found[2]))}")
        elif found:
            words.append(f"{found[1]}={shlex.quote(found[2])}")
        else:
            words.append(shlex.quote(name_of(word) if is_path else word))
        before = word
    return " ".join(words)
