"""Loading for training, beside what others use for it: batches a second, opening, resuming.

    python -m benchmarks.training --data FOLDER --peers PYTHON
    python -m benchmarks.training --data FOLDER --peers PYTHON --only speed --sides codedata memmap

The peers have an interpreter of their own, with torch of the same version and build as here, and
litdata, mosaicml-streaming, datasets and megatron-core; a side that is not installed there is left
out with a line. Every side has the same samples, made once in FOLDER, and gives int64 `input_ids`
and `labels` in shuffled order.

    speed    one process a side, asked in turn: batches of an epoch for some time
    open     a new process each time, the clock from after its imports to the first batch
    resume   a new process each time, the clock from its start to the first batch after the state of
             one that was killed; the batch is compared with the one that would have come next

With --before, a checkout of another commit is a side too. Figures are medians of the rounds; the
sides alternate.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import IO, Any

import numpy as np

from benchmarks.measuring import Cost, alternate, medians, print_table, save

_ROOT = Path(__file__).parent.parent
_SIDES = Path(__file__).with_name("training_sides.py")
_PEERS = ("Megatron", "litdata", "datasets", "mosaicml")
_ONE_FILE = ("memmap", "Megatron")
_OURS = (
    "codedata",
    "codedata, masked",
    "codedata, blocks",
    "codedata, mixture",
    "codedata, DataLoader",
)
_SPEEDS = [(8, 0), (64, 0), (8, 2), (64, 2)]
"""Samples a batch, worker processes."""

_NEW = ", first time"
"""Of a user who opened none before: no shard is known to have been checked."""

_BEFORE = "codedata, before"


@dataclass(frozen=True, kw_only=True)
class Runner:
    """Starts processes of the sides.

    Attributes:
        data: the folder of all datasets.
        peers: their interpreter; None without.
        before: another checkout.
        log: of what they write to stderr.
    """

    data: Path
    peers: str | None
    before: Path | None
    log: IO[str]

    def command(self, side: str, *arguments: object) -> dict[str, Any]:
        """What Popen takes."""
        known = "codedata" if side == _BEFORE else side.removesuffix(_NEW)
        python = self.peers if side in _PEERS else sys.executable
        checkout = self.before if side == _BEFORE else _ROOT
        environment = {**os.environ, "PYTHONPATH": str(checkout), "PYTHONWARNINGS": "ignore"}
        if side.endswith(_NEW):
            environment["XDG_CACHE_HOME"] = tempfile.mkdtemp(dir=self.data)
        parts = [python, "-P", str(_SIDES), known, *map(str, arguments)]
        return {
            "args": parts,
            "env": environment,
            "text": True,
            "stdout": subprocess.PIPE,
            "stderr": self.log,
        }

    def folder(self, side: str, num_shards: int) -> Path:
        """Where the dataset of a side lies, with so many shards."""
        name = "codedata" if side.startswith("codedata") else side
        return self.data / (name if name in _ONE_FILE else f"{name}-{num_shards}")

    def make(self, side: str, ids: Path, num_shards: int) -> bool:
        """Make a dataset that is not there; whether the side is installed."""
        folder = self.folder(side, num_shards)
        if folder.exists():
            return True
        num_samples = len(np.load(ids, mmap_mode="r"))
        part = folder.with_name(f"{folder.name}.part")
        shutil.rmtree(part, ignore_errors=True)
        asked = self.command(side, "make", ids, part, -(-num_samples // num_shards))
        if subprocess.run(**asked, check=False).returncode:
            print(f"{side} is left out: see {self.log.name}", flush=True)
            return False
        part.rename(folder)
        print(f"made {folder.name}", flush=True)
        return True

    def answer(self, side: str, *arguments: object) -> tuple[Any, Cost]:
        """What a process answers, and its cost from its start to its answer."""
        started = time.perf_counter()
        asked = self.command(side, *arguments)
        with subprocess.Popen(**asked) as process:
            assert process.stdout is not None
            line = process.stdout.readline()
            wall = time.perf_counter() - started
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
        if side.endswith(_NEW):
            shutil.rmtree(asked["env"]["XDG_CACHE_HOME"])
        if not line:
            sys.exit(f"{' '.join(asked['args'])}\nended; see {self.log.name}")
        return json.loads(line), Cost(wall, usage.ru_utime + usage.ru_stime)


def synthetic(path: Path, num_samples: int, seq_length: int) -> Path:
    """Ids as frequent as words are, below 32,000, made once."""
    if not path.exists():
        random = np.random.default_rng(0)
        ids = np.minimum(random.zipf(1.3, (num_samples, seq_length)), 31_999).astype(np.uint16)
        np.save(path, ids)
    return path


def speed(runner: Runner, sides: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Samples a second, and CPU seconds of the training process a sample."""
    rates: dict[str, dict[str, list[list[float]]]] = {}
    with ExitStack() as stack:
        processes = {
            side: stack.enter_context(
                subprocess.Popen(
                    **runner.command(side, "speed", runner.folder(side, options.shards[0])),
                    stdin=subprocess.PIPE,
                )
            )
            for side in sides
        }
        for process in processes.values():
            _read(process)
        for turn in range(options.rounds):
            for batch_size, workers in _SPEEDS:
                row = rates.setdefault(f"batches of {batch_size}, {workers} workers", {})
                for side, process in processes.items():
                    assert process.stdin is not None
                    print(
                        json.dumps([batch_size, workers, options.seconds]),
                        file=process.stdin,
                        flush=True,
                    )
                    row.setdefault(side, []).append(_read(process))
            print(f"  round {turn + 1} of speed", flush=True)
        for process in processes.values():
            process.kill()
    base = "memmap" if "memmap" in sides else sides[0]
    for what, row in rates.items():
        walls = {side: [rate for rate, _ in each] for side, each in row.items()}
        rows = [
            [
                side,
                f"{median(walls[side]) / 1e3:.1f}k",
                _ratio(walls[side], walls[base]),
                f"{median(cpu for _, cpu in each) * 1e6:.1f}",
                _ratio([cpu for _, cpu in row[base]], [cpu for _, cpu in each]),
            ]
            for side, each in row.items()
        ]
        headings = ["samples/s", f"times {base}", "CPU us a sample, of training", f"{base}'s to it"]
        print_table([what, *headings], rows)
    return rates


