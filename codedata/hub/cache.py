"""The hub client's own cache on this disk, shared with every other tool that uses the client.

    $HF_HOME/hub/datasets--owner--name/blobs/<etag>                  the bytes, named by their hash
                                      /blobs/<etag>.codedata.incomplete    what a transfer left
                                      /snapshots/<commit>/<path>     a link to the bytes
                                      /refs/<revision>               the commit it stood for
                                      /.no_exist/<commit>/<path>     the commit has no such file

(https://huggingface.co/docs/huggingface_hub/guides/manage-cache). The client itself takes a file's
bytes as they are; here they count only if their hash is their name.
"""

import hashlib
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from codedata.hub.client import COMMIT, ETAG, HubError, Kind, RemoteFile, stream
from codedata.places import local_path
from codedata.progress import Reporter
from codedata.store.files import fsync_folder, open_no_link, replace_atomically
from codedata.store.locks import waiting_lock

_SHA256_DIGITS = 64
_READ_BYTES = 1 << 20


class _WrongBytesError(Exception):
    """What arrived has another hash than the hub states."""


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A file of the hub that is on this disk, its bytes those that the hub states.

    Attributes:
        path: where it is.
        commit: the commit it is of.
        etag: the hash of its bytes, as the hub states it.
    """

    path: Path
    commit: str
    etag: str

    @property
    def sha256(self) -> str | None:
        """The sha256 that the hub states; None of a small file, which has git's hash."""
        return self.etag if len(self.etag) == _SHA256_DIGITS else None


def find_here(
    repo: str, path: str, *, kind: Kind, revision: str, reporter: Reporter
) -> HubFile | None:
    """A file in the cache, if its bytes are right; damaged ones are said, and left to `download`.

    Args:
        repo: `owner/name`.
        path: in the repository.
        kind: of the repository.
        revision: a commit, or what a branch or tag stood for when it was last asked for.
        reporter: told of damage.
    """
    storage = _storage(repo, kind)
    commit = _commit_of(storage, revision)
    if commit is None or not (pointer := storage / "snapshots" / commit / path).is_file():
        return None
    etag = _named_hash(pointer, storage / "blobs")
    if etag is None:
        # A copy, where links cannot be made, or somebody's own link: large files have a sha256.
        sha256 = blob_hash(pointer, like="0" * _SHA256_DIGITS)
        return HubFile(path=pointer, commit=commit, etag=sha256)
    if blob_hash(pointer, like=etag) == etag:
        return HubFile(path=pointer, commit=commit, etag=etag)
    reporter.say(f"{path}: the copy in {storage / 'blobs'} is damaged, and is fetched again")
    return None


def _commit_of(storage: Path, revision: str) -> str | None:
    """The commit that a revision is, or stood for when it was last asked for."""
    with suppress(OSError, UnicodeDecodeError):
        if not COMMIT.fullmatch(revision):
            revision = (storage / "refs" / revision).read_text(encoding="utf-8").strip()
    return revision if COMMIT.fullmatch(revision) else None


def _named_hash(pointer: Path, blobs: Path) -> str | None:
    """The hash that a link's target is named by; None where it is no link to the cache's bytes."""
    if not pointer.is_symlink():
        return None
    target = pointer.parent / pointer.readlink()
    named = ETAG.fullmatch(target.name) and target.parent.resolve() == blobs.resolve()
    return target.name if named else None


def missing_note(repo: str, path: str, *, kind: Kind, commit: str) -> Path:
    """The file that says, if it is there, that a commit has no such file."""
    return _storage(repo, kind) / ".no_exist" / commit / path


def note_missing(note: Path) -> None:
    """Remember that a commit has no such file."""
    with suppress(OSError):  # asked again next time
        note.parent.mkdir(parents=True, exist_ok=True)
        note.touch()


def note_revision(repo: str, revision: str, *, kind: Kind, commit: str) -> None:
    """Remember the commit that a branch or tag stands for, for when the hub is not reached."""
    if not COMMIT.fullmatch(revision):
        ref = _storage(repo, kind) / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        replace_atomically(ref, commit.encode())


