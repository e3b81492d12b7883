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
refused: nothing is looked up, called, memoised or nested.
"""

import struct
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.core.packing import id_dtype
from codedata.core.settings import MAX_TOKEN_ID
from codedata.core.shards import Bytes
from codedata.errors import DatasetError

_BATCH = 1000
"""Items between MARK and APPENDS: `_BATCHSIZE` of CPython's pickle."""

_FRAME_TARGET = 64 * 1024
"""A frame ends once it has this many bytes: `_FRAME_SIZE_TARGET` of CPython's pickle."""

_FRAME_MIN = 4
"""Fewer bytes than this at the end stand outside a frame: `_FRAME_SIZE_MIN`."""

_FRAME_HEADER = struct.Struct("<cQ")
_PADDING = bytes(8)

_ID_BYTES = np.zeros(256, np.int64)
_ID_BYTES[[ord("K"), ord("M"), ord("J")]] = 2, 3, 5
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
    least_bytes, most_bytes = num_samples * (2 * seq_length + 2), num_samples * (6 * seq_length + 9)
    if not least_bytes <= len(data) <= 2 * most_bytes + 64:
        raise DatasetError(
            f"{name} has {len(data)} bytes, which cannot be {num_samples} samples of {seq_length} "
            "tokens: it is truncated, or belongs to another meta; make the dataset again"
        )
    decoder = _Decoder(bytes(data), num_samples, seq_length, name)
    return decoder.decode()


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
            (self.num_bytes,), np.dtype("<u4"), buffer=self.body, offset=1, strides=(1,)
        )
        """words[i]: the four bytes after byte i, as an unsigned integer."""
        self.is_opcode = np.zeros(self.num_bytes + 1, np.bool_)

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
        starts, headers = self.find_rows(start)
        ids, stops = self.decode_rows(starts + headers)
        self.check_between_rows(starts, stops)
        self.is_opcode[starts] = self.is_opcode[starts + 1] = True
        for end in self.frame_ends:
            if end < self.num_bytes and not self.is_opcode[end]:
                raise self.refusal("an opcode straddles two frames")
        return ids

    def find_rows(self, start: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Where each row starts and how long its header is, both of shape (num_samples,)."""
        starts = np.empty(self.num_samples, np.int64)
        headers = np.empty(self.num_samples, np.int64)
        mark = b"(" if self.seq_length > 1 else b""
        for row in range(self.num_samples):
            header = b"]" + self.memo(row + 1)
            start = self.body.find(header + mark, start, self.num_bytes)
            while start > 0 and row and self.body[start - 1] not in b"ea(":  # within an id
                start = self.body.find(header + mark, start + 1, self.num_bytes)
            if start < 0:
                raise self.refusal(f"sample {row} was not found")
            starts[row], headers[row] = start, len(header)
            start += len(header) + 2 * self.seq_length + 1
        return starts, headers

    def decode_rows(self, at: NDArray[np.int64]) -> tuple[NDArray[Any], NDArray[np.int64]]:
        """Decode all rows in step, from after their headers; ids, and where each row stops."""
        at = at.copy()
        columns = np.empty((self.seq_length, len(at)), np.uint32)
        right = np.ones(len(at), np.bool_)
        last_byte = self.num_bytes - 1
        closing = np.full(len(at), ord("a"), np.uint8)
        for column in range(self.seq_length):
            if column % _BATCH == 0 and self.seq_length > 1:
                if column:
                    self.is_opcode[at] = True
                    right &= self.bytes[at] == ord("e")
                    at = np.minimum(at + 1, last_byte)
                has_mark = self.bytes[at] == ord("(")
                if self.seq_length - column > 1:
                    right &= has_mark
                self.is_opcode[at] = True
                at = np.minimum(at + has_mark, last_byte)
                closing = np.where(has_mark, ord("e"), ord("a")).astype(np.uint8)
            self.is_opcode[at] = True
            opcodes = self.bytes[at]
            columns[column] = self.words[at] & _ID_MASK[opcodes]
            widths = _ID_BYTES[opcodes]
            right &= widths > 0
            at = np.minimum(at + widths, last_byte)
        self.is_opcode[at] = True
        right &= self.bytes[at] == closing
        right &= columns.max(axis=0) <= MAX_TOKEN_ID
        if not right.all():
            raise self.refusal(
                f"sample {int(np.argmin(right))} does not hold {self.seq_length} ids of 0 to "
                f"{MAX_TOKEN_ID}"
            )
        ids = np.ascontiguousarray(columns.T, id_dtype(int(columns.max())))
        ids.flags.writeable = False
        return ids, at + 1

    def check_between_rows(self, starts: NDArray[np.int64], stops: NDArray[np.int64]) -> None:
        """Every byte between and after the rows is the outer list's."""
        gaps = np.zeros(self.num_samples - 1, np.int64)
        batch_starts = range(_BATCH, self.num_samples, _BATCH)
        appended = self.num_samples == 1
        for row in batch_starts:
            position = self.expect(int(stops[row - 1]), b"e")
            appended = row == self.num_samples - 1 and self.body[position : position + 1] != b"("
            if not appended:
                position = self.expect(position, b"(")
            gaps[row - 1] = position - stops[row - 1]
        wrong = np.flatnonzero(starts[1:] != stops[:-1] + gaps)
        if len(wrong):
            raise self.refusal(f"sample {int(wrong[0]) + 1} does not follow the one before")
        position = self.expect(int(stops[-1]), b"a" if appended else b"e")
        position = self.expect(position, b".")
        if position != self.num_bytes:
            raise self.refusal(f"{self.num_bytes - position} bytes follow its end")
