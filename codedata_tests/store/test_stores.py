"""What every store does, and what is written over one does in each: a folder, and objects, those
of a memory and those of a server that speaks S3.

Objects are not renamed, and a dataset of them is not replaced: what only a folder does is told
apart. What else versions do: test_versions.py.
"""

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager, nullcontext
from itertools import count, islice
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codedata.errors import DatasetError, TargetError, UntrustedError
from codedata.format.card import CARD_NAME, render_card
from codedata.format.facts import FACTS_NAME
from codedata.format.meta import META_NAME
from codedata.store import dataset_folder
from codedata.store.base import Snapshot, Stage, Store
from codedata.store.dataset_folder import Dataset, open_snapshot
from codedata.store.local import LocalStore
from codedata.store.object_store import ObjectStore
from codedata.store.publishing import check_target, open_staging
from codedata.store.snapshot import FolderSnapshot
from codedata.store.versions import DatasetLog
from codedata_tests.store.small_datasets import facts, files_of, num_shards_of, stage


class Folder(LocalStore):
    """A folder of this machine, its datasets among its names."""

    def snapshot(self, name: str) -> FolderSnapshot:
        return FolderSnapshot(self.root / name)

    def stage(self, name: str) -> AbstractContextManager[Stage]:
        return open_staging(check_target(self.root / name))


class Objects(ObjectStore):
    """Objects, datasets among their names."""

    def snapshot(self, name: str) -> AbstractContextManager[Snapshot]:
        return DatasetLog(self.below(name)).snapshot()

    def stage(self, name: str) -> AbstractContextManager[Stage]:
        return nullcontext(DatasetLog(self.below(name)).stage(f"version-{next(_NUMBERS)}"))


_NUMBERS = count()

AnyStore = Folder | Objects
STORES: dict[str, Callable[[Path], AnyStore]] = {
    "folder": lambda folder: Folder(folder / "not made yet"),
    "objects": lambda _: Objects(f"memory://stores-{next(_NUMBERS)}"),
}


