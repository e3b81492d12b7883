"""What was checked of a dataset's files -> 16 bytes a file, remembered for this user's processes.

    $XDG_CACHE_HOME/codedata/checked/<dataset, place and machine>    a table, a slot a file

A slot is a hash of what a file must be (its sha256) and of which file of which state it was that
was found to be so: device, inode, size, and both times, of which nobody can set the last (ctime).
So whatever changed since has another mark, and is checked anew (but for what is written through a
mapping on tmpfs, which notes no time of it). A slot is locked while its file is
checked: of many processes that ask at once one reads it, and the others have its word.

A table is taken that is this user's, in a folder of this user's, both closed to everybody else: who
could write there could say what he likes of a file. Where there is no such folder, or no locks,
each process checks for itself; nothing here is an error. Tables may be removed at any time.
"""

import errno
import fcntl
import hashlib
import logging
import os
import stat
import struct
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path

from codedata.places import cache_folder
from codedata.store.locks import locks_are_wanted

logger = logging.getLogger(__name__)

_SLOT_BYTES = 16

_SETTLED_NS = 2_000_000_000
"""Since a file changed, before it is remembered: within a tick of its clock, which is 2 s on FAT
and 1 s on others, it might change again and have the same ctime."""

_ASKING_SECONDS = 0.005

_WAITING_SECONDS = 60.0
"""For another process that checks the same file, some gigabytes; one that was stopped may hold its
lock for ever."""

_KEPT_SECONDS = 90 * 86_400.0
"""A table that nobody asked or wrote for so long goes when another one is begun."""

_FLOCK = struct.Struct("hhqqi0q")
"""`struct flock` of 64-bit Linux: type, whence, start, length, 0."""


class Checked:
    """The files of an opened dataset that were found to be what they must be.

    Any thread; a process that is forked goes on with what it knows.

    Args:
        dataset: says which dataset it is, and where.
        number: of its files.
    """

    def __init__(self, dataset: str, number: int) -> None:
        self._own, self._asked = bytearray(_SLOT_BYTES * number), set[tuple[int, int]]()
        self._name = hashlib.sha256(f"{os.uname().nodename} {dataset}".encode()).hexdigest()[:32]

    @contextmanager
    def once(self, index: int, sha256: str, status: os.stat_result | None) -> Generator[bool]:
        """Check a file where it was not: what leaves without an error did.

        Args:
            index: of the file.
            sha256: that it must have.
            status: of the very file that is read, as it was before; None where nothing says which
                it is, and nothing is remembered.

        Yields:
            Whether it was checked.
        """
        if status is None:
            yield False
            return
        mark, place = mark_of(sha256, status, status.st_dev), index * _SLOT_BYTES
        if self._own.startswith(mark, place):
            yield True
            return
        # A signal's handler may ask in the middle of this, and would wait for itself.
        asking = threading.get_ident(), index
        table = None if asking in self._asked else _open_table(self._name)
        if table is None:
            yield False
        else:
            self._asked.add(asking)
            try:
                yield from _ask(table, place, mark, is_settled=is_settled(status))
            finally:
                self._asked.discard(asking)
                os.close(table)
        self._own[place : place + _SLOT_BYTES] = mark

    def note(self, index: int, sha256: str, status: os.stat_result | None) -> None:
        """Remember that a file was checked; arguments as of `once`."""
        if status is None:
            return
        mark, place = mark_of(sha256, status, status.st_dev), index * _SLOT_BYTES
        self._own[place : place + _SLOT_BYTES] = mark
        if is_settled(status) and (table := _open_table(self._name)) is not None:
            try:
                _write(table, place, mark)
            finally:
                os.close(table)


def _ask(table: int, place: int, mark: bytes, *, is_settled: bool) -> Generator[bool]:
    if os.pread(table, _SLOT_BYTES, place) == mark:
        yield True
        return
    is_locked = is_settled and locks_are_wanted() and _lock(table, place)
    try:
        is_checked = is_locked and os.pread(table, _SLOT_BYTES, place) == mark
        yield is_checked
        if is_settled and not is_checked:
            _write(table, place, mark)
    finally:
        if is_locked:  # a process that was forked meanwhile has the same open file, and its locks
            _set_lock(table, place, fcntl.F_UNLCK)


def mark_of(sha256: str, status: os.stat_result, device: int) -> bytes:
    """What says that a file had a sha256 in the state that it was in then.

    Args:
        sha256: that was found.
        status: of the file before.
        device: that it is on; 0 for what machines share, which number their devices otherwise.
    """
    file = (device, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns)
    return hashlib.sha256(f"{sha256} {file}".encode()).digest()[:_SLOT_BYTES]


def is_settled(status: os.stat_result) -> bool:
    """Whether whatever happens to a file from now on gives it another mark."""
    return time.time_ns() - status.st_ctime_ns > _SETTLED_NS


def _write(table: int, place: int, mark: bytes) -> None:
    try:
        os.pwrite(table, mark, place)
    except OSError as error:  # a full disk
        logger.info("what was checked is not remembered: %s", error)


def _open_table(name: str) -> int | None:
    """The descriptor of a table; None where there can be none, or it may be another's."""
    if (cache := cache_folder()) is None:
        return None
    folder = cache / "checked"
    try:
        if not folder.exists():
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        within = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            if not _is_own(within, stat.S_IFDIR):
                return None
            flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
            table = os.open(name, flags, 0o600, dir_fd=within)
        finally:
            os.close(within)
    except OSError as error:
        logger.info("what was checked is not remembered: %s", error)
        return None
    if not _is_own(table, stat.S_IFREG):
        os.close(table)
        return None
    if not os.fstat(table).st_size:
        _remove_old(folder)
    return table


def _is_own(descriptor: int, kind: int) -> bool:
    """Whether what was opened is of a kind and this user's, and nobody else may write it."""
    status = os.fstat(descriptor)
    strangers = stat.S_IWGRP | stat.S_IWOTH
    is_closed = status.st_uid == os.geteuid() and not status.st_mode & strangers
    return is_closed and stat.S_IFMT(status.st_mode) == kind


def _remove_old(folder: Path) -> None:
    """Remove tables that nobody asked for long; another process may be at it."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            status = entry.stat(follow_symlinks=False)
            if time.time() - max(status.st_atime, status.st_mtime) > _KEPT_SECONDS:
                os.unlink(entry.path)


def _lock(table: int, place: int) -> bool:
    """Lock a slot, waiting for another holder; False where none can be had."""
    until = time.monotonic() + _WAITING_SECONDS
    while time.monotonic() < until:
        try:
            _set_lock(table, place, fcntl.F_WRLCK)
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                return False
            time.sleep(_ASKING_SECONDS)
        else:
            return True
    return False


def _set_lock(table: int, place: int, kind: int) -> None:
    """Lock a slot or unlock it, without waiting.

    On Linux the lock is the open file's, so that threads exclude each other, too; elsewhere the
    process's, which loses all when one of its threads closes the table: then work is done twice.
    """
    if hasattr(fcntl, "F_OFD_SETLK"):
        wanted = _FLOCK.pack(kind, os.SEEK_SET, place, _SLOT_BYTES, 0)
        fcntl.fcntl(table, fcntl.F_OFD_SETLK, wanted)
    else:
        command = fcntl.LOCK_UN if kind == fcntl.F_UNLCK else fcntl.LOCK_EX | fcntl.LOCK_NB
        fcntl.lockf(table, command, _SLOT_BYTES, place)
