"""A dataset folder is replaced whole: staged beside it, forced to the disk, swapped in.

    parent/name/                    the dataset: its shards, meta, facts and card
    parent/.name.codedata/          exists while a run works, or after one that did not finish
        lock, lock.holder           held by the one run that writes, and which that is
        chunks/                     finished token chunks, reused by the next run
        stage/                      the dataset being written; after the swap, the old one
        previous/                   the old one, only on filesystems that cannot exchange folders

Invariants: whoever opens the dataset sees the old one or the new one; nothing but a dataset's own
files is ever removed, facts or a card that were edited are not among them; a run that finds what a
killed one left behind sets it right.
"""

import os
import stat
from collections.abc import Generator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Lock

from codedata.errors import TargetError
from codedata.format.card import CARD_NAME, own_digest
from codedata.format.facts import FACTS_NAME, MAX_FACTS_BYTES
from codedata.format.meta import META_NAME, file_index
from codedata.places import local_path, require_utf8
from codedata.printable import shortened, why_no_path
from codedata.store.base import Data, Stage
from codedata.store.files import exchange, fsync_folder, remove_leftovers, write_durably
from codedata.store.locks import exclusive_lock
from codedata.store.owners import close_to_strangers, explained_at, is_closed


def check_target(target: Path, *, inputs: Sequence[Path] = ()) -> Path:
    """The real path of a folder that a dataset may replace.

    Args:
        target: the folder as the user named it; it need not exist.
        inputs: files that the run reads; the target may not hold them.

    Raises:
        TargetError: naming the entry in the way and the remedy.
    """
    target = local_path(target, "the target", error=TargetError)
    try:
        folder = Path(os.path.realpath(target))
        parent = next((each for each in folder.parents if each.exists()), folder)
        if folder.name:
            with suppress(FileNotFoundError, NotADirectoryError):
                os.stat(parent / Staging(folder).folder.name)  # the longest of the names
    except (OSError, ValueError) as error:  # a name too long, a NUL
        raise TargetError(
            f"the target {shortened(str(target))!r} is no path: {why_no_path(error)}; name a folder"
        ) from error
    require_utf8(str(folder), "the target", error=TargetError)
    remedy = "; name a subfolder that is its own"
    if folder.exists() and not folder.is_dir():
        wrong, remedy = "is a file", "; name a folder"
    elif os.path.ismount(folder):
        wrong = "is a mount point, which cannot be replaced"
    elif held := [path for path in inputs if folder in Path(os.path.realpath(path)).parents]:
        wrong = f"holds the input {held[0]}"
    elif folder in (here := Path.cwd(), *here.parents):
        wrong = "is or holds the working folder, which would be replaced under your feet"
    elif folder.is_dir() and (foreign := _foreign(folder)):
        wrong = f"holds {foreign}"
    elif not parent.is_dir() or not os.access(parent, os.W_OK | os.X_OK):
        wrong = explained_at(f"cannot be made: {parent} is not writable", parent)
        remedy = "; name a folder elsewhere"
    elif is_closed(folder) and folder.stat().st_uid != os.geteuid():  # its owner can open it
        wrong, remedy = explained_at("cannot be replaced", folder), ""
    else:
        return folder
    raise TargetError(f"the target {target} {wrong}{remedy}")


