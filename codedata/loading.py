"""What users name -> the dataset or mixture, opened, in plain Python without dagster."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, cast

import yaml

from codedata.errors import CodedataError, DatasetError, SettingsError
from codedata.layout import Layout, is_name
from codedata.places import local_path
from codedata.printable import shortened
from codedata.store.copies import place_of
from codedata.store.mixtures import mixture_of
from codedata.training.dataset import PickledTrainerDataset
from codedata.training.mixture import Mixture
from codedata.training.named import open_named, require_named

_YAML_FIELDS = ("sources", "num_samples", "seed", "shuffle")


def load_dataset(
    name: str | os.PathLike[str],
    revision: str | None = None,
    *,
    mask_padding: bool = True,
    quiet: bool = True,
    verify: bool = False,
    stream: bool = False,
) -> PickledTrainerDataset:
    """Open a dataset to train on, wherever it lies.

    Args:
        name: a split, `$CODEDATA_ROOT/datasets/<name>`; a folder; a URL, of which there will be a
            copy in the cache; or a repository of the hub, `owner/name`, with its revision.
        revision: of the hub: branch, tag or commit; only a commit is the same samples for ever.
        mask_padding: have labels of -100 where samples are padded, so that no loss counts it; else
            labels are the input ids, as the reference script has them.
        quiet: print nothing.
        verify: also recompute all hashes.
        stream: bring of a dataset at a URL only what is asked for, and no copy of it all.

    Raises:
        DatasetError: the dataset was not materialized, is not there, is damaged, or does not say
            where its padding is.
        SettingsError: the name or the revision is none.
    """
    require_named(name, revision, "the dataset to load")
    dataset = open_named(name, revision, quiet=quiet, verify=verify, stream=stream)
    return with_labels(dataset, mask_padding=mask_padding)


def with_labels(dataset: PickledTrainerDataset, *, mask_padding: bool) -> PickledTrainerDataset:
    """A dataset with its padding masked, or as it is; errors as above."""
    if not mask_padding:
        return dataset
    try:
        return dataset.with_padding_masked()
    except DatasetError as error:
        raise DatasetError(
            f"{error}; or load it with mask_padding=False, and the loss counts its padding"
        ) from error


def load_mixture(
    mixture: str | os.PathLike[str], *, mask_padding: bool = True, stream: bool = False
) -> Mixture:
    """Open a mixture that was materialized, `$CODEDATA_ROOT/mixtures/<name>.json`, or a YAML's.

    Args:
        mixture: its name; or the path of a YAML with `sources`, and `num_samples`, `seed` and
            `shuffle` as `Mixture` takes them.
        mask_padding: have labels of -100 where samples are padded, so that no loss counts it.
        stream: bring of datasets at URLs only what is asked for, and no copies of them.

    Raises:
        DatasetError: it was not materialized, or one of its datasets is another by now, or cannot
            be opened or mixed; see `Mixture`.
        SettingsError: it is neither, or the YAML does not say what a mixture is.
    """
    if not isinstance(cast("object", mixture), str | os.PathLike) or mixture == "":
        remedy = {dict: "Mixture(**it)", list: "Mixture(it)"}.get(type(cast("Any", mixture)))
        raise SettingsError(
            f"the mixture to load is {shortened(repr(mixture))}; give its name, or the path of its "
            f"YAML{f', or write codedata.{remedy}' if remedy else ''}"
        )
    if isinstance(mixture, str) and is_name(mixture):
        layout = Layout.from_environment()
        return published_mixture(layout, mixture, mask_padding=mask_padding, stream=stream)
    path: Path = local_path(mixture, "the YAML of a mixture")
    return _mixture_of_yaml(path, mask_padding=mask_padding, stream=stream)


def published_mixture(
    layout: Layout, name: str, *, mask_padding: bool = True, stream: bool = False
) -> Mixture:
    """The mixture that was materialized under a name.

    Raises:
        DatasetError: there is none, or a source is another dataset by now; see `Mixture`, too.
        SettingsError: the name is none.
    """
    record = mixture_of(layout, name)
    sources: list[dict[str, Any]] = []
    for each, digest in zip(record.plan.sources, record.digests, strict=True):
        dataset = PickledTrainerDataset(place_of(layout, each.name), quiet=True, stream=stream)
        if dataset.digest != digest:
            raise DatasetError(
                f"mixture {name!r} was made of split {each.name!r} with digest {digest}, which is "
                f"another by now ({dataset.digest}); run `codedata materialize {name}` to mix what "
                "is there"
            )
        sources.append(
            {
                "dataset": dataset,
                "weight": each.weight,
                "max_epochs": each.max_epochs,
                "start": each.start,
                "name": each.name,
            }
        )
    return Mixture(
        sources,
        num_samples=record.plan.num_samples,
        seed=record.seed,
        shuffle=record.shuffle,
        mask_padding=mask_padding,
    )


def _mixture_of_yaml(path: Path, *, mask_padding: bool, stream: bool) -> Mixture:
    """The mixture that a YAML describes: `sources`, and what else `Mixture` takes, by its names.

    Raises:
        SettingsError: it cannot be read, or something in it does not fit.
        DatasetError: see `Mixture`.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark
        line = "" if mark is None else f":{mark.line + 1}"
        raise SettingsError(f"{path}{line}: {error.problem}; correct the YAML") from error
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        why = error.strerror if isinstance(error, OSError) else " ".join(str(error).split())
        raise SettingsError(f"{path} is no YAML of a mixture that can be read: {why}") from error
    fields: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    unknown = next((name for name in fields if name not in _YAML_FIELDS), None)
    if "sources" not in fields or unknown is not None:
        what = f"has {unknown!r}" if unknown is not None else "has no sources"
        raise SettingsError(
            f"{path} {what}; a mixture's YAML has sources, a list of {{dataset: ..., weight: "
            "...}, and may have num_samples, seed and shuffle"
        )
    try:
        return Mixture(**fields, mask_padding=mask_padding, stream=stream)
    except CodedataError as error:
        raise type(error)(f"{path}: {error}") from None
