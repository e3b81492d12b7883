"""A file of the cache that is named by its sha256 -> opened, once it was found to have that.

    <folder>/<sha256>          the file; its name may be the beginning of the sha256
    <folder>/.<sha256>.mark    of the state in which it was found so (`store/checked.py`); its time
                               of change is when the file was last asked for

A file is hashed once for each state that it is in, by whoever asks first; what arrives was hashed
on its way. One that holds other bytes, was cut off, or may be a stranger's, is removed, and the log
says so: whoever asked fetches it again, and nobody takes the cache's damage for the dataset's.
Asking changes nothing of the file itself: its ctime is what tells that it is as it was.
"""

import errno
import hashlib
import os
import shutil
import stat
from contextlib import suppress
from io import BufferedReader
from pathlib import Path

from codedata.printable import printable
from codedata.progress import logger
from codedata.store.checked import is_settled, mark_of
from codedata.store.files import open_no_link
from codedata.store.owners import why_not_trusted

_NO_FILE_OF_OURS = (errno.ELOOP, errno.EACCES, errno.ENXIO)
"""What is said of a link, of root's file of before, and of a socket. Anything else that keeps one
from being opened (too many are open, the disk fails) says nothing of the file."""


def open_cached(path: Path, *, hashes: bool = False) -> BufferedReader | None:
    """Open a file that holds what it is named for; None where there is none.

    Args:
        path: of the file, in a folder of this user's.
        hashes: hash one of which no mark says what it holds, and remove it if it is another;
            else it counts as not here, and nothing is changed.
    """
    try:
        descriptor = open_no_link(str(path), os.O_RDONLY)
    except FileNotFoundError:
        return None
    except OSError as error:
        if error.errno not in _NO_FILE_OF_OURS:
            raise
        if hashes:
            _throw_away(path, f"cannot be opened ({error.strerror})")
        return None
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        why = "is no file"
    else:
        file = os.fdopen(descriptor, "rb")
        if (why := _why_not(file, path, hashes=hashes)) is None:
            return file
        file.close()
    if hashes:
        _throw_away(path, why)
    return None


def take_cached(temporary: Path, path: Path) -> None:
    """Have a file take its place, of which each byte was hashed on its way here."""
    with temporary.open("rb") as file:
        os.replace(temporary, path)
        _note(path, os.fstat(file.fileno()))


def last_asked(path: Path, status: os.stat_result) -> float:
    """When a file or folder of the cache was asked for, in seconds.

    Args:
        path: of it.
        status: of it.
    """
    with suppress(OSError):
        return max(status.st_mtime, _mark_path(path).stat().st_mtime)
    return max(status.st_atime, status.st_mtime)


def remove_cached(path: Path) -> None:
    """Remove a file, and what is known of it."""
    _mark_path(path).unlink(missing_ok=True)
    path.unlink(missing_ok=True)


def _why_not(file: BufferedReader, path: Path, *, hashes: bool) -> str | None:
    """Why an opened file is not known to hold what it is named for."""
    status = os.fstat(file.fileno())
    if why := why_not_trusted(path, status, None):
        return f"is not only yours: {why}"
    if _noted(path) == _mark_of(path, status):
        return None
    if not hashes:
        return "was not looked at"
    found = hashlib.file_digest(file, "sha256").hexdigest()
    file.seek(0)
    if not found.startswith(path.name):
        return f"was changed or cut off: its {status.st_size} bytes have the sha256 {found}"
    if is_settled(status):
        _note(path, status)
    return None


def _throw_away(path: Path, why: str) -> None:
    logger.warning(printable(f"{path}, in the cache, {why}; it is removed and fetched again"))
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path, ignore_errors=True)
    else:
        remove_cached(path)


def _noted(path: Path) -> bytes:
    """The mark of a file, which is asked for now; nothing where there is none."""
    found = b""
    with suppress(OSError), open(_mark_path(path), "rb", opener=open_no_link) as mark:
        if why_not_trusted(path, os.fstat(mark.fileno()), None) is None:
            found = mark.read()
            os.utime(mark.fileno())
    return found


def _note(path: Path, status: os.stat_result) -> None:
    flags = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK
    with suppress(OSError):  # a full disk: it is hashed again
        mark = os.open(_mark_path(path), flags, 0o600)
        try:
            os.pwrite(mark, _mark_of(path, status), 0)
        finally:
            os.close(mark)


def _mark_of(path: Path, status: os.stat_result) -> bytes:
    return mark_of(path.name, status, device=0)


def _mark_path(path: Path) -> Path:
    return path.with_name(f".{path.name}.mark")
