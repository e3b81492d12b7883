"""What all benchmarks share: commands run and measured, tables, results saved as JSON.

Peak memory is the sum of PSS over a command's process tree, sampled: pages that processes share are
counted once.
"""

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from threading import Event, Thread
from typing import Any

import numpy as np

_SAMPLE_SECONDS = 0.03
RESULTS = Path(__file__).parent / "results"


@dataclass(frozen=True)
class Cost:
    """What a piece of work took.

    Attributes:
        wall: seconds.
        cpu: seconds of processor time, of all threads and children.
        peak: bytes of memory at most, 0 where it was not measured.
    """

    wall: float
    cpu: float
    peak: int = 0


def run(command: Sequence[str], environment: Mapping[str, str] | None = None) -> Cost:
    """Run a command and measure its process tree; what it prints goes to benchmarks/results."""
    RESULTS.mkdir(exist_ok=True)
    log = RESULTS / "last-command.log"
    with log.open("wb") as output:
        started = time.perf_counter()
        process = subprocess.Popen(
            command,
            stdout=output,
            stderr=subprocess.STDOUT,
            env={**os.environ, **(environment or {})},
        )
        peaks: list[int] = [0]
        ended = Event()
        sampler = Thread(target=_sample, args=(process.pid, peaks, ended))
        sampler.start()
        _, status, usage = os.wait4(process.pid, 0)
        wall = time.perf_counter() - started
        ended.set()
        sampler.join()
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        sys.exit(f"{' '.join(command)}\nended with {process.returncode}; see {log}")
    return Cost(wall, usage.ru_utime + usage.ru_stime, max(peaks))


def script_command(parquet: Path, folder: Path, tokenizer: str, num_chars: int) -> list[str]:
    """The script, on the leading characters of a parquet, as `run` takes it."""
    return [
        *(sys.executable, "-m", "codedata.tokenize_data", "--data_file", str(parquet)),
        *("--tokenization_folder", str(folder), "--tokenizer_base", tokenizer),
        *("--chars_to_tokenize", str(num_chars)),
    ]


def _sample(pid: int, peaks: list[int], ended: Event) -> None:
    while not ended.wait(_SAMPLE_SECONDS):
        peaks.append(sum(_pss(each) for each in _tree(pid)))


def _tree(pid: int) -> list[int]:
    found = [pid]
    for children in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            text = children.read_text()
        except OSError:
            continue
        for child in text.split():
            found += _tree(int(child))
    return found


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:  # it has ended
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def measure(work: Callable[[], Any]) -> Cost:
    """Measure a call in this process."""
    cpu, wall = time.process_time(), time.perf_counter()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def alternate(
    works: Mapping[str, Callable[[], Cost]], rounds: int, skip: Callable[[str, int], bool]
) -> dict[str, list[Cost]]:
    """Measure each piece of work in turn, `rounds` times over.

    Args:
        works: by name.
        rounds: how often.
        skip: whether a name sits out a round, for work that takes minutes.
    """
    costs: dict[str, list[Cost]] = {name: [] for name in works}
    for turn in range(rounds):
        for name, work in works.items():
            if not skip(name, turn):
                costs[name].append(work())
                print(f"  round {turn + 1}: {name} {costs[name][-1].wall:.2f} s", flush=True)
    return costs


def medians(costs: Sequence[Cost]) -> Cost:
    """The median of each figure, memory excepted: of that the largest."""
    return Cost(
        median(cost.wall for cost in costs),
        median(cost.cpu for cost in costs),
        max(cost.peak for cost in costs),
    )


def print_table(headings: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a Markdown table, ready for docs/performance.md."""
    print()
    for row in [headings, ["---"] * len(headings), *rows]:
        print(f"| {' | '.join(row)} |")
    print()


def save(name: str, parameters: Mapping[str, Any], results: Any) -> None:
    """Write benchmarks/results/<name>.json."""
    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    record = {
        "machine": {
            "python": platform.python_version(),
            "system": platform.platform(),
            "cores": len(os.sched_getaffinity(0)),
            "copy GB/s": copy_rate() / 1e9,
        },
        "parameters": {key: str(value) for key, value in parameters.items()},
        "results": results,
    }
    text = json.dumps(record, indent=2, default=asdict)
    path.write_text(text + "\n", encoding="utf-8")
    print(f"saved {path}")


def copy_rate(num_bytes: int = 10_000_000) -> float:
    """Bytes a second of a plain copy by one thread: the limit of whatever reads and writes."""
    source = np.ones(num_bytes, np.uint8)
    target = source.copy()
    walls = [measure(lambda: np.copyto(target, source)).wall for _ in range(20)]
    return num_bytes / median(walls)
