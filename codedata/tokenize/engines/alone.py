"""Texts one behind the other -> the ids of each as if it stood alone, by what tokenizes stretches.

Borders of texts, and proven cuts within long ones, divide the whole into pieces; some that follow
each other, a group, are tokenized by one call, so that a short text costs no call of its own.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from itertools import pairwise
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.tokenize.engines.side_by_side import each_piece

_MOST_PIECES = 1 << 14
"""Of a group, since each costs some objects of Python: 15 MB in all."""

Span = tuple[int, int]
"""Start and stop in a text, in bytes."""


class Stretch(NamedTuple):
    """Pieces that follow each other, each of one text or a part of one, none of them empty.

    Attributes:
        edges: bytes of the whole where they start and stop, shape (num_pieces + 1,).
        borders: which of these a text begins or ends at, shape (num_pieces + 1,); the others are
            proven cuts.
    """

    edges: NDArray[np.int64]
    borders: NDArray[np.bool_]

    @classmethod
    def of(cls, ends: NDArray[np.int64]) -> "Stretch":
        """Whole texts, by where each ends; those of no character are left out."""
        edges = _distinct(np.concatenate([[0], ends], dtype=np.int64))
        return cls(edges, np.ones(len(edges), np.bool_))

    @classmethod
    def within(cls, edges: Sequence[int], num_bytes: int) -> "Stretch":
        """Pieces of a single text of so many bytes."""
        places = np.array(edges, np.int64)
        return cls(places, (places == 0) | (places == num_bytes))

    @property
    def begins(self) -> set[int]:
        """The edges at which a text begins or ends."""
        return {*self.edges[self.borders].tolist()}

    @property
    def spans(self) -> list[Span]:
        """The pieces."""
        return [*pairwise(self.edges.tolist())]

    def holding(self, places: NDArray[np.int64]) -> NDArray[np.bool_]:
        """Which pieces hold one of some places, shape (num_pieces,)."""
        holding = np.zeros(len(self.edges) - 1, np.bool_)
        holding[np.searchsorted(self.edges, places, "right") - 1] = True
        return holding

    def cut(
        self,
        text: Utf8,
        cut: re.Pattern[bytes],
        num_bytes: int,
        which: NDArray[np.bool_] | None = None,
    ) -> "Stretch":
        """The same with pieces, all or some, cut where they have so many bytes."""
        is_long = np.diff(self.edges) > num_bytes
        cuts: list[int] = []
        for piece in np.flatnonzero(is_long if which is None else is_long & which).tolist():
            start, stop = self.edges[piece : piece + 2].tolist()
            cuts += [start + end for _, end in cut_text(text[start:stop], cut, num_bytes)]
        return self.with_edges(np.array(cuts, np.int64))

    def with_edges(self, cuts: NDArray[np.int64]) -> "Stretch":
        """The same, cut at some places as well."""
        if not len(cuts):
            return self
        edges = _distinct(np.sort(np.concatenate([self.edges, cuts])))
        borders = np.zeros(len(edges), np.bool_)
        borders[np.searchsorted(edges, self.edges)] = self.borders
        return Stretch(edges, borders)

    def groups(self, num_bytes: int) -> Iterator["Stretch"]:
        """Groups of pieces, of as few that have so many bytes, but for the last one, or of many."""
        first, last = 0, len(self.edges) - 1
        while first < last:
            upto = int(np.searchsorted(self.edges, self.edges[first] + num_bytes))
            upto = min(upto, first + _MOST_PIECES, last)
            some = slice(first, upto + 1)
            yield Stretch(self.edges[some], self.borders[some])
            first = upto


def _distinct(edges: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sorted numbers, each once; `np.unique` takes 0.5 us for each."""
    return edges[np.append(True, np.diff(edges) > 0)]


Counted = tuple[IdArray, NDArray[np.int64]]
"""The ids of pieces, one behind the other, of any integers; and how many each has."""


def each_alone(
    encode: Callable[[Stretch], Counted],
    stretch: Stretch,
    ends: NDArray[np.int64],
    *,
    group_bytes: int,
    threads: int,
    dtype: Any,
) -> tuple[IdArray, NDArray[np.int64]]:
    """The ids of texts, and where those of each end, shape (num_texts,).

    Args:
        encode: tokenizes a group.
        stretch: the texts, in pieces.
        ends: where each text ends, shape (num_texts,).
        group_bytes: what a group has at least, unless it is the last one or of many pieces.
        threads: how many groups may be tokenized at once.
        dtype: of the ids.
    """
    found = [*each_piece(encode, [*stretch.groups(group_bytes)], threads)]
    ids = [np.empty(0, dtype), *(each for each, _ in found)]
    upto = np.concatenate([[0], *(counts for _, counts in found)], dtype=np.int64).cumsum()
    return (
        np.concatenate(ids, dtype=dtype, casting="unsafe"),
        upto[np.searchsorted(stretch.edges, ends)],
    )


def cut_text(text: Utf8, cut: re.Pattern[bytes], num_bytes: int) -> Iterator[Span]:
    """Blocks of at least `num_bytes`, the last one excepted."""
    start = 0
    while start < len(text):
        found = cut.search(text.data, start + num_bytes)
        stop = found.start() if found else len(text)
        yield start, stop
        start = stop
