"""Datasets that are streamed: opened by a listing, whole files by their hash, a bounded cache."""

import errno
import logging
import os
import pickle
import signal
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from codedata.errors import DatasetError, StoreError
from codedata.format.meta import META_NAME
from codedata.progress import SILENT
from codedata.store import cache, cached_shards, streamed
from codedata.store.cache import CACHE_VARIABLE, cache_place
from codedata.store.cached_shards import CacheFullError, fetch_shard, open_shard
from codedata.store.copies import dataset_copy, open_at, reopen
from codedata.store.dataset_folder import Dataset
from codedata.store.files import is_temporary
from codedata.store.locks import mark_at_work, waiting_lock
from codedata.store.object_store import ObjectStore
from codedata.store.versions import DatasetLog
from codedata_tests.script_runs import needs_proc
from codedata_tests.sources.loopback_s3 import wait_until
from codedata_tests.store.small_datasets import SEQ_LENGTH, files_of, num_shards_of
from codedata_tests.store.test_copies import age, asked, log, names_in, publish

__all__ = ["asked", "log"]  # fixtures


def opened(log: DatasetLog, version: str = "", **options: Any) -> Dataset:
    return open_at(f"{log.store.url}{version}", SILENT, stream=True, **options)


def held() -> dict[str, int]:
    """The files of streams in the cache, and their bytes."""
    return names_in(cache_place("shards"))


@pytest.mark.parametrize(("log", "num_shards"), [("memory", 3), ("s3", 4)], indirect=["log"])
def test_a_stream_is_opened_by_its_meta_and_a_listing_and_each_file_comes_once(
    num_shards: int, log: DatasetLog, asked: Counter[str]
) -> None:
    publish(log, num_shards)
    asked.clear()
    dataset = opened(log)
    first = Counter({"_versions/0000000001.json": 1, "_versions/0000000002.json": 1})
    assert asked == first + Counter([f"of-{num_shards}/{META_NAME}"])
    assert (dataset.url, dataset.where, dataset.num_samples) == (
        f"{log.store.url}@1", f"{log.store.url}@1", num_shards * (num_shards + 1) // 2
    )  # fmt: skip
    assert dataset.facts is not None
    asked.clear()
    assert num_shards_of(dataset) == num_shards
    if dataset.has_documents:
        assert [len(dataset.documents(index)) for index in range(num_shards)] == [1, 2, 3, 4]
    assert asked == Counter(f"of-{num_shards}/{name}" for name in files_of(num_shards))
    asked.clear()
    assert num_shards_of(opened(log)) == num_shards
    assert asked == first, "what is here is not asked for"


def test_another_process_reads_on_without_a_request_for_what_is_here(
    log: DatasetLog, asked: Counter[str]
) -> None:
    publish(log, 4)
    dataset = opened(log)
    num_shards_of(dataset)
    asked.clear()
    state = pickle.dumps((dataset.folder, dataset.url, dataset.stream))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ObjectStore, "scan", lambda *_: pytest.fail("it lists again"))
        again = reopen(*pickle.loads(state))
        assert num_shards_of(again) == 4
    assert (again.digest, again.where) == (dataset.digest, dataset.where)
    assert not asked
    assert len(state) < 4000, "neither entries nor files"


def test_of_many_that_ask_for_a_file_one_fetches_it(log: DatasetLog, asked: Counter[str]) -> None:
    publish(log, 3)
    datasets = [opened(log) for _ in range(6)]
    asked.clear()
    with ThreadPoolExecutor(6) as threads:
        assert {*threads.map(num_shards_of, datasets)} == {3}
    assert {*asked.values()} == {1}


@pytest.mark.timeout(60)
def test_a_signal_handler_has_the_shard_that_is_being_fetched(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(log, 3)
    dataset, read, seen = opened(log), ObjectStore.read, list[Any]()

    def interrupted(*of_file: Any, **how: Any) -> bytes:
        monkeypatch.setattr(ObjectStore, "read", read)
        signal.raise_signal(signal.SIGUSR1)
        return read(*of_file, **how)

    monkeypatch.setattr(ObjectStore, "read", interrupted)
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(len(dataset.shards[2])))
    try:
        assert [len(dataset.shards[2]), *seen] == [3, 3]
    finally:
        signal.signal(signal.SIGUSR1, before)
    assert not [name for name in os.listdir(cache_place("shards")) if is_temporary(name)]


