"""A folder of this machine as a store: names are paths below it.

Files appear by a rename. What lies under a name is opened through no link, and taken only if nobody
but those who are trusted may have written it. What is no plain file holds no bytes.
"""

import errno
import os
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from codedata.errors import UntrustedError
from codedata.format.shards import Bytes
from codedata.store.base import Data
from codedata.store.files import (
    is_temporary,
    map_file,
    open_no_link,
    read_range,
    replace_atomically,
)
from codedata.store.owners import why_not_trusted

_MODE = 0o644
"""Whatever the umask: what others may write is not taken again, and none needs to."""


@dataclass(frozen=True)
class LocalStore:
    """The files below a folder, which need not exist yet.

    Attributes:
        root: the folder.
        shared: the folder whose group may share files (`why_not_trusted`); None where none may.
    """

    root: Path
    shared: Path | None = None

    def where(self, name: str) -> str:
        """The path of a name."""
        return str(self.root / name)

    def put(self, name: str, data: Data) -> None:
        """See `Store.put`."""
        replace_atomically(self._place(name), data, mode=_MODE)

    def put_if_absent(self, name: str, data: Data) -> bool:
        """See `Store.put_if_absent`."""
        try:
            replace_atomically(self._place(name), data, mode=_MODE, take=os.link)
        except FileExistsError:
            return False
        return True

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `Store.read`."""
        with self._open(name) as file:
            return read_range(file, start, stop)

    def map(self, name: str) -> Bytes:
        """See `Store.map`."""
        with self._open(name) as file:
            return map_file(file)

    def list(self, prefix: str = "") -> Sequence[str]:
        """See `Store.list`."""
        folder, _, _ = prefix.rpartition("/")
        paths = (path for path in (self.root / folder).rglob("*") if not path.is_dir())
        names = (str(each.relative_to(self.root)) for each in paths if not is_temporary(each.name))
        return sorted(name for name in names if name.startswith(prefix))

    def _place(self, name: str) -> Path:
        path = self.root / name
        path.parent.mkdir(mode=0o775, parents=True, exist_ok=True)
        return path

    @contextmanager
    def _open(self, name: str) -> Generator[BinaryIO]:
        path = self.root / name
        with open(path, "rb", opener=open_no_link) as file:
            status = os.fstat(file.fileno())
            if not stat.S_ISREG(status.st_mode):
                raise FileNotFoundError(errno.ENOENT, "it is no plain file", str(path))
            if why := why_not_trusted(path, status, self.shared):
                raise UntrustedError(
                    f"{path} is not taken: {why}, so it may hold what another one put there; "
                    f"remove the folder {path.parent} and run again, or, if a group shares "
                    f"{self.shared or path.parent}, make all of it the group's (chgrp -R, chmod "
                    "g+rwXs, umask 002)"
                )
            yield file
