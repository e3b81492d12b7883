"""Versions of a dataset in an object store: published at once, read meanwhile, behind old lists."""

import json
import pickle
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from dataclasses import dataclass, field
from itertools import count, pairwise

import pytest

from codedata.errors import DatasetError, StoreError
from codedata.format.card import CARD_NAME, render_card
from codedata.format.facts import FACTS_NAME
from codedata.format.meta import MAX_SHARDS, META_NAME
from codedata.store.dataset_folder import open_snapshot
from codedata.store.object_store import Found, ObjectStore
from codedata.store.versions import VERSIONS, DatasetLog, Version, record_name
from codedata_tests.store.small_datasets import facts, files_of, num_shards_of, stage

_NUMBERS = count()


@pytest.fixture
def log() -> Iterator[DatasetLog]:
    store = ObjectStore(f"memory://versions-{next(_NUMBERS)}/datasets/train")
    yield DatasetLog(store)
    store.remove(store.list())


def publish(log: DatasetLog, num_shards: int, command: str = "make it") -> Version:
    staged = log.stage(f"of-{num_shards}")
    stage(staged, num_shards, command)
    return staged.publish()


def opened(log: DatasetLog, version: Version | None = None) -> int:
    return num_shards_of(open_snapshot(lambda: log.snapshot(version), verify=True))


def test_each_version_is_kept_and_the_one_with_the_highest_number_is_the_dataset(
    log: DatasetLog,
) -> None:
    assert (log.head(), log.versions()) == (None, [])
    versions = [publish(log, num_shards) for num_shards in (2, 3, 2)]
    assert [each.number for each in versions] == [1, 2, 3]
    assert (log.head(), log.versions()) == (versions[-1], versions)
    assert [opened(log, each) for each in versions] == [2, 3, 2]
    assert opened(log) == 2
    [_, three, _] = versions
    assert (three.num_shards, three.num_samples, three.seq_length, three.num_tokens) == (
        3,
        6,
        3,
        18,
    )
    assert three.facts is not None
    assert three.card == render_card(facts(3))
    assert three.made_of == facts(3)
    meta = log.store.read(f"of-3/{META_NAME}")
    assert three.num_bytes == len(meta) + sum(map(len, files_of(3).values()))
    [first, *_] = log.store.list(VERSIONS)
    assert first == "_versions/0000000001.json"
    assert json.loads(log.store.read(first))["digest"] == versions[0].digest


def test_what_is_the_head_already_is_published_once_and_other_facts_are_another_version(
    log: DatasetLog,
) -> None:
    first = publish(log, 2)
    assert publish(log, 2) == first
    second = publish(log, 2, "make it otherwise")
    assert (second.number, second.digest, second.folder) == (2, first.digest, first.folder)
    assert log.versions() == [first, second]
    with log.snapshot(first) as old, log.snapshot(second) as new:
        assert old.read(CARD_NAME) == render_card(facts(2))
        assert new.read(CARD_NAME) == render_card(facts(2, "make it otherwise"))
        assert sorted(old.sizes("")) == sorted(new.sizes("")) == sorted(first.names)


def test_workers_write_the_shards_of_a_stage_and_the_driver_what_is_said_of_them(
    log: DatasetLog,
) -> None:
    staged = log.stage("of-4")
    stage(staged, 4)
    by_workers = DatasetLog(ObjectStore(f"{log.store.url}-too")).stage("of-4")
    sent = pickle.dumps(by_workers)
    assert len(sent) < 500
    for name, data in files_of(4).items():
        pickle.loads(sent).put(name, data)
    by_workers.add_facts(facts(4))
    checked = by_workers.snapshot()
    assert {*checked.sizes("")} == {*files_of(4)}
    by_workers.put(META_NAME, staged.snapshot().read(META_NAME))
    assert num_shards_of(open_snapshot(lambda: nullcontext(checked), verify=True)) == 4
    assert by_workers.log.head() is None
    assert by_workers.publish().digest == staged.publish().digest


