"""A repository, a path and a revision -> a file of the hub on this disk, and its commit.

Files lie where the hub's library keeps them, and are read in place: its cache is shared with every
other tool that uses it (https://huggingface.co/docs/huggingface_hub/guides/manage-cache).

    $HF_HOME/hub/datasets--owner--name/blobs/<etag>                the bytes, named by their hash
                                      /snapshots/<commit>/<path>   a link to the bytes
                                      /refs/<revision>             the commit it stood for
                                      /.no_exist/<commit>/<path>   the commit has no such file

The library compares no more than sizes; here a file counts only if the hash of its bytes is the one
that names them. A file that is here and right costs no request, where its commit is known.
"""

from dataclasses import dataclass
from hashlib import file_digest
from math import inf
from pathlib import Path, PurePosixPath
from typing import Any, TypeVar

import huggingface_hub as library
from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name
from tqdm import tqdm

from codedata.hub.client import Call, is_etag
from codedata.hub.refusals import HubError, Kind, NoSuchFileError, UnreachableError, no_hub
from codedata.layout import is_commit
from codedata.progress import Reporter, Transfer
from codedata.sources.source_files import git_hash
from codedata.store.files import replace_atomically

_SHA256_DIGITS = 64

Here = TypeVar("Here", bound="RemoteFile")


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file as the hub states it.

    Attributes:
        name: its path in the repository.
        commit: the commit it is of.
        etag: sha256 of the bytes where they are stored as a large file, else git's blob hash; None
            of a copy on this disk, where the cache has no links, and of somebody's own file that is
            linked into it.
        num_bytes: its size.
    """

    name: str
    commit: str
    etag: str | None
    num_bytes: int

    @property
    def sha256(self) -> str | None:
        """The sha256 that the hub states; None of a small file, which has git's hash."""
        return self.etag if self.etag and len(self.etag) == _SHA256_DIGITS else None


@dataclass(frozen=True, kw_only=True)
class HubFile(RemoteFile):
    """A file of the hub that is on this disk, where it is."""

    path: Path

    def is_right(self) -> bool:
        """Whether the bytes have the hash, where there is one; no large file is held in memory."""
        if self.etag is None:
            return True
        if self.sha256 is None:
            return self.etag == git_hash(self.path.read_bytes())
        with open(self.path, "rb") as file:
            return file_digest(file, "sha256").hexdigest() == self.etag


def find_here(repo: str, path: str, kind: Kind, revision: str) -> HubFile | None:
    """A file in the cache, whatever its bytes.

    Args:
        repo: `owner/name`.
        path: in the repository.
        kind: of the repository.
        revision: a commit, or what a branch or tag stood for when it was last asked for.

    Raises:
        NoSuchFileError: the commit has no such file, as the hub said before.
    """
    found = library.try_to_load_from_cache(repo, path, revision=revision, repo_type=kind)
    if not isinstance(found, str | None) and is_commit(revision):  # that there is none was noted
        note = _storage(repo, kind) / ".no_exist" / revision / path
        raise NoSuchFileError(
            f"the repository has no {path} at {revision}, as it said before; to ask again, remove "
            f"{note}"
        )
    return _hub_file(found, path) if isinstance(found, str) else None


