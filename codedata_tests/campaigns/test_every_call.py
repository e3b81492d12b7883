"""Rows 16 and 17 at every call: a run ends or fails wherever it changes the disk.

Calls that make, change, force or remove a file are counted by a first traced run; then each of them
is where a run is killed, or fails with an error of the disk. What then holds: the old dataset or
the new one, byte for byte; one line that says why; the next run succeeds unaided, does not make
finished chunks again, and leaves the dataset alone in its folder. It is shown of publishing in
small, and at some calls (all of them by hand) of the script with its chunks, threads and messages.
"""

import os
import sys
from collections import Counter
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from codedata.store import publishing
from codedata_tests.campaigns import same_names, small_publish
from codedata_tests.campaigns.small_publish import WAYS, no_exchange, publish
from codedata_tests.campaigns.strace import (
    REMOVALS,
    Call,
    calls_below,
    failing_at,
    killed_at,
    require_strace,
)
from codedata_tests.script_runs import (
    command,
    contents,
    finished_chunks,
    lines,
    recorded_chunks,
    run_here,
)

pytestmark = pytest.mark.campaign

ERRORS = {
    "ENOSPC": "No space left on device",
    "EIO": "Input/output error",
    "EACCES": "Permission denied",
}
SHARDS = {"old": 3, "new": 2}
"""Of the small datasets: the new one has fewer, so that a stale one would show."""

SWITCHES = {
    "old": ["--seq_length", "50", "--chunk_size", "50000"],
    "new": ["--seq_length", "64", "--chunk_size", "50000"],
}
"""Of the script: three chunks and as many shards."""

SOME = [("write", ".tmp"), ("rename", ".tmp"), ("fsync", "dump-1.pkl"), ("renameat2", "stage")]
SOME += [("write", "dump-meta_data.json"), ("unlink", ".arrow")]
"""Calls of a chunk, a shard, the meta, the swap, and of what is removed after it."""

long = (pytest.mark.long, pytest.mark.timeout(900))


class Runs:
    """A command that puts the new dataset in the old one's place, and the calls that it makes."""

    def __init__(
        self, target: Path, arguments: Sequence[str], make: Callable[[str], list[str]]
    ) -> None:
        self.target, self.make = target, make
        self.command = [sys.executable, "-m", same_names.__name__, *arguments]
        self.whole: dict[str, dict[str, bytes]] = {}
        for name in ("new", "old"):
            self.num_chunks = len(make(name))
            self.whole[name] = contents(target)
        self.calls = calls_below(target.parent, self.command)
        assert len(self.calls) > 30
        assert self.found() == "new"

    def reset(self) -> None:
        """The old dataset, and nothing beside it."""
        self.make("old")
        assert (self.found(), os.listdir(self.target.parent)) == ("old", [self.target.name])

    def found(self) -> str:
        """Which dataset is there, byte for byte: no mixture."""
        if not self.target.exists():
            return "none"
        [name] = [name for name, whole in self.whole.items() if whole == contents(self.target)]
        return name

    def left(self) -> set[str]:
        """What lies beside the dataset, finished chunks and their folders aside."""
        paths = {path.relative_to(self.target.parent) for path in self.target.parent.rglob("*")}
        work = Path(f".{self.target.name}.codedata")
        chunks = work / "chunks"
        return {
            str(path)
            for path in paths - {work, chunks}
            if path.parts[0] != self.target.name
            and (path.parent != chunks or path.suffix != ".arrow")
        }

    def finish(self) -> None:
        """The next run, and what has to be true of it."""
        stored = finished_chunks(self.target).keys()
        made = self.make("new")
        assert stored.isdisjoint(made)
        assert len(stored) + len(made) == self.num_chunks
        assert (self.found(), os.listdir(self.target.parent)) == ("new", [self.target.name])


