"""The lock of a dataset: one holder at a time, named to the others, and none that outlives it."""

import errno
import fcntl
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from pathlib import Path

import pytest

from codedata.errors import SettingsError, TargetError
from codedata.store.given_up import Waits
from codedata.store.locks import NO_LOCK_VARIABLE, exclusive_lock, waiting_lock
from codedata_tests.sources.loopback_s3 import wait_until

NO_FLOCK = [errno.ENOSYS, errno.ENOLCK, errno.EOPNOTSUPP]
"""As on Lustre without `-o flock`, on NFS without its daemon, and on others."""

HOLDER = """
import sys
from pathlib import Path
from codedata.store.locks import exclusive_lock

with exclusive_lock(Path(sys.argv[1]), "the dataset d"):
    print("held", flush=True)
    sys.stdin.read()
"""


def note_of(path: Path) -> Path:
    """The file that says who holds a lock."""
    return path.with_name(f"{path.name}.holder")


def refuse_flock(number: int) -> None:
    """Have `flock` fail in this process from now on."""

    def fail(_file: int, _operation: int) -> None:
        raise OSError(number, os.strerror(number))

    fcntl.flock = fail


@pytest.fixture(params=[None, errno.ENOLCK], ids=["flock", "no flock"])
def number(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> int | None:
    """A filesystem with `flock`, or what one without it says, in this process and `elsewhere`."""
    monkeypatch.setattr(fcntl, "flock", fcntl.flock)  # taken back at the end
    if request.param is not None:
        refuse_flock(request.param)
    return request.param


def before(number: int | None) -> str:
    """The program by which another process has no `flock` either."""
    if number is None:
        return ""
    return f"from codedata_tests.store.test_locks import refuse_flock; refuse_flock({number})\n"


@contextmanager
def held_elsewhere(path: Path, number: int | None) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until its stdin is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", before(number) + HOLDER, str(path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline() == "held\n"
            yield process
        finally:
            process.kill()


def way_around(path: Path, number: int | None) -> str:
    """What is said of a mark that may be a dead holder's; the kernel's locks end with theirs."""
    if number is None:
        return ""
    return (
        f"; if that one has ended already, remove {path}, or go without locks (--no-lock, or "
        "CODEDATA_NO_LOCK=1)"
    )


def test_a_second_holder_is_told_who_the_first_is(number: int | None, tmp_path: Path) -> None:
    path = tmp_path / "work" / "lock"
    with held_elsewhere(path, number) as holder:
        with pytest.raises(TargetError) as refusal, exclusive_lock(path, "the dataset d"):
            pytest.fail("it is held")
        message = str(refusal.value)
        assert message.startswith("the dataset d is being written by another run (process ")
        assert f"(process {holder.pid} on {os.uname().nodename}, since 20" in message
        assert message.endswith("; wait for it to end, or end it" + way_around(path, number))
        assert path.exists(), "a refused run removes nothing"
        holder.communicate()
        assert holder.returncode == 0
    assert os.listdir(tmp_path) == []
    with (
        exclusive_lock(path, "the dataset d"),
        pytest.raises(TargetError, match=f"process {os.getpid()} on "),
        exclusive_lock(path, "the dataset d"),
    ):
        pytest.fail("it is held")
    assert os.listdir(tmp_path) == []


def test_a_holder_that_was_killed_does_not_block(number: int | None, tmp_path: Path) -> None:
    path = tmp_path / "work" / "lock"
    with held_elsewhere(path, number) as holder:
        holder.kill()
        assert holder.wait() == -signal.SIGKILL
    assert path.exists(), "nobody tidied up"
    with open(note_of(path), "a", encoding="utf-8") as file:
        file.write(" (process of a host with a long name)")
    with exclusive_lock(path, "the dataset d"):
        text = note_of(path).read_text(encoding="utf-8")
        assert text.startswith(f"process {os.getpid()} on ")
        assert text.count("process") == 1, "the dead one's line is gone"
    assert os.listdir(tmp_path) == []


def test_one_waits_for_another_and_is_told_which(number: int | None, tmp_path: Path) -> None:
    path, said = tmp_path / "lock", list[str]()
    (tmp_path / "corpus.json").touch()
    with held_elsewhere(path, number) as holder:

        def end_it(line: str) -> None:
            said.append(line)
            assert holder.stdin is not None
            threading.Timer(0.2, holder.stdin.close).start()

        with waiting_lock(path, end_it):
            assert holder.wait() == 0
    [line] = said
    assert line.startswith(f"waiting for process {holder.pid} on ")
    assert line.endswith(f", which is at work on {tmp_path}" + way_around(path, number))
    assert os.listdir(tmp_path) == ["corpus.json"]


def test_a_folder_that_is_not_empty_stays(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "work" / "lock"
    with exclusive_lock(path, "the dataset d"):
        (path.parent / "chunk").touch()
    assert os.listdir(path.parent) == ["chunk"]


RACER = """
import os, sys, threading, time
from pathlib import Path
from codedata.errors import TargetError
from codedata.store.locks import exclusive_lock

folder, num_threads, num_turns = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
turns, refusals = [], []

def race():
    had = 0
    while had < num_turns or len(refusals) < num_turns:
        try:
            with exclusive_lock(folder / "work" / "lock", "the dataset d"):
                inside = os.open(folder / "inside", os.O_CREAT | os.O_EXCL)  # fails if not alone
                time.sleep(0.0005)
                os.close(inside)
                os.unlink(folder / "inside")
            had += 1
            turns.append(1)
        except TargetError as error:
            assert "is being written by another run (" in str(error)
            refusals.append(1)
            time.sleep(0.0002)

def report(arguments):
    print("failed:", arguments.exc_value, file=sys.stderr, flush=True)
    os._exit(1)

threading.excepthook = report
threads = [threading.Thread(target=race) for _ in range(num_threads)]
sys.stdin.readline()
for thread in threads:
    thread.start()
for thread in threads:
    thread.join()
print(len(turns), len(refusals))
"""


@pytest.mark.parametrize(("number", "num_turns"), [(None, 12), (errno.ENOLCK, 5)])
def test_of_twenty_racers_exactly_one_is_inside_at_a_time(
    number: int | None, num_turns: int, tmp_path: Path
) -> None:
    """Four processes of five threads, each until it has had the lock so often, and met others."""
    command = [sys.executable, "-c", before(number) + RACER, str(tmp_path), "5", str(num_turns)]
    pipe = subprocess.PIPE
    racers = [subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) for _ in range(4)]
    try:
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write(b"go\n")
            racer.stdin.flush()
        outputs = [racer.communicate(timeout=300) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
    assert [errors for _, errors in outputs] == [b""] * 4
    counts = [[int(number) for number in output.split()] for output, _ in outputs]
    assert all(turns >= 5 * num_turns and refusals >= num_turns for turns, refusals in counts)
    assert os.listdir(tmp_path) == []


def test_a_lock_and_what_says_who_holds_it_have_the_mode_that_the_umask_says(
    tmp_path: Path,
) -> None:
    for umask in (0o002, 0o077):
        before = os.umask(umask)
        try:
            with exclusive_lock(tmp_path / "lock", "x"), waiting_lock(tmp_path / "b", pytest.fail):
                modes = {path.name: path.stat().st_mode & 0o777 for path in tmp_path.iterdir()}
        finally:
            os.umask(before)
        assert modes == dict.fromkeys(["lock", "lock.holder", "b", "b.holder"], 0o666 & ~umask)


# What others put there


def test_a_link_in_the_lock_s_place_is_refused_and_not_followed(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    path = tmp_path / "work" / "lock"
    path.parent.mkdir()
    said = f"{path} is a link, which no lock is; remove it"
    for leads_to in ("mine", "not there"):
        path.symlink_to(tmp_path / leads_to)
        for lock in (exclusive_lock(path, "x"), waiting_lock(path, pytest.fail)):
            with pytest.raises(TargetError, match=said), lock:
                pytest.fail("it is a link")
        path.unlink()
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "mine"
    assert not (tmp_path / "not there").exists()


def test_who_holds_a_lock_is_not_written_by_way_of_a_link(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("mine", encoding="utf-8")
    path = tmp_path / "work" / "lock"
    path.parent.mkdir()
    note_of(path).symlink_to(tmp_path / "mine")
    with exclusive_lock(path, "x"):
        assert not note_of(path).is_symlink()
    assert (tmp_path / "mine").read_text(encoding="utf-8") == "mine"
    assert os.listdir(tmp_path) == ["mine"]


def test_what_a_holder_says_of_itself_is_short_and_holds_no_control_characters(
    tmp_path: Path,
) -> None:
    path = tmp_path / "lock"
    with exclusive_lock(path, "x"):
        note_of(path).write_bytes(b"me\x1b]0;title\x07\n\xff" + b"a" * 10_000)
        with pytest.raises(TargetError) as refusal, exclusive_lock(path, "x"):
            pytest.fail("it is held")
        message = str(refusal.value)
        assert message.isprintable()
        assert message.startswith("x is being written by another run (me")
        assert len(message) < 300
        note_of(path).unlink()
        note_of(path).symlink_to("/etc/passwd")
        with (
            pytest.raises(TargetError, match=r"another run \(another process\)"),
            exclusive_lock(path, "x"),
        ):
            pytest.fail("it is held")


# Filesystems without flock


@pytest.mark.parametrize("number", NO_FLOCK, indirect=True)
def test_without_flock_a_holder_of_another_machine_blocks_until_its_file_is_removed(
    number: int, tmp_path: Path
) -> None:
    path = tmp_path / "work" / "lock"
    path.parent.mkdir()
    path.write_text("4194305\nnode7\n", encoding="utf-8")  # as the library marks it; no such pid
    note_of(path).write_text("process 4194305 on node7, since 2026", encoding="utf-8")
    for _ in range(2):
        with pytest.raises(TargetError) as refusal, exclusive_lock(path, "the dataset d"):
            pytest.fail(str(number))
        assert "(process 4194305 on node7, since 2026)" in str(refusal.value)
        assert f"remove {path}, or" in str(refusal.value)
    path.unlink()
    with exclusive_lock(path, "the dataset d"):
        pass
    assert os.listdir(tmp_path) == []


def test_the_mark_of_a_holder_without_flock_holds_for_one_that_has_it(tmp_path: Path) -> None:
    """A lock service that fails for a moment: one run has marked the file, the next could lock."""
    path = tmp_path / "work" / "lock"
    path.parent.mkdir()
    path.write_text("4194305\nnode7\n", encoding="utf-8")
    with pytest.raises(TargetError) as refusal, exclusive_lock(path, "the dataset d"):
        pytest.fail("two are inside")
    assert f"remove {path}, or" in str(refusal.value)


def test_what_cannot_be_locked_is_refused_with_the_way_around(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fcntl, "flock", fcntl.flock)
    refuse_flock(errno.EIO)
    path = tmp_path / "lock"
    for lock in (exclusive_lock(path, "x"), waiting_lock(path, pytest.fail)):
        with pytest.raises(TargetError) as refusal, lock:
            pytest.fail("it cannot be locked")
        assert str(refusal.value) == (
            f"{path} cannot be locked: Input/output error; try again, or, if nothing else writes "
            "there, go without locks (--no-lock, or CODEDATA_NO_LOCK=1)"
        )


def test_without_locks_nothing_is_locked_or_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(NO_LOCK_VARIABLE, "1")
    path = tmp_path / "work" / "lock"
    with exclusive_lock(path, "x"), exclusive_lock(path, "x"), waiting_lock(path, pytest.fail):
        assert os.listdir(tmp_path / "work") == []
    assert os.listdir(tmp_path) == []
    monkeypatch.setenv(NO_LOCK_VARIABLE, "0")
    with exclusive_lock(path, "x"):
        assert path.exists()
    monkeypatch.setenv(NO_LOCK_VARIABLE, "no")
    with (
        pytest.raises(SettingsError, match="CODEDATA_NO_LOCK is 'no'; write 1"),
        exclusive_lock(path, "x"),
    ):
        pytest.fail("it is neither")


def test_a_lock_file_that_was_removed_and_is_another_s_now_is_left_to_it(
    number: int | None, tmp_path: Path
) -> None:
    path = tmp_path / "work" / "lock"
    with exclusive_lock(path, "x"):
        path.unlink()  # as a user may
        path.write_text("another's", encoding="utf-8")
    assert path.read_text(encoding="utf-8") == "another's"


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_process_that_is_forked_while_threads_wait_for_a_lock_holds_up_none_of_them(
    tmp_path: Path,
) -> None:
    """A loader's workers, begun while the shards of another one are fetched ahead."""
    hold, through = threading.Event(), list[int]()

    def run(number: int) -> None:
        with waiting_lock(tmp_path / "lock", lambda _: None):
            if not number:
                hold.wait()
        through.append(number)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(4)]
    threads[0].start()
    wait_until((tmp_path / "lock").exists)
    for each in threads[1:]:
        each.start()
    time.sleep(0.1)
    child = multiprocessing.get_context("fork").Process(target=time.sleep, args=(3600,))
    child.start()
    try:
        hold.set()
        wait_until(lambda: sorted(through) == [0, 1, 2, 3], seconds=60)
    finally:
        child.kill()
        child.join()


def test_what_is_given_up_waits_for_no_lock(tmp_path: Path) -> None:
    waits = Waits()
    waits.give_up()
    with (
        waiting_lock(tmp_path / "lock", pytest.fail),
        waits.here(),
        pytest.raises(CancelledError),
        waiting_lock(tmp_path / "lock", lambda _: None, most_seconds=30),
    ):
        pytest.fail("it is held")
