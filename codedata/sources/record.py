"""A corpus that was fetched, pointed at or written: its parquet, and the record of what it is.

    <root>/corpora/<name>/corpus.json        the record: path, sha256, counts, origin
    <root>/corpora/<name>/corpus.parquet     only where codedata wrote the parquet itself
    <root>/corpora/<name>/parts/             only where no more than the leading text was fetched
    <root>/corpora/<name>/pin.json           the commit that a revision of the hub stands for here
    <root>/corpora/<name>/<file>/...         the same a file, where the corpus has several

Downstream goes by the record, and refuses a parquet that no longer has its sha256: a whole one is
hashed once a user, as long as it stays the file that was hashed (`codedata.sources.hashed`).

Of a parquet of the hub there may be its leading text alone, a small ordinary parquet a row group:

    parts/<etag>/<group>-<sha256>.parquet            `content` and what is kept, of a row group

A part is known by the hash of the file it is of, whatever the commit, and by that of its own bytes,
each by its first digits: what lies there whole after a kill is there, and whoever reads it hashes
it.
"""

import hashlib
import json
import os
import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import cache, cached_property
from itertools import accumulate, pairwise
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codedata.errors import CorpusError
from codedata.format.ranges import MAX_CHARACTERS, CharRange
from codedata.places import is_object_url
from codedata.sources.columns import (
    COLUMN,
    USUAL,
    Columns,
    Place,
    kept_columns,
    kept_schema,
    text_identity,
)
from codedata.sources.hashed import sha256_noted, sha256_once
from codedata.sources.parquet.decode import Batch, decode
from codedata.sources.parquet.footer import Parquet
from codedata.sources.parquet.index import Counts, TextIndex
from codedata.sources.parquet.rows import read_rows
from codedata.sources.parquet.text import ParquetText, named_places
from codedata.store.files import replace_atomically

if TYPE_CHECKING:
    from pydantic import TypeAdapter

RECORD_NAME = "corpus.json"
PARQUET_NAME = "corpus.parquet"
PARTS_NAME = "parts"
PIN_NAME = "pin.json"

_FILE = re.compile(r"\d{5}", re.ASCII)
"""A file's folder, where a corpus has several."""


DIGITS = 16
"""Of a hash, in a name: damage is found, and nobody's paths are long."""


@dataclass(frozen=True, kw_only=True)
class Part:
    """A row group that is here.

    Attributes:
        name: of its file.
        num_bytes: of its file.
        num_chars: characters of the documents, a space after each included.
        num_documents: contents that are not null.
        num_nulls: null contents.
    """

    name: str
    num_bytes: int
    num_chars: int
    num_documents: int
    num_nulls: int


def part_name(group: int, sha256: str) -> str:
    """The name of a part's file."""
    return f"{group:05d}-{sha256[:DIGITS]}.parquet"


def is_whole(part: Path) -> bool:
    """Whether a part's file is there, and has the hash that is in its name."""
    return part.is_file() and part.name[6:] == part_name(0, sha256_once(part))[6:]


@dataclass(frozen=True, kw_only=True)
class TextPart:
    """The leading text of a parquet.

    Attributes:
        fingerprint: sha256 over what it is a part of and its row groups; the same wherever and
            however the bytes were fetched.
        num_chars: characters that may be used.
        ends_here: whether the text has no more than those.
        etag: hash of the whole parquet.
        file_bytes: its size.
        num_groups: its row groups.
        columns: its columns, type by name.
        parts: its leading row groups that hold the characters.
    """

    fingerprint: str
    num_chars: int
    ends_here: bool
    etag: str
    file_bytes: int
    num_groups: int
    columns: dict[str, str]
    parts: tuple[Part, ...]

    @property
    def num_bytes(self) -> int:
        """Bytes that are here."""
        return sum(part.num_bytes for part in self.parts)


def fingerprint_of(commit: str, path: str, etag: str, num_groups: int) -> str:
    """What identifies a text of leading row groups: stored chunks are known by it."""
    return hashlib.sha256(json.dumps([commit, path, etag, num_groups]).encode()).hexdigest()


