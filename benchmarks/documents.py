"""The job with documents, packed by best fit and half of them asked as fill-in-the-middle.

    python -m benchmarks.documents --corpus PARQUET --tokenizer FOLDER --eos TOKEN [--fim P S M]

Against the job of the reference mode, in turn: of the same text, the corpus's leading characters,
written to a parquet of their own; by the Dagster job of a project of two splits, with all checks
and the report, or by `codedata.build` in a process (`--by build`). Each run is a new process with
empty caches, as in benchmarks.end_to_end. `--splits documents best_fit concat` has the recipe
without fill-in-the-middle, too: which part takes how long. Then: what the files beside the shards
take of the disk, and of the time.
"""

import argparse
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from benchmarks.end_to_end import write_leading_text
from benchmarks.measuring import Cost, alternate, measure, medians, print_table, run, save
from codedata.format.meta import documents_name, shard_name, spans_name
from codedata.format.sidecars import encode_documents, parse_documents
from codedata.format.spans import encode_spans
from codedata.store.dataset_folder import Dataset, open_dataset

REFERENCE, DOCUMENTS = "reference", "documents"
"""Splits: without a recipe, and with all of it."""

BUILD = """
import json, sys, codedata
parquet, folder, switches, recipe = sys.argv[1:]
codedata.build(parquet, folder, **json.loads(switches), recipe=json.loads(recipe))
"""

DEFINITIONS = """
from pathlib import Path
import dagster as dg
from codedata.resources import resources

defs = dg.Definitions.merge(
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
    dg.Definitions(resources=resources, executor=dg.in_process_executor),
)
"""


def recipes(options: argparse.Namespace) -> dict[str, dict[str, Any] | None]:
    """The recipe of each split, by its name."""
    framing = {"bos": options.bos, "eos": options.eos}
    tokens = dict(zip(("prefix", "suffix", "middle"), options.fim, strict=False))
    fim = {"rate": 0.5, "spm_rate": 0.5, "tokens": tokens or "auto"}
    best_fit = {"documents": framing, "packing": "best_fit"}
    made = {
        REFERENCE: None,
        DOCUMENTS: best_fit | {"fim": fim},
        "best_fit": best_fit,
        "concat": best_fit | {"packing": "concat"},
    }
    return {name: made[name] for name in (REFERENCE, *options.splits)}


def write_project(
    folder: Path, switches: Mapping[str, Any], splits: Mapping[str, Mapping[str, Any] | None]
) -> None:
    """A project `benchmark_project`, with a split for each recipe."""
    defs = folder / "benchmark_project" / "defs"
    (defs / "c").mkdir(parents=True)
    (defs.parent / "definitions.py").write_text(DEFINITIONS)
    (folder / "pyproject.toml").write_text(
        '[tool.dg]\ndirectory_type = "project"\n'
        '[tool.dg.project]\nroot_module = "benchmark_project"\n'
    )
    source = {"kind": "local", "path": str(folder.parent / "text.parquet")}
    corpus = {"name": "c", "source": source}
    written = {"c": {"type": "codedata.components.RawCorpus", "attributes": corpus}}
    for name, recipe in splits.items():
        fields = {"name": name, "corpus": "c", **switches}
        if recipe is not None:
            fields["recipe"] = recipe
        written[name] = {"type": "codedata.components.DatasetSplit", "attributes": fields}
    for name, component in written.items():
        (defs / name).mkdir(exist_ok=True)
        # What JSON writes is YAML.
        (defs / name / "defs.yaml").write_text(json.dumps(component))


