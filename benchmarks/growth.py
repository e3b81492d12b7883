"""Time and memory of the script as the text grows.

    python -m benchmarks.growth --corpus PARQUET --tokenizer FOLDER

The corpus needs as many characters as the largest size. Each run is a new process with an empty
cache.
"""

import argparse
import shutil
import tempfile
from functools import partial
from pathlib import Path

from benchmarks.measuring import Cost, alternate, medians, print_table, run, save, script_command


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--corpus", type=Path, required=True, help="parquet of C code")
    parser.add_argument("--tokenizer", required=True, help="as --tokenizer_base of the script")
    parser.add_argument("--millions", type=int, nargs="+", default=[10, 30, 100, 300])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="codedata-benchmark-"))

    def script(millions: int) -> Cost:
        shutil.rmtree(work)
        command = script_command(
            options.corpus, work / "dataset", options.tokenizer, millions * 1_000_000
        )
        return run(command, {"XDG_CACHE_HOME": str(work / "cache")})

    sizes = {f"{millions} M": partial(script, millions) for millions in options.millions}
    costs = alternate(sizes, options.rounds, lambda _name, _turn: False)
    middle = {name: medians(each) for name, each in costs.items()}
    print_table(
        ["characters", "s", "s a million characters", "peak MB (largest)"],
        [
            [
                name,
                f"{cost.wall:.2f}",
                f"{cost.wall / millions:.4f}",
                f"{cost.peak / 1e6:.0f}",
            ]
            for (name, cost), millions in zip(middle.items(), options.millions, strict=True)
        ],
    )
    save("growth", vars(options), costs)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
