"""Documents, the unit between a source and what is made of it: texts, each with its address.

The reference text is what joining them makes: the non-null contents of a file, in its order, one
space between each two. Addresses count characters of that text, and rows of the file.

Invariant: `join` of the documents that a range holds is that slice of the text, at the cost of
copying its bytes once.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codedata.format.ranges import CharRange, Utf8
from codedata.format.texts import Texts
from codedata.sources.columns import offsets

ORIGINS = ("repository", "path", "licences")
"""Where a document is from, by the names of what says so."""

_SPACE_BYTE = ord(" ")

_SPACE = pa.LargeStringArray.from_buffers(
    1, pa.py_buffer(np.array([0, 1], np.int64)), pa.py_buffer(b" ")
)[0]
"""Arrays are built from buffers: `pa.array` and `pa.scalar` import pandas where it is installed."""

_FIRST = -0x40
"""Signed, the bytes that a character starts with are not below it."""

_BLOCK_BYTES = 1 << 16
"""Characters of a long document are counted in blocks that stay in the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Documents:
    """Some documents of a file, in its order, each whole; nulls are none.

    Attributes:
        texts: their contents.
        file: number of the file in its corpus.
        rows: of the file, shape (num_documents,).
        starts: characters of the file's text where each starts, shape (num_documents,).
        stops: and where each stops, shape (num_documents,); the space after it stands there.
    """

    texts: pa.LargeStringArray
    file: int
    rows: NDArray[np.int64]
    starts: NDArray[np.int64]
    stops: NDArray[np.int64]

    def __len__(self) -> int:
        """How many."""
        return len(self.texts)

    @property
    def num_chars(self) -> NDArray[np.int64]:
        """Characters of each, shape (num_documents,)."""
        return self.stops - self.starts

    def part(self, start: int, stop: int | None = None) -> "Documents":
        """Documents `start` to `stop` of these."""
        some = slice(start, stop)
        return Documents(
            texts=self.texts[some],
            file=self.file,
            rows=self.rows[some],
            starts=self.starts[some],
            stops=self.stops[some],
        )

    def utf8(self, which: NDArray[np.int64]) -> Iterator[Utf8]:
        """The bytes of some of them, where Arrow has them."""
        places, data = offsets(self.texts), _data(self.texts)
        for start, stop in zip(places[which].tolist(), places[which + 1].tolist(), strict=True):
            yield data[start:stop]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChosenDocuments:
    """The documents of a chunk: those whose first character stands in it, each whole.

    Attributes:
        file: number of the file in its corpus.
        texts: their bytes, in the order of the file.
        rows: of the file, shape (num_documents,).
        num_chars: of each, shape (num_documents,).
        origins: `repository`, `path` and `licences` of each, as far as they are kept; else None.
    """

    file: int
    texts: Texts | Sequence[Utf8]
    rows: NDArray[np.int64]
    num_chars: NDArray[np.int64]
    origins: Mapping[str, Sequence[Any]]

    def some(self, which: NDArray[np.int64]) -> "ChosenDocuments":
        """Some of them, by their places, ascending."""
        return ChosenDocuments(
            file=self.file,
            texts=Texts.of([self.texts[place] for place in which]),
            rows=self.rows[which],
            num_chars=self.num_chars[which],
            origins={name: [each[at] for at in which] for name, each in self.origins.items()},
        )


def choose(batches: Iterable[Documents], chars: CharRange) -> ChosenDocuments:
    """Of documents that a range holds wholly or in part, those that begin in it, nowhere from.

    Their bytes are copied once, and batches let go one by one.

    One that stands where the range stops is the text's last, an empty one: see
    `ParquetText.documents`.
    """
    utf8, nothing = bytearray(), np.empty(0, np.int64)
    num_bytes, rows, num_chars = [nothing], [nothing], [nothing]
    for batch in batches:
        some = batch.part(int(np.searchsorted(batch.starts, chars.start)))
        places = offsets(some.texts)
        utf8 += _data(some.texts)[places[0] : places[-1]].data
        num_bytes.append(np.diff(places))
        rows.append(some.rows)
        num_chars.append(some.num_chars)
    ends = np.cumsum(np.concatenate(num_bytes))
    return ChosenDocuments(
        file=chars.file,
        texts=Texts(utf8=np.frombuffer(utf8, np.uint8), ends=ends),
        rows=np.concatenate(rows),
        num_chars=np.concatenate(num_chars),
        origins=dict.fromkeys(ORIGINS, [None] * len(ends)),
    )


def join(batches: Iterable[Documents], chars: CharRange) -> Utf8 | None:
    """The characters of a range, out of the documents that it holds wholly or in part.

    Args:
        batches: those documents, in order.
        chars: the range.

    Returns:
        uint8, shape (num_bytes,); None where the documents end before the range does.
    """
    num_bytes, reached = 0, chars.start
    utf8 = np.empty(chars.num_chars * 9 // 8 + 2, np.uint8)  # code is ASCII but for a few comments
    for batch in batches:
        start, reached = int(batch.starts[0]), int(batch.stops[-1])
        inside = max(start, chars.start) - start, min(reached, chars.stop) - start
        piece = cut(_joined(batch.texts), reached - start, *inside)
        if num_bytes + len(piece) + 2 > len(utf8):
            utf8.resize((num_bytes + len(piece) + 2) * 3 // 2, refcheck=False)
        if start > chars.start:
            utf8[num_bytes] = _SPACE_BYTE
            num_bytes += 1
        utf8[num_bytes : num_bytes + len(piece)] = piece
        num_bytes += len(piece)
    if reached + 1 == chars.stop:  # with the space after the last of them
        utf8[num_bytes] = _SPACE_BYTE
        return utf8[: num_bytes + 1]
    return utf8[:num_bytes] if reached >= chars.stop else None


def cut(utf8: Utf8, num_chars: int, start: int, stop: int) -> Utf8:
    """Characters `start` to `stop` of a text that has so many."""
    if len(utf8) == num_chars:  # ASCII
        return utf8[start:stop]
    utf8 = utf8[_byte_of(utf8, start) :]
    return utf8 if stop == num_chars else utf8[: _byte_of(utf8, stop - start)]


def _joined(texts: pa.LargeStringArray) -> Utf8:
    """Documents with a space between each two."""
    if len(texts) == 1:
        start, stop = offsets(texts)
        return _data(texts)[start:stop]
    ends = pa.py_buffer(np.array([0, len(texts)], np.int32))
    whole = pa.ListArray.from_arrays(pa.Array.from_buffers(pa.int32(), 2, [None, ends]), texts)
    return np.frombuffer(pc.call_function("binary_join", [whole, _SPACE]).buffers()[2], np.uint8)


def _data(texts: pa.LargeStringArray) -> Utf8:
    return np.frombuffer(texts.buffers()[2] or b"", np.uint8)


def _byte_of(utf8: Utf8, char: int) -> int:
    """The byte that a character starts with, or the number of bytes where there are not as many."""
    for start in range(0, len(utf8), _BLOCK_BYTES):
        is_first = utf8[start : start + _BLOCK_BYTES].view(np.int8) >= _FIRST
        num_chars = int(np.count_nonzero(is_first))
        if char < num_chars:
            return start + int(np.flatnonzero(is_first)[char])
        char -= num_chars
    return len(utf8)
