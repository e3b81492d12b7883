"""Row 17 of runs with documents: kill -9 at random moments, in turn with runs that have none.

What is there then is the one before or the new one, each with all of its sidecars and no other's.
"""

import os
import random
import signal
from itertools import cycle, pairwise
from pathlib import Path

import pytest

from codedata.store.dataset_folder import open_dataset
from codedata_tests.campaigns.document_run import WAYS, run
from codedata_tests.campaigns.machine import PROCESSES
from codedata_tests.campaigns.phases import Kills
from codedata_tests.scenario import dataset_bytes
from codedata_tests.script_runs import finished_chunks, needs_proc, recorded_chunks

pytestmark = pytest.mark.campaign


@needs_proc
@pytest.mark.parametrize(
    "num_kills", [4, pytest.param(100, marks=(pytest.mark.long, pytest.mark.timeout(1800)))]
)
def test_a_run_with_documents_killed_at_random_moments_leaves_whole_datasets_with_their_sidecars(
    num_kills: int,
    tokenizer_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    target, whole = tmp_path / "data/set", dict[str, dict[str, bytes]]()
    target.parent.mkdir()
    for way in reversed(WAYS):
        run(target, tokenizer_folder, way)
        whole[way] = dataset_bytes(target)
    [_, *others] = WAYS
    kills = Kills(target, num_kills, random.Random(num_kills), num_chunks=8, num_shards=8)
    for old, new in pairwise(cycle([*WAYS, *others])):
        if not kills.missing:
            break
        wait_for_its_moment = kills.next()
        process = PROCESSES.Process(target=run, args=(target, tokenizer_folder, new))
        process.start()
        wait_for_its_moment(lambda process=process: process.exitcode)
        process.kill()
        process.join()
        assert process.exitcode in (0, -signal.SIGKILL)
        kills.note(ended=process.exitcode == 0)
        there = dataset_bytes(target)
        assert there in (whole[old], whole[new]), (old, new)
        assert open_dataset(target, verify=True)
        finished = finished_chunks(target)
        with recorded_chunks(monkeypatch) as made:
            run(target, tokenizer_folder, new)
        assert finished.keys().isdisjoint(made), "not made again"
        assert dataset_bytes(target) == whole[new]
        assert os.listdir(target.parent) == [target.name]
    with capfd.disabled():
        print(f"\n{kills.num_hit.total()} kills of runs with documents: {kills}")
