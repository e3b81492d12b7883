"""A repository, a path and a revision -> a file of the hub on this disk, and its commit.

A file that is here and right costs no request, where its commit is known.
"""

from math import inf
from pathlib import Path

from huggingface_hub import constants

from codedata.hub.cache import HubFile, download, find_here, missing_note, note_missing
from codedata.hub.client import (
    COMMIT,
    HubError,
    Kind,
    NoSuchFileError,
    UnreachableError,
    describe,
)
from codedata.progress import Reporter


def fetch_file(
    repo: str,
    path: str,
    *,
    kind: Kind,
    revision: str,
    reporter: Reporter,
    patient: bool = True,
    within: float = inf,
    most_bytes: float = inf,
    before_asking: str | None = None,
) -> HubFile:
    """Fetch a file, or find it in the cache.

    Args:
        repo: `owner/name`.
        path: the file's path in the repository.
        kind: which of the hub's lists the repository is in.
        revision: branch, tag or commit.
        reporter: told how far the transfer is, and what is waited for.
        patient: whether to wait for a hub that has no time; for what is here, nobody does.
        within: seconds after which a hub that is not reached is given up; the transfer aside.
        most_bytes: that it may have; a larger one is not fetched.
        before_asking: said before the hub is asked for a file of which nothing is here.

    Raises:
        NoSuchFileError: the repository has no such file.
        HubError: anything else that keeps the file away, with the remedy.
    """
    here = find_here(repo, path, kind=kind, revision=revision, reporter=reporter)
    if here is not None and COMMIT.fullmatch(revision):
        return here
    note = _missing_note(repo, path, kind, revision)
    if before_asking and here is None and not constants.HF_HUB_OFFLINE:
        reporter.say(before_asking)
    try:
        file = describe(
            repo,
            path,
            kind=kind,
            revision=revision,
            reporter=reporter,
            patient=patient and here is None,
            within=within,
        )
    except NoSuchFileError:
        if note is not None:
            note_missing(note)
        raise
    except UnreachableError as error:
        if here is None:
            raise
        reporter.say(f"{error}; the cache's copy of commit {here.commit} is taken")
        return here
    if here is not None and here.etag == file.etag and here.commit == file.commit:
        return here
    if file.num_bytes > most_bytes:
        raise HubError(
            f"{path} has {file.num_bytes:,} bytes there, and at most {most_bytes:,} are taken"
        )
    return download(file, revision, reporter)


def _missing_note(repo: str, path: str, kind: Kind, revision: str) -> Path | None:
    """Where to note that a commit has no such file; None for what is no commit.

    Raises:
        NoSuchFileError: that was noted before.
    """
    if not COMMIT.fullmatch(revision):
        return None
    note = missing_note(repo, path, kind=kind, commit=revision)
    if note.is_file():
        raise NoSuchFileError(
            f"the repository has no {path} at {revision}, as it said before; to ask again, "
            f"remove {note}"
        )
    return note
