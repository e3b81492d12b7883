"""What many files cost: a plan of them, and whole runs as their number grows.

    python -m benchmarks.scale plan --corpus PARQUET --tokenizer FOLDER
    python -m benchmarks.scale growth --corpus PARQUET --tokenizer FOLDER

The files are cut from the corpus, some kilobytes each, so that what they cost is not their text. A
plan has 36 chunks a file, as one of 400 MB has. Growth is the time that one more file takes of a
run, by processor seconds of all its processes: from 10 to 100 files, and from 100 to 1,000.
"""

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measuring import Cost, alternate, medians, print_table, run, save
from codedata.components.split_parts import SplitPart
from codedata.components.split_spec import SplitSpec, chunk_tasks, open_split
from codedata.layout import Layout
from codedata.parallel import (
    ChunkThreads,
    available_cores,
    loading_for_good,
    peak_memory_bytes,
)
from codedata.recipe.settings import Settings
from codedata.run.compared import recall
from codedata.run.estimate import require_disk_space
from codedata.run.tokenize import stored_chunks
from codedata.sources.record import record_corpus
from codedata.tokenize.tokenizer_files import find_tokenizer

T = TypeVar("T")

CHARS, CHUNKS = 7_200, 36
"""Of a file."""

PROJECT = {
    "pyproject.toml": '[tool.dg]\ndirectory_type = "project"\n\n[tool.dg.project]\n'
    'root_module = "many"\n',
    "many/__init__.py": "",
    "many/defs/__init__.py": "",
    "many/definitions.py": """\
from pathlib import Path

import dagster as dg

from codedata.definitions import resources


@dg.definitions
def assembled() -> dg.Definitions:
    found = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    return dg.Definitions.merge(found, dg.Definitions(resources=resources))
""",
}


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["plan", "growth", "phases"])
    parser.add_argument("--corpus", type=Path, required=True, help="parquet of C code")
    parser.add_argument("--tokenizer", type=Path, required=True, help="folder of a tokenizer")
    parser.add_argument("--files", type=int, nargs="+", help="how many")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--work", type=Path, help="of `phases`, which `plan` calls")
    options = parser.parse_args()
    if options.what == "phases":
        print(json.dumps(phases(options.work, options.tokenizer, options.files[0])))
        return
    work = Path(tempfile.mkdtemp(prefix="codedata-benchmark-"))
    sizes = (
        options.files or {"plan": [100, 1_000, 10_000], "growth": [10, 100, 1_000]}[options.what]
    )
    files = write_files(options.corpus, work / "files", max(sizes))
    try:
        {"plan": plan, "growth": growth}[options.what](options, work, files, sizes)
    finally:
        shutil.rmtree(work)


def plan(options: argparse.Namespace, work: Path, files: list[Path], sizes: list[int]) -> None:
    """What each step of a plan takes."""
    os.environ["XDG_CACHE_HOME"] = str(work / "cache")
    for number, path in enumerate(files):
        record_corpus(work / "corpora" / "c" / f"{number:05d}", path, {"path": str(path)})
    found: dict[str, dict[str, list[float]]] = {}
    for size in sizes:
        command = [
            *(sys.executable, "-m", "benchmarks.scale", "phases", "--files", str(size)),
            *("--corpus", str(options.corpus), "--tokenizer", str(options.tokenizer.absolute())),
            *("--work", str(work)),
        ]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
        found[f"{size:,}"] = json.loads(done.stdout)
    print_table(
        ["files", *next(iter(found.values()))],
        [
            [size, *(f"{cpu:.2f} s, {peak:.0f} MB" for cpu, peak in each.values())]
            for size, each in found.items()
        ],
    )
    save("plan", vars(options), found)


