"""What lies in the cache is believed as it arrived, and by nobody's word but this user's."""

import hashlib
import multiprocessing
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from codedata.errors import DatasetError, SettingsError
from codedata.format.facts import FACTS_NAME
from codedata.format.meta import META_NAME
from codedata.progress import SILENT
from codedata.store import cache, cached_files, checked
from codedata.store.cache import cache_place, cached
from codedata.store.cached_shards import open_shard
from codedata.store.copies import dataset_copy, open_at
from codedata.store.versions import DatasetLog
from codedata_tests.store.small_datasets import SEQ_LENGTH, files_of, num_shards_of
from codedata_tests.store.test_copies import asked, log, names_in, publish, put

__all__ = ["asked", "log"]  # fixtures

STRANGER = 54321
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root gives files to others")

Change = Callable[[Path], object]


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written just now may be remembered."""
    monkeypatch.setattr(checked, "_SETTLED_NS", 0)


@pytest.fixture
def num_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many files this process and those that it forks have hashed."""
    digest = hashlib.file_digest
    hashed = os.open(tmp_path / "hashed", os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def counted(*arguments: object) -> object:
        os.write(hashed, b".")
        return digest(*arguments)  # pyright: ignore[reportCallIssue, reportArgumentType]

    monkeypatch.setattr(cached_files.hashlib, "file_digest", counted)
    return lambda: os.fstat(hashed).st_size


def flip(path: Path) -> None:
    """Change a byte, and have the times of before."""
    data, status = bytearray(path.read_bytes()), path.stat()
    data[-1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def link(path: Path) -> None:
    other = path.with_name("elsewhere")
    path.rename(other)
    path.symlink_to(other)


def give_away(path: Path) -> None:
    os.chown(path, STRANGER, STRANGER)


def give_away_with_its_mark(path: Path) -> None:
    """The mark is right, and the stranger's, too."""
    flip(path)
    cached_files._note(path, path.stat())
    give_away(path.with_name(f".{path.name}.mark"))


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(flip, id="changed"),
        pytest.param(lambda path: os.truncate(path, path.stat().st_size - 1), id="cut off"),
        pytest.param(lambda path: os.truncate(path, 0), id="empty"),
        pytest.param(lambda path: path.chmod(0o666), id="open to others"),
        pytest.param(link, id="linked"),
        pytest.param(give_away, id="a stranger's", marks=as_root),
        pytest.param(give_away_with_its_mark, id="of a stranger's mark", marks=as_root),
    ],
)
def test_a_file_of_a_stream_that_is_not_as_it_arrived_is_fetched_again_which_is_said(
    change: Change, log: DatasetLog, asked: Counter[str], caplog: pytest.LogCaptureFixture
) -> None:
    publish(log, 4)
    url = log.store.url
    dataset = open_at(url, SILENT, stream=True)
    assert (num_shards_of(dataset), len(dataset.documents(2))) == (4, 3)
    for name in ("dump-2.pkl", "dump-2.documents.parquet"):
        data = files_of(4)[name]
        path = cache_place("shards") / hashlib.sha256(data).hexdigest()
        change(path)
        asked.clear()
        for _ in range(2):
            dataset = open_at(url, SILENT, stream=True)
            assert (dataset.shards[2] == 4).all()
            assert len(dataset.documents(2)) == 3
        assert asked[f"of-4/{name}"] == 1
        assert sum(asked[f"of-4/{each}"] for each in files_of(4)) == 1
        [said] = [each.getMessage() for each in caplog.records if each.name == "codedata"]
        assert said.startswith(f"{path}, in the cache, ")
        assert said.endswith("; it is removed and fetched again")
        assert (path.read_bytes(), path.is_symlink()) == (data, False)
        caplog.clear()


