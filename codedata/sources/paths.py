"""The paths that a YAML names -> the parquets they stand for, without asking for them.

`train-{00000..00256}-of-00257.parquet` stands for those numbers, as in a shell; other patterns are
refused, since a corpus has as many partitions as files before any of them is here.
"""

import math
import re
from itertools import chain, product, zip_longest
from typing import Annotated

from pydantic import AfterValidator

MAX_FILES = 10_000
"""Partitions of an asset: the UI stays quick, and a slip in a pattern is found out at once."""

_NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")

MANY = "Path of the parquet, or a list of paths; {00000..00256} in one stands for those numbers."


def expand_paths(paths: str | list[str]) -> tuple[str, ...]:
    """The paths that a YAML names, in its order.

    Args:
        paths: one or several; `{000..256}` stands for each number, as in a shell.

    Raises:
        ValueError: a path is empty, a pattern of another kind, or named twice.
    """
    expanded: list[str] = []
    for path in [paths] if isinstance(paths, str) else paths:
        if not path.strip() or "\0" in path:
            raise ValueError(f"path is {path!r}; name a parquet file")
        if re.search(r"[*?]", path):
            raise ValueError(
                f"path is {path!r}, but its files must be known without asking for them: write a "
                "range, such as train-{00000..00256}-of-00257.parquet, or a list"
            )
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
        raise ValueError("path is []; name at least one parquet file")
    if len({*expanded}) < len(expanded):
        twice = next(path for path in expanded if expanded.count(path) > 1)
        raise ValueError(f"path names {twice} twice; name each file once")
    return tuple(expanded)


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
