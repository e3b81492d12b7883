"""Files that were checked are not read again by any process of this user, until they change."""

import errno
import fcntl
import multiprocessing
import os
import shutil
import signal
import stat
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codedata.errors import DatasetError
from codedata.format.meta import META_NAME, dump_meta
from codedata.store import checked, shard_contents
from codedata.store.dataset_folder import open_dataset
from codedata_tests import scenario

SHARDS = [[[index, 2, 3], [4, 5, 6]] for index in range(3)]
FORK = multiprocessing.get_context("fork")

Counter = Callable[[], int]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return scenario.write_dataset(tmp_path / "d", SHARDS)


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "codedata" / "checked"


@pytest.fixture
def num_hashed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Counter:
    """How many files this process and those that it forks have hashed; each takes its time."""
    hash_ = shard_contents._require_sha256
    log = os.open(tmp_path / "hashed", os.O_RDWR | os.O_CREAT | os.O_APPEND)

    def counted(*arguments: Any) -> None:
        os.write(log, b".")
        time.sleep(0.02)
        hash_(*arguments)

    monkeypatch.setattr(shard_contents, "_require_sha256", counted)
    return lambda: os.fstat(log).st_size


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written just now may be remembered."""
    monkeypatch.setattr(checked, "_SETTLED_NS", 0)


@pytest.fixture
def unsettled(monkeypatch: pytest.MonkeyPatch) -> None:
    """However long a test takes, what it wrote was written just now."""
    monkeypatch.setattr(checked, "_SETTLED_NS", 10**15)


def read(folder: Path) -> list[list[list[int]]]:
    return [ids.tolist() for ids in open_dataset(folder).shards]


def in_processes(number: int, call: Callable[[int], object]) -> None:
    """Have forked processes call a function at once; each must end well."""
    barrier = FORK.Barrier(number)

    def run(index: int) -> None:
        barrier.wait()
        call(index)

    processes = [FORK.Process(target=run, args=(index,)) for index in range(number)]
    for each in processes:
        each.start()
    for each in processes:
        each.join(60)
    assert [each.exitcode for each in processes] == [0] * number


@pytest.mark.usefixtures("settled")
def test_processes_that_touch_the_same_shards_at_once_check_each_of_them_once(
    folder: Path, cache: Path, num_hashed: Counter
) -> None:
    def touch(index: int) -> None:
        shards = open_dataset(folder).shards
        for each in range(3):
            number = (index + each) % 3
            assert shards[number].tolist() == SHARDS[number]

    in_processes(8, touch)
    assert num_hashed() == 3
    [table] = cache.iterdir()
    assert stat.S_IMODE(table.stat().st_mode) == 0o600
    assert stat.S_IMODE(cache.stat().st_mode) == 0o700
    assert read(folder) == SHARDS
    assert num_hashed() == 3


@pytest.mark.usefixtures("unsettled")
def test_what_changed_a_moment_ago_is_not_remembered(
    folder: Path, cache: Path, num_hashed: Counter
) -> None:
    """Within a tick of the filesystem's clock it may change again, and look the same."""
    for times in (1, 2):
        opened = open_dataset(folder)
        assert [*map(len, opened.shards), *map(len, opened.shards)] == [2] * 6
        assert num_hashed() == 3 * times, "the process itself knows what it checked"
    assert not any(path.stat().st_size for path in cache.iterdir())


@pytest.mark.usefixtures("settled", "cache")
def test_whatever_happened_to_a_file_it_is_checked_again(folder: Path, num_hashed: Counter) -> None:
    path = folder / "dump-1.pkl"
    status, data = path.stat(), path.read_bytes()
    assert read(folder) == SHARDS
    number = num_hashed()

    def write(what: bytes) -> None:
        with path.open("r+b") as file:
            file.write(what)
        os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
        assert (path.stat().st_size, path.stat().st_mtime_ns) == (len(data), status.st_mtime_ns)

    write(data.replace(b"M\x05", b"M\x07"))
    for _ in range(2):
        with pytest.raises(DatasetError, match=r"dump-1\.pkl does not have the sha256"):
            read(folder)
    write(data)
    assert read(folder) == SHARDS
    assert num_hashed() == number + 3
    path.with_name("copy").write_bytes(data)
    path.with_name("copy").replace(path)
    path.chmod(0o600)
    assert read(folder) == read(folder) == SHARDS
    assert num_hashed() == number + 4


