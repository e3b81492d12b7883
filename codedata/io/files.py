"""Durable writes: a file is there whole under its name, or not at all."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

_HASH_BUFFER_BYTES = 1 << 20

_SHOWN_CHARS = 200


def shortened(name: str) -> str:
    """A name for a message: as it is, or its start where it is too long for a path."""
    return name if len(name) <= _SHOWN_CHARS else f"{name[:_SHOWN_CHARS]}..."


def why_no_path(error: Exception) -> str:
    """What is wrong with a path, going by the error that its use gave."""
    return (isinstance(error, OSError) and error.strerror) or str(error)


def fsync_folder(folder: Path) -> None:
    """Make the names in a folder durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_durably(path: Path, data: bytes | memoryview | Callable[[BinaryIO], object]) -> None:
    """Write a file that nobody reads before it is complete, and force it to the disk.

    Args:
        path: where.
        data: what, or a function that writes it into the opened file.
    """
    with open(path, "wb") as file:
        if callable(data):
            data(file)
        else:
            file.write(data)
        file.flush()
        os.fsync(file.fileno())


def replace_atomically(path: Path, data: bytes | Callable[[BinaryIO], object]) -> None:
    """Write durably under a temporary name of this process, then take the place in one step."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        write_durably(temporary, data)
        os.replace(temporary, path)
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def sha256_of(file: BinaryIO) -> str:
    """The sha256 of what is left to read of a file, as 64 hexadecimal digits."""
    digest = hashlib.sha256()
    while block := file.read(_HASH_BUFFER_BYTES):
        digest.update(block)
    return digest.hexdigest()
