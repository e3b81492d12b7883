"""Row 17 at random moments: kill -9 of the script and of a Dagster run, and the run after it."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from codedata.store.files import is_temporary
from codedata_tests.campaigns.phases import BETWEEN, PUBLISHED, STAGING, Kills
from codedata_tests.components.small_platform import environment_of_splits
from codedata_tests.script_runs import (
    assert_all_end,
    contents,
    finished_chunks,
    needs_proc,
    recorded_chunks,
    run_here,
    started,
)

pytestmark = pytest.mark.campaign

ROOT = Path(__file__).parent.parent.parent
ONE = ["--seq_length", "64", "--chunk_size", "3000"]
OTHER = ["--seq_length", "48", "--chunk_size", "3300"]
"""In turn: other samples of other chunks, 50 or 46 of them, and as many shards."""


@needs_proc
@pytest.mark.parametrize(
    "num_kills", [19, pytest.param(280, marks=(pytest.mark.long, pytest.mark.timeout(3600)))]
)
def test_a_script_killed_at_random_moments_leaves_a_whole_dataset_and_the_next_one_succeeds(
    num_kills: int,
    switches: list[str],
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert run_here([*switches, *ONE]) == 0
    old = contents(target)
    assert run_here([*switches, *OTHER]) == 0
    new = contents(target)
    assert new != old
    kills = Kills(target, num_kills, random.Random(num_kills), num_chunks=46, num_shards=46)
    wanted, other = ONE, OTHER
    while kills.missing:
        old, new = new, old
        wait_for_its_moment = kills.next()
        with started([*switches, *wanted]) as process:
            wait_for_its_moment(process.poll)
            process.kill()
            process.communicate()
            assert_all_end(process.pid)
        assert process.returncode in (0, -signal.SIGKILL)
        kills.note(ended=process.returncode == 0)
        assert contents(target) in (old, new)
        finished = finished_chunks(target)
        with recorded_chunks(monkeypatch) as made:
            assert run_here([*switches, *wanted]) == 0, capfd.readouterr().err
        assert not finished.keys() & made
        assert contents(target) == new
        assert os.listdir(target.parent) == [target.name]
        wanted, other = other, wanted
    with capfd.disabled():
        print(f"\n{kills.num_hit.total()} kills of the script: {kills}")


# Dagster


MATERIALIZE = [sys.executable, "-m", "codedata", "materialize", "train"]


@needs_proc
@pytest.mark.long
@pytest.mark.timeout(1200)
def test_a_dagster_run_killed_at_random_moments_leaves_a_whole_dataset_and_the_next_one_succeeds(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """20 kills, in turn between 100 chunks, while shards are staged, and once they are published.

    A quick one is in `components/test_command_lines.py`.
    """
    environment = environment_of_splits(corpus, tokenizer_folder, tmp_path)
    dataset, chunks = tmp_path / "root/datasets/train", tmp_path / "root/chunks/train/00000"
    whole: dict[str, dict[str, bytes]] = {}
    seq_length, other = "64", "48"
    for length in (other, seq_length):
        environment |= switch(length)
        assert run_dagster(environment) == 0
        whole[length] = contents(dataset)
    kills = Kills(
        dataset, 20, random.Random(20), num_chunks=100, num_shards=100, chunks=chunks,
        phases=(BETWEEN, STAGING, PUBLISHED),
    )  # fmt: skip
    while kills.missing:
        seq_length, other = other, seq_length
        environment |= switch(seq_length)
        for chunk in chunks.iterdir():
            chunk.unlink()
        wait_for_its_moment = kills.next()
        with subprocess.Popen(
            MATERIALIZE,
            env=environment,
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        ) as process:
            wait_for_its_moment(process.poll)
            process.kill()
        assert_all_end(process.pid)
        assert process.returncode in (0, -signal.SIGKILL)
        kills.note(ended=process.returncode == 0)
        assert contents(dataset) in (whole[seq_length], whole[other])
        finished = {path.name: path.stat().st_ino for path in chunks.glob("*.arrow")}
        assert run_dagster(environment) == 0, capfd.readouterr().err
        assert contents(dataset) == whole[seq_length]
        assert os.listdir(dataset.parent) == ["train"]
        now = {path.name: path.stat().st_ino for path in chunks.iterdir()}
        assert {name: now[name] for name in finished} == finished, "not made again"
        assert all(name.endswith(".arrow") or is_temporary(name) for name in now)
    with capfd.disabled():
        print(f"\n{kills.num_hit.total()} kills of Dagster runs: {kills}")


def switch(seq_length: str) -> dict[str, str]:
    return {"CODEDATA_TRAIN_SEQ_LENGTH": seq_length, "CODEDATA_TRAIN_CHUNK_SIZE": "1000"}


def run_dagster(environment: dict[str, str]) -> int:
    return subprocess.run(MATERIALIZE, env=environment, cwd=ROOT, check=False).returncode
