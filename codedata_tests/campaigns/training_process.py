"""A rank of a training run without a model, in each mode of loading: it notes what it is given.

Its log has a line a batch: [epoch, [checksum of each sample]]. Ranks wait for each other after each
batch, as a step of the optimizer makes them; then rank 0 saves the state now and then.
"""

import json
import os
import random
import time
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Any

import torch

from codedata import Mixture, PickledTrainerDataset, ResumableLoader
from codedata.store.files import replace_atomically

BATCH_SIZE, SAVE_EVERY, SEED = 8, 3, 11
MOST_STEPS = 24
"""Of a run that is to be killed: then it waits for that, however late it comes."""


@dataclass(frozen=True)
class Mode:
    """How samples are loaded.

    Attributes:
        open: place, number of samples that are wanted at least -> the dataset.
        shuffle: of the loader.
        least_workers: processes that load, at least.
    """

    open: Callable[[str, int], PickledTrainerDataset | Mixture]
    shuffle: Any = True
    least_workers: int = 0

    def loader(self, place: str, num_samples: int, **options: Any) -> ResumableLoader:
        """The same for every rank, but for which rank it is."""
        options |= {"global_batch_size": BATCH_SIZE, "seed": SEED, "shuffle": self.shuffle}
        if options["num_workers"]:  # not a fork server of its own, as this process came from one
            options["multiprocessing_context"] = "fork"
        return ResumableLoader(self.open(place, num_samples), **options)


def _whole(place: str, _: int) -> PickledTrainerDataset:
    return PickledTrainerDataset(place, quiet=True)


def _streamed(place: str, _: int) -> PickledTrainerDataset:
    return PickledTrainerDataset(place, quiet=True, stream=True)


def _mixture(place: str, num_samples: int) -> Mixture:
    """Three parts of the dataset, each gone through as often as it takes."""
    whole = PickledTrainerDataset(place, quiet=True)
    parts = [(whole[:40], 0.5), (whole[40:90], 0.3), (whole[90:], 0.2)]
    return Mixture(
        [
            {"dataset": part, "name": f"{weight}", "weight": weight, "max_epochs": num_samples}
            for part, weight in parts
        ],
        num_samples=num_samples,
        seed=SEED,
    )


def _masked(place: str, _: int) -> PickledTrainerDataset:
    return PickledTrainerDataset(place, quiet=True).with_padding_masked()


MODES = {
    "computed order": Mode(_whole),
    "blocks": Mode(_whole, shuffle="blocks"),
    "mixture": Mode(_mixture),
    "streamed, by blocks, in a cache of three shards": Mode(_streamed, shuffle="blocks"),
    "documents, padding masked, through workers": Mode(_masked, least_workers=1),
}


def checksums(batch: dict[str, torch.Tensor]) -> list[int]:
    """Of each sample of a batch, over all that it has."""
    arrays = [batch[name].numpy() for name in sorted(batch)]
    return [zlib.crc32(b"".join(map(bytes, rows))) for rows in zip(*arrays, strict=True)]


def logged(run: Path, rank: int) -> Iterator[tuple[int, list[int]]]:
    """The whole lines of a rank's log."""
    path = run / f"{rank}.jsonl"
    for line in path.read_text().splitlines(keepends=True) if path.exists() else []:
        if line.endswith("\n"):
            epoch, samples = json.loads(line)
            yield epoch, samples


def train(
    environment: dict[str, str], mode: str, place: str, num_samples: int, run: Path, state: Path,
    last_epoch: int | None, rank: int, world_size: int, num_workers: int, barrier: Any,
) -> None:  # fmt: skip
    """Go on from a state, where there is one, to the end of an epoch, or until it is killed."""
    os.environ.update(environment)
    torch.set_num_threads(1)
    loader = MODES[mode].loader(
        place, num_samples, rank=rank, world_size=world_size, num_workers=num_workers
    )
    if state.exists():
        loader.load_state_dict(json.loads(state.read_text()))
    speed, step = random.Random(rank), 0
    with open(run / f"{rank}.jsonl", "w", encoding="utf-8") as log:
        for epoch in (
            count(loader.epoch) if last_epoch is None else range(loader.epoch, last_epoch + 1)
        ):
            for batch in loader:
                step += 1
                log.write(json.dumps([epoch, checksums(batch)]) + "\n")
                log.flush()
                time.sleep(speed.uniform(0, 0.003))
                barrier.wait()
                if rank == 0 and step % SAVE_EVERY == 0:
                    replace_atomically(state, json.dumps(loader.state_dict()).encode())
                if last_epoch is None and step == MOST_STEPS:
                    time.sleep(3600)
