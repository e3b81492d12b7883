"""A file of a dataset repository -> its parquet on this disk, whole or its leading text.

The revision is resolved to a commit once, which is then kept (`codedata.hub.pins`); what is here
and right of that commit costs no request.
"""

from dataclasses import dataclass
from pathlib import Path

from codedata.hub.cache import HubFile, find_here
from codedata.hub.client import COMMIT, RemoteFile, UnreachableError, describe
from codedata.hub.files import fetch_file
from codedata.hub.leading_text import fetch_leading_text, recall
from codedata.hub.pins import read_pin, write_pin
from codedata.progress import Reporter
from codedata.sources.partial_file import TextPart


@dataclass(frozen=True, kw_only=True)
class CorpusFile:
    """A parquet of the hub on this disk.

    Attributes:
        path: the parquet, or the sparse file with its leading text.
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
    leading: Path,
    update: bool,
    reporter: Reporter,
) -> CorpusFile:
    """Fetch a file, or what its first characters take; one process at a time for each `leading`.

    Args:
        repo: dataset repository, `owner/name`.
        path: of the parquet in it.
        revision: branch, tag or commit.
        pin: file that keeps the commit.
        first_chars: fetch no more than these take; None is the whole file.
        leading: where the leading text goes.
        update: resolve the revision anew.
        reporter: told how far the transfer is.

    Raises:
        HubError: the hub does not give it; with the remedy.
        CorpusError: it is no usable parquet.
    """
    asked = revision if update else read_pin(pin, repo, revision)
    if first_chars is None:
        fetched = fetch_file(repo, path, kind="dataset", revision=asked, reporter=reporter)
        write_pin(pin, repo, revision, fetched.commit)
        return CorpusFile(
            path=fetched.path, commit=fetched.commit, sha256=fetched.sha256, part=None
        )
    whole = find_here(repo, path, kind="dataset", revision=asked, reporter=reporter)
    file = _identify(repo, path, asked, leading, whole, reporter)
    if whole is not None and whole.commit != file.commit:
        whole = None
    part = fetch_leading_text(file, first_chars, leading, reporter, whole=whole)
    write_pin(pin, repo, revision, file.commit)
    return CorpusFile(path=leading, commit=file.commit, sha256=None, part=part)


def _identify(
    repo: str, path: str, revision: str, leading: Path, whole: HubFile | None, reporter: Reporter
) -> RemoteFile:
    """What the file is: from what is here, where that can tell, else from the hub."""
    here = None
    if whole is not None:
        here = RemoteFile(
            repo=repo,
            kind="dataset",
            path=path,
            commit=whole.commit,
            etag=whole.etag,
            num_bytes=whole.path.stat().st_size,
        )
    if COMMIT.fullmatch(revision) and (known := recall(leading, repo, path, revision) or here):
        return known
    try:
        return describe(
            repo, path, kind="dataset", revision=revision, reporter=reporter, patient=here is None
        )
    except UnreachableError as error:
        if here is None:
            raise
        reporter.say(f"{error}; the cache's copy of commit {here.commit} is taken")
        return here
