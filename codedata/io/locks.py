"""One writer a dataset: a lock that its holder's death releases.

`flock` on a file inside the dataset's work folder: the kernel drops it with the process, so a
killed run never blocks the next one. The file says who holds it, for the other one's message.
"""

import fcntl
import os
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from codedata.errors import TargetError
from codedata.io.files import is_still, naming


@contextmanager
def exclusive_lock(path: Path, what: str) -> Iterator[None]:
    """Hold the lock file `path`; it and its folder, if then empty, are removed at the end.

    Raises:
        TargetError: another process holds it; the message says which, and names `what`.
    """
    descriptor = _acquire(path, what)
    try:
        with naming(path):
            _sign(descriptor)
        yield
    finally:
        _remove(path)
        os.close(descriptor)


def _remove(path: Path) -> None:
    """Remove a lock file and its folder; what cannot be removed is in nobody's way."""
    with suppress(OSError):
        path.unlink(missing_ok=True)
    with suppress(OSError):  # finished chunks are kept in it for the next run
        path.parent.rmdir()


def _acquire(path: Path, what: str) -> int:
    while True:
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        except (FileNotFoundError, FileExistsError):
            if path.parent.is_symlink() or path.parent.is_file():
                raise
            continue  # a holder that finished just now removed the folder
        except OSError:
            with suppress(OSError):
                path.parent.rmdir()
            raise
        try:
            with naming(path):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if is_still(path, descriptor):
                return descriptor
        except BlockingIOError:
            holder = _holder(descriptor)
            os.close(descriptor)
            raise TargetError(
                f"{what} is being written by another run ({holder}); wait for it to end, or end it"
            ) from None
        except OSError:
            os.close(descriptor)  # the file stays: it may be another's lock
            raise
        os.close(descriptor)


@contextmanager
def waiting_lock(path: Path, announce: Callable[[str], None]) -> Iterator[None]:
    """Hold the lock file `path`, waiting for another holder as long as it lives.

    Args:
        path: the lock file; it stays, and its folder must exist.
        announce: told once, if there is somebody to wait for.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            announce(f"waiting for {_holder(descriptor)}, which is at work on {path.parent}")
            fcntl.flock(descriptor, fcntl.LOCK_EX)
        _sign(descriptor)
        yield
    finally:
        os.close(descriptor)


def _sign(descriptor: int) -> None:
    """Say in a lock file who holds it."""
    os.truncate(descriptor, 0)
    started = datetime.now(UTC).isoformat(timespec="seconds")
    os.pwrite(
        descriptor, f"process {os.getpid()} on {socket.gethostname()}, since {started}".encode(), 0
    )


def _holder(descriptor: int) -> str:
    """Who holds a lock file, as its holder signed it."""
    return os.pread(descriptor, 200, 0).decode(errors="replace") or "another process"
