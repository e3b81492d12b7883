"""A parquet's documents as one text, addressed in characters.

The text is the file's non-null contents in file order, joined by one space. Only the column
`content` is read, and of it only the row groups that hold the characters asked for, batch by
batch. Where each row group's characters start is counted once, as far as a window reaches, and
kept in a small sidecar named by the file's sha256 (see `cache_folder`).

Invariants: `read` of adjoining ranges concatenates to the text; a row group before the window is
never decoded once its count is known; every document read was found to be valid UTF-8.
"""

import json
import logging
import os
import stat
import time
from bisect import bisect_right
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, fields
from functools import lru_cache
from itertools import accumulate, chain
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codedata.core.settings import CharRange
from codedata.errors import CorpusError
from codedata.io.files import replace_atomically, sha256_of, shortened, why_no_path
from codedata.io.partial_file import SparseFile, TextPart
from codedata.parallel import available_cores

logger = logging.getLogger(__name__)

Utf8 = NDArray[np.uint8]
"""Text as UTF-8, shape (num_bytes,)."""

COLUMN = "content"

MAGIC = b"PAR1"
"""The first and the last bytes of a parquet."""

_BATCH_ROWS = 64
"""Documents decoded at once: The Stack's are 10 kB on average and at most 1 MB."""

_COUNTED_ROWS = 512
"""Documents counted at once; nothing but their lengths is kept."""

_MOST_DECODERS = 8
"""Row groups decoded at once, to be counted: each takes twice its size in memory."""

_READ_BUFFER_BYTES = 1 << 20
"""Compressed pages are read through a buffer of this size, never a whole column chunk."""

_SPACE = pa.LargeStringArray.from_buffers(
    1, pa.py_buffer(np.array([0, 1], np.int64)), pa.py_buffer(b" ")
)[0]
"""Arrays are built from buffers: `pa.array` and `pa.scalar` import pandas where it is installed."""

Documents = tuple[pa.LargeStringArray, NDArray[np.int64]]
"""Contents that are not null, and where each and the space after it end."""

_KEPT_GROUPS, _KEPT_BYTES = 1, 32 * 1024 * 1024
"""Row groups kept decoded, and how large they may be: neighbouring chunks need the same one."""