def phases(work: Path, tokenizer: Path, num_files: int) -> dict[str, tuple[float, float]]:
    """Processor seconds of each step, and the process's peak memory in MB after it."""
    found: dict[str, tuple[float, float]] = {}

    def step(name: str, work: Callable[[], T]) -> T:
        started = time.process_time()
        made = work()
        found[name] = (time.process_time() - started, peak_memory_bytes() / 1e6)
        return made

    settings = Settings(
        tokenizer_base=str(tokenizer), pad_token=0, seq_length=64, min_sample_length=10,
        chars_to_tokenize=CHARS, chunk_size=CHARS // CHUNKS,
    )  # fmt: skip
    numbers = tuple(range(num_files))
    part = SplitPart(corpus="c", window=settings.window, files=numbers, corpus_files=10_000)
    spec = SplitSpec(
        name="train", parts=(part,), tokenizer_asset=None, settings=settings, held_out_from={},
        description="", partitions="file",
    )  # fmt: skip
    layout, keys = Layout(work), spec.partition_keys
    files = step("tokenizer", lambda: find_tokenizer(str(tokenizer)))
    opened = step("open_split", lambda: open_split(spec, layout, files))
    made = step("chunk_tasks", lambda: chunk_tasks(spec, opened, layout, keys))
    tasks = [task for each in made.values() for task in each]
    step("recall", lambda: recall(tasks))
    with ChunkThreads(available_cores()) as executor:
        step("stored_chunks", lambda: stored_chunks(tasks, executor))
    step("require_fidelity", lambda: opened.require_fidelity(numbers))
    step("require_disk_space", lambda: require_disk_space(opened, [t.chars for t in tasks], work))
    return found


def growth(options: argparse.Namespace, work: Path, files: list[Path], sizes: list[int]) -> None:
    """What whole runs take as there are more files."""
    for size in sizes:
        write_project(work / str(size), files[:size], options.tokenizer.absolute())

    def materialize(size: int) -> Cost:
        for name in ("data", "cache"):
            shutil.rmtree(work / str(size) / name, ignore_errors=True)
        environment = {
            "XDG_CACHE_HOME": str(work / str(size) / "cache"),
            "CODEDATA_ROOT": str(work / str(size) / "data"),
            "PYTHONPATH": str(Path.cwd()),
        }
        command = ["env", "-C", str(work / str(size))]
        return run([*command, sys.executable, "-m", "codedata", "materialize", "s"], environment)

    works = {f"{size:,}": partial(materialize, size) for size in sizes}
    costs = alternate(works, options.rounds, lambda _name, _turn: False)
    middle = [medians(each) for each in costs.values()]
    print_table(
        ["files", "CPU s", "CPU ms a further file", "peak MB (largest)"],
        [
            [
                f"{size:,}",
                f"{cost.cpu:.2f}",
                f"{1e3 * (cost.cpu - before.cpu) / (size - fewer):.2f}" if fewer else "",
                f"{cost.peak / 1e6:.0f}",
            ]
            for size, cost, fewer, before in zip(
                sizes, middle, [0, *sizes], [middle[0], *middle], strict=False
            )
        ],
    )
    save("growth of files", vars(options), costs)


def write_project(folder: Path, files: list[Path], tokenizer: Path) -> None:
    """A project with a corpus of some files, and a split over all of them."""
    (folder / "files").mkdir(parents=True)
    for path in files:
        os.link(path, folder / "files" / path.name)
    source = {"kind": "local", "path": f"files/{{00000..{len(files) - 1:05d}}}.parquet"}
    attributes = {
        "c": ("RawCorpus", {"source": source}),
        "s": (
            "DatasetSplit",
            {
                "corpus": "c", "files": "all", "tokenizer_base": str(tokenizer), "pad_token": 0,
                "seq_length": 64, "min_sample_length": 10, "chars_to_tokenize": CHARS,
                "chunk_size": CHARS, "partitions": "file", "matches_transformers": False,
            },
        ),
    }  # fmt: skip
    made = {
        f"many/defs/{name}/defs.yaml": json.dumps(
            {"type": f"codedata.components.{kind}", "attributes": {"name": name, **fields}}
        )
        for name, (kind, fields) in attributes.items()
    }
    for name, text in {**PROJECT, **made}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text, encoding="utf-8")


def write_files(corpus: Path, folder: Path, number: int) -> list[Path]:
    """Small parquets, each of another part of a corpus."""
    folder.mkdir()
    [batch] = [next(pq.ParquetFile(corpus).iter_batches(2_000, columns=["content"]))]
    text = " ".join(filter(None, batch.column(0).to_pylist()))
    paths = [folder / f"{place:05d}.parquet" for place in range(number)]
    for place, path in enumerate(paths):
        start = place * 613 % (len(text) - CHARS)
        documents = [f"/* {place} */", text[start : start + CHARS]]
        pq.write_table(pa.table({"content": documents}), path, compression="none")
    return paths


if __name__ == "__main__":
    with loading_for_good():
        pass
    main()
