"""Texts of a server: processor time a text, by `s3://`, by `http://`, and a thread a request.

    python -m benchmarks.contents

The server is a process on loopback that waits before it answers, as a bucket does; the texts have
3,000 characters, packed with gzip. The ways take turns; the last one, a thread a request and
`cat_file`, is what one would write oneself.
"""

import argparse
import asyncio
import gzip
import multiprocessing
import os
import socket
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from functools import partial

import pyarrow as pa
from fsspec.core import url_to_fs

from benchmarks.measuring import Cost, alternate, measure, medians, print_table, save
from codedata.progress import SILENT
from codedata.sources.contents import Content, with_contents
from codedata.sources.formats.rows import BadRows
from codedata.sources.objects import PIECE_BYTES

BODY = gzip.compress(os.urandom(1_500).hex().encode())
ANSWER = (
    b"HTTP/1.1 206 Partial Content\r\nContent-Type: application/octet-stream\r\n"
    b"Content-Length: %d\r\n\r\n" % len(BODY)
) + BODY


def serve(listening: socket.socket, wait_seconds: float) -> None:
    """Answer each request with the same text, after a while."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, ConnectionError):
            while await reader.readuntil(b"\r\n\r\n"):
                await asyncio.sleep(wait_seconds)
                writer.write(ANSWER)

    async def run() -> None:
        await (await asyncio.start_server(answer, sock=listening)).serve_forever()

    asyncio.run(run())


def fetch(content: Content, num_texts: int) -> None:
    """As a corpus does."""
    batch = pa.record_batch({"id": [f"{n}" for n in range(num_texts)]})
    batches = with_contents([batch], content, BadRows(), SILENT, name="rows")
    assert sum(len(each) for each in batches) == num_texts


def fetch_by_threads(content: Content, num_texts: int) -> None:
    """As one would write it."""
    system, path = url_to_fs(content.url, skip_instance_cache=True, **content.storage_options)
    with ThreadPoolExecutor(content.concurrency) as threads:
        paths = [path.replace("{id}", f"{n}") for n in range(num_texts)]
        packed = threads.map(partial(system.cat_file, start=0, end=PIECE_BYTES), paths)
        assert sum(1 for each in packed if gzip.decompress(each).decode()) == num_texts


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--texts", type=int, default=3_000)
    parser.add_argument("--wait-seconds", type=float, default=0.03)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    with socket.create_server(("127.0.0.1", 0), backlog=512) as listening:
        address = f"http://127.0.0.1:{listening.getsockname()[1]}"
        context = multiprocessing.get_context("fork")
        server = context.Process(target=serve, args=(listening, options.wait_seconds), daemon=True)
        server.start()
    config = {"max_pool_connections": 64}  # which is ours anyway, and not botocore's default
    storage = {"anon": True, "endpoint_url": address, "config_kwargs": config}
    contents = {
        "s3": Content(url="s3://bucket/{id}", compression="gzip", storage_options=storage),
        "http": Content(url=f"{address}/bucket/{{id}}", compression="gzip"),
    }
    works = {
        f"{name}, {how}": partial(measure, partial(function, content, options.texts))
        for name, content in contents.items()
        for how, function in {"a corpus": fetch, "threads": fetch_by_threads}.items()
    }
    costs: dict[str, list[Cost]] = alternate(works, options.rounds, lambda _name, _turn: False)
    server.terminate()
    least = min(medians(each).cpu for each in costs.values())
    print_table(
        ["way", "CPU ms a text", "of the least", "texts/s"],
        [
            [name, f"{cost.cpu / options.texts * 1e3:.2f}", f"{cost.cpu / least:.1f}",
             f"{options.texts / cost.wall:,.0f}"]
            for name, cost in ((name, medians(each)) for name, each in costs.items())
        ],
    )  # fmt: skip
    save("contents", vars(options), costs)


if __name__ == "__main__":
    main()
