"""Datasets by weight -> one dataset, whose samples stand in the order in which they are trained on.

`format.mixing` says which sample stands where, `recipe.mixture` how many there are of each source,
and what is refused before a sample is read. All sources are read as one dataset of many folders
is, so that a mixture costs what one dataset costs.
"""

# PyTorch is partly without types.
# pyright: reportUnknownMemberType=false

import json
import os
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
import yaml
from numpy.typing import NDArray

from codedata.errors import CodedataError, DatasetError, SettingsError
from codedata.format.mixing import MixedRows, MixedSource
from codedata.format.order import BlockOrder, ComputedOrder, InOrder, Order
from codedata.layout import Layout, is_name
from codedata.printable import shortened
from codedata.recipe.mixture import (
    MixturePlan,
    SourcePlan,
    SourceShare,
    digest_of_plan,
    fields_of_source,
    plan_of,
    share_of,
    whole_number,
)
from codedata.store.copies import place_of, published_place
from codedata.store.mixtures import mixture_of
from codedata.training.dataset import PickledTrainerDataset

Shuffle = bool | Literal["blocks"]
Rows = range | NDArray[np.int64]

_YAML_FIELDS = ("sources", "num_samples", "seed", "shuffle")

_DIGEST_BITS = 63
"""Of a source's digest, for the seed of its order: a number of int64."""


