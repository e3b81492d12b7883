"""A path -> the parquet that is there: its footer parsed once, its column of documents a text.

Invariant: a file that is no parquet of documents is refused in one line, by what it is, with what
to do.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from pathlib import Path
from typing import Any, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import CorpusError
from codedata.printable import shortened, why_no_path
from codedata.sources.columns import COLUMN, Place, find_text, listed

_MAGIC = b"PAR1"
"""The first and the last bytes of a parquet."""

_ARROW_ERRORS = (pa.ArrowException, OSError, UnicodeDecodeError, OverflowError)
"""What pyarrow raises on a damaged file: strings of a footer may be no UTF-8, sizes no int64."""

_READ_BUFFER_BYTES = 1 << 20
"""Compressed pages are read through a buffer of this size, never a whole column chunk."""


class FileIdentity(NamedTuple):
    """What tells, at no cost, that a file is still the one that was hashed."""

    num_bytes: int
    modified_ns: int
    inode: int

    @classmethod
    def of(cls, path: Path) -> "FileIdentity":
        """The identity of the file that is at `path` now."""
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ino)


@dataclass(frozen=True, kw_only=True, eq=False)
class Footer:
    """What a parquet says of itself.

    Attributes:
        metadata: as Arrow holds it, so that nothing parses it again.
        schema: Arrow's.
        columns: type by column name.
        text: the column of the documents.
        group_rows: rows of each row group.
        first_rows: the file's row that each begins with, and last the number of rows.
        group_bytes: bytes that all columns of each take, encoded but not compressed.
    """

    metadata: pq.FileMetaData
    schema: pa.Schema
    columns: dict[str, str]
    text: Place
    group_rows: list[int]
    first_rows: list[int]
    group_bytes: list[int]

    @classmethod
    def of(cls, file: pq.ParquetFile, name: str, column: str = COLUMN) -> "Footer":
        """The footer of an opened file, whose documents are in a column.

        Raises:
            CorpusError: there is no such column, or it is no text.
        """
        with refusing(_unreadable(name)):
            metadata, schema = file.metadata, file.schema_arrow
            groups = [metadata.row_group(place) for place in range(metadata.num_row_groups)]
            group_rows = [group.num_rows for group in groups]
            group_bytes = [max(0, group.total_byte_size) for group in groups]
            columns = {field.name: str(field.type) for field in schema}
            text = find_text(schema, column, name)
        return cls(
            metadata=metadata,
            schema=schema,
            columns=columns,
            text=text,
            group_rows=group_rows,
            first_rows=list(accumulate(group_rows, initial=0)),
            group_bytes=group_bytes,
        )

    @property
    def groups(self) -> range:
        """The row groups' numbers."""
        return range(len(self.group_rows))

    def runs(self, groups: range, most_bytes: int) -> Iterator[range]:
        """Row groups as they come, neighbours that have few bytes together in one run."""
        start, num_bytes = groups.start, 0
        for group in groups:
            num_bytes += self.group_bytes[group]
            if num_bytes > most_bytes and group > start:
                yield range(start, group)
                start, num_bytes = group, self.group_bytes[group]
        if groups:
            yield range(start, groups.stop)

    def column_chunk(self, group: int) -> pq.ColumnChunkMetaData:
        """What the footer says of a row group's documents, once a reader has found it sound.

        To ask for a damaged one ends the process: pyarrow 26 lets Parquet's C++ exception through.
        """
        return self.metadata.row_group(group).column(self.text.leaves.start)


