"""What nothing uses any more in an object store: old versions' folders, and old chunks.

A folder of a dataset is used while a version that names it is the dataset, or was within the grace;
records stay, since their numbers must have no gaps. A folder with one object that was written
within the grace is somebody's work. Folders that no version names and no run is known to have made
are somebody's own, and said to be. Of a range's chunks the one is used that was written last.

Invariants: a version loses its meta first, and the rest once nobody published it before that, or
writes it anew; who publishes it later misses the meta (`ObjectStage.publish`).
"""

import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import groupby

from codedata.format.meta import META_NAME
from codedata.store.object_store import Found, ObjectStore, last_written
from codedata.store.versions import VERSIONS, DatasetLog, record_name

_STAGED = re.compile(r"[0-9a-f]{32}/")
"""What the names of objects begin with that a run puts: see `version_digest`."""


@dataclass
class Unused:
    """Objects that can go.

    Attributes:
        where: the URL that they have in common.
        why: they can.
        num_bytes: that they have.
        newest: when the last of them was written, in seconds of the epoch.
        names: theirs.
        is_ours: whether codedata made them.
    """

    where: str
    why: str
    num_bytes: int = 0
    newest: float = 0.0
    names: list[str] = field(default_factory=list[str])
    is_ours: bool = True

    def add(self, name: str, found: Found) -> None:
        """Count one more."""
        self.names.append(name)
        self.num_bytes += found.num_bytes
        self.newest = max(self.newest, found.modified)


def unused_folders(log: DatasetLog, before: float) -> list[Unused]:
    """The folders of a dataset that no version names which was it since then, also somebody's.

    Args:
        log: of the dataset.
        before: seconds of the epoch: what was written since is left.
    """
    found: dict[str, Unused] = {}
    for name, about in log.store.scan():
        folder, is_in_one, _ = name.partition("/")
        if is_in_one and not name.startswith(VERSIONS):
            unused = found.setdefault(folder, Unused(log.store.where(folder), ""))
            unused.add(name, about)
    used = _used_folders(log, before)
    numbers = _numbers_of(log) if found.keys() - used else {}
    unused = [found[folder] for folder in sorted(found.keys() - used)]
    for each in unused:
        of = numbers.get(each.where.rpartition("/")[2], [])
        each.why = f"of version {', '.join(map(str, of))}" if of else "was never published"
        each.is_ours = bool(of) or _is_staged(each, has_log=bool(used))
    return unused


def _is_staged(folder: Unused, *, has_log: bool) -> bool:
    """Whether a run put a folder's objects; beside no version a whole dataset may be a copy."""
    names = folder.names
    return _STAGED.match(names[0]) is not None and (
        has_log or not any(name.endswith(META_NAME) for name in names)
    )


def remove_folder(log: DatasetLog, unused: Unused, before: float) -> bool:
    """Remove a dataset's folder, unless it was written in or published meanwhile."""
    folder = unused.where.rpartition("/")[2]
    now = log.store.found(f"{folder}/")
    if folder in _used_folders(log, before) or _newest(now) > before:
        return False
    meta = f"{folder}/{META_NAME}"
    held = log.store.read_many([meta])
    log.store.remove(held)
    if folder in _used_folders(log, before):  # by who saw the meta before it went
        for name, data in held.items():
            log.store.put(name, data)
        return False
    left = log.store.found(f"{folder}/")
    if meta in left or _newest(left) > before:  # by who writes it anew
        return False
    log.store.remove(name for name in now if name != meta)
    return True


def unused_chunks(chunks: ObjectStore, before: float) -> Iterator[Unused]:
    """Chunks of a split whose range has a later one, by the file.

    Args:
        chunks: of the split.
        before: seconds of the epoch: what was written since is left.
    """
    for folder, names in groupby(chunks.scan(), key=lambda each: each[0].partition("/")[0]):
        unused = Unused(chunks.where(folder), "whose range has a later one")
        for name, about in _superseded(names):
            if about.modified <= before:
                unused.add(name, about)
        if unused.names:
            yield unused


def _superseded(chunks: Iterable[tuple[str, Found]]) -> Iterator[tuple[str, Found]]:
    """Of one file's chunks those that are not the last that their range got."""
    by_range: dict[str, list[tuple[str, Found]]] = {}
    for name, about in chunks:
        by_range.setdefault(name.partition(".")[0], []).append((name, about))
    for of_range in by_range.values():
        yield from sorted(of_range, key=last_written)[:-1]


def _newest(found: Mapping[str, Found]) -> float:
    return max((each.modified for each in found.values()), default=0.0)


def _used_folders(log: DatasetLog, before: float) -> set[str]:
    """The folders of the head, and of versions that were it since then, by the store's clock."""
    records = log.store.found(VERSIONS)
    version = log.head()
    used: set[str] = set()
    while version is not None:
        used.add(version.folder)
        record = records.get(record_name(version.number))  # a list may not show it yet
        is_young = record is None or record.modified > before
        version = log.version(version.number - 1) if is_young else None
    return used


def _numbers_of(log: DatasetLog) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for version in log.versions():
        numbers.setdefault(version.folder, []).append(version.number)
    return numbers
