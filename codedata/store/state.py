"""The small files of a root in an object store, replaced as they change: here and there the same.

    <root>/state/<path below Layout.root>       records, lists, pins, trained tokenizers

The store has the truth. Who reads such a file pulls it before, who writes one pushes it after;
under a root that is a folder there is nothing to do. The time of a file that was pulled tells which
version of the object it is, so that of ten thousand only those that changed are asked for.

Invariants: a file is there whole or not at all, here and there; a listing that lags behind costs
requests, and takes nothing away; of machines that write a pin or a list at once for the first time
one is first, and the others go by what it wrote.
"""

import hashlib
import os
import time
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TypeVar

from codedata.layout import Layout
from codedata.store.files import is_temporary, replace_atomically
from codedata.store.object_store import Found, ObjectStore
from codedata.store.roots import objects_of

Answer = TypeVar("Answer")

STATE = "state"
"""The folder of the root where they are."""

_YOUNG_SECONDS = 60.0
"""A file that is not in the store may be one that another process of this machine is pushing."""

_AT_ONCE = 16
"""Files that are pushed side by side."""

_SECOND_NS = 1_000_000_000


def pull(layout: Layout, *paths: Path) -> None:
    """Have files here as they are in the store; one that is gone there is removed.

    Args:
        layout: the root.
        paths: of files below `layout.root`.

    Raises:
        StoreError: the store does not give them.
    """
    if (store := objects_of(layout)) is not None:
        _bring(layout, store, {state_name(layout, path): None for path in paths})


def pull_below(layout: Layout, folder: Path, pattern: str = "*") -> None:
    """Have all files below a folder here as they are in the store: one listing, and what changed.

    Args:
        layout: the root.
        folder: below `layout.root`.
        pattern: of the names of the files, without their folders.

    Raises:
        StoreError: the store does not give them.
    """
    if (store := objects_of(layout)) is None:
        return
    prefix = f"{state_name(layout, folder)}/"
    listed = {
        name: about
        for name, about in store.found(prefix).items()
        if fnmatchcase(name.rpartition("/")[2], pattern)
    }
    others = {state_name(layout, path) for path in _files(folder, pattern)} - listed.keys()
    changed = {
        name: about for name, about in listed.items() if not _is_of(_path(layout, name), about)
    }
    _bring(layout, store, {**changed, **dict.fromkeys(others)})


def push(layout: Layout, *paths: Path) -> None:
    """Have files in the store as they are here.

    Args:
        layout: the root.
        paths: of files or folders below `layout.root`.

    Raises:
        StoreError: the store does not take them.
    """
    if (store := objects_of(layout)) is None:
        return

    def put(path: Path) -> None:
        store.put(state_name(layout, path), path.read_bytes())

    with ThreadPoolExecutor(_AT_ONCE) as threads:
        for _ in threads.map(put, (each for path in paths for each in _files(path, "*"))):
            pass


def put_changed(layout: Layout, path: Path, before: bytes | None) -> bool:
    """Have a file in the store as it is here, unless another machine was the first to write it.

    Args:
        layout: the root.
        path: below `layout.root`.
        before: what it held before it was written here; None where it was not there.

    Returns:
        False where another was first: what that wrote is here now, and holds.

    Raises:
        StoreError: the store does not take it.
    """
    if (store := objects_of(layout)) is None or (data := content(path)) in (None, before):
        return True
    name = state_name(layout, path)
    if before is not None:
        store.put(name, data)
    elif not store.put_if_absent(name, data):
        _bring(layout, store, {name: None})
        return False
    return True


def kept(layout: Layout, folder: Path, change: Callable[[], Answer]) -> Answer:
    """Have the files below a folder here as in the store, and there what is changed of them.

    Args:
        layout: the root.
        folder: below `layout.root`.
        change: reads and writes them; it does so again, by what is there then, where another
            machine was the first to write one.

    Returns:
        What `change` does.

    Raises:
        StoreError: the store does not give or take them.
    """
    while True:
        pull_below(layout, folder)
        before = {path: content(path) for path in _files(folder, "*")}
        answer = change()
        put = [put_changed(layout, path, before.get(path)) for path in _files(folder, "*")]
        if all(put):
            return answer


def content(path: Path) -> bytes | None:
    """What a file holds; None where there is none."""
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None


def put_state(layout: Layout, path: Path, data: bytes) -> None:
    """Write a file: into the store, then here.

    So nobody who pulls beside it sees it taken back.

    Raises:
        StoreError: the store does not take it.
    """
    if (store := objects_of(layout)) is not None:
        store.put(state_name(layout, path), data)
    path.parent.mkdir(parents=True, exist_ok=True)
    replace_atomically(path, data)


def _bring(layout: Layout, store: ObjectStore, names: Mapping[str, Found | None]) -> None:
    """Write what the store has of names, each with what a listing says; remove the others."""
    there = store.read_many(names)
    for name, data in there.items():
        path, about = _path(layout, name), names[name]
        with suppress(FileNotFoundError):
            if path.read_bytes() == data:
                _mark(path, about)
                continue
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_atomically(path, data)
        _mark(path, about)
    for name in names.keys() - there.keys():
        path = _path(layout, name)
        with suppress(FileNotFoundError):
            if time.time() - path.stat().st_mtime > _YOUNG_SECONDS:
                path.unlink()


def _is_of(path: Path, about: Found) -> bool:
    """Whether a file is the version of an object that a listing tells of."""
    try:
        status = path.stat()
        if status.st_size != about.num_bytes:
            return False
        if status.st_mtime_ns == _time_of(about):
            return True
        # What was pushed from here; most stores tell the MD5 of an object put in one request.
        md5 = hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()
        if md5 != about.etag:
            return False
        _mark(path, about)
    except FileNotFoundError:
        return False
    return True


def _mark(path: Path, about: Found | None) -> None:
    """Note which version of its object a file is, where a listing told."""
    if about is not None:
        with suppress(FileNotFoundError):  # another process removed it
            os.utime(path, ns=(_time_of(about), _time_of(about)))


def _time_of(about: Found) -> int:
    """A time, in nanoseconds, that tells a version of an object: its second, and in it its hash."""
    digest = hashlib.sha256(repr(about).encode()).digest()
    return int(about.modified) * _SECOND_NS + int.from_bytes(digest[:8]) % _SECOND_NS


def _files(path: Path, pattern: str) -> Iterator[Path]:
    """A file, or those below a folder whose names are of a pattern."""
    if path.is_file():
        yield path
        return
    for each in path.rglob(pattern):
        if each.is_file() and not is_temporary(each.name) and not each.name.endswith(".lock"):
            yield each


def state_name(layout: Layout, path: Path) -> str:
    """The name in the store of a file below `layout.root`."""
    return f"{STATE}/{path.relative_to(layout.root).as_posix()}"


def _path(layout: Layout, name: str) -> Path:
    return layout.root / name.removeprefix(f"{STATE}/")