@pytest.fixture
def small(way: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Runs of `small_publish`."""
    require_strace()
    if way == "fallback":
        monkeypatch.setattr(publishing, "exchange", no_exchange)
    target = tmp_path / "data" / "dataset"
    arguments = [small_publish.__name__, str(target), str(SHARDS["new"]), way]
    runs = Runs(target, arguments, lambda name: publish(target, SHARDS[name]))
    swap = "renameat2" if way == "exchange" else "rename"
    assert any(call.name == swap and call.path.endswith("/stage") for call in runs.calls)
    return runs


@pytest.fixture
def script(switches: list[str], monkeypatch: pytest.MonkeyPatch) -> Runs:
    """Runs of the script."""
    require_strace()

    def make(name: str) -> list[str]:
        with recorded_chunks(monkeypatch) as made:
            assert run_here([*switches, *SWITCHES[name]]) == 0
        return made

    _, _, *arguments = command([*switches, *SWITCHES["new"]], num_workers=1)
    return Runs(Path(switches[3]), arguments, make)


def some(calls: Sequence[Call]) -> list[Call]:
    """One call of each stage."""
    return [
        next(call for call in calls if call.name == name and call.path.endswith(end))
        for name, end in SOME
    ]


ways = pytest.mark.parametrize("way", [WAYS[0], pytest.param(WAYS[1], marks=long)])
choices = pytest.mark.parametrize("choose", [some, pytest.param(list, marks=long)])


def found_after_kills(runs: Runs, calls: Sequence[Call]) -> list[str]:
    """Kill a run at each call; which dataset was there then."""
    found: list[str] = []
    for call in calls:
        runs.reset()
        assert killed_at(call, runs.command), call
        found.append(runs.found())
        runs.finish()
    return found


@ways
def test_a_run_killed_at_any_call_leaves_a_whole_dataset_and_the_next_one_succeeds(
    small: Runs, way: str, capfd: pytest.CaptureFixture[str]
) -> None:
    """Row 17; without an exchange there is a moment without a dataset, which the next run ends."""
    found = found_after_kills(small, small.calls)
    with capfd.disabled():
        print(f"\nkilled at {len(found)} calls ({way}): {Counter(found)}")
    assert found.count("old") > 20
    assert found.count("new") > 8
    assert found.count("none") == (0 if way == "exchange" else 1)
    assert found == sorted(found, key=["old", "none", "new"].index)


@choices
def test_a_script_killed_at_a_call_leaves_a_whole_dataset_and_the_next_one_succeeds(
    choose: Callable[[Sequence[Call]], list[Call]], script: Runs
) -> None:
    assert {*found_after_kills(script, choose(script.calls))} == {"old", "new"}


def what_is_said(call: Call, error: str) -> str:
    """What a line holds that says why; some filesystems answer EACCES where a lock is held."""
    if call.name == "flock" and call.path.endswith("/lock") and error == "EACCES":
        return "is being written by another run (another process)"
    return ERRORS[error]


def refused_at(runs: Runs, faults: Sequence[tuple[Call, str, bool]], also: str = "") -> int:
    """How many runs said so, where a call failed once, or whenever it was made, with an error."""
    num_refused = 0
    for call, error, once in faults:
        runs.reset()
        failure = failing_at(call, error, runs.command, once=once)
        where = f"{error} at {call}: {failure.stderr}"
        assert failure.num_failed >= 1, where
        if failure.status == 0:
            assert lines(failure.stderr) == [], where
            assert runs.found() == "new", where
        else:
            num_refused += 1
            assert failure.status == 1, where
            [line] = lines(failure.stderr)
            assert line.startswith(("small_publish: error: ", "tokenize_data: error: ")), where
            assert what_is_said(call, error) in line, where
            if call.name != "flock":  # refused before anything is written
                assert Path(call.path).name in line, where
                assert also in line, where
            assert runs.found() in ("old", "new"), where
        if call.name not in REMOVALS:
            # A lock file that cannot be locked is not removed: a run may hold it.
            locked = {f".{runs.target.name}.codedata/lock"} if call.name == "flock" else set()
            assert runs.left() <= locked, where
        runs.finish()
    return num_refused


def each_with_one_error(calls: Sequence[Call]) -> list[tuple[Call, str, bool]]:
    return [(call, list(ERRORS)[index % 3], True) for index, call in enumerate(calls)]


def each_with_all_errors(calls: Sequence[Call]) -> list[tuple[Call, str, bool]]:
    return [(call, error, once) for call in calls for error in ERRORS for once in (True, False)]


@ways
@pytest.mark.parametrize(
    "faults", [each_with_one_error, pytest.param(each_with_all_errors, marks=long)]
)
def test_a_run_that_meets_an_error_at_any_call_says_so_and_leaves_a_whole_dataset(
    small: Runs,
    faults: Callable[[Sequence[Call]], list[tuple[Call, str, bool]]],
    capfd: pytest.CaptureFixture[str],
) -> None:
    """Row 16; only what cannot be removed is left."""
    chosen = faults(small.calls)
    num_refused = refused_at(small, chosen)
    with capfd.disabled():
        print(f"\n{len(chosen)} faults: {num_refused} runs failed, the rest succeeded")
    assert num_refused > 20


@choices
def test_a_script_that_meets_an_error_at_a_call_says_so_and_leaves_a_whole_dataset(
    choose: Callable[[Sequence[Call]], list[Call]], script: Runs
) -> None:
    calls = choose(script.calls)
    also = f"{script.target} holds what it held before, or the new dataset whole"
    assert refused_at(script, each_with_one_error(calls), also) > len(calls) / 2
