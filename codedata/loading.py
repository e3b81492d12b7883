"""A split's name -> its published dataset, in plain Python without dagster."""

from pathlib import Path

from codedata.errors import DatasetError
from codedata.layout import Layout, is_name
from codedata.store.copies import place_of
from codedata.training.dataset import PickledTrainerDataset


def load_dataset(
    name: str, *, mask_padding: bool = True, quiet: bool = True, verify: bool = False
) -> PickledTrainerDataset:
    """Open the dataset of a split, `$CODEDATA_ROOT/datasets/<name>`; of a URL, a copy of it.

    Args:
        name: the split's name.
        mask_padding: have labels of -100 where samples are padded, so that no loss counts it; else
            labels are the input ids, as the reference script has them.
        quiet: print nothing.
        verify: also recompute all hashes.

    Raises:
        DatasetError: the name is none, or the dataset was not materialized, is damaged, or does not
            say where its padding is.
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
    return open_for_training(place, mask_padding=mask_padding, quiet=quiet, verify=verify)


def open_for_training(
    place: Path | str, *, mask_padding: bool, quiet: bool = True, verify: bool = False
) -> PickledTrainerDataset:
    """Open a dataset folder, or what is published at a URL; arguments and errors as above."""
    dataset = PickledTrainerDataset([place], quiet=quiet, verify=verify)
    if not mask_padding:
        return dataset
    try:
        return dataset.with_padding_masked()
    except DatasetError as error:
        raise DatasetError(
            f"{error}; or load it with mask_padding=False, and the loss counts its padding"
        ) from error
