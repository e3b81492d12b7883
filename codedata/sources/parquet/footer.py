"""A path -> the parquet that is there: its footer parsed once, its column `content` of a text type.

Invariant: a file that is no parquet of documents is refused in one line, by what it is.
"""

import os
import stat
import time
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import CorpusError
from codedata.io.files import shortened, why_no_path
from codedata.io.partial_file import SparseFile

COLUMN = "content"

MAGIC = b"PAR1"
"""The first and the last bytes of a parquet."""

ARROW_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError)
"""What pyarrow raises on a damaged file: strings of a footer may be no UTF-8, sizes no int64."""

_READ_BUFFER_BYTES = 1 << 20
"""Compressed pages are read through a buffer of this size, never a whole column chunk."""

_YOUNG_NS = 2_000_000_000
"""Of filesystems' times the coarsest in use counts in steps of two seconds."""

_SHOWN = 10
"""Names that a message lists before it counts."""

_TEXT_TYPES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)

_JSON_EXTENSION = "arrow.json"
"""Parquet's logical type JSON: text whose form is promised. pyarrow before 20 gives the text."""

_SUMMARIES = ("_metadata", "_common_metadata")
"""Files that Spark and Dask write beside a data set's: a footer, and no rows of their own."""


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


@dataclass(frozen=True, kw_only=True, eq=False)
class Footer:
    """What a parquet says of itself.

    Attributes:
        metadata: as Arrow holds it, so that nothing parses it again.
        columns: type by column name.
        leaf: the place of `content` among the columns of its row groups.
        group_rows: rows of each row group.
        first_rows: the file's row that each begins with, and last the number of rows.
        group_bytes: bytes that all columns of each take, encoded but not compressed.
    """

    metadata: pq.FileMetaData
    columns: dict[str, str]
    leaf: int
    group_rows: list[int]
    first_rows: list[int]
    group_bytes: list[int]

    def column_chunk(self, group: int) -> pq.ColumnChunkMetaData:
        """What the footer says of a row group's `content`, once a reader has found it sound.

        To ask for a damaged one ends the process: pyarrow 26 lets Parquet's C++ exception through.
        """
        return self.metadata.row_group(group).column(self.leaf)


