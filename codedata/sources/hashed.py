"""A path -> the sha256 of its file's bytes, hashed once as long as it is the file that was hashed.

What tells that is its size, its inode and its times, the one that nobody can set back among them:
for as long as a process lasts (`sha256_once`), or for this user's later ones too, by a note in the
cache folder (`sha256_noted`). A file that was written a moment ago is hashed each time: its times
may not tell a change.
"""

import hashlib
import time
from functools import lru_cache
from pathlib import Path
from typing import Any, NamedTuple

from codedata.store.notes import read_note, write_note

_NOTES = "hashed-1"

_YOUNG_NS = 2_000_000_000
"""Of filesystems' times the coarsest in use counts in steps of two seconds."""


class _Seen(NamedTuple):
    """What is seen of a file without reading it, and tells whether it is still the same."""

    num_bytes: int
    modified_ns: int
    inode: int
    changed_ns: int

    @classmethod
    def of(cls, path: Path) -> "_Seen":
        found = path.stat()
        return cls(found.st_size, found.st_mtime_ns, found.st_ino, found.st_ctime_ns)

    @property
    def is_settled(self) -> bool:
        """Whether a change from now on would be seen."""
        return time.time_ns() - self.changed_ns > _YOUNG_NS


def sha256_once(path: Path) -> str:
    """The sha256 of a file: hashed once a process."""
    seen = _Seen.of(path)
    return (_hashed if seen.is_settled else _hashed.__wrapped__)(path, seen)


def sha256_noted(path: Path) -> str:
    """The sha256 of a file: hashed once a user."""
    seen = _Seen.of(path)
    before = [[*seen], True]
    sha256, *noted = _noted(path) or ("",)
    if noted == before:
        return sha256
    before = [[*seen], seen.is_settled]
    sha256 = sha256_once(path)
    write_note(_NOTES, _name(path), [sha256, *before])
    return sha256


def seems_same(path: Path, sha256: str, num_bytes: int) -> bool:
    """Whether nothing tells that a file is another than the one that was recorded.

    Its size may, and what it was when this user hashed it; it is not read.

    Args:
        path: of the file.
        sha256: that was recorded.
        num_bytes: that were recorded.
    """
    try:
        seen = _Seen.of(path)
    except OSError:
        return False
    noted = _noted(path)
    return seen.num_bytes == num_bytes and (noted is None or noted[:2] == [sha256, [*seen]])


def _noted(path: Path) -> list[Any] | None:
    """The sha256 that a file had, what was seen of it then, and whether a change would be seen."""
    found = read_note(_NOTES, _name(path))
    return found if isinstance(found, list) and len(found) == 3 else None


def _name(path: Path) -> str:
    return hashlib.sha256(str(path.absolute()).encode()).hexdigest()


@lru_cache(maxsize=1 << 16)  # files of a corpus
def _hashed(path: Path, _seen: _Seen) -> str:
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