def sidecars(dataset: Dataset) -> dict[str, float]:
    """What the files beside a dataset's shards take, as shares of them, and seconds for each."""
    folder, num_shards = dataset.folder, dataset.num_shards

    def size(name: Callable[[int], str]) -> int:
        return sum((folder / name(index)).stat().st_size for index in range(num_shards))

    names = [*map(documents_name, range(num_shards))]
    read = [(folder / name).read_bytes() for name in names]
    tables = [*map(parse_documents, read, names)]
    num_spans = sum(map(len, dataset.spans))
    return {
        "spans": num_spans,
        "spans a sample": num_spans / dataset.num_samples,
        "spans, share of the shards' bytes": size(spans_name) / size(shard_name),
        "documents, share of the shards' bytes": size(documents_name) / size(shard_name),
        "seconds to write spans": measure(lambda: [*map(encode_spans, dataset.spans)]).cpu,
        "seconds to write documents": measure(lambda: [*map(encode_documents, tables)]).cpu,
        "seconds to read documents": measure(lambda: [*map(parse_documents, read, names)]).cpu,
        "seconds to open": measure(lambda: open_dataset(folder)).cpu,
        "padding, share of the tokens": (dataset.num_padding or 0) / dataset.num_tokens,
    }


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="parquet of C code")
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer")
    parser.add_argument("--bos", help="name of the token before each document")
    parser.add_argument("--eos", required=True, help="name of the one after each")
    parser.add_argument("--fim", nargs=3, default=(), help="names of prefix, suffix and middle")
    parser.add_argument("--chars", type=int, default=100_000_000)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--by", choices=["job", "build"], default="job")
    parser.add_argument(
        "--splits",
        nargs="+",
        choices=["documents", "best_fit", "concat"],
        default=["documents"],
        help="best_fit and concat are without fill-in-the-middle",
    )
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="codedata-benchmark-"))
    parquet, project, root = (work / name for name in ("text.parquet", "project", "root"))
    write_leading_text(options.corpus, options.chars, parquet)
    switches = {
        "tokenizer_base": str(Path(options.tokenizer).absolute()),
        "chars_to_tokenize": options.chars,
    }
    splits = recipes(options)
    write_project(project, switches, splits)
    environment = {
        "XDG_CACHE_HOME": str(work / "cache"),
        "CODEDATA_ROOT": str(root),
        "PYTHONPATH": os.pathsep.join([str(project), os.environ.get("PYTHONPATH", "")]),
    }

    def made(name: str) -> Cost:
        for each in (work / "cache", root):
            shutil.rmtree(each, ignore_errors=True)
        if options.by == "job":
            dagster = str(Path(sys.executable).with_name("dagster"))
            location = ["-m", "benchmark_project.definitions"]
            return run([dagster, "job", "execute", *location, "-j", name], environment)
        folder = root / "datasets" / name
        folder.parent.mkdir(parents=True)
        told = [json.dumps(switches), json.dumps(splits[name])]
        return run([sys.executable, "-c", BUILD, str(parquet), str(folder), *told], environment)

    works = {name: partial(made, name) for name in splits}
    costs = alternate(works, options.rounds, lambda *_: False)
    middle = {name: medians(each) for name, each in costs.items()}
    first = middle[REFERENCE]

    def ratios(cost: Cost) -> list[str]:
        each = (cost.wall / first.wall, cost.cpu / first.cpu, cost.peak / first.peak)
        return [f"{ratio:.2f}" for ratio in each]

    print_table(
        ["split", "s", "CPU s", "peak MB", "of the reference's s", "CPU s", "memory"],
        [
            [
                *(name, f"{cost.wall:.2f}", f"{cost.cpu:.1f}", f"{cost.peak / 1e6:.0f}"),
                *ratios(cost),
            ]
            for name, cost in middle.items()
        ],
    )
    dataset = open_dataset(root / "datasets" / options.splits[-1], verify=True)
    beside = sidecars(dataset)
    print_table(["beside the shards", ""], [[name, f"{x:.6g}"] for name, x in beside.items()])
    facts = dataset.checked_facts()
    counts = None if facts is None or facts.documents is None else vars(facts.documents)
    print(json.dumps(counts, indent=2))
    results = {"costs": costs, "beside": beside, "documents": counts}
    save("documents", vars(options), results)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
