"""Dataset -> each rank's batches: global batches whose samples no number of ranks changes.

    order     of epoch e: a permutation of all samples, from seed and epoch (epoch_orders.py)
    global    batch k of an epoch: order[k * global_batch_size : (k + 1) * global_batch_size]
    share     of rank r: the r-th of world_size equal, consecutive parts of a global batch
    batch     what is loaded at once: the share, or micro_batch_size samples of it at a time

A position in training is an epoch and how many of its samples are done. It holds on any number of
ranks and workers, and for another global_batch_size from there on. Of an order this rank's part is
worked out some thousand samples at a time; nothing is as long as an epoch.
"""

import os
from collections.abc import Iterator, Mapping, Sized
from functools import cached_property
from itertools import chain
from typing import Any

import numpy as np
from torch.utils.data import Sampler

from codedata.errors import SettingsError
from codedata.format.order import Order
from codedata.parallel import processes_here
from codedata.recipe.mixture import whole_number
from codedata.training.epoch_orders import EpochOrders, Shuffle
from codedata.training.identity import digest_of, masks_padding, without_digest
from codedata.training.positions import Position, position_of
from codedata.training.ranks import ranks_of, require_same_ranks
from codedata.training.shortcuts import shortcut

# Samples of this rank that are drawn at once: a computed order costs 0.3 ms a call and 0.1 to 0.4
# us a sample, so that is 2 ms at the most before the first batch.
_DRAWN_AT_ONCE = 4096

_NEXT_STAGE = "a mixture whose sources start at what the state has as drawn (a next stage), "


