"""Objects of a store -> files of this machine: kept, bounded, shared by a user's processes.

    $XDG_CACHE_HOME/codedata/objects/<sha256>      an object
    $XDG_CACHE_HOME/codedata/shards/<sha256>       of what is streamed (`cached_shards.py`)
    $XDG_CACHE_HOME/codedata/datasets/...          copies of datasets (`store/copies.py`)
    $XDG_CACHE_HOME/codedata/tokenizers/<fingerprint>/   the files of a tokenizer

A file is named by the sha256 of what it holds, or the beginning of it, and is there only once its
bytes were found to have that; one that changed since is fetched again (`store/cached_files.py`).
Folders are this user's, and nobody else may write them.

What was asked for longest ago goes first when all of it is more than `CODEDATA_CACHE_BYTES` (by
default a fifth of the disk), but no copy that a process has open (`store/in_use.py`), and nothing
that was asked for within `KEPT_SECONDS`: whoever gets a path opens it at once, or asks again. Files
of streams may go at any time.
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from codedata.environment import variables
from codedata.errors import SettingsError, StoreError
from codedata.places import cache_folder
from codedata.store.cached_files import last_asked, open_cached, remove_cached, take_cached
from codedata.store.files import is_temporary, remove_leftovers, replace_atomically
from codedata.store.in_use import unless_in_use
from codedata.store.locks import is_abandoned, lock_if_free, waiting_lock
from codedata.store.owners import close_to_strangers

if TYPE_CHECKING:
    from codedata.store.object_store import ObjectStore

CACHE_VARIABLE = "CODEDATA_CACHE_BYTES"

KEPT_SECONDS = 600.0
"""Between that a path is asked for and that it is opened, on a machine that swaps."""

WAITING_SECONDS = 30.0
"""For another process that fetches the same: a part's 100 MB at 3 MB/s. It may have died on another
machine, or stand still; then it is fetched twice, which harms nothing."""

_KINDS = ("objects", "datasets", "tokenizers")
SHARDS = "shards"
_LOCK, ROOM_LOCK, GONE = ".lock", ".room.lock", ".gone"
"""Of files of streams: whoever fetches one holds its lock, whoever makes room for one holds the
other, and the last is touched when something goes."""

_DAY_SECONDS = 86_400.0
"""How much longer what is yet being made stays: a large file may be under way for hours."""

SHARE_AT_ONCE = 64
"""Of what is there, that may go beyond what is needed: of 10,000 files 150, as it takes 20 ms to
put them in order."""

_SHARE_OF_DISK = 5
"""Room for what else is there; a corpus's part is some 100 MB, a worker works on one at a time."""


def cached(store: "ObjectStore", name: str, sha256: str) -> Path:
    """The file with the bytes of an object, fetched where it is not here.

    Args:
        store: where the object is.
        name: of the object.
        sha256: of its bytes, in hex, or 16 digits and more that it begins with.

    Returns:
        A file to be opened at once, and only read.

    Raises:
        FileNotFoundError: the name holds nothing.
        StoreError: it holds other bytes.
        SettingsError: this user has no cache folder, or its bound is no number.
    """
    path = own_place("objects") / sha256
    if (found := open_cached(path)) is None:
        with waiting_lock(lock_of(path), lambda _: None, most_seconds=WAITING_SECONDS):
            if (found := open_cached(path, hashes=True)) is None:
                data = store.read(name)
                require_sha256(data, sha256, store.where(name))
                make_room(len(data))
                replace_atomically(path, data, mode=0o600, take=take_cached)
    if found is not None:
        found.close()
    return path


def lock_of(path: Path) -> Path:
    """What whoever fetches a file holds meanwhile."""
    return path.with_name(f".{path.name}{_LOCK}")


def require_sha256(data: bytes, sha256: str, where: str) -> None:
    """Refuse bytes that arrived and are not those that were asked for.

    Raises:
        StoreError: naming where they came from.
    """
    if not (found := hashlib.sha256(data).hexdigest()).startswith(sha256):
        raise StoreError(
            f"{where} does not hold what it is named for: its {len(data)} bytes have the sha256 "
            f"{found}, not {sha256}; remove it, and make again what it belongs to"
        )


def cache_place(kind: str) -> Path:
    """The folder of this user's cache for one kind of things; it need not exist.

    Raises:
        SettingsError: this user has none.
    """
    if (folder := cache_folder()) is None:
        raise SettingsError(
            "what comes from an object store is kept in a cache folder, and this user has no home; "
            "set XDG_CACHE_HOME to a folder that can be written"
        )
    return folder / kind


def own_place(kind: str) -> Path:
    """The folder of this user's cache for one kind of things, made if need be, closed to others.

    Raises:
        SettingsError: this user has none, or it is another's, who may put there what he likes.
    """
    place = cache_place(kind)
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    for folder in (place.parent, place):
        if why := close_to_strangers(folder, None):
            raise SettingsError(
                f"{folder} is no cache for you: {why}; set XDG_CACHE_HOME to a folder of your own"
            )
    return place