@pytest.mark.usefixtures("settled")
def test_the_same_file_is_not_right_for_another_meta(
    folder: Path, num_hashed: Counter, cache: Path
) -> None:
    """Even where what is remembered of one dataset stands in the table of the other."""
    assert read(folder) == SHARDS
    [table] = cache.iterdir()
    remembered = table.read_bytes()
    meta = folder / META_NAME
    meta.write_bytes(dump_meta([e._replace(sha256="0" * 64) for e in open_dataset(folder).entries]))
    for number in (3, 4):
        assert num_hashed() == number
        with pytest.raises(DatasetError, match=r"dump-0\.pkl does not have the sha256"):
            read(folder)
        [other] = {*cache.iterdir()} - {table}
        other.write_bytes(remembered)


@pytest.mark.usefixtures("settled")
def test_verifying_reads_all_whatever_is_remembered_and_is_remembered(
    folder: Path, num_hashed: Counter, cache: Path
) -> None:
    for number in (3, 6):
        open_dataset(folder, verify=True)
        assert num_hashed() == number
    assert read(folder) == SHARDS
    assert num_hashed() == 6
    assert [*cache.iterdir()]


def truncated(table: Path) -> None:
    os.truncate(table, 40)


def garbled(table: Path) -> None:
    table.write_bytes(os.urandom(200))


def link_to_it(table: Path) -> None:
    table.symlink_to(table.rename(table.with_name("aside")))


def stranger_s(table: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root gives files away")
    os.chown(table, 54_321, -1)


UNTRUSTED: dict[str, Callable[[Path], object]] = {
    "open to others": lambda table: table.chmod(0o606),
    "open to a group": lambda table: table.chmod(0o660),
    "a stranger's": stranger_s,
    "a link": link_to_it,
    "a folder": lambda table: (table.unlink(), table.mkdir()),
    "a pipe": lambda table: (table.unlink(), os.mkfifo(table, 0o600)),
    "in a folder of others": lambda table: table.parent.chmod(0o777),
    "in a folder that is none": lambda table: (
        shutil.rmtree(table.parent), table.parent.touch()
    ),
    "in a linked folder": lambda table: table.parent.symlink_to(
        table.parent.rename(table.parent.with_name("aside"))
    ),
}  # fmt: skip


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("change", UNTRUSTED.values(), ids=UNTRUSTED)
def test_a_table_that_others_may_have_written_is_not_believed(
    change: Callable[[Path], object], folder: Path, cache: Path, num_hashed: Counter
) -> None:
    assert read(folder) == SHARDS
    [table] = cache.iterdir()
    change(table)
    for times in (2, 3):
        assert read(folder) == SHARDS
        assert num_hashed() == 3 * times


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("damage", [truncated, garbled, Path.unlink])
def test_a_damaged_table_costs_a_check_and_nothing_else(
    damage: Callable[[Path], object], folder: Path, cache: Path, num_hashed: Counter
) -> None:
    assert read(folder) == SHARDS
    [table] = cache.iterdir()
    damage(table)
    assert read(folder) == read(folder) == SHARDS
    assert num_hashed() in (5, 6), "of the truncated one slot is left"


@pytest.mark.parametrize("place", ["", "/proc/nowhere"])
def test_where_nothing_can_be_remembered_each_process_checks_for_itself(
    place: str, folder: Path, monkeypatch: pytest.MonkeyPatch, num_hashed: Counter
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", place)
    if not place:
        monkeypatch.setenv("HOME", "nowhere")
    for number in (3, 6):
        assert read(folder) == SHARDS
        assert num_hashed() == number


@pytest.mark.usefixtures("settled", "cache")
def test_without_locks_work_may_be_done_twice_and_is_remembered(
    folder: Path, monkeypatch: pytest.MonkeyPatch, num_hashed: Counter
) -> None:
    def no_locks(*_: object) -> None:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "fcntl", no_locks)
    assert read(folder) == read(folder) == SHARDS
    assert num_hashed() == 3


@pytest.mark.usefixtures("settled", "cache")
def test_a_process_that_is_killed_while_it_checks_keeps_nobody_waiting(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    is_checking = FORK.Event()

    def check_for_ever() -> None:
        monkeypatch.setattr(
            shard_contents, "_require_sha256", lambda *_: (is_checking.set(), time.sleep(600))
        )
        read(folder)

    process = FORK.Process(target=check_for_ever)
    process.start()
    assert is_checking.wait(60)
    monkeypatch.setattr(checked, "_WAITING_SECONDS", 0.1)
    assert read(folder) == SHARDS, "nor one that stands still"
    monkeypatch.setattr(checked, "_WAITING_SECONDS", 600.0)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    assert read(folder) == SHARDS


@pytest.mark.usefixtures("settled")
def test_old_tables_go(folder: Path, cache: Path) -> None:
    cache.mkdir(mode=0o700, parents=True)
    old, new = cache / "old", cache / "new"
    for table, days in ((old, 91), (new, 89)):
        table.touch()
        then = time.time() - days * 86_400
        os.utime(table, (then, then))
    assert read(folder) == SHARDS
    assert not old.exists()
    assert new.exists()