def test_a_stream_stays_of_its_version_and_says_when_that_is_pruned(log: DatasetLog) -> None:
    publish(log, 2)
    dataset = opened(log)
    publish(log, 3)
    assert [num_shards_of(each) for each in (dataset, opened(log), opened(log, "@1"))] == [2, 3, 2]
    publish(log, 5)
    overtaken = opened(log)
    log.store.remove(["of-5/dump-3.pkl"])
    assert overtaken.shards[2].shape == (3, SEQ_LENGTH)
    with pytest.raises(DatasetError, match=r"train@3 lacks dump-3.pkl, .*: it was pruned, or some"):
        _ = overtaken.shards[3]
    with pytest.raises(DatasetError, match=r"train@3 lacks dump-3.pkl"):
        opened(log)
    with pytest.raises(DatasetError, match=r"train has no version 9: its versions are 1 to 3"):
        opened(log, "@9")
    publish(log, 7)
    log.store.remove([f"of-7/{META_NAME}"])
    with pytest.raises(DatasetError, match=rf"train@4 was pruned: its {META_NAME} is gone"):
        opened(log)


@pytest.mark.parametrize("num_shards", [3, 4])
def test_a_damaged_file_is_refused_before_anything_of_it_is_given(
    num_shards: int, log: DatasetLog
) -> None:
    publish(log, num_shards)
    *_, (name, whole) = files_of(num_shards).items()
    damaged = whole[:-1] + bytes([whole[-1] ^ 1])
    log.store.put(f"of-{num_shards}/{name}", damaged)
    dataset = opened(log)

    def last() -> Any:
        return dataset.documents(-1) if dataset.has_documents else dataset.shards[-1]

    for _ in range(2):
        with pytest.raises(DatasetError, match=rf"train@1/{name} does not have the sha256"):
            last()
    assert not [each for each in os.listdir(cache_place("shards")) if is_temporary(each)]
    log.store.put(f"of-{num_shards}/{name}", whole)
    assert len(last()) == num_shards