_DECODING = BoundedSemaphore(max(1, available_cores() // 4))
"""Decoding takes three times a row group's size, and a tenth of the time that tokenizing takes."""

_OF_PROCESS = ("_kept", "_kept_lock")
"""What another process does not get."""

_YOUNG_NS = 2_000_000_000
"""Of filesystems' times the coarsest in use counts in steps of two seconds."""

_MOST_BYTES = 4
"""Bytes of a character in UTF-8."""

_TEXT_TYPES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)


def cache_folder() -> Path:
    """Where sidecars are kept: `$XDG_CACHE_HOME/codedata`, by default `~/.cache/codedata`."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "codedata"


@dataclass(frozen=True, kw_only=True)
class FileIdentity:
    """What tells, at no cost, that a file is still the one that was hashed."""

    num_bytes: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "FileIdentity":
        """The identity of the file that is at `path` now."""
        stat = path.stat()
        return cls(num_bytes=stat.st_size, modified_ns=stat.st_mtime_ns, inode=stat.st_ino)


@dataclass(kw_only=True)
class TextIndex:
    """Counts of the leading row groups, lists of equal length that grow as windows reach on.

    Attributes:
        num_chars: characters of the contents, a space after each included.
        num_documents: contents that are not null.
        num_nulls: null contents.
    """

    num_chars: list[int] = field(default_factory=list)
    num_documents: list[int] = field(default_factory=list)
    num_nulls: list[int] = field(default_factory=list)

    @classmethod
    def from_json(cls, data: bytes, group_rows: Sequence[int]) -> "TextIndex":
        """Read a sidecar.

        Args:
            data: the file's bytes.
            group_rows: rows of each row group, which the counts must add up to.

        Raises:
            ValueError: it does not hold three lists of counts for these row groups.
        """
        try:
            counts = json.loads(data)
        except RecursionError as error:
            raise ValueError("it is nested without end") from error
        names = [each.name for each in fields(cls)]
        if not isinstance(counts, dict) or sorted(counts) != sorted(names):
            raise ValueError(f"it does not hold {', '.join(names)}")
        if not all(isinstance(counts[name], list) for name in names):
            raise ValueError("its counts are no lists")
        lengths = {len(counts[name]) for name in names}
        right = all(type(n) is int and n >= 0 for name in names for n in counts[name])
        if not right or len(lengths) != 1 or max(lengths) > len(group_rows):
            raise ValueError("its counts are not those of the file's row groups")
        index = cls(**counts)
        for chars, documents, nulls, rows in zip(
            index.num_chars, index.num_documents, index.num_nulls, group_rows, strict=False
        ):
            if documents + nulls != rows or chars < documents:
                raise ValueError("its counts do not add up to the file's rows")
        return index

    def starts(self) -> list[int]:
        """Where each counted row group starts, and last where the counted part ends.

        The space after the text's very last document is counted, but not of the text.
        """
        return list(accumulate(self.num_chars, initial=0))


class ParquetText:
    """The text of one parquet file.

    Args:
        path: the file.
        expected_sha256: refuse the file if its bytes hash to anything else.
        part: how much of the parquet the file holds, where it is a sparse one with a part.
        sparse: to read the parquet through while parts of it are not here yet; nothing of it is
            hashed, and nothing cached.

    Attributes:
        sha256: of the file's bytes, or the part's fingerprint.

    Raises:
        CorpusError: missing, not a whole parquet, no usable `content` column, or another sha256.
    """

    def __init__(
        self,
        path: Path,
        *,
        expected_sha256: str | None = None,
        part: TextPart | None = None,
        sparse: SparseFile | None = None,
    ) -> None:
        self.path = path
        self.part = part
        self._sparse = sparse
        if sparse is None:
            _require_parquet(path)
        self.identity = FileIdentity.of(path)
        with self._open() as file:
            metadata = file.metadata
            self.num_row_groups = part.num_row_groups if part else metadata.num_row_groups
            groups = range(self.num_row_groups)
            self.group_rows = [metadata.row_group(group).num_rows for group in groups]
            self.num_rows = sum(self.group_rows)
            self._group_bytes = [metadata.row_group(group).total_byte_size for group in groups]
            self._require_text_column(file.schema_arrow)
        self.sha256 = self._identify(expected_sha256)
        self.index = TextIndex() if sparse else self._read_sidecar()
        self._keep_nothing()

    def _identify(self, expected_sha256: str | None) -> str:
        if self._sparse is not None:
            return ""
        found = _identity_of_content(self.path, self.part)
        if expected_sha256 not in (None, found):
            raise CorpusError(
                f"{self.path} has sha256 {found}, but {expected_sha256} was expected: it is "
                "damaged or another file; remove it and fetch it again"
            )
        return found

    def clip(self, window: CharRange) -> CharRange:
        """The part of a window that the text has; counts row groups as far as that needs.

        Raises:
            CorpusError: the text is empty, or ends before the window starts, or not as much of it
                was fetched.
        """
        if self.part and not self.part.ends_here and window.stop > self.part.num_chars:
            raise CorpusError(
                f"characters {window.start} to {window.stop} are asked for, but of the text of "
                f"{self.path} only the first {self.part.num_chars} were fetched; raise first_chars "
                f"of its corpus to {window.stop}, or leave it out to have the whole file"
            )
        self._count_to(window.stop)
        counted = self.index.starts()[-1]
        if counted == sum(self.index.num_documents):
            raise CorpusError(
                f"{self.path} holds no text: {self.num_rows} rows, of which "
                f"{sum(self.index.num_nulls)} have a null and {sum(self.index.num_documents)} an "
                f"empty {COLUMN!r}; name a file with documents"
            )
        if counted > window.stop:
            return window
        length = counted - 1
        if window.start >= length:
            raise CorpusError(
                f"starting_character is {window.start}, but the text of {self.path} has only "
                f"{length} characters; choose a smaller one"
            )
        return window.until(length)

    def read(self, chars: CharRange) -> str:
        """The characters of a range as a string: see `read_utf8`."""
        return str(self.read_utf8(chars).data, "utf-8")

    def read_utf8(self, chars: CharRange) -> Utf8:
        """The characters of a range that `clip` returned, or of a part of it, as UTF-8.

        Returns:
            uint8, shape (num_bytes,).

        Raises:
            CorpusError: the file changed or is damaged, or the index is another file's.
        """
        starts = self.index.starts()
        first = bisect_right(starts, chars.start) - 1
        stop = bisect_right(starts, chars.stop - 1)
        position = starts[first]
        num_chars = num_bytes = 0
        text = np.empty(_MOST_BYTES * chars.num_chars, np.uint8)  # memory only where written
        for documents, lengths in chain.from_iterable(map(self._documents, range(first, stop))):
            ends = lengths + position
            row = int(np.searchsorted(ends, chars.start, "right"))
            last = min(int(np.searchsorted(ends, chars.stop, "left")), len(ends) - 1)
            if row <= last:
                start = max(chars.start, int(ends[row - 1]) if row else position)
                before = start - (int(ends[row - 1]) if row else position)
                after = max(0, int(ends[last]) - chars.stop)
                piece = _joined(documents.slice(row, last + 1 - row), before, after)
                num_chars += int(ends[last]) - after - start
                if num_chars > chars.num_chars:
                    break
                text[num_bytes : num_bytes + len(piece)] = piece
                num_bytes += len(piece)
            position = int(ends[-1]) if len(ends) else position
            if position >= chars.stop:
                break
        pa.default_memory_pool().release_unused()
        if num_chars != chars.num_chars:
            raise CorpusError(
                f"characters {chars.start} to {chars.stop} of {self.path} are {num_chars}: the "
                f"index {self._sidecar} does not agree with the file; remove it and run again"
            )
        return text[:num_bytes]

    def first_documents(self, num_documents: int) -> list[str]:
        """The first documents, for a look at them."""
        documents: list[str] = []
        for column in self._contents(range(self.num_row_groups)):
            documents += column.drop_null().slice(0, num_documents - len(documents)).to_pylist()
            if len(documents) == num_documents:
                break
        return documents

    def share_of_groups(self, num_chars: int) -> float:
        """About what share of the row groups the first `num_chars` characters take, by size."""
        self._count_to(0)
        return min(1.0, num_chars / max(1.0, sum(self._group_bytes) * self._density))

    @property
    def _density(self) -> float:
        """Characters a byte, going by what was counted; over 1 where equal texts are stored once.

        Less is taken for 1: a row group may hold as many characters as it has bytes.
        """
        num_chars = self.index.num_chars
        return max(1.0, sum(num_chars) / max(1, sum(self._group_bytes[: len(num_chars)])))

    def documents(
        self, chars: CharRange
    ) -> Iterator[tuple[pa.LargeStringArray, NDArray[np.int64], NDArray[np.int64]]]:
        """The documents that a range, as `clip` returned it, holds wholly or in part.

        Yields:
            Batch by batch the documents, each whole, and the characters of the text where each
            starts and, shape (num_documents,) likewise, stops.
        """
        starts = self.index.starts()
        first = bisect_right(starts, chars.start) - 1
        stop = bisect_right(starts, chars.stop - 1)
        position = starts[first]
        for documents, lengths in chain.from_iterable(map(self._documents, range(first, stop))):
            begins, stops = np.append(0, lengths[:-1]) + position, lengths + position - 1
            position += int(lengths[-1]) if len(lengths) else 0
            held = (begins < chars.stop) & ((stops > chars.start) | (begins >= chars.start))
            rows = np.flatnonzero(held[: len(documents)])
            if len(rows):
                batch = slice(int(rows[0]), int(rows[-1]) + 1)
                yield documents[batch], begins[batch], stops[batch]
            if position >= chars.stop:
                break

    def _open(self) -> pq.ParquetFile:
        if self._sparse is None and self.identity != FileIdentity.of(self.path):
            raise CorpusError(
                f"{self.path} changed while it was being read; run again once it is complete"
            )
        try:
            return pq.ParquetFile(
                self.path if self._sparse is None else pa.PythonFile(self._sparse.view(), mode="r"),
                # Through a sparse file, a row group's column is one read, and one request.
                buffer_size=_READ_BUFFER_BYTES if self._sparse is None else 0,
                pre_buffer=False,
                page_checksum_verification=True,
            )
        except (pa.ArrowException, OSError) as error:
            raise CorpusError(
                f"{self.path} is not a readable parquet file: {error}; fetch it again"
            ) from error

    def _require_text_column(self, schema: pa.Schema) -> None:
        places = schema.get_all_field_indices(COLUMN)
        if len(places) != 1:
            raise CorpusError(
                f"{self.path} has {len(places) or 'no'} columns named {COLUMN!r}; its columns are "
                f"{', '.join(schema.names) or '(none)'}; rename the one that holds the documents"
            )
        column_type = schema.field(places[0]).type
        if pa.types.is_dictionary(column_type):
            column_type = column_type.value_type
        if not any(is_text(column_type) for is_text in _TEXT_TYPES):
            raise CorpusError(
                f"column {COLUMN!r} of {self.path} has type {column_type}; it must be text"
            )

    def _documents(self, group: int) -> Iterable[Documents]:
        """The documents of a row group, from memory if it is small and was read just now."""
        if self._group_bytes[group] > _KEPT_BYTES:
            return self._decode(group)
        with self._kept_lock:
            kept = self._kept.pop(group, None)
            future = self._kept[group] = kept or Future()
            while len(self._kept) > _KEPT_GROUPS:
                del self._kept[next(iter(self._kept))]
        if kept is None:
            try:
                with _DECODING:
                    future.set_result(list(self._decode(group)))
                    pa.default_memory_pool().release_unused()
            except BaseException as error:
                self._kept.pop(group, None)
                future.set_exception(error)
                raise
        return future.result()

    def _decode(self, group: int) -> Iterator[Documents]:
        for column in self._contents(range(group, group + 1)):
            documents = column.drop_null()
            yield documents, _running_lengths(documents)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name not in _OF_PROCESS}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self._keep_nothing()

    def _keep_nothing(self) -> None:
        self._kept: dict[int, Future[list[Documents]]] = {}
        self._kept_lock = Lock()

    def _contents(
        self, row_groups: range, batch_rows: int = _BATCH_ROWS
    ) -> Iterator[pa.LargeStringArray]:
        """The contents of row groups, batch by batch, found to be valid UTF-8."""
        with self._open() as file:
            for group in row_groups:
                row = sum(self.group_rows[:group])
                try:
                    batches = file.iter_batches(
                        batch_rows, row_groups=[group], columns=[COLUMN], use_threads=False
                    )
                    for batch in batches:
                        yield self._as_text(batch.column(0), row)
                        row += batch.num_rows
                except (pa.ArrowException, OSError) as error:
                    raise CorpusError(
                        f"{self.path} is damaged in row group {group}: {error}; fetch it again"
                    ) from error

    def _as_text(self, column: pa.Array, first_row: int) -> pa.LargeStringArray:
        if pa.types.is_dictionary(column.type):
            column = column.dictionary_decode()
        if pa.types.is_string(column.type) or pa.types.is_string_view(column.type):
            column = column.cast(pa.large_string())
        elif not pa.types.is_large_string(column.type):
            column = column.cast(pa.large_binary()).view(pa.large_string())
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            for row, value in enumerate(column.view(pa.large_binary()).to_pylist(), first_row):
                try:
                    _ = value is None or value.decode("utf-8")
                except UnicodeDecodeError as invalid:
                    raise CorpusError(
                        f"{COLUMN!r} of row {row} of {self.path} is not valid UTF-8 (byte "
                        f"{invalid.start}: {invalid.reason}); repair or remove that row"
                    ) from error
            raise
        return column

    def _count_to(self, stop: int) -> None:
        """Count row groups until one reaches beyond `stop`, and beyond empty documents.

        Those that are needed by their size, if they are as dense as those before, are decoded side
        by side.
        """
        index = self.index
        known = len(index.num_chars)
        if known == 0 and self.num_row_groups:
            self._add(self._counts(0))
        counted = index.starts()[-1]
        done = len(index.num_chars)
        sizes = (int(size * self._density) for size in self._group_bytes[done:])
        most = accumulate(sizes, initial=counted)
        surely = [group for group, start in enumerate(most, done) if start <= stop]
        with ThreadPoolExecutor(min(available_cores(), _MOST_DECODERS)) as threads:
            ahead = {group: threads.submit(self._counts, group) for group in surely}
            try:
                for group in range(done, self.num_row_groups):
                    if counted > stop and counted > sum(index.num_documents):
                        break
                    counts = ahead[group].result() if group in ahead else self._counts(group)
                    self._add(counts)
                    counted += counts[0]
            except BaseException:
                if self._sparse is not None:
                    self._sparse.stopped.set()  # whoever waits for the network in a thread
                raise
            finally:
                threads.shutdown(cancel_futures=True)
        if len(index.num_chars) > known and self._sparse is None:
            self._write_sidecar()

    def _add(self, counts: tuple[int, int, int]) -> None:
        self.index.num_chars.append(counts[0])
        self.index.num_documents.append(counts[1])
        self.index.num_nulls.append(counts[2])

    def _counts(self, group: int) -> tuple[int, int, int]:
        """Characters (with a space after each document), documents and nulls of a row group."""
        num_chars = num_documents = num_nulls = 0
        for column in self._contents(range(group, group + 1), _COUNTED_ROWS):
            num_chars += int(_running_lengths(column.drop_null())[-1:].sum())
            num_documents += len(column) - column.null_count
            num_nulls += column.null_count
        pa.default_memory_pool().release_unused()
        return num_chars, num_documents, num_nulls

    @property
    def _sidecar(self) -> Path:
        return cache_folder() / "text-index-1" / f"{self.sha256}.json"

    def _read_sidecar(self) -> TextIndex:
        try:
            return TextIndex.from_json(self._sidecar.read_bytes(), self.group_rows)
        except FileNotFoundError:
            return TextIndex()
        except (OSError, ValueError) as error:
            logger.info("counting again: the sidecar %s is unusable (%s)", self._sidecar, error)
            return TextIndex()

    def _write_sidecar(self) -> None:
        try:
            self._sidecar.parent.mkdir(parents=True, exist_ok=True)
            replace_atomically(self._sidecar, json.dumps(asdict(self.index)).encode())
        except OSError as error:
            logger.info("the next run counts characters again: %s", error)


def _identity_of_content(path: Path, part: TextPart | None) -> str:
    """The sha256 of a file, or the fingerprint of an intact part: hashed once a process.

    One that was written a moment ago is hashed each time: its times may not tell a change.
    """
    changed_ns = path.stat().st_ctime_ns  # which nobody can set back
    hashed = _hashed if time.time_ns() - changed_ns > _YOUNG_NS else _hashed.__wrapped__
    return hashed(path, FileIdentity.of(path), changed_ns, part)


@lru_cache(maxsize=64)
def _hashed(path: Path, _identity: FileIdentity, _changed_ns: int, part: TextPart | None) -> str:
    if part is not None:
        part.require_intact(path)
        return part.fingerprint
    with open(path, "rb") as file:
        return sha256_of(file)


def _running_lengths(documents: pa.LargeStringArray) -> NDArray[np.int64]:
    """Where each document and the space after it end, in characters from the first one's start."""
    num_chars = np.from_dlpack(pc.call_function("utf8_length", [documents]))
    return np.cumsum(num_chars.astype(np.int64) + 1)


def _joined(documents: pa.LargeStringArray, before: int, after: int) -> Utf8:
    """Documents with a space after each, without the first `before` and last `after` characters."""
    ends = pa.py_buffer(np.array([0, len(documents)], np.int32))
    whole = pa.ListArray.from_arrays(pa.Array.from_buffers(pa.int32(), 2, [None, ends]), documents)
    joined = pc.call_function("binary_join", [whole, _SPACE]).buffers()[2]
    text = np.append(np.frombuffer(joined, np.uint8), np.uint8(ord(" ")))
    first = len(documents[0].as_py()[:before].encode()) if before else 0
    if not after:
        return text[first:]
    last = f"{documents[-1]} "
    return text[first : len(text) - len(last[len(last) - after :].encode())]


def _require_parquet(path: Path) -> None:
    """Refuse, by its first and last bytes, what is not a whole parquet file."""
    try:
        if not stat.S_ISREG(mode := path.stat().st_mode) and not stat.S_ISDIR(mode):
            raise CorpusError(f"{path} is a pipe or device; save what it gives and name that file")
        with open(path, "rb") as file:
            head = file.read(64)
            num_bytes = file.seek(0, os.SEEK_END)
            file.seek(max(0, num_bytes - len(MAGIC)))
            tail = file.read()
    except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
        raise CorpusError(
            f"{shortened(str(path))} cannot be read: {why_no_path(error)}; name a parquet file "
            "that exists"
        ) from error
    if head.startswith(MAGIC) and tail == MAGIC and num_bytes > 2 * len(MAGIC):
        return
    if not num_bytes:
        found = "is empty; fetch it again"
    elif head.startswith(b"version https://git-lfs"):
        found = "is a Git LFS pointer, not the file it stands for; run `git lfs pull`"
    elif head.lstrip()[:1] == b"<":
        found = "is a web page, not a parquet file; a download that needs a login saves one"
    elif head.startswith(MAGIC):
        found = f"is a parquet file cut off after {num_bytes} bytes; fetch it again"
    else:
        found = f"is not a parquet file: it starts with {head[:8]!r}; name one"
    raise CorpusError(f"{path} {found}")
