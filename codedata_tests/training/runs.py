"""Training runs as processes of their own: started, on one rank or by torchrun, and killed.

Each rank of a run writes RUN/rank-R.jsonl, a line a batch: [epoch or step, [first token of each
sample]], in the first line also its process id. Where it is to be killed it waits for that.
"""

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, TextIO

_HANG_VARIABLE = "CODEDATA_TESTS_HANG_AFTER"
_num_noted = itertools.count(1)


def start(
    module: str, arguments: Sequence[str], *, ranks: int, hang_after: int = 0
) -> subprocess.Popen[bytes]:
    """Start the ranks of a run; each waits to be killed once it has logged so many batches."""
    launch = [sys.executable]
    if ranks > 1:
        launch += ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", str(ranks)]
    return subprocess.Popen(
        [*launch, "-m", module, *arguments],
        env={**os.environ, "OMP_NUM_THREADS": "1", _HANG_VARIABLE: str(hang_after)},
        stderr=subprocess.DEVNULL,
    )


def rank_of_this_process() -> int:
    return int(os.environ.get("RANK", "0"))


def note(log: TextIO, when: int, samples: list[int]) -> None:
    pid = [os.getpid()] if log.tell() == 0 else []
    log.write(json.dumps([when, samples, *pid]) + "\n")
    log.flush()
    if next(_num_noted) == int(os.environ.get(_HANG_VARIABLE, "0")):
        time.sleep(3600)


def logged(run: Path, rank: int) -> list[list[Any]]:
    """The whole lines of a rank's log."""
    try:
        lines = (run / f"rank-{rank}.jsonl").read_text(encoding="utf-8").splitlines(keepends=True)
    except FileNotFoundError:
        return []
    return [json.loads(line) for line in lines if line.endswith("\n")]


def kill_after(process: subprocess.Popen[bytes], run: Path, rank: int, lines: int) -> None:
    """SIGKILL a rank once it has logged so many batches; torchrun ends the others."""
    while len(logged(run, rank)) < lines:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.01)
    os.kill(logged(run, rank)[0][2], signal.SIGKILL)
    assert process.wait(500) != 0
