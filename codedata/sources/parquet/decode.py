"""Row groups -> their contents, in batches of bounded size, found to be valid UTF-8.

What is bounded are decoded bytes: of a dictionary, a row takes a byte or two of the file whatever
its text is. Batches begin with one row and grow while their bytes are few; row groups of few bytes
come together in one batch.

Invariants: the batches' rows are the row groups' in file order, none left out; a row group with
fewer rows than its footer says is refused; so are documents beyond `MAX_DOCUMENT_BYTES`. What
stands before a fault is given before the fault is raised.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import CorpusError
from codedata.sources.parquet.columns import (
    MAX_DOCUMENT_BYTES,
    SLICE_BYTES,
    as_large,
    num_bytes_of,
    offsets,
    row_bytes_of,
    texts_of,
)
from codedata.sources.parquet.footer import ARROW_ERRORS, Parquet
from codedata.sources.parquet.refusals import COLUMN, said

_MOST_ROWS = 4096
"""Rows a batch, however short: more of them cost hardly less time."""

_ENOUGH_BYTES = 100_000
"""A batch of fewer bytes is put together with the next: what a batch costs is soon less."""

_MOST_PIECES = 4096
"""Batches of few bytes that are put together at most: each takes a kilobyte for itself."""

_MOST_INDICES = 65_536
"""Rows a batch where a row is an index into a dictionary, whose texts are then taken in slices."""

_BURST_BYTES = 1_000_000_000
"""What a batch may take at most where large texts of a dictionary follow small ones."""

_RUN_BYTES = 1_000_000
"""Row groups of fewer bytes together are decoded in one go: a reader for each takes longer than its
rows."""

_MOST_RUN_BYTES = 4_000_000
"""Decoded bytes in one go, which wait until all rows are known to be there."""

_RUN_GROUPS = 4096
"""Row groups in one go, whatever the footer says of their bytes."""


class Batch(NamedTuple):
    """Rows of a file: the first one's number, and their contents, of which some may be null."""

    first_row: int
    contents: pa.LargeStringArray


def decode(
    parquet: Parquet, groups: Sequence[int], *, max_document_bytes: int = MAX_DOCUMENT_BYTES
) -> Iterator[Batch]:
    """The rows of some adjoining row groups.

    Raises:
        CorpusError: the file changed or is damaged, a row is no UTF-8, or too long.
    """
    pending: list[Batch] = []
    num_bytes = 0
    try:
        for batch in _pieces(parquet, groups, max_document_bytes):
            pending.append(batch)
            num_bytes += num_bytes_of(batch.contents)
            if num_bytes >= _ENOUGH_BYTES or len(pending) >= _MOST_PIECES:
                yield _together(pending)
                pending, num_bytes = [], 0
    except CorpusError:
        if pending:
            yield _together(pending)
        raise
    if pending:
        yield _together(pending)


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


def _pieces(parquet: Parquet, groups: Sequence[int], limit: int) -> Iterator[Batch]:
    pace = _Pace()
    with parquet.open() as file:
        for run in _runs(parquet, groups):
            batches = _in_one_go(parquet, file, run, pace, limit) if len(run) > 1 else None
            if batches is not None:
                yield from batches
                continue
            for group in run:
                yield from _decode_run(parquet, file, [group], pace, limit)


def _in_one_go(
    parquet: Parquet, file: pq.ParquetFile, run: Sequence[int], pace: _Pace, limit: int
) -> list[Batch] | None:
    """All of some small row groups.

    None where they are of many bytes, or one is at fault: which, and what stands before it, is
    found out one by one.
    """
    batches: list[Batch] = []
    num_bytes = 0
    try:
        for batch in _decode_run(parquet, file, run, pace, limit):
            batches.append(batch)
            num_bytes += num_bytes_of(batch.contents)
            if num_bytes > _MOST_RUN_BYTES:
                return None
    except CorpusError:
        return None
    return batches


def _runs(parquet: Parquet, groups: Sequence[int]) -> Iterator[Sequence[int]]:
    """Row groups that have rows, neighbours of few bytes together."""
    footer = parquet.footer
    run: list[int] = []
    num_bytes = 0
    for group in groups:
        if not footer.group_rows[group]:
            continue
        num_bytes += footer.group_bytes[group]
        if run and (num_bytes > _RUN_BYTES or len(run) == _RUN_GROUPS):
            yield run
            run, num_bytes = [], footer.group_bytes[group]
        run.append(group)
    if run:
        yield run


