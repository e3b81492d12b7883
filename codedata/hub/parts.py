"""The leading characters of a parquet on the hub -> parts: whole row groups of its `content`.

Over the network come the footer and, of the row groups that hold the characters, that column. The
hub states no hash of it: that the bytes are right rests on the connection (TLS), on the pages'
checksums where the file has them, and on the decoding of every part before it counts. What is here
is not fetched again: after a kill, beside a bad row, or in another commit with the same file.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from io import SEEK_SET, RawIOBase
from pathlib import Path
from typing import BinaryIO, TypeVar

import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import constants, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from codedata.errors import CorpusError
from codedata.format.ranges import MAX_CHARACTERS
from codedata.hub.client import calling
from codedata.hub.files import RemoteFile
from codedata.progress import Reporter
from codedata.sources.parquet.footer import (
    COLUMN,
    Footer,
    Parquet,
    open_parquet,
    refusing,
    text_type,
)
from codedata.sources.parquet.index import TextIndex, count_to
from codedata.sources.parquet.text import sha256_once
from codedata.sources.parts import Part, TextPart, fingerprint_of, is_whole, part_name
from codedata.store.files import name_atomically

T = TypeVar("T")

_REQUEST_BYTES = 8 << 20
"""Of a column at once: what a broken connection loses."""

_BATCH_ROWS = 256
"""Decoded at once, a row group of a part: of a dictionary, all may be as long as the longest."""


def fetch_parts(
    repo: str,
    file: RemoteFile,
    num_chars: int,
    folder: Path,
    reporter: Reporter,
    *,
    known: TextPart | None,
    whole: Path | None,
) -> TextPart:
    """Have the first `num_chars` characters of a parquet; one process at a time.

    Args:
        repo: dataset repository, `owner/name`.
        file: as the hub states it.
        num_chars: how many characters.
        folder: of the parts of these bytes; what is there is not fetched again.
        reporter: told how far the transfer is.
        known: what is recorded of the file: of the same bytes, no footer is needed for what is
            there.
        whole: the same file in the cache, which costs no request; None where it is not there.

    Raises:
        HubError: the hub does not give it.
        CorpusError: it is no usable parquet.
        OSError: the disk does not take it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    known = known if known and known.etag == file.etag else None
    where, source = f"{file.name} of {repo}", whole or _RemoteBytes(repo, file)
    fetcher = _Fetcher(where, source, folder, known, reporter)
    here: list[Part] = []
    length = -1
    name = f"{file.name}, its first {num_chars:,} characters"
    with (
        calling(repo, "dataset", file.commit, file.name, reporter=reporter),
        reporter.transfer(name) as transfer,
    ):
        num_groups, columns = fetcher.num_groups_and_columns()
        while length < num_chars and len(here) < num_groups:
            part = fetcher.find(len(here))
            if part is None:
                part = fetcher.fetch(len(here))
                transfer.advance(part.num_bytes)
            here.append(part)
            length += part.num_chars
            num_bytes = sum(part.num_bytes for part in here)
            transfer.expect(int(num_bytes * max(1.0, num_chars / max(1, length))))
    ends_here = len(here) == num_groups and length <= num_chars
    return TextPart(
        fingerprint=fingerprint_of(file.commit, file.name, str(file.etag), len(here)),
        num_chars=length if ends_here else num_chars,
        ends_here=ends_here,
        etag=str(file.etag),
        file_bytes=file.num_bytes,
        num_groups=num_groups,
        columns=columns,
        parts=tuple(here),
    )


@dataclass
class _Fetcher:
    """Finds row groups that are here, and brings those that are not."""

    where: str
    source: "Path | _RemoteBytes"
    folder: Path
    known: TextPart | None
    reporter: Reporter
    parquet: tuple[pq.ParquetFile, Footer] | None = None

    def num_groups_and_columns(self) -> tuple[int, dict[str, str]]:
        """How many row groups the file has, and its columns, type by name."""
        if self.known:
            return self.known.num_groups, self.known.columns
        _, footer = self._twice(self._open)
        return len(footer.groups), footer.columns

    def find(self, group: int) -> Part | None:
        """A part that is here and whole."""
        known = {part.name: part for part in self.known.parts} if self.known else {}
        for path in self.folder.glob(f"{group:05d}-*.parquet"):
            if is_whole(path):
                return known.get(path.name) or self._counted(group, path)
        return None

    def fetch(self, group: int) -> Part:
        """A part that is not here."""
        found: list[Part] = []

        def name(arrived: Path) -> str:
            found.append(self._counted(group, arrived))  # which refuses what is damaged
            return found[-1].name

        self._twice(lambda: name_atomically(self.folder, partial(self._copy, group), name))
        return found[-1]

    def _twice(self, work: Callable[[], T]) -> T:
        """Do what a damaged transfer makes fail, once more where it does."""
        try:
            return work()
        except CorpusError as error:
            self.reporter.say(f"{error}; it is fetched once more, in case the transfer damaged it")
            self.parquet = None
            return work()

    def _open(self) -> tuple[pq.ParquetFile, Footer]:
        """The parquet, read through the network as far as is asked for."""
        if self.parquet is None:
            parquet = open_parquet(self.source, self.where, buffer_size=_REQUEST_BYTES)
            self.parquet = parquet, Footer.of(parquet, self.where)
        return self.parquet

    def _counted(self, group: int, path: Path) -> Part:
        index = TextIndex()
        try:
            count_to(Parquet(path), index, MAX_CHARACTERS)
        except CorpusError as error:
            raise CorpusError(f"row group {group} of {self.where}: {error}") from error
        name, num_bytes = part_name(group, sha256_once(path)), path.stat().st_size
        return Part(name=name, num_bytes=num_bytes, **index.total()._asdict())

    def _copy(self, group: int, out: BinaryIO) -> None:
        parquet, footer = self._open()
        schema = pa.schema([pa.field(COLUMN, text_type(parquet.schema_arrow))])
        damaged = f"{self.where} is damaged in row group {group}"
        num_rows = 0
        with pq.ParquetWriter(out, schema, compression="zstd", write_statistics=False) as writer:
            with refusing(damaged, "name another"):
                batches = parquet.iter_batches(
                    _BATCH_ROWS, row_groups=[group], columns=[COLUMN], use_threads=False
                )
            while True:
                with refusing(damaged, "name another"):
                    batch = next(batches, None)
                if batch is None:
                    break
                column = batch.column(COLUMN)
                if isinstance(column, pa.DictionaryArray):
                    column = column.dictionary_decode()
                writer.write_batch(pa.record_batch([column], schema=schema))
                num_rows += len(column)
        if num_rows != footer.group_rows[group]:
            raise CorpusError(
                f"{damaged}: its footer says {footer.group_rows[group]} rows, and {num_rows} are "
                "there"
            )


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
