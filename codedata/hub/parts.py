"""The leading characters of a parquet on the hub -> parts: whole row groups of its `content`.

Over the network come the footer and, of the row groups that hold the characters, that column. The
hub states no hash of it: that the bytes are right rests on the connection (TLS), on the pages'
checksums where the file has them, and on the decoding of every part before it counts. What is here
is not fetched again: after a kill, beside a bad row, or in another commit with the same file.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from io import SEEK_SET, RawIOBase
from pathlib import Path
from typing import BinaryIO, TypeVar

import httpx2
import pyarrow as pa
import pyarrow.parquet as pq
from huggingface_hub import constants, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from codedata.errors import CorpusError
from codedata.format.ranges import MAX_CHARACTERS, CharRange
from codedata.hub.client import Asked, ask
from codedata.hub.files import RemoteFile
from codedata.progress import Reporter
from codedata.sources.parquet.footer import ARROW_ERRORS, Parquet
from codedata.sources.parquet.index import TextIndex, count_to
from codedata.sources.parquet.refusals import COLUMN, require_text_column, said
from codedata.sources.parts import LeadingText, Part, TextPart, fingerprint_of, reaches, short_hash
from codedata.store.files import replace_atomically

T = TypeVar("T")

_REQUEST_BYTES = 8 << 20
"""Of a column at once: what a broken connection loses."""

_BATCH_ROWS = 256
"""Decoded at once, a row group of a part: of a dictionary, all may be as long as the longest."""


def fetch_parts(
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
        file: as the hub states it.
        num_chars: how many characters.
        folder: of the parts of these bytes; what is there is not fetched again.
        reporter: told how far the transfer is.
        known: what is recorded of the same bytes: then no footer is needed for what is there.
        whole: the same file in the cache, which costs no request; None where it is not there.

    Raises:
        HubError: the hub does not give it.
        CorpusError: it is no usable parquet.
        OSError: the disk does not take it.
    """
    if known and all(part.is_at(folder) for part in known.parts):
        here: list[Part] = []
        for part in known.parts:
            if not reaches(here, num_chars):
                here.append(part)
        if reaches(here, num_chars) or len(here) == known.num_groups:
            return _text_part(file, num_chars, folder, here, known.num_groups, known.columns)
    folder.mkdir(parents=True, exist_ok=True)
    fetcher = _Fetcher(file, folder, reporter, whole)
    asked = Asked(file.repo, file.kind, file.commit, file.path)
    here = ask(asked, lambda: fetcher.leading(num_chars), reporter)
    return _text_part(file, num_chars, folder, here, fetcher.num_groups, fetcher.columns)


def _text_part(
    file: RemoteFile,
    num_chars: int,
    folder: Path,
    here: Sequence[Part],
    num_groups: int,
    columns: dict[str, str],
) -> TextPart:
    length = sum(part.num_chars for part in here) - 1
    ends_here = len(here) == num_groups and length <= num_chars
    part = TextPart(
        fingerprint=fingerprint_of(file.commit, file.path, file.etag, len(here)),
        num_chars=length if ends_here else num_chars,
        ends_here=ends_here,
        etag=file.etag,
        file_bytes=file.num_bytes,
        num_groups=num_groups,
        columns=columns,
        parts=tuple(here),
    )
    LeadingText(folder, part).clip(CharRange(0, num_chars))  # which refuses what has no text
    return part


