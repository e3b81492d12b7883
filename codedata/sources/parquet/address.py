"""A range of characters -> the documents of a file that it holds, with their addresses.

Invariants: documents of adjoining ranges join to the text; a row group before the range is never
decoded once its count is known, and none behind the range's end.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Iterator

import numpy as np
import pyarrow as pa

from codedata.format.ranges import CharRange, Utf8
from codedata.sources.documents import Documents, join
from codedata.sources.parquet.index import TextIndex
from codedata.sources.parquet.kept import Contents, GroupReader, is_kept


def documents(
    reader: GroupReader, index: TextIndex, num_groups: int, chars: CharRange
) -> Iterator[Documents]:
    """The documents that a range holds wholly or in part, batch by batch.

    An empty one is held where it stands in the range.

    Args:
        reader: of the file.
        index: counted at least up to the range.
        num_groups: leading row groups that may be read.
        chars: a range that the text has.
    """
    group_starts = index.starts()
    first = bisect_right(group_starts, chars.start) - 1
    position = group_starts[first]
    for contents in _read(reader, index, group_starts, num_groups, first, chars.stop):
        if not len(contents.texts):
            continue
        ends = contents.ends + position
        batch = Documents(
            texts=contents.texts,
            file=chars.file,
            rows=contents.rows,
            starts=np.append(position, ends[:-1]),
            stops=ends - 1,
        )
        position = int(ends[-1])
        low = int(np.searchsorted(batch.stops, chars.start))
        if low < len(batch) and batch.starts[low] < batch.stops[low] == chars.start:
            low += 1  # of that one, only the space is in the range
        high = int(np.searchsorted(batch.starts, chars.stop))
        if low < high:
            yield batch.part(low, high)
        if position >= chars.stop:
            break


def text(reader: GroupReader, index: TextIndex, num_groups: int, chars: CharRange) -> Utf8 | None:
    """The characters of a range as UTF-8.

    Returns:
        uint8, shape (num_bytes,); None where the file has not as many as the index says.
    """
    utf8 = join(documents(reader, index, num_groups, chars), chars)
    pa.default_memory_pool().release_unused()
    return utf8


def _read(
    reader: GroupReader, index: TextIndex, starts: list[int], num_groups: int, first: int, stop: int
) -> Iterator[Contents]:
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