def test_a_plain_folder_that_was_copied_to_a_url_is_read_until_something_is_published_there(
    log: DatasetLog,
) -> None:
    with pytest.raises(DatasetError, match=rf"{log.store.url} holds no dump-meta_data.json"):
        log.published()
    copied = DatasetLog(ObjectStore(f"{log.store.url}/of-2"))
    version = publish(log, 2)
    assert version.facts is not None
    copied.store.put(FACTS_NAME, version.facts)
    plain = copied.published()
    assert (plain.number, plain.digest, plain.num_samples) == (0, version.digest, 3)
    assert plain.num_bytes == version.num_bytes
    assert opened(copied) == 2
    assert publish(copied, 3).number == 1
    assert opened(copied) == 3


def test_a_record_that_is_none_and_one_that_was_removed_are_said(log: DatasetLog) -> None:
    publish(log, 2)
    log.store.put("_versions/notes.txt", b"somebody's")
    assert opened(log) == 2
    removed = Lagging(log.store.url, shown=["_versions/0000000009.json"])
    with pytest.raises(StoreError, match=r"0000000009.json was removed"):
        DatasetLog(removed).head()
    record = json.loads(log.store.read("_versions/0000000001.json"))
    for change, why in (
        ({"format": 2}, "format 2, of which this one knows 1"),
        ({"num_shards": 1 << 40}, "num_shards cannot be"),
        ({"num_bytes": "1"}, "num_bytes cannot be"),
        ({"facts": 3}, "'int' object has no attribute 'encode'"),
        ({"has_documents": 1}, "has_documents cannot be"),
        ({"num_shards": MAX_SHARDS + 1, "has_documents": True}, "num_shards cannot be"),
    ):
        log.store.put("_versions/0000000002.json", json.dumps({**record, **change}).encode())
        with pytest.raises(DatasetError, match=rf"2.json is not as a version's record .*{why}"):
            log.head()
    log.store.put("_versions/0000000002.json", json.dumps({**record, "more": 1}).encode())
    assert opened(log) == 2


def test_a_record_says_that_a_version_has_documents_and_else_is_as_ever(log: DatasetLog) -> None:
    ever = {"format", "folder", "digest", "facts", "card", "made", "num_shards", "num_samples"}
    ever |= {"seq_length", "num_bytes", "nonce"}
    for number, num_shards in ((1, 3), (2, 2)):
        version = publish(log, num_shards)
        record = json.loads(log.store.read(record_name(number)))
        assert version.has_documents == (num_shards == 2)
        assert record.keys() == ({*ever, "has_documents"} if version.has_documents else ever)
        assert version.names == [*files_of(num_shards), META_NAME]
    assert log.versions() == [log.version(1), log.head()]
    assert json.loads(log.store.read(record_name(2)))["has_documents"] is True


# Several at once


def test_of_many_that_publish_at_once_each_gets_a_number_and_none_is_lost(bucket: str) -> None:
    log = DatasetLog(ObjectStore(f"{bucket}/datasets/train"))
    wanted = [1, 2, 3, 2]
    barrier = threading.Barrier(len(wanted))

    def run(number: int) -> Version:
        staged = log.stage(f"of-{number}")
        stage(staged, number)
        barrier.wait()
        return staged.publish()

    with ThreadPoolExecutor(len(wanted)) as threads:
        published = list(threads.map(run, wanted))
    versions = log.versions()
    assert [each.number for each in versions] == [*range(1, len(versions) + 1)]
    assert {each.num_shards for each in versions} == {1, 2, 3}
    assert all(one.digest != other.digest for one, other in pairwise(versions))
    assert all(each in versions for each in published)
    assert [opened(log, each) for each in versions] == [each.num_shards for each in versions]


