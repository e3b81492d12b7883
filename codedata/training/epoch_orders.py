"""A dataset, a seed and `shuffle` -> the order of each epoch, under a name that states keep.

    feistel   shuffle=True: computed, another in each epoch
    blocks:N  shuffle="blocks": N shards at a time, another in each epoch
    in_order  shuffle=False; and a dataset that brings its own order, which has one epoch
    keys      what shuffle=True was before orders were computed: a state that says nothing is of it

A state's order is gone on with, whatever would be taken today, as long as `shuffle` is the same.
"""

# PyTorch is partly without types.
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

import re
from collections.abc import Mapping, Sized
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Subset

from codedata.errors import SettingsError
from codedata.format.order import (
    BLOCK_SHARDS,
    BlockOrder,
    ComputedOrder,
    InOrder,
    Order,
    StoredOrder,
)
from codedata.training.identity import parts_of

Shuffle = bool | Literal["blocks"]


class EpochOrders:
    """The orders of a dataset's epochs.

    Args:
        dataset: one with an attribute `in_order` that is True brings its own order, and is gone
            through once.
        seed: 0 or more.
        shuffle: True, False or "blocks", for which the dataset must know where its shards end.

    Raises:
        SettingsError: shuffle is none of these, or not for this dataset.
    """

    def __init__(self, dataset: Sized, *, seed: int, shuffle: Shuffle) -> None:
        if isinstance(shuffle, str) and shuffle != "blocks":
            raise SettingsError(f"shuffle must be True, False or 'blocks', not {shuffle!r}")
        self._seed, self._num_samples = seed, len(dataset)
        own = (part for part in parts_of(dataset) if getattr(part, "in_order", None) is True)
        self._own = next(own, None)
        self._ends: NDArray[np.int64] | None = None
        self._made: tuple[str, int, Order] | None = None  # the last one, of a name and an epoch
        if shuffle == "blocks":
            self.name = f"blocks:{BLOCK_SHARDS}"
            self._ends = self._ends_of_blocks(dataset)
        else:
            self.name = "feistel" if shuffle and self._own is None else "in_order"

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
                "ConcatDataset of such; or shuffle=True"
            )
        return ends

    def of_epoch(self, epoch: int) -> Order:
        """The order of the samples in an epoch.

        Raises:
            SettingsError: the dataset brings its own order, and the epoch is not the first.
        """
        if self._own is not None and epoch > 0:
            raise SettingsError(
                f"epoch {epoch} of a {type(self._own).__name__}: it is gone through once, in its "
                f"own order, and its {self._num_samples} samples are done; make one of more samples"
            )
        if self._made is None or self._made[:2] != (self.name, epoch):
            self._made = (self.name, epoch, self._make(epoch))
        return self._made[2]

    def _make(self, epoch: int) -> Order:
        if self.name == "feistel":
            return ComputedOrder(self._num_samples, self._seed, epoch)
        if self.name == "keys":
            return StoredOrder(self._num_samples, self._seed, epoch)
        if self._ends is None:
            return InOrder(self._num_samples)
        blocks = int(self.name.removeprefix("blocks:"))
        return BlockOrder(self._ends, self._seed, epoch, blocks=blocks)

    def resume(self, state: Mapping[str, Any]) -> None:
        """Go on with the order of a state that was taken with the same `shuffle`.

        Raises:
            SettingsError: it is of no order that this `shuffle` ever was.
        """
        is_drawn = self.name in ("feistel", "keys")
        name = state.get("order", "keys" if is_drawn else self.name)
        kind = "feistel|keys" if is_drawn else re.sub(r"\d+", "[1-9][0-9]*", self.name)
        if not re.fullmatch(kind, str(name)):
            raise SettingsError(
                f"the state is of order {name!r}, but this sampler has {self.name!r}: give what "
                "the state was taken with, or take the codedata that saved it"
            )
        self.name = name


def shard_ends(dataset: Any) -> NDArray[np.int64] | None:
    """After which number of its samples each shard of a dataset ends; None where it is not known.

    Known of what has a method `shard_ends`, of torch's ConcatDataset of such, and of a Subset whose
    indices are consecutive.
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
        if ends is None or indices.ndim != 1 or not (np.diff(indices) == 1).all():
            return None
        return np.clip(ends - (indices[0] if len(indices) else 0), 0, len(indices))
    own = getattr(dataset, "shard_ends", None)
    return cast("NDArray[np.int64] | None", own()) if callable(own) else None