class Staging(Stage):
    """The work folder of one dataset, while its lock is held."""

    def __init__(self, target: Path) -> None:
        self.target = target
        self.folder = target.with_name(f".{target.name}.codedata")
        self.chunks = self.folder / "chunks"
        self.stage = self.folder / "stage"
        self._previous = self.folder / "previous"
        self._first = Lock()

    def put(self, name: str, data: Data) -> None:
        """See `Stage.put`."""
        with self._first:
            if not self.stage.exists():
                self.stage.mkdir(mode=0o775)
        write_durably(self.stage / name, data)

    def publish(self) -> None:
        """Put the staged dataset in the target's place and remove the old one; see `Stage`."""
        fsync_folder(self.stage)
        mode = _make_writable(self.target) if _is_folder(self.target) else None
        try:
            old = self._swap_in()
        finally:
            if mode is not None and _is_folder(self.target):
                with suppress(PermissionError):  # some mounts of CIFS and FUSE let nobody set it
                    _set_mode(self.target, mode)
        fsync_folder(self.target.parent)
        if old is not None:
            _remove_dataset(old)

    def _swap_in(self) -> Path | None:
        """Put the stage in place; where the old dataset is then."""
        if not os.path.lexists(self.target):
            os.rename(self.stage, self.target)
            return None
        if exchange(self.stage, self.target):
            try:
                self._require_no_arrival(self.stage)
            except TargetError:
                exchange(self.stage, self.target)
                raise
            return self.stage
        os.rename(self.target, self._previous)
        try:
            self._require_no_arrival(self._previous)
            os.rename(self.stage, self.target)
        except (TargetError, OSError):
            os.rename(self._previous, self.target)
            raise
        return self._previous

    def _require_no_arrival(self, old: Path) -> None:
        """Refuse to go on if what was the target until now is not a dataset or empty folder."""
        if came := _foreign(old) if _is_folder(old) else "something else":
            raise TargetError(
                f"{self.target} changed during the run: there is now {came}; move it elsewhere and "
                "run again"
            )

    def require_own(self) -> None:
        """See to it that nobody else can put anything in the work folder.

        Raises:
            TargetError: it is a stranger's, or a link was planted in it.
        """
        for path in (self.folder, self.chunks, self.stage, self._previous):
            _require_no_link(path)
            if path.exists() and (why := close_to_strangers(path, self.folder.parent)):
                raise TargetError(
                    f"the work folder {path} is not taken: {why}, so it may hold what another one "
                    "put there; remove it and run again, or name a target elsewhere"
                )

    def recover(self) -> None:
        """Set right what a run left that was killed or failed, finished chunks aside."""
        if self._previous.exists():
            if self.target.exists():
                _remove_dataset(self._previous)
            else:
                os.rename(self._previous, self.target)
        if self.stage.exists():
            _remove_dataset(self.stage)
        remove_leftovers(self.chunks)
        with suppress(OSError):  # it holds finished ones
            self.chunks.rmdir()

    def discard_chunks(self) -> None:
        """Remove the finished chunks: the dataset is made of them."""
        if self.chunks.exists():
            for path in sorted(self.chunks.iterdir()):
                path.unlink()
            self.chunks.rmdir()


def unfinished(parent: Path) -> list[Path]:
    """The targets in a folder of which a run is at work, or did not finish."""
    return sorted(path.with_name(path.name[1:-9]) for path in parent.glob(".*.codedata"))


@contextmanager
def open_staging(target: Path) -> Generator[Staging]:
    """Lock a dataset (see `check_target`) and stage its successor.

    Raises:
        TargetError: another run holds the lock, or another one may write the work folder.
    """
    staging = Staging(target)
    _require_no_link(staging.folder)  # before a lock is made in it
    with exclusive_lock(staging.folder / "lock", f"the dataset {target}"):
        staging.require_own()
        staging.recover()
        try:
            yield staging
        except BaseException:
            with suppress(OSError, TargetError):  # what went wrong is said, not what followed
                staging.recover()
            raise
        staging.recover()


def _foreign(folder: Path, *, also_edited: bool = False) -> str | None:
    """What a folder holds besides the plain files of a dataset, the first by name; else None.

    Args:
        folder: what to look into.
        also_edited: take files under the names of facts and card for those, whatever they hold.
    """
    texts = (FACTS_NAME, CARD_NAME)
    edited = None if also_edited else _edited(folder)
    with os.scandir(folder) as entries:
        found = sorted(
            entry.name
            for entry in entries
            if not entry.is_file(follow_symlinks=False)
            or not (
                entry.name == META_NAME
                or file_index(entry.name) is not None
                or (entry.name in texts and entry.name != edited)
            )
        )
    if not found:
        return None
    more = f" and {len(found) - 1} more" if len(found) > 1 else ""
    is_text = found[0] in texts
    why = "which is not as codedata wrote it" if is_text else "which no dataset has"
    return f"{found[0]!r}{more}, {why}"


def _edited(folder: Path) -> str | None:
    """The name of what says what a dataset was made of, where that was changed since."""
    texts: list[bytes | None] = []
    for name in (FACTS_NAME, CARD_NAME):
        texts.append(None)
        if (folder / name).is_file():
            with open(folder / name, "rb") as file:
                texts[-1] = file.read(MAX_FACTS_BYTES + 1)
    name, digest = own_digest(*texts)
    return name if digest is None else None


def _require_no_link(path: Path) -> None:
    if path.is_symlink():
        raise TargetError(f"{path} is a link, which no run makes; remove it and run again")


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def _make_writable(folder: Path) -> int:
    """Let a folder's owner change it; the mode it had."""
    mode = stat.S_IMODE(folder.stat().st_mode)
    _set_mode(folder, mode | stat.S_IRWXU)
    return mode


def _set_mode(folder: Path, mode: int) -> None:
    """Set a folder's mode if it has another: only its owner may."""
    if stat.S_IMODE(folder.stat().st_mode) != mode:
        folder.chmod(mode)


def _remove_dataset(folder: Path) -> None:
    """Remove a folder in the work folder and a dataset's files in it, nothing else."""
    if foreign := _foreign(folder, also_edited=True):
        raise TargetError(f"{folder} holds {foreign}; move it elsewhere and run again")
    _make_writable(folder)
    for name in sorted(os.listdir(folder)):
        os.unlink(folder / name)
    os.rmdir(folder)
