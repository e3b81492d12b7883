"""Workers and drivers of a cluster, killed and frozen at random moments: the bytes of a local run.

Each process has folders of its own; all they have in common is an object store. What holds: the
next driver goes on with the chunks that are there; every version that comes of it is whole and the
same, whoever else drives the run; no chunk is there twice.
"""

import os
import pickle
import random
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from multiprocessing.process import BaseProcess
from pathlib import Path
from typing import Any

import pytest

import codedata
from codedata.layout import Layout
from codedata.recipe.documents import DocumentRecipe
from codedata.sources.record import record_corpus
from codedata.sources.stored_text import store_corpus
from codedata_tests import scenario
from codedata_tests.campaigns import machine
from codedata_tests.campaigns.machine import PROCESSES
from codedata_tests.object_roots import GatedBucket
from codedata_tests.run import cluster_runs
from codedata_tests.run.cluster_runs import Run
from codedata_tests.run.test_cluster import (
    SETTINGS,
    environment_of,
    expected,
    module,
    published,
)
from codedata_tests.services import process, waited_for
from codedata_tests.sources.loopback_s3 import BROKEN, CUT, LOST, SLOW_DOWN, sometimes

__all__ = ["expected"]  # a fixture

pytestmark = [pytest.mark.long, pytest.mark.campaign, pytest.mark.timeout(3000)]

NUM_WORKERS = 3
HURTS = ["worker killed", "worker frozen", "driver killed"]


def freeze(process: BaseProcess, by: signal.Signals = signal.SIGSTOP) -> None:
    """Stop a process, or have it go on."""
    assert process.pid is not None
    os.kill(process.pid, by)


@dataclass
class Processes:
    """Those of a cluster, each with folders of its own.

    Attributes:
        address: of the scheduler.
        folder: where they have them.
        workers: that run.
        frozen: workers that were stopped.
    """

    address: str
    folder: Path
    workers: list[BaseProcess] = field(default_factory=list[BaseProcess])
    frozen: list[BaseProcess] = field(default_factory=list[BaseProcess])
    num_started: int = 0

    def start(self, module: str, *arguments: str) -> BaseProcess:
        """Start one; what it prints is in its folder."""
        own = self.folder / str(self.num_started)
        self.num_started += 1
        environment = environment_of(own)
        (own / "out").touch()
        started = PROCESSES.Process(target=machine.run, args=(own, environment, module, *arguments))
        started.start()
        return started

    def fill_up(self) -> None:
        """Start workers in the place of those that are gone."""
        own = ["--no-nanny", "--no-dashboard", "--nthreads", "1", "--host", "127.0.0.1"]
        while len(self.workers) < NUM_WORKERS:
            self.workers.append(self.start("distributed.cli.dask_worker", self.address, *own))

    def hurt_worker(self, random_: random.Random, what: str) -> None:
        """Kill or freeze one, and start another in its place."""
        victim = self.workers.pop(random_.randrange(NUM_WORKERS))
        if what == "worker killed":
            victim.kill()
            victim.join()
        else:
            freeze(victim)
            self.frozen.append(victim)
        self.fill_up()

    def thaw(self) -> None:
        """Let frozen ones go on with what they had, and end them a little later."""
        for each in self.frozen:
            freeze(each, signal.SIGCONT)
        time.sleep(0.5)
        while self.frozen:
            each = self.frozen.pop()
            each.kill()
            each.join()

    def end(self) -> None:
        for each in [*self.workers, *self.frozen]:
            each.kill()
            each.join()

    def said(self, number: int) -> str:
        """What the process that was started as the `number`-th printed."""
        return (self.folder / str(number) / "out").read_text()


@pytest.fixture
def processes(served: GatedBucket, tmp_path: Path) -> Iterator[Processes]:
    assert served, "its environment is that of the workers"
    scheduler = tmp_path / "scheduler"
    arguments = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    command = module("distributed.cli.dask_scheduler", *arguments)
    with ExitStack() as stack:
        environment = environment_of(scheduler)
        log = stack.enter_context(process(command, scheduler, environment))
        address = waited_for(log, r"Scheduler at: *(tcp://\S+)")
        processes = Processes(address, tmp_path / "processes")
        stack.callback(processes.end)
        processes.fill_up()
        yield processes


