"""The paths that a YAML names -> those of files, and patterns that somebody has to look for.

`train-{00000..00256}-of-00257.parquet` stands for those numbers, as in a shell, whether or not such
files are there; `*`, `?` and `**` stand for what is found.
"""

import math
import re
from itertools import chain, product, zip_longest
from typing import Annotated

from pydantic import AfterValidator

MAX_FILES = 10_000
"""Partitions of an asset: the UI stays quick, and a slip in a pattern is found out at once."""

_NUMBERS = re.compile(r"\{(\d{1,100})\.\.(\d{1,100})\}")

MANY = (
    "A path, or a list; {00000..00256} in one stands for those numbers, * and ** for what is found."
)


def expand_paths(paths: str | list[str]) -> tuple[str, ...]:
    """The paths that a YAML names, in its order.

    Args:
        paths: one or several; `{000..256}` stands for each number, as in a shell. Other patterns
            are left as they are.

    Raises:
        ValueError: a path is empty, a range none, or something named twice.
    """
    expanded: list[str] = []
    for path in [paths] if isinstance(paths, str) else paths:
        if not path.strip() or "\0" in path:
            raise ValueError(f"path is {path!r}; name a file")
        ranges = [_numbers(found) for found in _NUMBERS.finditer(path)]
        if len(expanded) + math.prod(1 + last - first for first, last, _ in ranges) > MAX_FILES:
            raise ValueError(
                f"path stands, with {path!r}, for more than {MAX_FILES:,} files; make several "
                "corpora"
            )
        fixed = _NUMBERS.split(path)[::3]
        for numbers in product(*(range(first, last + 1) for first, last, _ in ranges)):
            shown = (f"{n:0{width}d}" for n, (*_, width) in zip(numbers, ranges, strict=True))
            expanded.append("".join(chain.from_iterable(zip_longest(fixed, shown, fillvalue=""))))
    if not expanded:
        raise ValueError("path is []; name at least one file")
    if len({*expanded}) < len(expanded):
        twice = next(path for path in expanded if expanded.count(path) > 1)
        raise ValueError(f"path names {twice} twice; name each file once")
    return tuple(expanded)


def is_pattern(path: str) -> bool:
    """Whether it stands for the files that are found; of the web, `?` begins a query."""
    return "*" in path or ("?" in path and not is_of_web(path))


def is_of_web(url: str) -> bool:
    """Whether it is an address of the web."""
    return url.startswith(("http://", "https://"))


def without_pattern(path: str) -> str:
    """The folder below which a pattern looks; "" where it starts with one."""
    return re.split(r"[*?]", path, maxsplit=1)[0].rpartition("/")[0]


def _numbers(found: re.Match[str]) -> tuple[int, int, int]:
    """First and last of a range, and how many digits each number has at least."""
    first, last = found[1], found[2]
    is_padded = any(len(number) > 1 and number[0] == "0" for number in (first, last))
    if int(last) < int(first) or (is_padded and len(first) != len(last)):
        raise ValueError(
            f"path holds {found[0]}; write the smaller number first, and both with as many digits "
            "as the files' names have, such as {00000..00256}"
        )
    return int(first), int(last), len(first) if is_padded else 1


def _require_paths(paths: str | list[str]) -> str | list[str]:
    expand_paths(paths)
    return paths


Paths = Annotated[str | list[str], AfterValidator(_require_paths)]
"""A field `path` of a source with several files."""
