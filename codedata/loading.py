"""A split's name -> its published dataset, in plain Python without dagster."""

from codedata.errors import DatasetError
from codedata.layout import Layout
from codedata.pickle_dataset import PickledTrainerDataset


def load_dataset(name: str, *, quiet: bool = True, verify: bool = False) -> PickledTrainerDataset:
    """Open the dataset of a split, `$CODEDATA_ROOT/datasets/<name>`.

    Args:
        name: the split's name.
        quiet: print nothing.
        verify: also recompute all hashes.

    Raises:
        DatasetError: it was not materialized, or is damaged.
    """
    folder = Layout.from_environment().dataset(name)
    if not folder.exists():
        raise DatasetError(
            f"split {name!r} has no dataset in {folder}; run `codedata materialize {name}`, or set "
            "CODEDATA_ROOT to the folder that holds it"
        )
    return PickledTrainerDataset([folder], quiet=quiet, verify=verify)
