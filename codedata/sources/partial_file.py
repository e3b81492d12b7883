"""A file of which only some byte ranges are here, at their places in a sparse file.

    <name>                the sparse file, as large as the whole one; holes take no disk
    <name>.ranges.json    what it is a part of, and the sha256 of each range that is here

A range is written, forced to the disk and only then noted, so that after a kill what is noted is
there. Whoever opens the file again hashes each range: damaged ones count as missing.
"""

import hashlib
import io
import json
import os
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, NamedTuple

from codedata.errors import CorpusError
from codedata.store.files import naming, replace_atomically

_MAX_RANGE_BYTES = 8 << 20
"""What a kill loses at most; a larger piece is noted in several ranges."""

_READ_BYTES = 1 << 20

Fetch = Callable[[int, int], Iterable[bytes]]
"""Gives bytes `start` to `stop` (exclusive) of the whole file, in blocks."""


class ByteRange(NamedTuple):
    """Bytes `start` to `stop` (exclusive), and their sha256."""

    start: int
    stop: int
    sha256: str


@dataclass(frozen=True, kw_only=True)
class TextPart:
    """The leading text of a parquet, in a sparse file that holds no more than that takes.

    Attributes:
        fingerprint: sha256 over what it is a part of and its row groups; the same wherever and
            however the bytes were fetched.
        num_chars: characters that may be used.
        ends_here: whether the text has no more than those.
        num_row_groups: leading row groups that are here.
        ranges: the bytes that are here.
    """

    fingerprint: str
    num_chars: int
    ends_here: bool
    num_row_groups: int
    ranges: tuple[ByteRange, ...]

    @classmethod
    def from_json(cls, fields: Mapping[str, Any]) -> "TextPart":
        """The inverse of `dataclasses.asdict`, after a round through JSON."""
        return cls(**{**fields, "ranges": tuple(ByteRange(*each) for each in fields["ranges"])})

    def require_intact(self, path: Path) -> None:
        """Hash what is here.

        Raises:
            CorpusError: a range is not as it was fetched.
        """
        with open(path, "rb") as file:
            for each in self.ranges:
                if _sha256_at(file.fileno(), each) != each.sha256:
                    raise CorpusError(
                        f"bytes {each.start} to {each.stop} of {path} are not as they were "
                        "fetched; materialize its corpus again, which fetches those anew"
                    )


