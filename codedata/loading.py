"""A name -> the published dataset or mixture, in plain Python without dagster."""

import os
from pathlib import Path

from codedata.layout import Layout, is_name
from codedata.places import local_path
from codedata.store.copies import published_place
from codedata.training.dataset import PickledTrainerDataset
from codedata.training.mixture import Mixture, mixture_of_yaml, published_mixture


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
