"""accelerate's loop over a ResumableLoader: each rank notes the samples it was given.

`python -m codedata_tests.training.accelerate_run` with FOLDER RUN EPOCHS; goes on from RUN/state
where that is. The log (see runs.py) has the epoch of each batch. Ranks are of unequal speed.
"""

import random
import sys
import time
from pathlib import Path

import torch
from accelerate import Accelerator

from codedata import PickledTrainerDataset, ResumableLoader
from codedata_tests.training.runs import note, rank_of_this_process


def main() -> None:
    folder, run, num_epochs = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])
    accelerator = Accelerator(cpu=True)
    loader = ResumableLoader(
        PickledTrainerDataset(folder, quiet=True), global_batch_size=8, seed=11, num_workers=1
    )
    model = torch.nn.Linear(1, 1)
    model, loader = accelerator.prepare(model, loader)
    if (run / "state").exists():
        accelerator.load_state(str(run / "state"))
    speed = random.Random(rank_of_this_process())
    with open(run / f"rank-{rank_of_this_process()}.jsonl", "a", encoding="utf-8") as log:
        for epoch in range(loader.epoch, num_epochs):
            for step, batch in enumerate(loader, 1):
                note(log, epoch, batch["input_ids"][:, 0].tolist())
                time.sleep(speed.uniform(0, 0.02))
                accelerator.backward(model(batch["input_ids"][:, :1].float()).sum())
                if step == 5 and not (run / "state").exists():
                    accelerator.wait_for_everyone()
                    accelerator.save_state(str(run / "state"))
    accelerator.end_training()


if __name__ == "__main__":
    main()
