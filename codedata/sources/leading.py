"""A parquet that lies elsewhere -> its leading row groups here, as parts.

Of the parquet come its footer and, of the row groups that hold the wanted characters, the columns
that are asked for. What is here is not fetched again: after a kill, beside a bad row, or in another
version with the same bytes.
"""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import CorpusError
from codedata.progress import Reporter
from codedata.sources import record
from codedata.sources.columns import (
    Columns,
    Place,
    corpus_batch,
    corpus_schema,
    kept_columns,
    text_identity,
)
from codedata.sources.parquet.footer import Footer, open_parquet, refusing
from codedata.sources.parts import (
    count_part,
    extent,
    parts_folder,
    reaches,
    remove_others,
    total,
    write_part,
)
from codedata.sources.stored_text import is_in, stored_part
from codedata.store.files import replace_atomically
from codedata.store.object_store import ObjectStore

_REQUEST_BYTES = 8 << 20
"""Of a column at once: what a broken connection loses."""

_BATCH_ROWS = 256
"""Decoded at once, a row group of a part: of a dictionary, all may be as long as the longest."""


def leading_folder(folder: Path, etag: str, columns: Columns, *, keeps_usual: bool) -> Path:
    """Where the row groups of a parquet are: see `LeadingParquet`."""
    return parts_folder(folder, etag, columns, ["usual columns"] if keeps_usual else None)


class LeadingParquet:
    """Finds row groups that are here, and brings those that are not.

    Args:
        name: of the parquet, for progress.
        where: what it is called in messages.
        etag: what it is known by.
        num_bytes: its size.
        source: what is read: a path of this machine, or an opened file.
        columns: which are fetched; of those to be kept, only what is named.
        folder: of the file's record.
        reporter: told how far it is.
        keeps_usual: whether the usual columns are kept where none are named.
    """

    def __init__(
        self,
        *,
        name: str,
        where: str,
        etag: str,
        num_bytes: int,
        source: Any,
        columns: Columns,
        folder: Path,
        reporter: Reporter,
        keeps_usual: bool = False,
    ) -> None:
        self.folder = leading_folder(folder, etag, columns, keeps_usual=keeps_usual)
        self._name, self._where, self._etag, self._num_bytes = name, where, etag, num_bytes
        self._source, self._reporter = source, reporter
        self._corpus_folder, self._asked = folder, columns
        self._columns = (
            columns
            if columns.keep is not None or keeps_usual
            else Columns(text=columns.text, id=columns.id, keep=())
        )
        self._known: record.TextPart | None = None
        self._stored: record.Corpus | None = None
        self._opened: tuple[pq.ParquetFile, Footer] | None = None

    def know(self, corpus: record.Corpus | None) -> None:
        """Take what is recorded, if it is of the same bytes: no footer is needed for its parts."""
        if corpus is None or corpus.part is None or corpus.part.etag != self._etag:
            return
        if is_in(corpus, self.folder) and (part := stored_part(corpus)):
            self._stored, self._known = corpus, part
        elif self.folder.is_dir():
            self._known = corpus.part

    def leading(self, num_chars: int | None, fingerprint: Callable[[int], str]) -> record.TextPart:
        """The first characters.

        Args:
            num_chars: how many; None for all.
            fingerprint: of the text, by the number of its row groups.

        Raises:
            CorpusError: it is no usable parquet.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        if self._known:
            num_groups, columns = self._known.num_groups, self._known.columns
        else:
            _, footer = self._open()
            num_groups, columns = len(footer.groups), footer.columns
        here = list[record.Part]()
        some = "" if num_chars is None else f", its first {num_chars:,} characters"
        with self._reporter.transfer(f"{self._name}{some}") as transfer:
            while len(here) < num_groups and not (num_chars and reaches(total(here), num_chars)):
                part = self._find(len(here))
                if part is None:
                    part = self._fetch(len(here))
                    transfer.advance(part.num_bytes)
                here.append(part)
                num_bytes = sum(part.num_bytes for part in here)
                share = num_groups / len(here)
                if num_chars is not None:
                    share = num_chars / max(1, sum(part.num_chars for part in here))
                transfer.expect(int(num_bytes * max(1.0, share)))
        length, ends_here = extent(total(here), num_chars, all_here=len(here) == num_groups)
        return record.TextPart(
            fingerprint=text_identity(fingerprint(len(here)), self._columns.text),
            num_chars=length,
            ends_here=ends_here,
            etag=self._etag,
            file_bytes=self._num_bytes,
            num_groups=num_groups,
            columns=columns,
            parts=tuple(here),
        )

    def recorded(self, part: record.TextPart, origin: dict[str, Any]) -> record.Corpus:
        """Record what is here, and remove the parts of other versions."""
        folder, parts = self._corpus_folder, self.folder
        if self._stored is not None:
            if part == self._known:
                return replace(self._stored, origin=origin)
            self._bring(part)
        corpus = record.record_corpus(folder, parts, origin, part=part, columns=self._asked)
        remove_others(folder, parts, None, self._reporter)
        return corpus

    def _find(self, group: int) -> record.Part | None:
        """A part that is here and whole, or in the store."""
        known = {part.name: part for part in self._known.parts} if self._known else {}
        if self._stored is not None and self._known and group < len(self._known.parts):
            return self._known.parts[group]
        for path in self.folder.glob(f"{group:05d}-*.parquet"):
            if record.is_whole(path):
                return known.get(path.name) or count_part(path, group, self._where)
        return None

    def _bring(self, part: record.TextPart) -> None:
        """Have the parts here that are in the store, where others are to follow them."""
        assert self._stored is not None
        store = ObjectStore(self._stored.path.rpartition("/")[0])
        for each in part.parts:
            path = self.folder / each.name
            if not record.is_whole(path):
                replace_atomically(path, store.read(each.name))

    def _fetch(self, group: int) -> record.Part:
        """A part that is not here."""
        parquet, footer = self._open()
        kept = kept_columns(footer.schema, self._columns, self._where)
        schema = corpus_schema(footer.text, kept)
        rows = self._rows(parquet, group, footer, kept)
        return write_part(self.folder, group, schema, rows, where=self._where)

    def _rows(
        self, parquet: pq.ParquetFile, group: int, footer: Footer, kept: Mapping[str, Place]
    ) -> Iterator[pa.RecordBatch]:
        damaged = f"{self._where} is damaged in row group {group}"
        columns = [footer.text.name, *(place.name for place in kept.values())]
        batches = parquet.iter_batches(
            _BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False
        )
        num_rows = 0
        while True:
            with refusing(damaged, "run again, or name another"):
                batch = next(batches, None)
            if batch is None:
                break
            yield corpus_batch(batch, footer.text, kept)
            num_rows += len(batch)
        if num_rows != footer.group_rows[group]:
            raise CorpusError(
                f"{damaged}: its footer says {footer.group_rows[group]} rows, and {num_rows} are "
                "there; run again, or name another"
            )

    def _open(self) -> tuple[pq.ParquetFile, Footer]:
        """The parquet, read as far as is asked for."""
        if self._opened is None:
            parquet = open_parquet(self._source, self._where, buffer_size=_REQUEST_BYTES)
            self._opened = parquet, Footer.of(parquet, self._where, self._columns.text)
        return self._opened