def _decode_run(
    parquet: Parquet, file: pq.ParquetFile, run: Sequence[int], pace: _Pace, limit: int
) -> Iterator[Batch]:
    footer, path = parquet.footer, parquet.path
    row = first_row = footer.first_rows[run[0]]
    where = f"row group {run[0]}"  # of several, each is decoded again for itself
    try:
        for column in _columns(parquet, file, run, pace):
            for texts in texts_of(column, row, path, limit):
                yield Batch(row, texts)
                row += len(texts)
    except MemoryError as error:
        raise CorpusError(
            f"{where} of {path} takes more memory than there is ({said(error)}); if the file is "
            "sound, write it with smaller row groups"
        ) from error
    except ARROW_ERRORS as error:
        if "Not yet implemented" in str(error):
            raise CorpusError(
                f"{where} of {path} is written in a way that pyarrow {pa.__version__} does not "
                f"read ({said(error)}); write it otherwise"
            ) from error
        raise CorpusError(f"{path} is damaged in {where}: {said(error)}; fetch it again") from error
    claimed = [footer.group_rows[group] for group in run]
    num_values = [footer.column_chunk(group).num_values for group in run]
    if row - first_row != sum(claimed) or claimed != num_values:
        raise CorpusError(
            f"{path} is damaged in {where}: its footer says {claimed[0]} rows with {num_values[0]} "
            f"contents, and {row - first_row} are there; fetch it again"
        )


def _columns(
    parquet: Parquet, file: pq.ParquetFile, run: Sequence[int], pace: _Pace
) -> Iterator[pa.Array]:
    most = _most_rows(parquet, run)
    for batch in file.iter_batches(
        min(pace.rows, most), row_groups=run, columns=[COLUMN], use_threads=False
    ):
        column = batch.column(COLUMN)
        room = SLICE_BYTES
        if pa.types.is_dictionary(column.type):
            # Each batch brings the whole dictionary: then one as large in texts, or time is lost.
            room, most = max(room, column.dictionary.nbytes), _MOST_INDICES
            num_bytes = int(row_bytes_of(column).sum())
        else:
            num_bytes = column.nbytes
        yield column
        file.reader.set_batch_size(pace.follow(len(column), num_bytes, room, most))


def _most_rows(parquet: Parquet, run: Sequence[int]) -> int:
    """Rows that may be decoded at once whatever they hold; found out once a row group.

    Where texts stand one after the other they are no more than the row group's bytes. Those of a
    dictionary, or told by what they begin with, may each be as long as the longest: as all of the
    row group, until one looks, for which a page is decoded. Writers put the dictionary before all
    rows, so with the first row all of its texts are known.
    """
    footer, group = parquet.footer, run[0]
    num_bytes = max(1, sum(footer.group_bytes[each] for each in run))
    at_any_rate = _BURST_BYTES // num_bytes
    usual = SLICE_BYTES * sum(footer.group_rows[each] for each in run) // num_bytes
    if len(run) > 1 or at_any_rate >= min(usual, _MOST_ROWS):
        return max(1, min(at_any_rate, _MOST_ROWS))
    if group not in parquet.most_rows:
        longest = _longest_text(parquet, group)
        parquet.most_rows[group] = max(1, min(_BURST_BYTES // max(1, longest), _MOST_ROWS))
    return parquet.most_rows[group]


def _longest_text(parquet: Parquet, group: int) -> int:
    """Bytes of the longest text that rows of a row group may share; 0 where they share none."""
    try:
        first = _first_row(parquet, group, read_dictionary=True)
    except ARROW_ERRORS:  # damaged, or of an encoding that Arrow reads in no other way than this
        first = _first_row(parquet, group)
    if first is None:
        return parquet.footer.group_bytes[group]
    chunk = parquet.footer.column_chunk(group)
    if "DELTA_BYTE_ARRAY" in chunk.encodings:
        return parquet.footer.group_bytes[group]
    if not chunk.has_dictionary_page:
        return 0
    texts = first.dictionary if pa.types.is_dictionary(first.type) else first
    return int(np.diff(offsets(as_large(texts))).max(initial=0))


def _first_row(parquet: Parquet, group: int, *, read_dictionary: bool = False) -> pa.Array | None:
    with parquet.open(read_dictionary=read_dictionary) as file:
        batches = file.iter_batches(1, row_groups=[group], columns=[COLUMN], use_threads=False)
        return next((batch.column(COLUMN) for batch in batches), None)


def _together(batches: list[Batch]) -> Batch:
    """Adjoining batches as one."""
    first = batches[0]
    if len(batches) == 1:
        return first
    return Batch(first.first_row, pa.concat_arrays([batch.contents for batch in batches]))
