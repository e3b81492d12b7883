"""Rows 16 and 17 through the script: killed or failing where it changes a file beside its dataset.

What `test_every_call` shows of publishing in small, here with real chunks, threads and messages.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path

import pytest

from codedata.store.dataset_folder import open_dataset
from codedata_tests.campaigns import same_names
from codedata_tests.campaigns.strace import (
    REMOVALS,
    Call,
    calls_below,
    failing_at,
    killed_at,
    require_strace,
)
from codedata_tests.campaigns.test_every_call import ERRORS, what_is_said
from codedata_tests.script_runs import (
    assert_only_chunks_are_left,
    command,
    contents,
    finished_chunks,
    lines,
    recorded_chunks,
    run_here,
    work_folder,
)

pytestmark = pytest.mark.campaign

FIRST = ["--seq_length", "50", "--chunk_size", "50000"]
SECOND = ["--seq_length", "64", "--chunk_size", "50000"]
"""Three chunks and as many shards; in turn, so that each run finds the other's dataset."""


SOME = {("write", ".tmp"), ("rename", ".tmp"), ("fsync", "dump-1.pkl"), ("renameat2", "stage")}
SOME |= {("write", "dump-meta_data.json"), ("unlink", ".arrow")}
"""Of a chunk, a shard, the meta, the swap, and what is removed after it."""


def some(calls: Sequence[Call]) -> list[Call]:
    """One call of each stage."""
    return [
        next(call for call in calls if call.name == name and call.path.endswith(end))
        for name, end in sorted(SOME)
    ]


long = (pytest.mark.long, pytest.mark.timeout(900))
choices = pytest.mark.parametrize("choose", [some, pytest.param(list, marks=long)])


class ScriptRuns:
    """The two commands in turn, and the calls that both make."""

    def __init__(self, switches: list[str], target: Path) -> None:
        self.target = target
        self.switches = switches
        self.turns = [FIRST, SECOND]
        self.whole: list[dict[str, bytes]] = []
        for wanted in self.turns:
            assert run_here([*switches, *wanted]) == 0
            self.whole.append(contents(target))
        assert self.whole[0] != self.whole[1]
        self.calls = calls_below(target.parent, self.command)
        assert contents(target) == self.whole[0]
        assert len(self.calls) > 40

    @property
    def command(self) -> list[str]:
        """The one whose dataset is not there."""
        python, minus_m, *rest = command([*self.switches, *self.turns[0]], num_workers=1)
        return [python, minus_m, same_names.__name__, *rest]

    def turn(self) -> None:
        """The other one comes next."""
        self.turns.reverse()
        self.whole.reverse()

    def finish(self, patch: pytest.MonkeyPatch) -> None:
        """The next run, and what has to be true of it."""
        finished = finished_chunks(self.target)
        with recorded_chunks(patch) as made:
            assert run_here([*self.switches, *self.turns[0]]) == 0
        assert not finished.keys() & made
        assert contents(self.target) == self.whole[0]
        assert open_dataset(self.target, verify=True).num_samples > 10
        assert os.listdir(self.target.parent) == [self.target.name]
        self.turn()


@pytest.fixture
def runs(switches: list[str], target: Path) -> ScriptRuns:
    require_strace()
    script_runs = ScriptRuns(switches, target)
    script_runs.turn()
    return script_runs


@choices
def test_a_script_killed_at_a_call_leaves_a_whole_dataset_and_the_next_one_succeeds(
    choose: Callable[[Sequence[Call]], list[Call]],
    runs: ScriptRuns,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for call in choose(runs.calls):
        assert killed_at(call, runs.command), call
        assert contents(runs.target) in runs.whole
        runs.finish(monkeypatch)


@choices
def test_a_script_that_meets_an_error_at_a_call_says_so_and_leaves_a_whole_dataset(
    choose: Callable[[Sequence[Call]], list[Call]],
    runs: ScriptRuns,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    calls = choose(runs.calls)
    num_refused = 0
    for index, call in enumerate(calls):
        error = list(ERRORS)[index % 3]
        failure = failing_at(call, error, runs.command)
        where = f"{error} at {call}: {failure.stderr}"
        assert failure.num_failed >= 1, where
        assert contents(runs.target) in runs.whole
        if failure.status == 0:
            assert contents(runs.target) == runs.whole[0], where
            assert lines(failure.stderr) == [], where
        else:
            num_refused += 1
            assert failure.status == 1, where
            [line] = lines(failure.stderr)
            assert line.startswith("tokenize_data: error: "), where
            assert what_is_said(call, error) in line, where
            if call.name != "flock":  # refused before anything is written
                assert Path(call.path).name in line, where
                assert f"{runs.target} holds what it held before, or the new dataset whole" in line
        if call.name not in REMOVALS and call.name != "flock":
            assert_only_chunks_are_left(runs.target)
        runs.finish(monkeypatch)
    with capfd.disabled():
        print(f"\nan error at {len(calls)} of the script's {len(runs.calls)} calls")
    assert num_refused > len(calls) / 2
    assert not work_folder(runs.target).exists()
