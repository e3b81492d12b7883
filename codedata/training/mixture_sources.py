"""What users name as the sources of a mixture -> opened datasets that have no sample in common."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError, SettingsError
from codedata.format.mixing import MixedRows
from codedata.printable import shortened
from codedata.recipe.marks import MARKS, differing, marks_of
from codedata.recipe.mixture import SOURCE_FIELDS, SourceShare, fields_of_source, share_of
from codedata.store.dataset_folder import Dataset
from codedata.training.named import open_named, require_named
from codedata.training.samples import StoredSamples
from codedata.training.shortcuts import shortcut

Rows = range | NDArray[np.int64]


def opened_sources(sources: Any, *, stream: bool) -> tuple[list[StoredSamples], list[SourceShare]]:
    """The datasets of sources, once all that users wrote of them was judged."""
    if not isinstance(sources, list | tuple):
        raise SettingsError(
            f"sources of a mixture are {shortened(repr(sources))}; write a list of "
            "{dataset: ..., weight: ...}"
        )
    named: list[tuple[Any, Any, SourceShare]] = []
    for number, source in enumerate(cast("Sequence[object]", sources), 1):
        what = f"source {number} of the mixture"
        fields = fields_of_source(source, what)
        dataset, revision = fields["dataset"], fields.get("revision")
        share = share_of(source, what, _name_of(dataset))
        _require_dataset(dataset, revision, f"source {share.name or number!r} of the mixture")
        named.append((dataset, revision, share))
    opened = [_open(dataset, revision, stream=stream) for dataset, revision, _ in named]
    return opened, [share for *_, share in named]


def _require_dataset(dataset: Any, revision: object, what: str) -> None:
    """Refuse what is no dataset, nor names one."""
    if not isinstance(dataset, str | os.PathLike | StoredSamples):
        raise SettingsError(
            f"dataset of {what} is {shortened(repr(dataset))}; give a {SOURCE_FIELDS['dataset']}; "
            "a part of one is dataset[indices], no Subset of torch's"
        )
    if revision is not None or not isinstance(dataset, StoredSamples):
        require_named(dataset, revision, what)


def _open(dataset: Any, revision: str | None, *, stream: bool) -> StoredSamples:
    if isinstance(dataset, StoredSamples):
        if isinstance(_rows(dataset), MixedRows):
            raise DatasetError(
                "a source of a mixture is a mixture; give its sources, with weights of the whole"
            )
        if not shortcut(dataset, "storing", "__getitem__", "__getitems__", "__len__"):
            raise DatasetError(
                f"a source of a mixture is a {type(dataset).__name__}, which gives other samples "
                "than are stored, and a mixture reads what is stored; change the samples in a "
                "collate_fn, or in a subclass of Mixture"
            )
        return dataset
    return open_named(dataset, revision, stream=stream)


def _name_of(dataset: Any) -> str:
    """What messages call a source."""
    if isinstance(dataset, StoredSamples):
        return Path(dataset.datasets[0].where).name
    return Path(os.fspath(dataset)).name if isinstance(dataset, str | os.PathLike) else ""


def require_others(opened: Sequence[StoredSamples], shares: Sequence[SourceShare]) -> None:
    """Refuse sources with a sample in common, whatever folder it lies in, or with one twice."""
    known = dict[str, list[tuple[Rows, str]]]()
    for source, share in zip(opened, shares, strict=True):
        first, rows = 0, rows_of(source)
        if isinstance(rows, np.ndarray) and len(np.unique(rows)) < len(rows):
            raise DatasetError(
                f"source {share.name!r} of the mixture has samples more than once; pick each once, "
                "and give max_epochs if they shall come again"
            )
        for dataset in source.datasets:
            own = _between(rows, first, first + dataset.num_samples)
            first += dataset.num_samples
            for theirs, name in known.setdefault(dataset.content_digest, []):
                if _have_common(own, theirs):
                    raise DatasetError(
                        f"sources {name!r} and {share.name!r} of the mixture have the same samples "
                        f"of {dataset.where}, which would come again without a word; name one, "
                        "with the sum of their weights, and max_epochs if they shall come again"
                    )
            known[dataset.content_digest].append((own, share.name))


def require_same_marks(datasets: Sequence[Dataset]) -> None:
    """Refuse datasets whose recipes have documents end, begin or be filled in by other tokens."""
    if len(datasets) == 1:  # whose facts need not be read
        return
    names, marks = [each.where for each in datasets], [marks_of(each.facts) for each in datasets]
    if said := [line for w in MARKS for line in differing(names, w, [each[w] for each in marks])]:
        raise DatasetError(
            f"{'; '.join(said)}: a model would learn both; leave one out, or make one again with "
            "the other's recipe"
        )


def rows_of(dataset: StoredSamples) -> Rows:
    """Which samples of its folders a source is."""
    rows = _rows(dataset)
    assert not isinstance(rows, MixedRows), "no mixture is a source"
    return rows


def _rows(dataset: StoredSamples) -> Rows | MixedRows:
    return dataset._rows  # noqa: SLF001  # pyright: ignore[reportPrivateUsage]


def _between(rows: Rows, first: int, stop: int) -> Rows:
    """Those of some rows that are of one dataset, numbered in it."""
    if isinstance(rows, range) and rows.step == 1:
        return range(max(rows.start, first) - first, min(rows.stop, stop) - first)
    numbers = _as_array(rows)
    return numbers[(numbers >= first) & (numbers < stop)] - first


def _have_common(one: Rows, other: Rows) -> bool:
    if isinstance(one, range) and isinstance(other, range):
        return max(one.start, other.start) < min(one.stop, other.stop)
    return bool(np.isin(_as_array(one), _as_array(other)).any())


def _as_array(rows: Rows) -> NDArray[np.int64]:
    if isinstance(rows, range):
        return np.arange(rows.start, rows.stop, rows.step, dtype=np.int64)
    return rows
