"""Texts in one piece of memory. Pure."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codedata.format.ranges import Utf8


@dataclass(frozen=True, kw_only=True, eq=False)
class Texts:
    """Texts, one behind the other.

    Attributes:
        utf8: their bytes.
        ends: where each ends in them, shape (num_texts,).
    """

    utf8: Utf8
    ends: NDArray[np.int64]

    @classmethod
    def of(cls, texts: "Sequence[Utf8] | Texts") -> "Texts":
        """Some texts, copied where they are not of that form."""
        if isinstance(texts, cls):
            return texts
        ends = np.cumsum([len(text) for text in texts], dtype=np.int64)
        return cls(utf8=np.concatenate([np.empty(0, np.uint8), *texts]), ends=ends)

    def __len__(self) -> int:
        """How many."""
        return len(self.ends)

    def __getitem__(self, place: int) -> Utf8:
        """The bytes of one."""
        return self.utf8[self.ends[place - 1] if place else 0 : self.ends[place]]

    def __iter__(self) -> Iterator[Utf8]:
        """The bytes of each."""
        return (self[place] for place in range(len(self)))

    @property
    def num_bytes(self) -> NDArray[np.int64]:
        """Of each, shape (num_texts,)."""
        return np.diff(self.ends, prepend=0)

    def some(self, which: NDArray[np.bool_]) -> "Texts":
        """Some of them, shape (num_texts,) says which."""
        inside = np.repeat(which, self.num_bytes)
        return Texts(utf8=self.utf8[inside], ends=np.cumsum(self.num_bytes[which]))
