"""Shards that are mapped when they are asked for: some at a time, and each is what was opened."""

import copy
import errno
import multiprocessing
import os
import pickle
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Barrier, Event, Thread
from typing import Any

import numpy as np
import pytest

from codedata.errors import DatasetError
from codedata.store import checked, shard_contents, shard_files
from codedata.store.dataset_folder import open_dataset
from codedata.store.files import Mapping, mapping_of
from codedata_tests import scenario
from codedata_tests.store.test_dataset_folder import write_old_dataset

MANY = 300
"""Shards, more than are mapped at a time."""


@pytest.fixture(autouse=True)
def _small_bounds(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, number in {"_MOST_MAPPED": 192, "_MOST_HELD": 128, "_FEW_FILES": 64}.items():
        monkeypatch.setattr(shard_files, name, number)
    for name in ("_mapped", "_in_memory"):  # as in a process that has none yet
        recent = getattr(shard_files, name)
        monkeypatch.setattr(shard_files, name, type(recent)(recent._most))


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("many") / "d"
    return scenario.write_dataset(folder, [[[index, 1]] for index in range(MANY)])


@pytest.fixture
def own(many: Path, tmp_path: Path) -> Path:
    """A copy of it."""
    return Path(shutil.copytree(many, tmp_path / "own"))


def num_descriptors() -> int:
    return len(os.listdir("/dev/fd"))


def num_mapped() -> int:
    return Path("/proc/self/maps").read_text().count(".pkl")


def in_child(call: Callable[[], object]) -> None:
    """Call a function in a forked process, which must end well, and soon."""
    if (pid := os.fork()) == 0:
        status = 1
        signal.signal(signal.SIGALRM, signal.SIG_DFL)
        signal.alarm(20)
        try:
            call()
            status = 0
        finally:
            os._exit(status)
    assert os.waitpid(pid, 0)[1] == 0


def firsts(shards: Any) -> list[int]:
    return [int(ids[0, 0]) for ids in shards]


def test_of_many_shards_some_are_mapped_at_a_time_and_what_somebody_holds_stays(own: Path) -> None:
    before = num_descriptors()
    opened = open_dataset(own)
    assert num_descriptors() == before + 1, "of the folder"
    view = opened.shards[7][:, :1]
    for _ in range(2):
        assert firsts(opened.shards) == [*range(MANY)]
    assert num_descriptors() == before + 1, "and of no file"
    shutil.rmtree(own)
    assert view.tolist() == [[7]]
    assert opened.shards[MANY - 1].tolist() == [[MANY - 1, 1]], "mapped lately"
    with pytest.raises(DatasetError, match=rf"{own} lacks dump-0\.pkl, .* it was removed since it"):
        opened.shards[0]
    del opened, view
    assert num_descriptors() == before


def test_what_was_mapped_lately_is_not_mapped_again_and_what_was_before_is(many: Path) -> None:
    opened, other = open_dataset(many), open_dataset(many)
    first, second = opened.shards[0], other.shards[0]
    assert firsts(opened.shards[1:100]) == firsts(other.shards[1:100]) == [*range(1, 100)]
    assert opened.shards[0] is not first
    assert other.shards[99] is other.shards[99]
    assert (first == second).all()


def test_a_large_dataset_that_is_replaced_is_named_when_the_next_shard_is_asked_for(
    own: Path,
) -> None:
    opened = open_dataset(own)
    assert opened.shards[0].tolist() == [[0, 1]]
    shutil.rmtree(own)
    scenario.write_dataset(own, [[[9, 9]] for _ in range(MANY)])
    for _ in range(2):
        with pytest.raises(DatasetError, match="was replaced since it was opened; open it again"):
            opened.shards[1]
    within = open_dataset(own)
    (own / "dump-3.pkl").unlink()
    with pytest.raises(DatasetError, match=r"lacks dump-3\.pkl, .* removed since it was opened"):
        within.shards[3]
    other = scenario.write_dataset(own.parent / "other", [[[8, 8]] for _ in range(MANY)])
    shutil.copytree(other, own, dirs_exist_ok=True)
    with pytest.raises(DatasetError, match="was replaced since it was opened; open it again"):
        within.shards[4]


def test_a_child_and_its_parent_do_not_disturb_each_other(own: Path) -> None:
    opened = open_dataset(own)
    mine = opened.shards[0]
    in_child(lambda: firsts(opened.shards) == [*range(MANY)] or pytest.fail("other ids"))
    assert mine.tolist() == [[0, 1]]
    assert firsts(opened.shards) == [*range(MANY)]


def test_a_child_that_is_forked_while_a_thread_checks_a_shard_reads_it(
    own: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(own / "cache"))
    opened, check = open_dataset(own), shard_contents._require_sha256
    is_checking, go_on = Event(), Event()

    def check_later(*arguments: Any) -> None:
        is_checking.set()
        assert go_on.wait(60)
        check(*arguments)

    monkeypatch.setattr(shard_contents, "_require_sha256", check_later)
    thread = Thread(target=lambda: opened.shards[3])
    thread.start()
    assert is_checking.wait(60)
    monkeypatch.setattr(shard_contents, "_require_sha256", check)
    in_child(lambda: opened.shards[3].tolist() == [[3, 1]] or pytest.fail("other ids"))
    go_on.set()
    thread.join()


def test_threads_that_ask_for_one_shard_check_it_once(
    many: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    monkeypatch.setenv("HOME", "nowhere")
    opened, check, checked = open_dataset(many), shard_contents._require_sha256, list[str]()

    def counted(data: Any, sha256: str, where: str) -> None:
        checked.append(where)
        check(data, sha256, where)

    monkeypatch.setattr(shard_contents, "_require_sha256", counted)
    barrier = Barrier(8)

    def read_all(_: int) -> list[int]:
        barrier.wait()
        return firsts(opened.shards[:100])

    with ThreadPoolExecutor(8) as threads:
        assert [*threads.map(read_all, range(8))] == [[*range(100)]] * 8
    assert len(checked) == len({*checked}) == 100


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A dataset of the old script: six shards of 2 kB, once they are decoded."""
    shards = [[[index] * 500, [1] * 500] for index in range(6)]
    return write_old_dataset(tmp_path / "old", shards, 4)


def refuse_to_decode(*_: Any, **__: Any) -> None:
    raise AssertionError("it was decoded again")


def test_what_was_decoded_is_kept_for_forked_processes_and_when_the_folder_is_gone(
    old: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    opened = open_dataset(old)
    opened.files.decode()
    monkeypatch.setattr(shard_contents, "decode_foreign_shard", refuse_to_decode)
    monkeypatch.setattr(shard_files, "memory_bytes", lambda: 0)
    in_child(lambda: firsts(opened.shards) == [*range(6)] or pytest.fail("other ids"))
    shutil.rmtree(old)
    opened.files.decode()
    assert firsts(opened.shards) == [*range(6)]
    assert {opened.files.dtype(index) for index in range(6)} == {np.dtype(np.uint16)}


def test_what_has_no_room_decoded_is_decoded_when_it_is_asked_for_and_let_go_by_its_bytes(
    old: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The room is half of the memory, of which each of four ranks has its part."""
    monkeypatch.setattr(shard_files, "memory_bytes", lambda: 4 * 2 * 10_000)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "4")
    opened = open_dataset(old)
    opened.files.decode()
    [said] = caplog.messages
    assert f"{old} was written by pickle.dump and would take 0.0 MB of memory" in said
    decoded = opened.shards[0]
    assert (decoded.dtype, decoded.nbytes) == (np.uint16, 2000)
    assert opened.shards[0] is decoded
    assert firsts(opened.shards) == [*range(6)]
    assert opened.shards[0] is not decoded
    assert opened.shards[5] is opened.shards[5]
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "1")
    opened.files.decode()
    assert opened.files.decoded_bytes == 6 * 2000
    assert len(caplog.messages) == 1
    other = open_dataset(old)
    other.files.decode()
    assert other.files.decoded_bytes == 12_000, "beside the first"
    open_dataset(old).files.decode()
    assert "where this process may have 0.0 MB" in caplog.messages[-1]
    assert len(caplog.messages) == 2


