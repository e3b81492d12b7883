"""Durable writes: a file is there whole under its name, or not at all."""

import errno
import fcntl
import hashlib
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from io import BufferedWriter
from pathlib import Path
from typing import BinaryIO

Data = bytes | memoryview | Callable[[BinaryIO], object]
"""What a file is to hold, or a function that writes it into the opened file."""

_HASH_BUFFER_BYTES = 1 << 20

_SHOWN_CHARS = 200

_NO_FOLDER_FSYNC = (errno.EINVAL, errno.ENOTSUP)
"""What filesystems say of a folder whose names they force to the disk themselves, or not at all,
such as CIFS."""


def shortened(name: str) -> str:
    """A name for a message: as it is, or its start where it is too long for a path."""
    return name if len(name) <= _SHOWN_CHARS else f"{name[:_SHOWN_CHARS]}..."


def why_no_path(error: Exception) -> str:
    """What is wrong with a path, going by the error that its use gave."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


@contextmanager
def naming(path: Path) -> Iterator[None]:
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
        path: where.
        data: what, or a function that writes it into the opened file.
    """
    with naming(path), open(path, "wb") as file:
        _fill(file, data)


def replace_atomically(path: Path, data: Data) -> None:
    """Write durably under a temporary name, then take the place in one step.

    The name is the same for every process, so that the next one to write this file takes over what
    a killed one left. Two at once take turns.
    """
    temporary = path.with_name(f".{path.name}.tmp")
    while True:
        with naming(temporary), open(temporary, "wb", opener=_open_with_its_content) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            if not is_still(temporary, file.fileno()):
                continue  # the one that was waited for has put it in its place
            try:
                file.truncate(0)
                _fill(file, data)
                os.replace(temporary, path)
            except BaseException:
                with suppress(OSError):  # what went wrong is said, not what followed
                    temporary.unlink(missing_ok=True)
                raise
            return


def _open_with_its_content(path: str, flags: int) -> int:
    """What another process may be writing is not cut off before it is known that none is."""
    return os.open(path, flags & ~os.O_TRUNC, 0o666)


def _fill(file: BufferedWriter, data: Data) -> None:
    if callable(data):
        data(file)
    else:
        file.write(data)
    file.flush()
    os.fsync(file.fileno())


def sha256_of(file: BinaryIO) -> str:
    """The sha256 of what is left to read of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    while block := file.read(_HASH_BUFFER_BYTES):
        digest.update(block)
    return digest.hexdigest()
