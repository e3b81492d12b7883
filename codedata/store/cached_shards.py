"""Files of datasets that are streamed -> opened files of the cache, where they are fetched to.

    $XDG_CACHE_HOME/codedata/shards/<sha256>     whole, and found to have that hash
                                  .<sha256>...   on its way: as long as it will be, locked
                                  .left, .gone   see `_BUDGET`, and `cache.GONE`

There is room for a file before its first byte comes, by the bound of the cache and on its disk. A
file comes opened, so that the cache may let go of it at any time, and one that does not fit beside
what stays is not kept.
"""

import errno
import os
import struct
import threading
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from codedata.errors import StoreError
from codedata.printable import printable
from codedata.progress import logger
from codedata.store.cache import (
    GONE,
    ROOM_LOCK,
    SHARDS,
    SHARE_AT_ONCE,
    WAITING_SECONDS,
    cache_place,
    give_way,
    lock_of,
    max_cache_bytes,
    own_place,
    room_left,
)
from codedata.store.cached_files import open_cached, take_cached
from codedata.store.files import replace_atomically
from codedata.store.locks import lock_if_free, mark_at_work, waiting_lock

_SHARD_SECONDS = 600.0
"""For another process that fetches the same file of a stream: 60 MB at 100 kB/s."""

_FETCHING: set[tuple[int, Path]] = set()
"""Which thread fetches which files of streams, that it was asked for."""

_STUCK: list[tuple[int, int]] = []
"""The lock of whoever was waited for in vain, of which nobody is waited for again."""

_LEFT = ".left"
_BUDGET = struct.Struct("<qq")
"""Of `.left`: bytes that may come before anybody goes through the cache again, and its bound. A
64th of that at the most, by which what comes and goes otherwise may be unknown."""

_FULL = (errno.ENOSPC, errno.EDQUOT)
_CLOSED = (errno.EROFS, errno.EACCES, errno.EPERM, errno.ENOENT)


def open_shard(
    sha256: str,
    num_bytes: int,
    write: Callable[[BinaryIO], object],
    announce: Callable[[str], None] = lambda _: None,
) -> BinaryIO:
    """Open a file of a stream, fetched where it is not here; of many that ask for it one does.

    Args:
        sha256: of its bytes, in hex.
        num_bytes: that it has.
        write: fetches them into an opened file, and raises where they are others.
        announce: told once, if another process is waited for.

    Returns:
        The opened file, to be read; it stays as it is when the cache lets go of it.

    Raises:
        SettingsError: this user has no cache folder, or its bound is no number.
        CacheFullError: its disk is full, though what could go went.
        StoreError: it cannot be written.
    """
    if (found := find_shard(sha256)) is not None:
        return found
    path = own_place(SHARDS) / sha256
    with _told(path), _one_fetching(path, announce):
        if (found := open_cached(path, hashes=True)) is not None:
            return found
        while True:
            try:
                return _fetched(path, num_bytes, write)
            except OSError as error:
                if error.errno not in _FULL:
                    raise
                with _room_lock():
                    is_more = give_way(num_bytes)
                if not is_more:
                    raise


@contextmanager
def _one_fetching(path: Path, announce: Callable[[str], None]) -> Generator[None]:
    """Have no other fetch a file; a signal's handler does not wait for what it interrupts."""
    fetching = threading.get_ident(), path
    if fetching in _FETCHING:
        yield
        return
    _FETCHING.add(fetching)
    try:
        with waiting_lock(lock_of(path), announce, most_seconds=_SHARD_SECONDS):
            yield
    finally:
        _FETCHING.discard(fetching)


def fetch_shard(sha256: str, num_bytes: int, write: Callable[[BinaryIO], object]) -> None:
    """Have a file of a stream here where it has room, unless another process is fetching it.

    Args and errors as of `open_shard`.
    """
    if (found := find_shard(sha256)) is None:
        path = own_place(SHARDS) / sha256
        with _told(path), lock_if_free(lock_of(path)) as is_free:
            if is_free and (found := open_cached(path, hashes=True)) is None:
                with suppress(_NoRoomError):
                    found = _fetched(path, num_bytes, write, needs_room=True)
    if found is not None:
        found.close()


class CacheFullError(StoreError):
    """The cache's disk is full; what processes have mapped of it goes when they let go."""


