"""A name -> the published dataset or mixture, in plain Python without dagster."""

import os
from pathlib import Path

from codedata.errors import DatasetError
from codedata.layout import Layout, is_name
from codedata.places import local_path
from codedata.store.copies import published_place
from codedata.training.dataset import PickledTrainerDataset
from codedata.training.mixture import Mixture, mixture_of_yaml, published_mixture


def load_dataset(
    name: str,
    *,
    mask_padding: bool = True,
    quiet: bool = True,
    verify: bool = False,
    stream: bool = False,
) -> PickledTrainerDataset:
    """Open the dataset of a split, `$CODEDATA_ROOT/datasets/<name>`; of a URL, a copy of it.

    Args:
        name: the split's name.
        mask_padding: have labels of -100 where samples are padded, so that no loss counts it; else
            labels are the input ids, as the reference script has them.
        quiet: print nothing.
        verify: also recompute all hashes.
        stream: bring of a dataset at a URL only what is asked for, and no copy of it all.

    Raises:
        DatasetError: the name is none, or the dataset was not materialized, is damaged, or does not
            say where its padding is.
    """
    return open_for_training(
        published_place(name),
        mask_padding=mask_padding,
        quiet=quiet,
        verify=verify,
        stream=stream,
    )


def open_for_training(
    place: Path | str,
    *,
    mask_padding: bool,
    quiet: bool = True,
    verify: bool = False,
    stream: bool = False,
) -> PickledTrainerDataset:
    """Open a dataset folder, or what is published at a URL; arguments and errors as above."""
    dataset = PickledTrainerDataset([place], quiet=quiet, verify=verify, stream=stream)
    if not mask_padding:
        return dataset
    try:
        return dataset.with_padding_masked()
    except DatasetError as error:
        raise DatasetError(
            f"{error}; or load it with mask_padding=False, and the loss counts its padding"
        ) from error


def load_mixture(mixture: str | os.PathLike[str], *, mask_padding: bool = True) -> Mixture:
    """Open a mixture that was materialized, `$CODEDATA_ROOT/mixtures/<name>.json`, or a YAML's.

    Args:
        mixture: its name; or the path of a YAML with `sources`, and `num_samples`, `seed` and
            `shuffle` as `Mixture` takes them.
        mask_padding: have labels of -100 where samples are padded, so that no loss counts it.

    Raises:
        DatasetError: it was not materialized, or one of its datasets is another by now, or cannot
            be opened or mixed; see `Mixture`.
        SettingsError: the YAML does not say what a mixture is.
    """
    if isinstance(mixture, str) and is_name(mixture):
        layout = Layout.from_environment()
        return published_mixture(layout, mixture, mask_padding=mask_padding)
    path: Path = local_path(mixture, "the YAML of a mixture")
    return mixture_of_yaml(path, mask_padding=mask_padding)
