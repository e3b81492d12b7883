"""Rows 16 and 17 at every call: a run ends or fails wherever it changes the disk.

Calls that make, change, force or remove a file are counted by a first traced run; then each of them
is where a run is killed, or fails with an error of the disk. What then holds: the old dataset or
the new one, byte for byte; one line that says why; the next run succeeds unaided, does not make
finished chunks again, and leaves the dataset alone in its folder.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from codedata.store import publishing
from codedata_tests.campaigns import same_names, small_publish
from codedata_tests.campaigns.small_publish import NUM_CHUNKS, WAYS, no_exchange, publish
from codedata_tests.campaigns.strace import (
    REMOVALS,
    Call,
    calls_below,
    failing_at,
    killed_at,
    require_strace,
)
from codedata_tests.script_runs import contents, work_folder

pytestmark = pytest.mark.campaign

ERRORS = {
    "ENOSPC": "No space left on device",
    "EIO": "Input/output error",
    "EACCES": "Permission denied",
}
OLD, NEW = 3, 2
"""Shards of the two datasets: the new one has fewer, so that a stale one would show."""

long = (pytest.mark.long, pytest.mark.timeout(600))


class SmallRuns:
    """Runs of `small_publish` over one target."""

    def __init__(self, folder: Path, way: str) -> None:
        self.target = folder / "data" / "dataset"
        self.way = way
        self.command = [
            *(sys.executable, "-m", same_names.__name__),
            small_publish.__name__,
            *(str(self.target), str(NEW), way),
        ]
        publish(self.target, NEW)
        self.new = contents(self.target)
        publish(self.target, OLD)
        self.old = contents(self.target)
        self.calls = calls_below(self.target.parent, self.command)
        assert contents(self.target) == self.new

    def reset(self) -> None:
        """The old dataset, and nothing beside it."""
        publish(self.target, OLD)
        assert contents(self.target) == self.old
        assert os.listdir(self.target.parent) == ["dataset"]

    def found(self) -> str:
        """Which dataset is there, byte for byte."""
        if not self.target.exists():
            return "none"
        now = contents(self.target)
        assert now in (self.old, self.new), f"a mixture of {sorted(now)}"
        return "old" if now == self.old else "new"

    def left(self) -> set[str]:
        """What lies beside the dataset, finished chunks and their folders aside."""
        paths = {path.relative_to(self.target.parent) for path in self.target.parent.rglob("*")}
        work, chunks = Path(".dataset.codedata"), Path(".dataset.codedata/chunks")
        return {
            str(path)
            for path in paths - {work, chunks}
            if path.parts[0] != "dataset" and (path.parent != chunks or path.suffix != ".arrow")
        }

    def finish(self) -> None:
        """The next run, and what has to be true of it."""
        stored = {path.name for path in (work_folder(self.target) / "chunks").glob("*.arrow")}
        made = publish(self.target, NEW)
        assert stored.isdisjoint(made)
        assert len(stored) + len(made) == NUM_CHUNKS
        assert self.found() == "new"
        assert os.listdir(self.target.parent) == ["dataset"]


@pytest.fixture(params=[WAYS[0], pytest.param(WAYS[1], marks=long)])
def runs(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> SmallRuns:
    require_strace()
    if request.param == "fallback":
        monkeypatch.setattr(publishing, "exchange", no_exchange)
    small_runs = SmallRuns(tmp_path, request.param)
    swap = "renameat2" if request.param == "exchange" else "rename"
    assert any(call.name == swap and call.path.endswith("/stage") for call in small_runs.calls)
    assert len(small_runs.calls) > 30
    return small_runs


def test_a_run_killed_at_any_call_leaves_a_whole_dataset_and_the_next_one_succeeds(
    runs: SmallRuns, capfd: pytest.CaptureFixture[str]
) -> None:
    """Row 17; without an exchange there is a moment without a dataset, which the next run ends."""
    found: list[str] = []
    for call in runs.calls:
        runs.reset()
        assert killed_at(call, runs.command), call
        found.append(runs.found())
        runs.finish()
    with capfd.disabled():
        print(f"\nkilled at {len(found)} calls ({runs.way}): {Counter(found)}")
    assert found.count("old") > 20
    assert found.count("new") > 8
    assert found.count("none") == (0 if runs.way == "exchange" else 1)
    assert found == sorted(found, key=["old", "none", "new"].index)


def what_may_be_another_s(call: Call) -> set[str]:
    """A lock file that cannot be locked is not removed: a run may hold it."""
    return {".dataset.codedata/lock"} if call.name == "flock" else set()


def what_is_said(call: Call, error: str) -> str:
    """What a line holds that says why; some filesystems answer EACCES where a lock is held."""
    if call.name == "flock" and call.path.endswith("/lock") and error == "EACCES":
        return "is being written by another run (another process)"
    return ERRORS[error]


def each_with_one_error(calls: Sequence[Call]) -> list[tuple[Call, str, bool]]:
    return [(call, list(ERRORS)[index % 3], True) for index, call in enumerate(calls)]


def each_with_all_errors(calls: Sequence[Call]) -> list[tuple[Call, str, bool]]:
    return [(call, error, once) for call in calls for error in ERRORS for once in (True, False)]


@pytest.mark.parametrize(
    "choose", [each_with_one_error, pytest.param(each_with_all_errors, marks=long)]
)
def test_a_run_that_meets_an_error_at_any_call_says_so_and_leaves_a_whole_dataset(
    choose: Callable[[Sequence[Call]], list[tuple[Call, str, bool]]],
    runs: SmallRuns,
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Row 16; a call fails once, or whenever it is made. Only what cannot be removed is left."""
    num_refused = 0
    faults = choose(runs.calls)
    for call, error, once in faults:
        runs.reset()
        failure = failing_at(call, error, runs.command, once=once)
        where = f"{error} at {call}: {failure.stderr}"
        assert failure.num_failed >= 1, where
        if failure.status == 0:
            assert failure.stderr == "", where
            assert runs.found() == "new", where
        else:
            num_refused += 1
            assert failure.status == 1, where
            [line] = failure.stderr.splitlines()
            assert line.startswith("small_publish: error: "), where
            assert what_is_said(call, error) in line, where
            assert Path(call.path).name in line or call.name == "flock", where
            assert runs.found() in ("old", "new"), where
        if call.name not in REMOVALS:
            assert runs.left() <= what_may_be_another_s(call), where
        runs.finish()
    with capfd.disabled():
        print(f"\n{len(faults)} faults ({runs.way}): {num_refused} runs failed, the rest succeeded")
    assert num_refused > 20
