"""A split's name -> its published dataset, in plain Python without dagster."""

from codedata.errors import DatasetError
from codedata.layout import Layout, is_name
from codedata.training.dataset import PickledTrainerDataset


def load_dataset(name: str, *, quiet: bool = True, verify: bool = False) -> PickledTrainerDataset:
    """Open the dataset of a split, `$CODEDATA_ROOT/datasets/<name>`.

    Args:
        name: the split's name.
        quiet: print nothing.
        verify: also recompute all hashes.

    Raises:
        DatasetError: the name is none, or the dataset was not materialized, or is damaged.
    """
    if not is_name(name):
        raise DatasetError(
            f"{name!r} is no name of a split; name one, such as 'train', or open a folder with "
            "PickledTrainerDataset"
        )
    folder = Layout.from_environment().dataset(name)
    if not folder.exists():
        raise DatasetError(
            f"split {name!r} has no dataset in {folder}; run `codedata materialize {name}`, or set "
            "CODEDATA_ROOT to the folder that holds it"
        )
    return PickledTrainerDataset([folder], quiet=quiet, verify=verify)