class SparseFile:
    """Ranges of a file, fetched when they are read for the first time; from any thread.

    Once a fetch has failed, or nobody waits any more, no thread begins another.

    Args:
        path: of the sparse file; what is there of the same `whole` is taken over.
        whole: what identifies the file that this is a part of.
        num_bytes: the whole file's size.
        fetch: gives what is missing.

    Attributes:
        failure: the first error of a fetch; raised again by whoever reads what is not here.
        stopped: set when nobody waits for what is being fetched.
    """

    def __init__(self, path: Path, whole: Mapping[str, Any], num_bytes: int, fetch: Fetch) -> None:
        self.path = path
        self._whole = dict(whole)
        self._fetch = fetch
        self._lock = threading.Lock()
        self.failure: Exception | None = None
        self.stopped = threading.Event()
        self.num_bytes = num_bytes
        noted = read_ranges(path, whole)
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666)
        if not noted:
            os.ftruncate(self._file, 0)
        os.ftruncate(self._file, num_bytes)
        self._ranges = sorted(each for each in noted if _sha256_at(self._file, each) == each.sha256)

    def __enter__(self) -> "SparseFile":
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file; what was fetched stays."""
        os.close(self._file)

    @property
    def ranges(self) -> tuple[ByteRange, ...]:
        """What is here, in order."""
        return tuple(self._ranges)

    @property
    def bytes_here(self) -> int:
        """How much is here."""
        return sum(each.stop - each.start for each in self._ranges)

    def read(self, start: int, stop: int) -> bytes:
        """Bytes of the whole file, fewer where it ends; what is not here is fetched."""
        stop = min(stop, self.num_bytes)
        for hole_start, hole_stop in self._holes(start, stop):
            for piece in range(hole_start, hole_stop, _MAX_RANGE_BYTES):
                self._bring(piece, min(piece + _MAX_RANGE_BYTES, hole_stop))
        parts: list[bytes] = []
        while start < stop and (part := os.pread(self._file, stop - start, start)):
            parts.append(part)  # at most 2 GiB at once
            start += len(part)
        return parts[0] if len(parts) == 1 else b"".join(parts)

    def view(self) -> "SparseView":
        """A binary file over the whole, at its start."""
        return SparseView(self)

    def _holes(self, start: int, stop: int) -> list[tuple[int, int]]:
        with self._lock:
            inside = [each for each in self._ranges if each.stop > start and each.start < stop]
        borders = [start, *(border for each in inside for border in each[:2]), stop]
        return [(low, high) for low, high in list(pairwise(borders))[::2] if low < high]

    def _bring(self, start: int, stop: int) -> None:
        if self.failure is not None:
            raise self.failure
        try:
            with naming(self.path):
                sha256 = self._write(start, stop)
        except Exception as error:
            if not self.stopped.is_set():
                self.failure = error
            raise
        with self._lock:
            if not any(each.start < stop and start < each.stop for each in self._ranges):
                self._ranges = sorted([*self._ranges, ByteRange(start, stop, sha256)])
                self._note()

    def _write(self, start: int, stop: int) -> str:
        digest = hashlib.sha256()
        for block in self._fetch(start, stop):
            if self.stopped.is_set():
                raise InterruptedError(f"{self.path}: nobody waits for it any more")
            digest.update(block)
            left = memoryview(block)
            while left:  # a disk that fills up takes a part
                written = os.pwrite(self._file, left, start)
                start, left = start + written, left[written:]
        assert start == stop, "fetch gives what it was asked for, or raises"
        os.fsync(self._file)
        return digest.hexdigest()

    def _note(self) -> None:
        note = {"whole": self._whole, "ranges": self._ranges}
        replace_atomically(_note_path(self.path), json.dumps(note).encode())


class SparseView(io.RawIOBase):
    """Reads a `SparseFile` like any binary file."""

    def __init__(self, sparse: SparseFile) -> None:
        super().__init__()
        self._sparse = sparse
        self._position = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move to another place."""
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self._sparse.num_bytes}
        self._position = base[whence] + offset
        return self._position

    def read(self, size: int = -1) -> bytes:
        """The next bytes, fewer only at the end."""
        end = self._sparse.num_bytes
        stop = end if size < 0 else min(self._position + size, end)
        data = self._sparse.read(self._position, stop)
        self._position += len(data)
        return data


def move_sparse_file(source: Path, target: Path) -> None:
    """Put a sparse file and its note in another one's place.

    Between the two steps the note does not fit the bytes, which is found where they are read.
    """
    _note_path(source).replace(_note_path(target))
    source.replace(target)


def relabel(path: Path, whole: Mapping[str, Any]) -> None:
    """Note that a sparse file is a part of something else, which has the same bytes."""
    note: Any = json.loads(_note_path(path).read_bytes())
    replace_atomically(_note_path(path), json.dumps({**note, "whole": dict(whole)}).encode())


def read_ranges(path: Path, whole: Mapping[str, Any]) -> list[ByteRange]:
    """The ranges noted of a sparse file, if it is a part of `whole`."""
    if not path.is_file():
        return []
    try:
        note: Any = json.loads(_note_path(path).read_bytes())
        if note["whole"] != dict(whole):
            return []
        return [ByteRange(*each) for each in note["ranges"]]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return []


def read_whole(path: Path) -> dict[str, Any] | None:
    """What a sparse file is noted to be a part of; None where there is no note."""
    try:
        whole: Any = json.loads(_note_path(path).read_bytes())["whole"]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        return None
    return whole if isinstance(whole, dict) else None


def _note_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.ranges.json")


def _sha256_at(descriptor: int, each: ByteRange) -> str:
    digest = hashlib.sha256()
    start = each.start
    while block := os.pread(descriptor, min(_READ_BYTES, each.stop - start), start):
        digest.update(block)
        start += len(block)
    return digest.hexdigest()
