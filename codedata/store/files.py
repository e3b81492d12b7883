"""Files read, and written durably: a file is there whole under its name, or not at all."""

import ctypes
import errno
import mmap
import os
import secrets
import sys
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from io import BufferedWriter
from pathlib import Path
from typing import Any, BinaryIO, NoReturn

import numpy as np
from numpy.typing import NDArray

from codedata.format.shards import Bytes
from codedata.store.base import Data

_KEPT_NAME = 50
"""Characters of a name that its temporary one keeps: together they fit what a name may have."""

_NO_FOLDER_FSYNC = (errno.EINVAL, errno.ENOTSUP)
"""What filesystems say of a folder whose names they force to the disk themselves, or not at all,
such as CIFS."""

_AT_FDCWD = -100
_RENAME_EXCHANGE = 2  # linux/fs.h
_RENAME_SWAP = 2  # sys/stdio.h of macOS
_NO_EXCHANGE = (errno.ENOSYS, errno.EINVAL, errno.ENOTSUP)

_LIBC = ctypes.CDLL(None, use_errno=True)
_LIBC.mmap.restype = ctypes.c_void_p
_MAP_FAILED = ctypes.c_void_p(-1).value

_CANNOT_MAP = (errno.ENODEV, errno.EACCES, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
"""What filesystems that map no files say: FUSE with direct_io, folders shared with a virtual
machine."""


def read_range(file: BinaryIO, start: int, stop: int | None) -> bytes:
    """The bytes of a range of a file; no more memory is taken than it has bytes."""
    file.seek(start)
    most = max(0, os.fstat(file.fileno()).st_size - start)
    return file.read(most if stop is None else min(most, stop - start))


class OfOneOwner:
    """What frees something of its process's when it goes, and so is neither pickled nor copied."""

    def __reduce__(self) -> NoReturn:
        raise TypeError(
            f"a {type(self).__name__} is neither pickled nor copied: it is of its process; pickle "
            "or copy the PickledTrainerDataset that has it, or open its place again"
        )


class Mapping(OfOneOwner):
    """A file that is mapped, to be read; numpy makes an array of it, which keeps it mapped.

    The system's own mapping, since Python's holds a descriptor each before 3.13, of which a process
    may have 1,024; of mappings it may have 65,530.

    Args:
        descriptor: of a file, which may be closed then.
        num_bytes: of it, one at least.

    Raises:
        OSError: its filesystem maps no files, or there is no room for one more mapping.
    """

    def __init__(self, descriptor: int, num_bytes: int) -> None:
        protection, kind = ctypes.c_int(mmap.PROT_READ), ctypes.c_int(mmap.MAP_SHARED)
        size, offset = ctypes.c_size_t(num_bytes), ctypes.c_long(0)
        address = _LIBC.mmap(None, size, protection, kind, ctypes.c_int(descriptor), offset)
        if address == _MAP_FAILED:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        self._place = ctypes.c_void_p(address), size
        self._unmap = _LIBC.munmap
        self.__array_interface__ = {
            "shape": (num_bytes,),
            "typestr": "|u1",
            "data": (address, True),
            "version": 3,
        }

    def __del__(self) -> None:
        if hasattr(self, "_unmap"):
            self._unmap(*self._place)

    def release_pages(self) -> None:
        """Take what was read out of this process's memory; it stays in the file."""
        _LIBC.madvise(*self._place, ctypes.c_int(mmap.MADV_DONTNEED))


def map_file(file: BinaryIO) -> Bytes:
    """The bytes of a file, uint8, shape (num_bytes,), read-only: mapped, or read where none can be.

    Raises:
        OSError: there is no memory for the mapping, or the file cannot be read.
    """
    num_bytes = os.fstat(file.fileno()).st_size
    if not num_bytes:
        return np.empty(0, np.uint8)
    try:
        return np.asarray(Mapping(file.fileno(), num_bytes))
    except OSError as error:
        if error.errno not in _CANNOT_MAP:
            raise
        return np.frombuffer(read_range(file, 0, None), np.uint8)


def mapping_of(data: NDArray[Any]) -> Mapping | None:
    """The mapped file that an array is a view of; None where it lies in memory."""
    mapped: Any = data
    while mapped is not None and not isinstance(mapped, Mapping):
        mapped = mapped.obj if isinstance(mapped, memoryview) else getattr(mapped, "base", None)
    return mapped


def release_pages(data: NDArray[Any]) -> None:
    """Take what was read of a mapped file out of this process's memory; it stays in the file.

    Args:
        data: of `map_file`, or a view of it; what is no mapped file stays as it is.
    """
    if (mapped := mapping_of(data)) is not None:
        mapped.release_pages()


@contextmanager
def naming(path: Path) -> Generator[None]:
    """Have an error of a call on a descriptor name the file, as one of a call on a path does."""
    try:
        yield
    except OSError as error:
        if error.errno is not None and not isinstance(error.filename, str):
            error.filename = str(path)
        raise


def is_still(path: Path, descriptor: int) -> bool:
    """Whether an open file is the one under the name, not one that was removed meanwhile."""
    try:
        return os.path.samestat(path.stat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable, where its filesystem can be told to."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        with naming(folder):
            os.fsync(descriptor)
    except OSError as error:
        if error.errno not in _NO_FOLDER_FSYNC:
            raise
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: Data) -> None:
    """Write a file that nobody reads before it is complete, and force it to the disk.

    Args:
        path: where; a link that lies there is not followed.
        data: what, or a function that writes it into the opened file.
    """
    with naming(path), open(path, "wb", opener=open_no_link) as file:
        _fill(file, data)


def open_no_link(path: str, flags: int) -> int:
    """An opener for `open`: a planted link is not followed, and a planted pipe does not block."""
    return os.open(path, flags | os.O_NOFOLLOW | os.O_NONBLOCK, 0o666)


def replace_atomically(
    path: Path,
    data: Data,
    *,
    mode: int = 0o666,
    take: Callable[[Path, Path], object] = os.replace,
) -> None:
    """Write durably under a name that nobody can have foreseen, then take the place in one step.

    Two at once do not meet, and the last one stays. What a killed one leaves is removed by
    `remove_leftovers`.

    Args:
        path: where; a link that lies there is replaced.
        data: what, or a function that writes it into the opened file.
        mode: of the file, less what the umask takes away.
        take: what takes the place; `os.link` fails where there is something.
    """
    temporary = path.with_name(f".{path.name[:_KEPT_NAME]}.{secrets.token_hex(8)}.tmp")

    def create(name: str, flags: int) -> int:
        return os.open(name, flags, mode)

    with naming(temporary), open(temporary, "xb", opener=create) as file:
        try:
            _fill(file, data)
            take(temporary, path)
        finally:
            with suppress(OSError):  # it took the place; or what went wrong is said, not this
                temporary.unlink()


def name_atomically(folder: Path, data: Data, name: Callable[[Path], str]) -> Path:
    """Write as `replace_atomically` does, under a name that what was written decides.

    Args:
        folder: where.
        data: what, or a function that writes it into the opened file.
        name: gives the name for the whole file, which nobody else reads yet; where it raises,
            nothing is left.

    Returns:
        Where it is.
    """
    named: list[Path] = []

    def take(temporary: Path, _: Path) -> None:
        named.append(folder / name(temporary))
        os.replace(temporary, named[0])

    replace_atomically(folder / "unnamed", data, take=take)
    return named[0]


def is_temporary(name: str) -> bool:
    """Whether a file of this name is one that is not in its place yet."""
    return name.startswith(".") and name.endswith(".tmp")


def remove_leftovers(folder: Path, *, older_than: float = 0.0) -> None:
    """Remove what `replace_atomically` could not finish in a folder, as far as it can be removed.

    Args:
        folder: it need not exist.
        older_than: seconds since the last byte, for folders in which others may be at work.
    """
    with suppress(OSError):
        for path in folder.glob(".*.tmp"):
            with suppress(OSError):
                if not older_than or time.time() - path.lstat().st_mtime >= older_than:
                    path.unlink()


def _fill(file: BufferedWriter, data: Data) -> None:
    if callable(data):
        data(file)
    else:
        file.write(data)
    file.flush()
    os.fsync(file.fileno())


def publish_folder(stage: Path, target: Path) -> None:
    """Force a folder of files to the disk, and give it a name that is free, or an empty folder's.

    Raises:
        OSError: something is there.
    """
    for path in sorted(stage.iterdir()):
        with open(path, "rb") as file:
            os.fsync(file.fileno())
    fsync_folder(stage)
    os.rename(stage, target)
    fsync_folder(target.parent)


def exchange(one: Path, other: Path) -> bool:
    """Exchange two folders in one step; False where the system or filesystem cannot."""
    first, second = os.fsencode(one), os.fsencode(other)
    if sys.platform == "darwin":
        status = _LIBC.renamex_np(first, second, _RENAME_SWAP)
    elif hasattr(_LIBC, "renameat2"):
        status = _LIBC.renameat2(_AT_FDCWD, first, _AT_FDCWD, second, _RENAME_EXCHANGE)
    else:
        return False
    number = ctypes.get_errno()
    if status and number not in _NO_EXCHANGE:
        raise OSError(number, os.strerror(number), str(one), None, str(other))
    return not status
