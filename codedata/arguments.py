"""What a user typed -> a value, or a line that says what is wrong with it; for every command line.

Switches that all have: `--version`, `-q`, `-v`. A word that is none of some is answered with the
nearest of them.
"""

import argparse
import re
from pathlib import Path
from typing import Any, NoReturn

from codedata.errors import SettingsError
from codedata.places import local_path
from codedata.printable import did_you_mean, shortened
from codedata.progress import Verbosity
from codedata.recipe.settings import ALL

_NO_CHOICE = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)")


class Parser(argparse.ArgumentParser):
    """A parser that, where a word is none of those to choose from, names the nearest."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and what is wrong, and exit with status 2."""
        if found := _NO_CHOICE.search(message):
            wrong, known = found[1], re.findall(r"[\w-]+", found[2])
            meant = did_you_mean(wrong, known) or f"there are {', '.join(known)}"
            what = f"{message[: found.start()]}there is no "
            what = what.replace("argument COMMAND: there is no ", "there is no command ")
            message = f"{what}{shortened(wrong)!r}; {meant}"
        super().error(message)


class _Version(argparse.Action):
    """Print the version and exit; it is looked up only then."""

    def __call__(self, parser: argparse.ArgumentParser, *_: Any, **__: Any) -> None:
        from importlib.metadata import version

        print(f"codedata {version('codedata')}")
        parser.exit()


def add_version(parser: argparse.ArgumentParser) -> None:
    """The switch that prints which release this is."""
    parser.add_argument(
        "--version",
        action=_Version,
        nargs=0,
        dest=argparse.SUPPRESS,
        default=argparse.SUPPRESS,
        help="print the version and exit",
    )


def add_verbosity(parser: argparse.ArgumentParser, *, default: Any = Verbosity.NORMAL) -> None:
    """The switches that say how much is told."""
    group = parser.add_mutually_exclusive_group()
    for short, long, verbosity, what in (
        ("-q", "--quiet", Verbosity.QUIET, "errors and results alone"),
        ("-v", "--verbose", Verbosity.VERBOSE, "a line a step, chunk and file; traces of errors"),
    ):
        group.add_argument(
            short,
            long,
            dest="verbosity",
            action="store_const",
            const=verbosity,
            default=default,
            help=what,
        )


def whole_number(text: str) -> int:
    """The type of a switch that takes a whole number.

    Raises:
        ArgumentTypeError: it is none; argparse puts the switch's name before the message.
    """
    try:
        return int(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(
            f"{shortened(text)!r} is not a whole number; write its digits alone, as in 1536"
        ) from error


def number_or_all(text: str) -> int | str:
    """The type of a switch that takes a whole number, or all.

    Raises:
        ArgumentTypeError: it is neither.
    """
    if text == ALL:
        return text
    try:
        return whole_number(text)
    except argparse.ArgumentTypeError as error:
        raise argparse.ArgumentTypeError(f"{error}, or {ALL}") from error


def path(text: str) -> Path:
    """The type of a switch that takes a file or folder of this machine.

    Raises:
        ArgumentTypeError: it is a URL, or below a home folder that there is not.
    """
    try:
        return local_path(text, "the path")
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from error


def hinted(message: str, module: str | None) -> str:
    """A message whose commands work as they are written, where a module was named."""
    if module is None:
        return message
    return re.sub("`codedata (list|materialize)", rf"`codedata -m {module} \1", message)
