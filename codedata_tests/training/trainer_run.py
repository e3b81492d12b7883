"""transformers' Trainer over a dataset: each rank notes the samples of each step.

`python -m codedata_tests.training.trainer_run` with FOLDER RUN BATCH_SIZE_OF_A_RANK EPOCHS
DROP_LAST; goes on from the last checkpoint in RUN, if there is one. The log (see runs.py) has the
step of each batch.
"""

import gc
import sys
from pathlib import Path
from typing import Any

import torch
from transformers import Trainer
from transformers.trainer_utils import get_last_checkpoint

from codedata.pickle_dataset import PickledTrainerDataset
from codedata_tests.training.runs import note, rank_of_this_process
from codedata_tests.training.tiny_trainer import tiny_trainer


class NotingTrainer(Trainer):
    log_file: Any

    def training_step(
        self, model: Any, inputs: Any, num_items_in_batch: Any = None
    ) -> torch.Tensor:
        note(self.log_file, self.state.global_step, inputs["input_ids"][:, 0].tolist())
        return super().training_step(model, inputs, num_items_in_batch)


def train(folder: Path, run: Path, batch_size: int, num_epochs: int, **options: Any) -> None:
    """Train a model of no use on the samples of a dataset, at most 256 ids."""
    run.mkdir(exist_ok=True)
    with open(run / f"rank-{rank_of_this_process()}.jsonl", "a", encoding="utf-8") as log:
        NotingTrainer.log_file = log
        trainer = tiny_trainer(
            PickledTrainerDataset(folder, quiet=True),
            run,
            vocab_size=256,
            batch_size=batch_size,
            of=NotingTrainer,
            num_train_epochs=num_epochs,
            save_steps=5,
            **options,
        )
        trainer.train(resume_from_checkpoint=get_last_checkpoint(str(run)))


if __name__ == "__main__":
    train(
        Path(sys.argv[1]),
        Path(sys.argv[2]),
        *map(int, sys.argv[3:5]),
        dataloader_drop_last=sys.argv[5] == "drop_last",
    )
    if torch.distributed.is_initialized():
        gc.collect()  # as in examples/train_trainer.py
        torch.distributed.destroy_process_group()