def test_a_byte_that_was_changed_on_its_way_costs_one_more_request(
    log: DatasetLog, asked: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(log, 3)
    dataset, read = opened(log), ObjectStore.read
    asked.clear()

    def damaged_once(store: ObjectStore, name: str, *limits: Any, **how: Any) -> bytes:
        data = read(store, name, *limits, **how)
        return data[:-1] + bytes([data[-1] ^ 1]) if asked[name] == 1 else data

    monkeypatch.setattr(ObjectStore, "read", damaged_once)
    assert num_shards_of(dataset) == 3
    assert asked == Counter({f"of-3/{name}": 2 for name in files_of(3)})


def test_a_listing_that_does_not_fit_the_meta_is_refused_at_once(log: DatasetLog) -> None:
    publish(log, 3)
    log.store.put("of-3/dump-7.pkl", b"another run's")
    with pytest.raises(DatasetError, match=r"train@1 holds dump-7.pkl, which its meta does not"):
        opened(log)
    log.store.remove(["of-3/dump-7.pkl"])
    whole = log.store.read("of-3/dump-1.pkl")
    log.store.put("of-3/dump-1.pkl", b"")
    with pytest.raises(DatasetError, match=r"train@1/dump-1.pkl is empty"):
        opened(log)
    log.store.put("of-3/dump-1.pkl", whole[:-1])
    said = rf"train@1/dump-1.pkl has {len(whole) - 1} bytes, which are none .*: it was cut off"
    with pytest.raises(DatasetError, match=said):
        opened(log)


def test_what_cannot_be_streamed_says_so(log: DatasetLog, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(log, 2)
    with pytest.raises(DatasetError, match="verify=True would bring all of what stream=True"):
        opened(log, verify=True)
    monkeypatch.setenv(CACHE_VARIABLE, "100")
    with pytest.raises(DatasetError, match=r"more than the 0.0 MB that the cache may have; raise"):
        opened(log)
    with pytest.raises(DatasetError, match=r"stream it \(stream=True\), or `codedata fetch"):
        dataset_copy(log.store.url, SILENT)
    log.store.put("old/dump-0.pkl", pickle.dumps([[1] * 4 for _ in range(3)]))
    log.store.put(f"old/{META_NAME}", b'{"dump-0.pkl": {"num_samples": 3, "num_tokens": 12}}')
    with pytest.raises(DatasetError, match="train/old has no sha256 in its meta, by which"):
        open_at(f"{log.store.url}/old", SILENT, stream=True)


# The cache


def shard(number: int, fetched: Counter[int], num_bytes: int = 1000) -> Callable[[], bytes]:
    """What opens a file of a stream, and reads it."""

    def write(file: Any) -> None:
        fetched[number] += 1
        file.write(bytes([number]) * num_bytes)

    def read() -> bytes:
        with open_shard(f"{number:064x}", num_bytes, write) as file:
            return file.read()

    return read


@pytest.mark.usefixtures("log")
def test_the_cache_is_never_larger_than_its_bound_and_what_is_mapped_stays(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(log, 11)
    sizes = {name: len(data) for name, data in files_of(11).items()}
    bound = 3 * max(sizes.values())
    (cache_place("objects")).mkdir(parents=True)
    dataset = opened(log)
    meta = sum(names_in(cache_place("objects")).values())
    monkeypatch.setenv(CACHE_VARIABLE, str(bound + meta))
    arrays: list[Any] = []
    for _ in range(2):
        for index in range(11):
            arrays.append(dataset.shards[index])
            assert 0 < sum(held().values()) <= bound
    assert all((each == 11).all() for each in arrays), "mapped before it went"
    assert [len(each) for each in arrays] == [*range(1, 12)] * 2


def test_what_went_is_held_by_a_process_only_until_it_maps_another(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Else a disk would have to hold what 192 maps of each of 64 processes are of."""
    publish(log, 5)
    dataset = opened(log)
    meta = sum(names_in(cache_place("objects")).values())
    monkeypatch.setenv(CACHE_VARIABLE, str(meta + 2 * len(files_of(5)["dump-4.pkl"])))
    first = dataset.shards[0]
    assert dataset.shards[0] is first
    for index in (2, 3, 4):
        _ = dataset.shards[index]
    assert dataset.shards[0] is not first
    assert len(held()) == 2


def test_what_was_asked_for_last_stays_and_so_does_what_a_path_was_given_of(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "3000")
    fetched: Counter[int] = Counter()
    for number in (1, 2, 3, 1, 4):
        assert shard(number, fetched)() == bytes([number]) * 1000
    assert sorted(int(name, 16) for name in held()) == [1, 3, 4]
    assert {*fetched.values()} == {1}
    kept = cache_place("objects") / "kept"
    kept.parent.mkdir()
    kept.write_bytes(bytes(2500))
    assert shard(5, fetched)() == bytes([5]) * 1000
    assert (kept.exists(), held()) == (True, {}), "it was given, and there is no room to keep it"
    age(kept)
    assert shard(5, fetched)() == bytes([5]) * 1000
    assert (kept.exists(), len(held()), fetched[5]) == (False, 1, 2)


@pytest.mark.usefixtures("log")
def test_what_a_killed_process_left_counts_and_goes_when_its_room_is_needed_and_no_other(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "3000")
    fetched: Counter[int] = Counter()
    folder = cache_place("shards")
    folder.mkdir(parents=True)
    left, at_work, begun = (folder / f".{n:050x}.0123456789abcdef.tmp" for n in (7, 8, 9))
    left.write_bytes(bytes(500))
    begun.touch()
    for name in (".7.lock", ".7.lock.holder"):
        (folder / name).touch()
    with at_work.open("wb") as file:
        mark_at_work(file)
        file.write(bytes(900))
        file.flush()
        age(at_work)  # of a process that was suspended
        assert shard(1, fetched)() == bytes([1]) * 1000
        assert left.exists(), "it has room beside it"
        assert shard(2, fetched)() == bytes([2]) * 1000
        assert names_in(folder) == {f"{n:064x}": 1000 for n in (1, 2)}
        assert (left.exists(), at_work.exists(), begun.exists()) == (False, True, True)
        assert not [each for each in os.listdir(folder) if each.endswith((".lock", ".holder"))]
        assert shard(3, fetched)() == bytes([3]) * 1000
        assert len(names_in(folder)) == 2
    assert shard(4, fetched)() == bytes([4]) * 1000
    age(begun)
    assert shard(5, fetched)() == bytes([5]) * 1000
    assert not [each for each in os.listdir(folder) if is_temporary(each)]
    assert len(names_in(folder)) == 3


@pytest.mark.usefixtures("log")
def test_many_files_come_and_go_by_one_look_at_the_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    """Which takes a third of a second where 10,000 are, while nobody else may make room."""
    monkeypatch.setenv(CACHE_VARIABLE, "64000")
    fetched, looks, look = Counter[int](), list[int](), cache._found

    def counted() -> Any:
        found = look()
        looks.append(sum(size for _, size in found))
        return found

    monkeypatch.setattr(cache, "_found", counted)
    for number in range(200):
        assert shard(number, fetched, 200)() == bytes([number]) * 200
    assert len(looks) == 34, "a 64th of the bound is five files, beside the one at hand"
    for number in range(200, 400):
        assert shard(number % 256, fetched, 900)()[0] == number % 256
        assert sum(held().values()) <= 64000
    assert len({*fetched}) == 256


@pytest.mark.usefixtures("log")
def test_of_one_that_stands_still_while_it_makes_room_the_others_wait_once_and_say_so(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(cached_shards, "WAITING_SECONDS", 0.3)
    monkeypatch.setattr(cached_shards, "_STUCK", [])
    fetched: Counter[int] = Counter()
    shard(1, fetched)()
    lock = cache_place("shards") / ".room.lock"
    for number in (2, 5):
        with waiting_lock(lock, lambda _: None):
            started = time.monotonic()
            for each in range(number, number + 3):
                shard(each, fetched)()
            assert time.monotonic() - started >= 0.3
        shard(number + 3, fetched)()
    said = [f"waiting for process {os.getpid()} on " in each for each in caplog.messages]
    assert said == [True] * 2, "once for each that stood still"
    assert len(held()) == 8


@pytest.mark.usefixtures("log")
def test_on_a_full_disk_the_cache_gives_way_and_then_says_what_helps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    fetched: Counter[int] = Counter()
    for number in (1, 2, 3):
        shard(number, fetched)()
    (cache_place("shards") / ".left").unlink()
    monkeypatch.setattr(cached_shards, "_LEFT", "no/room/for/.left")

    def on_a_disk_of(most_bytes: int, number: int) -> bytes:
        monkeypatch.setattr(cache, "_free_bytes", lambda: most_bytes - sum(held().values()))

        def write(file: Any) -> None:
            if sum(held().values()) + 1000 > most_bytes:
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            file.write(bytes([number]) * 1000)

        with open_shard(f"{number:064x}", 1000, write) as file:
            return file.read()

    assert on_a_disk_of(2500, 4) == bytes([4]) * 1000
    assert sorted(int(name, 16) for name in held()) == [3, 4], "what was asked for last stays"
    said = r"shards, the cache, takes no file \(No space left on device\); make room on its disk"
    with pytest.raises(StoreError, match=said):
        on_a_disk_of(500, 5)
    assert not [each for each in os.listdir(cache_place("shards")) if is_temporary(each)]


def test_of_what_the_cache_has_no_room_for_a_process_holds_one_file(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(log, 6)
    dataset = opened(log)
    kept = cache_place("objects") / "kept"
    kept.parent.mkdir(parents=True, exist_ok=True)
    kept.write_bytes(bytes(4000))
    monkeypatch.setenv(CACHE_VARIABLE, "4000")
    for index in range(6):
        assert dataset.shards[index].shape == (index + 1, SEQ_LENGTH)
        assert [*dataset.files._arrays] == [2 * index]
    assert not held()


@needs_proc
def test_what_is_mapped_leaves_a_full_disk_too_and_no_more_goes_than_helps(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(log, 12)
    sizes, write_hashed = dict[str, int](), streamed.write_hashed

    def used() -> int:
        sizes.update(held())
        maps = Path("/proc/self/maps").read_text()
        gone = {name for name in sizes.keys() - held() if f"/{name} (deleted)" in maps}
        return sum(sizes[name] for name in {*held(), *gone})

    def on_a_disk(file: Any, read: Any, num_bytes: int, *rest: Any) -> None:
        if used() + num_bytes > most_bytes:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write_hashed(file, read, num_bytes, *rest)

    dataset = opened(log)
    kept = [dataset.shards[index] for index in range(11)]
    most_bytes = used()
    monkeypatch.setattr(cache, "_free_bytes", lambda: most_bytes - used())
    monkeypatch.setattr(streamed, "write_hashed", on_a_disk)
    monkeypatch.setattr(streamed, "_FULL_SECONDS", (0.0,))
    with pytest.raises(CacheFullError, match="takes no file"):
        _ = dataset.shards[11]
    assert len(held()) > 2, "what does not help stays"
    del kept
    for index in (11, *range(11)):
        assert dataset.shards[index].shape == (index + 1, SEQ_LENGTH)
        assert used() <= most_bytes


@pytest.mark.usefixtures("log")
def test_what_has_no_room_is_not_fetched_ahead(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "1500")
    fetched: Counter[int] = Counter()
    kept = cache_place("objects") / "kept"
    kept.parent.mkdir(parents=True)
    kept.write_bytes(bytes(600))
    fetch_shard(f"{1:064x}", 1000, lambda _: pytest.fail("it is fetched"))
    assert shard(1, fetched)() == bytes([1]) * 1000
    kept.unlink()
    fetch_shard(f"{1:064x}", 1000, lambda file: file.write(bytes([1]) * 1000))
    assert len(held()) == 1


def test_a_slow_store_is_waited_for_with_a_line(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    publish(log, 1)
    monkeypatch.setattr(streamed, "_SLOW_SECONDS", 0.05)
    dataset = opened(log)
    read = type(log.store).read

    def slowly(*given: Any, **how: Any) -> bytes:
        wait_until(lambda: caplog.messages)
        return read(*given, **how)

    monkeypatch.setattr(type(log.store), "read", slowly)
    with caplog.at_level(logging.WARNING, "codedata"):
        assert num_shards_of(dataset) == 1
    assert caplog.messages == [f"{log.store.url}@1/dump-0.pkl: waited for since 0 s"]