class LeadingText(ParquetText):
    """The text of parts: see `ParquetText`. Each is hashed, and its footer parsed, by who reads it.

    Args:
        folder: with the parts.
        part: what they are.

    Attributes:
        sha256: the fingerprint.
        num_bytes: of the whole parquet.

    Raises:
        CorpusError: a part is missing; when it is read, that it is not as it was fetched.
    """

    def __init__(self, folder: Path, part: TextPart) -> None:
        require_parts(folder, part)
        self._folder, self._parquets = folder, dict[int, Parquet]()
        self._be(folder, part)

    def _be(self, path: Path | str, part: TextPart) -> None:
        """Take what is known without reading any part."""
        self.path, self.part = path, part
        self.num_bytes, self.columns = part.file_bytes, part.columns
        self.sha256 = self.file_sha256 = part.fingerprint
        self.text_column = COLUMN
        self.group_rows = [each.num_documents + each.num_nulls for each in part.parts]
        self.index = TextIndex(
            groups=[Counts(p.num_chars, p.num_documents, p.num_nulls) for p in part.parts]
        )
        self._forget()

    def _parquet_of(self, group: int) -> Parquet:
        """A part, to be read at once."""
        if group not in self._parquets:
            path = self._folder / self.part.parts[group].name
            if not is_whole(path):
                raise _not_as_fetched(path)
            self._parquets[group] = Parquet(path)
        return self._parquets[group]

    @cached_property
    def kept_places(self) -> dict[str, Place]:  # pyright: ignore[reportIncompatibleVariableOverride]
        """The columns that are kept beside the text, by name."""
        return self._kept_in(0)

    def _kept_in(self, group: int) -> dict[str, Place]:
        """Those of a part, which are those of any: none is fetched that is not read."""
        schema = self._parquet_of(group).footer.schema
        others = tuple(name for name in schema.names if name != COLUMN)
        return kept_columns(schema, Columns(keep=others), str(self.path))

    def clip(self, window: CharRange) -> CharRange:
        """The part of a window that the text has.

        Raises:
            CorpusError: the text is empty, or ends before the window starts, or not as much of it
                was fetched.
        """
        if not self.part.ends_here:
            window = fetched(window, self.part.num_chars, self.path)
        return super().clip(window)

    def kept(self, rows: NDArray[np.int64], names: Collection[str] | None = None) -> pa.Table:
        """The columns that are kept beside the text, of some rows; see `ParquetText.kept`."""
        first_rows = np.array([*accumulate(self.group_rows, initial=0)], np.int64)
        borders = np.searchsorted(rows, first_rows).tolist()
        wanted = {
            group: rows[low:high] - first_rows[group]
            for group, (low, high) in enumerate(pairwise(borders))
            if low < high
        }
        places = named_places(self._kept_in(next(iter(wanted), 0)), names)
        tables = [
            read_rows(self._parquet_of(group), places, some) for group, some in wanted.items()
        ]
        return pa.concat_tables([kept_schema(places).empty_table(), *tables])

    @property
    def _ends_here(self) -> bool:
        return self.part.ends_here

    def _decode(self, groups: Sequence[int]) -> Iterator[Batch]:
        first_rows = [*accumulate(self.group_rows, initial=0)]
        for group in groups:
            parquet = self._parquet_of(group)
            for batch in decode(parquet, parquet.footer.groups):
                yield batch._replace(first_row=first_rows[group] + batch.first_row)

    def _count_to(self, stop: int) -> None:
        """All parts are counted."""


def require_parts(folder: Path, part: TextPart) -> None:
    """Refuse a folder that lacks parts of a text.

    Raises:
        CorpusError: naming the first.
    """
    names = {*os.listdir(folder)} if folder.is_dir() else set[str]()
    for each in part.parts:
        if each.name not in names:
            raise _not_as_fetched(folder / each.name)


def _not_as_fetched(part: Path) -> CorpusError:
    return CorpusError(
        f"{part} is not as it was fetched; materialize its corpus again, which fetches that part "
        "anew"
    )


def fetched(window: CharRange, num_chars: int, path: Path | str) -> CharRange:
    """The part of a window that was fetched of a text: all of it, unless the window is open.

    Args:
        window: the characters.
        num_chars: that were fetched.
        path: of the text, for the message.

    Raises:
        CorpusError: not as many were fetched.
    """
    if window.is_open and window.start < num_chars:
        return window.until(num_chars)
    if window.stop > num_chars:
        asked, least = f"from {window.start} on", window.start + 1
        if not window.is_open:
            asked, least = f"{window.start} to {window.stop}", window.stop
        raise CorpusError(
            f"characters {asked} are asked for, but of the text of {path} only the first "
            f"{num_chars} were fetched; raise first_chars of its corpus to {least}, or leave it "
            "out to have the whole file"
        )
    return window


