"""A folder of the cache that is opened -> kept there until no process has it open any more.

Who opens it has a shared `flock` on the folder itself, which processes that are forked share, and
which the kernel drops with the last of them; who makes room has it alone, or leaves the folder.
Machines that share a cache see no such lock of each other, nor does a filesystem without `flock`
keep any: for those it counts as asked for as often as files of it are.
"""

import fcntl
import os
import time
import weakref
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from codedata.store.files import is_still

_ASKING_SECONDS = 60.0
"""Between two notes that files of a folder are asked for: what goes is older than ten times that
(`KEPT_SECONDS`)."""


class InUse:
    """A folder that stays as long as this object does; see `in_use`."""

    def __init__(self, folder: Path, descriptor: int) -> None:
        self._folder, self._asked = folder, time.monotonic()
        weakref.finalize(self, os.close, descriptor).atexit = False

    def ask(self) -> None:
        """Note that a file of it is asked for."""
        now = time.monotonic()
        if now - self._asked > _ASKING_SECONDS:
            self._asked = now
            with suppress(OSError):  # it is gone
                os.utime(self._folder)


def in_use(folder: Path) -> InUse | None:
    """Keep a folder; None where it is not there, or is being removed."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except FileNotFoundError:
        return None
    held = InUse(folder, descriptor)
    if not _lock(descriptor, fcntl.LOCK_SH) or not is_still(folder, descriptor):
        return None
    with suppress(OSError):
        os.utime(folder)
    return held


@contextmanager
def unless_in_use(folder: Path) -> Generator[bool]:
    """Whether no process has a folder open, and none will in the block."""
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:  # it is gone, or no folder
        yield True
        return
    try:
        yield _lock(descriptor, fcntl.LOCK_EX)
    finally:
        os.close(descriptor)


def _lock(descriptor: int, kind: int) -> bool:
    """Whether nobody else has a lock that forbids this one; so it is where there are none."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError:  # no `flock` here
        return True
    return True
