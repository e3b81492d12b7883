"""The examples, run as people run them: on the demo's splits, by python and by torchrun, killed."""

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario
from codedata_tests.demo import Demo

EXAMPLES = Path(__file__).parent.parent / "examples"

pytestmark = pytest.mark.timeout(1800)

TWO_RANKS = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


def start(demo: Demo, *arguments: str, ranks: int = 1) -> subprocess.Popen[str]:
    command = [sys.executable, *(TWO_RANKS if ranks == 2 else []), *arguments]
    environment = {**demo.environment, "OMP_NUM_THREADS": "1", "PYTHONUNBUFFERED": "1"}
    return subprocess.Popen(
        command,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def finish(process: subprocess.Popen[str]) -> str:
    try:
        out, err = process.communicate(timeout=900)
    except BaseException:  # a timeout, the test's own too: nothing stays behind
        os.killpg(process.pid, signal.SIGKILL)
        process.communicate()
        raise
    assert process.returncode == 0, err
    return out


def kill_once(
    begin: Callable[[], subprocess.Popen[str]],
    output: Path,
    is_time: Callable[[], bool],
    is_late: Callable[[str], bool],
) -> None:
    """Kill a training run; from its beginning once more where it had got too far by then."""
    for _ in range(6):
        shutil.rmtree(output, ignore_errors=True)
        process = begin()
        while not is_time() and process.poll() is None:
            time.sleep(0.01)
        process.kill()
        out, err = process.communicate(timeout=300)
        assert process.returncode in (0, -signal.SIGKILL), err
        if not is_late(out):
            assert process.returncode
            return
    pytest.fail("it was killed too late each time")


def losses(out: str) -> dict[str, float]:
    found = re.findall(r"^(step \d+|evaluated 8 samples:) loss (\S+)$", out, re.MULTILINE)
    return {what: float(loss) for what, loss in found}


@pytest.mark.campaign
def test_the_plain_loop_goes_on_after_a_kill_on_two_ranks_as_if_nothing_had_been(
    demo: Demo, tmp_path: Path
) -> None:
    def script(output: str) -> list[str]:
        switches = ["--max_steps", "12", "--save_every", "4", "--eval_samples", "8"]
        return [str(EXAMPLES / "train_tiny.py"), "--output", str(tmp_path / output), *switches]

    whole = losses(finish(start(demo, *script("whole"))))
    assert list(whole) == [*(f"step {i}" for i in range(1, 13)), "evaluated 8 samples:"]
    assert whole["step 1"] > whole["step 12"] + 1, "it learns"

    saved = tmp_path / "killed" / "checkpoint.pt"
    kill_once(
        lambda: start(demo, *script("killed")),
        saved.parent,
        saved.exists,
        lambda out: "step 12 loss" in out,
    )
    out = finish(start(demo, *script("killed"), "--num_workers", "2", ranks=2))
    begun = re.findall(r"rank (\d) goes on from step (\d+)", out)
    assert sorted(begun) == [("0", begun[0][1]), ("1", begun[0][1])]
    first = int(begun[0][1]) + 1
    assert first in (5, 9)
    resumed = losses(out)
    assert list(resumed) == [*(f"step {i}" for i in range(first, 13)), "evaluated 8 samples:"]
    for what, loss in resumed.items():
        assert loss == pytest.approx(whole[what], abs=2e-3), what

    said = "is at step 12 already: --max_steps 42 goes on from there, another --output begins anew"
    assert said in finish(start(demo, *script("whole")))


@pytest.mark.campaign
def test_where_padding_is_masked_neither_micro_batches_nor_ranks_change_the_loss(
    demo: Demo, tmp_path: Path
) -> None:
    rows = np.random.default_rng(0).integers(1, 50, (64, 1, 32))
    text_tokens = [2 + 30 * (row % 2) for row in range(len(rows))]
    sha256 = find_tokenizer(str(demo.root / "tokenizers" / "demo_tokenizer")).fingerprint
    for name in ("demo_train", "demo_validation"):
        folder = tmp_path / "datasets" / name
        scenario.write_dataset(folder, list(rows), last_sample_tokens=text_tokens)
        scenario.write_facts(folder, "demo_tokenizer", sha256=sha256)
    (tmp_path / "tokenizers").symlink_to(demo.root / "tokenizers")
    padded = replace(demo, environment={**demo.environment, "CODEDATA_ROOT": str(tmp_path)})

    def run(name: str, *switches: str, ranks: int = 1) -> dict[str, float]:
        script = [str(EXAMPLES / "train_tiny.py"), "--output", str(tmp_path / name)]
        script += ["--max_steps", "5", "--eval_samples", "8", *switches]
        return losses(finish(start(padded, *script, ranks=ranks)))

    one = run("one")
    assert len(one) == 6
    assert run("four", "--micro_batch_size", "4") == pytest.approx(one, abs=2e-3)
    assert run("ranks", "--micro_batch_size", "2", ranks=2) == pytest.approx(one, abs=2e-3)
    assert run("reference", "--count_padding")["step 1"] != pytest.approx(one["step 1"], abs=2e-3)


def eval_losses(run: Path) -> list[tuple[int, float]]:
    state = json.loads((run / "checkpoint-8" / "trainer_state.json").read_text())
    return [(e["step"], e["eval_loss"]) for e in state["log_history"] if "eval_loss" in e]


def is_whole(checkpoint: Path) -> bool:
    """Whether the file that the Trainer writes last is there and ends as JSON does."""
    path = checkpoint / "trainer_state.json"
    return path.exists() and path.read_text().rstrip().endswith("}")


@pytest.mark.campaign
def test_the_trainer_goes_on_after_a_kill_on_two_ranks_and_refuses_another_dataset(
    demo: Demo, tmp_path: Path
) -> None:
    def script(output: str, batch_size: int) -> list[str]:
        switches = ["--max_steps", "8", "--save_every", "4", "--eval_samples", "8"]
        switches += ["--batch_size", str(batch_size), "--output", str(tmp_path / output)]
        return [str(EXAMPLES / "train_trainer.py"), *switches]

    finish(start(demo, *script("whole", 4)))
    whole = eval_losses(tmp_path / "whole")
    assert [step for step, _ in whole] == [4, 8]
    assert whole[1][1] < whole[0][1], "it learns"

    run = tmp_path / "killed"
    kill_once(
        lambda: start(demo, *script("killed", 4)),
        run,
        lambda: is_whole(run / "checkpoint-4"),
        lambda _: (run / "checkpoint-8").exists(),
    )
    (run / "checkpoint-7").mkdir()  # as a kill while it was written would have left it
    (run / "checkpoint-7" / "trainer_state.json").write_text('{"best_metric": nu')

    other = str(demo.root / "datasets" / "demo_validation")
    refused = start(demo, *script("killed", 4), "--dataset_paths", other)
    _, err = refused.communicate(timeout=900)
    assert refused.returncode == 1
    assert re.search(
        r"^train_trainer.py: error: the checkpoint was trained on \S+demo_train .*, but "
        r"train_dataset is \S+demo_validation ",
        err,
        re.MULTILINE,
    )
    finish(start(demo, *script("killed", 2), ranks=2))
    for (step, loss), (also, same) in zip(eval_losses(run), whole, strict=True):
        assert step == also
        assert loss == pytest.approx(same, abs=2e-3)
    assert "checkpoint-8 is at step 8 already" in finish(start(demo, *script("killed", 4)))


@pytest.mark.parametrize(
    "name", ["train_tiny.py", pytest.param("train_trainer.py", marks=pytest.mark.campaign)]
)
def test_one_flag_takes_the_real_splits(demo: Demo, tmp_path: Path, name: str) -> None:
    (tmp_path / "datasets").mkdir()
    for split in ("train", "validation"):
        (tmp_path / "datasets" / split).symlink_to(demo.root / "datasets" / f"demo_{split}")
    real = replace(demo, environment={**demo.environment, "CODEDATA_ROOT": str(tmp_path)})
    (tmp_path / "tokenizers").symlink_to(demo.root / "tokenizers")
    switches = ["--real", "--max_steps", "1", "--eval_samples", "8"]
    out = finish(start(real, str(EXAMPLES / name), *switches, "--output", str(tmp_path / "out")))
    assert losses(out) or "eval_loss" in out
