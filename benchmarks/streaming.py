"""Training from an object store with an empty cache, beside mosaicml-streaming from the same one.

    python -m benchmarks.streaming --data FOLDER --peers PYTHON

FOLDER is that of `benchmarks.training`: the same samples, in shards of about the same size, as each
side writes them. The store is a small server of S3's requests on loopback, a process of its own,
which sends files from the page cache as they lie there, so that neither side waits for it; moto's
would be the slower part. Every round is a new process with an empty cache, the sides in turn: the
clock is from the loader's first iteration to the end of an epoch of `input_ids` and `labels`,
int64, in shuffled order, batches of 64. codedata shuffles among groups of shards (`blocks`), as
mosaicml does by its defaults.
"""

import argparse
import json
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from statistics import median
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

from benchmarks.measuring import Cost, alternate, medians, print_table, save

BATCH_SIZE = 64
_SHARDS = 20


class _Handler(BaseHTTPRequestHandler):
    """GET, HEAD and lists of objects, which are files below the working folder."""

    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base names it)
        """Say nothing."""

    def do_GET(self) -> None:
        url = urlsplit(self.path)
        path, query = Path(unquote(url.path).lstrip("/")), parse_qs(url.query)
        if "list-type" in query:
            self._list(path, query.get("prefix", [""])[0])
        elif not path.is_file():
            self._send(404, b"<Error><Code>NoSuchKey</Code></Error>")
        else:
            self._send_file(path)

    do_HEAD = do_GET  # noqa: N815  (the base names them)

    def _list(self, bucket: Path, prefix: str) -> None:
        found = sorted(each for each in bucket.rglob("*") if each.is_file())
        keys = ((str(each.relative_to(bucket)), each.stat().st_size) for each in found)
        entries = "".join(
            f"<Contents><Key>{key}</Key><Size>{size}</Size><ETag>0</ETag>"
            "<LastModified>2026-01-01T00:00:00.000Z</LastModified></Contents>"
            for key, size in keys
            if key.startswith(prefix)
        )
        self._send(200, f"<ListBucketResult>{entries}</ListBucketResult>".encode())

    def _send(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)

    def _send_file(self, path: Path) -> None:
        size = path.stat().st_size
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range", ""))
        start = int(asked[1]) if asked else 0
        stop = min(size, int(asked[2]) + 1) if asked and asked[2] else size
        self.send_response(206 if asked else 200)
        self.send_header("Content-Length", str(stop - start))
        self.send_header("Last-Modified", "Thu, 01 Jan 2026 00:00:00 GMT")
        self.send_header("ETag", '"0"')
        if asked:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{size}")
        self.end_headers()
        self.wfile.flush()
        if self.command == "GET":
            with path.open("rb") as file:
                while start < stop:
                    start += os.sendfile(
                        self.connection.fileno(), file.fileno(), start, stop - start
                    )


def _serve() -> None:
    ThreadingHTTPServer.request_queue_size = 128
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Handler)
    print(server.server_port, flush=True)
    server.serve_forever()


@contextmanager
def _server(data: Path) -> Iterator[str]:
    """The address of a server of the buckets in a folder."""
    command = [sys.executable, "-m", "benchmarks.streaming", "--side", "server"]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parent.parent)}
    with subprocess.Popen(
        command, cwd=data, env=environment, stdout=subprocess.PIPE, text=True
    ) as started:
        assert started.stdout is not None
        try:
            yield f"http://127.0.0.1:{int(started.stdout.readline())}"
        finally:
            started.terminate()


def _ours(num_workers: int) -> Any:
    from codedata import PickledTrainerDataset, ResumableLoader

    dataset = PickledTrainerDataset(f"s3://codedata-{_SHARDS}", quiet=True, stream=True)
    return ResumableLoader(
        dataset, global_batch_size=BATCH_SIZE, shuffle="blocks", num_workers=num_workers
    )


