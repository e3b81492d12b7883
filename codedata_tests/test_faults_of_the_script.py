"""The script as a process of its own, and what befalls it: a full disk, kills, Ctrl-C, a rival.

Whatever happens, the dataset that was there stays or the new one is whole, one line says what
happened, and the same command then succeeds unaided.
"""

import os
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from codedata.format.fingerprint import ChunkFingerprint
from codedata.store.chunks import LocalChunks
from codedata.store.dataset_folder import open_dataset
from codedata_tests.script_runs import (
    NEW,
    OLD,
    assert_all_end,
    assert_only_chunks_are_left,
    assert_refused,
    command,
    contents,
    finished_chunks,
    lines,
    needs_proc,
    run,
    run_here,
    started,
    wait_for,
    work_folder,
)

# No room (rows 16 and 32)


LIMITED = """
import os, resource, sys
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Sets the limit and becomes the script: Python 3.12 warns of `preexec_fn` where threads run."""


@pytest.mark.parametrize(
    ("max_file_bytes", "num_workers", "chunks_are_stored"),
    [(4_000, 2, False), (22_000, 1, True)],
    ids=["chunks do not fit", "chunks fit and shards do not"],
)
def test_a_file_size_limit_fails_the_run_and_not_the_old_dataset(
    max_file_bytes: int,
    num_workers: int,
    chunks_are_stored: bool,
    switches: list[str],
    target: Path,
    corpus: Path,
) -> None:
    """Row 16; a chunk of 20,000 characters has 8,400 tokens, 17 kB here and 25 kB in a shard."""
    before = contents(target)
    wanted = [*switches, "--seq_length", "64", "--chunk_size", "20000"]
    limited = [sys.executable, "-c", LIMITED, str(max_file_bytes)]
    done = run([*limited, *command(wanted, num_workers)])
    assert_refused(done, f"File too large.*{target} holds what it held before")
    assert contents(target) == before
    assert_only_chunks_are_left(target)
    chunks = finished_chunks(target)
    assert bool(chunks) == chunks_are_stored
    assert run_here(wanted) == 0
    assert contents(target) != before
    assert len(open_dataset(target, verify=True).shards) > 5
    assert os.listdir(target.parent) == [target.name]


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A filesystem of one megabyte."""
    mount, unmount = shutil.which("mount"), shutil.which("umount")
    if os.geteuid() != 0 or mount is None or unmount is None:
        pytest.skip("only root mounts a small filesystem")
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = run([mount, "-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder)])
    if mounted.returncode:
        pytest.skip(f"no small filesystem can be mounted: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run([unmount, "--lazy", str(folder)], check=True)  # a dataset may be mapped


def test_a_disk_too_small_for_the_switches_is_said_before_work_and_padding_counts_as_room(
    switches: list[str], small_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """Row 32; in chunks of 200 characters each is padded to a sample of 1,536 tokens."""
    wanted = [*switches, "--tokenization_folder", str(small_disk / "set")]
    assert run_here([*wanted, "--chunk_size", "200"]) == 1
    assert re.search(r"characters need about [34]\.\d MB on the disk", capfd.readouterr().err)
    assert os.listdir(small_disk) == []
    (small_disk / "ballast").write_bytes(b"x" * 900_000)
    assert run_here([*wanted, "--seq_length", "64"]) == 1
    [line] = capfd.readouterr().err.splitlines()
    assert re.search(
        rf"149,\d\d\d characters need about 0\.\d MB on the disk of {small_disk}\S*, which has "
        r"0\.1 MB free; make room, or choose a smaller chars_to_tokenize",
        line,
    )
    assert os.listdir(small_disk) == ["ballast"]
    (small_disk / "ballast").unlink()
    assert run_here([*wanted, "--seq_length", "64"]) == 0


# Kills and Ctrl-C (rows 17, 26 and 31)


MOST_TRIES = 6
"""Of what has to be done while a run is at work: on a busy machine it may be over by then."""


def the_lock_is_held(target: Path) -> object:
    """Its holder has signed it; before that, an interrupt may leave an empty one."""
    try:
        return (work_folder(target) / "lock.holder").stat().st_size
    except FileNotFoundError:
        return False


def chunks_are_stored(target: Path) -> object:
    return len(finished_chunks(target)) > 20


def interrupted(
    switches: list[str], target: Path, moment: Callable[[Path], object]
) -> tuple[int, str]:
    """Status and stderr of a run that was interrupted while it was at work."""
    before = contents(target)
    for _ in range(MOST_TRIES):
        with started([*switches, *NEW]) as process:
            wait_for(lambda: moment(target), process)
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
            _, stderr = process.communicate(timeout=300)
            assert_all_end(process.pid)
        if process.returncode and contents(target) == before:
            return process.returncode, stderr
        assert run_here([*switches, *OLD]) == 0
    pytest.fail("it was done each time before it was interrupted")


@needs_proc
@pytest.mark.parametrize("moment", [the_lock_is_held, chunks_are_stored])
def test_ctrl_c_ends_the_script_with_one_line_and_keeps_finished_chunks(
    moment: Callable[[Path], object], switches: list[str], target: Path
) -> None:
    """Row 31: as a terminal does, the whole process group is interrupted."""
    before = contents(target)
    status, stderr = interrupted(switches, target, moment)
    assert status == 130, stderr
    assert lines(stderr) == [
        "tokenize_data: interrupted; finished chunks are kept, the same command continues"
    ]
    assert contents(target) == before
    assert_only_chunks_are_left(target)
    finished = finished_chunks(target)
    if moment is chunks_are_stored:
        assert len(finished) > 20
    too_long = ["--min_sample_length", "100000"]
    assert run_here([*switches, *NEW, *too_long]) == 1, "no sample: the chunks are kept once more"
    now = finished_chunks(target)
    assert {name: now[name] for name in finished} == finished, "not made again"
    assert len(now) > len(finished)


def test_a_chunk_that_finds_no_memory_fails_the_run_and_the_next_one_continues(
    switches: list[str],
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Row 26: workers are threads, so a killed one is a killed run."""
    before = contents(target)
    real = LocalChunks.put

    def out_of_memory(
        self: LocalChunks, fingerprint: ChunkFingerprint, *ids: Any, **record: Any
    ) -> Any:
        if fingerprint.chars.start == 30_000:
            raise MemoryError
        return real(self, fingerprint, *ids, **record)

    with monkeypatch.context() as patch:
        patch.setattr(LocalChunks, "put", out_of_memory)
        assert run_here([*switches, *NEW]) == 1
    assert (
        ": memory ran out; finished chunks are kept: run again, with a smaller num_workers or "
        "chunk_size" in (said := capfd.readouterr().err)
    )
    assert "error: characters 30000 to " in said
    assert contents(target) == before
    assert len(finished_chunks(target)) > 5
    assert run_here([*switches, *NEW]) == 0
    assert open_dataset(target, verify=True).seq_length == 64
    assert os.listdir(target.parent) == [target.name]