@pytest.fixture(params=[*STORES, "server"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> AnyStore:
    if request.param == "server":
        return Objects(request.getfixturevalue("bucket"))
    return STORES[request.param](tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# Names and bytes


def test_a_name_holds_nothing_and_then_what_was_put_last(store: Store) -> None:
    for name in ("one", "deep/down/one.arrow"):
        for read in (store.read, store.map):
            with pytest.raises(FileNotFoundError):
                read(name)
        for data in (b"first", b"the second", b"", memoryview(b"third")):
            store.put(name, data)
            assert store.read(name) == bytes(store.map(name)) == bytes(data)


@settings(max_examples=40, deadline=None)
@given(data=st.binary(max_size=50), start=st.integers(0, 60), stop=st.none() | st.integers(0, 60))
def test_a_range_is_read_as_a_slice(
    data: bytes, start: int, stop: int | None, tmp_path_factory: pytest.TempPathFactory
) -> None:
    if stop is not None:
        start, stop = sorted((start, stop))
    for make in STORES.values():
        store = make(tmp_path_factory.getbasetemp() / "ranges")
        store.put("name", data)
        assert store.read("name", start, stop) == data[start:stop]


def test_what_was_mapped_stays_when_the_name_is_replaced(store: Store) -> None:
    store.put("name", b"first")
    first = store.map("name")
    store.put("name", b"second")
    assert (bytes(first), bytes(store.map("name"))) == (b"first", b"second")
    assert not first.flags.writeable


def test_names_are_listed_in_order_by_how_they_start(store: Store) -> None:
    assert list(store.list()) == []
    names = ["a", "b/1", "b/10", "b/2", "b/c/1", "bc"]
    for name in reversed(names):
        store.put(name, b"")
    assert list(store.list()) == names
    assert list(store.list("b/")) == names[1:5]
    assert list(store.list("b/1")) == ["b/1", "b/10"]
    assert list(store.list("b/c")) == ["b/c/1"]
    assert list(store.list("none/")) == []


def test_of_many_that_put_what_is_absent_one_does_and_its_bytes_stay(store: Store) -> None:
    for turn in range(5):
        barrier = threading.Barrier(8)

        def put(number: int, name: str = f"name {turn}", barrier: threading.Barrier = barrier):
            barrier.wait()
            return store.put_if_absent(name, b"%d" % number * 1000)

        with ThreadPoolExecutor(8) as threads:
            [winner] = [n for n, won in enumerate(threads.map(put, range(8))) if won]
        assert store.read(f"name {turn}") == b"%d" % winner * 1000
    assert len(store.list()) == 5


# A folder of this machine


def test_a_folder_lists_no_file_that_is_not_in_its_place_yet_and_follows_no_link(
    tmp_path: Path,
) -> None:
    store = LocalStore(tmp_path)
    store.put("chunks/a.arrow", b"a")
    (tmp_path / "chunks" / ".b.arrow.0123.tmp").touch()
    (tmp_path / "link").symlink_to("chunks/a.arrow")
    (tmp_path / "pipe").touch()
    assert list(store.list()) == ["chunks/a.arrow", "link", "pipe"]
    with pytest.raises(OSError, match="symbolic links"):
        store.read("link")
    store.put("link", b"new")
    assert store.read("chunks/a.arrow") == b"a"
    (tmp_path / "pipe").unlink()
    os.mkfifo(tmp_path / "pipe")
    for take in (store.read, store.map):
        with pytest.raises(FileNotFoundError, match="no plain file"):
            take("pipe")


def test_what_others_may_write_is_not_read_and_nothing_is_put_so(tmp_path: Path) -> None:
    store, before = LocalStore(tmp_path), os.umask(0)
    try:
        assert store.put_if_absent("name", b"first")
        assert not store.put_if_absent("name", b"second")
        store.put("other", b"data")
    finally:
        os.umask(before)
    for name, data in (("name", b"first"), ("other", b"data")):
        assert store.read(name) == data
        (tmp_path / name).chmod(0o666)
        for read in (store.read, store.map):
            with pytest.raises(UntrustedError, match="is not taken: everybody may write it"):
                read(name)
    assert sorted(os.listdir(tmp_path)) == ["name", "other"]


# Datasets


def publish(store: AnyStore, num_shards: int) -> None:
    with store.stage("datasets/train") as staging:
        stage(staging, num_shards)
        staging.publish()


def open_train(store: AnyStore, *, verify: bool = False) -> Dataset:
    return open_snapshot(lambda: store.snapshot("datasets/train"), verify=verify)


def opened(store: AnyStore) -> int:
    return num_shards_of(open_train(store, verify=True))


def test_a_dataset_is_read_as_it_was_staged_once_it_is_published(
    store: AnyStore,
) -> None:
    with store.stage("datasets/train") as staging:
        stage(staging, 3)
        with pytest.raises(DatasetError, match=r"train (is no dataset folder|holds no dump-meta)"):
            open_train(store)
        staging.publish()
    with store.snapshot("datasets/train") as snapshot:
        assert snapshot.read(CARD_NAME, 4, 15) == render_card(facts(3))[4:15]
        with pytest.raises(FileNotFoundError) as error:
            snapshot.map("dump-3.pkl")
        assert error.value.filename == "dump-3.pkl"
    assert opened(store) == 3
    assert open_train(store).facts == facts(3)


def test_what_is_published_takes_the_place_of_the_one_before_and_leaves_nothing_of_it(
    store: AnyStore,
) -> None:
    for num_shards in (5, 4, 2, 3):
        publish(store, num_shards)
        assert opened(store) == num_shards
        with store.snapshot("datasets/train") as snapshot:
            files = [CARD_NAME, FACTS_NAME, META_NAME, *files_of(num_shards)]
            assert {*snapshot.sizes(""), CARD_NAME, FACTS_NAME} == {*files}


def test_what_fails_before_it_is_published_leaves_what_was_there(store: AnyStore) -> None:
    def seen() -> list[tuple[str, bytes]]:
        with store.snapshot("datasets/train") as snapshot:
            names = sorted({*snapshot.sizes(""), CARD_NAME, FACTS_NAME})
            return [(name, snapshot.read(name)) for name in names]

    publish(store, 2)
    before = seen()

    def fail(num_shards: int) -> None:
        with store.stage("datasets/train") as staging:
            staging.add_shard(0, b"half") if num_shards == 1 else stage(staging, num_shards)
            raise ZeroDivisionError

    for num_shards in (1, 4):
        with pytest.raises(ZeroDivisionError):
            fail(num_shards)
        assert seen() == before
    assert opened(store) == 2


def test_a_folder_is_staged_by_one_at_a_time(folder: Folder) -> None:
    with folder.stage("datasets/train") as staging, folder.stage("datasets/other"):
        with (
            pytest.raises(TargetError, match="train is being written by another run"),
            folder.stage("datasets/train"),
        ):
            pytest.fail("it is held")
        stage(staging, 2)
        staging.publish()
    publish(folder, 3)
    assert opened(folder) == 3


def test_a_reader_keeps_what_it_opened_and_a_snapshot_knows_that_it_is_old(store: AnyStore) -> None:
    publish(store, 2)
    dataset = open_train(store)
    with store.snapshot("datasets/train") as snapshot:
        mapped = bytes(snapshot.map("dump-0.pkl"))
        assert snapshot.is_current()
        publish(store, 3)
        assert not snapshot.is_current()
        if isinstance(store, Folder):  # a version of objects stays until it is pruned
            with pytest.raises(FileNotFoundError):
                snapshot.read(META_NAME)
        else:
            assert bytes(snapshot.map("dump-0.pkl")) == mapped
    assert mapped.startswith(b"\x80\x02")
    assert num_shards_of(dataset) == 2


def test_a_reader_that_runs_overtake_reads_the_new_dataset_or_says_so(
    folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dataset_folder, "_ATTEMPTS", 4)
    publish(folder, 2)

    @contextmanager
    def overtaken(times: Iterator[int]) -> Iterator[Snapshot]:
        with folder.snapshot("datasets/train") as snapshot:
            for number in islice(times, 1):
                publish(folder, 3 + number)
            yield snapshot

    times = iter((2, 1, 0))
    assert num_shards_of(open_snapshot(lambda: overtaken(times), verify=True)) == 3
    times = iter((3, 2, 1, 0))
    with pytest.raises(DatasetError, match=r"train was replaced 4 times while it was being opened"):
        open_snapshot(lambda: overtaken(times))
