"""The paths that a YAML names -> the parquets they stand for, without asking for them.

`train-{00000..00256}-of-00257.parquet` stands for those numbers, as in a shell; other patterns are
refused, since a corpus has as many partitions as files before any of them is here.
"""

import math
import re

from codedata.errors import CorpusError

MAX_FILES = 10_000
"""Partitions of an asset: the UI stays quick, and a slip in a pattern is found out at once."""

_NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")
_GLOB = re.compile(r"[*?]")

MANY = "Path of the parquet, or a list of paths; {00000..00256} in one stands for those numbers."


def expand_paths(paths: str | list[str], what: str) -> tuple[str, ...]:
    """The paths that a YAML names, in its order.

    Args:
        paths: one or several; `{000..256}` stands for each number, as in a shell.
        what: whose paths they are, for messages.

    Raises:
        CorpusError: a path is empty, a pattern of another kind, or named twice.
    """
    expanded: list[str] = []
    for path in [paths] if isinstance(paths, str) else paths:
        if not path.strip() or "\0" in path:
            raise CorpusError(f"path of {what} is {path!r}; name a parquet file")
        ranges = _NUMBERS.findall(path)
        most = math.prod(max(1, 1 + int(last) - int(first)) for first, last in ranges)
        if len(expanded) + most > MAX_FILES:
            raise CorpusError(
                f"path of {what} stands, with {path!r}, for more than {MAX_FILES:,} files; make "
                "several corpora"
            )
        expanded += _expand(path, what)
    if not expanded:
        raise CorpusError(f"path of {what} is []; name at least one parquet file")
    if len(set(expanded)) < len(expanded):
        twice = next(path for path in expanded if expanded.count(path) > 1)
        raise CorpusError(f"path of {what} names {twice} twice; name each file once")
    return tuple(expanded)


def _expand(path: str, what: str) -> list[str]:
    found = _NUMBERS.search(path)
    if found is None:
        if _GLOB.search(path):
            raise CorpusError(
                f"path of {what} is {path!r}, but its files must be known without asking for "
                "them: write a range, such as train-{00000..00256}-of-00257.parquet, or a list"
            )
        return [path]
    first, last = found[1], found[2]
    padded = any(len(number) > 1 and number[0] == "0" for number in (first, last))
    if int(last) < int(first) or (padded and len(first) != len(last)):
        raise CorpusError(
            f"path of {what} holds {found[0]}; write the smaller number first, and both with as "
            "many digits as the files' names have, such as {00000..00256}"
        )
    width = len(first) if padded else 1
    return [
        f"{path[: found.start()]}{number:0{width}d}{rest}"
        for number in range(int(first), int(last) + 1)
        for rest in _expand(path[found.end() :], what)
    ]
