"""What nothing uses any more in an object store, and what is used while it is looked for."""

import time
from collections.abc import Iterable, Iterator
from itertools import count

import pytest

from codedata.errors import DatasetError, StoreError
from codedata.format.meta import META_NAME
from codedata.store.dataset_folder import open_snapshot
from codedata.store.object_store import ObjectStore
from codedata.store.pruning import (
    dataset_names,
    remove_folder,
    unused_chunks,
    unused_folders,
)
from codedata.store.versions import VERSIONS, DatasetLog
from codedata_tests.store.small_datasets import num_shards_of, stage

_NUMBERS = count()
_DAY = 86_400.0
_STAGED = "0123456789abcdef" * 2
"""A folder as runs name theirs."""


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
    unused = [each for each in unused_folders(log, before) if each.newest <= before]
    return [each.why for each in unused if remove_folder(log, each, before)]


def folders(log: DatasetLog) -> list[str]:
    return sorted({name.partition("/")[0] for name in log.store.list()} - {VERSIONS[:-1]})


def test_versions_that_are_not_the_dataset_go_after_the_grace_and_their_records_stay(
    log: DatasetLog,
) -> None:
    for num_shards in (2, 3, 2, 4):
        publish(log, num_shards)
    stage(log.stage(_STAGED), 1)
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


def test_what_was_the_dataset_within_the_grace_stays(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The versions are of the days 1, 3 and 6; of a reader of day 4 the second one is open."""
    for day, num_shards in ((1, 1), (3, 2), (6, 3)):
        with monkeypatch.context() as patch:
            patch.setattr("codedata.store.versions._now", lambda day=day: f"2026-01-0{day}T00:00Z")
            publish(log, num_shards)
    old = {each.where for each in unused_folders(log, 1767484800.0)}  # day 4
    assert old == {log.store.where("of-1")}
    assert {each.where for each in unused_folders(log, 1767744000.0)} == {
        log.store.where("of-1"),
        log.store.where("of-2"),
    }


def test_what_came_into_use_meanwhile_is_left(log: DatasetLog) -> None:
    publish(log, 2)
    publish(log, 3)
    now = time.time()
    [two] = unused_folders(log, now)
    log.store.put("of-2/dump-0.pkl", log.store.read("of-2/dump-0.pkl"))  # a run stages it again
    assert not remove_folder(log, two, now)
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


def test_a_run_whose_stage_was_pruned_publishes_nothing_and_says_so(log: DatasetLog) -> None:
    publish(log, 3)
    staged = log.stage(_STAGED)
    stage(staged, 2)
    assert prune(log, time.time()) == ["was never published"]
    with pytest.raises(
        StoreError, match=rf"{_STAGED}/{META_NAME} is gone: .*nothing was published"
    ):
        staged.publish()
    assert len(log.versions()) == 1


def test_a_dataset_that_somebody_copied_below_the_root_is_not_taken_for_a_version(
    root: ObjectStore, log: DatasetLog
) -> None:
    for num_shards in (2, 3):
        publish(log, num_shards)
    copies = [root.below(f"datasets/{name}") for name in ("mine/train", "train/backup", "plain")]
    for copy in copies:
        for name in log.store.list("of-2/"):
            copy.put(name.removeprefix("of-2/"), log.store.read(name))
    names = dataset_names(root.below("datasets"))
    assert names == ["mine", "plain", "train"]
    logs = [DatasetLog(root.below(f"datasets/{name}")) for name in names]
    assert [prune(each, time.time()) for each in logs] == [[], [], ["of version 1"]]
    assert [DatasetLog(copy).published().num_shards for copy in copies] == [2, 2, 2]


def test_of_chunks_those_go_whose_range_has_a_later_one_of_another_fingerprint(
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
    root.put("datasets/one/of/dump-0.pkl", b"")
    root.put("datasets/two/_versions/0000000001.json", b"")
    [unused] = unused_chunks(chunks, time.time())
    assert (unused.where, unused.names) == (chunks.where("00000"), names[:1])
    assert unused.num_bytes == 3
    assert list(unused_chunks(chunks, time.time() - _DAY)) == []
    assert dataset_names(root.below("datasets")) == ["one", "two"]
