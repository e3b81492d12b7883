"""torchtitan's training on a codedata dataset: its loader, for `Trainer.Config(dataloader=...)`.

    config.dataloader = CodedataLoader.Config(dataset="train", num_workers=2)

`training.seq_len` is one token less than the dataset's seq_length: the input is each sample but its
last token, the labels each but its first. What its checkpoints hold goes on with any parallelism.
"""

# torchtitan is not among what the tools here see.
# pyright: reportMissingImports=false, reportUnknownMemberType=false
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import torch
from torchtitan.components.dataloader import BaseDataLoader

from codedata import ResumableLoader, load_dataset


class CodedataLoader(BaseDataLoader):
    @dataclass(kw_only=True, slots=True)
    class Config(BaseDataLoader.Config):
        num_workers: int = 0
        seed: int = 0

    def __init__(
        self, config: Config, *, dp_rank: int, dp_world_size: int, local_batch_size: int, **_: Any
    ) -> None:
        self.loader = ResumableLoader(
            load_dataset(config.dataset),
            global_batch_size=local_batch_size * dp_world_size,
            rank=dp_rank,  # of those that get other samples, unlike torch.distributed's
            world_size=dp_world_size,
            seed=config.seed,
            num_workers=config.num_workers,
        )

    def __iter__(self) -> Iterator[tuple[dict[str, torch.Tensor], torch.Tensor]]:
        while True:  # epoch after epoch; torchtitan ends after training.steps
            for batch in self.loader:
                yield {"input": batch["input_ids"][:, :-1]}, batch["labels"][:, 1:]

    def state_dict(self) -> dict[str, Any]:
        return self.loader.state_dict()

    def load_state_dict(self, state: dict[str, Any]) -> None:
        if state:
            self.loader.load_state_dict(state)