def test_a_process_that_another_started_has_the_room_of_one_on_each_core(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(shard_files, "memory_bytes", lambda: 2 * 1_000_000)
    monkeypatch.setattr(os, "cpu_count", lambda: 10)
    found = multiprocessing.get_context("fork").SimpleQueue()
    process = multiprocessing.get_context("fork").Process(
        target=lambda: found.put(shard_files._room_bytes())
    )
    process.start()
    assert found.get() == 100_000
    process.join()


def test_datasets_of_few_files_and_a_larger_one_have_some_files_mapped_together(
    many: Path, tmp_path: Path
) -> None:
    folders = [
        scenario.write_dataset(tmp_path / str(n), [[[index, n]] for index in range(20)])
        for n in range(16)
    ]
    before = num_mapped(), num_descriptors()
    opened = [open_dataset(folder) for folder in [*folders, many]]
    for dataset in opened:
        assert firsts(dataset.shards) == [*range(dataset.num_shards)]
    assert num_mapped() - before[0] <= 192 + 1
    assert num_descriptors() - before[1] <= len(opened)
    shutil.rmtree(tmp_path)
    assert firsts(opened[0].shards) == [*range(20)], "which is held"


def test_a_file_that_is_cut_off_after_it_was_opened_is_refused(tmp_path: Path) -> None:
    folder = scenario.write_dataset(tmp_path / "d", [[[index] * 5_000] for index in range(3)])
    opened = open_dataset(folder)
    os.truncate(folder / "dump-1.pkl", 20)
    with pytest.raises(DatasetError, match=r"dump-1\.pkl "):
        opened.shards[1]
    assert opened.shards[2][0, 0] == 2


NO_ROOM = """
import atexit, os, resource, sys
descriptors = []
@atexit.register
def at_exit():
    os.close(descriptors.pop())
    print(opened.shards[0].tolist())
from pathlib import Path
from codedata.store import shard_files
from codedata.store.dataset_folder import open_dataset
shard_files._FEW_FILES = 0
opened = open_dataset(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_NOFILE, (40, 50))
assert [int(ids[0, 0]) for ids in opened.shards[1:]] == [*range(1, 300)]
try:
    while True:
        descriptors.append(os.open("/dev/null", os.O_RDONLY))
except OSError:
    pass
assert opened.shards[1].tolist() == [[1, 1]]
opened.shards[0]
"""


def test_shards_need_no_open_files_and_one_that_cannot_be_opened_names_the_limit(
    many: Path,
) -> None:
    command = [sys.executable, "-c", NO_ROOM, str(many)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stderr.splitlines()[-1] == (
        f"codedata.errors.DatasetError: {many}/dump-0.pkl cannot be opened: the process may have "
        "40 files open, and has as many; raise the limit (ulimit -n), or close what is open"
    )
    assert done.stdout == "[[0, 1]]\n", "at exit the folder is open, too"


def test_that_there_is_no_mapping_left_is_said_with_what_helps() -> None:
    def opening() -> None:
        raise OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))

    with pytest.raises(DatasetError, match=r"x/dump-0.pkl cannot be mapped: .*vm.max_map_count"):
        shard_files.with_enough_files("x/dump-0.pkl", opening)


