"""Row groups -> their contents, in batches of bounded size, found to be valid UTF-8.

What is bounded are decoded bytes: of a dictionary, a row takes a byte or two of the file whatever
its text is. Batches begin with one row and grow while their bytes are few; row groups of few bytes
come together in one batch.

Invariants: the batches' rows are the row groups' in file order, none left out; a row group with
fewer rows than its footer says is refused; so are documents beyond `MAX_DOCUMENT_BYTES`. What
stands before a fault is given before the fault is raised.
"""

from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from dataclasses import dataclass
from threading import BoundedSemaphore, Lock
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codedata.errors import CorpusError
from codedata.parallel import available_cores
from codedata.sources.parquet.footer import ARROW_ERRORS, COLUMN, Parquet, said

MAX_DOCUMENT_BYTES = 1_000_000_000
"""A longer text is no source code, and takes several times its size while it is decoded; Arrow
itself holds no cell of 2 GiB."""

BATCH_BYTES = 1_000_000
"""Decoded text at a time: it stays in the processor's cache until it is used."""

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

_KEPT_CHARS = range(1_000_000, 32_000_000)
"""Row groups that are kept decoded, one at a time, since neighbouring chunks need the same one:
smaller ones are soon decoded again, larger ones fill the memory."""

_DECODING = BoundedSemaphore(max(1, available_cores() // 4))
"""Decoding a whole row group takes a tenth of the time that tokenizing it takes."""


class Batch(NamedTuple):
    """Rows of a file: the first one's number, and their contents, of which some may be null."""

    first_row: int
    contents: pa.LargeStringArray


class Documents(NamedTuple):
    """Contents that are not null, and where each and the space after it end.

    `ends` counts characters from the first one's start, shape (num_documents,).
    """

    texts: pa.LargeStringArray
    ends: NDArray[np.int64]


def decode(
    parquet: Parquet, groups: Iterable[int], *, max_document_bytes: int = MAX_DOCUMENT_BYTES
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
            num_bytes += _num_bytes(batch.contents)
            if num_bytes >= _ENOUGH_BYTES or len(pending) >= _MOST_PIECES:
                yield _together(pending)
                pending, num_bytes = [], 0
    except CorpusError:
        if pending:
            yield _together(pending)
        raise
    if pending:
        yield _together(pending)


def count_chars(documents: pa.LargeStringArray) -> NDArray[np.int64]:
    """Characters of documents without nulls, shape (num_documents,)."""
    return np.from_dlpack(pc.call_function("utf8_length", [documents])).astype(np.int64)


def present(array: pa.Array) -> NDArray[np.bool_]:
    """Which values are not null, shape (num_rows,)."""
    if not array.null_count:
        return np.ones(len(array), np.bool_)
    valid = pc.call_function("is_valid", [array]).cast(pa.uint8())
    return np.from_dlpack(valid).astype(np.bool_)


def offsets(array: pa.LargeStringArray) -> NDArray[np.int64]:
    """Where each value begins in the array's data, and where the last ends: one more than values.

    Arrays are read by their buffers: `to_numpy` and `pa.array` import pandas where there is one.
    """
    if not len(array):
        return np.zeros(1, np.int64)
    return np.frombuffer(array.buffers()[1], np.int64)[array.offset :][: len(array) + 1]


class GroupReader:
    """Reads row groups as documents, and keeps the last one of middling size."""

    def __init__(self, parquet: Parquet) -> None:
        self.parquet = parquet
        self._forget()

    def read(self, groups: Iterable[int]) -> Iterator[Documents]:
        """The documents of adjoining row groups, batch by batch."""
        for batch in decode(self.parquet, groups):
            texts = batch.contents.drop_null() if batch.contents.null_count else batch.contents
            yield Documents(texts, np.cumsum(count_chars(texts) + 1))

    def read_kept(self, group: int) -> list[Documents]:
        """The documents of one row group, from memory if it was read just now."""
        with self._lock:
            kept = self._kept.get(group)
            future = kept or Future()
            self._kept = {group: future}
        if kept is None:
            try:
                with _DECODING:
                    future.set_result(list(self.read([group])))
                    pa.default_memory_pool().release_unused()
            except BaseException as error:
                self._kept.pop(group, None)
                future.set_exception(error)
                raise
        return future.result()

    def _forget(self) -> None:
        self._kept: dict[int, Future[list[Documents]]] = {}
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"parquet": self.parquet}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.parquet = state["parquet"]
        self._forget()


def is_kept(num_chars: int) -> bool:
    """Whether a row group of so many characters is worth keeping, and small enough."""
    return num_chars in _KEPT_CHARS


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


def _pieces(parquet: Parquet, groups: Iterable[int], limit: int) -> Iterator[Batch]:
    first_rows = parquet.footer.first_rows
    pace = _Pace()
    with parquet.open() as file:
        for group in groups:
            row, stop = first_rows[group], first_rows[group + 1]
            if row == stop:
                continue
            try:
                for contents in _contents(parquet, file, group, pace):
                    for texts in _texts(contents, row, parquet, limit):
                        yield Batch(row, texts)
                        row += len(texts)
            except MemoryError as error:
                raise CorpusError(
                    f"row group {group} of {parquet.path} takes more memory than there is "
                    f"({said(error)}); if the file is sound, write it with smaller row groups"
                ) from error
            except ARROW_ERRORS as error:
                if "Not yet implemented" in str(error):
                    raise CorpusError(
                        f"row group {group} of {parquet.path} is written in a way that pyarrow "
                        f"{pa.__version__} does not read ({said(error)}); write it otherwise"
                    ) from error
                raise CorpusError(
                    f"{parquet.path} is damaged in row group {group}: {said(error)}; fetch it again"
                ) from error
            num_values = parquet.footer.column_chunk(group).num_values
            num_rows, claimed = row - first_rows[group], stop - first_rows[group]
            if not num_rows == claimed == num_values:
                raise CorpusError(
                    f"{parquet.path} is damaged in row group {group}: its footer says {claimed} "
                    f"rows with {num_values} contents, and {num_rows} are there; fetch it again"
                )


def _contents(
    parquet: Parquet, file: pq.ParquetFile, group: int, pace: _Pace
) -> Iterator[pa.Array]:
    most = _most_rows(parquet, group)
    for batch in file.iter_batches(
        min(pace.rows, most), row_groups=[group], columns=[COLUMN], use_threads=False
    ):
        column = batch.column(COLUMN)
        room = BATCH_BYTES
        if pa.types.is_dictionary(column.type):
            # Each batch brings the whole dictionary: then one as large in texts, or time is lost.
            room, most = max(room, column.dictionary.nbytes), _MOST_INDICES
            num_bytes = int(_row_bytes(column).sum())
        else:
            num_bytes = column.nbytes
        yield column
        file.reader.set_batch_size(pace.follow(len(column), num_bytes, room, most))


def _most_rows(parquet: Parquet, group: int) -> int:
    """Rows that may be decoded at once whatever they hold; found out once a row group.

    Where texts stand one after the other they are no more than the row group's bytes. Those of a
    dictionary, or told by what they begin with, may each be as long as the longest: as all of the
    row group, until one looks, for which a page is decoded. Writers put the dictionary before all
    rows, so with the first row all of its texts are known.
    """
    group_bytes = max(1, parquet.footer.group_bytes[group])
    at_any_rate = _BURST_BYTES // group_bytes
    usual = BATCH_BYTES * parquet.footer.group_rows[group] // group_bytes
    if at_any_rate >= min(usual, _MOST_ROWS):
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
    return int(np.diff(offsets(_as_large(texts))).max(initial=0))


def _first_row(parquet: Parquet, group: int, *, read_dictionary: bool = False) -> pa.Array | None:
    with parquet.open(read_dictionary=read_dictionary) as file:
        batches = file.iter_batches(1, row_groups=[group], columns=[COLUMN], use_threads=False)
        return next((batch.column(COLUMN) for batch in batches), None)


def _texts(
    column: pa.Array, first_row: int, parquet: Parquet, limit: int
) -> Iterator[pa.LargeStringArray]:
    """A column's rows as text: as they are, or in slices where they stand for a dictionary's."""
    if pa.types.is_dictionary(column.type):
        row_bytes = _row_bytes(column)
        _require_lengths(row_bytes, first_row, parquet, limit)
        values, ends = _as_large(column.dictionary), np.cumsum(row_bytes)
        start = 0
        while start < len(column):
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + BATCH_BYTES, "right")))
            texts = values.take(column.indices[start:stop])
            yield _valid(texts, first_row + start, parquet)
            start = stop
        return
    texts = _as_large(column)
    _require_lengths(np.diff(offsets(texts)), first_row, parquet, limit)
    yield _valid(texts, first_row, parquet)