class Mixture(PickledTrainerDataset):
    """Samples of several datasets, by weight, each source gone through without repetition.

    A dataset as `PickledTrainerDataset` is, in the order of training: do not shuffle it again, and
    go through it once. Source by source the counts follow the weights, never two samples off where
    a block of 4,096 ends, within which sources are shuffled. A source's samples come in a seeded
    order of their own, that of each of its epochs another, and none a second time before all came
    once. All that decides it are the sources' digests, weights and starts, `num_samples`, `seed`
    and `shuffle`: not ranks, workers or batch sizes.

    A slice is a part of that order. Indices pick samples, which have no such order any more.

    Args:
        sources: mappings: `dataset` is a split's name, a folder, a URL, or a PickledTrainerDataset
            or a part of one; `weight` is more than 0, the weights having any sum; `max_epochs`, by
            default 1, is how often its samples may come; `start`, by default 0, is how many of its
            draws were done before, in a mixture of the same seed and shuffle (see `drawn`); `name`
            is for messages, by default the split's or the folder's.
        num_samples: of the mixture; by default as many as `max_epochs` of every source allows.
        seed: of what is shuffled.
        shuffle: whether sources, and the samples of each, are; "blocks" takes the samples of a
            source from a few shards at a time, for disks and object stores; False takes each
            source in its order, and sources at equal distances.
        mask_padding: whether the labels of padding are -100.

    Attributes:
        plan: how many samples there are of each source.

    Raises:
        SettingsError: a source is not written as it has to be; or gives samples oftener than
            `max_epochs`; or two have one name.
        DatasetError: a source cannot be opened; two have the same samples; or they have other
            tokenizers or lengths of samples than the first, or some have documents and others none;
            or a source does not say where its padding is, and it is to be masked.
    """

    def __init__(
        self,
        sources: Sequence[Mapping[str, Any]],
        *,
        num_samples: int | None = None,
        seed: int = 0,
        shuffle: Shuffle = True,
        mask_padding: bool = True,
    ) -> None:
        if shuffle not in (True, False, "blocks"):
            raise SettingsError(f"shuffle is {shuffle!r}; write True, False or 'blocks'")
        self._shuffle: Shuffle = shuffle if shuffle == "blocks" else bool(shuffle)
        self._seed = whole_number(seed, "seed of a mixture")
        opened, shares = _opened(sources)
        self._digests = [each.digest for each in opened]
        _require_others(opened, shares)
        self.plan: MixturePlan = plan_of(
            shares,
            [len(each) for each in opened],
            None if num_samples is None else whole_number(num_samples, "num_samples", least=1),
        )
        if why := self.plan.why_not:
            raise SettingsError(why)
        self._adopt([dataset for each in opened for dataset in each.datasets])
        self._masks_padding = False
        first, mixed = 0, list[MixedSource]()
        for each, share, digest in zip(opened, shares, self._digests, strict=True):
            rows = each._rows  # noqa: SLF001  (of its own class)
            mixed.append(
                MixedSource(
                    rows=_moved(rows, first),
                    order=self._order_of(each, share.name, digest),
                    start=share.start,
                )
            )
            first += len(each._reader)  # noqa: SLF001
        self._rows = MixedRows(
            mixed,
            self.plan.shares,
            num_samples=self.plan.num_samples,
            seed=self._seed,
            shuffle=bool(self._shuffle),
        )
        if mask_padding:
            try:
                self.__dict__ = self.with_padding_masked().__dict__
            except DatasetError as error:
                raise DatasetError(
                    f"{error}; or mix with mask_padding=False, and the loss counts its padding"
                ) from error

    def _order_of(
        self, dataset: PickledTrainerDataset, name: str, digest: str
    ) -> Callable[[int], Order]:
        """The order of each epoch of a source, the same in any mixture of the seed."""
        key = int(digest, 16) >> (4 * len(digest) - _DIGEST_BITS)
        if not self._shuffle:
            return partial(_in_order, len(dataset))
        if self._shuffle != "blocks":
            return partial(ComputedOrder, len(dataset), self._seed, key)
        ends = dataset.shard_ends()
        if ends is None:
            raise DatasetError(
                f"source {name!r} is a pick of single samples, which lie in no blocks; give the "
                "dataset or a slice of it, or shuffle=True"
            )
        return partial(BlockOrder, ends, self._seed, key)

    def __repr__(self) -> str:
        sources = "; ".join(each.shown for each in self.plan.sources)
        part = "" if len(self) == self.plan.num_samples else f"{len(self):,} of "
        return (
            f"Mixture({part}{self.plan.num_samples:,} samples of {self.seq_length:,} tokens: "
            f"{sources})"
        )

    @property
    def sources(self) -> tuple[SourcePlan, ...]:
        """What is drawn of each source, of the whole mixture."""
        return self.plan.sources

    @property
    def in_order(self) -> bool:
        """Whether it stands in the order of training, so that nobody is to shuffle it."""
        return isinstance(self._rows, MixedRows)

    @property
    def digest(self) -> str:
        """Equal only for the same samples in the same order.

        Of sources, weights, starts, `num_samples`, `seed` and `shuffle`; of a slice, of that and
        the places as `[digest, [first, number, step]]`, as JSON.
        """
        if not isinstance(self._rows, MixedRows):
            return super().digest
        digest = digest_of_plan(self.plan, self._digests, seed=self._seed, shuffle=self._shuffle)
        if self._rows.is_whole:
            return digest
        places = self._rows.places
        part = [places.start, len(places), places.step if len(places) > 1 else 1]
        return sha256(json.dumps([digest, part]).encode()).hexdigest()

    def drawn(self, num_samples: int | None = None) -> dict[str, int]:
        """How many draws of each source are done, for the `start` of a next stage.

        Args:
            num_samples: of this mixture that were trained on; by default all.

        Raises:
            SettingsError: there are not so many, or this is no part of the order of a mixture.
        """
        rows = self._rows
        if not isinstance(rows, MixedRows) or rows.places.step != 1:
            raise SettingsError(
                "samples that were picked of a mixture are no part of its order; ask the mixture, "
                "or a slice of it"
            )
        number = len(rows) if num_samples is None else whole_number(num_samples, "num_samples")
        if number > len(rows):
            raise SettingsError(
                f"num_samples is {number}, but the mixture has {len(rows)}; give that at most"
            )
        names = (each.name for each in self.plan.sources)
        return dict(zip(names, rows.drawn(number), strict=True))


