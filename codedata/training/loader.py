"""A DataLoader that knows how far training has come: batches delivered, not batches drawn.

The sampler runs ahead of training by what the workers prefetch. So the loader counts the batches
that it hands over, and its state is the position after those: an epoch, and how many of its samples
are done, whatever the number of workers and ranks.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from torch.utils.data import DataLoader

from codedata.pickle_dataset import PickledTrainerDataset, Sample
from codedata.training.sampler import GlobalBatchSampler


class ResumableLoader(DataLoader[Sample]):
    """Batches of a dataset in a seeded order that resumes in the middle of an epoch.

    One iteration is one epoch, or the rest of the one that a loaded state is in; the next goes on
    with the next epoch. A state taken in the body of the loop counts the batch at hand as done.

        for epoch in range(loader.epoch, num_epochs):
            for batch in loader:
                ...  # a step, and now and then torch.save({..., "loader": loader.state_dict()})

    Args:
        dataset: what to load.
        global_batch_size: samples of all ranks together in one step of the optimizer.
        micro_batch_size: samples that a rank loads at once; by default its whole share.
        seed: of the order.
        shuffle: whether each epoch has an order of its own.
        drop_last: leave out what fills no global batch at an epoch's end.
        rank: of this process; by default torch.distributed's, else torchrun's.
        world_size: number of ranks, likewise.
        options: the other arguments of DataLoader: num_workers, collate_fn, pin_memory, ...

    Raises:
        SettingsError: see GlobalBatchSampler, which says more of the arguments too.
    """

    batch_sampler: GlobalBatchSampler  # pyright: ignore[reportIncompatibleVariableOverride]

    def __init__(
        self,
        dataset: PickledTrainerDataset,
        *,
        global_batch_size: int,
        micro_batch_size: int | None = None,
        seed: int = 0,
        shuffle: bool = True,
        drop_last: bool = True,
        rank: int | None = None,
        world_size: int | None = None,
        **options: Any,
    ) -> None:
        sampler = GlobalBatchSampler(
            dataset,
            global_batch_size=global_batch_size,
            micro_batch_size=micro_batch_size,
            seed=seed,
            shuffle=shuffle,
            drop_last=drop_last,
            rank=rank,
            world_size=world_size,
        )
        super().__init__(dataset, batch_sampler=sampler, **options)
        self._num_delivered = 0

    @property
    def epoch(self) -> int:
        """The epoch of the next iteration, or of the one under way."""
        return self.batch_sampler.epoch

    @property
    def micro_batches(self) -> int:
        """Batches that make up this rank's share of a global batch: steps to accumulate."""
        return self.batch_sampler.micro_batches

    def set_epoch(self, epoch: int) -> None:
        """Go to the start of an epoch, unless it is the one that a loaded state is in."""
        self.batch_sampler.set_epoch(epoch)
        self._num_delivered = 0

    def __iter__(self) -> Iterator[Sample]:  # pyright: ignore[reportIncompatibleMethodOverride]
        self._num_delivered = 0
        for batch in super().__iter__():
            self._num_delivered += 1
            yield batch
        self.set_epoch(self.epoch + 1)

    def state_dict(self) -> dict[str, Any]:
        """The position after the batches that were delivered; a dict of JSON's types."""
        return self.batch_sampler.state_after(self._num_delivered)

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on where a state was taken, with any number of ranks, workers, samples a batch.

        Raises:
            SettingsError: it is of another dataset or another order.
        """
        self.batch_sampler.load_state_dict(state)
        self._num_delivered = 0
