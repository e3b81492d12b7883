"""One writer a dataset: a lock that its holder's death releases.

`filelock` locks with `flock`, which the kernel drops with the process, so a killed run never blocks
the next one. Where a filesystem has no `flock` (mounts of Lustre and NFS) the lock file itself is
the mark that somebody holds it; a holder that died on this machine is found out and replaced, if
the filesystem can exchange two names; one of another machine cannot be. Beside a lock a file says
who holds it, for the other one's message.
"""

import errno
import fcntl
import os
import socket
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from stat import S_ISDIR, S_ISLNK
from typing import BinaryIO

from filelock import SoftFileLock, Timeout, lock_descriptor

from codedata.environment import variables
from codedata.errors import SettingsError, TargetError
from codedata.printable import printable
from codedata.store.files import is_still, naming, open_no_link
from codedata.store.given_up import require_wanted
from codedata.store.owners import explained_at

NO_LOCK_VARIABLE = "CODEDATA_NO_LOCK"

NO_LOCK_HELP = "take no locks: for filesystems that have none, and for one run at a time"

_NO_FLOCK = (errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP)
"""What `flock` says on Lustre without `-o flock`, on NFS without its lock daemon, on others."""

_WITHOUT = f"go without locks (--no-lock, or {NO_LOCK_VARIABLE}=1)"

_FIRST_PAUSE_SECONDS, _ASKING_SECONDS = 0.002, 0.1
"""Between two looks at a lock that is waited for no longer than so long, at first and at most."""

_SHOWN_BYTES = 200
"""Of what a holder wrote of itself; anybody who may write there may have written it."""


class _HeldError(Exception):
    """Somebody else holds the lock.

    Attributes:
        holder: who, as they say themselves.
        remedy: what else helps where only a file says so; empty where the kernel does.
    """

    def __init__(self, holder: str, remedy: str = "") -> None:
        super().__init__(holder, remedy)
        self.holder = holder
        self.remedy = remedy


@contextmanager
def exclusive_lock(path: Path, what: str) -> Generator[None]:
    """Hold the lock file `path`; it and its folder, if then empty, are removed at the end.

    Raises:
        TargetError: another process holds it, or it cannot be locked; the message says which, and
            names `what`.
    """

    def take() -> Callable[[], object]:
        while True:
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                return _take(path, blocking=False)
            except (FileNotFoundError, FileExistsError):
                if _is_no_folder(path.parent):
                    raise
                # a holder that finished just now removed the folder
            except _HeldError as held:
                raise TargetError(
                    f"{what} is being written by another run ({held.holder}); wait for it to end, "
                    f"or end it{held.remedy}"
                ) from None

    try:
        with _held(path, take):
            path.parent.mkdir(parents=True, exist_ok=True)
            yield
    finally:
        with suppress(OSError):  # finished chunks are kept in it for the next run
            path.parent.rmdir()


@contextmanager
def waiting_lock(
    path: Path, announce: Callable[[str], None], *, most_seconds: float | None = None
) -> Generator[None]:
    """Hold the lock file `path`, waiting for another holder as long as it lives.

    Args:
        path: the lock file; its folder must exist.
        announce: told once, if there is somebody to wait for.
        most_seconds: to wait, and then to go on without, where the lock only spares work.

    Raises:
        TargetError: it cannot be locked.
        CancelledError: what it is for is given up (`store/given_up.py`), where a time is named.
    """

    def take() -> Callable[[], object] | None:
        try:
            return _take(path, blocking=False)
        except _HeldError as held:
            announce(f"waiting for {held.holder}, which is at work on {path.parent}{held.remedy}")
        if most_seconds is None:
            return _take(path, blocking=True)
        until, pause = time.monotonic() + most_seconds, _FIRST_PAUSE_SECONDS
        while time.monotonic() < until:
            require_wanted()
            time.sleep(pause)
            pause = min(2 * pause, _ASKING_SECONDS)
            with suppress(_HeldError):
                return _take(path, blocking=False)
        return None

    with _held(path, take):
        yield


@contextmanager
def lock_if_free(path: Path) -> Generator[bool]:
    """Hold the lock file `path`, unless another does; whether there is none.

    Raises:
        TargetError: it cannot be locked.
    """
    is_free = True

    def take() -> Callable[[], object] | None:
        nonlocal is_free
        try:
            return _take(path, blocking=False)
        except _HeldError:
            is_free = False
            return None

    with _held(path, take):
        yield is_free


def mark_at_work(file: BinaryIO) -> None:
    """Have others see that a file is being written, as long as it is open; see `is_abandoned`."""
    with suppress(OSError):  # no `flock`: its age says it
        fcntl.flock(file, fcntl.LOCK_EX)


