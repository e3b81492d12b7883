"""A split's name -> its published dataset, in plain Python without dagster."""

from codedata.store.copies import published_place
from codedata.training.dataset import PickledTrainerDataset


def load_dataset(name: str, *, quiet: bool = True, verify: bool = False) -> PickledTrainerDataset:
    """Open the dataset of a split, `$CODEDATA_ROOT/datasets/<name>`; of a URL, a copy of it.

    Args:
        name: the split's name.
        quiet: print nothing.
        verify: also recompute all hashes.

    Raises:
        DatasetError: the name is none, or the dataset was not materialized, or is damaged.
    """
    return PickledTrainerDataset(published_place(name), quiet=quiet, verify=verify)
