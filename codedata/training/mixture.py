"""Datasets by weight -> one dataset, whose samples stand in the order in which they are trained on.

`format.mixing` says which sample stands where, `recipe.mixture` how many there are of each source,
and what is refused before a sample is read. All sources are read as one dataset of many folders
is, so that a mixture costs what one dataset costs.
"""

# PyTorch is partly without types.
# pyright: reportUnknownMemberType=false

import json
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from typing import Any

from codedata.errors import DatasetError, SettingsError
from codedata.format.mixing import MixedRows, MixedSource
from codedata.format.order import (
    BlockOrder,
    ComputedOrder,
    InOrder,
    Order,
    block_shards,
    judged_shuffle,
)
from codedata.recipe.mixture import (
    MixturePlan,
    SourcePlan,
    digest_of_plan,
    plan_of,
    whole_number,
)
from codedata.training.epoch_orders import Shuffle
from codedata.training.mixture_sources import (
    Rows,
    opened_sources,
    require_others,
    require_same_marks,
    rows_of,
)
from codedata.training.samples import StoredSamples

_KEY_DIGITS = 8
"""Of a source's digest, for what its order is drawn for: a number below 2**32."""


class Mixture(StoredSamples):
    """Samples of several datasets, by weight, each source gone through without repetition.

    A dataset as `PickledTrainerDataset` is one, in the order of training: do not shuffle it again,
    and go through it once. Source by source the counts follow the weights, never two samples off
    where a block of 4,096 ends, within which sources are shuffled. A source's samples come in a
    seeded order of their own, that of each of its epochs another, and none a second time before all
    came once. All that decides it are the sources' digests, weights and starts, `num_samples`,
    `seed` and `shuffle`: not ranks, workers, batch sizes, or where a source lies.

    A slice forward is a part of that order. Indices pick samples, which have no such order any
    more.

    Args:
        sources: mappings: `dataset` is a split's name, a folder, a URL, a PickledTrainerDataset or
            a part of one, or with `revision`, a branch, tag or commit, owner/name of a dataset on
            the hub; `weight` is more than 0, the weights having any sum; `max_epochs`, by
            default 1, is how often its samples may come; `start`, by default 0, is how many of its
            draws were done before, in a mixture of the same seed and shuffle (see `drawn`); `name`
            is for messages, by default the split's or the folder's.
        num_samples: of the mixture; by default as many as `max_epochs` of every source allows.
        seed: of what is shuffled.
        shuffle: whether sources, and the samples of each, are; "blocks" takes the samples of a
            source from 32 shards at a time, "blocks:8" from 8, for disks and object stores; False
            takes each source in its order, and sources at equal distances.
        mask_padding: whether the labels of padding are -100.
        stream: bring of sources at URLs and on the hub only the shards that are asked for; those
            that were opened before stay as they are.

    Attributes:
        plan: how many samples there are of each source.

    Raises:
        SettingsError: a source is not written as it has to be; or gives samples oftener than
            `max_epochs`; or two have one name.
        DatasetError: a source cannot be opened; two have the same samples; or they have other
            tokenizers or lengths of samples than the first, or documents that end, begin or are
            filled in by other tokens, or some have documents and others none;
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
        stream: bool = False,
    ) -> None:
        self._shuffle: Shuffle = judged_shuffle(shuffle)
        self._seed = whole_number(seed, "seed of a mixture")
        opened, shares = opened_sources(sources, stream=stream)
        self._digests = [each.digest for each in opened]
        require_others(opened, shares)
        self.plan: MixturePlan = plan_of(
            shares,
            [len(each) for each in opened],
            None if num_samples is None else whole_number(num_samples, "num_samples", least=1),
        )
        if why := self.plan.why_not:
            raise SettingsError(why)
        self._start([dataset for each in opened for dataset in each.datasets])
        require_same_marks(self.datasets)
        first, mixed = 0, list[MixedSource]()
        for each, share, digest in zip(opened, shares, self._digests, strict=True):
            mixed.append(
                MixedSource(
                    rows=_moved(rows_of(each), first),
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
                self._require_padding_known()
            except DatasetError as error:
                raise DatasetError(
                    f"{error}; or mix with mask_padding=False, and the loss counts its padding"
                ) from error
            self._masks_padding = True

    def _order_of(self, dataset: StoredSamples, name: str, digest: str) -> Callable[[int], Order]:
        """The order of each epoch of a source, the same in any mixture of the seed."""
        key = int(digest[:_KEY_DIGITS], 16)
        if not self._shuffle:
            return partial(_in_order, len(dataset))
        blocks = block_shards(self._shuffle)
        if not blocks:
            return partial(ComputedOrder, len(dataset), self._seed, key)
        ends = dataset.shard_ends()
        if ends is None:
            raise DatasetError(
                f"source {name!r} is a pick of single samples, which lie in no blocks; give the "
                "dataset or a slice of it, or shuffle=True"
            )
        return partial(BlockOrder, ends, self._seed, key, blocks=blocks)

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
    def provenance(self) -> list[dict[str, Any]]:
        """What a checkpoint records of each source, of JSON's types."""
        return [
            {
                "name": each.name,
                "digest": digest,
                "weight": str(each.weight),
                "start": each.start,
                "draws": each.draws,
                "epochs": round(each.epochs, 4),
            }
            for each, digest in zip(self.plan.sources, self._digests, strict=True)
        ]

    @property
    def in_order(self) -> bool:
        """Whether it stands in the order of training, so that nobody is to shuffle it."""
        return isinstance(self._rows, MixedRows) and self._rows.places.step > 0

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

    def _rows_of(self, indices: Sequence[int]) -> list[int]:
        rows, number = self._rows, len(indices)
        if number and isinstance(rows, MixedRows):
            start = indices[0]
            if [*indices] == [*range(start, start + number)]:
                found = rows.run(start, number)
                if found is not None:
                    return found
        return super()._rows_of(indices)

    def drawn(self, num_samples: int | None = None) -> dict[str, int]:
        """How many draws of each source are done, for the `start` of a next stage.

        Those that a slice passes over count as done.

        Args:
            num_samples: of this mixture that were trained on; by default all.

        Raises:
            SettingsError: there are not so many, or this is no part of the order of a mixture.
        """
        rows = self._rows
        if not isinstance(rows, MixedRows) or not self.in_order:
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


def _moved(rows: Rows, first: int) -> Rows:
    """The rows of a source, where those of others lie before them."""
    if isinstance(rows, range):
        return range(rows.start + first, rows.stop + first, rows.step)
    return rows + first


def _in_order(number: int, _epoch: int) -> Order:
    return InOrder(number)
