"""What a run costs however little it does: the script, and the Dagster job beside an empty one.

The empty job runs in its process as ours does: Dagster's default, a process a step, takes longer.

    python -m benchmarks.starting --corpus PARQUET --tokenizer FOLDER

A window of 100,000 characters, so that next to all of it is start: imports, the corpus opened and
counted, the tokenizer loaded, the engine made and tried. The corpus should be small, or the job
counts all of it first; the leading documents of `--corpus` are written to one.
"""

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.end_to_end import write_leading_text
from benchmarks.measuring import Cost, alternate, medians, print_table, run, save, script_command

_CHARS = 100_000
_EMPTY_JOB = """
import dagster as dg

@dg.asset(backfill_policy=dg.BackfillPolicy.single_run())
def nothing() -> None: ...

defs = dg.Definitions(
    assets=[nothing],
    jobs=[dg.define_asset_job("empty", [nothing])],
    executor=dg.in_process_executor,
)
"""


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="parquet of C code")
    parser.add_argument("--tokenizer", required=True, help="folder of a tokenizer")
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="codedata-benchmark-"))
    parquet, empty = work / "text.parquet", work / "empty_job.py"
    write_leading_text(options.corpus, 2 * _CHARS, parquet)
    empty.write_text(_EMPTY_JOB, encoding="utf-8")

    def fresh(command: list[str]) -> Cost:
        for name in ("cache", "root", "script"):
            shutil.rmtree(work / name, ignore_errors=True)
        environment = {
            "XDG_CACHE_HOME": str(work / "cache"),
            "CODEDATA_ROOT": str(work / "root"),
            "CODEDATA_CORPUS": str(parquet),
            "CODEDATA_TOKENIZER": str(Path(options.tokenizer).absolute()),
            "CODEDATA_TRAIN_CHARS_TO_TOKENIZE": str(_CHARS),
        }
        return run(command, environment)

    dagster = [str(Path(sys.executable).with_name("dagster")), "job", "execute"]
    script = script_command(parquet, work / "script", options.tokenizer, _CHARS)
    job, nothing = "the job train", "an empty Dagster job"
    costs = alternate(
        {
            "the script": partial(fresh, script),
            nothing: partial(fresh, [*dagster, "-f", str(empty), "-j", "empty"]),
            job: partial(fresh, [*dagster, "-m", "codedata.definitions", "-j", "train"]),
        },
        options.rounds,
        lambda _name, _turn: False,
    )
    middle = {name: medians(each) for name, each in costs.items()}
    print_table(
        ["run", "s", "CPU s", "peak MB"],
        [
            [name, f"{cost.wall:.2f}", f"{cost.cpu:.2f}", f"{cost.peak / 1e6:.0f}"]
            for name, cost in middle.items()
        ],
    )
    print(f"the job beyond Dagster's own start: {middle[job].wall - middle[nothing].wall:.2f} s")
    save("starting", vars(options), costs)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