# A rival (row 18)


def is_stopped(process: subprocess.Popen[str]) -> bool:
    """Whether a process that was told to stop did, and had not ended."""
    options = os.WSTOPPED | os.WEXITED | os.WNOWAIT
    found = None if process.returncode is not None else os.waitid(os.P_PID, process.pid, options)
    return found is not None and found.si_code == os.CLD_STOPPED


@needs_proc
def test_of_two_runs_at_once_one_wins_and_the_other_says_who(
    switches: list[str], target: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The first one is stopped while the second one tries, so that the two surely meet."""
    before = contents(target)
    for _ in range(MOST_TRIES):
        with started([*switches, *NEW]) as first:
            wait_for(lambda: len(finished_chunks(target)) > 5, first)
            first.send_signal(signal.SIGSTOP)
            if not is_stopped(first) or contents(target) != before:
                first.kill()
                first.wait()
                assert run_here([*switches, *OLD]) == 0
                continue
            second = run(command([*switches, *OLD]))
            assert_refused(
                second,
                rf"the dataset {target} is being written by another run \(process {first.pid} on "
                r".*, since 20.*\); wait for it to end, or end it",
            )
            assert contents(target) == before
            first.send_signal(signal.SIGCONT)
            _, stderr = first.communicate(timeout=300)
        assert first.returncode == 0, stderr
        break
    else:
        pytest.fail("the first one was done each time before it was stopped")
    assert open_dataset(target, verify=True).seq_length == 64
    assert os.listdir(target.parent) == [target.name]
