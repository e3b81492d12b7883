"""Versions in an object store, whatever becomes of those who publish them, and who reads meanwhile.

What holds: numbers without gaps; what a publisher was told of is there for ever, once; every version
is whole, and what its record says; a reader sees one after the other, never a mixture.
"""

import random
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

import pytest

from codedata.format.facts import parse_facts

from codedata.store.dataset_folder import open_snapshot
from codedata.store.object_store import ObjectStore
from codedata.store.versions import DatasetLog, Version
from codedata_tests.campaigns import small_versions
from codedata_tests.campaigns.small_versions import MAX_SHARDS, publish
from codedata_tests.sources.loopback_s3 import (
    BROKEN,
    CUT,
    LOST,
    RESET,
    SLOW_DOWN,
    Gate,
    sometimes,
    wait_until,
)
from codedata_tests.store.small_datasets import num_shards_of

pytestmark = pytest.mark.campaign

long = [pytest.mark.long, pytest.mark.timeout(1800)]


def command_of(version: Version) -> str:
    assert version.facts is not None
    return parse_facts(version.facts).command


def assert_whole(log: DatasetLog, told: Sequence[tuple[int, str]]) -> list[Version]:
    """Each number has what its publisher was told, and each version is whole."""
    versions = log.versions()
    assert [each.number for each in versions] == [*range(1, len(versions) + 1)]
    commands = {each.number: command_of(each) for each in versions}
    assert len({*commands.values()}) == len(commands), "one was published twice"
    assert told
    assert {number: commands.get(number) for number, _ in told} == dict(told)
    for each in {version.folder: version for version in versions}.values():
        with log.snapshot(each) as snapshot:
            dataset = open_snapshot(lambda: log.snapshot(each), verify=True)
            assert f"of-{num_shards_of(dataset)}" == each.folder
            assert len(snapshot.list()) == each.num_shards + 3
    return versions


@dataclass
class Reader:
    """Who opens a dataset again and again, and reads all of it."""

    log: DatasetLog
    numbers: list[int] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.done.is_set():
            version = self.log.published()
            dataset = open_snapshot(lambda: self.log.snapshot(version), verify=True)  # noqa: B023
            assert f"of-{num_shards_of(dataset)}" == version.folder
            self.numbers.append(version.number)

    def end(self) -> int:
        """How many different versions were seen, one after the other."""
        self.done.set()
        assert self.numbers == sorted(self.numbers)
        return len({*self.numbers})


class Publisher:
    """A process that publishes until it is killed."""

    def __init__(self, url: str, name: str) -> None:
        command = [sys.executable, "-m", small_versions.__name__, url, name]
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
        self.told: list[tuple[int, str]] = []
        self._listening = threading.Thread(target=self._listen)
        self._listening.start()

    def _listen(self) -> None:
        assert self.process.stdout is not None
        with self.process.stdout as lines:
            for line in lines:
                if line.endswith("\n"):
                    number, command = line.split()
                    self.told.append((int(number), command))

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._listening.join()

    def kill_after(self, seconds: float) -> None:
        """Kill it so long after its first version."""
        wait_until(lambda: self.told or self.process.poll() is not None, 60)
        time.sleep(seconds)
        assert self.process.poll() is None, "it ended by itself"
        self.kill()


@pytest.mark.parametrize("lag_seconds", [0.0, pytest.param(2.0, marks=long)])
@pytest.mark.parametrize("num_kills", [4, pytest.param(200, marks=long)])
def test_publishers_that_are_killed_at_random_lose_and_mix_nothing(
    num_kills: int,
    lag_seconds: float,
    gate: Gate,
    root: str,
    capfd: pytest.CaptureFixture[str],
) -> None:
    log, random_ = DatasetLog(ObjectStore(f"{root}/datasets/train")), random.Random(num_kills)
    gate.lag_seconds = lag_seconds
    publish(log, 1, "first-0")
    reader, told = Reader(log), [(1, "first-0")]
    publishers = [Publisher(log.store.url, f"publisher-{n}") for n in range(3)]
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(reader.run)
        try:
            for index in range(num_kills):
                ended = publishers[index % 3]
                ended.kill_after(random_.uniform(0, 0.5))
                told += ended.told
                publishers[index % 3] = Publisher(log.store.url, f"publisher-{index + 3}")
        finally:
            for each in publishers:
                each.kill()
            num_seen = reader.end()
        reading.result()
    gate.lag_seconds = 0.0
    versions = assert_whole(log, told)
    with capfd.disabled():
        print(
            f"\n{num_kills} kills: {len(versions)} versions, {len(told)} of which their publishers "
            f"were told; a reader saw {num_seen} in {len(reader.numbers)} openings"
        )
    assert len(versions) >= len(told) >= num_kills
    assert num_seen > num_kills / 4


@pytest.mark.parametrize("num_each", [3, pytest.param(50, marks=long)])
def test_behind_a_store_at_fault_each_of_four_publishers_gets_each_of_its_numbers(
    num_each: int,
    gate: Gate,
    root: str,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A tenth of the requests fails in one of five ways, and lists lag by a second."""
    log = DatasetLog(ObjectStore(f"{root}/datasets/train"))
    told = [(publish(log, 1, "first-0").number, "first-0")]
    gate.fault = sometimes(random.Random(num_each), 0.1, SLOW_DOWN, BROKEN, RESET, LOST, CUT)
    gate.lag_seconds = 1.0

    def run(name: int) -> list[tuple[int, str]]:
        commands = [f"publisher-{name}-{index}" for index in range(num_each)]
        return [
            (publish(log, 1 + index % MAX_SHARDS, command).number, command)
            for index, command in enumerate(commands)
        ]

    reader = Reader(log)
    with ThreadPoolExecutor(5) as threads:
        reading = threads.submit(reader.run)
        try:
            for each in threads.map(run, range(4)):
                told += each
        finally:
            num_seen = reader.end()
        reading.result()
    gate.lag_seconds = 0.0
    versions = assert_whole(log, told)
    with capfd.disabled():
        print(
            f"\n{len(versions)} versions of 4 publishers at once, {len(gate.requests)} requests; a "
            f"reader saw {num_seen} in {len(reader.numbers)} openings"
        )
    assert len(versions) == 4 * num_each + 1
