r"""Bytes that `pickle.dump` wrote for a list of lists of int -> ids, without an unpickler.

The old script's shards (protocols 2 to 5) have ids of one, two or four bytes, so a row's length
depends on its values. This is a strict decoder of that one shape, vectorised over rows:

    PROTO p                                  protocols 4 and 5: cut into FRAMEs of 64 KiB and more
    list:  ] memo  ( item * 1000 e  ...      items in batches of 1,000
    memo:  MEMOIZE (4, 5), BINPUT or LONG_BINPUT with the running number (2, 3)
    id:    K b | M lo hi | J b0 b1 b2 b3     BININT1, BININT2, BININT
    a single left-over item:  ( item e  or  item a      (the C and the Python pickler)

All rows have `seq_length` ids and known headers, so their starts are found by search, all rows
advance one id a step, and every byte between them is compared with the grammar. Anything else is
refused: nothing is looked up, called, memoised or nested. One grammar, so one module, though it has
300 lines.
"""

import struct
from contextlib import suppress
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.packing import MAX_TOKEN_ID, id_dtype
from codedata.format.shards import Bytes

_Count = TypeVar("_Count", int, NDArray[np.int64])

_BATCH = 1000
"""Items between MARK and APPENDS: `_BATCHSIZE` of CPython's pickle."""

_FRAME_TARGET = 64 * 1024
"""A frame ends once it has this many bytes: `_FRAME_SIZE_TARGET` of CPython's pickle."""

_FRAME_MIN = 4
"""Fewer bytes than this at the end stand outside a frame: `_FRAME_SIZE_MIN`."""

_FEW_ROWS = 64
"""Fewer rows than this in step are slower than a walk through them."""

_FRAME_HEADER = struct.Struct("<cQ")
_FRAMED_HEADER = b"]\x94"
"""How each row starts from protocol 4 on, where memo numbers are not written."""

_MARK = ord("(")
_PADDING = bytes(8)

_ID_BYTES = np.zeros(256, np.uint8)
_ID_BYTES[[ord("K"), ord("M"), ord("J")]] = 2, 3, 5
_WIDTHS = _ID_BYTES.tolist()
_ID_MASK = np.zeros(256, np.uint32)
_ID_MASK[[ord("K"), ord("M"), ord("J")]] = 0xFF, 0xFFFF, 0xFFFFFFFF


def decode_foreign_shard(
    data: Bytes, *, num_samples: int, seq_length: int, name: str
) -> NDArray[Any]:
    """The ids of a shard that `pickle.dump` wrote.

    Args:
        data: uint8, shape (num_bytes,).
        num_samples: rows, as the meta says.
        seq_length: ids a row, as the meta says.
        name: the shard, for messages.

    Returns:
        Read-only, uint16 or int32, shape (num_samples, seq_length).

    Raises:
        DatasetError: the bytes are anything else than that list of lists.
    """
    require_foreign_size(len(data), num_samples, seq_length, name)
    decoder = _Decoder(bytes(data), num_samples, seq_length, name)
    return decoder.decode()


def foreign_bounds(num_samples: _Count, seq_length: _Count) -> tuple[_Count, _Count]:
    """The fewest and the most bytes that such a shard may have; of arrays of counts arrays."""
    return num_samples * (2 * seq_length + 2), 2 * num_samples * (6 * seq_length + 9) + 64


def require_foreign_size(num_bytes: int, num_samples: int, seq_length: int, name: str) -> None:
    """Refuse what cannot be such a shard, by its size.

    Raises:
        DatasetError: naming it.
    """
    least_bytes, most_bytes = foreign_bounds(num_samples, seq_length)
    if not least_bytes <= num_bytes <= most_bytes:
        raise DatasetError(
            f"{name} has {num_bytes} bytes, which cannot be {num_samples} samples of {seq_length} "
            "tokens: it is truncated, or belongs to another meta; make the dataset again"
        )