class Parquet:
    """One parquet file: the whole of it, or what of it is fetched while it is read.

    Picklable; another process parses the footer for itself, once.

    Args:
        path: the file.
        sparse: to read it through while parts of it are not here yet.

    Attributes:
        most_rows: of row groups, what `decode` found out about them.

    Raises:
        CorpusError: missing, not a whole parquet, or no usable `content` column.
    """

    def __init__(self, path: Path, sparse: SparseFile | None = None) -> None:
        if sparse is None:
            _require_parquet(path)
        self.path = path
        self.sparse = sparse
        self.identity = FileIdentity.of(path)
        self.most_rows: dict[int, int] = {}
        self._footer: Footer | None = self._read_footer()

    @property
    def footer(self) -> Footer:
        """The footer, parsed when it is first asked for."""
        if self._footer is None:
            self._footer = self._read_footer()
        return self._footer

    def open(self, *, read_dictionary: bool = False) -> pq.ParquetFile:
        """The file, opened by the footer that was parsed before.

        Args:
            read_dictionary: whether `content` is given as indices into its dictionary.
        """
        self._require_unchanged()
        columns = [COLUMN] if read_dictionary else None
        return _opened(self.path, self.sparse, self.footer.metadata, columns)

    def _read_footer(self) -> Footer:
        self._require_unchanged()
        if self.sparse is not None:
            return _parsed(self.path, self.sparse)
        changed_ns = self.path.stat().st_ctime_ns
        parse = _parsed_once if is_settled(changed_ns) else _parsed_once.__wrapped__
        return parse(self.path, self.identity, changed_ns)

    def _require_unchanged(self) -> None:
        if self.sparse is None and self.identity != FileIdentity.of(self.path):
            raise CorpusError(
                f"{self.path} changed while it was being read; run again once it is complete"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_footer": None}


def is_settled(changed_ns: int) -> bool:
    """Whether a file's times would tell a change after this one."""
    return time.time_ns() - changed_ns > _YOUNG_NS


def said(error: BaseException) -> str:
    """An error of Arrow's, which may have several lines, as part of a message of one."""
    return shortened(" ".join(str(error).split()))


def listed(names: Iterable[str]) -> str:
    """Some names for a message, and how many more there are."""
    every = list(names)
    shown = ", ".join(shortened(name) for name in every[:_SHOWN])
    left = len(every) - _SHOWN
    return f"{shown} and {left:,} more" if left > 0 else shown or "(none)"


@lru_cache(maxsize=2)
def _parsed_once(path: Path, _identity: FileIdentity, _changed_ns: int) -> Footer:
    return _parsed(path, None)


def _parsed(path: Path, sparse: SparseFile | None) -> Footer:
    with _opened(path, sparse) as file:
        try:
            metadata, schema = file.metadata, file.schema_arrow
            _require_documents(path, metadata)
            _require_text_column(path, schema)
            leaves = [metadata.schema.column(place).path for place in range(metadata.num_columns)]
            groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
            group_rows = [group.num_rows for group in groups]
            group_bytes = [max(0, group.total_byte_size) for group in groups]
            columns = {field.name: str(field.type) for field in schema}
        except ARROW_ERRORS as error:
            raise _unreadable(path, error) from error
    if any(rows < 0 for rows in group_rows):
        raise CorpusError(
            f"{path} is damaged: its footer gives a row group {min(group_rows)} rows; fetch it "
            "again"
        )
    return Footer(
        metadata=metadata,
        columns=columns,
        leaf=leaves.index(COLUMN),
        group_rows=group_rows,
        first_rows=list(accumulate(group_rows, initial=0)),
        group_bytes=group_bytes,
    )


def _opened(
    path: Path,
    sparse: SparseFile | None,
    metadata: pq.FileMetaData | None = None,
    read_dictionary: list[str] | None = None,
) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(
            path if sparse is None else pa.PythonFile(sparse.view(), mode="r"),
            metadata=metadata,
            read_dictionary=read_dictionary,
            # Through a sparse file, a row group's column is one read, and one request.
            buffer_size=_READ_BUFFER_BYTES if sparse is None else 0,
            pre_buffer=False,
            page_checksum_verification=True,
        )
    except ARROW_ERRORS as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CorpusError:
    return CorpusError(f"{path} is not a readable parquet file: {said(error)}; fetch it again")


def _require_documents(path: Path, metadata: pq.FileMetaData) -> None:
    """Refuse a summary of other files: a footer alone, which may count rows that are in those."""
    is_alone = metadata.serialized_size + 3 * len(MAGIC) == path.stat().st_size
    if is_alone and (metadata.num_rows or path.name in _SUMMARIES):
        raise CorpusError(
            f"{path} describes other parquet files and holds no rows; name one of those in its "
            f"folder: {listed(_parquets_in(path.parent))}"
        )


def _require_text_column(path: Path, schema: pa.Schema) -> None:
    places = schema.get_all_field_indices(COLUMN)
    if len(places) != 1:
        raise CorpusError(
            f"{path} has {len(places) or 'no'} columns named {COLUMN!r}; its columns are "
            f"{listed(schema.names)}; rename the one that holds the documents"
        )
    column_type = schema.field(places[0]).type
    if pa.types.is_dictionary(column_type):
        column_type = column_type.value_type
    stored = column_type
    if getattr(column_type, "extension_name", None) == _JSON_EXTENSION:
        stored = column_type.storage_type
    if not any(is_text(stored) for is_text in _TEXT_TYPES):
        raise CorpusError(
            f"column {COLUMN!r} of {path} has type {shortened(str(column_type))}; it must be text"
        )


def _parquets_in(folder: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.name.endswith(".parquet") and entry.is_file()
    )


def _require_parquet(path: Path) -> None:
    """Refuse, by its first and last bytes, what is not a whole parquet file."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            found = (
                f"is a folder; name one parquet file (those in it: {listed(_parquets_in(path))}), "
                "or read a folder of source code as a corpus of `kind: folders`"
            )
        elif not stat.S_ISREG(mode):
            found = "is a pipe or device; save what it gives and name that file"
        else:
            found = _fault_of(path)
    except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
        raise CorpusError(
            f"{shortened(str(path))} cannot be read: {why_no_path(error)}; name a parquet file "
            "that exists"
        ) from error
    if found:
        raise CorpusError(f"{path} {found}")


def _fault_of(path: Path) -> str:
    """What a file is, going by its ends, if it is no whole parquet."""
    with open(path, "rb") as file:
        head = file.read(64)
        num_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, num_bytes - len(MAGIC)))
        tail = file.read()
    if head.startswith(MAGIC) and tail == MAGIC and num_bytes > 2 * len(MAGIC):
        return ""
    if not num_bytes:
        return "is empty; fetch it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file it stands for; run `git lfs pull`"
    if head.lstrip()[:1] == b"<":
        return "is a web page, not a parquet file; a download that needs a login saves one"
    if head.startswith(MAGIC):
        return f"is a parquet file cut off after {num_bytes} bytes; fetch it again"
    return f"is not a parquet file: it starts with {head[:8]!r}; name one"
