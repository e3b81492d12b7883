"""What nothing uses any more in an object store, and what is used while it is looked for."""

import time
from collections.abc import Iterable, Iterator
from itertools import count

import pytest

from codedata.errors import DatasetError, StoreError
from codedata.format.meta import META_NAME
from codedata.store.dataset_folder import open_snapshot
from codedata.store.object_store import ObjectStore
from codedata.store.pruning import remove_folder, unused_chunks, unused_folders
from codedata.store.versions import VERSIONS, DatasetLog
from codedata_tests.store.small_datasets import num_shards_of, stage

_NUMBERS = count()
STAGED = "0123456789abcdef" * 2
"""A folder as runs name theirs."""
_DAY = 86_400.0


@pytest.fixture
def root() -> Iterator[ObjectStore]:
    store = ObjectStore(f"memory://pruning-{next(_NUMBERS)}")
    yield store
    store.remove(store.list())


@pytest.fixture
def log(root: ObjectStore) -> DatasetLog:
    return DatasetLog(root.below("datasets/train"))


def publish(log: DatasetLog, num_shards: int) -> float:
    staged = log.stage(f"of-{num_shards}")
    stage(staged, num_shards)
    staged.publish()
    return time.time()


def prune(log: DatasetLog, before: float) -> list[str]:
    found = unused_folders(log, before)
    unused = [each for each in found if each.is_ours and each.newest <= before]
    return [each.why for each in unused if remove_folder(log, each, before)]


def folders(log: DatasetLog) -> list[str]:
    return sorted({name.partition("/")[0] for name in log.store.list()} - {VERSIONS[:-1]})


def test_versions_that_are_not_the_dataset_go_after_the_grace_and_their_records_stay(
    log: DatasetLog,
) -> None:
    for num_shards in (2, 3, 2, 4):
        publish(log, num_shards)
    stage(log.stage(STAGED), 1)
    assert unused_folders(log, time.time() - _DAY)[0].why == "was never published"
    assert prune(log, time.time() - _DAY) == []
    assert prune(log, time.time()) == ["was never published", "of version 1, 3", "of version 2"]
    assert (folders(log), len(log.versions())) == (["of-4"], 4)
    assert num_shards_of(open_snapshot(log.snapshot, verify=True)) == 4
    assert prune(log, time.time()) == []
    [first, *_] = log.versions()
    with pytest.raises(DatasetError, match=r"no dump-meta_data\.json"):
        open_snapshot(lambda: log.snapshot(first))
    publish(log, 2)
    assert num_shards_of(open_snapshot(log.snapshot, verify=True)) == 2


