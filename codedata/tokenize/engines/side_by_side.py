"""Pieces -> what compiled code makes of each, in threads that all chunks of a process share."""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import TypeVar

from codedata.format.ranges import Utf8

P = TypeVar("P")
R = TypeVar("R")


@lru_cache(maxsize=4)
def _threads(num_threads: int) -> ThreadPoolExecutor:
    """Threads that all chunks of a process share, so that one chunk alone keeps them busy too."""
    return ThreadPoolExecutor(num_threads, thread_name_prefix="tokenize")


def each_piece(function: Callable[[P], R], pieces: Sequence[P], threads: int) -> Iterable[R]:
    """What a function that frees the interpreter's lock makes of each piece, in their order."""
    each = map if threads == 1 or len(pieces) == 1 else _threads(threads).map
    return each(function, pieces)


def read_only(text: Utf8) -> Utf8:
    """A text as one type for compiled code: what may be written is another, compiled apart."""
    text = text.view()
    text.flags.writeable = False
    return text
