"""Orders of epochs: CPU time a sample, and memory, against a sorted order that is held.

    python -m benchmarks.order

Of each order the first million places are taken, a few thousand at a time as a loader takes them;
making it counts, which is all the work that a stored order has. The memory is what numpy and Python
held at the most. Then what a batch of 8 costs a sampler, and the first of an epoch.
"""

import argparse
import time
import tracemalloc
from collections.abc import Callable
from itertools import islice
from statistics import median
from typing import Any

import numpy as np

from benchmarks.measuring import print_table, save
from codedata.format.order import BlockOrder, ComputedOrder, Order, StoredOrder
from codedata.training.sampler import GlobalBatchSampler

AT_ONCE = 4096
TAKEN = 1_000_000
ORDERS: dict[str, Callable[[], Order]] = {
    "stored, 10^7 samples": lambda: StoredOrder(10**7, 0, 0),
    "computed, 10^7": lambda: ComputedOrder(10**7, 0, 0),
    "computed, 10^9": lambda: ComputedOrder(10**9, 0, 0),
    "computed, 2^30": lambda: ComputedOrder(2**30, 0, 0),
    "computed, 2^30 + 1: most walks": lambda: ComputedOrder(2**30 + 1, 0, 0),
    "blocks, 20 shards of 50,000": lambda: BlockOrder(np.arange(1, 21) * 50_000, 0, 0),
    "blocks, 100,000 of 3,300": lambda: BlockOrder(np.arange(1, 100_001) * 3300, 0, 0),
    "blocks, 100,000 of 10": lambda: BlockOrder(np.arange(1, 100_001) * 10, 0, 0),
}
SAMPLERS: dict[str, dict[str, Any]] = {
    "sampler, shuffle=True, 10^9": {},
    "sampler, one of 64 ranks": {"global_batch_size": 512, "rank": 63, "world_size": 64},
    "sampler, shuffle=False": {"shuffle": False},
}


def take(make: Callable[[], Order]) -> None:
    """Make an order, and take its first million places."""
    order = make()
    for start in range(0, min(TAKEN, len(order)), AT_ONCE):
        order.take(start, min(start + AT_ONCE, len(order)))


def cpu_seconds(work: Callable[[], Any]) -> float:
    """CPU time of this process."""
    start = time.process_time()
    work()
    return time.process_time() - start


def peak_bytes(work: Callable[[], Any]) -> int:
    """What Python and numpy hold at the most."""
    tracemalloc.start()
    work()
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return peak


def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    results: dict[str, Any] = {}
    table: list[list[str]] = []
    for name, make in ORDERS.items():
        seconds = median(cpu_seconds(lambda make=make: take(make)) for _ in range(options.rounds))
        # The million that are taken, or all of them where sorting is what costs.
        number = len(make()) if isinstance(make(), StoredOrder) else min(TAKEN, len(make()))
        peak = peak_bytes(lambda make=make: take(make))
        results[name] = {"us_a_sample": seconds / number * 1e6, "peak_bytes": peak}
        table.append([name, f"{seconds / number * 1e6:.3f} us", f"{peak / 1e6:.1f} MB"])
    print_table(["order", "CPU a sample", "memory"], table)
    table = []
    for name, more in SAMPLERS.items():
        sampler = GlobalBatchSampler(
            range(10**9), **{"global_batch_size": 8, "require_digest": False, **more}
        )
        first, batches = (
            median(
                cpu_seconds(lambda n=n, of=sampler: list(islice(of.upcoming(), n)))
                for _ in range(3)
            )
            for n in (1, 100_000)
        )
        results[name] = {"us_a_batch": batches / 100_000 * 1e6, "first_us": first * 1e6}
        table.append([name, f"{batches / 100_000 * 1e6:.2f} us", f"{first * 1e3:.2f} ms"])
    print_table(["batches of 8", "CPU a batch", "the first"], table)
    save("order", vars(options), results)


if __name__ == "__main__":
    main()
