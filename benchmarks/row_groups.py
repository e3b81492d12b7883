"""The same text in one row group and in thousands: counting, reading, and the script whole.

    python -m benchmarks.row_groups --tokenizer FOLDER

The text is made here, a row a row group, with eight small columns beside `content`. Each run is a
new process with an empty cache; the ways alternate within one run. A file of empty row groups is
opened and refused.
"""

import argparse
import shutil
import sys
import tempfile
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from benchmarks.measuring import Cost, alternate, medians, print_table, run, save

LINE = "int f(int a) { return a + 1; }\n"

READ = """
import sys
from pathlib import Path
from codedata.format.ranges import CharRange
from codedata.errors import CorpusError
from codedata.sources.parquet.text import ParquetText
text = ParquetText(Path(sys.argv[1]))
try:
    window = text.clip(CharRange(0, 10**9))
except CorpusError as error:
    sys.exit(0 if "holds no text" in str(error) else 1)
if sys.argv[2] == "read":
    assert len(text.read_utf8(window)) == window.num_chars
"""


def write_files(folder: Path, num_groups: int, num_empty: int) -> dict[str, Path]:
    """One row group, as many as there are rows, and row groups without a row."""
    rows = {"content": [LINE * 32] * num_groups}
    table = pa.table(rows | {f"c{place}": ["x"] * num_groups for place in range(8)})
    files = {
        "1 row group": folder / "one.parquet",
        f"{num_groups:,} row groups": folder / "many.parquet",
        f"{num_empty:,} empty row groups": folder / "empty.parquet",
    }
    one, many, empty = files.values()
    pq.write_table(table, one, row_group_size=num_groups)
    pq.write_table(table, many, row_group_size=1)
    schema = pa.schema({"content": pa.string()})
    with pq.ParquetWriter(empty, schema) as writer:
        for _ in range(num_empty):
            writer.write_table(schema.empty_table())
    return files


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tokenizer", required=True, help="as --tokenizer_base of the script")
    parser.add_argument("--groups", type=int, default=10_000)
    parser.add_argument("--empty-groups", type=int, default=100_000)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    work = Path(tempfile.mkdtemp(prefix="codedata-benchmark-"))
    files = write_files(work, options.groups, options.empty_groups)

    def fresh(command: list[str]) -> Cost:
        for name in ("cache", "dataset"):
            shutil.rmtree(work / name, ignore_errors=True)
        return run(command, {"XDG_CACHE_HOME": str(work / "cache")})

    def read(file: Path, what: str) -> list[str]:
        return [sys.executable, "-c", READ, str(file), what]

    def script(file: Path) -> list[str]:
        return [
            *(sys.executable, "-m", "codedata.tokenize_data", "--data_file", str(file)),
            *("--tokenization_folder", str(work / "dataset")),
            *("--tokenizer_base", options.tokenizer),
        ]

    *texts, empty = files.items()
    works = {
        f"{what}, {name}": partial(fresh, command)
        for name, file in texts
        for what, command in {
            "count": read(file, "count"),
            "count and read": read(file, "read"),
            "script": script(file),
        }.items()
    }
    works[f"count, {empty[0]}"] = partial(fresh, read(empty[1], "count"))
    costs = alternate(works, options.rounds, lambda _name, _turn: False)
    print_table(
        ["what", "s", "CPU s", "peak MB"],
        [
            [name, f"{cost.wall:.2f}", f"{cost.cpu:.2f}", f"{cost.peak / 1e6:.0f}"]
            for name, cost in ((name, medians(each)) for name, each in sorted(costs.items()))
        ],
    )
    save("row_groups", vars(options), costs)
    shutil.rmtree(work)


if __name__ == "__main__":
    main()
