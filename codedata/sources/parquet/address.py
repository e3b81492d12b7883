"""Characters of a text <-> the documents and row groups that hold them.

The text is the non-null contents in file order, joined by one space: each document is taken with
the space after it, of which the last is not of the text. Ranges count characters.

Invariants: `read` of adjoining ranges concatenates to the text; a row group before the range is
never decoded once its count is known, and none behind the range's end.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codedata.format.ranges import CharRange
from codedata.sources.parquet.columns import offsets
from codedata.sources.parquet.index import TextIndex
from codedata.sources.parquet.kept import Documents, GroupReader, is_kept

Utf8 = NDArray[np.uint8]
"""Text as UTF-8, shape (num_bytes,)."""

_MOST_BYTES = 4
"""Bytes of a character in UTF-8."""

_SPACE_BYTE = np.array([ord(" ")], np.uint8)

_SPACE = pa.LargeStringArray.from_buffers(
    1, pa.py_buffer(np.array([0, 1], np.int64)), pa.py_buffer(b" ")
)[0]
"""Arrays are built from buffers: `pa.array` and `pa.scalar` import pandas where it is installed."""

_BLOCK_BYTES = 1 << 16
"""Characters of a long document are counted in blocks that stay in the processor's cache."""


class Located(NamedTuple):
    """Documents at their places in the text, the space after each included.

    `starts` and `ends` are characters, shape (num_documents,).
    """

    texts: pa.LargeStringArray
    starts: NDArray[np.int64]
    ends: NDArray[np.int64]

    def part(self, start: int, stop: int) -> "Located":
        """Documents `start` to `stop` of these."""
        return Located(self.texts[start:stop], self.starts[start:stop], self.ends[start:stop])


def locate(
    reader: GroupReader, index: TextIndex, num_groups: int, chars: CharRange
) -> Iterator[Located]:
    """The documents of which a range holds a character, or the space after them.

    Args:
        reader: of the file.
        index: counted at least up to the range.
        num_groups: leading row groups that may be read.
        chars: a range that the text has.
    """
    starts = index.starts()
    first = bisect_right(starts, chars.start) - 1
    position = starts[first]
    for texts, lengths in _read(reader, index, starts, num_groups, first, chars.stop):
        if not len(texts):
            continue
        ends = lengths + position
        begins = np.append(position, ends[:-1])
        position = int(ends[-1])
        found = Located(texts, begins, ends).part(
            int(np.searchsorted(ends, chars.start, "right")),
            int(np.searchsorted(begins, chars.stop, "left")),
        )
        if len(found.texts):
            yield found
        if position >= chars.stop:
            break


def documents(
    reader: GroupReader, index: TextIndex, num_groups: int, chars: CharRange
) -> Iterator[tuple[pa.LargeStringArray, NDArray[np.int64], NDArray[np.int64]]]:
    """The documents that a range holds wholly or in part.

    Yields:
        Batch by batch the documents, each whole, and the characters of the text where each starts
        and, shape (num_documents,) likewise, stops.
    """
    for found in locate(reader, index, num_groups, chars):
        is_before = found.starts[0] < chars.start and found.ends[0] - 1 <= chars.start
        held = found.part(int(is_before), len(found.texts))  # not one whose space alone is held
        if len(held.texts):
            yield held.texts, held.starts, held.ends - 1


def text(reader: GroupReader, index: TextIndex, num_groups: int, chars: CharRange) -> Utf8 | None:
    """The characters of a range as UTF-8.

    Returns:
        uint8, shape (num_bytes,); None where the file has not as many as the index says.
    """
    num_chars = num_bytes = 0
    utf8 = np.empty(_MOST_BYTES * chars.num_chars, np.uint8)  # memory only where written
    for found in locate(reader, index, num_groups, chars):
        for piece in _pieces(found, chars):
            utf8[num_bytes : num_bytes + len(piece)] = piece
            num_bytes += len(piece)
        num_chars += min(int(found.ends[-1]), chars.stop) - max(int(found.starts[0]), chars.start)
    pa.default_memory_pool().release_unused()
    return utf8[:num_bytes] if num_chars == chars.num_chars else None


def _read(
    reader: GroupReader, index: TextIndex, starts: list[int], num_groups: int, first: int, stop: int
) -> Iterator[Documents]:
    """Row groups `first` and on: those worth keeping one by one, what is between them in one go."""
    num_counted = len(index.num_chars)
    last = bisect_left(starts, stop)
    kept = (
        group for group in range(first, min(last, num_counted)) if is_kept(index.num_chars[group])
    )
    for group in kept:
        yield from reader.read(range(first, group))
        yield from reader.read_kept(group)
        first = group + 1
    yield from reader.read(range(first, num_groups))


def _pieces(found: Located, chars: CharRange) -> Iterator[Utf8]:
    """The bytes of documents and of the spaces after them, as far as they are in a range."""
    start, num_texts = int(found.starts[0]), len(found.texts)
    is_cut = start < chars.start, int(found.ends[-1]) > chars.stop
    if num_texts > 1 and any(is_cut):
        for first, stop in ((0, 1), (1, num_texts - 1), (num_texts - 1, num_texts)):
            if first < stop:
                yield from _pieces(found.part(first, stop), chars)
        return
    joined = _joined(found.texts)
    first_byte = _byte_of(joined, chars.start - start) if is_cut[0] else 0
    yield joined[first_byte : _byte_of(joined, chars.stop - start) if is_cut[1] else None]
    if not is_cut[1]:
        yield _SPACE_BYTE


def _joined(texts: pa.LargeStringArray) -> Utf8:
    """Documents with a space between each two."""
    ends = offsets(texts)
    data = np.frombuffer(texts.buffers()[2] or b"", np.uint8)[ends[0] : ends[-1]]
    if len(texts) == 1:
        return data
    ends = pa.py_buffer(np.array([0, len(texts)], np.int32))
    whole = pa.ListArray.from_arrays(pa.Array.from_buffers(pa.int32(), 2, [None, ends]), texts)
    return np.frombuffer(pc.call_function("binary_join", [whole, _SPACE]).buffers()[2], np.uint8)


def _byte_of(utf8: Utf8, char: int) -> int:
    """The byte that a character starts with, or the number of bytes where there are not as many."""
    for start in range(0, len(utf8), _BLOCK_BYTES):
        is_first = (utf8[start : start + _BLOCK_BYTES] & 0xC0) != 0x80
        num_chars = int(np.count_nonzero(is_first))
        if char < num_chars:
            return start + int(np.flatnonzero(is_first)[char])
        char -= num_chars
    return len(utf8)
