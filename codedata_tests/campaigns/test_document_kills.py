"""Row 17 of runs with documents: kill -9 at random moments, in turn with runs that have none.

What is there then is the one before or the new one, each with all of its sidecars and no other's.
"""

import os
import random
import time
from itertools import cycle, islice, pairwise
from pathlib import Path

import pytest

from codedata.store.dataset_folder import open_dataset
from codedata_tests.campaigns.document_run import WAYS, run
from codedata_tests.campaigns.machine import PROCESSES
from codedata_tests.scenario import dataset_bytes
from codedata_tests.script_runs import finished_chunks, needs_proc, recorded_chunks, work_folder

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
    target, random_ = tmp_path / "data/set", random.Random(num_kills)
    target.parent.mkdir()
    work, whole, seconds = work_folder(target), dict[str, dict[str, bytes]](), 0.0
    for way in reversed(WAYS):
        started = time.monotonic()
        run(target, tokenizer_folder, way)
        seconds = time.monotonic() - started
        whole[way] = dataset_bytes(target)
    [_, *others] = WAYS
    num_killed = {"old": 0, "new": 0, "too late": 0}
    for old, new in pairwise(islice(cycle([*WAYS, *others]), num_kills + 1)):
        process = PROCESSES.Process(target=run, args=(target, tokenizer_folder, new))
        process.start()
        stages = random_.random() < 0.6
        while process.is_alive() and not (work / "stage" if stages else work).exists():
            time.sleep(0.001)
        time.sleep(random_.uniform(0, seconds / 2))
        process.kill()
        process.join()
        there = dataset_bytes(target)
        assert there in (whole[old], whole[new]), (old, new)
        assert open_dataset(target, verify=True)
        found = "old" if there == whole[old] else "new"
        num_killed[found if process.exitcode else "too late"] += 1
        finished = finished_chunks(target)
        with recorded_chunks(monkeypatch) as made:
            run(target, tokenizer_folder, new)
        assert finished.keys().isdisjoint(made), "not made again"
        assert dataset_bytes(target) == whole[new]
        assert os.listdir(target.parent) == [target.name]
    with capfd.disabled():
        print(f"\n{num_kills} kills of runs with documents, {seconds:.2f} s of work: {num_killed}")
    assert num_killed["too late"] < num_kills / 2