@dataclass(frozen=True, kw_only=True)
class Corpus:
    """The record of a corpus.

    Attributes:
        path: absolute path of the parquet, or of the folder of its parts; of a text in an object
            store, the URL of what says which parts it has.
        sha256: what identifies the text: the hash of its bytes, or that and the column where the
            documents are in another than `content`; of a part, its fingerprint.
        num_bytes: its size; of a part, that of the whole parquet.
        num_rows: rows, null ones included; of a part, those that are here.
        num_null_rows: rows whose content is null.
        num_chars: characters of the text, the joining spaces included.
        num_row_groups: row groups.
        columns: type by column name.
        origin: where the parquet came from: kind, and what identifies it there.
        part: what of it is here, where that is not all; of a text in an object store without its
            parts, which may be very many.
        file_sha256: of its bytes, where `sha256` is not.
        text_column: that of the documents.
        id_column: one that identifies each.
        kept: the columns that travel with the documents, the id's included: type by name.
    """

    path: str
    sha256: str
    num_bytes: int
    num_rows: int
    num_null_rows: int
    num_chars: int
    num_row_groups: int
    columns: dict[str, str]
    origin: dict[str, Any]
    part: TextPart | None = None
    file_sha256: str | None = None
    text_column: str = COLUMN
    id_column: str | None = None
    kept: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def is_of_file(self) -> bool:
        """Whether the text is known by the hash of a whole parquet, in parts or not."""
        of_file = text_identity(self.part.etag, self.text_column) if self.part else self.sha256
        return self.sha256 == of_file

    def open_text(self) -> ParquetText:
        """The text of the parquet, refused if its bytes are others than those recorded."""
        if self.part is not None and is_object_url(self.path):
            from codedata.sources.stored_text import open_stored  # which is one of these texts

            return open_stored(self.path)
        if self.part is not None:
            return LeadingText(Path(self.path), self.part)
        columns = Columns(text=self.text_column, id=self.id_column, keep=tuple(self.kept))
        sha256 = self.file_sha256 or self.sha256
        return ParquetText(
            Path(self.path), expected_sha256=sha256, columns=columns, hash_of=sha256_noted
        )


@cache
def _record() -> "TypeAdapter[Corpus]":
    from pydantic import TypeAdapter  # a tenth of a second that the script need not wait for

    return TypeAdapter(Corpus)


def record_corpus(
    folder: Path,
    parquet: Path,
    origin: dict[str, Any],
    *,
    expected_sha256: str | None = None,
    part: TextPart | None = None,
    columns: Columns = USUAL,
) -> Corpus:
    """Read a parquet once and record what it is.

    Args:
        folder: of the record.
        parquet: the file, or the folder of its parts.
        origin: where it came from.
        expected_sha256: of its bytes, where that is known.
        part: what of it is here, where that is not all.
        columns: which of it hold the documents and what is kept; of parts, which did where they
            come from.

    Raises:
        CorpusError: the file is no usable corpus, or has another sha256.
    """
    path = parquet.absolute()
    if part is not None:
        text = LeadingText(path, part)
    else:
        text = ParquetText(
            path, expected_sha256=expected_sha256, columns=columns, hash_of=sha256_noted
        )
    chars = text.clip(CharRange(0, part.num_chars if part else MAX_CHARACTERS))
    is_of_file = part is not None and text.sha256 == text_identity(part.etag, columns.text)
    file_sha256 = part.etag if part and is_of_file else text.file_sha256
    corpus = Corpus(
        path=str(text.path),
        sha256=text.sha256,
        num_bytes=text.num_bytes,
        num_rows=sum(text.group_rows),
        num_null_rows=text.index.total().num_nulls,
        num_chars=chars.stop,
        num_row_groups=len(text.group_rows),
        columns=text.columns,
        origin=origin,
        part=part,
        file_sha256=None if file_sha256 == text.sha256 else file_sha256,
        text_column=columns.text,
        id_column=columns.id,
        kept={name: str(place.type) for name, place in text.kept_places.items()},
    )
    folder.mkdir(parents=True, exist_ok=True)
    replace_atomically(folder / RECORD_NAME, dump_corpus(corpus))
    return corpus


def dump_corpus(corpus: Corpus) -> bytes:
    """A record as its file has it."""
    return json.dumps(asdict(corpus), indent=2).encode()


def parse_corpus(data: bytes) -> Corpus:
    """The inverse of `dump_corpus`.

    Raises:
        ValueError: it is no such record.
    """
    return _record().validate_json(data)


def without_parts(corpus: Corpus) -> Corpus:
    """A record but for the list of its parts, which of thousands of files would fill the memory."""
    return replace(corpus, part=corpus.part and replace(corpus.part, parts=()))


def read_corpus(folder: Path) -> Corpus:
    """The record of a corpus that was materialized, or of one of its files.

    Raises:
        CorpusError: there is none; the message says how to make it.
    """
    is_file = _FILE.fullmatch(folder.name) is not None
    name = folder.parent.name if is_file else folder.name
    of_file = f", partition {folder.name}" if is_file else ""
    try:
        return parse_corpus((folder / RECORD_NAME).read_bytes())
    except FileNotFoundError as error:
        raise CorpusError(
            f"corpus {name!r} is not materialized: {folder / RECORD_NAME} does not exist; "
            f"materialize {name}/raw_parquet{of_file}"
        ) from error
    except ValueError as error:
        raise CorpusError(f"{folder / RECORD_NAME} is damaged; materialize it again") from error