def test_where_no_file_can_be_mapped_none_is_held_and_few_are_in_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shards = [[[index] * 500] for index in range(20)]
    folder = scenario.write_dataset(tmp_path / "d", shards)

    def map_nothing(*_: Any) -> None:
        raise OSError(errno.ENODEV, os.strerror(errno.ENODEV))

    monkeypatch.setattr(Mapping, "__init__", map_nothing)
    monkeypatch.setattr(
        shard_files, "memory_bytes", lambda: 2 * 5 * (folder / "dump-0.pkl").stat().st_size
    )
    opened = open_dataset(folder)
    assert not opened.files.held
    assert firsts(opened.shards) == [*range(20)]
    assert len(opened.files._arrays) == 5, "of three bytes an id, of which two are seen"


@pytest.mark.timeout(20)
def test_a_signal_handler_has_the_shard_that_is_being_checked(
    many: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(checked, "_SETTLED_NS", -(10**15))
    opened, check, seen = open_dataset(many), shard_contents._require_sha256, list[Any]()

    def interrupted(*arguments: Any) -> None:
        monkeypatch.setattr(shard_contents, "_require_sha256", check)
        signal.raise_signal(signal.SIGUSR1)
        check(*arguments)

    monkeypatch.setattr(shard_contents, "_require_sha256", interrupted)
    before = signal.signal(signal.SIGUSR1, lambda *_: seen.append(opened.shards[3].tolist()))
    try:
        assert [opened.shards[3].tolist(), *seen] == [[[3, 1]]] * 2
    finally:
        signal.signal(signal.SIGUSR1, before)


def test_what_is_of_one_process_is_neither_pickled_nor_copied(many: Path) -> None:
    opened = open_dataset(many)
    of_one = opened, opened.files, opened.files._snapshot, mapping_of(opened.shards[0])
    for each in of_one:
        for take in (pickle.dumps, copy.deepcopy):
            with pytest.raises(
                TypeError, match=r"is neither pickled nor copied: .* open its place"
            ):
                take(each)
    for each in of_one[1:]:
        with pytest.raises(TypeError, match="is neither pickled nor copied"):
            copy.copy(each)
    assert opened.shards[0].tolist() == [[0, 1]]
