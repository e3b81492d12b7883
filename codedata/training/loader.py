"""A DataLoader that knows how far training has come: batches delivered, not batches drawn.

The sampler runs ahead of training by what the workers prefetch. So the loader counts the batches
that it hands over, and its state is the position after those: an epoch, and how many of its samples
are done, whatever the number of workers and ranks.
"""

# PyTorch and transformers are partly without types.
# pyright: reportUnknownMemberType=false

import os
from collections.abc import Callable, Iterator, Mapping, Sized
from copy import copy
from functools import partial
from multiprocessing import parent_process
from threading import Thread
from typing import Any, cast

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from codedata.errors import SettingsError
from codedata.store.given_up import Ending
from codedata.training.ahead import ending_of, fetched_ahead
from codedata.training.batches import Batch, Sample, StoredBatch, Uncollated, collate_samples
from codedata.training.collate import require_labels_kept
from codedata.training.epoch_orders import Shuffle
from codedata.training.sampler import GlobalBatchSampler
from codedata.training.shortcuts import asked_for_each, shortcut
from codedata.training.stored_views import stored_view


class ResumableLoader(DataLoader[Sample]):
    """Batches of a dataset in a seeded order that resumes in the middle of an epoch.

    The loader has a position, which each batch that it gives moves on. One iteration is one epoch,
    or the rest of it where a loaded state, or an iteration left early, ended in its middle; the
    next goes on with the next epoch. A state taken in the body of the loop counts the batch at hand
    as done. Of two iterations at once only the newer one goes on.

        for epoch in range(loader.epoch, num_epochs):
            for batch in loader:
                ...  # a step, and now and then torch.save({..., "loader": loader.state_dict()})

    Args:
        dataset: what to load: a PickledTrainerDataset, torch's Subset and ConcatDataset of such,
            or any other that has `len`.
        global_batch_size: samples of all ranks together in one step of the optimizer.
        micro_batch_size: samples that a rank loads at once; by default its whole share.
        seed: of the order.
        shuffle: whether each epoch has an order of its own; "blocks", or "blocks:8", for one of
            some shards at a time.
        drop_last: leave out what fills no global batch at an epoch's end.
        rank: of this process; by default torch.distributed's, else torchrun's.
        world_size: number of ranks, likewise.
        require_digest: see GlobalBatchSampler: False for a dataset that has no digest.
        options: the other arguments of DataLoader: num_workers, collate_fn, ...; `pin_memory` is by
            default whether CUDA is there.

    Raises:
        SettingsError: see GlobalBatchSampler, which says more of the arguments too; or in_order is
            False, or batches are to be drawn in another way too.
        DatasetError: the collator would write over labels that mask padding, or make a mask where
            they do not.
    """

    batch_sampler: GlobalBatchSampler  # pyright: ignore[reportIncompatibleVariableOverride]

    _is_accelerate_prepared = True
    """Accelerator.prepare leaves it as it is: each rank has its share already."""

    use_stateful_dataloader = True
    """Accelerator.save_state and load_state keep its position."""

    def __init__(
        self,
        dataset: TorchDataset[Sample],
        *,
        global_batch_size: int,
        micro_batch_size: int | None = None,
        seed: int = 0,
        shuffle: Shuffle = True,
        drop_last: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
        require_digest: bool = True,
        **options: Any,
    ) -> None:
        for name in ("batch_size", "sampler", "batch_sampler"):
            if name in options:
                raise SettingsError(
                    f"{name} is torch's DataLoader's: this loader draws batches itself, of "
                    "global_batch_size samples on all ranks together, micro_batch_size at a time; "
                    "leave it out"
                )
        require_labels_kept(dataset, options.get("collate_fn"))
        sampler = GlobalBatchSampler(
            cast("Sized", dataset),
            global_batch_size=global_batch_size,
            micro_batch_size=micro_batch_size,
            seed=seed,
            shuffle=shuffle,
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
            require_digest=require_digest,
        )
        if not options.get("in_order", True):
            raise SettingsError(
                "in_order=False gives batches in the order in which workers finish them, so that "
                "no position says which are done; leave it out"
            )
        if options.get("collate_fn") is None:
            options["collate_fn"] = collate_samples
        options.setdefault("pin_memory", torch.cuda.is_available())
        super().__init__(dataset, batch_sampler=sampler, **options)
        self._loading: ResumableLoader | None = None  # with the workers that stay
        self._move()

    def __repr__(self) -> str:
        where = self.batch_sampler.describe(self._num_delivered)
        return f"{type(self).__name__}({where}, num_workers={self.num_workers})"

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration, or of the one under way."""
        return self.batch_sampler.epoch

    @property
    def micro_batches(self) -> int:
        """Batches that make up this rank's share of a global batch: steps to accumulate."""
        return self.batch_sampler.micro_batches

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, unless it is the one that the loader is in.

        Raises:
            SettingsError: it is no whole number of 0 or more.
        """
        if epoch != self.epoch:
            self.batch_sampler.set_epoch(epoch)
            self._move()

    def __iter__(self) -> Iterator[Sample]:  # pyright: ignore[reportIncompatibleMethodOverride]
        if self._num_delivered:  # by an iteration that was left early
            self._move_on()
        self._move()
        this = self._iteration
        workers = None if self.persistent_workers else ending_of(self.dataset, self.num_workers)
        batches = self._batches(workers)  # which forks the workers, before there are threads
        sampler = self.batch_sampler
        order = (sampler.upcoming, sampler.ranks_here, sampler.shuffle)
        with fetched_ahead(self.dataset, *order, workers) as ahead:
            for batch in batches:
                self._require_newest(this)
                self._num_delivered += 1
                if ahead is not None:
                    ahead.deliver()
                yield batch
        self._require_newest(this)
        self._move_on()

    def _batches(self, workers: Ending | None) -> Iterator[Batch]:
        """Those of an iteration; where no worker and no thread has a part in them, by no more.

        Workers there are from now on, not only from the first batch.
        """
        view, collate = self._gathering()
        if view is None or self.num_workers or self.pin_memory:
            loaded = super(ResumableLoader, self._as_stored(view, collate, workers)).__iter__()
            return (each.batch() if isinstance(each, Uncollated) else each for each in loaded)
        # What torch's own iteration draws, for what is drawn after.
        generator = cast("torch.Generator | None", self.generator)
        torch.empty((), dtype=torch.int64).random_(generator=generator)
        return (collate(view.__getitems__(indices)) for indices in self.batch_sampler)

    def _gathering(self) -> tuple[Any, Callable[[StoredBatch], Batch]]:
        """The dataset that gives stored batches, None where it or the collator has no such way."""
        collate_fn = cast("Any", self.collate_fn)
        if collate_fn is collate_samples:
            return stored_view(self.dataset), StoredBatch.expand
        collate = shortcut(collate_fn, "collate_stored", "__call__")
        return (stored_view(self.dataset), collate) if collate else (None, StoredBatch.expand)

    def _as_stored(
        self, view: Any, collate: Callable[[StoredBatch], Batch], workers: Ending | None
    ) -> "ResumableLoader":
        """What torch goes over in place of this: it gives stored batches where there are such.

        Tensors are slow to hand over. Torch keeps workers that stay at the loader it goes over.
        """
        if self._loading is not None:
            return self._loading
        begin_work = partial(_begin_work, ending=workers, then=self.worker_init_fn)
        changes: dict[str, Any] = {"worker_init_fn": begin_work}
        if view is not None:
            changes |= {"dataset": view, "collate_fn": partial(Uncollated, collate=collate)}
        else:
            changes["dataset"] = asked_for_each(self.dataset)
        loading = copy(self)
        loading.__dict__.update(changes)
        if self.persistent_workers:
            self._loading = loading
        return loading

    def state_dict(self) -> dict[str, Any]:
        """The position after the batches that were delivered; a dict of JSON's types.

        Raises:
            SettingsError: the dataset has no digest, and `require_digest` is True.
        """
        return self.batch_sampler.state_after(self._num_delivered)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, with any number of ranks, workers, samples a batch.

        Raises:
            SettingsError: it is no state; or of another dataset, another order or other labels; or
                does not say of which dataset.
        """
        self.batch_sampler.load_state_dict(state)
        self._move()

    def _move_on(self) -> None:
        self.batch_sampler.move_on(self._num_delivered)
        self._move()

    def _move(self) -> None:
        self._num_delivered = 0
        self._iteration = object()

    def _require_newest(self, iteration: object) -> None:
        if iteration is not self._iteration:
            raise RuntimeError(
                "the loader was moved while this iteration was under way, by load_state_dict, "
                "set_epoch or another iteration; iterate over it anew"
            )


def _begin_work(worker: int, ending: Ending | None, then: Callable[[int], None] | None) -> None:
    """Have a worker end when training is killed: what it wants to hand over fills the pipe.

    Its thread that writes there would wait for ever, since the reading end is open in the worker
    itself, and the worker for its thread. And have it give up what it fetches when the loop ends.
    """
    Thread(target=_end_with_training, daemon=True).start()
    if ending is not None:
        ending.heed()
    if then is not None:
        then(worker)


def _end_with_training() -> None:
    training = parent_process()
    assert training is not None
    training.join()
    os._exit(1)
