"""The bytes of a file, whatever is around them -> those of its format, in bounded pieces.

Invariants: all members and frames of a compressed file are read, one after the other; one that is
cut off, or has something else behind it, is refused; what compressed bytes expand to is never held.
"""

import bz2
import lzma
from collections.abc import Callable
from functools import partial
from io import BufferedReader, RawIOBase
from typing import Any, BinaryIO

import pyarrow as pa

_BLOCK_BYTES = 1 << 20
"""Read at once."""

_MOST_XZ_BYTES = 300_000_000
"""Of memory, by what a stream asks for: `xz -9` asks for 65 MB."""

COMPRESSIONS = {"gz": "gzip", "zst": "zstd", "bz2": "bz2", "xz": "xz"}
"""What a last ending stands for."""


Opened = BinaryIO | RawIOBase
"""A file, at its start."""


class Borrowed(RawIOBase):
    """A file that is read on, and not closed with what reads it."""

    def __init__(self, opened: Opened) -> None:
        self._opened = opened

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on."""
        piece = self._opened.read(len(buffer)) or b""
        buffer[: len(piece)] = piece
        return len(piece)


class _Streams(RawIOBase):
    """What bz2 or xz streams hold, one after the other.

    `bz2.open` and `lzma.open` take what stands behind the first stream for its end if it is no
    stream, and so lose what a damaged one holds.
    """

    def __init__(self, opened: Any, new: Callable[[], Any], padding: bytes) -> None:
        self._opened, self._new, self._padding = opened, new, padding
        self._stream = new()

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on.

        Raises:
            OSError: damaged or cut off, without a number, as pyarrow's streams do.
        """
        while True:
            data = b""
            if self._stream.eof:
                data = self._stream.unused_data.lstrip(self._padding)
                while not data:
                    if not (block := self._opened.read(_BLOCK_BYTES)):
                        return 0
                    data = block.lstrip(self._padding)
                self._stream = self._new()
            elif self._stream.needs_input and not (data := self._opened.read(_BLOCK_BYTES)):
                raise OSError("Truncated compressed stream")
            try:
                piece = self._stream.decompress(data, len(buffer))
            except lzma.LZMAError as error:
                raise OSError(str(error)) from error
            if piece:
                buffer[: len(piece)] = piece
                return len(piece)


def decompressed(opened: Opened | BufferedReader, compression: str | None) -> BufferedReader:
    """What a file holds, to be read in order.

    Args:
        opened: at its start.
        compression: one of `COMPRESSIONS`, or none.
    """
    stream: Any = opened
    if compression == "bz2":
        stream = _Streams(opened, bz2.BZ2Decompressor, b"")
    elif compression == "xz":
        new = partial(lzma.LZMADecompressor, lzma.FORMAT_XZ, memlimit=_MOST_XZ_BYTES)
        stream = _Streams(opened, new, b"\0")
    elif compression:
        stream = pa.CompressedInputStream(pa.PythonFile(opened, "r"), compression)
    return BufferedReader(stream, _BLOCK_BYTES)
