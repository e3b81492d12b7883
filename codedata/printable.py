"""Foreign text -> text that a terminal or a page shows as it is, whatever it holds.

Names of files and columns, decoded samples, messages of libraries and servers: what they hold may
clear a terminal, write its title, or turn around the order in which the rest is read. Everything
that is printed and is not codedata's own goes through `printable`.
"""

import difflib
import io
import sys
from collections.abc import Iterable

_SHOWN_CHARS = 200


def printable(text: str, *, keep: str = "") -> str:
    r"""A text, every character that is not shown as itself written as Python writes it: `\x1b`.

    Controls, line ends, bidirectional and zero-width ones, lone surrogates and blanks other than
    the space are such characters.

    Args:
        text: any.
        keep: those that stay, such as the line ends of a sample.
    """
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in keep else repr(c)[1:-1] for c in text)


def printable_lines(text: str) -> str:
    """A text of several lines, such as a sample's: `printable`, its line ends and blanks kept."""
    return printable(text.replace("\r\n", "\n"), keep="\n\t\u3000\xa0")


def shortened(name: str) -> str:
    """A name for a message: as it is, or its start where it is too long for a path."""
    return name if len(name) <= _SHOWN_CHARS else f"{name[:_SHOWN_CHARS]}..."


def first_ten(names: Iterable[str]) -> str:
    """Names for a message: the first ten, and whether there are more."""
    every = list(names)
    return ", ".join([*every[:10], *(["..."] if len(every) > 10 else [])])


def did_you_mean(wrong: str, known: Iterable[str]) -> str:
    """The question that names the nearest of some words; empty where none is near."""
    nearest = difflib.get_close_matches(wrong, list(known), n=1)
    return f"did you mean {nearest[0]}?" if nearest else ""


def percent(share: float) -> str:
    """A share, with digits enough to see that it is not nothing."""
    if share == 0 or share >= 0.1:
        return f"{100 * share:.1f}%"
    return f"{100 * share:#.2g}%" if share >= 1e-6 else f"{share:.1e}"


def why_no_path(error: Exception) -> str:
    """What is wrong with a path, going by the error that its use gave."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def say(text: str, *, error: bool = False) -> None:
    """Print a text to stdout, or to stderr; of what is foreign in it, what is seen."""
    print(printable_lines(text), file=sys.stderr if error else sys.stdout)


def fail(program: str, message: str) -> int:
    """Say that a command failed, in one line; its exit status."""
    say(f"{program}: error: {message}", error=True)
    return 1


def print_anything() -> None:
    """Have stdout and stderr write what their encoding lacks as escapes, not fail at it."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
