"""A dataset in an object store by workers of a cluster: processor time and requests, a chunk each.

    python -m benchmarks.objects --corpus PARQUET --tokenizer FOLDER

The store is moto's server on loopback, whose own time is not counted; scheduler and workers are
processes of their own. Twice as many chunks of the same text show what a chunk costs beside its
text; the same text by threads and a folder shows what the workers would cost there. What a request
waits for in a real store, and TLS, are not in these figures.
"""

import argparse
import os
import shutil
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from distributed import Client

from benchmarks.measuring import print_table, run, save, script_command
from codedata.layout import Layout
from codedata.parallel import peak_memory_bytes
from codedata.recipe.settings import Settings
from codedata.sources.record import record_corpus
from codedata.sources.stored_text import store_corpus
from codedata_tests.run.cluster_runs import Run, drive
from codedata_tests.services import process, waited_for

BUCKET = "bench"
STORE = {"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret"}
STORE |= {"AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}


@dataclass(frozen=True, kw_only=True)
class Found:
    """What a run took.

    Attributes:
        driver: CPU seconds of this process.
        workers: CPU seconds of all workers.
        peak: bytes that a worker ever had at most.
        wall: seconds.
        requests: by method.
        num_chunks: that were made.
        num_shards: of the version.
    """

    driver: float
    workers: float
    peak: int
    wall: float
    requests: Counter[str]
    num_chunks: int
    num_shards: int


class Machines:
    """A store, a scheduler and workers, as processes on loopback; each worker has its own cache."""

    def __init__(self, folder: Path, stack: ExitStack, num_workers: int) -> None:
        def start(command: list[str], ready: str, cache: str = "cache") -> str:
            environment = {**os.environ, "XDG_CACHE_HOME": str(folder / cache)}
            self._log = stack.enter_context(
                process([sys.executable, "-m", *command], folder, environment)
            )
            return waited_for(self._log, ready)

        endpoint = start(["moto.server", "-H", "127.0.0.1", "-p", "0"], r"Running on (http://\S+)")
        self._store = self._log
        os.environ.update(STORE, AWS_ENDPOINT_URL=endpoint, XDG_CACHE_HOME=str(folder / "cache"))
        create = urllib.request.Request(f"{endpoint}/{BUCKET}", method="PUT")
        urllib.request.urlopen(create, timeout=10).close()
        here = ["--host", "127.0.0.1", "--no-dashboard"]
        scheduler = ["distributed.cli.dask_scheduler", *here, "--port", "0"]
        self.address = start(scheduler, r"Scheduler at: *(tcp://\S+)")
        worker = ["distributed.cli.dask_worker", self.address, *here, "--no-nanny"]
        worker += ["--nthreads", "1", "--local-directory", str(folder)]
        for number in range(num_workers):
            start(worker, r"Registered to: *(tcp://\S+)", f"cache-{number}")

    def measure(self, run: Run) -> Found:
        """Make chunks and a version."""
        before, asked = self._workers_cpu(), self.requests()
        cpu, wall = time.process_time(), time.perf_counter()
        version, reused = drive(run)
        assert not any(reused)
        return Found(
            driver=time.process_time() - cpu,
            wall=time.perf_counter() - wall,
            workers=self._workers_cpu() - before,
            peak=max(self._of_workers(peak_memory_bytes)),
            requests=self.requests() - asked,
            num_chunks=len(reused),
            num_shards=version.num_shards,
        )

    def requests(self) -> Counter[str]:
        """How often the store was asked so far, by what for."""
        found: Counter[str] = Counter()
        for line in self._store.read_text(encoding="utf-8").splitlines():
            words = line.partition('"')[2].split()
            if words and words[0] in ("GET", "PUT", "HEAD", "POST", "DELETE"):
                found["LIST" if "list-type" in words[1] else words[0]] += 1
        return found

    def _workers_cpu(self) -> float:
        return sum(self._of_workers(time.process_time))

    def _of_workers(self, ask: Callable[[], Any]) -> list[Any]:
        with Client(self.address, set_as_default=False) as client:
            return list(client.run(ask).values())


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="parquet of C code")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of a tokenizer")
    parser.add_argument("--chars", type=int, default=100_000_000)
    parser.add_argument("--num_chunks", type=int, nargs="+", default=[10, 200, 400])
    parser.add_argument("--num_workers", type=int, default=2)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="codedata-benchmark-"))
    with ExitStack() as stack:
        machines = Machines(work, stack, options.num_workers)
        layout = Layout.at(f"s3://{BUCKET}/data", "the benchmark's root")
        folder = layout.corpus("c")
        asked = machines.requests()
        corpus = store_corpus(layout, folder, record_corpus(folder, options.corpus, {}))
        print("storing the corpus:", dict(machines.requests() - asked))

        def run_of(num_chunks: int, name: str, chars: int) -> Run:
            settings = Settings(
                tokenizer_base=str(options.tokenizer),
                chars_to_tokenize=chars,
                chunk_size=-(-chars // num_chunks),
            )
            return Run(
                url=f"s3://{BUCKET}/data",
                address=machines.address,
                text=corpus.open_text(),
                tokenizer=options.tokenizer,
                settings=settings,
                name=name,
                engine="auto",
            )

        machines.measure(run_of(4, "warm", 8_000_000))
        found = [machines.measure(run_of(n, f"of_{n}", options.chars)) for n in options.num_chunks]
    threads = run(
        script_command(options.corpus, work / "dataset", str(options.tokenizer), options.chars),
        {"XDG_CACHE_HOME": str(work / "cache")},
    )
    millions = options.chars / 1e6
    print_table(
        [
            *("chunks", "s", "driver CPU s", "workers' CPU ms a million characters"),
            *("peak MB of a worker", "requests"),
        ],
        [
            [
                str(each.num_chunks),
                f"{each.wall:.1f}",
                f"{each.driver:.2f}",
                f"{1e3 * each.workers / millions:.1f}",
                f"{each.peak / 1e6:.0f}",
                ", ".join(f"{name} {count}" for name, count in sorted(each.requests.items())),
            ]
            for each in found
        ],
    )
    few, many = found[-2:]
    a_chunk = 1e3 * (many.driver - few.driver) / (many.num_chunks - few.num_chunks)
    print(f"driver, CPU ms a chunk: {a_chunk:.1f}")
    print(f"script by threads, CPU ms a million characters: {1e3 * threads.cpu / millions:.1f}")
    save("objects", vars(options), [vars(each) for each in found])
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
