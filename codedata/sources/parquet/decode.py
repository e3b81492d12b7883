"""Row groups -> their contents, in batches of bounded size, found to be valid UTF-8.

What is bounded are decoded bytes: of a dictionary, a row takes a byte or two of the file whatever
its text is. Batches begin with one row and grow while their bytes are few; row groups of few bytes
come together in one go. Arrays are read by their buffers: `to_numpy`, `pa.array` and `pa.scalar`
import pandas where there is one.

Invariants: the batches' rows are the row groups' in file order, none left out; a row group with
fewer rows than its footer says is refused; so are documents beyond `MAX_DOCUMENT_BYTES`. What
stands before a fault is given before the fault is raised.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codedata.errors import CorpusError
from codedata.sources.columns import as_text, column_of, faults, offsets
from codedata.sources.parquet.footer import Parquet, refusing

SLICE_BYTES = 1_000_000
"""Decoded text at a time: it stays in the processor's cache until it is used."""

_MOST_ROWS = 16_384
"""Rows a batch, however short: more of them cost hardly less time."""

_BURST_BYTES = 1_000_000_000
"""What a batch may take at most where large texts of a dictionary follow small ones."""

_RUN_BYTES = 1_000_000
"""Row groups of fewer bytes together are decoded in one go: a reader for each takes longer than its
rows."""

_NONE = pa.Array.from_buffers(pa.int64(), 1, [None, pa.py_buffer(np.array([-1], np.int64))])[0]


class Batch(NamedTuple):
    """Rows of a file: the first one's number, and their contents, of which some may be null."""

    first_row: int
    contents: pa.LargeStringArray

    @property
    def stop_row(self) -> int:
        """The number of the row after them."""
        return self.first_row + len(self.contents)


@dataclass(kw_only=True)
class _Pace:
    """How many rows the next batch has, going by the bytes of those before."""

    rows: int = 1

    def follow(self, num_rows: int, num_bytes: int, room: int, most: int) -> int:
        """Twice as many where they would fit; fewer where so many do not fit."""
        if num_bytes > room:
            self.rows = max(1, num_rows * room // num_bytes)
        elif num_rows >= self.rows and 2 * num_bytes <= room:
            self.rows *= 2
        self.rows = min(self.rows, most)
        return self.rows


def decode(parquet: Parquet, groups: range) -> Iterator[Batch]:
    """The rows of some adjoining row groups.

    Raises:
        CorpusError: the file changed or is damaged, a row is no UTF-8, or too long.
    """
    pace, row, text = _Pace(), 0, parquet.footer.text
    # Arrow puts no structs together whose dictionaries are of several row groups.
    is_apart = len(text.path) > 1 and pa.types.is_dictionary(text.type)
    with parquet.open() as file:
        for run in parquet.footer.runs(groups, 0 if is_apart else _RUN_BYTES):
            try:
                for batch in _decode_run(parquet, file, run, pace):
                    yield batch
                    row = batch.stop_row
            except CorpusError:
                # Which of several is at fault, and what stands before it, is found out one by one.
                for group in run if len(run) > 1 else ():
                    for batch in _decode_run(parquet, file, range(group, group + 1), pace):
                        if (num_new := batch.stop_row - max(row, batch.first_row)) > 0:
                            yield Batch(batch.stop_row - num_new, batch.contents[-num_new:])
                raise


def _decode_run(parquet: Parquet, file: pq.ParquetFile, run: range, pace: _Pace) -> Iterator[Batch]:
    footer = parquet.footer
    row = first_row = footer.first_rows[run.start]
    damaged = f"{parquet.path} is damaged in row group {run.start}"
    remedy = "fetch it again, or write it anew, with smaller row groups, if it is sound"
    with refusing(damaged, remedy):
        for texts in _texts(parquet, file, run, pace):
            _require_valid(parquet, texts, row)
            yield Batch(row, texts)
            row += len(texts)
    claimed = [footer.group_rows[group] for group in run]
    num_values = [footer.column_chunk(group).num_values for group in run]
    if row - first_row != sum(claimed) or claimed != num_values:
        raise CorpusError(
            f"{damaged}: its footer says {claimed[0]} rows with {num_values[0]} contents, and "
            f"{row - first_row} are there; fetch it again"
        )


def _texts(
    parquet: Parquet, file: pq.ParquetFile, run: range, pace: _Pace
) -> Iterator[pa.LargeStringArray]:
    most = _most_rows(parquet, run)
    for batch in file.iter_batches(
        min(pace.rows, most), row_groups=[*run], columns=[parquet.column], use_threads=False
    ):
        column, room = column_of(batch, parquet.footer.text), SLICE_BYTES
        if isinstance(column, pa.DictionaryArray):
            # Each batch brings the whole dictionary: then one as large in texts, or time is lost.
            room = max(room, column.dictionary.nbytes)
        texts = as_text(column)
        yield texts
        file.reader.set_batch_size(pace.follow(len(texts), texts.nbytes, room, most))


def _most_rows(parquet: Parquet, run: range) -> int:
    """Rows that may be decoded at once whatever they hold; found out once a row group.

    Where texts stand one after the other they are no more than the row group's bytes. Those of a
    dictionary, or told by what they begin with, may each be as long as the longest: as all of the
    row group, until one looks, for which a page is decoded. Writers put the dictionary before all
    rows, so with the first row all of its texts are known.
    """
    footer, group = parquet.footer, run.start
    longest = max(1, *(footer.group_bytes[each] for each in run))
    usual = SLICE_BYTES * footer.group_rows[group] // longest
    if len(run) == 1 and _BURST_BYTES // longest < min(usual, _MOST_ROWS):
        if group not in parquet.longest:
            parquet.longest[group] = _longest_text(parquet, group)
        longest = parquet.longest[group]
    return max(1, min(_BURST_BYTES // max(1, longest), _MOST_ROWS))


def _longest_text(parquet: Parquet, group: int) -> int:
    """Bytes of the longest text that rows of a row group may share; 0 where they share none."""
    first = _first_row(parquet, group)  # by which the row group is found sound
    chunk = parquet.footer.column_chunk(group)
    if first is None or "DELTA_BYTE_ARRAY" in chunk.encodings:
        return parquet.footer.group_bytes[group]
    if not chunk.has_dictionary_page:
        return 0
    first = _first_row(parquet, group, read_dictionary=True)
    texts = first.dictionary if isinstance(first, pa.DictionaryArray) else first
    return int(np.diff(offsets(as_text(texts))).max(initial=0))


def _first_row(parquet: Parquet, group: int, *, read_dictionary: bool = False) -> pa.Array:
    with parquet.open(read_dictionary=read_dictionary) as file:
        columns = [parquet.column]
        batches = file.iter_batches(1, row_groups=[group], columns=columns, use_threads=False)
        return next((column_of(batch, parquet.footer.text) for batch in batches), None)


def _require_valid(parquet: Parquet, texts: pa.LargeStringArray, first_row: int) -> None:
    for place, fault in faults(texts).items():
        row = first_row + place
        raise CorpusError(f"{parquet.column!r} of row {row} of {parquet.path} {fault}")


def count_chars(contents: pa.LargeStringArray) -> NDArray[np.int64]:
    """Characters of each content, -1 for a null; shape (num_rows,)."""
    num_chars = pc.call_function("utf8_length", [contents])
    if num_chars.null_count:
        num_chars = pc.call_function("coalesce", [num_chars, _NONE])
    return np.from_dlpack(num_chars).astype(np.int64, copy=False)