def test_what_was_the_dataset_within_the_grace_stays_by_the_clock_of_the_store(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The publishers' own is of last year; of a reader between two of them the older is open."""
    monkeypatch.setattr("codedata.store.versions._now", lambda: "2025-01-01T00:00+00:00")
    times: list[float] = []
    for num_shards in (1, 2, 3):
        times.append(publish(log, num_shards))
        time.sleep(0.01)
    unused = [{each.where for each in unused_folders(log, before)} for before in times]
    assert unused == [set(), {log.store.where("of-1")}, {*map(log.store.where, ("of-1", "of-2"))}]


def test_what_came_into_use_meanwhile_is_left(log: DatasetLog) -> None:
    publish(log, 2)
    publish(log, 3)
    now = time.time()
    [two] = unused_folders(log, now)
    log.store.put("of-2/dump-0.pkl", log.store.read("of-2/dump-0.pkl"))  # a run stages it again
    assert not remove_folder(log, two, now)
    assert log.store.list(f"of-2/{META_NAME}"), "nothing went, the meta no more than the rest"
    publish(log, 2)
    assert not remove_folder(log, two, time.time())
    assert num_shards_of(open_snapshot(log.snapshot, verify=True)) == 2


def test_what_is_published_after_the_last_look_at_it_is_given_its_meta_back(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    for num_shards in (2, 3):
        publish(log, num_shards)
    [unused] = unused_folders(log, time.time())
    remove = ObjectStore.remove

    def publish_then_remove(store: ObjectStore, names: Iterable[str]) -> None:
        monkeypatch.undo()
        publish(log, 2)
        remove(store, names)

    monkeypatch.setattr(ObjectStore, "remove", publish_then_remove)
    assert not remove_folder(log, unused, time.time())
    assert num_shards_of(open_snapshot(log.snapshot, verify=True)) == 2


@pytest.mark.parametrize("name", [META_NAME, "dump-0.pkl"])
def test_what_a_run_writes_anew_once_its_meta_went_is_left(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    for num_shards in (2, 3):
        publish(log, num_shards)
    before = time.time()
    [unused] = unused_folders(log, before)
    data, remove, removed = log.store.read(f"of-2/{name}"), ObjectStore.remove, list[str]()

    def remove_then_write(store: ObjectStore, names: Iterable[str]) -> None:
        removed.extend(names)
        remove(store, removed)
        log.store.put(f"of-2/{name}", data)

    monkeypatch.setattr(ObjectStore, "remove", remove_then_write)
    assert not remove_folder(log, unused, before)
    assert removed == [f"of-2/{META_NAME}"]


def test_a_run_whose_stage_was_pruned_publishes_nothing_and_says_so(log: DatasetLog) -> None:
    publish(log, 3)
    staged = log.stage(STAGED)
    stage(staged, 2)
    assert prune(log, time.time()) == ["was never published"]
    with pytest.raises(StoreError, match=rf"{STAGED}/{META_NAME} is gone: .*nothing was published"):
        staged.publish()
    assert len(log.versions()) == 1


def test_what_codedata_is_not_known_to_have_made_is_left(root: ObjectStore) -> None:
    """Beside versions a folder of another name, beside none each whole dataset, is somebody's."""
    with_versions, without = (DatasetLog(root.below(f"datasets/{name}")) for name in ("a", "b"))
    publish(with_versions, 2)
    for log in (with_versions, without):
        for folder in ("backup", STAGED):
            stage(log.stage(folder), 1)
        log.store.put(f"{STAGED[::-1]}/dump-0.pkl", b"of a run that was killed")
        log.store.put(f"{STAGED.upper()}/dump-0.pkl", b"of somebody")
    ours = [
        [each.where.rpartition("/")[2] for each in unused_folders(log, time.time()) if each.is_ours]
        for log in (with_versions, without)
    ]
    assert root.below("datasets").folders() == ["a", "b"]
    assert root.below("none").folders() == []
    assert ours == [[STAGED, STAGED[::-1]], [STAGED[::-1]]]
    assert {"backup", STAGED, STAGED.upper()} <= {
        each.where.rpartition("/")[2] for each in unused_folders(without, time.time())
    }


def test_of_chunks_those_go_whose_range_has_a_later_one(
    root: ObjectStore,
) -> None:
    chunks = root.below("chunks/train")
    names = [
        "00000/0000000000-0000000100.aa.12.ids.compiled.3.arrow",
        "00000/0000000100-0000000200.aa.12.ids.compiled.3.arrow",
        "00001/0000000000-0000000100.bb.12.ids.compiled.3.arrow",
        "00000/0000000000-0000000100.cc.12.ids.compiled.3.arrow",
        "00000/0000000000-0000000100.cc.12.ids.whole.0.arrow",
        "partitions.json",
    ]
    for name in names:
        chunks.put(name, b"ids")
    [unused] = unused_chunks(chunks, time.time())
    assert (unused.where, unused.names) == (chunks.where("00000"), [names[0], names[3]])
    assert unused.num_bytes == 6
    chunks.put(names[3], b"ids")  # is the last now
    [unused] = unused_chunks(chunks, time.time())
    assert unused.names == [names[0], names[4]]
    assert list(unused_chunks(chunks, time.time() - _DAY)) == []