class Parquet:
    """One parquet file.

    Picklable; another process parses the footer for itself, once.

    Args:
        path: the file.
        column: that of the documents.

    Attributes:
        longest: bytes of row groups' longest texts, as far as `decode` had to look.

    Raises:
        CorpusError: missing, not a whole parquet, or no usable column of documents.
    """

    def __init__(self, path: Path, column: str = COLUMN) -> None:
        _require_parquet(path)
        self.path = path
        self.column = column
        self.identity = FileIdentity.of(path)
        self.longest: dict[int, int] = {}
        _ = self.footer

    @cached_property
    def footer(self) -> Footer:
        """The footer, parsed when it is first asked for."""
        with self._opened() as file:
            return Footer.of(file, str(self.path), self.column)

    def open(self, *, read_dictionary: bool = False) -> pq.ParquetFile:
        """The file, opened by the footer that was parsed before.

        Args:
            read_dictionary: whether the documents are given as indices into their dictionary.
        """
        options = {"read_dictionary": [*self.footer.text.leaves], "arrow_extensions_enabled": False}
        return self._opened(metadata=self.footer.metadata, **options if read_dictionary else {})

    def _opened(self, **options: Any) -> pq.ParquetFile:
        if self.identity != FileIdentity.of(self.path):
            raise CorpusError(
                f"{self.path} changed while it was being read; run again once it is complete"
            )
        return open_parquet(self.path, str(self.path), buffer_size=_READ_BUFFER_BYTES, **options)

    def __getstate__(self) -> dict[str, Any]:
        return {name: value for name, value in self.__dict__.items() if name != "footer"}


def open_parquet(source: Any, name: str, **options: Any) -> pq.ParquetFile:
    """Open what can be read as a parquet, by no more bytes than are asked for.

    Raises:
        CorpusError: it is none.
    """
    with refusing(_unreadable(name)):
        return pq.ParquetFile(source, pre_buffer=False, page_checksum_verification=True, **options)


@contextmanager
def refusing(what: str, remedy: str = "fetch it again") -> Iterator[None]:
    """Say what is wrong with bytes, going by Arrow's error, which may have several lines.

    Raises:
        CorpusError: what it is, and what to do.
        OSError: the system does not give the bytes, which may be sound.
    """
    try:
        yield
    except _ARROW_ERRORS as error:
        if isinstance(error, OSError) and (error.errno is not None or type(error) is not OSError):
            raise  # the system's, or the network's: Arrow's own of damage have no number
        raise CorpusError(f"{what}: {said(error)}; {remedy}") from error


def _unreadable(name: str) -> str:
    return f"{name} is not a readable parquet file"


def said(error: BaseException) -> str:
    """An error's words as part of a message of one line."""
    return shortened(" ".join(str(error).split()))


def _require_parquet(path: Path) -> None:
    """Refuse, by its first and last bytes, what is not a whole parquet file."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            names = sorted(each.name for each in path.glob("*.parquet") if each.is_file())
            fault = (
                f"is a folder; name one parquet file (those in it: {listed(names)}), or read a "
                "folder of source code as a corpus of `kind: folders`"
            )
        elif not stat.S_ISREG(mode):
            fault = "is a pipe or device; save what it gives and name that file"
        else:
            fault = _fault_of(path)
    except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
        raise CorpusError(
            f"{shortened(str(path))} cannot be read: {why_no_path(error)}; name a parquet file "
            "that exists"
        ) from error
    if fault:
        raise CorpusError(f"{path} {fault}")


def _fault_of(path: Path) -> str:
    """What a file is, going by its ends, if it is no whole parquet."""
    with open(path, "rb") as file:
        head = file.read(64)
        num_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, num_bytes - len(_MAGIC)))
        tail = file.read()
    if not num_bytes:
        return "is empty; fetch it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file it stands for; run `git lfs pull`"
    if head.lstrip()[:1] == b"<":
        return "is a web page, not a parquet file; a download that needs a login saves one"
    if not head.startswith(_MAGIC):
        return f"is not a parquet file: it starts with {head[:8]!r}; name one"
    if tail != _MAGIC or num_bytes <= 2 * len(_MAGIC):
        return f"is a parquet file cut off after {num_bytes} bytes; fetch it again"
    return ""


def text_type(schema: pa.Schema) -> pa.DataType:
    """The type of `content`; of one that is a dictionary, that of its texts."""
    return find_text(schema, COLUMN, "").value_type
