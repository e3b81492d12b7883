"""A split's name -> its published dataset, in plain Python without dagster."""

from pathlib import Path

from codedata.errors import DatasetError
from codedata.layout import Layout, is_name
from codedata.store.copies import place_of
from codedata.training.dataset import PickledTrainerDataset


def load_dataset(
    name: str, *, quiet: bool = True, verify: bool = False, stream: bool = False
) -> PickledTrainerDataset:
    """Open the dataset of a split, `$CODEDATA_ROOT/datasets/<name>`; of a URL, a copy of it.

    Args:
        name: the split's name.
        quiet: print nothing.
        verify: also recompute all hashes.
        stream: bring of a dataset at a URL only what is asked for, and no copy of it all.

    Raises:
        DatasetError: the name is none, or the dataset was not materialized, or is damaged.
    """
    if not is_name(name):
        raise DatasetError(
            f"{name!r} is no name of a split; name one, such as 'train', or open a folder with "
            "PickledTrainerDataset"
        )
    place = place_of(Layout.from_environment(), name)
    if isinstance(place, Path) and not place.exists():
        raise DatasetError(
            f"split {name!r} has no dataset in {place}; run `codedata materialize {name}`, or set "
            "CODEDATA_ROOT to the folder that holds it"
        )
    return PickledTrainerDataset([place], quiet=quiet, verify=verify, stream=stream)
