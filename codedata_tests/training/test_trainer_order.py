"""What transformers' Trainer does with our datasets by itself: its order, resuming, uneven ends.

docs/training.md says so; these tests notice when a release of transformers or accelerate changes.
"""

import shutil
from itertools import chain
from pathlib import Path

import numpy as np
import pytest

from codedata_tests import scenario
from codedata_tests.training import runs
from codedata_tests.training.trainer_run import train

NUM_SAMPLES = 203
STEPS_AN_EPOCH = 25
MODULE = "codedata_tests.training.trainer_run"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shards = np.array_split(scenario.numbered(NUM_SAMPLES), 3)
    return scenario.write_dataset(tmp_path / "train", shards)


def steps(run: Path, ranks: int) -> list[tuple[int, list[int]]]:
    """(step, samples of all ranks) of a run."""
    logs = [runs.logged(run, rank) for rank in range(ranks)]
    return [
        (of[0][0], list(chain.from_iterable(line[1] for line in of)))
        for of in zip(*logs, strict=False)
    ]


@pytest.mark.campaign
def test_a_killed_trainer_goes_on_with_the_very_same_batches_on_one_rank_or_two(
    folder: Path, tmp_path: Path
) -> None:
    train(folder, tmp_path / "whole", 8, 2, dataloader_drop_last=True)
    whole = steps(tmp_path / "whole", 1)
    assert [step for step, _ in whole] == list(range(2 * STEPS_AN_EPOCH))
    assert len({*chain.from_iterable(batch for _, batch in whole[:STEPS_AN_EPOCH])}) == 200

    run = tmp_path / "run"
    run.mkdir()
    one = runs.start(MODULE, [str(folder), str(run), "8", "2", "drop_last"], ranks=1, hang_after=33)
    runs.kill_after(one, run, 0, 33)
    killed = steps(run, 1)
    assert killed == whole[: len(killed)]
    assert len(killed) == 33, "in the middle of the second epoch"

    (run / "rank-0.jsonl").unlink()
    two = runs.start(MODULE, [str(folder), str(run), "4", "2", "drop_last"], ranks=2)
    assert two.wait(500) == 0
    resumed = steps(run, 2)
    assert resumed == whole[30:], "from the last checkpoint on"
    shutil.rmtree(run)


@pytest.mark.campaign
def test_without_drop_last_two_ranks_of_a_trainer_repeat_samples_at_an_epoch_s_end(
    folder: Path, tmp_path: Path
) -> None:
    run = tmp_path / "run"
    two = runs.start(MODULE, [str(folder), str(run), "4", "1", "keep_last"], ranks=2)
    assert two.wait(500) == 0
    drawn = list(chain.from_iterable(batch for _, batch in steps(run, 2)))
    assert len(drawn) == 208
    assert len({*drawn}) == NUM_SAMPLES
    assert sorted(drawn[NUM_SAMPLES:]) == sorted(drawn[:5]), "those that the epoch began with"
