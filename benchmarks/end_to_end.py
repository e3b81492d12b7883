"""The script and the Dagster job, from parquet to dataset, against the plain script and datatrove.

    python -m benchmarks.end_to_end --corpus PARQUET --tokenizer FOLDER [--datatrove-python PYTHON]

All make of the same text what they make: the corpus's leading characters, written to a parquet of
their own. Each run is a new process with empty caches (`XDG_CACHE_HOME`); the compiled code of the
fast engine is there (docs/performance.md). Every shard of the script and of the job is compared
with the plain script's. The plain script needs pandas; datatrove an environment of its own.
"""

import argparse
import json
import pickle
import shutil
import sys
import tempfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measuring import Cost, alternate, medians, print_table, run, save, script_command
from codedata.format.ranges import CharRange
from codedata.sources.parquet.text import ParquetText
from codedata.store.dataset_folder import open_dataset
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import TOKENIZER_JSON, find_tokenizer

HERE = Path(__file__).parent


def write_leading_text(corpus: Path, num_chars: int, target: Path) -> None:
    """A parquet with all columns of the documents that hold the leading characters, the last cut.

    The documents' text is then those characters, no more and no less.
    """
    text = ParquetText(corpus)
    window = text.clip(CharRange(0, num_chars))
    left = window.num_chars
    batches: list[pa.RecordBatch] = []
    for batch in pq.ParquetFile(corpus).iter_batches(200):
        documents = batch.column("content").to_pylist()
        kept: list[str] = []
        for document in documents:
            if left <= 0:
                break
            kept.append(document[:left])
            left -= len(document) + 1
        place = batch.schema.get_field_index("content")
        batches.append(
            batch.slice(0, len(kept)).set_column(place, "content", pa.array(kept, pa.string()))
        )
        if left <= 0:
            break
    pq.write_table(pa.Table.from_batches(batches), target, row_group_size=1000)


def compare_with_plain(folder: Path, plain: Path) -> int:
    """Require that a dataset's shards hold what the plain script's hold; returns the samples."""
    dataset = open_dataset(folder, verify=True)
    names = json.loads((plain / "dump-meta_data.json").read_text())
    assert len(names) == len(dataset.shards), "as many shards"
    for name, ids in zip(names, dataset.shards, strict=True):
        with (plain / name).open("rb") as file:
            assert pickle.load(file) == ids.tolist(), f"{folder}/{name}"
    return dataset.num_samples


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="parquet of C code")
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer")
    parser.add_argument("--chars", type=int, default=100_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slow-rounds", type=int, default=1, help="of plain script and datatrove")
    parser.add_argument("--datatrove-python", help="a Python that has datatrove")
    options = parser.parse_args()
    tokenizer = find_tokenizer(options.tokenizer)
    bos_id = load_tokenizer(tokenizer).bos_id
    work = Path(tempfile.mkdtemp(prefix="codedata-benchmark-"))
    parquet = work / "text.parquet"
    write_leading_text(options.corpus, options.chars, parquet)
    environment = {
        "XDG_CACHE_HOME": str(work / "cache"),
        "CODEDATA_ROOT": str(work / "root"),
        "CODEDATA_CORPUS": str(parquet),
        "CODEDATA_TRAIN_CHARS_TO_TOKENIZE": str(options.chars),
        "CODEDATA_TOKENIZER": str(Path(options.tokenizer).absolute()),
    }

    def fresh(command: list[str]) -> Cost:
        for name in ("cache", "root", "script", "plain", "datatrove", "datatrove-logs"):
            if name != "plain" or str(work / "plain") in command:
                shutil.rmtree(work / name, ignore_errors=True)
        return run(command, environment)

    script = script_command(parquet, work / "script", options.tokenizer, options.chars)
    job = [
        *(str(Path(sys.executable).with_name("dagster")), "job", "execute"),
        *("-m", "codedata.definitions", "-j", "train"),
    ]
    plain = [
        *(sys.executable, str(HERE / "plain_script.py"), str(parquet), str(work / "plain")),
        *(str(tokenizer.tokenizer_json), str(bos_id), str(options.chars)),
    ]
    works: dict[str, Callable[[], Cost]] = {
        "plain script": partial(fresh, plain),
        "script": partial(fresh, script),
        "Dagster job, with all checks and the report": partial(fresh, job),
    }
    if options.datatrove_python:
        datatrove = [
            *(options.datatrove_python, str(HERE / "datatrove_script.py"), str(parquet)),
            *(str(work / "datatrove"), str(Path(options.tokenizer) / TOKENIZER_JSON), "1"),
        ]
        works["datatrove's DocumentTokenizer"] = partial(fresh, datatrove)
    slow = {"plain script", "datatrove's DocumentTokenizer"}
    costs = alternate(
        works, options.rounds, lambda name, turn: name in slow and turn >= options.slow_rounds
    )
    fresh(job)
    samples = compare_with_plain(work / "root" / "datasets" / "train", work / "plain")
    fresh(script)
    assert compare_with_plain(work / "script", work / "plain") == samples
    print(f"{samples} samples, equal to the plain script's in the script and the job")
    middle = {name: medians(each) for name, each in costs.items()}
    first = middle["plain script"]
    print_table(
        ["way", "s", "CPU s", "peak MB", "times faster than plain", "of plain's memory"],
        [
            [
                name,
                f"{cost.wall:.2f}",
                f"{cost.cpu:.1f}",
                f"{cost.peak / 1e6:.0f}",
                f"{first.wall / cost.wall:.1f}",
                f"{cost.peak / first.peak:.3f}",
            ]
            for name, cost in middle.items()
        ],
    )
    if options.datatrove_python:
        ratio = middle["datatrove's DocumentTokenizer"].wall / middle["script"].wall
        print(f"the script is {ratio:.1f} times faster than datatrove")
    save("end_to_end", vars(options), costs)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