class _NoRoomError(Exception):
    """A file does not fit beside what stays."""


def _fetched(
    path: Path, num_bytes: int, write: Callable[[BinaryIO], object], *, needs_room: bool = False
) -> BinaryIO:
    """A file of a stream, opened, for which there is room before its first byte comes.

    Raises:
        _NoRoomError: there is none, and it needs some.
    """
    arrived: list[BinaryIO] = []
    fits = False

    def fill(file: BinaryIO) -> None:
        nonlocal fits
        mark_at_work(file)
        with _room(num_bytes) as fits:
            if needs_room and not fits:
                raise _NoRoomError
            file.truncate(num_bytes)  # by which it counts from now on
        write(file)

    def take(temporary: Path, path: Path) -> None:
        arrived.append(given_up.enter_context(temporary.open("rb")))
        if fits:
            take_cached(temporary, path)
        else:  # whoever maps it is to let go of it
            path.with_name(GONE).touch()

    with ExitStack() as given_up:
        replace_atomically(path, fill, mode=0o600, take=take)
        given_up.pop_all()
    return arrived[0]


@contextmanager
def _told(path: Path) -> Generator[None]:
    """Say in one line what keeps the cache from taking a file.

    Raises:
        CacheFullError: its disk is full.
        StoreError: it takes none.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (*_FULL, *_CLOSED):
            raise
        refusal = CacheFullError if error.errno in _FULL else StoreError
        raise refusal(
            f"{path.parent}, the cache, takes no file ({error.strerror}); make room on its disk, "
            "or set XDG_CACHE_HOME to a folder that can be written"
        ) from error


def find_shard(sha256: str) -> BinaryIO | None:
    """Open a file of a stream that is known to be here as it was hashed; else None."""
    return open_cached(own_place(SHARDS) / sha256)


class ShardsHere:
    """Which files of streams are in the cache, by a look at it where room was made."""

    def __init__(self) -> None:
        self._seen_ns = 0

    def changed(self) -> frozenset[str] | None:
        """Their names, and those of other files; None if nothing went since the last time.

        What goes within a tick of the clock after that time is noticed with the next that does.
        """
        folder, now_ns = cache_place(SHARDS), 0
        with suppress(FileNotFoundError):
            now_ns = (folder / GONE).stat().st_mtime_ns
        if now_ns == self._seen_ns:
            return None
        self._seen_ns = now_ns
        return frozenset(os.listdir(folder))


@contextmanager
def _room(num_bytes: int) -> Generator[bool]:
    """Have room for a file, and whether it is enough, while nobody else of this user makes any."""
    with _room_lock():
        yield _takes_up(num_bytes)


@contextmanager
def _room_lock() -> Generator[None]:
    """Who stands still while he makes room is waited for once."""
    lock, held_by = cache_place(SHARDS) / ROOM_LOCK, list[str]()
    most_seconds = 0.0 if _which(lock) in _STUCK else WAITING_SECONDS
    until = time.monotonic() + most_seconds
    with waiting_lock(lock, held_by.append, most_seconds=most_seconds):
        if held_by and most_seconds and time.monotonic() >= until:
            _STUCK[:] = filter(None, [_which(lock)])
            logger.warning(printable(f"{held_by[0]}: not waited for any longer; it stands still"))
        yield


def _takes_up(num_bytes: int) -> bool:
    """Whether so many bytes fit, by what the last who went through all of it left for the next."""
    path, most = cache_place(SHARDS) / _LEFT, max_cache_bytes(cache_place("objects"))
    found = path.read_bytes() if path.exists() else b""
    left, of_most = _BUDGET.unpack(found) if len(found) == _BUDGET.size else (0, most)
    if of_most != most or left < num_bytes:
        left = num_bytes + room_left(num_bytes)
    left_now = max(0, min(left - num_bytes, most // SHARE_AT_ONCE))
    with suppress(OSError):  # of a full disk, whose next file goes through it all again
        path.write_bytes(_BUDGET.pack(left_now, most))
    return left >= num_bytes


def _which(lock: Path) -> tuple[int, int] | None:
    """What tells a lock file from the next one of its name."""
    with suppress(FileNotFoundError):
        status = lock.stat()
        return status.st_ino, status.st_ctime_ns
    return None