@pytest.fixture
def run(
    served: GatedBucket, processes: Processes, corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> Run:
    layout = Layout(tmp_path / "driver", served.url)
    folder = layout.corpus("c")
    stored = store_corpus(layout, folder, record_corpus(folder, corpus, {"kind": "local"}))
    return Run(
        url=served.url,
        address=processes.address,
        text=stored.open_text(),
        tokenizer=tokenizer_folder,
        settings=SETTINGS,
    )


class Drivers:
    """Those of one run: one, or two at once, and others in the place of those that are killed."""

    def __init__(self, processes: Processes, run: Run, folder: Path, number: int) -> None:
        pickled = folder / run.name
        pickled.write_bytes(pickle.dumps(run))
        self._processes = processes
        self._command = cluster_runs.__name__, str(pickled)
        self._running: dict[int, BaseProcess] = {}
        self._start(number)

    def _start(self, number: int = 1) -> None:
        for _ in range(number):
            index = self._processes.num_started
            self._running[index] = self._processes.start(*self._command)

    def num_made(self) -> int:
        """Chunks that the one who was started last has told of."""
        return self._processes.said(max(self._running)).count("made ")

    def kill(self, random_: random.Random) -> None:
        self._running[random_.choice([*self._running])].kill()

    def are_done(self, num_given_up: Counter[str]) -> bool:
        """Whether one got to its end; where all were killed, or gave up, another one begins."""
        for index, each in [*self._running.items()]:
            if (status := each.exitcode) == 0:
                return True
            if status is not None:
                if status != -signal.SIGKILL and self._gave_up(index):
                    num_given_up["drivers that gave up"] += 1
                del self._running[index]
        if not self._running:
            self._start()
        return False

    def wait(self) -> None:
        for index, each in self._running.items():
            each.join(600)
            assert each.exitcode in (0, -signal.SIGKILL) or self._gave_up(index)

    def _gave_up(self, index: int) -> bool:
        """Whether it ended because a chunk had cost as many workers as it may."""
        said = self._processes.said(index)
        assert "workers died of it" in said, said
        return True


RECIPE = {"documents": {"bos": scenario.BOS, "eos": scenario.EOT}, "order": "shuffled"}


@pytest.mark.parametrize(
    ("num_hurts", "share_of_faults", "recipe"),
    [(20, 0.0, None), (200, 0.0, None), (40, 0.03, None), (40, 0.0, RECIPE)],
)
def test_workers_and_drivers_that_are_hurt_at_random_lose_and_mix_nothing(
    num_hurts: int,
    share_of_faults: float,
    recipe: dict[str, Any] | None,
    served: GatedBucket,
    processes: Processes,
    run: Run,
    expected: dict[str, bytes],
    corpus: Path,
    tmp_path: Path,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Where requests fail, lists lag by a second, too."""
    if recipe is not None:
        run = replace(run, recipe=DocumentRecipe.of(recipe))
        switches = {**SETTINGS.as_dict(), "tokenizer_base": str(run.tokenizer)}
        local = tmp_path / "local"
        codedata.build(corpus, local, num_workers=1, engine="whole", recipe=recipe, **switches)
        expected = scenario.dataset_bytes(local)
    random_, hurt, num_runs, num_versions = random.Random(num_hurts), Counter[str](), 0, 0
    served.gate.fault = sometimes(random_, share_of_faults, SLOW_DOWN, BROKEN, LOST, CUT)
    num_chunks = len(run.plan().fingerprints)
    while sum(hurt[what] for what in HURTS) < num_hurts:
        served.gate.lag_seconds = 1.0 if share_of_faults else 0.0
        own, num_runs = replace(run, name=f"run-{num_runs}"), num_runs + 1
        drivers = Drivers(processes, own, tmp_path, 1 + num_runs % 2)
        hurts, until = 4, random_.randrange(num_chunks)
        while not drivers.are_done(hurt):
            time.sleep(random_.uniform(0.01, 0.2))
            if not hurts or drivers.num_made() < until:
                continue
            hurts, until = hurts - 1, random_.randrange(num_chunks + 1)
            [what] = random_.choices(HURTS, [3, 1, 3])  # a frozen one costs five seconds
            hurt[what] += 1
            if what == "driver killed":
                drivers.kill(random_)
            else:
                processes.hurt_worker(random_, what)
        drivers.wait()
        served.gate.lag_seconds = 0.0
        versions = own.log.versions()
        num_versions += len(versions)
        for version in versions:
            assert published(own, version) == expected
        assert len(own.root.list(f"chunks/{own.name}/")) == num_chunks
        processes.thaw()
    served.gate.fault = lambda _: 0
    with capfd.disabled():
        print(f"\n{num_runs} runs of {num_chunks} chunks, {num_versions} versions: {dict(hurt)}")
