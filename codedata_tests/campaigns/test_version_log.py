"""Versions in an object store, whatever becomes of those who publish them, and of its server.

What holds: numbers without gaps; what a publisher was told of is there for ever, and once; every
version is whole, with its sidecars, and what its record says; a reader sees one after the other,
never a mixture.
"""

import os
import random
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass, field

import pytest

from codedata.format.facts import parse_facts
from codedata.progress import SILENT
from codedata.store import requests
from codedata.store.copies import open_at
from codedata.store.dataset_folder import open_snapshot
from codedata.store.object_store import ObjectStore
from codedata.store.versions import DatasetLog, Version
from codedata_tests.campaigns import small_versions
from codedata_tests.campaigns.machine import PROCESSES
from codedata_tests.campaigns.small_versions import MAX_SHARDS, publish
from codedata_tests.object_roots import GatedBucket
from codedata_tests.sources.loopback_s3 import (
    BROKEN,
    CUT,
    LOST,
    RESET,
    SLOW_DOWN,
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
        assert f"of-{opened(log, each)}" == each.folder
        with log.snapshot(each) as snapshot:
            assert len(snapshot.sizes("")) == len(each.names)
    return versions


def opened(log: DatasetLog, version: Version) -> int:
    """How many shards a version has, once all of it was read."""
    return num_shards_of(open_snapshot(lambda: log.snapshot(version), verify=True))


@dataclass
class Reader:
    """Who opens a dataset and a copy of it again and again, and reads all of both."""

    log: DatasetLog
    numbers: list[int] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.done.is_set():
            version = self.log.published()
            assert f"of-{opened(self.log, version)}" == version.folder
            copy = open_at(self.log.store.url, SILENT, verify=True)
            assert copy.url is not None
            copied = self.log.version(int(copy.url.rpartition("@")[2]))
            assert copied is not None
            assert f"of-{num_shards_of(copy)}" == copied.folder
            self.numbers += [version.number, copied.number]

    def see_another(self, reading: Future[None]) -> None:
        """Wait until it has opened one that was not the dataset yet."""
        newest = self.log.published().number
        wait_until(lambda: reading.done() or self.numbers[-1:] > [newest], seconds=100)

    def end(self) -> int:
        """How many different versions were seen, one after the other."""
        self.done.set()
        assert self.numbers == sorted(self.numbers)
        return len({*self.numbers})


class Publisher:
    """A process that publishes until it is killed."""

    def __init__(self, url: str, name: str) -> None:
        self._told, end = PROCESSES.Pipe(duplex=False)
        arguments = (url, name, dict(os.environ), end)
        self.process = PROCESSES.Process(target=small_versions.run, args=arguments)
        self.process.start()
        end.close()

    def kill_after(self, seconds: float) -> list[tuple[int, str]]:
        """Kill it so long after its first version; what it was told of."""
        assert self._told.poll(60)
        time.sleep(seconds)
        assert self.process.is_alive(), "it ended by itself"
        return self.kill()

    def kill(self) -> list[tuple[int, str]]:
        self.process.kill()
        self.process.join()
        told: list[tuple[int, str]] = []
        with self._told, suppress(EOFError):
            while True:
                told.append(self._told.recv())
        return told


@pytest.mark.parametrize("lag_seconds", [0.0, pytest.param(2.0, marks=long)])
@pytest.mark.parametrize("num_kills", [4, pytest.param(200, marks=long)])
def test_publishers_that_are_killed_at_random_lose_and_mix_nothing(
    num_kills: int,
    lag_seconds: float,
    served: GatedBucket,
    capfd: pytest.CaptureFixture[str],
) -> None:
    log, random_ = DatasetLog(ObjectStore(f"{served.url}/datasets/train")), random.Random(num_kills)
    served.gate.lag_seconds = lag_seconds
    publish(log, 1, "first-0")
    reader, told = Reader(log), [(1, "first-0")]
    publishers = [Publisher(log.store.url, f"publisher-{n}") for n in range(3)]
    with ThreadPoolExecutor(1) as threads:
        reading = threads.submit(reader.run)
        try:
            for index in range(num_kills):
                told += publishers[index % 3].kill_after(random_.uniform(0, 0.5))
                publishers[index % 3] = Publisher(log.store.url, f"publisher-{index + 3}")
                reader.see_another(reading)
        finally:
            for each in publishers:
                told += each.kill()
            num_seen = reader.end()
        reading.result()
    served.gate.lag_seconds = 0.0
    versions = assert_whole(log, told)
    with capfd.disabled():
        print(
            f"\n{num_kills} kills: {len(versions)} versions, {len(told)} of which their publishers "
            f"were told; a reader saw {num_seen} in {len(reader.numbers)} openings"
        )
    assert len(versions) >= len(told) >= num_kills
    assert num_seen > num_kills


@pytest.mark.parametrize("num_each", [3, pytest.param(50, marks=long)])
def test_behind_a_store_at_fault_each_of_four_publishers_gets_each_of_its_numbers(
    num_each: int,
    served: GatedBucket,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """A tenth of the requests fails in one of five ways, and lists lag by a second."""
    monkeypatch.setattr(requests, "FIRST_WAIT_SECONDS", 0.02)
    log = DatasetLog(ObjectStore(f"{served.url}/datasets/train"))
    told = [(publish(log, 1, "first-0").number, "first-0")]
    served.gate.fault = sometimes(random.Random(num_each), 0.1, SLOW_DOWN, BROKEN, RESET, LOST, CUT)
    served.gate.lag_seconds = 1.0

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
    served.gate.lag_seconds = 0.0
    versions = assert_whole(log, told)
    with capfd.disabled():
        print(
            f"\n{len(versions)} versions of 4 publishers at once, {len(served.gate.requests)} "
            f"requests; a reader saw {num_seen} in {len(reader.numbers)} openings"
        )
    assert len(versions) == 4 * num_each + 1
