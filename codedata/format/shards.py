r"""Samples <-> the bytes of a shard whose every id is one pickle opcode of fixed width.

A shard is a pickle (protocol 2) of a list of lists of int, and, byte for byte, an array:

    \x80\x02 ](  { ](  { M lo hi | J b0 b1 b2 b3 } * seq_length  e } * num_samples  e.

BININT2 (`M`, 2 bytes) serves where every id and the pad token are below 65,536, BININT (`J`,
4 bytes) otherwise. `pickle.load` gives the list; `view_shard` gives the ids as a strided view of
the same bytes. Reading compares every byte that is not an id with the one this grammar has in its
place: that is the validation and the security control in one, and no unpickler ever runs.
Opcodes: https://github.com/python/cpython/blob/3.11/Lib/pickletools.py
"""

from collections.abc import Iterator
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.packing import MAX_TOKEN_ID, IdArray

Bytes = NDArray[np.uint8]

_Count = TypeVar("_Count", int, NDArray[np.int64])

HEADER = b"\x80\x02]("
ROW_HEADER = b"]("
ROW_TRAILER = b"e"
TRAILER = b"e."
BININT2, BININT = ord("M"), ord("J")

_ROWS_AT_ONCE = 128
"""Rows checked in one go: they stay in the processor's cache for the second pass."""

_ENCODED_BYTES = 1 << 18
"""Encoded in one go: it stays in the processor's cache until it is hashed and written."""

_ID_DTYPES = {BININT2: np.dtype("<u2"), BININT: np.dtype("<i4")}


def _view_ids(rows: Bytes, opcode: int) -> NDArray[Any]:
    """The ids of rows of shape (num_samples, stride), shape (num_samples, seq_length)."""
    id_dtype = _ID_DTYPES[opcode]
    width = 1 + id_dtype.itemsize
    num_samples, stride = rows.shape
    return np.ndarray(
        (num_samples, (stride - len(ROW_HEADER) - len(ROW_TRAILER)) // width),
        id_dtype,
        buffer=rows.data,
        offset=len(ROW_HEADER) + 1,
        strides=(stride, width),
    )


def _empty_row(seq_length: int, opcode: int) -> Bytes:
    """A row all of whose ids are 0, shape (stride,)."""
    cell = bytes([opcode]) + bytes(_ID_DTYPES[opcode].itemsize)
    return np.frombuffer(ROW_HEADER + cell * seq_length + ROW_TRAILER, np.uint8)


def encode_shard(samples: IdArray, *, pad_token: int) -> Iterator[Bytes]:
    """The bytes of a shard, piece by piece, in memory that is used again for the piece after.

    Args:
        samples: shape (num_samples, seq_length), at least one of each, ids 0 to 2^31 - 1.
        pad_token: widens the opcode if it is the largest id, so that every shard of a dataset
            whose vocabulary is small has the same width whether it is padded or not.

    Yields:
        uint8, shape (num_bytes,): it holds until the next one is asked for.
    """
    largest = max(int(samples.max()), pad_token)
    assert min(int(samples.min()), pad_token) >= 0, "ids are not negative"
    assert largest <= MAX_TOKEN_ID, "ids fit BININT"
    opcode = BININT2 if largest <= np.iinfo(np.uint16).max else BININT
    row = _empty_row(samples.shape[1], opcode)
    rows = np.tile(row, (min(len(samples), max(1, _ENCODED_BYTES // len(row))), 1))
    ids = _view_ids(rows, opcode)
    yield np.frombuffer(HEADER, np.uint8)
    for start in range(0, len(samples), len(rows)):
        some = samples[start : start + len(rows)]
        ids[: len(some)] = some
        yield rows[: len(some)].reshape(-1)
    yield np.frombuffer(TRAILER, np.uint8)


def is_fixed_width(data: Bytes) -> bool:
    """Whether the first bytes are those of `encode_shard`; pickle.dump never writes them."""
    start = HEADER + ROW_HEADER
    head = bytes(data[: len(start) + 1])
    return head[:-1] == start and head[-1] in _ID_DTYPES


def stored_dtype(data: Bytes) -> np.dtype[Any] | None:
    """The dtype of the ids of a fixed-width shard, by its first bytes; None of any other."""
    return _ID_DTYPES[int(data[len(HEADER) + len(ROW_HEADER)])] if is_fixed_width(data) else None


def shard_bytes(num_samples: _Count, seq_length: _Count, id_bytes: int) -> _Count:
    """How many bytes a shard takes whose ids take two or four; of arrays of counts an array."""
    stride = len(ROW_HEADER) + seq_length * (1 + id_bytes) + len(ROW_TRAILER)
    return len(HEADER) + num_samples * stride + len(TRAILER)


def view_shard(
    data: Bytes, *, num_samples: int, seq_length: int, name: str, is_checked: bool = False
) -> NDArray[Any]:
    """The ids of a fixed-width shard, as a view of its bytes, once every byte is checked.

    Args:
        data: uint8, shape (num_bytes,), usually a mapped file.
        num_samples: rows, as the meta says.
        seq_length: ids a row, as the meta says.
        name: the shard, for messages.
        is_checked: these very bytes were, and only how many they are is looked at.

    Returns:
        Read-only, uint16 or int32 (little-endian), shape (num_samples, seq_length).

    Raises:
        DatasetError: a byte is not the one that the format has in its place.
    """
    opcode = int(data[len(HEADER) + len(ROW_HEADER)])
    expected_bytes = shard_bytes(num_samples, seq_length, _ID_DTYPES[opcode].itemsize)
    if len(data) != expected_bytes:
        raise DatasetError(
            f"{name} has {len(data)} bytes, but {num_samples} samples of {seq_length} tokens take "
            f"{expected_bytes}: it is truncated, or belongs to another meta; make the dataset again"
        )
    rows = data[len(HEADER) : -len(TRAILER)].reshape(num_samples, -1)
    ids = _view_ids(rows, opcode)
    ids.flags.writeable = False
    if is_checked:
        return ids
    if bytes(data[-len(TRAILER) :]) != TRAILER:
        raise _wrong_byte(name, f"the last {len(TRAILER)} bytes")
    row = _empty_row(seq_length, opcode)
    fixed = np.full_like(row, 0xFF)
    # Of an id only the sign is fixed, which uint16 does not have.
    _view_ids(fixed[np.newaxis], opcode)[...] = np.iinfo(ids.dtype).min
    for start in range(0, num_samples, _ROWS_AT_ONCE):
        block = rows[start : start + _ROWS_AT_ONCE]
        # Where every row has the same bit, "and" and "or" over all rows agree on it.
        ones = np.bitwise_and.reduce(block, axis=0)
        zeros = np.bitwise_or.reduce(block, axis=0)
        if (((ones ^ row) | (zeros ^ row)) & fixed).any():
            wrong = (((block ^ row) & fixed) != 0).any(axis=1)
            raise _wrong_byte(name, f"sample {start + int(np.argmax(wrong))}")
    return ids


def _wrong_byte(name: str, where: str) -> DatasetError:
    return DatasetError(
        f"{name} is damaged or was not written as a list of lists of token ids: {where} breaks the "
        "format; nothing of it was executed; make the dataset again"
    )
