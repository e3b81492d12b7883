"""A column of any text type, as Arrow gives it -> texts of 64-bit offsets, found to be valid UTF-8.

Arrays are read by their buffers: `to_numpy` and `pa.array` import pandas where there is one.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from codedata.errors import CorpusError
from codedata.sources.parquet.refusals import COLUMN

MAX_DOCUMENT_BYTES = 1_000_000_000
"""A longer text is no source code, and takes several times its size while it is decoded; Arrow
itself holds no cell of 2 GiB."""

SLICE_BYTES = 1_000_000
"""Decoded text at a time: it stays in the processor's cache until it is used."""


def texts_of(
    column: pa.Array, first_row: int, path: Path, limit: int
) -> Iterator[pa.LargeStringArray]:
    """A column's rows as text: as they are, or in slices where they stand for a dictionary's."""
    if pa.types.is_dictionary(column.type):
        row_bytes = row_bytes_of(column)
        _require_lengths(row_bytes, first_row, path, limit)
        values, ends = as_large(column.dictionary), np.cumsum(row_bytes)
        start = 0
        while start < len(column):
            before = int(ends[start - 1]) if start else 0
            stop = max(start + 1, int(np.searchsorted(ends, before + SLICE_BYTES, "right")))
            texts = values.take(column.indices[start:stop])
            yield _valid(texts, first_row + start, path)
            start = stop
        return
    texts = as_large(column)
    _require_lengths(np.diff(offsets(texts)), first_row, path, limit)
    yield _valid(texts, first_row, path)


def as_large(column: pa.Array) -> pa.LargeStringArray:
    """A column of text or bytes as text, not validated; its data is not copied if it can be."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_large_string(column.type):
        return column
    if pa.types.is_string(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    return column.cast(pa.large_binary()).view(pa.large_string())


def row_bytes_of(column: pa.DictionaryArray) -> NDArray[np.int64]:
    """Bytes of the text that each row stands for, 0 for a null; shape (num_rows,)."""
    row_bytes = np.zeros(len(column), np.int64)
    value_bytes = np.diff(offsets(as_large(column.dictionary)))
    places = np.from_dlpack(column.indices.drop_null().cast(pa.int64())).astype(np.int64)
    row_bytes[present(column.indices)] = value_bytes[places]
    return row_bytes


def _require_lengths(row_bytes: NDArray[np.int64], first_row: int, path: Path, limit: int) -> None:
    if row_bytes.max(initial=0) > limit:
        row = int(np.argmax(row_bytes > limit))
        raise CorpusError(
            f"{COLUMN!r} of row {first_row + row} of {path} has {row_bytes[row]:,} bytes, "
            f"more than the {limit:,} that a document may have; split or remove that row"
        )


def _valid(texts: pa.LargeStringArray, first_row: int, path: Path) -> pa.LargeStringArray:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid as error:
        for row, value in enumerate(texts.view(pa.large_binary()), first_row):
            try:
                _ = value.is_valid and value.as_py().decode("utf-8")
            except UnicodeDecodeError as invalid:
                raise CorpusError(
                    f"{COLUMN!r} of row {row} of {path} is not valid UTF-8 (byte "
                    f"{invalid.start}: {invalid.reason}); repair or remove that row"
                ) from error
        raise
    return texts


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
    """Where each value begins in the array's data, and last where the last one ends."""
    if not len(array):
        return np.zeros(1, np.int64)
    return np.frombuffer(array.buffers()[1], np.int64)[array.offset :][: len(array) + 1]


def num_bytes_of(texts: pa.LargeStringArray) -> int:
    """Bytes of all texts together."""
    ends = offsets(texts)
    return int(ends[-1] - ends[0])
