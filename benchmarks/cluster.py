"""What a Dask cluster costs on one machine: its workers against threads, chunks of the same text.

    python -m benchmarks.cluster --corpus PARQUET --tokenizer FOLDER [--chars 300000000]

Both tokenize and store all chunks of a plan in a folder, one worker or thread a core, in turns;
before that each worker and each thread has done chunks of it. Both times have what a run does
before its first chunk.
"""

import argparse
import os
import resource
import tempfile
import time
from concurrent.futures import Executor
from functools import partial
from pathlib import Path

from benchmarks.measuring import Cost, alternate, medians, print_table, save
from codedata.parallel import ChunkThreads, available_cores
from codedata.progress import SILENT
from codedata.recipe.settings import Settings
from codedata.run.cluster import DaskWorkers, dask_workers
from codedata.run.placement import Cluster
from codedata.run.plan import Plan, open_plan
from codedata.run.tokenize import tokenize
from codedata.sources.parquet.text import ParquetText
from codedata.store.chunks import LocalChunks
from codedata.tokenize.tokenizer_files import find_tokenizer

_WARMING = 2
"""Chunks that each worker does before it is timed."""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="parquet of C code")
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer")
    parser.add_argument("--chars", type=int, default=300_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    cores = available_cores()
    settings = Settings(pad_token=0, chars_to_tokenize=options.chars)
    plan = open_plan({0: ParquetText(options.corpus)}, settings, find_tokenizer(options.tokenizer))
    here = Cluster(address=None)
    with (
        ChunkThreads(cores) as threads,
        dask_workers(here, num_workers=cores, folder=None, reporter=SILENT) as workers,
    ):
        pids = [*workers.client.run(os.getpid).values()]
        works = {
            "threads": partial(_measured, plan, threads, cores, []),
            "Dask": partial(_measured, plan, workers, 1, pids),
        }
        for executor in (threads, workers):
            _tokenize(plan, executor, 1, num_chunks=_WARMING * cores)
        costs = alternate(works, options.rounds, lambda _name, _turn: False)
    middle = {name: medians(each) for name, each in costs.items()}
    rows = [[name, f"{cost.wall:.2f}", f"{cost.cpu:.2f}"] for name, cost in middle.items()]
    print_table(["chunks by", "s", "CPU s"], rows)
    print(f"Dask takes {middle['Dask'].wall / middle['threads'].wall:.3f} of the threads' time")
    save("cluster", vars(options), costs)


def _measured(plan: Plan, executor: Executor, threads: int, pids: list[int]) -> Cost:
    cpu, started = _cpu_seconds(pids), time.perf_counter()
    _tokenize(plan, executor, threads)
    return Cost(wall=time.perf_counter() - started, cpu=_cpu_seconds(pids) - cpu)


def _tokenize(
    plan: Plan, executor: Executor | DaskWorkers, threads: int, num_chunks: int | None = None
) -> None:
    with tempfile.TemporaryDirectory(prefix="codedata-benchmark-") as folder:
        stored = LocalChunks(Path(folder))
        tasks = plan.tasks(lambda _: stored, threads=threads)[:num_chunks]
        for _ in tokenize(plan, tasks, executor, SILENT, root=None, name="benchmark"):
            pass


def _cpu_seconds(pids: list[int]) -> float:
    """Of this process and some others."""
    own = resource.getrusage(resource.RUSAGE_SELF)
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return own.ru_utime + own.ru_stime + ticks / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
