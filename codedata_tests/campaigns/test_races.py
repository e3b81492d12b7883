"""Row 18 at full speed: two scripts start on one target at the same moment, again and again."""

import os
import re
from pathlib import Path

import pytest

from codedata_tests.script_runs import (
    NEW,
    contents,
    finished_chunks,
    lines,
    needs_proc,
    run_here,
    started,
)

pytestmark = pytest.mark.campaign

ONE = NEW
OTHER = ["--seq_length", "48", "--max_dump_size", "200", "--chunk_size", "1000"]


@needs_proc
@pytest.mark.parametrize(
    "num_races", [5, pytest.param(50, marks=(pytest.mark.long, pytest.mark.timeout(900)))]
)
def test_of_two_scripts_that_start_at_once_one_wins_and_the_other_waits_its_turn_or_says_who_runs(
    num_races: int, switches: list[str], target: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    """The chunks are the same, the samples are not, so a mixture of the two would show."""
    whole: list[dict[str, bytes]] = []
    for wanted in (ONE, OTHER):
        assert run_here([*switches, *wanted]) == 0
        whole.append(contents(target))
    assert whole[0] != whole[1]
    num_run = num_refused = 0
    while num_run < num_races or num_refused <= num_races / 2:
        num_run += 1
        assert num_run <= 6 * num_races, "one was over before the other began"
        with started([*switches, *ONE]) as one, started([*switches, *OTHER]) as other:
            said = [process.communicate(timeout=300)[1] for process in (one, other)]
        statuses = [one.returncode, other.returncode]
        winners = [index for index in (0, 1) if statuses[index] == 0]
        assert winners, said
        assert contents(target) in [whole[index] for index in winners]
        for index in {0, 1} - set(winners):
            num_refused += 1
            winner = (one, other)[1 - index]
            [line] = lines(said[index])
            assert statuses[index] == 1
            assert re.fullmatch(
                rf"tokenize_data: error: the dataset {target} is being written by another run "
                rf"\((process {winner.pid} on .*|another process)\); wait .*",
                line,
            )
        assert os.listdir(target.parent) == [target.name]
        assert finished_chunks(target) == {}
    with capfd.disabled():
        print(f"\n{num_run} races: one was refused in {num_refused}, both took turns in the rest")