def _read(process: "subprocess.Popen[str]") -> Any:
    assert process.stdout is not None
    line = process.stdout.readline()
    if not line:
        sys.exit(f"{' '.join(map(str, process.args))}\nended; see stderr.log beside its data")
    return json.loads(line)


def _ratio(each: Sequence[float], base: Sequence[float]) -> str:
    """The median of the ratios of the rounds."""
    return f"{median(a / b for a, b in zip(each, base, strict=True)):.2f}"


def opening(runner: Runner, sides: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Seconds to the first batch, after the imports."""

    def work(side: str, num_shards: int) -> Callable[[], Cost]:
        return lambda: Cost(*runner.answer(side, "open", runner.folder(side, num_shards))[0])

    results: dict[str, dict[str, list[Cost]]] = {}
    for num_shards in options.shards:
        chosen = [side for side in sides if side not in _ONE_FILE or num_shards < 1000]
        works = {side: work(side, num_shards) for side in chosen}
        results[f"{num_shards} shards"] = alternate(works, options.rounds, _none)
    for what, costs in results.items():
        _print_costs(f"{what}: open and first batch", costs)
    return results


def resuming(runner: Runner, sides: Sequence[str], options: argparse.Namespace) -> dict[str, Any]:
    """Seconds from the start of a process to the first batch after a state."""
    results: dict[str, dict[str, list[Cost]]] = {}
    wrong: set[str] = set()
    for workers in (0, 2):
        states: dict[str, Path] = {}
        for side in sides:
            states[side] = runner.data / f"{side}.state"
            asked = runner.command(
                side, "save", runner.folder(side, options.shards[0]), workers, states[side]
            )
            with subprocess.Popen(**asked) as process:
                _read(process)
                process.kill()

        def work(side: str, state: Path, workers: int = workers) -> Callable[[], Cost]:
            def resume() -> Cost:
                folder = runner.folder(side, options.shards[0])
                is_next, cost = runner.answer(side, "resume", folder, workers, state)
                if not is_next:
                    wrong.add(f"{side} with {workers} workers")
                return cost

            return resume

        works = {side: work(side, state) for side, state in states.items()}
        results[f"{workers} workers"] = alternate(works, options.rounds, _none)
    for what, costs in results.items():
        _print_costs(f"{what}: process start to first batch after a resume", costs)
    print(f"another batch than would have come next: {', '.join(sorted(wrong)) or 'none'}\n")
    return results


def _none(_name: str, _turn: int) -> bool:
    return False


def _print_costs(what: str, costs: Mapping[str, Sequence[Cost]]) -> None:
    base = "litdata" if "litdata" in costs else next(iter(costs))
    walls = {side: [cost.wall for cost in each] for side, each in costs.items()}
    rows = [
        [
            side,
            f"{medians(each).wall * 1e3:.0f}",
            f"{medians(each).cpu * 1e3:.0f}",
            _ratio(walls[side], walls[base]),
        ]
        for side, each in costs.items()
    ]
    print_table([what, "ms", "CPU ms", f"times {base}"], rows)


def _sides(options: argparse.Namespace) -> Iterator[str]:
    yield from _OURS
    if options.before:
        yield _BEFORE
    yield "memmap"
    if options.peers:
        yield from _PEERS


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", type=Path, required=True, help="of datasets, kept: 4 GB")
    parser.add_argument("--peers", help="their interpreter; without, codedata and memmap alone")
    parser.add_argument("--before", type=Path, help="a checkout of another commit, a side as well")
    parser.add_argument("--only", nargs="+", choices=("speed", "open", "resume"))
    parser.add_argument("--sides", nargs="+", help="these alone, by their names in the tables")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.6, help="of each measure of speed")
    parser.add_argument("--samples", type=int, default=59_955)
    parser.add_argument("--seq_length", type=int, default=1536)
    parser.add_argument("--shards", type=int, nargs="+", default=[20, 2_000, 20_000])
    options = parser.parse_args()
    options.data = options.data.absolute() / f"{options.samples}-{options.seq_length}"
    options.data.mkdir(parents=True, exist_ok=True)
    ids = synthetic(options.data / "ids.npy", options.samples, options.seq_length)
    with (options.data / "stderr.log").open("w") as log:
        runner = Runner(data=options.data, peers=options.peers, before=options.before, log=log)
        results = _measured(runner, ids, options)
    save("training", vars(options), results)


def _measured(runner: Runner, ids: Path, options: argparse.Namespace) -> dict[str, Any]:
    parts = options.only or ["speed", "open", "resume"]
    sides = [
        side
        for side in options.sides or _sides(options)
        for shards in [options.shards if "open" in parts else options.shards[:1]]
        if all(runner.make(side, ids, each) for each in shards)
    ]
    results: dict[str, Any] = {}
    if "speed" in parts:
        results["speed"] = speed(runner, sides, options)
    if "open" in parts:
        whole = [side for side in sides if side in ("codedata", _BEFORE) or "codedata" not in side]
        new = [f"codedata{_NEW}"] if "codedata" in sides else []
        results["open"] = opening(runner, [*new, *whole], options)
    if "resume" in parts:
        able = [side for side in sides if side in ("codedata", _BEFORE, "litdata", "mosaicml")]
        results["resume"] = resuming(runner, able, options)
    return results


if __name__ == "__main__":
    main()
