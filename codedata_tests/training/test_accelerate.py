"""accelerate's prepare, save_state and load_state over a ResumableLoader: its own shares, once."""

import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from codedata import GlobalBatchSampler, PickledTrainerDataset, ResumableLoader
from codedata_tests import scenario
from codedata_tests.training import runs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return scenario.write_dataset(tmp_path / "train", np.array_split(scenario.numbered(83), 3))


def expected(folder: Path) -> list[list[int]]:
    sampler = GlobalBatchSampler(
        PickledTrainerDataset(folder, quiet=True), global_batch_size=8, seed=11
    )
    epochs: list[list[int]] = []
    for epoch in range(2):
        sampler.set_epoch(epoch)
        epochs += list(sampler)
    return epochs


def test_its_states_keep_the_position(folder: Path, tmp_path: Path) -> None:
    def prepared() -> tuple[Accelerator, ResumableLoader]:
        accelerator = Accelerator(cpu=True)
        dataset = PickledTrainerDataset(folder, quiet=True)
        loader = ResumableLoader(dataset, global_batch_size=8, seed=11)
        assert accelerator.prepare(loader) is loader
        return accelerator, loader

    try:
        accelerator, loader = prepared()
        for step, _ in enumerate(loader, 1):
            if step == 4:
                accelerator.save_state(str(tmp_path / "state"))
                break
        accelerator, loader = prepared()
        accelerator.load_state(str(tmp_path / "state"))
        rest = [batch["input_ids"][:, 0].tolist() for batch in loader]
    finally:
        AcceleratorState._reset_state(reset_partial_state=True)
    assert rest == expected(folder)[4:10]


@pytest.mark.long
def test_ranks_have_their_shares_once_and_go_on_in_another_number(
    folder: Path, tmp_path: Path
) -> None:
    module, steps = "codedata_tests.training.accelerate_run", expected(folder)
    for ranks, done in ((2, 0), (4, 5)):
        run = tmp_path / f"{ranks}"
        run.mkdir()
        if done:
            shutil.copytree(tmp_path / "2/state", run / "state")
        process = runs.start(
            module, [str(folder), str(run), "2"], ranks=ranks, hang_after=0 if done else 8
        )
        if done:
            assert process.wait(500) == 0
        else:
            runs.kill_after(process, run, 1, 8)
        logs = [runs.logged(run, rank) for rank in range(ranks)]
        seen = [
            list(chain.from_iterable(line[1] for line in of)) for of in zip(*logs, strict=False)
        ]
        assert len(seen) >= 7
        assert seen == steps[done : done + len(seen)]
    assert len(seen) == len(steps) - 5
