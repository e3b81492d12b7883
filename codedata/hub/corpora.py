"""A file of a dataset repository -> its record: the parquet on this disk, or its leading text.

The revision is resolved to a commit once, which is then kept (`codedata.hub.pins`); what is here
and right of that commit costs no request.
"""

import shutil
from contextlib import suppress
from pathlib import Path

from codedata.errors import CorpusError
from codedata.hub.client import limit_client
from codedata.hub.files import RemoteFile, describe, fetch_file, find_here
from codedata.hub.parts import fetch_parts, leading_bytes
from codedata.hub.pins import read_pin, write_pin
from codedata.layout import is_commit
from codedata.progress import Reporter
from codedata.sources.parts import DIGITS
from codedata.sources.record import PARTS_NAME, Corpus, read_corpus, record_corpus


def fetch_corpus(
    repo: str,
    path: str,
    *,
    revision: str,
    pin: Path,
    first_chars: int | None,
    folder: Path,
    update: bool,
    reporter: Reporter,
) -> Corpus:
    """Have a file, or what its first characters take; one process at a time for each `folder`.

    Args:
        repo: dataset repository, `owner/name`.
        path: of the parquet in it.
        revision: branch, tag or commit.
        pin: file that keeps the commit.
        first_chars: fetch no more than these take; None is the whole file.
        folder: of the file's record, and of the parts of its leading text.
        update: resolve the revision anew.
        reporter: told how far the transfer is.

    Raises:
        HubError: the hub does not give it; with the remedy.
        CorpusError: it is no usable parquet.
        OSError: the disk does not take it.
    """
    limit_client()
    asked = revision if update else read_pin(pin, repo, revision)
    origin = {"kind": "hub", "repo": repo, "path": path, "revision": revision}
    if first_chars is None:
        file = fetch_file(repo, path, kind="dataset", revision=asked, reporter=reporter)
        corpus = record_corpus(
            folder, file.path, origin | {"commit": file.commit}, expected_sha256=file.sha256
        )
        write_pin(pin, repo, revision, file.commit)
        return corpus
    known, whole = (
        _recorded(folder, repo, path),
        find_here(repo, path, revision=asked, kind="dataset"),
    )
    here = whole if whole is not None and whole.etag is not None else None
    if known is not None and known.part is not None and known.origin["commit"] == asked:
        part = known.part
        here = RemoteFile(name=path, commit=asked, etag=part.etag, num_bytes=part.file_bytes)
    if here is None or not is_commit(asked):
        here = describe(repo, path, revision=asked, reporter=reporter, here=here)
    is_same = whole is not None and (whole.commit, whole.etag) == (here.commit, here.etag)
    parts = folder / PARTS_NAME / str(here.etag)[:DIGITS]
    part = fetch_parts(
        repo, here, first_chars, parts, reporter,
        known=known and known.part, whole=whole.path if whole and is_same else None,
    )  # fmt: skip
    corpus = record_corpus(folder, parts, origin | {"commit": here.commit}, part=part)
    write_pin(pin, repo, revision, here.commit)
    for other in {*parts.parent.iterdir(), *folder.glob("leading.parquet*")} - {parts}:
        reporter.say(f"{other} is removed: the text is in {parts}")
        shutil.rmtree(other) if other.is_dir() else other.unlink()
    return corpus


def bytes_to_fetch(
    repo: str,
    path: str,
    *,
    revision: str,
    pin: Path,
    first_chars: int | None,
    folder: Path,
    reporter: Reporter,
) -> int:
    """About how much `fetch_corpus` would have to fetch; arguments and errors are the same."""
    limit_client()
    asked = read_pin(pin, repo, revision)
    known = _recorded(folder, repo, path)
    is_fetched = known is not None and known.origin["commit"] == asked
    if is_fetched or find_here(repo, path, revision=asked, kind="dataset") is not None:
        return 0
    file = describe(repo, path, revision=asked, reporter=reporter, here=None)
    if first_chars is None:
        return file.num_bytes
    return min(file.num_bytes, leading_bytes(repo, file, first_chars, reporter))


def _recorded(folder: Path, repo: str, path: str) -> Corpus | None:
    """What an earlier run recorded of the same file."""
    with suppress(CorpusError):  # none, or a damaged one
        corpus = read_corpus(folder)
        if (corpus.origin.get("repo"), corpus.origin.get("path")) == (repo, path):
            return corpus
    return None