def published_mixture(layout: Layout, name: str, *, mask_padding: bool = True) -> Mixture:
    """The mixture that was materialized under a name.

    Raises:
        DatasetError: there is none, or a source is another dataset by now; see `Mixture`, too.
        SettingsError: the name is none.
    """
    record = mixture_of(layout, name)
    sources: list[dict[str, Any]] = []
    for each, digest in zip(record.plan.sources, record.digests, strict=True):
        dataset = PickledTrainerDataset(place_of(layout, each.name), quiet=True)
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
        shuffle=cast("Shuffle", record.shuffle),
        mask_padding=mask_padding,
    )


def mixture_of_yaml(path: Path, *, mask_padding: bool = True) -> Mixture:
    """The mixture that a YAML describes: `sources`, and what else `Mixture` takes, by its names.

    Raises:
        SettingsError: it cannot be read, or something in it does not fit.
        DatasetError: see `Mixture`.
    """
    try:
        said = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        raise SettingsError(f"{path} is no YAML of a mixture that can be read: {error}") from error
    fields: Mapping[str, Any] = said if isinstance(said, Mapping) else {}
    unknown = next((name for name in fields if name not in _YAML_FIELDS), None)
    if "sources" not in fields or unknown is not None:
        what = f"has {unknown!r}" if unknown is not None else "has no sources"
        raise SettingsError(
            f"{path} {what}; a mixture's YAML has sources, a list of {{dataset: ..., weight: "
            "...}, and may have num_samples, seed and shuffle"
        )
    try:
        return Mixture(**fields, mask_padding=mask_padding)
    except CodedataError as error:
        raise type(error)(f"{path}: {error}") from None


def _opened(
    sources: Sequence[Mapping[str, Any]],
) -> tuple[list[PickledTrainerDataset], list[SourceShare]]:
    """The datasets of sources, once all that users wrote of them was judged."""
    is_list = isinstance(sources, Sequence) and not isinstance(sources, str | bytes)
    if not is_list:
        raise SettingsError(
            f"sources of a mixture are {shortened(repr(sources))}; write a list of "
            "{dataset: ..., weight: ...}"
        )
    named: list[tuple[Any, SourceShare]] = []
    for number, source in enumerate(sources, 1):
        what = f"source {number} of the mixture"
        dataset = fields_of_source(source, what)["dataset"]
        named.append((dataset, share_of(source, what, _name_of(dataset))))
    return [_open(each) for each, _ in named], [share for _, share in named]


def _open(dataset: Any) -> PickledTrainerDataset:
    if isinstance(dataset, PickledTrainerDataset):
        if getattr(dataset, "in_order", False):
            raise DatasetError(
                "a source of a mixture is a mixture; give its sources, with weights of the whole"
            )
        return dataset
    place = published_place(dataset) if is_name(dataset) else dataset
    return PickledTrainerDataset(place, quiet=True)


def _name_of(dataset: Any) -> str:
    """What messages call a source."""
    if isinstance(dataset, PickledTrainerDataset):
        return Path(dataset.datasets[0].where).name
    return Path(os.fspath(dataset)).name if isinstance(dataset, str | os.PathLike) else ""


def _require_others(opened: Sequence[PickledTrainerDataset], shares: Sequence[SourceShare]) -> None:
    """Refuse sources that have a sample in common, whatever folder it lies in."""
    known = dict[str, list[tuple[Rows, str]]]()
    for source, share in zip(opened, shares, strict=True):
        first, rows = 0, source._rows  # noqa: SLF001  (of its own class)
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


def _moved(rows: Rows, first: int) -> Rows:
    """The rows of a source, where those of others lie before them."""
    if isinstance(rows, range):
        return range(rows.start + first, rows.stop + first, rows.step)
    return rows + first


def _in_order(number: int, _epoch: int) -> Order:
    return InOrder(number)