def _hub_file(found: str, name: str) -> HubFile:
    path = Path(found)
    snapshot = path.parents[len(PurePosixPath(name).parts) - 1]
    blob = path.parent / path.readlink() if path.is_symlink() else path
    is_blob = blob.parent.resolve() == (snapshot.parent.parent / "blobs").resolve()
    etag = blob.name if is_blob and is_etag(blob.name) else None
    num_bytes = path.stat().st_size
    return HubFile(name=name, commit=snapshot.name, etag=etag, num_bytes=num_bytes, path=path)


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
        OSError: the disk does not take it.
    """
    here = find_here(repo, path, kind, revision)
    if is_damaged := here is not None and not here.is_right():
        reporter.say(
            f"{path}: the copy in {constants.HF_HUB_CACHE} is damaged, and is fetched again"
        )
        here = None
    elif here is not None and is_commit(revision):
        return here
    elif here is None and before_asking and not constants.HF_HUB_OFFLINE:
        reporter.say(before_asking)

    def download(**options: Any) -> Any:
        return library.hf_hub_download(repo, path, repo_type=kind, revision=revision, **options)

    patient = patient and here is None
    call = Call(repo, kind, revision, path, reporter, patient, within)
    try:
        with call.made(), reporter.transfer(path) as transfer:
            if most_bytes < inf and (size := download(dry_run=True).file_size or 0) > most_bytes:
                raise HubError(
                    f"{path} has {size:,} bytes there, and at most {most_bytes:,} are taken"
                )
            fetched = _hub_file(
                download(tqdm_class=_bar(transfer), force_download=is_damaged), path
            )
    except UnreachableError as error:
        if here is None:
            raise
        return _taken(here, error, reporter)
    if not fetched.is_right():
        fetched.path.resolve().unlink()  # other tools would take it
        raise HubError(
            f"{path} arrived with another hash than the hub states: what lies between here and the "
            "hub changes it, or the hub's copy is damaged; run again, or from another network"
        )
    return fetched


def describe(
    repo: str,
    path: str,
    *,
    revision: str,
    reporter: Reporter,
    here: RemoteFile | None,
    within: float = inf,
) -> RemoteFile:
    """Ask what a file of a dataset repository is: one request.

    Args:
        repo: `owner/name`.
        path: in the repository.
        revision: branch, tag or commit.
        reporter: told what is waited for.
        here: what is known of it without asking, returned where the hub is not reached.
        within: seconds after which a hub that is not reached is given up.

    Raises:
        HubError: see `Call.made`.
    """
    is_patient = here is None
    try:
        with Call(repo, "dataset", revision, path, reporter, is_patient, within).made():
            found = library.get_hf_file_metadata(
                library.hf_hub_url(repo, path, repo_type="dataset", revision=revision),
                timeout=constants.HF_HUB_ETAG_TIMEOUT,
                retry_on_errors=is_patient and within == inf,
            )
    except UnreachableError as error:
        if here is None:
            raise
        return _taken(here, error, reporter)
    commit, etag = found.commit_hash or "", found.etag or ""
    if not is_commit(commit) or not is_etag(etag) or found.size is None:
        raise no_hub(path)
    return RemoteFile(name=path, commit=commit, etag=etag, num_bytes=found.size)


def _taken(here: Here, error: UnreachableError, reporter: Reporter) -> Here:
    reporter.say(f"{error}; the cache's copy of commit {here.commit} is taken")
    return here


def _bar(transfer: Transfer) -> type[Any]:
    """What the library shows its progress with, such that the reporter does."""

    class Bar(tqdm):  # pyright: ignore[reportMissingTypeArgument]
        def __init__(self, *_: object, **options: Any) -> None:
            # Of the two bars of a transfer by Xet, one counts what arrives.
            self._counts = "reconstructing" not in str(options.get("desc", ""))
            super().__init__(total=options.get("total"), disable=True)
            if self._counts:
                transfer.expect(options.get("total") or 0)

        def update(self, n: float | None = 1) -> None:
            if self._counts and n and n > 0:
                transfer.advance(int(n))

    return Bar


def note_revision(repo: str, revision: str, *, kind: Kind, commit: str) -> None:
    """Remember the commit that a branch or tag stands for, for when the hub is not reached."""
    if not is_commit(revision):
        ref = _storage(repo, kind) / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        replace_atomically(ref, commit.encode())


def _storage(repo: str, kind: Kind) -> Path:
    return Path(constants.HF_HUB_CACHE, repo_folder_name(repo_id=repo, repo_type=kind))
