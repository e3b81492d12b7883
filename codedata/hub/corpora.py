"""A file of a dataset repository -> its parquet on this disk, or parts with its leading text.

The revision is resolved to a commit once, which is then kept (`codedata.hub.pins`); what is here
and right of that commit costs no request.
"""

import shutil
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from codedata.errors import CorpusError
from codedata.hub.client import limit_client
from codedata.hub.files import HubFile, RemoteFile, describe, fetch_file, find_here
from codedata.hub.parts import fetch_parts
from codedata.hub.pins import read_pin, write_pin
from codedata.hub.refusals import COMMIT
from codedata.progress import Reporter
from codedata.sources.parts import DIGITS, TextPart
from codedata.sources.record import Corpus, read_corpus


@dataclass(frozen=True, kw_only=True)
class CorpusFile:
    """A parquet of the hub on this disk.

    Attributes:
        path: the parquet, or the folder of the parts.
        commit: the commit it is of.
        sha256: of the whole file, where the hub states it and all of it is here.
        part: what is here, where that is not all.
    """

    path: Path
    commit: str
    sha256: str | None
    part: TextPart | None


def fetch_corpus_file(
    repo: str,
    path: str,
    *,
    revision: str,
    pin: Path,
    first_chars: int | None,
    parts: Path,
    update: bool,
    reporter: Reporter,
) -> CorpusFile:
    """Fetch a file, or what its first characters take; one process at a time for each `parts`.

    Args:
        repo: dataset repository, `owner/name`.
        path: of the parquet in it.
        revision: branch, tag or commit.
        pin: file that keeps the commit.
        first_chars: fetch no more than these take; None is the whole file.
        parts: folder where the parts of the leading text go.
        update: resolve the revision anew.
        reporter: told how far the transfer is.

    Raises:
        HubError: the hub does not give it; with the remedy.
        CorpusError: it is no usable parquet.
    """
    limit_client()
    asked = revision if update else read_pin(pin, repo, revision)
    if first_chars is None:
        fetched = fetch_file(repo, path, kind="dataset", revision=asked, reporter=reporter)
        write_pin(pin, repo, revision, fetched.commit)
        return CorpusFile(
            path=fetched.path, commit=fetched.commit, sha256=fetched.sha256, part=None
        )
    known = _recorded(parts, repo, path)
    whole = find_here(repo, path, kind="dataset", revision=asked)
    file = _identify(repo, path, asked, known, whole, reporter)
    if whole is not None and (whole.commit, whole.etag) != (file.commit, file.etag):
        whole = None
    folder = parts / file.etag[:DIGITS]
    part = fetch_parts(
        file,
        first_chars,
        folder,
        reporter,
        known=known.part if known and known.part and known.part.etag == file.etag else None,
        whole=whole.path if whole else None,
    )
    write_pin(pin, repo, revision, file.commit)
    for other in {*parts.glob("*"), *parts.parent.glob("leading.parquet*")} - {folder}:
        reporter.say(f"{other} is removed: the text is in {folder}")
        shutil.rmtree(other) if other.is_dir() else other.unlink()
    return CorpusFile(path=folder, commit=file.commit, sha256=None, part=part)


def _recorded(parts: Path, repo: str, path: str) -> Corpus | None:
    """What an earlier run recorded of the same file."""
    with suppress(CorpusError):  # none, or a damaged one
        corpus = read_corpus(parts.parent)
        if (corpus.origin.get("repo"), corpus.origin.get("path")) == (repo, path):
            return corpus
    return None


def _identify(
    repo: str,
    path: str,
    revision: str,
    known: Corpus | None,
    whole: HubFile | None,
    reporter: Reporter,
) -> RemoteFile:
    """What the file is: from what is here, where that can tell, else from the hub."""
    here = None
    if known is not None and known.part is not None and known.origin["commit"] == revision:
        etag, num_bytes = known.part.etag, known.part.file_bytes
        here = RemoteFile(repo, "dataset", path, revision, etag, num_bytes)
    elif whole is not None and whole.etag is not None:
        num_bytes = whole.path.stat().st_size
        here = RemoteFile(repo, "dataset", path, whole.commit, whole.etag, num_bytes)
    if here is not None and COMMIT.fullmatch(revision):
        return here
    return describe(repo, path, kind="dataset", revision=revision, reporter=reporter, here=here)
