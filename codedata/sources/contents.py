"""Rows that name their texts -> the same rows with the texts, which lie elsewhere.

    content:
      url: "s3://softwareheritage/content/{blob_id}"
      compression: gzip
      encoding: src_encoding

What is held at a time is bounded, whatever lies there: a piece of each text that is asked for, all
that a document may have of the one whose turn it is, and a batch.

Invariants: rows keep their order and their other columns; the same rows and texts come in the same
batches, so that the parts which an interrupted run has written are those that the next one writes.
A text that is not there is null and counted; where none is there at all, that is an error. One that
is damaged, too long or not of its encoding is a bad row: refused, or null and counted.
"""

from collections import Counter, deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future
from io import BytesIO, RawIOBase
from typing import Annotated, Any, BinaryIO, Literal, NamedTuple, cast

import pyarrow as pa
from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from codedata.errors import CorpusError
from codedata.printable import shortened
from codedata.progress import Reporter
from codedata.sources.base import StorageOptions, must, no_secret_urls
from codedata.sources.columns import COLUMN, MAX_DOCUMENT_BYTES, Place, column_of, find_column
from codedata.sources.formats.openings import decompressed
from codedata.sources.formats.rows import TOO_LONG, BadRows, texts_of
from codedata.sources.objects import MAX_CONCURRENCY, PIECE_BYTES, Objects
from codedata.sources.parquet.decode import SLICE_BYTES
from codedata.sources.parquet.footer import refusing, said
from codedata.sources.text_urls import columns_of, filled, is_text_url

NOT_THERE = "text is not there"
NOT_BEFORE = "text was not to be had in an earlier run"
NO_URL = "columns make no URL of a text"
DAMAGED = "text is damaged"
OTHER_ENCODING = "text is not of the encoding that is named"

_AHEAD = 2
"""Texts that are asked for or wait for their turn, for each request at a time: a late answer does
not keep the others from being asked for."""

_ALL_MISSING = 1_000
"""Rows after which it is no accident that none has a text."""


