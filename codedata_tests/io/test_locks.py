"""The lock of a dataset: one holder at a time, named to the others, and none that outlives it."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from codedata.errors import TargetError
from codedata.io.locks import exclusive_lock

HOLDER = """
import sys
from pathlib import Path
from codedata.io.locks import exclusive_lock

with exclusive_lock(Path(sys.argv[1]), "the dataset d"):
    print("held", flush=True)
    sys.stdin.read()
"""


def note_of(path: Path) -> Path:
    """The file that says who holds a lock."""
    return path.with_name(f"{path.name}.holder")


@contextmanager
def held_elsewhere(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Another process that holds a lock until its stdin is closed."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER, str(path)],
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


def test_a_second_holder_is_told_who_the_first_is(tmp_path: Path) -> None:
    path = tmp_path / "work" / "lock"
    with held_elsewhere(path) as holder:
        with pytest.raises(TargetError) as refusal, exclusive_lock(path, "the dataset d"):
            pytest.fail("it is held")
        message = str(refusal.value)
        assert message.startswith("the dataset d is being written by another run (process ")
        assert f"(process {holder.pid} on {os.uname().nodename}, since 20" in message
        assert message.endswith("; wait for it to end, or end it")
        assert path.exists(), "a refused run removes nothing"
        holder.communicate()
        assert holder.returncode == 0
    assert os.listdir(tmp_path) == []
    with exclusive_lock(path, "the dataset d"):
        assert note_of(path).read_text(encoding="utf-8").startswith(f"process {os.getpid()} on ")
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("sign", [signal.SIGKILL, signal.SIGTERM])
def test_a_holder_that_was_killed_does_not_block(sign: signal.Signals, tmp_path: Path) -> None:
    path = tmp_path / "work" / "lock"
    with held_elsewhere(path) as holder:
        holder.send_signal(sign)
        assert holder.wait() == -sign
    assert path.exists(), "nobody tidied up"
    with open(note_of(path), "a", encoding="utf-8") as file:
        file.write(" (process of a host with a long name)")
    with exclusive_lock(path, "the dataset d"):
        text = note_of(path).read_text(encoding="utf-8")
        assert text.startswith(f"process {os.getpid()} on ")
        assert text.count("process") == 1, "the dead one's line is gone"
    assert os.listdir(tmp_path) == []


def test_the_same_process_cannot_hold_it_twice(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    with (
        exclusive_lock(path, "the dataset d"),
        pytest.raises(TargetError, match=f"process {os.getpid()} on "),
        exclusive_lock(path, "the dataset d"),
    ):
        pytest.fail("it is held")


def test_an_error_releases_it(tmp_path: Path) -> None:
    path = tmp_path / "work" / "lock"
    with pytest.raises(ZeroDivisionError), exclusive_lock(path, "the dataset d"):
        raise ZeroDivisionError
    assert os.listdir(tmp_path) == []


def test_a_folder_that_is_not_empty_stays(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "work" / "lock"
    with exclusive_lock(path, "the dataset d"):
        (path.parent / "chunk").touch()
    assert os.listdir(path.parent) == ["chunk"]


RACER = """
import os, sys, threading, time
from pathlib import Path
from codedata.errors import TargetError
from codedata.io.locks import exclusive_lock

folder, num_threads, num_turns = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
turns, refusals = [], []

def race():
    had = 0
    while had < num_turns:
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


def test_of_twenty_racers_exactly_one_is_inside_at_a_time(tmp_path: Path) -> None:
    """Four processes of five threads, each until it has had the lock 20 times."""
    command = [sys.executable, "-c", RACER, str(tmp_path), "5", "20"]
    racers = [
        subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(4)
    ]
    try:
        for racer in racers:
            assert racer.stdin is not None
            racer.stdin.write("go\n")
            racer.stdin.flush()
        outputs = [racer.communicate(timeout=60) for racer in racers]
    finally:
        for racer in racers:
            racer.kill()
    assert [errors for _, errors in outputs] == [""] * 4
    counts = [[int(number) for number in output.split()] for output, _ in outputs]
    assert [turns for turns, _ in counts] == [100] * 4
    assert sum(refusals for _, refusals in counts) > 20, "they did meet"
    assert os.listdir(tmp_path) == []
