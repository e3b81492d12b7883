"""A file of a dataset repository -> its record: the parquet on this disk, or its leading text.

The revision is resolved to a commit once, which is then kept (`codedata.hub.pins`); what is here
and right of that commit costs no request.

Of the leading text come, over the network, the footer and of the row groups that hold the
characters the column `content`. The hub states no hash of it: that the bytes are right rests on the
connection (TLS), on the pages' checksums where the file has them, and on the decoding of every part
before it counts. What is here is not fetched again: after a kill, beside a bad row, or in another
commit with the same file.
"""

import shutil
from collections.abc import Iterator
from contextlib import suppress
from io import SEEK_SET, RawIOBase
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import constants, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from codedata.errors import CorpusError
from codedata.hub.client import ASKING_SECONDS, Call, limit_client
from codedata.hub.files import RemoteFile, describe, fetch_file, find_here
from codedata.hub.pins import read_pin, write_pin
from codedata.hub.source import HubSource
from codedata.layout import is_commit
from codedata.progress import Reporter
from codedata.sources import record
from codedata.sources.parquet.footer import (
    COLUMN,
    Footer,
    open_parquet,
    refusing,
    text_type,
)
from codedata.sources.parts import count_part, extent, reaches, total, write_part

_REQUEST_BYTES = 8 << 20
"""Of a column at once: what a broken connection loses."""

_BATCH_ROWS = 256
"""Decoded at once, a row group of a part: of a dictionary, all may be as long as the longest."""


def fetch_corpus(
    source: HubSource, path: str, folder: Path, reporter: Reporter, *, update: bool
) -> record.Corpus:
    """Have a file, or what its first characters take; one process at a time for each `folder`.

    Args:
        source: which repository, which revision, and how many characters.
        path: of the parquet in the repository.
        folder: of the file's record, and of the parts of its leading text.
        reporter: told how far the transfer is.
        update: resolve the revision anew.

    Raises:
        HubError: the hub does not give it; with the remedy.
        CorpusError: it is no usable parquet.
        OSError: the disk does not take it.
    """
    limit_client()
    repo, revision = source.repo, source.revision
    pin = _pin(source, folder)
    asked = revision if update else read_pin(pin, repo, revision)
    if source.first_chars is None:
        file = fetch_file(repo, path, kind="dataset", revision=asked, reporter=reporter)
        parquet, part, sha256 = file.path, None, file.sha256
    else:
        known, whole = _recorded(folder, repo, path), find_here(repo, path, "dataset", asked)
        file = whole if whole is not None and whole.etag is not None else None
        if known is not None and known.origin["commit"] == asked and (part := known.part):
            file = RemoteFile(name=path, commit=asked, etag=part.etag, num_bytes=part.file_bytes)
        if file is None or not is_commit(asked):
            file = describe(repo, path, revision=asked, reporter=reporter, here=file)
        parquet, sha256 = folder / record.PARTS_NAME / str(file.etag)[: record.DIGITS], None
        fetcher = _Fetcher(repo, file, parquet, reporter)
        if known and known.part and known.part.etag == file.etag:
            fetcher.known = known.part
        if whole and (whole.commit, whole.etag) == (file.commit, file.etag):
            fetcher.source = whole.path
        with Call(repo, "dataset", file.commit, path, reporter).made():
            part = fetcher.leading(source.first_chars)
    origin = {
        "kind": "hub", "repo": repo, "path": path, "revision": revision, "commit": file.commit,
    }  # fmt: skip
    corpus = record.record_corpus(folder, parquet, origin, expected_sha256=sha256, part=part)
    write_pin(pin, repo, revision, file.commit)
    if part is not None:
        for other in {*parquet.parent.iterdir(), *folder.glob("leading.parquet*")} - {parquet}:
            reporter.say(f"{other} is removed: the text is in {parquet}")
            shutil.rmtree(other) if other.is_dir() else other.unlink()
    return corpus


def bytes_to_fetch(source: HubSource, path: str, folder: Path, reporter: Reporter) -> int:
    """About how much `fetch_corpus` would have to fetch; arguments and errors are the same.

    Nothing depends on it: a hub that is not reached is given up within seconds.
    """
    limit_client()
    asked = read_pin(_pin(source, folder), source.repo, source.revision)
    known = _recorded(folder, source.repo, path)
    if find_here(source.repo, path, "dataset", asked) is not None:
        return 0
    if known is not None and known.origin["commit"] == asked and (part := known.part):
        parts = folder / record.PARTS_NAME / part.etag[: record.DIGITS]
        is_enough = source.first_chars is not None and (
            len(part.parts) == part.num_groups or reaches(total(part.parts), source.first_chars)
        )
        if is_enough and all(record.is_whole(parts / each.name) for each in part.parts):
            return 0
    file = describe(
        source.repo, path, revision=asked, reporter=reporter, here=None, within=ASKING_SECONDS
    )
    if source.first_chars is None:
        return file.num_bytes
    num_bytes = length = 0
    where = f"{path} of {source.repo}"
    with Call(source.repo, "dataset", file.commit, path, reporter).made():
        parquet = open_parquet(_RemoteBytes(source.repo, file), where)
    Footer.of(parquet, where)  # which refuses what has no text
    metadata = parquet.metadata
    for group in range(metadata.num_row_groups):
        columns = [metadata.row_group(group).column(n) for n in range(metadata.num_columns)]
        text = next(column for column in columns if column.path_in_schema == COLUMN)
        num_bytes += text.total_compressed_size
        length += text.total_uncompressed_size
        if length >= source.first_chars:
            break
    return num_bytes


