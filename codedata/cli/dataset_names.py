"""A split's name, a folder or a URL, as users write each -> the place of a dataset, or a folder.

What has a separator (`./train`, `data/datasets/train`) is a folder, or a URL of an object store.
Anything else is a name below `$CODEDATA_ROOT/datasets`, or a folder of the working folder where no
split has it. What lies in an object store is read from a copy on this machine.
"""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from codedata.errors import DatasetError, SettingsError
from codedata.format.meta import META_NAME
from codedata.layout import ROOT_VARIABLE, Layout, is_name
from codedata.places import place_at
from codedata.printable import did_you_mean
from codedata.progress import TERMINAL
from codedata.store.copies import dataset_copy, dataset_log, open_at, place_of
from codedata.store.dataset_folder import Dataset

if TYPE_CHECKING:
    from codedata.store.versions import Version

DATASET = "DATASET"
"""What usages call the argument."""


def add_dataset(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """The argument of a command that takes a dataset, or several."""
    name, nargs = ("datasets", "+") if several else ("dataset", None)
    what = "a split's name, a dataset folder, or a dataset's URL in an object store"
    parser.add_argument(name, metavar=DATASET, nargs=nargs, type=_place, help=what)


def _place(text: str) -> str:
    """The type of the argument: as it was written, if it may be a place of a dataset."""
    try:
        place_at(text, "the dataset")
    except SettingsError as error:
        raise argparse.ArgumentTypeError(str(error)) from error
    return text


def dataset_folder(text: str) -> Path:
    """The folder of a dataset that a name, a path or a URL means; of a URL, of a copy.

    Raises:
        DatasetError: see `dataset_place` and `dataset_copy`.
        SettingsError: it is no place of a dataset.
    """
    place = dataset_place(text)
    return place if isinstance(place, Path) else dataset_copy(place, TERMINAL)


def open_named(text: str, *, verify: bool = False) -> Dataset:
    """Open the dataset that a name, a path or a URL means.

    Raises:
        DatasetError: see `dataset_place` and `open_at`.
        SettingsError: it is no place of a dataset.
    """
    return open_at(dataset_place(text), TERMINAL, verify=verify)


def dataset_place(text: str) -> Path | str:
    """The folder or the URL that a name, a path or a URL means.

    Raises:
        DatasetError: there is none, or it may be either of two.
        SettingsError: it is no place of a dataset.
    """
    named = place_at(text, "the dataset")
    if isinstance(named, str):
        return named
    layout = Layout.from_environment()
    if not is_name(text):
        if not named.exists():
            _require_folder(text, layout)
        return named
    of_split = place_of(layout, text)
    is_made = _is_made(of_split)
    if not named.exists():
        if not is_made:
            raise DatasetError(_none_of(text, layout))
        return of_split
    if not is_made or (isinstance(of_split, Path) and named.resolve() == of_split.resolve()):
        return named
    if isinstance(of_split, Path) and not (of_split / META_NAME).exists():
        return named if (named / META_NAME).exists() else of_split
    if not (named / META_NAME).exists():
        return of_split
    raise DatasetError(
        f"{text!r} is the dataset of a split, {of_split}, and a folder here; write ./{text} for "
        "the folder, or the path of the split's"
    )


def _is_made(of_split: Path | str) -> bool:
    """Whether there is anything where a split's dataset is published."""
    if isinstance(of_split, Path):
        return of_split.exists()
    return dataset_log(of_split).head() is not None


def _require_folder(text: str, layout: Layout) -> None:
    """Refuse what is no folder because it is written as one, or as several names."""
    if "/" not in text and (meant := spaced(text)):
        raise DatasetError(f"there is no dataset {text!r}; {meant}")
    split = text.rstrip("/")
    if is_name(split) and _is_made(place_of(layout, split)):
        raise DatasetError(
            f"there is no folder {text} here; without the slash, {split} is the dataset of a split"
        )


def spaced(text: str) -> str:
    """What is meant by names with commas between them; of a single name nothing."""
    names = text.replace(",", " ").split()
    return f"separate names by spaces: {' '.join(names)}" if "," in text else ""


def _none_of(name: str, layout: Layout) -> str:
    if layout.url is not None:
        return (
            f"there is no dataset {name!r} in {layout.url}/datasets, and no folder {name} here; "
            f"`codedata list` says which splits are made, or set {ROOT_VARIABLE} to another root"
        )
    folder = layout.root / "datasets"
    made = sorted(path.parent.name for path in folder.glob(f"*/{META_NAME}"))
    known = f"there are {', '.join(made)}" if made else "no dataset is there"
    if meant := did_you_mean(name, made):
        return f"there is no dataset {name!r} in {folder}; {meant} {known}"
    return (
        f"there is no dataset {name!r} in {folder}, and no folder {name} here: {known}; `codedata "
        f"list` says which splits can be made, or set {ROOT_VARIABLE} to the folder that holds it"
    )


def summary(dataset: "Dataset | Version") -> str:
    """What is in a dataset, for the line that names it."""
    num_files = dataset.num_shards
    return (
        f"{num_files:,} {'file' if num_files == 1 else 'files'}, {dataset.num_samples:,} samples "
        f"of {dataset.seq_length:,} tokens, {dataset.num_tokens:,} tokens, digest {dataset.digest}"
    )


def layout_of_root() -> Layout:
    """The layout of commands that look at all that lies below the root.

    Raises:
        SettingsError: the root is a file.
    """
    layout = Layout.from_environment()
    if layout.root.is_file():
        raise SettingsError(f"{ROOT_VARIABLE} is {layout.root}, a file; set it to a folder")
    return layout


def shown_path(path: Path | str) -> str:
    """A path for people: from the working folder on, where it is below that; a URL as it is."""
    if isinstance(path, str):
        return path
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