class Content(BaseModel):
    """Where the texts of rows lie that do not hold them."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    url: Annotated[
        str,
        must(
            is_text_url,
            "write what is the same for all, up to a slash, then columns in braces, such as "
            "s3://bucket/content/{blob_id}",
        ),
        AfterValidator(no_secret_urls),
    ] = Field(
        description="URL of each row's text, columns in braces: of any file system of fsspec."
    )
    compression: Literal["none", "gzip", "zstd", "bz2", "xz"] = Field(
        default="none", description="What each text is packed in."
    )
    encoding: str = Field(
        default="utf-8", description="Encoding of the texts, or the column that has each one's."
    )
    storage_options: StorageOptions = Field(
        default_factory=dict,
        description="Of the file system, such as `anon: true`. Keys belong in the environment.",
    )
    concurrency: Annotated[
        int,
        must(lambda number: 1 <= number <= MAX_CONCURRENCY, f"it must be 1 to {MAX_CONCURRENCY}"),
    ] = Field(default=64, description="Texts that are asked for at a time.")
    retries: Annotated[int, must(lambda number: 0 <= number <= 100, "it must be 0 to 100")] = Field(
        default=8,
        description="How often a text is asked for again where a server is busy or a connection is "
        "lost, each time after a longer wait; 8 take a minute.",
    )

    @property
    def identity(self) -> tuple[str, str, str]:
        """What decides which texts rows have: those of another are none of theirs."""
        return self.url, self.compression, self.encoding

    def places(self, schema: pa.Schema, name: str) -> dict[str, Place]:
        """The columns that rows must have for it, by name.

        Args:
            schema: of the rows.
            name: what they are of, for messages.

        Raises:
            CorpusError: one is not there, or cannot stand in a URL; the encoding is neither a
                column nor one that Python knows.
        """
        names, setting = columns_of(self.url), "a column in content's url"
        is_column = len(schema.get_all_field_indices(self.encoding)) == 1
        found = {
            each: find_column(schema, each, name, setting=setting)
            for each in (*names, *([self.encoding] if is_column else ()))
        }
        for column, place in found.items():
            if not (_is_text(place.value_type) or pa.types.is_integer(place.value_type)):
                raise CorpusError(
                    f"column {column!r} of {name} has type {shortened(str(place.type))}; url and "
                    "encoding of content take texts and whole numbers"
                )
        if is_column:
            return found
        try:
            "a".encode(self.encoding)
        except (LookupError, ValueError) as error:
            raise CorpusError(
                f"encoding {self.encoding!r} of content is no column of {name}, and no encoding "
                "that Python knows; name one of either, such as src_encoding or utf-8"
            ) from error
        return found


def with_contents(
    batches: Iterable[pa.RecordBatch],
    content: Content,
    bad: BadRows,
    reporter: Reporter,
    *,
    name: str,
    num_rows: int | None = None,
    stored: Iterable[pa.LargeStringArray] = (),
) -> Iterator[pa.RecordBatch]:
    """Rows with their texts.

    Args:
        batches: the rows, all of one schema.
        content: where the texts lie.
        bad: what becomes of bad rows; texts that are not there are counted in it too.
        reporter: told how far it is, and in the end which rows have no text.
        name: what the rows are of, for messages.
        num_rows: how many there are, where that is known.
        stored: texts of the first rows, nulls included, as an earlier run had them, of the same
            rows and a `content` of the same identity.

    Returns:
        Batches of a megabyte or a little more, of which `content` is the first column.

    Raises:
        CorpusError: the rows lack a column, there is no such file system, a text is not given out,
            a bad row is refused, or there is not one text.
    """
    options, concurrency = content.storage_options, content.concurrency
    with (
        Objects(content.url, options, concurrency=concurrency, retries=content.retries) as objects,
        reporter.transfer(f"texts of {name}") as transfer,
    ):
        texts = _Texts(content, objects, bad, name)
        try:
            for batch in texts.of(batches, stored):
                if num_rows:
                    transfer.expect(objects.num_bytes * num_rows // texts.num_done)
                transfer.advance(objects.num_bytes - transfer.arrived)
                yield batch
        except GeneratorExit:  # the first characters are enough
            reporter.say(texts.summary())
            raise
        reporter.say(texts.summary())


class _Row(NamedTuple):
    """A row of which the text is asked for.

    Attributes:
        batch: that it is of.
        place: in the batch.
        number: in all.
        path: where its text lies; none where its columns make none.
        encoding: of the text.
        text: what an earlier run had, or the first piece of what lies there.
    """

    batch: pa.RecordBatch
    place: int
    number: int
    path: str | None
    encoding: str
    text: pa.LargeStringScalar | Future[bytes | None] | None


class _NoTextError(Exception):
    """A row has no text: why, what is so of this one alone, and whether that makes a bad row."""

    def __init__(self, reason: str, detail: str = "", *, is_bad: bool = True) -> None:
        super().__init__(reason)
        self.reason, self.detail, self.is_bad = reason, detail, is_bad


class _Texts:
    """The texts of rows, asked for ahead of their turn.

    Attributes:
        num_done: rows whose turn is over.
    """

    def __init__(self, content: Content, objects: Objects, bad: BadRows, name: str) -> None:
        self._content, self._objects, self._bad, self._name = content, objects, bad, name
        self._is_quoted = content.url.startswith(("http://", "https://"))
        self.num_done = self._num_found = 0
        self._missing, self._first_missing = Counter[str](), ""

    def of(
        self, batches: Iterable[pa.RecordBatch], stored: Iterable[pa.LargeStringArray]
    ) -> Iterator[pa.RecordBatch]:
        """The rows with their texts."""
        rows, ahead = self._rows(batches, stored), deque[_Row]()
        texts, num_bytes = list[bytes | None](), 0
        while True:
            while len(ahead) < _AHEAD * self._content.concurrency and (row := next(rows, None)):
                ahead.append(row)
            if not ahead:
                break
            row = ahead.popleft()
            texts.append(text := self._text(row))
            num_bytes += len(text or b"")
            stop = row.place + 1
            if stop == len(row.batch) or num_bytes >= SLICE_BYTES:
                yield _with_texts(row.batch.slice(stop - len(texts), len(texts)), texts)
                texts, num_bytes = [], 0
        if self.num_done and not self._num_found:
            raise self._none_found()

    def summary(self) -> str:
        """How many texts there were, and why some were not."""
        summary = f"{self._name}: {self._num_found:,} of {self.num_done:,} rows have a text"
        if self._missing:
            summary += f" ({self._reasons()})"
        if again := self._objects.num_retries:
            summary += f"; {again:,} requests were made again"
        return summary

    def _reasons(self) -> str:
        counted = ", ".join(f"{reason}: {n:,}" for reason, n in self._missing.most_common())
        return f"{counted}; the first is {self._first_missing}"

    def _none_found(self) -> CorpusError:
        return CorpusError(
            f"{self._name}: none of its first {self.num_done:,} rows has a text at "
            f"{self._content.url} ({self._reasons()}); correct the url of content"
        )

    def _rows(
        self, batches: Iterable[pa.RecordBatch], stored: Iterable[pa.LargeStringArray]
    ) -> Iterator[_Row]:
        known = (text for texts in stored for text in texts)
        places, number = None, 0
        for batch in batches:
            places = places or self._content.places(batch.schema, self._name)
            with refusing(f"{self._name} is damaged"):
                columns = {column: _values(batch, place) for column, place in places.items()}
            encodings = columns.get(self._content.encoding)
            for place in range(len(batch)):
                values = {column: those[place] for column, those in columns.items()}
                path = filled(self._objects.path, values, quoted=self._is_quoted)
                encoding = (encodings[place] if encodings else self._content.encoding) or "utf-8"
                text = next(known, None)
                if text is not None and not text.is_valid and self._bad.on_error == "refuse":
                    text = None  # it may be a bad row that was left out
                if text is None and path is not None:
                    text = self._objects.ask(path)
                yield _Row(batch, place, number, path, encoding, text)
                number += 1

    def _text(self, row: _Row) -> bytes | None:
        """A row's text as UTF-8; None, once that is counted, where it has none."""
        self.num_done += 1
        try:
            text = self._text_there(row)
        except _NoTextError as error:
            where = self._objects.url_of(row.path) if row.path else ""
            if error.is_bad:
                detail = ": ".join(each for each in (where, error.detail) if each)
                self._bad.refuse_or_count(self._name, f"row {row.number}", error.reason, detail)
            else:
                self._bad.counts[error.reason] += 1
            self._missing[error.reason] += 1
            self._first_missing = self._first_missing or f"row {row.number}{where and f', {where}'}"
            if not self._num_found and self.num_done >= _ALL_MISSING:
                raise self._none_found() from error
            return None
        self._num_found += 1
        return text

    def _text_there(self, row: _Row) -> bytes:
        if row.text is None or row.path is None:
            raise _NoTextError(NO_URL)
        if not isinstance(row.text, Future):
            if not row.text.is_valid:
                raise _NoTextError(NOT_BEFORE, is_bad=False)
            return row.text.as_buffer().to_pybytes()
        if (piece := row.text.result()) is None:
            raise _NoTextError(NOT_THERE, is_bad=False)
        packed = BytesIO(piece)
        if len(piece) == PIECE_BYTES:
            packed = cast("BinaryIO", _Pieces(self._objects, row.path, piece))
        data = _unpacked(packed, self._content.compression)
        try:
            text = data.decode(row.encoding).encode()
        except (LookupError, ValueError) as error:
            detail = f"{shortened(row.encoding)}, {said(error)}"
            raise _NoTextError(OTHER_ENCODING, detail) from error
        if len(text) > MAX_DOCUMENT_BYTES:
            raise _NoTextError(TOO_LONG)
        return text


