"""A file's name -> its format: what it is read as, and what is around it.

    data.jsonl.zst  ->  JSON, an object a line, in zstd

A format is known by the ending; one whose first bytes are another's is refused by what they are.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from codedata.errors import CorpusError
from codedata.printable import shortened
from codedata.sources.columns import Columns
from codedata.sources.formats.delimited import read_csv, read_tsv, schema_of_csv, schema_of_tsv
from codedata.sources.formats.json_rows import read_json, schema_of_json
from codedata.sources.formats.openings import COMPRESSIONS, Borrowed, Opened, decompressed
from codedata.sources.formats.plain import read_text, schema_of_text
from codedata.sources.formats.rows import BadRows
from codedata.sources.formats.tables import (
    FILE_MAGIC,
    read_arrow,
    read_parquet,
    schema_of_arrow,
    schema_of_parquet,
)
from codedata.sources.languages import LANGUAGES
from codedata.sources.parquet.footer import refusing

_Read = Callable[[Any, str, Columns, BadRows], Iterator[pa.RecordBatch]]

_Schema = Callable[[Any, str], pa.Schema | None]

_PARQUET = ("parquet", read_parquet, schema_of_parquet)
_JSON = ("json", read_json, schema_of_json)
_ARROW = ("arrow", read_arrow, schema_of_arrow)
_TEXT = ("text", read_text, schema_of_text)

_READERS: dict[str, tuple[str, _Read, _Schema]] = {
    "parquet": _PARQUET,
    "jsonl": _JSON,
    "ndjson": _JSON,
    "json": _JSON,
    "csv": ("csv", read_csv, schema_of_csv),
    "tsv": ("tsv", read_tsv, schema_of_tsv),
    "arrow": _ARROW,
    "feather": _ARROW,
    "ipc": _ARROW,
}
"""By ending."""

_PLAIN_ENDINGS = {"txt", "text", *LANGUAGES}

_MAGICS = {
    b"\x1f\x8b": "gz",
    b"\x28\xb5\x2f\xfd": "zst",
    b"BZh": "bz2",
    b"\xfd7zXZ\0": "xz",
    b"PAR1": "parquet",
    FILE_MAGIC: "arrow",
    b"PK\x03\x04": "zip",
    b"\xff\xfe": "UTF-16",
    b"\xfe\xff": "UTF-16",
    b"version https://git-lfs": "a pointer of Git LFS",
    b"<": "a web page",
}
"""First bytes, and the ending that is known by them, or what they are otherwise."""


_HEAD_BYTES = 64

_REMEDY = "fetch it again, or write it anew (zst without --long)"

_NO_DOCUMENTS = {"config.json", "dataset_info.json", "dataset_infos.json"}
"""Of a repository of data, what is about it."""


@dataclass(frozen=True, kw_only=True)
class Format:
    """How files with an ending are read.

    Attributes:
        name: parquet, json, csv, tsv, arrow or text.
        compression: what is around it, an ending such as `zst`, or none.
    """

    name: str
    compression: str | None
    _read: _Read
    _schema: _Schema

    @property
    def is_random_access(self) -> bool:
        """Whether a part of a file can be read alone; such a file must be opened seekable."""
        return self.name == "parquet"

    def read(
        self, opened: Opened, name: str, columns: Columns, bad: BadRows
    ) -> Iterator[pa.RecordBatch]:
        """Read a file once, in order, some megabytes at a time.

        Args:
            opened: the file, at its start.
            name: for messages.
            columns: which are wanted.
            bad: what becomes of bad rows.

        Returns:
            Batches with the text as `content`, large_string, then the id and the kept columns.

        Raises:
            CorpusError: it is no such file, it is damaged or cut off, has no such column, or has a
                bad row.
            OSError: the system, or the network, does not give its bytes.
        """
        with refusing(f"{name} is damaged", _REMEDY):
            yield from self._read(self._begun(opened, name), name, columns, bad)

    def schema(self, opened: Opened, name: str) -> pa.Schema:
        """The columns of a file and their types, going by its beginning.

        Args:
            opened: the file, at its start.
            name: for messages.

        Raises:
            CorpusError: it is no such file, damaged, or has no rows.
            OSError: the system, or the network, does not give its bytes.
        """
        with refusing(f"{name} is damaged", _REMEDY):
            found = self._schema(self._begun(opened, name), name)
        if found is None:
            raise CorpusError(f"{name} has no rows; name a file with documents")
        return found

    def _begun(self, opened: Opened, name: str) -> Any:
        """A file at its start, as it is read, its first bytes looked at."""
        if self.is_random_access:
            head = opened.read(_HEAD_BYTES) or b""
            opened.seek(0)
            self._require(head, name, self.name)
            return opened
        reader = decompressed(Borrowed(opened), None)
        if self.compression:
            self._require(reader.peek(_HEAD_BYTES), name, self.compression)
            reader = decompressed(reader, COMPRESSIONS[self.compression])
        self._require(reader.peek(_HEAD_BYTES), name, self.name)
        return reader

    def _require(self, head: bytes, name: str, expected: str) -> None:
        """Refuse a file whose first bytes are another format's."""
        if not head:
            raise CorpusError(f"{name} is empty; fetch it again, or write it anew")
        for magic, found in _MAGICS.items():
            if not head.startswith(magic) or found == expected:
                continue
            if expected == "text" and magic.isascii():  # which a text may begin with
                continue
            remedy = "name it by what it is, or fetch it again"
            if found in COMPRESSIONS and not self.compression:
                remedy = f"name it {name.rpartition('/')[2]}.{found}"
            raise CorpusError(f"{name} is no {expected}: it begins as {found} does; {remedy}")


def format_of(name: str) -> Format:
    """The format of a file, by its endings.

    Raises:
        CorpusError: it has none of those that there are.
    """
    found = _format(name)
    if found is None:
        raise CorpusError(
            f"{shortened(name)} has no ending by which it could be read; there are "
            f"{', '.join(_READERS)}, txt and those of source code, each but parquet also with "
            f".{', .'.join(COMPRESSIONS)} behind it"
        )
    return found


def is_random_access(name: str) -> bool:
    """Whether a file is read in place; one of an unknown ending is taken for a parquet."""
    found = _format(name)
    return found is None or found.is_random_access


def is_readable(name: str) -> bool:
    """Whether files of this name are read."""
    return _format(name) is not None


def is_found(path: str, pattern: str = "") -> bool:
    """Whether a pattern or a folder stands for a file: one of documents, and not hidden.

    Source code is meant only by a pattern with its ending: a repository of data has scripts too.

    Args:
        path: below what is looked through.
        pattern: whose parts may be hidden, and name what is meant; none of a folder.
    """
    asked = pattern.split("/")
    is_hidden = any(part.startswith((".", "__")) for part in path.split("/") if part not in asked)
    if is_hidden or path.rpartition("/")[2] in _NO_DOCUMENTS:
        return False
    found = _format(path)
    is_code = found is not None and found.name == "text" and not path.endswith(".txt")
    return found is not None and (not is_code or is_readable(pattern))


def _format(name: str) -> Format | None:
    *stem, ending = name.rpartition("/")[2].split(".")
    compression = ending.lower() if ending.lower() in COMPRESSIONS else None
    if compression and stem:
        *stem, ending = stem
    if not stem:
        return None
    what, read, schema = _READERS.get(ending.lower(), _TEXT)
    if what == "text" and not {ending, ending.lower()} & _PLAIN_ENDINGS:
        return None
    if what == "parquet" and compression:
        return None
    return Format(name=what, compression=compression, _read=read, _schema=schema)