def test_a_reader_in_a_loop_sees_one_version_after_the_other_and_never_a_mixture(
    log: DatasetLog,
) -> None:
    publish(log, 1)
    done, seen = threading.Event(), list[int]()

    def write() -> None:
        for number in count():
            publish(log, 1 + number % 4)
            if number >= 40 and len(seen) > 3:
                break
        done.set()

    with ThreadPoolExecutor(1) as threads:
        writer = threads.submit(write)
        while not done.is_set() and not writer.done():
            seen.append(opened(log))
        writer.result()
    assert {*seen} <= {1, 2, 3, 4}


# Listings that lag, and a prune beside


@dataclass(frozen=True)
class Lagging(ObjectStore):
    """A store whose lists are old, or empty."""

    shown: Sequence[str] = field(default=())

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Found]]:
        return ((name, Found(1, 0.0)) for name in self.shown if name.startswith(prefix))


@pytest.mark.parametrize("num_listed", [0, 1, 2])
def test_behind_a_list_that_lags_the_head_is_found_and_nothing_is_published_over(
    log: DatasetLog, num_listed: int
) -> None:
    for num_shards in (1, 2, 3):
        publish(log, num_shards)
    listed = log.store.list(VERSIONS)[:num_listed]
    lagging = DatasetLog(Lagging(log.store.url, shown=listed))
    assert lagging.head() == log.head()
    assert lagging.versions() == log.versions()
    assert publish(lagging, 4).number == 4
    assert opened(log) == 4
    last = log.head()
    assert last is not None
    assert last.num_bytes == publish(DatasetLog(ObjectStore(f"{log.store.url}-2")), 4).num_bytes


@pytest.mark.parametrize(
    ("num_shards", "gone"),
    [(3, "dump-1.pkl"), (4, "dump-3.documents.npy"), (4, "dump-0.documents.parquet")],
)
def test_what_is_not_all_there_is_not_published(
    num_shards: int, gone: str, log: DatasetLog
) -> None:
    publish(log, 2)
    staged = log.stage("new")
    stage(staged, num_shards)
    log.store.remove([f"new/{gone}"])
    number = len(files_of(num_shards)) + 1
    with pytest.raises(
        StoreError, match=rf"new/{gone} is gone .1 of {number} .*nothing was published"
    ):
        staged.publish()
    assert [each.number for each in log.versions()] == [1]


def test_what_a_list_hides_is_asked_for_by_its_size_and_the_meta_whatever_a_list_shows(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = publish(log, 3)
    shown = [f"of-3/{name}" for name in version.names]
    with monkeypatch.context() as patch:
        patch.setattr(ObjectStore, "read_many", None)  # nothing is read
        hiding = DatasetLog(Lagging(log.store.url))
        assert hiding.require_whole(version, "") == version.num_bytes
        log.store.remove(shown[-1:])
        with pytest.raises(StoreError, match=rf"{META_NAME} is gone .1 of 4 .*run again"):
            DatasetLog(Lagging(log.store.url, shown=shown)).require_whole(version, "run again")


def test_a_version_that_a_prune_took_while_it_was_published_gives_way_to_the_one_before(
    log: DatasetLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = publish(log, 2)
    staged = log.stage("of-3")
    stage(staged, 3)
    put = ObjectStore.put_if_absent

    def prune_then_put(store: ObjectStore, name: str, data: bytes) -> bool:
        monkeypatch.undo()
        log.store.remove(["of-3/dump-0.pkl", f"of-3/{META_NAME}"])
        return put(store, name, data)

    monkeypatch.setattr(ObjectStore, "put_if_absent", prune_then_put)
    with pytest.raises(
        StoreError, match=r"dump-0.pkl is gone.*the version before is the dataset ag"
    ):
        staged.publish()
    again = log.head()
    assert again is not None
    assert (again.number, again.digest) == (3, before.digest)
    assert opened(log) == 2
    stage(staged, 3)
    assert staged.publish().number == 4
    assert opened(log) == 3
