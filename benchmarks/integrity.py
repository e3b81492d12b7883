"""What checksums, fsync and validation cost: the Dagster job with and without them.

    python -m benchmarks.integrity --corpus PARQUET --tokenizer FOLDER

Without: nothing is forced to the disk, chunks and shards are not hashed, and the staged dataset is
neither verified nor checked before it is published. (Such a dataset does not verify.)
"""

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.end_to_end import write_leading_text
from benchmarks.measuring import Cost, alternate, medians, print_table, run, save

_JOB = """
import os, sys
from dagster._cli import main
sys.argv = ["dagster", "job", "execute", "-m", "codedata.definitions", "-j", "train"]
"""
_WITHOUT = """
import hashlib, os
os.fsync = lambda descriptor: None
import codedata.store.chunks as chunk_store
import codedata.run.assemble as assemble
import codedata.run.packing as packing
from codedata.store.dataset_folder import open_dataset
from codedata.run.checks import CheckOutcome

class NoHash:  # but of the meta, whose hash the report compares
    def __init__(self, data): self.small = bytes(data) if len(data) < 1 << 20 else None
    def hexdigest(self): return hashlib.sha256(self.small).hexdigest() if self.small else "0" * 64

passed = CheckOutcome(passed=True, description="not checked", numbers={})
names = ("integrity", "sample_counts", "sequence_lengths", "token_ids")
packing.sha256 = NoHash
chunk_store._sha256 = lambda ids: "0" * 64
assemble.check_dataset = lambda folder, *_: (open_dataset(folder), dict.fromkeys(names, passed))
"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="parquet of C code")
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer")
    parser.add_argument("--chars", type=int, default=100_000_000)
    parser.add_argument("--rounds", type=int, default=7)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="codedata-benchmark-"))
    parquet = work / "text.parquet"
    write_leading_text(options.corpus, options.chars, parquet)

    def job(code: str) -> Cost:
        for name in ("cache", "root"):
            shutil.rmtree(work / name, ignore_errors=True)
        environment = {
            "XDG_CACHE_HOME": str(work / "cache"),
            "CODEDATA_ROOT": str(work / "root"),
            "CODEDATA_CORPUS": str(parquet),
            "CODEDATA_TOKENIZER": str(Path(options.tokenizer).absolute()),
            "CODEDATA_TRAIN_CHARS_TO_TOKENIZE": str(options.chars),
        }
        return run([sys.executable, "-c", code], environment)

    works = {
        "with": partial(job, _JOB + "main()"),
        "without": partial(job, _WITHOUT + _JOB + "main()"),
    }
    costs = alternate(works, options.rounds, lambda _name, _turn: False)
    middle = {name: medians(each) for name, each in costs.items()}
    rows = [[name, f"{cost.wall:.2f}", f"{cost.cpu:.2f}"] for name, cost in middle.items()]
    print_table(["checksums, fsync, validation", "s", "CPU s"], rows)
    share = 1 - middle["without"].wall / middle["with"].wall
    print(f"they are {share:.1%} of the job")
    save("integrity", vars(options), costs)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
