"""Objects of a store -> files of this machine: kept, bounded, shared by a user's processes.

    $XDG_CACHE_HOME/codedata/objects/<sha256>      an object
    $XDG_CACHE_HOME/codedata/datasets/...          copies of datasets (`store/copies.py`)
    $XDG_CACHE_HOME/codedata/tokenizers/<fingerprint>/   the files of a tokenizer

A file is named by the sha256 of what it holds, or the beginning of it, and is there only once its
bytes were found to have that. What was asked for longest ago goes first when all of it is more than
`CODEDATA_CACHE_BYTES` (by default a fifth of the disk), but nothing that was asked for within
`KEPT_SECONDS`: whoever gets a path opens it at once, or asks again.
"""

import hashlib
import os
import secrets
import shutil
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from codedata.environment import variables
from codedata.errors import SettingsError, StoreError
from codedata.places import cache_folder
from codedata.store.files import remove_leftovers, replace_atomically
from codedata.store.locks import waiting_lock

if TYPE_CHECKING:
    from codedata.store.object_store import ObjectStore

CACHE_VARIABLE = "CODEDATA_CACHE_BYTES"

KEPT_SECONDS = 600.0
"""Between that a path is asked for and that it is opened, on a machine that swaps."""

_WAITING_SECONDS = 30.0
"""For another process that fetches the same: a part's 100 MB at 3 MB/s. It may have died on another
machine, or stand still; then it is fetched twice, which harms nothing."""

_DAY_SECONDS = 86_400.0
"""How much longer what is yet being made stays: a large file may be under way for hours."""

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
    folder = cache_place("objects")
    path = folder / sha256
    if touch(path):
        return path
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    lock = folder / f".{sha256}.lock"
    with waiting_lock(lock, lambda _: None, most_seconds=_WAITING_SECONDS):
        if not touch(path):
            data = store.read(name)
            require_sha256(data, sha256, store.where(name))
            make_room(len(data))
            replace_atomically(path, data, mode=0o600)
    return path


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


def max_cache_bytes(folder: Path) -> int:
    """How much the cache may hold, as the environment says, or a fifth of the folder's disk.

    Raises:
        SettingsError: the environment names no number of bytes.
    """
    value = variables().get(CACHE_VARIABLE)
    if not value:
        there = next(each for each in (folder, *folder.parents) if each.exists())
        return shutil.disk_usage(there).total // _SHARE_OF_DISK
    if not (value.isascii() and value.isdigit()):
        raise SettingsError(f"{CACHE_VARIABLE} is {value!r}; write a number of bytes")
    return int(value)


def make_room(num_bytes: int) -> None:
    """Remove what was asked for longest ago, until so many bytes more fit."""
    found = [
        (used + (_DAY_SECONDS if is_stage else 0.0), path)
        for folder in map(cache_place, ("objects", "datasets", "tokenizers"))
        for used, is_stage, path in _entries(folder)
    ]
    sizes = {path: _num_bytes(path) for _, path in found}
    surplus = sum(sizes.values()) + num_bytes - max_cache_bytes(cache_place("objects"))
    latest = time.time() - KEPT_SECONDS
    for used, path in sorted(found):
        if surplus <= 0 or used > latest:
            break
        _remove(path)
        surplus -= sizes[path]


def _entries(folder: Path) -> Iterator[tuple[float, bool, Path]]:
    """What a folder of the cache holds, when it was asked for, and whether it is yet being made."""
    remove_leftovers(folder, older_than=KEPT_SECONDS)
    with suppress(FileNotFoundError), os.scandir(folder) as entries:
        for entry in entries:
            with suppress(FileNotFoundError):  # another process made room
                is_hidden = entry.name.startswith(".")
                if not is_hidden or entry.is_dir():
                    status = entry.stat()
                    used = max(status.st_atime, status.st_mtime)
                    yield used, is_hidden, Path(entry.path)


def _num_bytes(path: Path) -> int:
    """Of a file, or of all files below a folder; what is gone meanwhile counts nothing."""
    with suppress(FileNotFoundError):
        if path.is_dir():
            return sum(_num_bytes(each) for each in [*path.iterdir()])
        return path.lstat().st_size
    return 0


def _remove(path: Path) -> None:
    """Remove a file, or a folder; no one sees a half of it under its name."""
    if path.is_dir():
        gone = path.with_name(f".{secrets.token_hex(8)}.gone")
        with suppress(FileNotFoundError):
            path.rename(gone)
            shutil.rmtree(gone, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)


def touch(path: Path) -> bool:
    """Note that a file or folder is asked for; False where it is not here.

    Its time of access tells, so that who reads it does not take it for another file.
    """
    try:
        os.utime(path, ns=(time.time_ns(), path.stat().st_mtime_ns))
    except FileNotFoundError:
        return False
    return True
