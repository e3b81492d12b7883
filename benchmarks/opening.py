"""Opening a dataset and taking samples from it, against lists of int from `pickle.load`.

    python -m benchmarks.opening --dataset FOLDER
    python -m benchmarks.opening --stand-ins 100000

A dataset as this package writes it, by the script or a job. Both sides read the very same shards;
what opens a dataset, and what checks each shard, are told apart. Memory is measured in processes of
their own: what a process holds beyond the mapped files after it read every sample, and what a
forked worker that reads every sample adds (its private pages).

Stand-ins are sparse files of 10 MB, 1 TB for 100,000 of them, of the names and sizes that a meta
states: they are opened, and no sample is asked for. Each time is that of a process of its own, the
page cache dropped before where the system lets that be done (root).
"""

import argparse
import hashlib
import json
import os
import pickle
import random
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from benchmarks.measuring import Cost, alternate, copy_rate, measure, medians, print_table, save
from codedata import PickledTrainerDataset
from codedata.format.meta import META_NAME, ShardEntry, dump_meta, file_names
from codedata.format.ranges import CharRange
from codedata.format.shards import shard_bytes as bytes_of_shard
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

_OPEN = """
import json
import os
import sys
import time
from pathlib import Path
import torch
from codedata.parallel import peak_memory_bytes
from codedata.store.dataset_folder import open_dataset
before, start, cpu = peak_memory_bytes(), time.perf_counter(), time.process_time()
dataset = open_dataset(Path(sys.argv[1]))
told = {"seconds": time.perf_counter() - start, "CPU seconds": time.process_time() - cpu}
told |= {"most MB beyond torch": (peak_memory_bytes() - before) / 1e6}
print(json.dumps({**told, "descriptors": len(os.listdir("/proc/self/fd")) - 1}))
"""

_STAND_IN_SAMPLES, _STAND_IN_TOKENS = 2_170, 1_536
"""10 MB in two bytes an id."""


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


def write_stand_ins(folder: Path, num_shards: int, *, documents: bool) -> None:
    """Write a meta, and files of its sizes that hold nothing."""
    num_samples, num_tokens = _STAND_IN_SAMPLES, _STAND_IN_SAMPLES * _STAND_IN_TOKENS
    sizes = [bytes_of_shard(num_samples, _STAND_IN_TOKENS, 2), 128 + 24 * num_samples, 1]
    entries: list[ShardEntry] = []
    for index in range(num_shards):
        sha256 = hashlib.sha256(str(index).encode()).hexdigest()
        for name, size in zip(file_names(index, documents=documents), sizes, strict=False):
            with (folder / name).open("wb") as file:
                file.truncate(size)
        entries.append(
            ShardEntry(
                num_samples=num_samples,
                num_tokens=num_tokens,
                sha256=sha256,
                chars=CharRange(index, index + 1),
                last_sample_tokens=_STAND_IN_TOKENS,
                num_text_tokens=num_tokens if documents else None,
                spans_sha256=sha256 if documents else None,
                documents_sha256=sha256 if documents else None,
            )
        )
    (folder / META_NAME).write_bytes(dump_meta(entries))


def open_stand_ins(num_shards: int, rounds: int) -> None:
    """Open many shards, in processes of their own."""
    figures: dict[str, list[dict[str, float]]] = {}
    for documents in (False, True):
        with tempfile.TemporaryDirectory() as folder:
            write_stand_ins(Path(folder), num_shards, documents=documents)
            name = f"{num_shards:,} shards{' with documents' if documents else ''}"
            for _ in range(rounds):
                os.sync()
                with suppress(PermissionError):
                    Path("/proc/sys/vm/drop_caches").write_text("3")
                command = [sys.executable, "-c", _OPEN, folder]
                done = subprocess.run(command, capture_output=True, text=True, check=True)
                figures.setdefault(name, []).append(json.loads(done.stdout))
    rows = [
        [name, *(f"{statistics.median(run[what] for run in runs):.2f}" for what in runs[0])]
        for name, runs in figures.items()
    ]
    print_table(["opened", *next(iter(figures.values()))[0]], rows)
    save("stand_ins", {"num_shards": num_shards}, {"runs": figures})


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--dataset", type=Path, help="dataset folder")
    what.add_argument("--stand-ins", type=int, help="shards that hold nothing, to be opened")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--samples", type=int, default=20_000, help="random samples a round")
    options = parser.parse_args()
    if options.stand_ins:
        open_stand_ins(options.stand_ins, options.rounds)
        return
    folder: Path = options.dataset
    resident, forked = resident_share(folder), forked_share(folder)
    opening = alternate(
        {
            "pickle.load": lambda: measure(lambda: load_lists(folder)),
            "open_dataset": lambda: measure(lambda: open_dataset(folder)),
            "open_dataset, every shard": lambda: measure(lambda: [*open_dataset(folder).shards]),
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