def blob_hash(path: Path, *, like: str) -> str:
    """The hash of a file's bytes of the kind that `like` is: sha256, or git's of a blob."""
    digest = hashlib.sha256()
    if len(like) != _SHA256_DIGITS:
        digest = hashlib.sha1(b"blob %d\0" % path.stat().st_size, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(_READ_BYTES):
            digest.update(block)
    return digest.hexdigest()


def cache_home(folder: str) -> Path:
    """A folder of the hub's client, which for a user without a home would be one named `~`.

    Raises:
        HubError: it is no folder of this machine.
    """
    return local_path(folder, "the hub's cache (HF_HOME)", error=HubError)


def _storage(repo: str, kind: Kind) -> Path:
    return cache_home(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=repo, repo_type=kind)


@contextmanager
def _locked(file: RemoteFile, reporter: Reporter) -> Iterator[None]:
    """The lock that the client itself holds while it fetches these bytes."""
    locks = cache_home(constants.HF_HUB_CACHE) / ".locks"
    lock = locks / repo_folder_name(repo_id=file.repo, repo_type=file.kind) / f"{file.etag}.lock"
    lock.parent.mkdir(parents=True, exist_ok=True)
    with waiting_lock(lock, reporter.say):
        yield


def download(file: RemoteFile, revision: str, reporter: Reporter) -> HubFile:
    """Bring a file into the cache, going on where an earlier transfer ended.

    Args:
        file: as the hub states it.
        revision: that it was asked for at, remembered for when the hub is not reached.
        reporter: told how far the transfer is.

    Raises:
        HubError: the hub does not give it, twice gives other bytes than it states, or the disk has
            no room.
    """
    storage = _storage(file.repo, file.kind)
    blob = storage / "blobs" / file.etag
    blob.parent.mkdir(parents=True, exist_ok=True)
    with _locked(file, reporter):
        if not blob.exists() or blob_hash(blob, like=file.etag) != file.etag:
            incomplete = blob.with_name(f"{blob.name}.codedata.incomplete")
            try:
                _fill(incomplete, file, reporter)
            except _WrongBytesError as error:
                reporter.say(f"{error}; fetching it once more, from its start")
                try:
                    _fill(incomplete, file, reporter)
                except _WrongBytesError as again:
                    raise HubError(
                        f"{again}, twice: what lies between here and the hub changes it, or the "
                        "hub's copy is damaged; try later or from another network"
                    ) from again
            incomplete.replace(blob)
            fsync_folder(blob.parent)
        pointer = storage / "snapshots" / file.commit / file.path
        pointer.parent.mkdir(parents=True, exist_ok=True)
        target = Path(os.path.relpath(blob, pointer.parent))
        if not pointer.is_symlink() or pointer.readlink() != target:
            pointer.unlink(missing_ok=True)
            try:
                pointer.symlink_to(target)
            except OSError:  # a filesystem without links
                shutil.copyfile(blob, pointer)
    note_revision(file.repo, revision, kind=file.kind, commit=file.commit)
    return HubFile(path=pointer, commit=file.commit, etag=file.etag)


def _fill(incomplete: Path, file: RemoteFile, reporter: Reporter) -> None:
    """Write what is missing of a file, and compare its hash.

    Raises:
        HubError: see `stream`; what arrived stays.
        _WrongBytesError: another hash; nothing stays.
    """
    already = incomplete.stat().st_size if incomplete.exists() else 0
    if already > file.num_bytes:
        incomplete.unlink()
        already = 0
    require_room(incomplete.parent, file.num_bytes - already, file.path)
    with (
        open(incomplete, "ab", opener=open_no_link) as out,
        reporter.transfer(file.path) as transfer,
    ):
        transfer.start_at(already)
        transfer.expect(file.num_bytes)
        for block in stream(file, already, file.num_bytes, reporter):
            out.write(block)
            transfer.advance(len(block))
        out.flush()
        os.fsync(out.fileno())
    if (found := blob_hash(incomplete, like=file.etag)) != file.etag:
        incomplete.unlink()
        raise _WrongBytesError(
            f"{file.path} arrived with hash {found}, but the hub states {file.etag}"
        )


def require_room(folder: Path, num_bytes: int, what: str) -> None:
    """Refuse to fetch what the disk has no room for.

    Raises:
        HubError: with what is needed and what is free.
    """
    if num_bytes > (free := shutil.disk_usage(folder).free):
        raise HubError(
            f"{what} needs {num_bytes / 1e6:,.1f} MB on the disk of {folder}, which has "
            f"{free / 1e6:,.1f} MB free; make room, or set HF_HOME (the hub's cache) and "
            "CODEDATA_ROOT to a larger disk"
        )
