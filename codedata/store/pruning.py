"""What nothing uses any more in an object store: old versions' folders, and old chunks.

A folder of a dataset is used while a version that names it is the dataset, or was within the grace;
records stay, since their numbers must have no gaps. A folder with one object that was written
within the grace is somebody's work, and so is one that no version names and that is not named as
versions' are: a dataset that was copied there. A range's chunks are used that have the fingerprint
of the one written last.

Invariants: a version loses its meta first, and the rest once nobody published it before that; who
publishes it later misses the meta (`ObjectStage.publish`).
"""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from itertools import groupby

from codedata.format.meta import META_NAME
from codedata.store.object_store import Found, ObjectStore
from codedata.store.versions import VERSIONS, DatasetLog

_VERSION = re.compile("[0-9a-f]{32}", re.ASCII)
"""How `version_digest` names the folder of a version."""

_NEVER = "was never published"


@dataclass
class Unused:
    """Objects that can go.

    Attributes:
        where: the URL that they have in common.
        why: they can.
        num_bytes: that they have.
        newest: when the last of them was written, in seconds of the epoch.
        names: theirs.
    """

    where: str
    why: str
    num_bytes: int = 0
    newest: float = 0.0
    names: list[str] = field(default_factory=list[str])

    def add(self, name: str, found: Found) -> None:
        """Count one more."""
        self.names.append(name)
        self.num_bytes += found.num_bytes
        self.newest = max(self.newest, found.modified)


def dataset_names(datasets: ObjectStore) -> list[str]:
    """The datasets below a URL."""
    return sorted({name.partition("/")[0] for name, _ in datasets.scan() if "/" in name})


def unused_folders(log: DatasetLog, before: float) -> list[Unused]:
    """The folders of a dataset that no version names which was it since then.

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
    others = found.keys() - _used_folders(log, before)
    numbers = _numbers_of(log) if others else {}
    gone: list[Unused] = []
    for folder in sorted(others):
        if (of := numbers.get(folder)) is not None or _VERSION.fullmatch(folder):
            found[folder].why = f"of version {', '.join(map(str, of))}" if of else _NEVER
            gone.append(found[folder])
    return gone


def remove_folder(log: DatasetLog, unused: Unused, before: float) -> bool:
    """Remove a dataset's folder, unless it was written in or published meanwhile."""
    folder = unused.where.rpartition("/")[2]
    now = log.store.found(f"{folder}/")
    if folder in _used_folders(log, before) or any(each.modified > before for each in now.values()):
        return False
    meta = f"{folder}/{META_NAME}"
    held = log.store.read_many([meta])
    log.store.remove(held)
    if folder in _used_folders(log, before):  # by who saw the meta before it went
        for name, data in held.items():
            log.store.put(name, data)
        return False
    log.store.remove(name for name in now if name != meta)
    return True


def unused_chunks(chunks: ObjectStore, before: float) -> Iterator[Unused]:
    """Chunks of a split whose range has a later one with another fingerprint; by the file.

    Args:
        chunks: of the split.
        before: seconds of the epoch: what was written since is left.
    """
    for folder, names in groupby(chunks.scan(), key=lambda each: each[0].partition("/")[0]):
        unused = Unused(chunks.where(folder), "of texts, tokenizers or releases before")
        for name, about in _superseded(names):
            if about.modified <= before:
                unused.add(name, about)
        if unused.names:
            yield unused


def _superseded(chunks: Iterable[tuple[str, Found]]) -> Iterator[tuple[str, Found]]:
    """Of one file's chunks those whose fingerprint is not the last that their range got."""
    by_range: dict[str, list[tuple[str, Found]]] = {}
    for name, about in chunks:
        by_range.setdefault(name.partition(".")[0], []).append((name, about))
    for of_range in by_range.values():
        last, _ = max(of_range, key=lambda each: each[1].modified)
        yield from (each for each in of_range if _fingerprint(each[0]) != _fingerprint(last))


def _fingerprint(name: str) -> str:
    return name.split(".", 2)[1] if name.count(".") > 1 else name


def _used_folders(log: DatasetLog, before: float) -> set[str]:
    """The folders of the head, and of versions that were it since then."""
    version = log.head()
    used: set[str] = set()
    while version is not None:
        used.add(version.folder)
        made = datetime.fromisoformat(version.made).timestamp()
        version = log.version(version.number - 1) if made > before else None
    return used


def _numbers_of(log: DatasetLog) -> dict[str, list[int]]:
    numbers: dict[str, list[int]] = {}
    for version in log.versions():
        numbers.setdefault(version.folder, []).append(version.number)
    return numbers