class _Pieces(RawIOBase):
    """An object whose first piece is here; the others are asked for when they are read."""

    def __init__(self, objects: Objects, path: str, first: bytes) -> None:
        self._objects, self._path = objects, path
        self._piece, self._asked, self._ends = memoryview(first), len(first), False

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read on."""
        if not self._piece and not self._ends:
            piece = self._objects.ask(self._path, self._asked).result() or b""
            self._piece, self._asked = memoryview(piece), self._asked + len(piece)
            self._ends = len(piece) < PIECE_BYTES
        size = min(len(buffer), len(self._piece))
        buffer[:size], self._piece = self._piece[:size], self._piece[size:]
        return size


def _unpacked(packed: BinaryIO, compression: str) -> bytes:
    """All that is packed in a text's bytes, if it is not too much."""
    reader = decompressed(packed, None if compression == "none" else compression)
    pieces, num_bytes = list[bytes](), 0
    try:
        while piece := reader.read1(PIECE_BYTES):
            pieces.append(piece)
            if (num_bytes := num_bytes + len(piece)) > MAX_DOCUMENT_BYTES:
                raise _NoTextError(TOO_LONG)
    except (OSError, pa.ArrowException) as error:
        raise _NoTextError(DAMAGED, said(error)) from error
    return b"".join(pieces)


def _is_text(type_: pa.DataType) -> bool:
    is_short = pa.types.is_string(type_) or pa.types.is_string_view(type_)
    return is_short or pa.types.is_large_string(type_)


def _values(batch: pa.RecordBatch, place: Place) -> list[str | None]:
    texts = column_of(batch, place).cast(pa.large_string())
    texts.validate(full=True)
    return texts.to_pylist()


def _with_texts(batch: pa.RecordBatch, texts: list[bytes | None]) -> pa.RecordBatch:
    """Rows with their texts as the first column."""
    others = {name: batch.column(name) for name in batch.schema.names if name != COLUMN}
    return pa.RecordBatch.from_arrays([texts_of(texts), *others.values()], names=[COLUMN, *others])
