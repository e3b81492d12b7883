"""Opening a dataset and taking samples from it, against lists of int from `pickle.load`.

    python -m benchmarks.opening --dataset FOLDER

A dataset as this package writes it, by the script or a job. Both sides read the very same shards;
opening includes the whole check of the grammar. Memory is measured in processes of their own:
what a process holds beyond the mapped files after it read every sample, and what a forked worker
that reads every sample adds (its private pages).
"""

import argparse
import os
import pickle
import random
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import Cost, alternate, copy_rate, measure, medians, print_table, save
from codedata import PickledTrainerDataset
from codedata.store.dataset_folder import open_dataset

_RESIDENT = """
import sys
from pathlib import Path
from benchmarks.opening import read_all, kilobytes
from codedata import PickledTrainerDataset
before = kilobytes("Rss")
dataset = PickledTrainerDataset([sys.argv[1]], quiet=True)
read_all(dataset)
print(kilobytes("Rss") - before)
"""


def kilobytes(what: str, pid: str = "self") -> int:
    """A sum over the mappings of a process: Rss, Private_Dirty, ..."""
    lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    return sum(int(line.split()[1]) for line in lines if line.startswith(f"{what}:"))


def read_all(dataset: PickledTrainerDataset) -> None:
    """Read every sample."""
    for sample in dataset:
        assert sample["input_ids"][0] >= 0


def resident_share(folder: Path) -> float:
    """Resident memory gained by opening and reading everything, over the size of the shards."""
    done = subprocess.run(
        [sys.executable, "-c", _RESIDENT, str(folder)], capture_output=True, text=True, check=True
    )
    return int(done.stdout) * 1024 / shard_bytes(folder)


def forked_share(folder: Path) -> float:
    """Private memory that a forked worker gains by reading everything, over the shards' size."""
    dataset = PickledTrainerDataset([folder], quiet=True)
    read_all(dataset)
    reading, writing = os.pipe()
    if os.fork() == 0:
        private = kilobytes("Private_Dirty") + kilobytes("Private_Clean")
        read_all(dataset)
        private = kilobytes("Private_Dirty") + kilobytes("Private_Clean") - private
        os.write(writing, str(private).encode())
        os._exit(0)
    os.wait()
    return int(os.read(reading, 100)) * 1024 / shard_bytes(folder)


def shard_bytes(folder: Path) -> int:
    """Size of all shards."""
    return sum(path.stat().st_size for path in folder.glob("dump-*.pkl"))


def load_lists(folder: Path) -> list[list[int]]:
    """All samples as the old loader has them."""
    samples: list[list[int]] = []
    for path in sorted(folder.glob("dump-*.pkl"), key=lambda path: int(path.stem[5:])):
        with path.open("rb") as file:
            samples += pickle.load(file)
    return samples


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--dataset", type=Path, required=True, help="dataset folder")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=20_000, help="random samples a round")
    options = parser.parse_args()
    folder: Path = options.dataset
    resident, forked = resident_share(folder), forked_share(folder)
    opening = alternate(
        {
            "pickle.load": lambda: measure(lambda: load_lists(folder)),
            "open_dataset": lambda: measure(lambda: open_dataset(folder)),
            "open_dataset(verify=True)": lambda: measure(lambda: open_dataset(folder, verify=True)),
        },
        options.rounds,
        lambda _name, _turn: False,
    )
    lists = load_lists(folder)
    dataset = PickledTrainerDataset([folder], quiet=True)
    rows = random.Random(0).choices(range(len(lists)), k=options.samples)
    assert all(dataset[row]["input_ids"].tolist() == lists[row] for row in rows[:100])

    def from_list(row: int) -> Any:
        return {"input_ids": torch.tensor(lists[row]), "labels": torch.tensor(lists[row])}

    def each(get: Callable[[int], Any]) -> Cost:
        return measure(lambda: [get(row) and None for row in rows])

    items = alternate(
        {
            "torch.tensor of a list": lambda: each(from_list),
            "ds[i]": lambda: each(dataset.__getitem__),
        },
        options.rounds,
        lambda _name, _turn: False,
    )
    middle = {name: medians(costs) for name, costs in {**opening, **items}.items()}
    table: list[list[str]] = []
    for name, cost in middle.items():
        is_item = name in items
        base = middle["torch.tensor of a list" if is_item else "pickle.load"]
        shown = f"{cost.wall / len(rows) * 1e6:.1f} us" if is_item else f"{cost.wall * 1e3:.1f} ms"
        table.append([name, shown, f"{base.wall / cost.wall:.1f}"])
    print_table(["way", "time", "times faster"], table)
    first = opening["open_dataset"][0].wall
    print(f"the first open_dataset of the process: {first * 1e3:.1f} ms")
    print(f"resident after reading all, of the shards' size: {resident:.3f}")
    print(f"private memory a forked worker adds by reading all, of the shards' size: {forked:.3f}")
    print(f"a plain copy of the shards: {shard_bytes(folder) / copy_rate() * 1e3:.1f} ms")
    save(
        "opening",
        vars(options),
        {"costs": {**opening, **items}, "resident": resident, "forked": forked},
    )


if __name__ == "__main__":
    main()
