"""A file of a dataset repository -> its record: the parquet on this disk, or its leading text.

The revision is resolved to a commit once, which is then kept (`codedata.hub.pins`); what is here
and right of that commit costs no request.

Of the leading text come, over the network, the footer and of the row groups that hold the
characters the column `content`. The hub states no hash of it: that the bytes are right rests on the
connection (TLS), on the pages' checksums where the file has them, and on the decoding of every part
before it counts. What is here is not fetched again: after a kill, beside a bad row, or in another
commit with the same file.
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from io import SEEK_SET, BufferedReader, RawIOBase
from pathlib import Path
from typing import Any, BinaryIO, cast

from huggingface_hub import constants, get_session, hf_hub_url
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from codedata.errors import CorpusError
from codedata.hub.client import ASKING_SECONDS, Call, limit_client
from codedata.hub.files import RemoteFile, describe, fetch_file, find_here
from codedata.hub.pins import read_pin, write_pin
from codedata.hub.source import HubSource
from codedata.layout import is_commit
from codedata.progress import SILENT, Reporter
from codedata.sources import record
from codedata.sources.formats.registry import is_random_access
from codedata.sources.leading import LeadingParquet, leading_folder
from codedata.sources.parquet.footer import Footer, open_parquet
from codedata.sources.parts import reaches, total
from codedata.sources.stored_text import is_in, stored_part

_REQUEST_BYTES = 8 << 20
"""Of a column at once: what a broken connection loses."""


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
    asked = _asked(source, folder, update=update)
    if _is_fetched_whole(source, path):
        corpus = _fetch_whole(source, path, asked, folder, reporter)
    else:
        corpus = _fetch_leading(source, path, asked, folder, reporter)
    write_pin(_pin(source, folder), source.repo, source.listed_revision, corpus.origin["commit"])
    return corpus


def _is_fetched_whole(source: HubSource, path: str) -> bool:
    """Whether a file comes as it is, not row group by row group, as far as they are wanted."""
    in_parts = source.first_chars is not None or source.comes_in_parts
    return not (in_parts and source.content is None and is_random_access(path))


def _fetch_whole(
    source: HubSource, path: str, asked: str, folder: Path, reporter: Reporter
) -> record.Corpus:
    file = fetch_file(source.repo, path, kind="dataset", revision=asked, reporter=reporter)
    return source.record(
        file.path,
        folder,
        _origin(source, path, file.commit),
        reporter,
        expected_sha256=file.sha256,
        first_chars=source.first_chars,
    )


def _fetch_leading(
    source: HubSource, path: str, asked: str, folder: Path, reporter: Reporter
) -> record.Corpus:
    repo, first_chars = source.repo, source.first_chars
    known, whole = _recorded(folder, repo, path), find_here(repo, path, "dataset", asked)
    is_all = first_chars is None
    file: RemoteFile | None = whole if whole is not None and whole.etag is not None else None
    if known is not None and known.origin["commit"] == asked and (part := known.part):
        place = leading_folder(folder, part.etag, source.columns, keeps_usual=is_all)
        if not is_all or is_in(known, place):
            file = RemoteFile(name=path, commit=asked, etag=part.etag, num_bytes=part.file_bytes)
    if file is None or not is_commit(asked):
        file = describe(repo, path, revision=asked, reporter=reporter, here=file)
    commit, etag = file.commit, str(file.etag)
    if is_all and file.sha256 is None:  # a small one, whose bytes the hub states no hash of
        return _fetch_whole(source, path, commit, folder, reporter)
    is_here = whole is not None and (whole.commit, whole.etag) == (commit, file.etag)
    fetcher = LeadingParquet(
        name=path,
        where=f"{path} of {repo}",
        etag=etag,
        num_bytes=file.num_bytes,
        source=whole.path if whole is not None and is_here else _RemoteBytes(repo, file),
        columns=source.columns,
        folder=folder,
        reporter=reporter,
        keeps_usual=is_all,
    )
    fetcher.know(known)
    with Call(repo, "dataset", commit, path, reporter).made():
        part = fetcher.leading(
            first_chars,
            lambda num: etag if is_all else record.fingerprint_of(commit, path, etag, num),
        )
    return fetcher.recorded(part, _origin(source, path, commit))


def _origin(source: HubSource, path: str, commit: str) -> dict[str, Any]:
    revision = source.listed_revision
    return {
        "kind": "hub",
        "repo": source.repo,
        "path": path,
        "revision": revision,
        "commit": commit,
    }


@contextmanager
def open_remote(source: HubSource, path: str) -> Iterator[BinaryIO]:
    """A file of a repository, of which comes what is read.

    Raises:
        HubError: the hub does not give it.
    """
    limit_client()
    listing = source.listing
    revision = listing.commit if listing else source.revision
    file = describe(source.repo, path, revision=revision, reporter=SILENT, here=None)
    with Call(source.repo, "dataset", file.commit, path, SILENT).made():
        yield cast("BinaryIO", BufferedReader(_RemoteBytes(source.repo, file), _REQUEST_BYTES))


def bytes_to_fetch(source: HubSource, path: str, folder: Path, reporter: Reporter) -> int:
    """About how much `fetch_corpus` would have to fetch; arguments and errors are the same.

    Nothing depends on it: a hub that is not reached is given up within seconds.
    """
    limit_client()
    asked = _asked(source, folder)
    known = _recorded(folder, source.repo, path)
    if find_here(source.repo, path, "dataset", asked) is not None:
        return 0
    if known is not None and known.origin["commit"] == asked and (part := known.part):
        is_all = source.first_chars is None
        parts = leading_folder(folder, part.etag, source.columns, keeps_usual=is_all)
        stored = stored_part(known) if is_in(known, parts) else None
        here = (stored or part).parts
        is_enough = len(here) == part.num_groups or (
            source.first_chars is not None and reaches(total(here), source.first_chars)
        )
        if is_enough and (stored or all(record.is_whole(parts / each.name) for each in here)):
            return 0
    file = describe(
        source.repo, path, revision=asked, reporter=reporter, here=None, within=ASKING_SECONDS
    )
    if source.first_chars is None or _is_fetched_whole(source, path):
        return file.num_bytes
    num_bytes = length = 0
    where = f"{path} of {source.repo}"
    with Call(source.repo, "dataset", file.commit, path, reporter).made():
        parquet = open_parquet(_RemoteBytes(source.repo, file), where)
    footer = Footer.of(parquet, where, source.text_column)  # which refuses what has no text
    for group in footer.groups:
        text = footer.column_chunk(group)
        num_bytes += text.total_compressed_size
        length += text.total_uncompressed_size
        if length >= source.first_chars:
            break
    return num_bytes


def _asked(source: HubSource, folder: Path, *, update: bool = False) -> str:
    """The commit of the list or the kept one, or the branch or tag that is to be resolved."""
    if source.listing is not None:
        return source.listing.commit
    pinned = read_pin(_pin(source, folder), source.repo, source.revision)
    return source.revision if update else pinned


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

    def seekable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fetch the next bytes."""
        found = self.read(len(buffer))
        buffer[: len(found)] = found
        return len(found)

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
