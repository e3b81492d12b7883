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
from codedata.sources.folders import LANGUAGES
from codedata.sources.formats.delimited import read_csv, read_tsv
from codedata.sources.formats.json_rows import read_json
from codedata.sources.formats.openings import COMPRESSIONS, Borrowed, Opened, decompressed
from codedata.sources.formats.plain import read_text
from codedata.sources.formats.rows import BadRows
from codedata.sources.formats.tables import FILE_MAGIC, read_arrow, read_parquet
from codedata.sources.parquet.footer import refusing

_Read = Callable[[Any, str, Columns, BadRows], Iterator[pa.RecordBatch]]

_READERS: dict[str, tuple[str, _Read]] = {
    "parquet": ("parquet", read_parquet),
    "jsonl": ("json", read_json),
    "ndjson": ("json", read_json),
    "json": ("json", read_json),
    "csv": ("csv", read_csv),
    "tsv": ("tsv", read_tsv),
    "arrow": ("arrow", read_arrow),
    "feather": ("arrow", read_arrow),
    "ipc": ("arrow", read_arrow),
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
            if self.is_random_access:
                head = opened.read(_HEAD_BYTES) or b""
                opened.seek(0)
                self._require(head, name, self.name)
                yield from self._read(opened, name, columns, bad)
                return
            reader = decompressed(Borrowed(opened), None)
            if self.compression:
                self._require(reader.peek(_HEAD_BYTES), name, self.compression)
                reader = decompressed(reader, COMPRESSIONS[self.compression])
            self._require(reader.peek(_HEAD_BYTES), name, self.name)
            yield from self._read(reader, name, columns, bad)

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


def is_readable(name: str) -> bool:
    """Whether files of this name are read."""
    return _format(name) is not None


def _format(name: str) -> Format | None:
    *stem, ending = name.rpartition("/")[2].split(".")
    compression = ending.lower() if ending.lower() in COMPRESSIONS else None
    if compression and stem:
        *stem, ending = stem
    if not stem:
        return None
    what, read = _READERS.get(ending.lower(), (None, read_text))
    if what is None and not {ending, ending.lower()} & _PLAIN_ENDINGS:
        return None
    if what == "parquet" and compression:
        return None
    return Format(name=what or "text", compression=compression, _read=read)