class GlobalBatchSampler(Sampler[list[int]]):
    """A batch sampler with state, for `DataLoader(batch_sampler=...)`; `len` as it will iterate.

    Each epoch has an order of its own: call `set_epoch` before each, as for DistributedSampler. A
    plain DataLoader with workers draws batches ahead of training, so take the state from
    `codedata.ResumableLoader`, or from torchdata's StatefulDataLoader: they count what was
    delivered.

    Args:
        dataset: whose samples are drawn; its state needs a digest too (see `training.identity`).
        global_batch_size: samples of all ranks together in one step of the optimizer.
        micro_batch_size: samples that a rank loads at once, for gradient accumulation; by default
            its whole share.
        seed: of the order, 0 or more.
        shuffle: False goes through the samples as they stand, in each epoch; "blocks" through 32
            shards at a time, "blocks:8" through 8, in a drawn order, and their samples in another,
            for disks and object stores that are slow at single samples. A dataset that brings its
            own order (`in_order`) is gone through in that, once.
        drop_last: leave out the samples at the end of an epoch's order that fill no global batch,
            fewer than global_batch_size and others in each epoch. False gives them out, as evenly
            as it can: some ranks get one more than others, and a rank without one gets a batch
            less, so gradients must not be averaged over ranks then. For evaluation.
        rank: of this process; by default torch.distributed's, else torchrun's RANK, else 0.
        world_size: number of ranks, likewise.
        require_digest: False lets a state be saved and loaded of a dataset that has no digest, and
            one be loaded that names no dataset: then it is not noticed if they are two datasets of
            the same length.

    Raises:
        SettingsError: a value is outside its range, the sizes do not divide, it is not known where
            the dataset's shards end, for shuffle="blocks", or which of several ranks this is; or,
            when batches are drawn, this process has turned out to be another rank.
    """

    def __init__(
        self,
        dataset: Sized,
        *,
        global_batch_size: int,
        micro_batch_size: int | None = None,
        seed: int = 0,
        shuffle: Shuffle = True,
        drop_last: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
        require_digest: bool = True,
    ) -> None:
        _require_sized(dataset)
        self._given_ranks = rank, world_size
        self.rank, self.world_size = ranks_of(rank, world_size)
        # Numbers may be of numpy: the state is of JSON's types.
        global_batch_size = whole_number(global_batch_size, "global_batch_size", least=1)
        seed = whole_number(seed, "seed")
        share, rest = divmod(global_batch_size, self.world_size)
        if share < 1 or rest:
            raise SettingsError(
                f"global_batch_size {global_batch_size} cannot be shared equally by "
                f"{self.world_size} ranks; choose a multiple of {self.world_size}"
            )
        self.micro_batch_size = share
        if micro_batch_size is not None:
            self.micro_batch_size = whole_number(micro_batch_size, "micro_batch_size", least=1)
        if share % self.micro_batch_size:
            raise SettingsError(
                f"micro_batch_size {self.micro_batch_size} does not divide the {share} samples "
                f"that each of {self.world_size} ranks has of global_batch_size "
                f"{global_batch_size}; choose a divisor of {share}"
            )
        self.num_samples = len(dataset)
        if drop_last and self.num_samples < global_batch_size:
            raise SettingsError(
                f"the dataset has {self.num_samples} samples, fewer than global_batch_size "
                f"{global_batch_size}: an epoch has no batch; choose a smaller one, or "
                "drop_last=False"
            )
        self.require_digest = require_digest
        self._dataset = dataset
        self.global_batch_size = global_batch_size
        self.seed = seed
        self._orders = EpochOrders(dataset, seed=seed, shuffle=shuffle)
        self.drop_last = drop_last
        self.epoch = 0
        self._samples_done = 0  # of the epoch, before the first batch of an iteration
        self._drawn: dict[str, int] | None = None  # of a mixture that is done
        self._num_drawn = 0
        self._is_drawn = False  # to the epoch's end

    @cached_property
    def digest(self) -> str | None:
        """Of the dataset, worked out when a state is first saved or loaded."""
        return digest_of(self._dataset)

    @property
    def shuffle(self) -> Shuffle:
        """What was asked for, and of blocks the number that a loaded state has."""
        return self._orders.shuffle

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.describe(self._num_drawn)})"

    def describe(self, num_batches: int) -> str:
        """In words where it is after so many batches of this iteration, and what it draws."""
        epoch, done = self._position_after(num_batches)
        return (
            f"epoch {epoch}, {done:,} of {self.num_samples:,} samples done; rank {self.rank} of "
            f"{self.world_size}, global_batch_size={self.global_batch_size}, "
            f"micro_batch_size={self.micro_batch_size}, seed={self.seed}, "
            f"shuffle={self.shuffle!r}, drop_last={self.drop_last}"
        )

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, unless it is the one that a loaded state is in.

        Raises:
            SettingsError: it is no whole number of 0 or more.
        """
        epoch = whole_number(epoch, "epoch")
        if epoch != self.epoch or self._is_drawn:
            self.epoch, self._samples_done, self._is_drawn = epoch, 0, False
        self._num_drawn = 0

    def __len__(self) -> int:
        return 0 if self._orders.is_done(self.epoch) else self._num_batches

    @property
    def _num_batches(self) -> int:
        """From the position to the end of an epoch."""
        whole, rest = divmod(self.num_samples - self._samples_done, self.global_batch_size)
        batches = whole * self.micro_batches
        if not self.drop_last:
            batches += -(-len(self._share(0, rest, self.rank)) // self.micro_batch_size)
        return batches

    @property
    def micro_batches(self) -> int:
        """Batches that make up this rank's share of a global batch: steps to accumulate."""
        return self.global_batch_size // self.world_size // self.micro_batch_size

    def _share(self, start: int, stop: int, rank: int) -> range:
        """A rank's part of a global batch's places; the first ranks have the odd ones."""
        size, more = divmod(stop - start, self.world_size)
        first = start + rank * size + min(rank, more)
        return range(first, first + size + (rank < more))

    def __iter__(self) -> Iterator[list[int]]:
        if self._is_drawn:  # a loaded position is for one iteration
            self.set_epoch(self.epoch)
        self._num_drawn = 0
        for batch in self.upcoming():
            self._num_drawn += 1
            yield batch
        self._is_drawn = True

    def upcoming(self, ranks: range | None = None) -> Iterator[list[int]]:
        """This rank's batches from where the iteration begins to the epoch's end; nothing moves.

        Args:
            ranks: whose batches are wanted, each together with those that others have meanwhile.

        Raises:
            SettingsError: the dataset brings its own order, and is done; or this process is
                another rank than it was taken for.
        """
        require_same_ranks((self.rank, self.world_size), *self._given_ranks)
        ranks = range(self.rank, self.rank + 1) if ranks is None else ranks
        return self._batches(self._orders.of_epoch(self.epoch), self._samples_done, ranks)

    @property
    def ranks_here(self) -> range:
        """The ranks of this machine, as torchrun numbers them; this one where it does not say."""
        number = processes_here()
        first = self.rank - self.rank % number
        return range(first, min(first + number, self.world_size))

    def _batches(self, order: Order, start: int, ranks: range) -> Iterator[list[int]]:
        whole = (self.num_samples - start) // self.global_batch_size
        shares = np.array([self._share(0, self.global_batch_size, rank) for rank in ranks])
        at_once = -(-_DRAWN_AT_ONCE // shares.size)
        for first in range(0, whole, at_once):
            steps = np.arange(first, min(first + at_once, whole))
            places = start + steps[:, None, None] * self.global_batch_size + shares
            of_ranks = places.reshape(len(steps), len(ranks), self.micro_batches, -1)
            numbers = order.at(of_ranks.swapaxes(1, 2).ravel())
            yield from numbers.reshape(-1, len(ranks) * self.micro_batch_size).tolist()
        if not self.drop_last:
            rest = start + whole * self.global_batch_size
            parts = [self._share(rest, self.num_samples, rank) for rank in ranks]
            for first in range(0, max(map(len, parts)), self.micro_batch_size):
                micro = (part[first : first + self.micro_batch_size] for part in parts)
                yield order.at(np.array([*chain.from_iterable(micro)], np.int64)).tolist()

    def state_after(self, num_batches: int) -> dict[str, Any]:
        """The position when this rank is done with so many batches of the current iteration.

        Of a global batch that is loaded in micro-batches all count or none: the gradients of a
        part are lost with the process. After an epoch's last batch it is the start of the next.

        Returns:
            A dict of JSON's types, the same on all ranks; but with drop_last=False, where a rank
            may have fewer batches than others, keep rank 0's.

        Raises:
            SettingsError: the dataset has no digest, and `require_digest` is True.
        """
        if self.digest is None and self.require_digest:
            raise SettingsError(
                f"a state of {without_digest(self._dataset)} cannot say which dataset it is of, "
                "since that has no digest: to resume on another would go unnoticed; give it an "
                "attribute `digest`, a string that only the same samples in the same order have, "
                "or require_digest=False to be without"
            )
        epoch, done = self._position_after(num_batches)
        drawn = self._drawn if self.epoch else self._drawn_by(self._stop if epoch else done)
        of_mixture = {} if drawn is None else {"drawn": drawn}
        of_labels = {} if self._masks_padding is None else {"masks_padding": self._masks_padding}
        return {
            "epoch": epoch,
            "samples_done": done,
            **self._identity(),
            **of_labels,
            **of_mixture,
        }

    def move_on(self, num_batches: int) -> None:
        """Go to the position when this rank is done with so many batches of this iteration."""
        self._go_to(*self._position_after(num_batches))

    def _position_after(self, num_batches: int) -> tuple[int, int]:
        if num_batches >= self._num_batches:
            return self.epoch + 1, 0
        steps = num_batches // self.micro_batches
        return self.epoch, self._samples_done + steps * self.global_batch_size

    @property
    def _stop(self) -> int:
        """How many samples of the epoch are done at its end."""
        rest = (self.num_samples - self._samples_done) % self.global_batch_size
        return self.num_samples - rest if self.drop_last else self.num_samples

    def _go_to(self, epoch: int, samples_done: int) -> None:
        if epoch and not self.epoch:
            self._drawn = self._drawn_by(self._stop)
        self.epoch, self._samples_done = epoch, samples_done
        self._num_drawn, self._is_drawn = 0, False

    def state_dict(self) -> dict[str, Any]:
        """The position after the batches that were drawn."""
        return self.state_after(self._num_drawn)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, with any number of ranks, and of samples a batch.

        Raises:
            SettingsError: it is no state; or of another dataset, another order or other labels; or
                it is not known of which dataset, and `require_digest` is True.
        """
        position = position_of(state)
        self._require_same(state)
        drawn = self._drawn_by(position.samples_done)
        # Sources may be named otherwise since, and JSON's keys be sorted.
        before = drawn if position.drawn is None else position.drawn
        if not position.epoch and sorted((before or {}).values()) != sorted((drawn or {}).values()):
            raise SettingsError(
                f"the state is of draws {state['drawn']!r}, but this mixture has {drawn!r} there; "
                "take the codedata that saved it"
            )
        self._go_to_loaded(position, state["shuffle"])

    def _require_same(self, state: Mapping[str, Any]) -> None:
        """Refuse a state by which samples, their order or their labels would be others."""
        is_unnamed, has_none = state.get("dataset") is None, self.digest is None
        if self.require_digest and is_unnamed:
            raise SettingsError(
                "the state does not say which dataset it is of: it was taken without a digest, or "
                "by a codedata that saw none through Subset and ConcatDataset; if it is of this "
                "one, load it with require_digest=False, and save the next"
            )
        if self.require_digest and has_none:
            raise SettingsError(
                f"the state is of dataset {state['dataset']!r}, and this is "
                f"{without_digest(self._dataset)}, which has no digest to compare; give it an "
                "attribute `digest`, or, if it is the same, load it with require_digest=False"
            )
        for name, own in self._identity().items():
            if name == "dataset" and (is_unnamed or has_none):
                continue
            is_same = state.get(name) == own
            if name == "shuffle":  # one that was asked for is gone on with
                is_same = self._orders.was_asked_for(state[name])
            if not is_same:
                is_mixture = name == "dataset" and "drawn" in state
                raise SettingsError(
                    f"the state is of {name} {state.get(name)!r}, but this sampler has {own!r}: "
                    "the order would be another one; give what the state was taken with, "
                    f"{_NEXT_STAGE if is_mixture else ''}or start anew"
                )
        of, own = state.get("masks_padding"), self._masks_padding
        if None not in (of, own) and of != own:
            raise SettingsError(
                f"the state is of masks_padding {of!r}, but the dataset has {own!r}: the loss "
                "would be of other tokens from here on; give "
                f"{'dataset.with_padding_masked()' if of else 'the dataset without masking'}, or, "
                f"if that is meant, load {{**state, 'masks_padding': {own!r}}}"
            )

    @cached_property
    def _masks_padding(self) -> bool | None:
        return masks_padding(self._dataset)

    def _go_to_loaded(self, position: Position, order: Any) -> None:
        self._orders.resume(order)
        self._go_to(position.epoch, position.samples_done)
        if position.epoch:
            self._drawn = position.drawn

    def _drawn_by(self, num_samples: int) -> dict[str, int] | None:
        """How many draws of each source of a mixture so many samples are; None of others."""
        if getattr(self._dataset, "in_order", None) is not True:
            return None
        drawn = shortcut(self._dataset, "drawn", "__len__")
        return drawn(num_samples) if drawn else None

    def _identity(self) -> dict[str, Any]:
        """What decides the order."""
        return {
            "dataset": self.digest,
            "num_samples": self.num_samples,
            "seed": self.seed,
            "shuffle": self._orders.name,
        }


def _require_sized(dataset: object) -> None:
    """Refuse what is no dataset, such as the name of one.

    Raises:
        SettingsError: it is a name or a path, or has no `len`.
    """
    if isinstance(dataset, str | bytes | os.PathLike):
        raise SettingsError(
            f"the dataset is {dataset!r}, a name or a path; open it, as by "
            "codedata.load_dataset(name) or codedata.PickledTrainerDataset(folder)"
        )
    if not hasattr(type(dataset), "__len__"):
        raise SettingsError(
            f"the dataset is a {type(dataset).__name__}, which has no len: an order is drawn of "
            "samples that are numbered; give one with __len__ and __getitem__"
        )
