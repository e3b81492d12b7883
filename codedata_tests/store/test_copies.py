"""Datasets at URLs, read from copies in this user's cache; and that cache, which is bounded."""

import hashlib
import os
import pickle
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from codedata.errors import DatasetError, SettingsError, StoreError
from codedata.format.card import CARD_NAME
from codedata.format.facts import FACTS_NAME
from codedata.format.meta import META_NAME
from codedata.progress import SILENT, Reporter
from codedata.store import cache, copies, in_use, shard_files, streamed
from codedata.store.cache import CACHE_VARIABLE, KEPT_SECONDS, cached
from codedata.store.copies import dataset_copy, open_at, reopen
from codedata.store.locks import waiting_lock
from codedata.store.object_store import ObjectStore
from codedata.store.versions import DatasetLog
from codedata_tests.store.small_datasets import files_of, num_shards_of, stage

_NUMBERS = count()


@pytest.fixture
def log(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[DatasetLog]:
    """Of a dataset in memory; in moto, where a test asks for "s3"."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    root = f"memory://copies-{next(_NUMBERS)}"
    if getattr(request, "param", "memory") == "s3":
        root = request.getfixturevalue("bucket")
    store = ObjectStore(f"{root}/datasets/train")
    yield DatasetLog(store)
    store.remove(store.list())


@pytest.fixture
def asked(log: DatasetLog, monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each name of a store was read."""
    names: Counter[str] = Counter()
    read = ObjectStore.read

    def count_and_read(
        store: ObjectStore, name: str, start: int = 0, stop: int | None = None, **options: bool
    ) -> bytes:
        names[name] += 1
        return read(store, name, start, stop, **options)

    monkeypatch.setattr(ObjectStore, "read", count_and_read)
    return names


def publish(log: DatasetLog, num_shards: int) -> None:
    staged = log.stage(f"of-{num_shards}")
    stage(staged, num_shards)
    staged.publish()


def age(path: Path, seconds: float = 2 * KEPT_SECONDS) -> None:
    then = time.time() - seconds
    for each in (path, path.with_name(f".{path.name}.mark")):
        with suppress(FileNotFoundError):
            os.utime(each, (then, then))


def names_in(folder: Path) -> dict[str, int]:
    """The files that the cache has in a folder, and their bytes."""
    with os.scandir(folder) as found:
        return {each.name: each.stat().st_size for each in found if not each.name.startswith(".")}


def copy(log: DatasetLog, version: str = "") -> Path:
    return dataset_copy(f"{log.store.url}{version}", SILENT)


# Copies


def test_a_copy_is_a_dataset_folder_of_one_version_that_is_brought_once(
    log: DatasetLog, asked: Counter[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streamed, "PIECE_BYTES", 20)
    publish(log, 2)
    first = copy(log)
    assert (first.name, num_shards_of(first)) == ("train", 2)
    assert sorted(os.listdir(first)) == sorted([CARD_NAME, FACTS_NAME, META_NAME, *files_of(2)])
    asked.clear()
    assert copy(log) == first
    assert {*asked} == {"_versions/0000000001.json", "_versions/0000000002.json"}
    publish(log, 3)
    assert [num_shards_of(each) for each in (copy(log), first, copy(log, "@1"))] == [3, 2, 2]
    assert copy(log, "/") == copy(log, "@2")
    with pytest.raises(DatasetError, match=r"train has no version 7: its versions are 1 to 2"):
        copy(log, "@7")
    with pytest.raises(DatasetError, match=r"no/datasets/x holds no dump-meta_data.json"):
        dataset_copy("memory://no/datasets/x", SILENT)


def test_of_many_that_ask_for_a_copy_one_brings_it(log: DatasetLog, asked: Counter[str]) -> None:
    publish(log, 4)
    asked.clear()
    with ThreadPoolExecutor(6) as threads:
        [folder] = {*threads.map(lambda _: copy(log), range(6))}
    assert num_shards_of(folder) == 4
    assert {asked[f"of-4/dump-{index}.pkl"] for index in range(4)} == {1}


@pytest.mark.parametrize("num_shards", [3, 4])
def test_a_copy_that_was_cut_off_or_met_a_damaged_file_goes_on_with_what_is_here(
    num_shards: int, log: DatasetLog, asked: Counter[str]
) -> None:
    publish(log, num_shards)
    files = files_of(num_shards)
    [*others, last] = (f"of-{num_shards}/{name}" for name in files)
    [*_, whole] = files.values()
    log.store.put(last, whole[:-1] + b"x")
    with pytest.raises(DatasetError, match=rf"{last} does not have the sha256"):
        copy(log)
    log.store.put(last, whole)
    asked.clear()
    assert num_shards_of(copy(log)) == num_shards
    assert [asked[name] for name in (*others, last)] == [0] * len(others) + [1]
    log.store.put(f"of-{num_shards}/{META_NAME}", b"{}")
    with pytest.raises(DatasetError, match=r"dump-meta_data.json is not what was published"):
        copies.bring(*copies.find_version(log.store.url), lambda *_: None, SILENT)


def test_what_is_pruned_while_it_is_brought_gives_way_to_what_was_published_since(
    log: DatasetLog,
) -> None:
    publish(log, 2)
    bring = copies.bring
    with pytest.MonkeyPatch.context() as patch:

        def overtaken(*given: Any, **named: Any) -> None:
            patch.undo()
            publish(log, 3)
            log.store.remove(["of-2/dump-0.pkl"])
            bring(*given, **named)

        patch.setattr(copies, "bring", overtaken)
        assert num_shards_of(copy(log)) == 3
    with pytest.raises(DatasetError, match=r"train@1 lacks dump-0.pkl, .*: it was pruned"):
        copy(log, "@1")


def test_what_is_larger_than_the_cache_is_not_brought_and_the_command_that_does_is_named(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(log, 2)
    monkeypatch.setenv(CACHE_VARIABLE, "100")
    with pytest.raises(DatasetError, match=rf"`codedata fetch {log.store.url} FOLDER` brings it"):
        copy(log)
    monkeypatch.setenv(CACHE_VARIABLE, "1 GB")
    with pytest.raises(SettingsError, match="CODEDATA_CACHE_BYTES is '1 GB'; write a number of by"):
        copy(log)


def test_plain_datasets_without_hashes_are_told_apart_by_where_they_are_and_by_their_objects(
    log: DatasetLog,
) -> None:
    """The old script's meta has counts alone, which those of another tokenizer may share."""

    def put(place: str, token: int) -> str:
        store = ObjectStore(f"{log.store.url}/{place}/train")
        store.put("dump-0.pkl", pickle.dumps([[token] * 4 for _ in range(3)]))
        store.put(META_NAME, b'{"dump-0.pkl": {"num_samples": 3, "num_tokens": 12}}')
        return store.url

    def token_of(url: str) -> int:
        return int(open_at(url, SILENT).shards[0][0, 0])

    one, other = put("one", 1), put("other", 2)
    assert (token_of(one), token_of(other)) == (1, 2)
    put("one", 7)
    assert token_of(one) == 7


def test_a_copy_that_went_is_brought_again_for_another_process(log: DatasetLog) -> None:
    publish(log, 2)
    lines: list[str] = []
    dataset = open_at(log.store.url, Reporter(lines.append, in_terminal=False), verify=True)
    assert lines[-1].startswith(f"reading {log.store.url}@1 from its copy /")
    assert (dataset.url, dataset.where) == (f"{log.store.url}@1", f"{log.store.url}@1")
    publish(log, 3)
    for _ in range(2):
        again = reopen(dataset.folder, dataset.url)
        assert (again.url, again.digest, num_shards_of(again)) == (dataset.url, dataset.digest, 2)
        cache.remove(dataset.folder.parent)
    assert num_shards_of(dataset) == 2  # its files are mapped


def test_a_copy_that_a_process_or_one_that_it_forked_has_open_stays_and_what_comes_beside_is_told(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    publish(log, 2)
    dataset = open_at(log.store.url, SILENT)
    home = dataset.folder.parent
    num_bytes = sum(path.stat().st_size for path in dataset.folder.iterdir())
    monkeypatch.setenv(CACHE_VARIABLE, str(num_bytes))
    publish(log, 3)
    age(home)
    lines: list[str] = []
    beside = open_at(log.store.url, Reporter(lines.append, in_terminal=False))
    assert lines[0] == (
        f"the cache has more than its 0.0 MB with a copy of {log.store.url}@2: what else is there "
        "is in use, or was so lately; raise CODEDATA_CACHE_BYTES, or stream it (stream=True)"
    )
    reading, writing = os.pipe()
    if not (pid := os.fork()):
        os.close(writing)
        os.read(reading, 1)
        os._exit(0)
    os.close(reading)
    del dataset
    for is_used in (True, False):
        age(home)
        assert not cache.make_room(num_bytes) or not is_used
        assert home.exists() == is_used
        if is_used:
            os.close(writing)
            os.waitpid(pid, 0)
    assert num_shards_of(beside) == 3


def test_a_copy_of_which_files_are_asked_for_counts_as_asked_for_where_there_are_no_locks(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shard_files, "_FEW_FILES", 0)
    publish(log, 2)
    dataset = open_at(log.store.url, SILENT)
    home = dataset.folder.parent
    monkeypatch.setattr(in_use, "_lock", lambda *_: True)
    for seconds, is_asked in ((60.0, False), (-1.0, True)):
        monkeypatch.setattr(in_use, "_ASKING_SECONDS", seconds)
        age(home)
        _ = dataset.shards[int(is_asked)]
        assert (home.stat().st_mtime > time.time() - KEPT_SECONDS) == is_asked
    age(home)
    monkeypatch.setenv(CACHE_VARIABLE, "1")
    assert cache.make_room(1)
    assert not home.exists()
    shard_files._mapped.drop((dataset.files._own, 0))  # as many others are mapped
    dataset.files.let_go(0)
    gone = rf"was removed since it was opened; this is a copy of {log.store.url}@1: remove {home},"
    with pytest.raises(DatasetError, match=gone):
        _ = dataset.shards[0]
    monkeypatch.delenv(CACHE_VARIABLE)
    assert num_shards_of(reopen(dataset.folder, dataset.url)) == 2


# Objects


def put(log: DatasetLog, name: str, num_bytes: int) -> str:
    data = os.urandom(num_bytes)
    log.store.put(name, data)
    return hashlib.sha256(data).hexdigest()


def test_an_object_is_fetched_once_and_only_what_was_asked_for_is_taken(
    log: DatasetLog, asked: Counter[str]
) -> None:
    sha256 = put(log, "parts/a", 10)
    with ThreadPoolExecutor(4) as threads:
        [path] = {*threads.map(lambda _: cached(log.store, "parts/a", sha256), range(4))}
    assert path.read_bytes() == log.store.read("parts/a")
    assert asked["parts/a"] == 2
    other = put(log, "parts/b", 10)
    assert cached(log.store, "parts/b", other[:16]).name == other[:16]
    log.store.put("parts/c", b"cut")
    with pytest.raises(
        StoreError, match=rf"parts/c does not hold what .* 3 bytes .*, not {'0' * 64}"
    ):
        cached(log.store, "parts/c", "0" * 64)
    with pytest.raises(FileNotFoundError):
        cached(log.store, "parts/d", "0" * 64)
    assert {*names_in(path.parent)} == {sha256, other[:16]}


def test_an_object_is_fetched_all_the_same_where_who_began_it_does_not_end(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was killed on another machine, on a filesystem without flock; or it stands still here."""
    monkeypatch.setattr(cache, "WAITING_SECONDS", 0.3)
    folder = cache.cache_place("objects")
    folder.mkdir(parents=True)
    gone, still = (put(log, name, 10) for name in ("gone", "still"))
    mark = folder / f".{gone}.lock"
    mark.write_text("4242\nnode-17\n", encoding="utf-8")
    with waiting_lock(folder / f".{still}.lock", pytest.fail):
        held = [cached(log.store, *each).name for each in (("gone", gone), ("still", still))]
    assert held == [gone, still]
    assert mark.exists(), "it is not ours"


def test_what_was_asked_for_longest_ago_goes_first_and_nothing_that_was_just_asked_for(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, "6000")
    publish(log, 2)
    folder = copy(log)
    names = [(name, put(log, name, 2000)) for name in ("a", "b", "c", "d")]
    first, second, *_ = paths = [cached(log.store, *each) for each in names]
    assert all(path.exists() for path in paths), "what was just asked for stays"
    for seconds, path in enumerate((folder.parent, second, first, *paths[2:])):
        age(path, 3 * KEPT_SECONDS - seconds)
    cached(log.store, *names[0])
    cached(log.store, "e", put(log, "e", 2000))
    there = [path.exists() for path in (folder, *paths)]
    assert there == [False, True, False, False, True]
    assert not [*folder.parent.parent.glob(".*")]
