"""`codedata corpus`: what files, folders, repositories or datasets hold, and the YAML that fits."""

import argparse
import json
import re
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from codedata.cli.commands import Commands
from codedata.printable import printable, printable_lines, say
from codedata.progress import TERMINAL, megabytes

if TYPE_CHECKING:
    from codedata.sources.look import Look

_LABEL = 12

_SHOWN_LINES = 8
"""Of a document."""

_SHOWN_CHARS = 100
"""Of a line."""

_SMALL_BYTES = 1_000_000
"""Fewer are said to the byte."""

_FIELDS = ("text_column", "id_column", "config", "split", "path", "revision")
"""Switches that are fields of a source."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "corpus",
        help="what a corpus would hold, and the YAML that fits it",
        description="Look at files, a folder, a git repository, or a dataset of the hub, before "
        "anything is configured: columns and types, documents, characters, the first ones, and the "
        "YAML that fits. Nothing is kept; of each file no more is read than that takes.",
        epilog="--json: an object with attributes (of the source), num_files, num_bytes (null "
        "where it is not known), first_file, columns (type by name), text_column, num_documents, "
        "num_chars, is_whole (whether those are all of the first file), skipped (bad rows by "
        "reason), documents (pairs of text and what is kept of it).",
    )
    parser.add_argument(
        "source",
        metavar="SOURCE",
        help="a file, a pattern in quotes, a folder, a git repository, a URL, or owner/name of the "
        "hub",
    )
    parser.add_argument("--text-column", metavar="NAME", help="the column with the documents")
    parser.add_argument("--id-column", metavar="NAME", help="one that identifies each")
    parser.add_argument("--config", metavar="NAME", help="configuration of a dataset of the hub")
    parser.add_argument("--split", metavar="NAME", help="its split")
    parser.add_argument("--path", metavar="PATTERN", help="its files, in place of both")
    parser.add_argument(
        "--anon", action="store_true", help="read a public bucket without signing in"
    )
    parser.add_argument("--revision", metavar="NAME", help="branch, tag or commit")
    parser.add_argument(
        "--documents", type=int, default=3, metavar="N", help="how many to show (default: 3)"
    )
    parser.add_argument("--json", action="store_true", help="one JSON object")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Look at a corpus.

    Raises:
        CodedataError: it cannot be had, or is none.
    """
    from codedata.sources.look import look_at, source_of  # with Arrow

    given = {name: getattr(options, name) for name in _FIELDS}
    fields: dict[str, Any] = {name: value for name, value in given.items() if value is not None}
    if options.anon:
        fields["storage_options"] = {"anon": True}
    attributes = source_of(options.source, fields)
    with TERMINAL.waiting(f"looking at {options.source}"):
        found = look_at(attributes, max(0, options.documents), TERMINAL)
    if options.json:
        print(json.dumps(asdict(found), indent=2, default=str))
        return 0
    _say(options.source, found)
    return 0


def _say(named: str, found: "Look") -> None:
    size = "" if found.num_bytes is None else f", {_size(found.num_bytes)}"
    files = "1 file" if found.num_files == 1 else f"{found.num_files:,} files"
    _row("looked at", f"{named}: kind {found.attributes['kind']}, {files}{size}")
    if found.first_file != named:
        _row("first file", found.first_file)
    kept = {name for _, known in found.documents for name in known}
    for number, (name, type_) in enumerate(found.columns.items()):
        role = "the documents" if name == found.text_column else "kept" if name in kept else ""
        _row("" if number else "columns", f"{name}: {type_}{role and f'  ({role})'}")
    some = "" if found.is_whole else ", in the part that was read"
    _row("documents", f"{found.num_documents:,}{some}, {found.num_chars:,} characters")
    remedy = "" if found.attributes["kind"] in ("folders", "git") else "; a run refuses it"
    if remedy and not found.first_file.endswith(".parquet"):
        remedy += ", unless the YAML has on_error: skip"
    for why, count in found.skipped.items():
        _row("left out", f"{count:,}: {why}{remedy}")
    for text, known in found.documents:
        about = ", ".join(f"{name}: {value}" for name, value in known.items())
        say(f"\n--- {printable(about[:_SHOWN_CHARS])}".rstrip())
        lines = text.splitlines()
        for line in lines[:_SHOWN_LINES]:
            say(f"    {printable_lines(line[:_SHOWN_CHARS])}")
        if len(lines) > _SHOWN_LINES:
            say(f"    ... {_lines(len(lines) - _SHOWN_LINES)} more")
    say(f"\n{_yaml(found.attributes)}")


def _lines(number: int) -> str:
    return "1 line" if number == 1 else f"{number:,} lines"


def _size(num_bytes: int) -> str:
    return f"{num_bytes:,} bytes" if num_bytes < _SMALL_BYTES else megabytes(num_bytes)


def _row(label: str, text: str) -> None:
    say(f"{label:<{_LABEL}}{printable(text)}")


def _yaml(source: dict[str, Any]) -> str:
    """The defs.yaml of a corpus."""
    import yaml

    named = str(source.get("repo") or source.get("path") or next(iter(source.get("folders", "c"))))
    words = re.findall(r"[A-Za-z0-9]+", named.rpartition("://")[2].lstrip("./").partition(".")[0])
    attributes = {"name": "_".join(words[-2:]).lower() or "corpus", "source": source}
    component = {"type": "codedata.components.RawCorpus", "attributes": attributes}
    return yaml.safe_dump(component, sort_keys=False, allow_unicode=True).rstrip()
