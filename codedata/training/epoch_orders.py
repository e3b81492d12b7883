"""A dataset, a seed and `shuffle` -> the order of each epoch, under a name that states keep.

    "feistel"   shuffle=True: computed, another in each epoch
    "blocks:N"  shuffle="blocks:N", or "blocks": N shards at a time, another in each epoch
    False       shuffle=False; and a dataset that brings its own order, which has one epoch
    True        what shuffle=True was before orders were computed: only states have it

A state's order is gone on with, whatever would be taken today, if the same was asked for. Its name
stands under `shuffle` in states, so that a codedata which does not know it refuses it.
"""

# PyTorch is partly without types.
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

import re
from collections.abc import Sized
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Subset

from codedata.errors import SettingsError
from codedata.format.order import (
    BlockOrder,
    ComputedOrder,
    InOrder,
    Order,
    StoredOrder,
    block_shards,
    judged_shuffle,
)
from codedata.training.identity import parts_of
from codedata.training.shortcuts import shortcut

Shuffle = bool | str
"""True, False, "blocks" or "blocks:N"."""


class EpochOrders:
    """The orders of a dataset's epochs.

    Args:
        dataset: one with an attribute `in_order` that is True brings its own order, and is gone
            through once; so is what torch's ConcatDataset makes of such.
        seed: 0 or more.
        shuffle: True, False, "blocks" or "blocks:N", for which the dataset must know where its
            shards end.

    Raises:
        SettingsError: shuffle is none of these, or not for this dataset, or for a part of it only.
    """

    def __init__(self, dataset: Sized, *, seed: int, shuffle: Shuffle) -> None:
        self._asked, self._is_any_number = judged_shuffle(shuffle), shuffle == "blocks"
        self._seed, self._num_samples = seed, len(dataset)
        parts = [*parts_of(dataset)]
        own = [part for part in parts if getattr(part, "in_order", None) is True]
        self._own = own[0] if own else None
        if self._asked is True and 0 < len(own) < len(parts):
            raise SettingsError(
                f"a {type(self._own).__name__} in this {type(dataset).__name__} brings its own "
                "order, which shuffle=True would end, and other parts have none; give "
                "shuffle=False, and they come one after the other, or make one mixture of them all"
            )
        self._ends: NDArray[np.int64] | None = None
        self._made: tuple[str | bool, int, Order] | None = None  # the last, of a name and an epoch
        self.name: str | bool = "feistel" if self._asked and self._own is None else False
        if blocks := block_shards(self._asked):
            self.name, self._ends = f"blocks:{blocks}", self._ends_of_blocks(dataset)

    def _ends_of_blocks(self, dataset: Sized) -> NDArray[np.int64]:
        if self._own is not None:
            raise SettingsError(
                f"a {type(self._own).__name__} brings its own order, so a loader's "
                "shuffle='blocks' has no say; give it to the dataset, and leave it out here"
            )
        ends = shard_ends(dataset)
        if ends is None:
            raise SettingsError(
                f"shuffle='blocks' goes by shards, and this {type(dataset).__name__} does not say "
                "where they end: give a dataset of codedata, a slice of step 1 of one, or torch's "
                "ConcatDataset of such; or a class of yours a method shard_ends; or shuffle=True"
            )
        return ends

    def is_done(self, epoch: int) -> bool:
        """Whether the dataset brings its own order, and has no such epoch."""
        return self._own is not None and epoch > 0

    def of_epoch(self, epoch: int) -> Order:
        """The order of the samples in an epoch.

        Raises:
            SettingsError: the dataset brings its own order, and the epoch is not the first.
        """
        if self.is_done(epoch):
            raise SettingsError(
                f"epoch {epoch} of a {type(self._own).__name__}: it is gone through once, in its "
                f"own order, and its {self._num_samples} samples are done; make one of more "
                "num_samples"
            )
        if self._made is None or self._made[:2] != (self.name, epoch):
            self._made = (self.name, epoch, self._make(epoch))
        return self._made[2]

    def _make(self, epoch: int) -> Order:
        if self.name is False:
            return InOrder(self._num_samples)
        if self.name is True:
            return StoredOrder(self._num_samples, self._seed, epoch)
        if self._ends is None:
            return ComputedOrder(self._num_samples, self._seed, epoch)
        return BlockOrder(self._ends, self._seed, epoch, blocks=block_shards(self.name))

    @property
    def shuffle(self) -> Shuffle:
        """What was asked for, and of blocks the number that a state has which is gone on with."""
        return self._asked if self._ends is None else judged_shuffle(self.name)

    def was_asked_for(self, name: Any) -> bool:
        """Whether the order that a state names is one of those that `shuffle` means."""
        if self._ends is None:
            return name is False if self.name is False else name is True or name == "feistel"
        if not self._is_any_number:
            return name == f"blocks:{block_shards(self._asked)}"
        return isinstance(name, str) and bool(re.fullmatch("blocks:[1-9][0-9]*", name))

    def resume(self, name: Any) -> None:
        """Go on with the order that a state names, one that was asked for."""
        self.name = name


def shard_ends(dataset: Any) -> NDArray[np.int64] | None:
    """After which number of its samples each shard of a dataset ends; None where it is not known.

    Known of what has a method `shard_ends`, of torch's ConcatDataset of such, and of a Subset whose
    indices are consecutive. Not of what has that from elsewhere, and a length of its own.
    """
    if type(dataset) is ConcatDataset:
        parts = cast("list[Any]", dataset.datasets)
        known = [ends for ends in map(shard_ends, parts) if ends is not None]
        if len(known) < len(parts):
            return None
        starts = np.cumsum([0, *map(len, parts)])
        return np.concatenate([start + ends for start, ends in zip(starts, known, strict=False)])
    if type(dataset) is Subset:
        indices, ends = np.asarray(dataset.indices), shard_ends(dataset.dataset)
        if ends is None or indices.ndim != 1:
            return None
        indices = indices % len(cast("Sized", dataset.dataset))  # negative ones count from its end
        if not (np.diff(indices) == 1).all():
            return None
        return np.clip(ends - (indices[0] if len(indices) else 0), 0, len(indices))
    own = shortcut(dataset, "shard_ends", "__len__")
    return cast("NDArray[np.int64] | None", own()) if callable(own) else None
