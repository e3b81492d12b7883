"""The dataset that this process verified last: while its files are the same, none is read again.

A run reads what it wrote once, to check it before it is published; what comes after it in the same
process (the dataset's asset, its report, the closing line) gets what was opened then.
"""

from pathlib import Path

from codedata.store.dataset_folder import Dataset, open_dataset

Marks = list[tuple[str, int, int, int]]

_last: list[tuple[Dataset, Marks]] = []


def remember_verified(dataset: Dataset) -> None:
    """Take note of a dataset that was opened and verified."""
    _last[:] = [(dataset, _marks(dataset.folder))]


def open_once(folder: Path, *, verify: bool = False) -> Dataset:
    """Open a dataset as `open_dataset` does, or have the one that this process verified.

    Raises:
        DatasetError: see `open_dataset`.
    """
    for dataset, marks in _last:
        if dataset.folder == folder and marks == _marks(folder):
            return dataset
    dataset = open_dataset(folder, verify=verify)
    if verify:
        remember_verified(dataset)
    return dataset


def _marks(folder: Path) -> Marks:
    """What a change of any file changes: its inode, its size, or the time that nobody can set."""
    try:
        found = sorted((path.name, path.stat()) for path in folder.iterdir())
    except OSError:
        return []
    return [(name, each.st_ino, each.st_size, each.st_ctime_ns) for name, each in found]