class _Decoder:
    """One decoding; the grammar's places are the methods."""

    def __init__(self, data: bytes, num_samples: int, seq_length: int, name: str) -> None:
        self.name = name
        self.num_samples = num_samples
        self.seq_length = seq_length
        if data[:1] != b"\x80" or data[1] not in (2, 3, 4, 5):
            raise self.refusal("it does not start as a pickle of protocol 2 to 5")
        self.protocol = data[1]
        self.body, self.frame_ends = self.unframed(data)
        self.num_bytes = len(self.body)
        self.body += _PADDING
        self.bytes = np.frombuffer(self.body, np.uint8)
        self.words = np.ndarray(
            (self.num_bytes + 4,), np.dtype("<u4"), buffer=self.body, offset=1, strides=(1,)
        )
        """words[i]: the four bytes after byte i, as an unsigned integer."""
        self.is_opcode = np.zeros(len(self.body), np.bool_)

    def refusal(self, why: str) -> DatasetError:
        return DatasetError(
            f"{self.name} is not a list of lists of token ids as pickle.dump writes it (protocol 2 "
            f"to 5): {why}; nothing of it was executed; write it again from a source you trust"
        )

    def unframed(self, data: bytes) -> tuple[bytes, list[int]]:
        """The opcodes without PROTO and FRAMEs, and where in them the frames ended."""
        if self.protocol < 4:
            return data[2:], []
        position, num_bytes = 2, 0
        frames: list[bytes] = []
        ends: list[int] = []
        while len(data) - position >= _FRAME_MIN:
            header = data[position : position + _FRAME_HEADER.size]
            if len(header) < _FRAME_HEADER.size or header[:1] != b"\x95":
                raise self.refusal(f"byte {position} does not start a frame")
            position += len(header)
            length = _FRAME_HEADER.unpack(header)[1]
            stop = position + length
            is_last = len(data) - stop < _FRAME_MIN
            if stop > len(data) or length < (_FRAME_MIN if is_last else _FRAME_TARGET):
                raise self.refusal(f"the frame at byte {position} has an impossible length")
            frames.append(data[position:stop])
            num_bytes += length
            ends.append(num_bytes)
            position = stop
        frames.append(data[position:])
        return b"".join(frames), ends

    def expect(self, position: int, expected: bytes) -> int:
        """Compare bytes of the outer list; the position after them."""
        stop = position + len(expected)
        if stop > self.num_bytes or self.body[position:stop] != expected:
            raise self.refusal(f"byte {position} of its opcodes is not {expected!r}")
        self.is_opcode[position] = True
        return stop

    def memo(self, number: int) -> bytes:
        if self.protocol >= 4:
            return b"\x94"
        return b"q" + bytes([number]) if number < 256 else b"r" + number.to_bytes(4, "little")

    def decode(self) -> NDArray[Any]:
        start = self.expect(0, b"]")
        start = self.expect(start, self.memo(0))
        if self.num_samples > 1:
            start = self.expect(start, b"(")
        ids = None
        with suppress(DatasetError):
            ids = self.decode_rows(start, self.search_rows(start))
        if ids is None:  # rare and slower: an id above 680 million may look like a row's start
            ids = self.decode_rows(start, self.walk_rows(start))
        for end in self.frame_ends:
            if end < self.num_bytes and not self.is_opcode[end]:
                raise self.refusal("an opcode straddles two frames")
        return ids

    def row_header(self, row: int) -> bytes:
        return _FRAMED_HEADER if self.protocol >= 4 else b"]" + self.memo(row + 1)

    def expect_headers(self, starts: NDArray[np.int64]) -> NDArray[np.int64]:
        """Compare the headers of the rows at `starts`; where each ends, shape (num_samples,)."""
        if self.protocol < 4:  # each has its own number
            places = enumerate(starts.tolist())
            return np.array([self.expect(at, self.row_header(row)) for row, at in places], np.int64)
        self.is_opcode[starts] = True
        right = np.ones(len(starts), np.bool_)
        for place, byte in enumerate(_FRAMED_HEADER):
            right &= self.bytes[starts + place] == byte
        self.require(right)
        return starts + len(_FRAMED_HEADER)

    def search_rows(self, start: int) -> NDArray[np.int64]:
        """Where the rows seem to start, going by their headers; shape (num_samples,)."""
        starts = np.empty(self.num_samples, np.int64)
        starts[0] = start
        mark = b"(" if self.seq_length > 1 else b""
        header = self.row_header(0)
        for row in range(1, self.num_samples):
            start += len(header) + 2 * self.seq_length + 1
            header = self.row_header(row)
            start = self.body.find(header + mark, start, self.num_bytes)
            if start < 0:
                raise self.refusal(f"sample {row} was not found")
            starts[row] = start
        return starts

    def walk_rows(self, start: int) -> NDArray[np.int64]:
        """Where the rows start, id by id; shape (num_samples,)."""
        starts = np.empty(self.num_samples, np.int64)
        for row in range(self.num_samples):
            starts[row] = start
            _, start = self.walk_row(start + len(self.row_header(row)))
            if (row + 1) % _BATCH == 0 and row + 1 < self.num_samples:
                start += 1
                start += self.body[start : start + 1] == b"("
        return starts

    def walk_row(self, position: int) -> tuple[list[int], int]:
        """Where the batches of a row start, and where the row stops; what is no id has no width."""
        widths, body, num_bytes, num_ids = _WIDTHS, self.body, self.num_bytes, self.seq_length
        batches: list[int] = []
        while num_ids > 0:
            batches.append(position)
            # min() takes thrice as long.
            position = position if position < num_bytes else num_bytes  # noqa: FURB136
            if body[position] == _MARK:
                position += 1
            for _ in range(num_ids if num_ids < _BATCH else _BATCH):  # noqa: FURB136
                position += widths[body[position]]
            position = position + 1 if position < num_bytes else num_bytes
            num_ids -= _BATCH
        return batches, position

    def decode_rows(self, start: int, starts: NDArray[np.int64]) -> NDArray[Any]:
        """The ids of the rows at `starts`, once every byte from `start` to the end is checked."""
        self.is_opcode[:] = False
        at = self.expect_headers(starts)
        self.is_opcode[starts + 1] = True
        if self.num_samples < _FEW_ROWS and self.seq_length >= _BATCH:
            columns = self.decode_few_rows(at)
        else:
            columns = np.empty((self.seq_length, self.num_samples), np.uint32)
            for first in range(0, self.seq_length, _BATCH):
                self.decode_batches(at, columns[first : first + _BATCH])
        if columns.max() > MAX_TOKEN_ID:
            raise self.refusal(f"an id is above {MAX_TOKEN_ID}")
        self.check_between_rows(start, starts, at)
        ids = np.ascontiguousarray(columns.T, id_dtype(int(columns.max())))
        ids.flags.writeable = False
        return ids

    def decode_few_rows(self, at: NDArray[np.int64]) -> NDArray[np.uint32]:
        """Decode few, long rows: a walk finds their full batches, which then go in step.

        Args and returns as `decode_batches` has them, `at` and the ids by rows.
        """
        num_full, num_left = divmod(self.seq_length, _BATCH)
        starts = np.array([self.walk_row(position)[0][:num_full] for position in at.tolist()])
        stops = starts.copy()
        full = np.empty((_BATCH, stops.size), np.uint32)
        self.decode_batches(stops.reshape(-1), full)
        self.require((stops[:, :-1] == starts[:, 1:]).all(axis=1) & (starts[:, 0] == at))
        at[:] = stops[:, -1]
        rest = np.empty((num_left, self.num_samples), np.uint32)
        if num_left:
            self.decode_batches(at, rest)
        return np.concatenate([full.T.reshape(-1, num_full * _BATCH).T, rest])

    def decode_batches(self, at: NDArray[np.int64], columns: NDArray[np.uint32]) -> None:
        """Decode batches in step, one id of each at a time.

        Args:
            at: where each starts, shape (num_batches,), any number of them in a row; moved on to
                where each stops.
            columns: takes the ids, shape (ids of a batch, num_batches).
        """
        has_mark = self.bytes[at] == ord("(")
        # A single item has no mark; left over from batches of 1,000 it may have one.
        right = has_mark.copy() if len(columns) > 1 else ~has_mark | (self.seq_length > 1)
        self.is_opcode[at] = True
        at += has_mark
        for column in columns:
            self.is_opcode[at] = True
            opcodes = self.bytes[at]
            np.bitwise_and(self.words[at], _ID_MASK[opcodes], out=column)
            widths = _ID_BYTES[opcodes]
            right &= widths > 0
            at += widths
            np.minimum(at, self.num_bytes, out=at)
        self.is_opcode[at] = True
        right &= self.bytes[at] == np.where(has_mark, np.uint8(ord("e")), np.uint8(ord("a")))
        self.require(right)
        at += 1

    def require(self, right: NDArray[np.bool_]) -> None:
        """Refuse the first row, of equally many entries a row, that is not right."""
        if not right.all():
            row = int(np.argmin(right)) * self.num_samples // len(right)
            raise self.refusal(f"sample {row} does not hold {self.seq_length} ids as it must")

    def check_between_rows(
        self, start: int, starts: NDArray[np.int64], stops: NDArray[np.int64]
    ) -> None:
        """Every byte before, between and after the rows is the outer list's."""
        if starts[0] != start:
            raise self.refusal("the first sample does not follow the start of the list")
        batch_starts = range(_BATCH, self.num_samples, _BATCH)
        appended = self.num_samples == 1
        for row in batch_starts:
            position = self.expect(int(stops[row - 1]), b"e")
            appended = row == self.num_samples - 1 and self.body[position : position + 1] != b"("
            if not appended:
                position = self.expect(position, b"(")
            stops[row - 1] = position
        wrong = np.flatnonzero(starts[1:] != stops[:-1])
        if len(wrong):
            raise self.refusal(f"sample {int(wrong[0]) + 1} does not follow the one before")
        position = self.expect(int(stops[-1]), b"a" if appended else b"e")
        position = self.expect(position, b".")
        if position != self.num_bytes:
            raise self.refusal(f"{self.num_bytes - position} bytes follow its end")
