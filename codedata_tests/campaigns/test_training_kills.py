"""Resuming at random moments: kill -9 of a training run, of one rank, of a worker that loads.

What a run was given up to its last saved state, and then from there on, by any number of ranks and
workers, is the order itself: each sample once an epoch, in its place.
"""

import json
import os
import random
import shutil
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codedata import GlobalBatchSampler
from codedata.format.meta import META_NAME
from codedata.store.cache import CACHE_VARIABLE
from codedata.store.object_store import ObjectStore
from codedata_tests import scenario
from codedata_tests.campaigns.machine import PROCESSES
from codedata_tests.campaigns.training_process import (
    BATCH_SIZE,
    MODES,
    SAVE_EVERY,
    SEED,
    checksums,
    logged,
    train,
)
from codedata_tests.script_runs import needs_proc

pytestmark = [pytest.mark.campaign, needs_proc]

KILLS = ("all of it", "a rank", "a worker")

Step = tuple[int, list[int]]


@pytest.fixture
def place(
    request: pytest.FixtureRequest, tmp_path: Path, mode: str, monkeypatch: pytest.MonkeyPatch
) -> str:
    """A dataset of some shards for a mode."""
    folder = tmp_path / "set"
    if mode.startswith("documents"):
        lengths = np.random.default_rng(1).integers(1, 30, (9, 12)).tolist()
        return str(scenario.write_document_dataset(folder, lengths, max_dump_size=17))
    shards = np.array_split(scenario.numbered(203, 8), 7)
    scenario.write_dataset(folder, shards, last_sample_tokens=[8, 3, 8, 8, 8, 1, 8])
    if not mode.startswith("streamed"):
        return str(folder)
    store = ObjectStore(f"{request.getfixturevalue('bucket')}/datasets/train")
    for path in folder.iterdir():
        store.put(path.name, path.read_bytes())
    room = 3 * (folder / "dump-0.pkl").stat().st_size + (folder / META_NAME).stat().st_size
    monkeypatch.setenv(CACHE_VARIABLE, str(room))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "own"))
    return store.url


class Expected:
    """Every step of a run, each worked out sample by sample."""

    def __init__(self, mode: str, place: str, num_samples: int) -> None:
        dataset = MODES[mode].open(place, num_samples)
        self._sampler = GlobalBatchSampler(
            dataset, global_batch_size=BATCH_SIZE, seed=SEED, shuffle=MODES[mode].shuffle
        )
        self._checksums = [
            checksums({name: each[None] for name, each in sample.items()})[0] for sample in dataset
        ]
        self.steps_an_epoch = len(self._sampler)
        self._steps: list[Step] = []

    def steps(self, start: int, stop: int) -> list[Step]:
        while len(self._steps) < stop:
            epoch = len(self._steps) // self.steps_an_epoch
            self._sampler.set_epoch(epoch)
            batches = list(self._sampler)
            drawn = [number for batch in batches for number in batch]
            assert len({*drawn}) == len(drawn) > len(self._checksums) - BATCH_SIZE
            self._steps += [(epoch, [self._checksums[i] for i in batch]) for batch in batches]
        return self._steps[start:stop]

    def position(self, state: Path) -> int:
        if not state.exists():
            return 0
        at = json.loads(state.read_text())
        return at["epoch"] * self.steps_an_epoch + at["samples_done"] // BATCH_SIZE


