"""A split's name or a folder, as users write either -> the folder of a dataset.

What has a separator (`./train`, `data/datasets/train`) is a folder. Anything else is a name below
`$CODEDATA_ROOT/datasets`, or a folder of the working folder where no split has it.
"""

import argparse
from pathlib import Path

from codedata.arguments import did_you_mean, path
from codedata.errors import DatasetError, SettingsError
from codedata.format.meta import META_NAME
from codedata.layout import ROOT_VARIABLE, Layout, is_name
from codedata.places import local_path
from codedata.store.dataset_folder import Dataset

DATASET = "DATASET"
"""What usages call the argument."""


def add_dataset(parser: argparse.ArgumentParser, *, several: bool = False) -> None:
    """The argument of a command that takes a dataset, or several."""
    name, nargs = ("datasets", "+") if several else ("dataset", None)
    what = "a split's name, or a dataset folder"
    parser.add_argument(name, metavar=DATASET, nargs=nargs, type=_place, help=what)


def _place(text: str) -> str:
    """The type of the argument: as it was written, if it may be a place of this machine."""
    path(text)
    return text


def dataset_folder(text: str) -> Path:
    """The folder that a name or a path means.

    Raises:
        DatasetError: there is none, or it may be either of two.
        SettingsError: it is no place of this machine.
    """
    named = local_path(text, "the dataset")
    layout = Layout.from_environment()
    if not is_name(text):
        if not named.exists():
            _require_folder(text, layout)
        return named
    of_split = layout.dataset(text)
    if not named.exists():
        if not of_split.exists():
            raise DatasetError(_none_of(text, layout))
        return of_split
    if not of_split.exists() or named.resolve() == of_split.resolve():
        return named
    found = [each for each in (of_split, named) if (each / META_NAME).exists()]
    if len(found) == 2:
        raise DatasetError(
            f"{text!r} is the dataset of a split, {of_split}, and a folder here; write ./{text} "
            "for the folder, or the path of the split's"
        )
    return found[0] if found else of_split


def _require_folder(text: str, layout: Layout) -> None:
    """Refuse what is no folder because it is written as one, or as several names."""
    if "/" not in text and (meant := spaced(text)):
        raise DatasetError(f"there is no dataset {text!r}; {meant}")
    split = text.rstrip("/")
    if is_name(split) and layout.dataset(split).exists():
        raise DatasetError(
            f"there is no folder {text} here; without the slash, {split} is the dataset of a split"
        )


def spaced(text: str) -> str:
    """What is meant by names with commas between them; of a single name nothing."""
    names = text.replace(",", " ").split()
    return f"separate names by spaces: {' '.join(names)}" if "," in text else ""


def _none_of(name: str, layout: Layout) -> str:
    folder = layout.root / "datasets"
    made = sorted(path.parent.name for path in folder.glob(f"*/{META_NAME}"))
    known = f"there are {', '.join(made)}" if made else "no dataset is there"
    if meant := did_you_mean(name, made):
        return f"there is no dataset {name!r} in {folder}; {meant} {known}"
    return (
        f"there is no dataset {name!r} in {folder}, and no folder {name} here: {known}; `codedata "
        f"list` says which splits can be made, or set {ROOT_VARIABLE} to the folder that holds it"
    )


def summary(dataset: Dataset) -> str:
    """What is in a dataset, for the line that names it."""
    num_files = len(dataset.entries)
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


def shown_path(path: Path) -> str:
    """A path for people: from the working folder on, where it is below that."""
    here = Path.cwd()
    return str(path.relative_to(here) if path.is_relative_to(here) else path)