def _mosaic(num_workers: int) -> Any:
    import torch
    from streaming import StreamingDataLoader, StreamingDataset

    class Sequences(StreamingDataset):
        def __getitem__(self, index: Any) -> Any:
            ids = torch.from_numpy(super().__getitem__(index)["ids"].astype("int64"))
            return {"input_ids": ids, "labels": ids}

    dataset = Sequences(
        remote=f"s3://mosaicml-{_SHARDS}",
        local=os.environ["XDG_CACHE_HOME"],
        shuffle=True,
        batch_size=BATCH_SIZE,
    )
    return StreamingDataLoader(
        dataset, batch_size=BATCH_SIZE, drop_last=True, num_workers=num_workers
    )


def _iterate(side: str, num_workers: int) -> None:
    """Print what an epoch took."""
    loader = (_ours if side == "codedata" else _mosaic)(num_workers)
    started, cpu, number = time.perf_counter(), _cpu_seconds(), 0
    first = 0.0
    for batch in loader:
        number += len(batch["input_ids"])
        first = first or time.perf_counter() - started
    assert batch["input_ids"].sum() == batch["labels"].sum()
    seconds = time.perf_counter() - started
    print(json.dumps([number, seconds, first, _cpu_seconds() - cpu]), flush=True)


def _cpu_seconds() -> float:
    """Of this process, and of workers that have ended."""
    return sum(os.times()[:4])


def _round(side: str, num_workers: int, address: str, python: str) -> Cost:
    with tempfile.TemporaryDirectory() as cache:
        environment = {
            **os.environ,
            "XDG_CACHE_HOME": cache,
            "AWS_ENDPOINT_URL": address,
            "S3_ENDPOINT_URL": address,
            "AWS_ACCESS_KEY_ID": "key",
            "AWS_SECRET_ACCESS_KEY": "secret",
            "AWS_DEFAULT_REGION": "us-east-1",
            "OMP_NUM_THREADS": "1",
        }
        command = [python, "-m", "benchmarks.streaming", "--side", side]
        done = subprocess.run(
            [*command, "--workers", str(num_workers)],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
    if done.returncode:
        raise RuntimeError(done.stderr)
    number, seconds, _, cpu = json.loads(done.stdout.splitlines()[-1])
    return Cost(seconds / number, cpu / number)


def main() -> None:
    """Measure both sides and print the table."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=Path, help="folder of benchmarks.training, of one size")
    parser.add_argument("--peers", default=sys.executable, help="interpreter of the peers")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--side", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.side == "server":
        _serve()
    elif options.side:
        _iterate(options.side, options.workers)
    else:
        _compare(options)


def _compare(options: argparse.Namespace) -> None:
    pythons = {"codedata": sys.executable, "mosaicml": options.peers}
    with _server(options.data) as address:
        works = {
            f"{side}, {workers} workers": lambda side=side, workers=workers: _round(
                side, workers, address, pythons[side]
            )
            for workers in (0, 2)
            for side in pythons
        }
        costs = alternate(works, options.rounds, lambda *_: False)
    rows: list[list[str]] = []
    for name, found in costs.items():
        peer = costs[f"mosaicml, {name.partition(', ')[2]}"]
        speed = median(b.wall / a.wall for a, b in zip(found, peer, strict=True))
        thrift = median(b.cpu / a.cpu for a, b in zip(found, peer, strict=True))
        cost = medians(found)
        costs_of = [f"{1 / cost.wall:,.0f}", f"{cost.cpu * 1e6:.0f}"]
        rows.append([name, *costs_of, f"{speed:.1f}", f"{thrift:.1f}"])
    headings = ["samples/s", "CPU us a sample", "of mosaicml's speed", "mosaicml's CPU to it"]
    print_table(["", *headings], rows)
    save("streaming", {"rounds": options.rounds}, {n: [*map(vars, c)] for n, c in costs.items()})


if __name__ == "__main__":
    main()