class Run:
    """All ranks of one attempt."""

    def __init__(
        self, folder: Path, cache: Path, arguments: Any, last_epoch: int, ranks: int, workers: int
    ) -> None:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        self.folder, self.ranks = folder, ranks
        environment = {**os.environ, "XDG_CACHE_HOME": str(cache)}
        self.barrier = PROCESSES.Barrier(ranks)  # which is gone when nobody here has it
        mode, place, num_samples, state = arguments
        self.processes = [
            PROCESSES.Process(
                target=train,
                args=(environment, mode, place, num_samples, folder, state, last_epoch, rank, ranks,
                      workers, self.barrier),
            )
            for rank in range(ranks)
        ]  # fmt: skip
        for process in self.processes:
            process.start()

    def steps(self) -> list[Step]:
        """What all ranks were given, as global batches; one rank may have been given one more."""
        logs = [list(logged(self.folder, rank)) for rank in range(self.ranks)]
        assert max(map(len, logs)) - min(map(len, logs)) <= 1
        steps = list[Step]()
        for of in zip(*logs, strict=False):
            assert len({epoch for epoch, _ in of}) == 1
            steps.append((of[0][0], [sample for _, share in of for sample in share]))
        return steps

    def wait_for(self, num_steps: int) -> None:
        while len(list(logged(self.folder, 0))) < num_steps and self.is_alive():
            time.sleep(0.001)

    def is_alive(self) -> bool:
        return all(process.is_alive() for process in self.processes)

    def kill(self, what: str, random_: random.Random) -> None:
        """Kill a part, and then, as torchrun does, whatever is left."""
        rank = random_.choice(self.processes)
        if what == "a worker" and (workers := _children(rank.pid)):
            with suppress(ProcessLookupError):
                os.kill(random_.choice(workers), signal.SIGKILL)
                rank.join(20)  # it ends with an error, or was about to end
        elif what == "a rank":
            rank.kill()
            rank.join()
            time.sleep(random_.uniform(0, 0.01))
        self.end()

    def join(self) -> None:
        """To its end."""
        for process in self.processes:
            process.join(500)
            assert process.exitcode == 0

    def end(self) -> None:
        for process in self.processes:
            process.kill()
        for process in self.processes:
            process.join()


def _children(pid: int | None) -> list[int]:
    try:
        return [*map(int, Path(f"/proc/{pid}/task/{pid}/children").read_text().split())]
    except FileNotFoundError:  # it has ended
        return []


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize(
    "num_kills", [6, pytest.param(50, marks=(pytest.mark.long, pytest.mark.timeout(1800)))]
)
def test_a_run_that_is_killed_at_random_moments_is_given_each_sample_in_its_place(
    num_kills: int, mode: str, place: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    random_, state = random.Random(num_kills), tmp_path / "state.json"
    expected = Expected(mode, place, num_kills * 200)
    arguments = (mode, place, num_kills * 200, state)
    given, num_killed = list[Step](), dict.fromkeys(KILLS, 0)
    for number in range(num_kills):
        start = expected.position(state)
        ranks, workers = random_.choice((1, 1, 2, 4)), random_.choice((0, 1, 2))
        what = KILLS[number % 3]
        workers = max(workers, what == "a worker", MODES[mode].least_workers)
        cache = tmp_path / f"cache-{number // 2}"  # of every second run an empty one
        run = Run(tmp_path / "run", cache, arguments, 1 << 30, ranks, workers)
        run.wait_for(random_.randrange(what == "a worker", 12))  # with its first batch there is one
        time.sleep(random_.uniform(0, 0.01))
        assert run.is_alive(), "it ended by itself"
        num_killed[what] += 1
        run.kill(what, random_)
        steps = run.steps()
        assert steps == expected.steps(start, start + len(steps))
        given[start:] = steps
        assert start <= expected.position(state) <= len(given)
        assert len(given) - expected.position(state) < SAVE_EVERY + 1
    start = expected.position(state)
    last_epoch = start // expected.steps_an_epoch
    run = Run(tmp_path / "run", tmp_path / "cache", arguments, last_epoch, 2, 1)
    run.join()
    given[start:] = run.steps()
    assert given == expected.steps(0, expected.steps_an_epoch * (last_epoch + 1))
    with capfd.disabled():
        print(f"\n{mode}: {num_killed} killed in {len(given)} steps")
    assert len(given) > num_kills, "it came further between kills"