def _as_large(column: pa.Array) -> pa.LargeStringArray:
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_large_string(column.type):
        return column
    if pa.types.is_string(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    return column.cast(pa.large_binary()).view(pa.large_string())


def _row_bytes(column: pa.DictionaryArray) -> NDArray[np.int64]:
    """Bytes of the text that each row stands for, 0 for a null; shape (num_rows,)."""
    row_bytes = np.zeros(len(column), np.int64)
    value_bytes = np.diff(offsets(_as_large(column.dictionary)))
    places = np.from_dlpack(column.indices.drop_null().cast(pa.int64())).astype(np.int64)
    row_bytes[present(column.indices)] = value_bytes[places]
    return row_bytes


def _require_lengths(
    row_bytes: NDArray[np.int64], first_row: int, parquet: Parquet, limit: int
) -> None:
    if row_bytes.max(initial=0) > limit:
        row = int(np.argmax(row_bytes > limit))
        raise CorpusError(
            f"{COLUMN!r} of row {first_row + row} of {parquet.path} has {row_bytes[row]:,} bytes, "
            f"more than the {limit:,} that a document may have; split or remove that row"
        )


def _valid(texts: pa.LargeStringArray, first_row: int, parquet: Parquet) -> pa.LargeStringArray:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as error:
        for row, value in enumerate(texts.view(pa.large_binary()), first_row):
            try:
                _ = value.is_valid and value.as_py().decode("utf-8")
            except UnicodeDecodeError as invalid:
                raise CorpusError(
                    f"{COLUMN!r} of row {row} of {parquet.path} is not valid UTF-8 (byte "
                    f"{invalid.start}: {invalid.reason}); repair or remove that row"
                ) from error
        raise
    return texts


def _num_bytes(texts: pa.LargeStringArray) -> int:
    ends = offsets(texts)
    return int(ends[-1] - ends[0])


def _together(batches: list[Batch]) -> Batch:
    """Adjoining batches as one."""
    first = batches[0]
    if len(batches) == 1:
        return first
    return Batch(first.first_row, pa.concat_arrays([batch.contents for batch in batches]))
