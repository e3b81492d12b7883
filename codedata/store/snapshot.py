"""A dataset folder, opened once: every file is opened relative to that descriptor.

So a reader sees the dataset that was there at that moment, or finds out that a run replaced it;
never files of both. Who holds all files that it needs may do without the descriptor (`loosen`).
Files are opened through a link where one stands in their place; special files are refused.
"""

import errno
import os
import stat
import weakref
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import BinaryIO

from codedata.errors import DatasetError
from codedata.format.shards import Bytes
from codedata.printable import shortened, why_no_path
from codedata.store.files import OfOneOwner, map_file, read_range
from codedata.store.owners import whose

NAME_IT = "name the folder of a dataset"
_COPY_IT = "put the file itself in its place, or make the dataset again"
_NONE = -1
_LET_READ = "have its owner let you read it (chmod a+rX)"


class FolderSnapshot(OfOneOwner, AbstractContextManager["FolderSnapshot"]):
    """The files of a folder, until it is left.

    Raises:
        DatasetError: it is no folder that can be read; files that cannot be read raise it, too.
    """

    _close: "weakref.finalize[[int], FolderSnapshot]"

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        try:
            self._descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
            number = error.errno if isinstance(error, OSError) else None
            if number == errno.EMFILE:
                raise
            why = f"is no dataset folder: {why_no_path(error)}; {NAME_IT}"
            if number == errno.EACCES and os.access(folder.parent, os.X_OK):
                why = f"cannot be opened: {whose(folder)}; {_LET_READ}"
            raise DatasetError(f"{shortened(str(folder))} {why}") from error
        self._status = os.fstat(self._descriptor)

    def __exit__(self, *_: object) -> None:
        os.close(self._descriptor)

    @property
    def where(self) -> str:
        """The folder's path."""
        return str(self._folder)

    def sizes(self, prefix: str) -> dict[str, int | None]:
        """See `Snapshot.sizes`; one look at the folder."""
        found: dict[str, int | None] = {}
        with self._within() as descriptor, os.scandir(descriptor) as entries:
            for entry in entries:
                if entry.name.startswith(prefix):
                    try:
                        status = entry.stat()
                    except OSError:  # a link to nothing, or to what is closed
                        found[entry.name] = None
                    else:
                        is_file = stat.S_ISREG(status.st_mode)
                        found[entry.name] = status.st_size if is_file else None
        return found

    def keep(self) -> "FolderSnapshot":
        """See `Snapshot.keep`."""
        kept = object.__new__(type(self))
        kept._folder, kept._status = self._folder, self._status
        kept._descriptor = os.dup(self._descriptor)
        kept._close = weakref.finalize(kept, os.close, kept._descriptor)
        kept._close.atexit = False  # what runs then may ask for samples
        return kept

    def loosen(self) -> None:
        """See `Snapshot.loosen`; of what `keep` gave."""
        self._folder, self._descriptor = self._folder.absolute(), _NONE
        self._close()

    @contextmanager
    def _within(self) -> Generator[int]:
        """The folder's descriptor.

        Raises:
            FileNotFoundError: another folder has its name by now.
        """
        if self._descriptor != _NONE:
            yield self._descriptor
            return
        descriptor = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            if not os.path.samestat(os.fstat(descriptor), self._status):
                raise FileNotFoundError(errno.ENOENT, "is another folder now", str(self._folder))
            yield descriptor
        finally:
            os.close(descriptor)

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `Snapshot.read`."""
        with self._open(name) as file:
            return read_range(file, start, stop)

    def map(self, name: str) -> Bytes:
        """See `Snapshot.map`."""
        with self._open(name) as file:
            return map_file(file)

    def map_file(self, name: str) -> tuple[Bytes, os.stat_result | None]:
        """See `Snapshot.map_file`."""
        with self._open(name) as file:
            status = os.fstat(file.fileno())
            return map_file(file), status

    def state_of(self, name: str) -> os.stat_result | None:
        """See `Snapshot.state_of`."""
        try:
            with self._within() as descriptor:
                return os.stat(name, dir_fd=descriptor)
        except OSError as error:
            if error.errno == errno.EMFILE:
                raise
            return None

    def is_current(self) -> bool:
        """Whether the folder is still the one under its name."""
        try:
            return os.path.samestat(os.stat(self._folder), self._status)
        except FileNotFoundError:
            return False

    def _open(self, name: str) -> BinaryIO:
        with self._within() as descriptor:
            return self._open_within(descriptor, name)

    def _open_within(self, descriptor: int, name: str) -> BinaryIO:
        """Open a plain file of the folder, or the one that a link in its place leads to.

        Data stores (the hub's cache, DVC, git-annex) keep files aside and link to them. No pipe or
        device is opened: some do something then. One that comes between is taken for empty.
        """
        path = self._folder / name
        try:
            if stat.S_ISREG(os.stat(name, dir_fd=descriptor).st_mode):
                flags = os.O_RDONLY | os.O_NONBLOCK
                return open(os.open(name, flags, dir_fd=descriptor), "rb")
        except OSError as error:
            why = _why_not_opened(descriptor, path, error)
            if why is None:
                raise
            raise DatasetError(f"{path} cannot be opened: {why}") from error
        raise DatasetError(f"{path} is not a plain file; {_COPY_IT}")


def _why_not_opened(descriptor: int, path: Path, error: OSError) -> str | None:
    """What is wrong with a file of the folder, and the remedy; None where there is none."""
    if error.errno in (errno.ENOENT, errno.ELOOP):
        try:
            target = os.readlink(path.name, dir_fd=descriptor)
        except OSError:
            return None
        return (
            f"it is a link to {shortened(target)!r}, which is not here; get what it stands for "
            "from where the dataset came from (git annex get, dvc pull, a download), or "
            f"{_COPY_IT}"
        )
    if error.errno == errno.EACCES:
        leads_to = shortened(os.path.realpath(path))
        closed = f"it leads to {leads_to!r}, which is closed to you"
        who = whose(path) if os.access(path, os.F_OK) else closed
        return f"{who}; {_LET_READ}, or make the dataset again"
    return None if error.errno == errno.EMFILE else f"{error.strerror}; {_COPY_IT}"