@pytest.mark.usefixtures("settled")
def test_a_file_is_hashed_on_its_way_and_then_once_for_each_state_that_it_is_in(
    log: DatasetLog, num_hashed: Callable[[], int]
) -> None:
    publish(log, 3)
    fork = multiprocessing.get_context("fork")

    def read() -> None:
        assert num_shards_of(open_at(log.store.url, SILENT, stream=True)) == 3

    for _ in range(3):
        read()
    assert num_hashed() == 0, "neither what arrived, nor for being asked for"
    for each in names_in(cache_place("shards")):
        (cache_place("shards") / each).touch()
    others = [fork.Process(target=read) for _ in range(3)]
    for each in others:
        each.start()
    for each in others:
        each.join()
    read()
    assert [each.exitcode for each in others] == [0] * 3
    assert num_hashed() == 3


def test_what_was_changed_a_moment_ago_is_hashed_and_not_remembered(
    log: DatasetLog, num_hashed: Callable[[], int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checked, "_SETTLED_NS", 10**15)
    sha256 = put(log, "part", 10)
    path = cached(log.store, "part", sha256)
    path.touch()
    for number in (1, 2):
        assert cached(log.store, "part", sha256) == path
        assert num_hashed() == number


def test_an_object_that_is_not_as_it_arrived_is_fetched_again(
    log: DatasetLog, asked: Counter[str]
) -> None:
    sha256 = put(log, "part", 10)
    path = cached(log.store, "part", sha256[:16])
    data = path.read_bytes()
    for change in (flip, lambda path: os.truncate(path, 3)):
        change(path)
        assert cached(log.store, "part", sha256[:16]).read_bytes() == data
    assert asked["part"] == 3


@as_root
@pytest.mark.parametrize("kind", ["shards", ""])
def test_a_strangers_folder_is_no_cache_and_one_that_is_open_to_others_is_closed(
    kind: str, log: DatasetLog
) -> None:
    publish(log, 2)
    dataset = open_at(log.store.url, SILENT, stream=True)
    folder = cache_place("shards").parent / kind
    folder.mkdir(exist_ok=True)
    folder.chmod(0o777)
    assert num_shards_of(dataset) == 2
    assert folder.stat().st_mode & 0o777 == 0o755
    os.chown(folder, STRANGER, STRANGER)
    again = open_at(log.store.url, SILENT, stream=True) if kind else dataset
    said = rf"is no cache for you: it belongs to the user {STRANGER}; set XDG_CACHE_HOME to a fol"
    with pytest.raises(SettingsError, match=said):
        open_shard("0" * 64, 1, lambda _: pytest.fail("it is fetched"))
    if kind:
        with pytest.raises(SettingsError, match=said):
            _ = again.shards[0]
    os.chown(folder, 0, 0)
    assert num_shards_of(again) == 2


def test_a_copy_that_was_changed_is_brought_again_or_named_and_the_dataset_is_not_blamed(
    log: DatasetLog, caplog: pytest.LogCaptureFixture
) -> None:
    publish(log, 3)
    url, folder = log.store.url, dataset_copy(log.store.url, SILENT)
    for name in (META_NAME, FACTS_NAME):
        (folder / name).write_bytes((folder / name).read_bytes() + b" ")
        assert num_shards_of(open_at(url, SILENT)) == 3
    (folder / META_NAME).unlink()
    dataset = open_at(url, SILENT)
    flip(folder / "dump-1.pkl")
    remedy = rf"; this is a copy of {url}@1: remove {folder.parent}, and open it again, which br"
    with pytest.raises(DatasetError, match=rf"dump-1.pkl does not have the sha256 .*{remedy}"):
        _ = dataset.shards[1]
    os.truncate(folder / "dump-1.pkl", 5)
    with pytest.raises(DatasetError, match=rf"dump-1.pkl .*{remedy}"):
        open_at(url, SILENT)
    cache.remove(folder.parent)
    assert open_at(url, SILENT).shards[1].shape == (2, SEQ_LENGTH)
