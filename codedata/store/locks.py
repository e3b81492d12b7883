"""One writer a dataset: a lock that its holder's death releases.

`filelock` locks with `flock`, which the kernel drops with the process, so a killed run never blocks
the next one. Where a filesystem has no `flock` (Lustre mounted without it) it goes by the lock file
alone, the mark that somebody holds it; a holder that died on this machine is found out and
replaced, if the filesystem can exchange two names; one of another machine cannot be. Beside a lock
a file says who holds it, for the other one's message.
"""

import os
import socket
import warnings
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import BaseFileLock, FileLock, SoftFileLock, Timeout, lock_descriptor

from codedata.environment import variables
from codedata.errors import SettingsError, TargetError
from codedata.printable import printable
from codedata.store.files import open_no_link
from codedata.store.owners import explained_at

NO_LOCK_VARIABLE = "CODEDATA_NO_LOCK"

NO_LOCK_HELP = "take no locks: for filesystems that have none, and for one run at a time"

_WITHOUT = f"go without locks (--no-lock, or {NO_LOCK_VARIABLE}=1)"

warnings.filterwarnings("ignore", "flock not supported")  # nobody can mend it

_SHOWN_BYTES = 200
"""Of what a holder wrote of itself; anybody who may write there may have written it."""

_Meet = Callable[[str, str], None]
"""Told who holds a lock, and what else helps where only a file says so; waits if it returns."""


@contextmanager
def exclusive_lock(path: Path, what: str) -> Generator[None]:
    """Hold the lock file `path`; it and its folder, if then empty, are removed at the end.

    Raises:
        TargetError: another process holds it, or it cannot be locked; the message says which, and
            names `what`.
    """

    def refuse(holder: str, remedy: str) -> None:
        raise TargetError(
            f"{what} is being written by another run ({holder}); wait for it to end, or end it"
            f"{remedy}"
        )

    try:
        with _held(path, refuse):
            yield
    finally:
        with suppress(OSError):  # finished chunks are kept in it for the next run
            path.parent.rmdir()


@contextmanager
def waiting_lock(path: Path, announce: Callable[[str], None]) -> Generator[None]:
    """Hold the lock file `path`, waiting for another holder as long as it lives.

    Args:
        path: the lock file.
        announce: told once, if there is somebody to wait for.

    Raises:
        TargetError: it cannot be locked.
    """

    def wait(holder: str, remedy: str) -> None:
        announce(f"waiting for {holder}, which is at work on {path.parent}{remedy}")

    with _held(path, wait):
        yield


def go_without_locks() -> None:
    """Take no locks from now on, in this process and those that it starts."""
    os.environ[NO_LOCK_VARIABLE] = "1"


def _locks_are_wanted() -> bool:
    value = variables().get(NO_LOCK_VARIABLE, "")
    if value not in ("", "0", "1"):
        raise SettingsError(f"{NO_LOCK_VARIABLE} is {value!r}; write 1 to go without locks, or 0")
    return value != "1"


@contextmanager
def _held(path: Path, meet: _Meet) -> Generator[None]:
    if not _locks_are_wanted():
        path.parent.mkdir(parents=True, exist_ok=True)
        yield
        return
    lock = FileLock(path, thread_local=False)
    _take(lock, path, meet)
    try:
        own = path.stat()
        _sign(path)
        try:
            yield
        finally:
            with suppress(OSError):  # what cannot be removed is in nobody's way
                _note_of(path).unlink(missing_ok=True)
                if os.path.samestat(path.stat(), own):
                    path.unlink()  # before it is released: whoever waits for this takes another
    finally:
        with suppress(OSError):  # the end of the process releases it
            lock.release()


def _take(lock: BaseFileLock, path: Path, meet: _Meet) -> None:
    if path.is_symlink():
        raise TargetError(f"{path} is a link, which no lock is; remove it")
    blocking = False
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            return _acquire(lock, path, blocking=blocking)
        except Timeout:
            remedy = f"; if that one has ended already, remove {path}, or {_WITHOUT}"
            meet(_holder(path), remedy if isinstance(lock, SoftFileLock) else "")
            blocking = True
        except PermissionError:
            if not os.access(path, os.R_OK):
                raise
            if not _make_way(path, blocking=blocking):
                meet(_holder(path), "")
                blocking = True
        except (FileNotFoundError, FileExistsError):
            if os.path.lexists(path.parent) and not path.parent.is_dir():
                raise
            # a holder that finished just now removed the folder


def _acquire(lock: BaseFileLock, path: Path, *, blocking: bool) -> None:
    try:
        lock.acquire(blocking=blocking)
    except OSError as error:
        if error.errno is None or error.filename is not None:
            raise
        cannot = explained_at(f"{path} cannot be locked: {error.strerror}", path)
        raise TargetError(
            f"{cannot}; try again, or, if nothing else writes there, {_WITHOUT}"
        ) from error


def _make_way(path: Path, *, blocking: bool) -> bool:
    """Remove a lock file that only another user may write; False where somebody holds it."""
    with suppress(FileNotFoundError), open(path, "rb", opener=open_no_link) as file:
        if not lock_descriptor(file.fileno(), blocking=blocking):
            return False
        if os.path.samestat(path.stat(), os.fstat(file.fileno())):
            path.unlink()
    return True


def _note_of(path: Path) -> Path:
    """The file that says who holds a lock."""
    return path.with_name(f"{path.name}.holder")


def _sign(path: Path) -> None:
    """Say who holds a lock."""
    note = _note_of(path)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(OSError):  # it is but a note: another's in a sticky folder stays
        note.unlink(missing_ok=True)  # of a holder that was killed
        with open(note, "xb", opener=open_no_link) as file:
            file.write(f"process {os.getpid()} on {socket.gethostname()}, since {started}".encode())


def _holder(path: Path) -> str:
    """Who holds a lock, as they say."""
    text = ""
    # It has not said so yet, or does not any more.
    with suppress(OSError), open(_note_of(path), "rb", opener=open_no_link) as note:
        text = (note.read(_SHOWN_BYTES) or b"").decode(errors="replace")
    return printable(text) or "another process"
