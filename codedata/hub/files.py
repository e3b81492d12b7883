"""A repository, a path and a revision -> a file of the hub on this disk, and its commit.

A file that is here and right costs no request, where its commit is known.
"""

from codedata.hub.cache import HubFile, download, find_here, missing_note, note_missing
from codedata.hub.client import (
    COMMIT,
    Kind,
    NoSuchFileError,
    UnreachableError,
    describe,
)
from codedata.progress import Reporter


def fetch_file(repo: str, path: str, *, kind: Kind, revision: str, reporter: Reporter) -> HubFile:
    """Fetch a file, or find it in the cache.

    Args:
        repo: `owner/name`.
        path: the file's path in the repository.
        kind: which of the hub's lists the repository is in.
        revision: branch, tag or commit.
        reporter: told how far the transfer is, and what is waited for.

    Raises:
        NoSuchFileError: the repository has no such file.
        HubError: anything else that keeps the file away, with the remedy.
    """
    here = find_here(repo, path, kind=kind, revision=revision, reporter=reporter)
    note = None
    if COMMIT.fullmatch(revision):
        if here is not None:
            return here
        note = missing_note(repo, path, kind=kind, commit=revision)
        if note.is_file():
            raise NoSuchFileError(
                f"the repository has no {path} at {revision}, as it said before; to ask again, "
                f"remove {note}"
            )
    try:
        file = describe(
            repo, path, kind=kind, revision=revision, reporter=reporter, patient=here is None
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
    return download(file, revision, reporter)
