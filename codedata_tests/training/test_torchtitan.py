"""The example for torchtitan, with torchtitan itself: an interpreter that has it runs this by hand.

python -m pytest -n 0 -m long codedata_tests/training/test_torchtitan.py
"""

# pyright: reportMissingImports=false, reportPrivateImportUsage=false
from itertools import islice
from pathlib import Path
from runpy import run_path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp

from codedata import GlobalBatchSampler, PickledTrainerDataset
from codedata_tests import scenario

EXAMPLE = Path(__file__).parents[2] / "examples/torchtitan_loader.py"

pytestmark = [
    pytest.mark.long,
    pytest.mark.filterwarnings("default"),  # torchtitan's own, and of torch that it calls
]


def test_its_batches_are_shifted_and_go_on_from_its_checkpoint_with_other_ranks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("torchtitan.components.dataloader", reason="torchtitan is not installed")
    samples = np.array_split(scenario.numbered(83, 9), 3)
    folder = scenario.write_dataset(
        tmp_path / "datasets/train", samples, last_sample_tokens=[9, 9, 9]
    )
    monkeypatch.setenv("CODEDATA_ROOT", str(tmp_path))
    config = run_path(str(EXAMPLE))["CodedataLoader"].Config(dataset="train", num_workers=1)

    def built(rank: int, ranks: int) -> Any:
        return config.build(
            dp_world_size=ranks,
            dp_rank=rank,
            tokenizer=None,
            seq_len=8,
            local_batch_size=8 // ranks,
            snapshot_every_n_steps=None,
        )

    def steps(loaders: list[Any], number: int) -> list[list[int]]:
        seen = list[list[int]]()
        for batches in islice(zip(*loaders, strict=True), number):
            for inputs, labels in batches:
                assert inputs["input"].shape == labels.shape == (8 // len(loaders), 8)
            seen.append(torch.cat([inputs["input"][:, 0] for inputs, _ in batches]).tolist())
        return seen

    sampler = GlobalBatchSampler(PickledTrainerDataset(folder, quiet=True), global_batch_size=8)
    expected = list(sampler)
    sampler.set_epoch(1)
    expected += list(sampler)
    loaders = [built(rank, 2) for rank in range(2)]
    assert steps(loaders, 7) == expected[:7]
    dcp.save({"dataloader": loaders[0]}, checkpoint_id=tmp_path / "step-7", no_dist=True)
    resumed = [built(rank, 4) for rank in range(4)]
    for loader in resumed:
        dcp.load({"dataloader": loader}, checkpoint_id=tmp_path / "step-7", no_dist=True)
    assert steps(resumed, 13) == expected[7:]
