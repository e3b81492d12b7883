"""A path -> the parquet that is there: its footer parsed once, its column `content` of a text type.

Invariant: a file that is no parquet of documents is refused in one line, by what it is.
"""

import time
from dataclasses import dataclass
from functools import lru_cache
from itertools import accumulate
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import CorpusError
from codedata.sources.parquet.refusals import (
    COLUMN,
    require_documents,
    require_parquet,
    require_text_column,
    said,
)

ARROW_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError)
"""What pyarrow raises on a damaged file: strings of a footer may be no UTF-8, sizes no int64."""

_READ_BUFFER_BYTES = 1 << 20
"""Compressed pages are read through a buffer of this size, never a whole column chunk."""

_YOUNG_NS = 2_000_000_000
"""Of filesystems' times the coarsest in use counts in steps of two seconds."""


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
    """One parquet file.

    Picklable; another process parses the footer for itself, once.

    Args:
        path: the file.

    Attributes:
        most_rows: of row groups, what `decode` found out about them.

    Raises:
        CorpusError: missing, not a whole parquet, or no usable `content` column.
    """

    def __init__(self, path: Path) -> None:
        require_parquet(path)
        self.path = path
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
        return _opened(self.path, self.footer.metadata, columns)

    def _read_footer(self) -> Footer:
        self._require_unchanged()
        changed_ns = self.path.stat().st_ctime_ns
        parse = _parsed_once if is_settled(changed_ns) else _parsed_once.__wrapped__
        return parse(self.path, self.identity, changed_ns)

    def _require_unchanged(self) -> None:
        if self.identity != FileIdentity.of(self.path):
            raise CorpusError(
                f"{self.path} changed while it was being read; run again once it is complete"
            )

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_footer": None}


def is_settled(changed_ns: int) -> bool:
    """Whether a file's times would tell a change after this one."""
    return time.time_ns() - changed_ns > _YOUNG_NS


@lru_cache(maxsize=2)
def _parsed_once(path: Path, _identity: FileIdentity, _changed_ns: int) -> Footer:
    with _opened(path) as file:
        try:
            metadata, schema = file.metadata, file.schema_arrow
            require_documents(path, metadata)
            require_text_column(path, schema)
            leaves = [metadata.schema.column(place).path for place in range(metadata.num_columns)]
            groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
            group_rows = [group.num_rows for group in groups]
            group_bytes = [max(0, group.total_byte_size) for group in groups]
            columns = {field.name: str(field.type) for field in schema}
        except ARROW_ERRORS as error:
            raise _unreadable(path, error) from error
    if metadata.num_rows != sum(group_rows) or any(rows < 0 for rows in group_rows):
        raise CorpusError(
            f"{path} is damaged: its footer says {metadata.num_rows} rows, and {sum(group_rows)} "
            "in its row groups; fetch it again"
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
    metadata: pq.FileMetaData | None = None,
    read_dictionary: list[str] | None = None,
) -> pq.ParquetFile:
    try:
        return pq.ParquetFile(
            path,
            metadata=metadata,
            read_dictionary=read_dictionary,
            buffer_size=_READ_BUFFER_BYTES,
            pre_buffer=False,
            page_checksum_verification=True,
        )
    except ARROW_ERRORS as error:
        raise _unreadable(path, error) from error


def _unreadable(path: Path, error: Exception) -> CorpusError:
    return CorpusError(f"{path} is not a readable parquet file: {said(error)}; fetch it again")