def is_abandoned(path: Path) -> bool:
    """Whether a file that was marked before its first byte is open in no process any more."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        return os.fstat(descriptor).st_size > 0
    except OSError:
        return False
    finally:
        _unlock(descriptor)


@contextmanager
def _held(path: Path, take: Callable[[], Callable[[], object] | None]) -> Generator[None]:
    release = take() if locks_are_wanted() else None
    if release is None:
        yield
        return
    try:
        _sign(path)
        yield
    finally:
        with suppress(OSError):  # the next holder replaces it
            _note_of(path).unlink(missing_ok=True)
        release()


def _is_no_folder(path: Path) -> bool:
    """Whether something else stands there; by one look, since a folder may be gone at the next."""
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        return False
    return not (S_ISDIR(mode) or (S_ISLNK(mode) and path.is_dir()))


def go_without_locks() -> None:
    """Take no locks from now on, in this process and those that it starts."""
    os.environ[NO_LOCK_VARIABLE] = "1"


def locks_are_wanted() -> bool:
    """Whether locks are to be taken, as the environment says.

    Raises:
        SettingsError: it says neither.
    """
    value = variables().get(NO_LOCK_VARIABLE, "")
    if value not in ("", "0", "1"):
        raise SettingsError(f"{NO_LOCK_VARIABLE} is {value!r}; write 1 to go without locks, or 0")
    return value != "1"


def _take(path: Path, *, blocking: bool) -> Callable[[], object]:
    """Take a lock: what releases it again.

    Args:
        path: the lock file.
        blocking: wait for another holder.

    Raises:
        _HeldError: another holds it.
        TargetError: it cannot be locked.
    """
    try:
        descriptor = _take_flock(path, blocking=blocking)
        return partial(_release_flock, path, descriptor)
    except OSError as error:
        if not _is_for_want_of_flock(error):
            raise
    lock = SoftFileLock(path, thread_local=False)
    try:
        lock.acquire(blocking=blocking)
    except Timeout:
        raise _HeldError(
            _holder(path), f"; if that one has ended already, remove {path}, or {_WITHOUT}"
        ) from None
    return lock.release


def _take_flock(path: Path, *, blocking: bool) -> int:
    """The descriptor of a lock file that is locked by it."""
    while True:
        descriptor, is_new = _open(path)
        try:
            held = _flock(path, descriptor, blocking=blocking)
            if held and is_still(path, descriptor):
                _require_no_mark(path, descriptor)
                return descriptor
        except BaseException as error:
            if is_new and _is_for_want_of_flock(error) and is_still(path, descriptor):
                path.unlink()  # to others, that it exists would mean that it is held
            _unlock(descriptor)
            raise
        _unlock(descriptor)
        if not held:
            raise _HeldError(_holder(path))


def _require_no_mark(path: Path, descriptor: int) -> None:
    """Fail as where there is no `flock`, if a holder had none: then its lock file says who."""
    if os.pread(descriptor, 1, 0).isdigit():
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK), str(path))


def _release_flock(path: Path, descriptor: int) -> None:
    with suppress(OSError):  # what cannot be removed is in nobody's way
        if is_still(path, descriptor):
            path.unlink()  # before it is released: whoever waits for this one takes another
    _unlock(descriptor)


def _unlock(descriptor: int) -> None:
    """Close a lock file, and let go of it: a process that was forked meanwhile has it open, too."""
    with suppress(OSError):
        fcntl.flock(descriptor, fcntl.LOCK_UN)
    os.close(descriptor)


def _flock(path: Path, descriptor: int, *, blocking: bool) -> bool:
    try:
        with naming(path):
            return lock_descriptor(descriptor, blocking=blocking)
    except OSError as error:
        if _is_for_want_of_flock(error):
            raise
        cannot = explained_at(f"{path} cannot be locked: {error.strerror}", path)
        raise TargetError(
            f"{cannot}; try again, or, if nothing else writes there, {_WITHOUT}"
        ) from error


def _is_for_want_of_flock(error: BaseException) -> bool:
    return isinstance(error, OSError) and error.errno in _NO_FLOCK


def _open(path: Path) -> tuple[int, bool]:
    """Open a lock file, and whether it was made by this; never by way of a link.

    One that this user may only read, as an umask without the group makes it, can be locked, too.
    """
    flags = os.O_NOFOLLOW | os.O_NONBLOCK
    while True:
        with suppress(FileExistsError):
            return os.open(path, flags | os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o666), True
        try:
            return os.open(path, flags | os.O_RDWR), False
        except FileNotFoundError:
            continue  # its holder finished just now
        except PermissionError:
            return os.open(path, flags | os.O_RDONLY), False
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            raise TargetError(f"{path} is a link, which no lock is; remove it") from error


def _note_of(path: Path) -> Path:
    """The file that says who holds a lock."""
    return path.with_name(f"{path.name}.holder")


def _sign(path: Path) -> None:
    """Say who holds a lock."""
    note = _note_of(path)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    with suppress(OSError):  # it is but a note: another's in a sticky folder stays
        note.unlink(missing_ok=True)  # of a holder that was killed
        descriptor = os.open(note, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o666)
        with open(descriptor, "wb") as file:
            file.write(f"process {os.getpid()} on {socket.gethostname()}, since {started}".encode())


def _holder(path: Path) -> str:
    """Who holds a lock, as they say."""
    text = ""
    # It has not said so yet, or does not any more.
    with suppress(OSError), open(_note_of(path), "rb", opener=open_no_link) as note:
        text = (note.read(_SHOWN_BYTES) or b"").decode(errors="replace")
    return printable(text) or "another process"
