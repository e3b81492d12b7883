"""Row 17 at random moments: kill -9 of the script and of a Dagster run, and the run after it."""

import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codedata.store.files import is_temporary
from codedata_tests.components.small_platform import environment_of_splits
from codedata_tests.script_runs import (
    assert_all_end,
    contents,
    finished_chunks,
    needs_proc,
    recorded_chunks,
    run_here,
    started,
    work_folder,
)

pytestmark = pytest.mark.campaign

ROOT = Path(__file__).parent.parent.parent
ONE = ["--seq_length", "64", "--chunk_size", "3000"]
OTHER = ["--seq_length", "48", "--chunk_size", "3300"]
"""In turn: other samples of other chunks, 50 or 46 of them, and as many shards."""


def seconds_of_work(switches: list[str], work: Path) -> float:
    """How long an undisturbed run is at work, from its lock to its end."""
    with started(switches) as process:
        while not work.exists():
            assert process.poll() is None
            time.sleep(0.001)
        start = time.monotonic()
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 0, stderr
    return time.monotonic() - start


@needs_proc
@pytest.mark.parametrize(
    "num_kills", [19, pytest.param(280, marks=(pytest.mark.long, pytest.mark.timeout(1800)))]
)
def test_a_script_killed_at_random_moments_leaves_a_whole_dataset_and_the_next_one_succeeds(
    num_kills: int,
    switches: list[str],
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    work, random_ = work_folder(target), random.Random(num_kills)
    assert run_here([*switches, *OTHER]) == 0
    old = contents(target)
    seconds = seconds_of_work([*switches, *ONE], work)
    new = contents(target)
    assert new != old
    num_killed = {"before its first chunk": 0, "between chunks": 0, "later": 0, "too late": 0}
    wanted, other = OTHER, ONE
    for index in range(num_kills):
        old, new = new, old
        with started([*switches, *wanted]) as process:
            moment, longest = (work / "stage", 0.1) if index % 3 == 2 else (work, seconds)
            while not moment.exists() and process.poll() is None:
                time.sleep(0.001)
            time.sleep(random_.uniform(0, longest))
            process.kill()
            process.communicate()
            assert_all_end(process.pid)
        assert contents(target) in (old, new)
        finished = finished_chunks(target)
        if process.returncode != -signal.SIGKILL:
            assert process.returncode == 0
            num_killed["too late"] += 1
        elif not finished:
            num_killed["before its first chunk"] += 1
        else:
            num_killed["later" if (work / "stage").exists() else "between chunks"] += 1
        with recorded_chunks(monkeypatch) as made:
            assert run_here([*switches, *wanted]) == 0, capfd.readouterr().err
        assert not finished.keys() & made
        assert contents(target) == new
        assert os.listdir(target.parent) == [target.name]
        wanted, other = other, wanted
    with capfd.disabled():
        print(f"\n{num_kills} kills of the script, {seconds:.2f} s of work: {num_killed}")
    assert num_killed["too late"] < num_kills / 2
    assert num_killed["between chunks"] > num_kills / 5
    assert num_killed["later"] > num_kills / 10


# Dagster


MATERIALIZE = [sys.executable, "-m", "codedata", "materialize", "train"]


@needs_proc
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_dagster_run_killed_at_random_moments_leaves_a_whole_dataset_and_the_next_one_succeeds(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """20 kills, from the moment that some of 100 chunks are there, or that the shards are staged.

    A quick one is in `components/test_command_lines.py`.
    """
    environment = environment_of_splits(corpus, tokenizer_folder, tmp_path)
    dataset, chunks = tmp_path / "root/datasets/train", tmp_path / "root/chunks/train/00000"
    random_ = random.Random(20)
    whole: dict[str, dict[str, bytes]] = {}
    seq_length, other = "64", "48"
    for length in (other, seq_length):
        environment |= switch(length)
        assert run_dagster(environment) == 0
        whole[length] = contents(dataset)
    num_killed = num_staging = 0
    for index in range(20):
        seq_length, other = other, seq_length
        environment |= switch(seq_length)
        for chunk in chunks.iterdir():
            chunk.unlink()
        wanted_chunks, wait = random_.randrange(100), random_.uniform(0, 0.3)
        with subprocess.Popen(
            MATERIALIZE,
            env=environment,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            while process.poll() is None:
                if index % 2 and work_folder(dataset).exists():
                    break
                if not index % 2 and len(list(chunks.glob("*.arrow"))) >= wanted_chunks:
                    break
                time.sleep(0.001)
            time.sleep(wait)
            process.kill()
        assert_all_end(process.pid)
        num_killed += process.returncode == -signal.SIGKILL
        num_staging += work_folder(dataset).exists()
        assert contents(dataset) in (whole[seq_length], whole[other])
        finished = {path.name: path.stat().st_ino for path in chunks.glob("*.arrow")}
        assert run_dagster(environment) == 0, capfd.readouterr().err
        assert contents(dataset) == whole[seq_length]
        assert os.listdir(dataset.parent) == ["train"]
        now = {path.name: path.stat().st_ino for path in chunks.iterdir()}
        assert {name: now[name] for name in finished} == finished, "not made again"
        assert all(name.endswith(".arrow") or is_temporary(name) for name in now)
    with capfd.disabled():
        print(f"\n20 kills of Dagster runs: {num_killed} in time, {num_staging} while it published")
    assert num_killed > 12
    assert num_staging > 2


def switch(seq_length: str) -> dict[str, str]:
    return {"CODEDATA_TRAIN_SEQ_LENGTH": seq_length, "CODEDATA_TRAIN_CHUNK_SIZE": "1000"}


def run_dagster(environment: dict[str, str]) -> int:
    return subprocess.run(MATERIALIZE, env=environment, cwd=ROOT, check=False).returncode
