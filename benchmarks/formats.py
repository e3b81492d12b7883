"""The same documents as parquet, jsonl.zst and jsonl.gz: to a corpus, and on to a dataset.

    python -m benchmarks.formats --corpus PARQUET --tokenizer FOLDER

A parquet is read in place; the others are written as parts first. Each run is a new process with
empty caches (`XDG_CACHE_HOME`), the formats take turns, and the datasets are compared.
"""

import argparse
import gzip
import json
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measuring import Cost, alternate, medians, print_table, run, save
from codedata.store.dataset_folder import open_dataset

MAKE = """
import sys
from pathlib import Path
from codedata.parallel import available_cores, limit_library_threads
from codedata.progress import SILENT
from codedata.recipe.settings import Settings
from codedata.run.build import build_planned
from codedata.run.plan import open_plan
from codedata.sources.columns import Columns
from codedata.sources.formats.registry import format_of
from codedata.sources.formats.rows import BadRows
from codedata.sources.hashed import sha256_once
from codedata.sources.parts import write_parts
from codedata.sources.record import record_corpus
from codedata.store.publishing import check_target
from codedata.tokenize.tokenizer_files import find_tokenizer

path, work, tokenizer = map(Path, sys.argv[1:4])
origin, parts, part = {"kind": "benchmark"}, work / "parts", None
if not format_of(path.name).is_random_access:
    with path.open("rb") as opened:
        part = write_parts(
            format_of(path.name).read(opened, path.name, Columns(), BadRows()), parts,
            name=path.name, identity=sha256_once(path), file_bytes=path.stat().st_size,
            reporter=SILENT,
        )
corpus = record_corpus(work / "corpus", parts if part else path, origin, part=part)
if sys.argv[4] == "dataset":
    limit_library_threads(available_cores())
    settings = Settings(tokenizer_base=str(tokenizer), chars_to_tokenize=corpus.num_chars)
    plan = open_plan({0: corpus.open_text()}, settings, find_tokenizer(str(tokenizer)))
    target = check_target(work / "dataset", inputs=[path])
    build_planned(plan, target, num_workers=available_cores(), reporter=SILENT)
"""


def leading(corpus: Path, num_chars: int) -> Iterator[pa.RecordBatch]:
    """The documents that hold the leading characters, with all columns."""
    for batch in pq.ParquetFile(corpus).iter_batches(64):
        yield batch
        num_chars -= sum(map(len, batch.column("content").to_pylist()))
        if num_chars <= 0:
            return


def write_files(corpus: Path, num_chars: int, folder: Path) -> dict[str, Path]:
    """The same documents in each format."""
    files = {name: folder / f"c{num_chars}.{name}" for name in ("parquet", "jsonl.zst", "jsonl.gz")}
    parquet, zst, gz = files.values()
    table = pa.Table.from_batches(leading(corpus, num_chars))
    pq.write_table(table, parquet, row_group_size=1000)
    with pa.CompressedOutputStream(str(zst), "zstd") as zstd, gzip.open(gz, "wb", 6) as gzipped:
        for batch in table.to_batches(64):
            lines = "".join(json.dumps(row) + "\n" for row in batch.to_pylist()).encode()
            zstd.write(lines)
            gzipped.write(lines)
    return files


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="parquet with all of the text")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of a tokenizer")
    parser.add_argument("--chars", type=int, nargs="+", default=[30_000_000, 100_000_000])
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="codedata-benchmark-"))
    digests: dict[int, set[str]] = {num_chars: set() for num_chars in options.chars}

    def fresh(file: Path, what: str, num_chars: int) -> Cost:
        shutil.rmtree(work / "run", ignore_errors=True)
        (work / "run").mkdir()
        arguments = [str(file), str(work / "run"), str(options.tokenizer.absolute()), what]
        cost = run(
            [sys.executable, "-c", MAKE, *arguments],
            {"XDG_CACHE_HOME": str(work / "run" / "cache")},
        )
        if what == "dataset":
            digests[num_chars].add(open_dataset(work / "run" / "dataset").digest)
        return cost

    works = {
        f"{what} of {num_chars:,} characters, {name}": partial(fresh, file, what, num_chars)
        for num_chars in options.chars
        for name, file in write_files(options.corpus, num_chars, work).items()
        for what in ("corpus", "dataset")
    }
    costs = alternate(works, options.rounds, lambda _name, _turn: False)
    assert all(len(each) == 1 for each in digests.values()), "the same dataset of every format"
    print_table(
        ["what", "s", "CPU s", "peak MB"],
        [
            [name, f"{cost.wall:.2f}", f"{cost.cpu:.2f}", f"{cost.peak / 1e6:.0f}"]
            for name, cost in ((name, medians(each)) for name, each in costs.items())
        ],
    )
    save("formats", vars(options), costs)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