class _Fetcher:
    """Brings row groups that are not here."""

    def __init__(
        self, file: RemoteFile, folder: Path, reporter: Reporter, whole: Path | None
    ) -> None:
        self._file = file
        self._folder = folder
        self._reporter = reporter
        self._whole = whole
        self._parquet: pq.ParquetFile | None = None
        self.num_groups = 0
        self.columns: dict[str, str] = {}

    def leading(self, num_chars: int) -> list[Part]:
        """The parts that hold the first characters."""
        self._twice(self._open)
        here: list[Part] = []
        name = f"{self._file.path}, its first {num_chars:,} characters"
        with self._reporter.transfer(name) as transfer:
            while not reaches(here, num_chars) and len(here) < self.num_groups:
                group = len(here)
                part = self._find(group)
                if part is None:
                    part = self._twice(lambda group=group: self._fetch(group))
                    transfer.advance(part.num_bytes)
                here.append(part)
                num_bytes = sum(part.num_bytes for part in here)
                counted = sum(part.num_chars for part in here)
                transfer.expect(int(num_bytes * max(1.0, num_chars / max(1, counted))))
        return here

    def _twice(self, work: Callable[[], T]) -> T:
        """Do what a damaged transfer makes fail, once more where it does."""
        try:
            return work()
        except CorpusError as error:
            self._reporter.say(f"{error}; it is fetched once more, in case the transfer damaged it")
            self._parquet = None
            return work()

    def _open(self) -> pq.ParquetFile:
        """The parquet, read through the network as far as is asked for."""
        if self._parquet is not None:
            return self._parquet
        file = self._file
        with _reading(f"{file.path} of {file.repo} is not a readable parquet file", "name one"):
            parquet = pq.ParquetFile(
                self._whole or _RemoteBytes(file),
                pre_buffer=False,
                buffer_size=_REQUEST_BYTES,
                page_checksum_verification=True,
            )
            schema = parquet.schema_arrow
            self.columns = {each.name: str(each.type) for each in schema}
        require_text_column(Path(file.path), schema)
        self.num_groups = parquet.num_row_groups
        self._parquet = parquet
        return parquet

    def _find(self, group: int) -> Part | None:
        """A part that is here and whole."""
        for path in self._folder.glob(f"{group:05d}-*.parquet"):
            if path.name == f"{group:05d}-{short_hash(path)}.parquet":
                return self._counted(group, path)
        return None

    def _fetch(self, group: int) -> Part:
        arrived = self._folder / "arrived.parquet"
        replace_atomically(arrived, lambda out: self._copy(group, out))
        part = self._counted(group, arrived)  # which refuses what is damaged
        name = f"{group:05d}-{short_hash(arrived)}.parquet"
        arrived.replace(self._folder / name)
        return replace(part, name=name)

    def _counted(self, group: int, path: Path) -> Part:
        index = TextIndex()
        try:
            parquet = Parquet(path)
            count_to(parquet, index, len(parquet.footer.group_rows), MAX_CHARACTERS)
        except CorpusError as error:
            raise CorpusError(f"row group {group} of {self._file.path}: {error}") from error
        num_chars, num_documents, num_nulls = index.total()
        num_rows = self._open().metadata.row_group(group).num_rows
        if num_documents + num_nulls != num_rows:
            raise CorpusError(
                f"{self._file.path} is damaged in row group {group}: its footer says {num_rows} "
                f"rows, and {num_documents + num_nulls} are there"
            )
        return Part(
            name=path.name,
            num_bytes=path.stat().st_size,
            num_chars=num_chars,
            num_documents=num_documents,
            num_nulls=num_nulls,
        )

    def _copy(self, group: int, out: BinaryIO) -> None:
        parquet = self._open()
        column_type = parquet.schema_arrow.field(COLUMN).type
        if pa.types.is_dictionary(column_type):
            column_type = column_type.value_type
        schema = pa.schema([pa.field(COLUMN, column_type)])
        batches = parquet.iter_batches(
            _BATCH_ROWS, row_groups=[group], columns=[COLUMN], use_threads=False
        )
        with pq.ParquetWriter(out, schema, compression="zstd", write_statistics=False) as writer:
            while True:
                with _reading(f"{self._file.path} is damaged in row group {group}", "name another"):
                    batch = next(batches, None)
                if batch is None:
                    return
                column = batch.column(COLUMN)
                if pa.types.is_dictionary(column.type):
                    column = column.dictionary_decode()
                writer.write_batch(pa.record_batch([column], schema=schema))


@contextmanager
def _reading(what: str, remedy: str) -> Iterator[None]:
    """Say what is wrong with bytes that arrived; what did not arrive is said by `ask`."""
    try:
        yield
    except ARROW_ERRORS as error:
        if isinstance(error, httpx2.HTTPError) or getattr(error, "errno", None) is not None:
            raise
        raise CorpusError(f"{what}: {said(error)}; {remedy}") from error


class _RemoteBytes(RawIOBase):
    """The bytes of a file of the hub, of which those that are read are fetched."""

    def __init__(self, file: RemoteFile) -> None:
        self._url = hf_hub_url(file.repo, file.path, repo_type=file.kind, revision=file.commit)
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