def max_cache_bytes(folder: Path) -> int:
    """How much the cache may hold, as the environment says, or a fifth of the folder's disk.

    Raises:
        SettingsError: the environment names no number of bytes.
    """
    value = variables().get(CACHE_VARIABLE)
    if not value:
        return _disk_bytes(folder)[0] // _SHARE_OF_DISK
    if not (value.isascii() and value.isdigit()):
        raise SettingsError(f"{CACHE_VARIABLE} is {value!r}; write a number of bytes")
    return int(value)


def make_room(num_bytes: int) -> bool:
    """Remove what was asked for longest ago, until so many bytes more fit; whether they do."""
    return room_left(num_bytes) >= 0


def room_left(num_bytes: int) -> int:
    """Make room for so many bytes: how many more fit then, less than 0 where those do not.

    By the bound, and on a disk that holds other things too.
    A little more goes where much is there: who comes next need not go through all of it again.
    """
    found = _found()
    most = max_cache_bytes(cache_place("objects"))
    there = sum(size for _, size in found)
    surplus = max(there - most, -_free_bytes()) + num_bytes
    if surplus > 0:
        surplus -= _remove_abandoned(cache_place(SHARDS))
    if surplus > 0:
        surplus -= _remove_oldest(found, surplus, there // SHARE_AT_ONCE)
    return -surplus


def give_way(num_bytes: int) -> bool:
    """Remove what so many bytes need of a disk that is full; whether the disk has more room then.

    It has not where all that went is open in processes, which keep it there until they let go.
    """
    before = _free_bytes()
    if not _remove_abandoned(cache_place(SHARDS)):
        _remove_oldest(_found(), num_bytes, 0)
    return _free_bytes() > before


def _free_bytes() -> int:
    return _disk_bytes(cache_place(SHARDS))[1]


def _disk_bytes(folder: Path) -> tuple[int, int]:
    """Of the disk where a folder is or would be: all of it, and what is free of it."""
    usage = shutil.disk_usage(next(each for each in (folder, *folder.parents) if each.exists()))
    return usage.total, usage.free


def _remove_oldest(found: Sequence[tuple[os.DirEntry[str], int]], surplus: int, spare: int) -> int:
    """Remove what was asked for longest ago; how many bytes went.

    Args:
        found: all that is there.
        surplus: bytes that are to go.
        spare: that may go beyond those.
    """
    latest, num_bytes = time.time() - KEPT_SECONDS, 0
    whole = (each for each in found if not is_temporary(each[0].name))
    for used, path, size in sorted((*_last_asked(entry), size) for entry, size in whole):
        if num_bytes >= surplus and num_bytes + size > surplus + spare:
            break
        if used <= latest or path.parent.name == SHARDS:
            with unless_in_use(path) as is_unused:
                if is_unused:
                    remove(path)
                    num_bytes += size
    if num_bytes:
        with suppress(FileNotFoundError):  # no stream's
            (cache_place(SHARDS) / GONE).touch()
    return num_bytes


def _remove_abandoned(folder: Path) -> int:
    """Remove what processes that were killed left among files of streams; its bytes."""
    num_bytes = 0
    for path in [*folder.glob(".*")]:
        if path.name.endswith(_LOCK) and path.name != ROOM_LOCK:
            with suppress(OSError), lock_if_free(path):
                pass  # which removes it
        elif is_temporary(path.name) and is_abandoned(path, older_than=KEPT_SECONDS):
            with suppress(FileNotFoundError):
                num_bytes += path.stat().st_size
                path.unlink()
    return num_bytes


def _found() -> list[tuple[os.DirEntry[str], int]]:
    return [each for kind in (*_KINDS, SHARDS) for each in _entries(cache_place(kind))]


def _entries(folder: Path) -> Iterator[tuple[os.DirEntry[str], int]]:
    """What a folder of the cache holds, and its bytes; of a stream also what is on its way."""
    if folder.name != SHARDS:
        remove_leftovers(folder, older_than=KEPT_SECONDS)
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process made room
                if entry.is_dir():
                    entry.stat()  # which it keeps
                    yield entry, _num_bytes(Path(entry.path))
                elif not entry.name.startswith(".") or (
                    folder.name == SHARDS and is_temporary(entry.name)
                ):
                    yield entry, entry.stat().st_size


def _last_asked(entry: os.DirEntry[str]) -> tuple[float, Path]:
    """When something was asked for; what is yet being made counts as asked for a day later."""
    path = Path(entry.path)
    return last_asked(path, entry.stat()) + _DAY_SECONDS * entry.name.startswith("."), path


def _num_bytes(path: Path) -> int:
    """Of a file, or of all files below a folder; what is gone meanwhile counts nothing."""
    with suppress(FileNotFoundError):
        if path.is_dir():
            return sum(_num_bytes(each) for each in [*path.iterdir()])
        return path.lstat().st_size
    return 0


def remove(path: Path) -> None:
    """Remove a file, or a folder; no one sees a half of it under its name."""
    if path.is_dir():
        gone = path.with_name(f".{secrets.token_hex(8)}.gone")
        with suppress(FileNotFoundError):
            path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
    else:
        remove_cached(path)


def touch(folder: Path) -> bool:
    """Note that a folder is asked for; False where it is not here."""
    try:
        os.utime(folder)
    except FileNotFoundError:
        return False
    return True
