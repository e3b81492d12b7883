"""Ranges of characters (Unicode code points, never bytes): windows, their chunks, and text."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Utf8 = NDArray[np.uint8]
"""Text as UTF-8, shape (num_bytes,)."""

MAX_CHARACTERS = 2**62
"""Addresses and their sums stay within int64; more than this is a slip of the keyboard."""


class CharRange(NamedTuple):
    """Characters `start` to `stop` (exclusive) of a text: of file `file`, if there are several."""

    start: int
    stop: int
    file: int = 0

    @property
    def key(self) -> str:
        """The range as it names a chunk: `0000000000-0010000000`."""
        return f"{self.start:010d}-{self.stop:010d}"

    @property
    def is_open(self) -> bool:
        """Whether it goes to the end of a text, wherever that is."""
        return self.stop >= MAX_CHARACTERS

    @property
    def num_chars(self) -> int:
        """Number of characters in the range."""
        return self.stop - self.start

    def until(self, stop: int) -> "CharRange":
        """The part before a character."""
        return self._replace(stop=min(self.stop, stop))

    def first(self, num_chars: int) -> "CharRange":
        """The leading part of at most `num_chars` characters."""
        return self.until(self.start + num_chars)

    def cut(self, chunk_size: int) -> list["CharRange"]:
        """The range cut every `chunk_size` characters; the last piece may be shorter."""
        return [
            CharRange(start, min(start + chunk_size, self.stop), self.file)
            for start in range(self.start, self.stop, chunk_size)
        ]
