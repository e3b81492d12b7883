"""The commands that a parser has, with the line that says of each what it does."""

import argparse
from typing import Any

from codedata.arguments import add_verbosity


class Commands:
    """What a module of a command adds its parser to: argparse's subparsers, in groups of its help.

    argparse would list all of them in one block.
    """

    def __init__(self, parser: argparse.ArgumentParser, *, for_shell: bool) -> None:
        hidden = None if for_shell else argparse.SUPPRESS  # shtab completes what the help shows
        self._added = parser.add_subparsers(prog=parser.prog, metavar="COMMAND", help=hidden)
        self._lines: list[str] = []

    def begin_group(self, title: str) -> None:
        """Have the commands that are added now stand under a title."""
        self._lines += [*([""] if self._lines else []), f"{title}:"]

    def add_parser(self, name: str, *, help: str, **options: Any) -> argparse.ArgumentParser:  # noqa: A002  (argparse's word)
        """Add a command, as `add_parser` of argparse's subparsers does; it has `-q` and `-v`."""
        self._lines.append(f"  {name:<12} {help}")
        parser = self._added.add_parser(name, help=help, **options)
        add_verbosity(parser, default=argparse.SUPPRESS)
        return parser

    def __str__(self) -> str:
        return "\n".join(self._lines)