def _pin(source: HubSource, folder: Path) -> Path:
    """The file that keeps the commit of a corpus; `folder` is that of one of its files."""
    return (folder if source.num_files == 1 else folder.parent) / record.PIN_NAME


def _recorded(folder: Path, repo: str, path: str) -> record.Corpus | None:
    """What an earlier run recorded of the same file."""
    with suppress(CorpusError):  # none, or a damaged one
        corpus = record.read_corpus(folder)
        if (corpus.origin.get("repo"), corpus.origin.get("path")) == (repo, path):
            return corpus
    return None


class _RemoteBytes(RawIOBase):
    """The bytes of a file of the hub, of which those that are read are fetched."""

    def __init__(self, repo: str, file: RemoteFile) -> None:
        self._url = hf_hub_url(repo, file.name, repo_type="dataset", revision=file.commit)
        self._num_bytes = file.num_bytes
        self._place = 0

    def readable(self) -> bool:
        """It is."""
        return True

    def seek(self, offset: int, whence: int = SEEK_SET) -> int:
        """Go to a place from the start, the present one or the end."""
        self._place = offset + (0, self._place, self._num_bytes)[whence]
        return self._place

    def read(self, size: int = -1) -> bytes:
        """Fetch the next bytes."""
        stop = self._num_bytes if size < 0 else min(self._place + size, self._num_bytes)
        if stop <= self._place:
            return b""
        headers = build_hf_headers() | {"Range": f"bytes={self._place}-{stop - 1}"}
        response = get_session().get(
            self._url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
        )
        hf_raise_for_status(response)
        self._place = stop
        return response.content


class _Fetcher:
    """Finds row groups that are here, and brings those that are not.

    Attributes:
        known: what is recorded of the same bytes: no footer is needed for what is here of it.
        source: what is read: the network, or the whole file where that is here.
    """

    def __init__(self, repo: str, file: RemoteFile, folder: Path, reporter: Reporter) -> None:
        self.file = file
        self.folder = folder
        self.reporter = reporter
        self.where = f"{file.name} of {repo}"
        self.known: record.TextPart | None = None
        self.source: Path | _RemoteBytes = _RemoteBytes(repo, file)
        self.parquet: tuple[pq.ParquetFile, Footer] | None = None

    def leading(self, num_chars: int) -> record.TextPart:
        """The first characters."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if self.known:
            num_groups, columns = self.known.num_groups, self.known.columns
        else:
            _, footer = self._open()
            num_groups, columns = len(footer.groups), footer.columns
        file, here = self.file, list[record.Part]()
        with self.reporter.transfer(f"{file.name}, its first {num_chars:,} characters") as transfer:
            while not reaches(total(here), num_chars) and len(here) < num_groups:
                part = self._find(len(here))
                if part is None:
                    part = self._fetch(len(here))
                    transfer.advance(part.num_bytes)
                here.append(part)
                num_bytes = sum(part.num_bytes for part in here)
                counted = sum(part.num_chars for part in here)
                transfer.expect(int(num_bytes * max(1.0, num_chars / max(1, counted))))
        length, ends_here = extent(total(here), num_chars, all_here=len(here) == num_groups)
        return record.TextPart(
            fingerprint=record.fingerprint_of(file.commit, file.name, str(file.etag), len(here)),
            num_chars=length,
            ends_here=ends_here,
            etag=str(file.etag),
            file_bytes=file.num_bytes,
            num_groups=num_groups,
            columns=columns,
            parts=tuple(here),
        )

    def _find(self, group: int) -> record.Part | None:
        """A part that is here and whole."""
        known = {part.name: part for part in self.known.parts} if self.known else {}
        for path in self.folder.glob(f"{group:05d}-*.parquet"):
            if record.is_whole(path):
                return known.get(path.name) or count_part(path, group, self.where)
        return None

    def _fetch(self, group: int) -> record.Part:
        """A part that is not here."""
        parquet, _ = self._open()
        schema = pa.schema([pa.field(COLUMN, text_type(parquet.schema_arrow))])
        return write_part(self.folder, group, schema, self._rows(group, schema), where=self.where)

    def _open(self) -> tuple[pq.ParquetFile, Footer]:
        """The parquet, read through the network as far as is asked for."""
        if self.parquet is None:
            parquet = open_parquet(self.source, self.where, buffer_size=_REQUEST_BYTES)
            self.parquet = parquet, Footer.of(parquet, self.where)
        return self.parquet

    def _rows(self, group: int, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        parquet, footer = self._open()
        damaged = f"{self.where} is damaged in row group {group}"
        batches = parquet.iter_batches(
            _BATCH_ROWS, row_groups=[group], columns=[COLUMN], use_threads=False
        )
        num_rows = 0
        while True:
            with refusing(damaged, "run again, or name another"):
                batch = next(batches, None)
            if batch is None:
                break
            column = batch.column(COLUMN)
            if isinstance(column, pa.DictionaryArray):
                column = column.dictionary_decode()
            yield pa.record_batch([column], schema=schema)
            num_rows += len(column)
        if num_rows != footer.group_rows[group]:
            raise CorpusError(
                f"{damaged}: its footer says {footer.group_rows[group]} rows, and {num_rows} are "
                "there; run again, or name another"
            )
