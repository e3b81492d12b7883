"""A training run without a model: each rank notes the samples it was given, and saves the state.

`python -m codedata_tests.training.consume` with FOLDER RUN GLOBAL_BATCH_SIZE NUM_WORKERS EPOCHS
SAVE_EVERY [blocks]; goes on from RUN/state.json where that is. FOLDER may be the
YAML of a mixture. Its log (see runs.py) has the epoch of each batch; the ranks of a run wait for
each other after each.
"""

import json
import os
import random
import sys
import time
from pathlib import Path

import torch.distributed

from codedata.loading import load_mixture
from codedata.pickle_dataset import PickledTrainerDataset
from codedata.store.files import replace_atomically
from codedata.training.loader import ResumableLoader
from codedata_tests.training.runs import note, rank_of_this_process


def main() -> None:
    folder, run = Path(sys.argv[1]), Path(sys.argv[2])
    batch_size, num_workers, num_epochs, save_every = map(int, sys.argv[3:7])
    shuffle = "blocks" if sys.argv[7:] == ["blocks"] else True
    if "RANK" in os.environ:
        torch.distributed.init_process_group("gloo")
    rank = rank_of_this_process()
    is_mixture = folder.suffix == ".yaml"
    loader = ResumableLoader(
        load_mixture(folder) if is_mixture else PickledTrainerDataset(folder, quiet=True),
        global_batch_size=batch_size,
        seed=11,
        shuffle=shuffle,
        num_workers=num_workers,
    )
    state = run / "state.json"
    if state.exists():
        loader.load_state_dict(json.loads(state.read_text()))
    step, speed = 0, random.Random(rank)
    with open(run / f"rank-{rank}.jsonl", "a", encoding="utf-8") as log:
        for epoch in range(loader.epoch, num_epochs):
            for batch in loader:
                step += 1
                note(log, epoch, batch["input_ids"][:, 0].tolist())
                if torch.distributed.is_initialized():
                    torch.distributed.barrier()
                if rank == 0 and step % save_every == 0:
                    replace_atomically(state, json.dumps(loader.state_dict()).encode())
                time.sleep(speed.uniform(0, 0.04))
    if torch.distributed.is_initialized():
        torch.distributed.destroy_process_group()


if __name__ == "__main__":
    main()
