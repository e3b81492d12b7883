"""Versions of a dataset, published one after the other by the store alone, until it is killed.

    python -m codedata_tests.campaigns.small_versions URL NAME

It prints the number of each as soon as it is published, and the command that its facts name.
"""

import random
import sys
from collections.abc import Iterator
from itertools import count

from codedata.store.object_store import ObjectStore
from codedata.store.versions import DatasetLog, Version
from codedata_tests.store.small_datasets import stage

MAX_SHARDS = 4


def publish(log: DatasetLog, num_shards: int, command: str) -> Version:
    """Publish a dataset in the folder of all that have so many shards."""
    staged = log.stage(f"of-{num_shards}")
    stage(staged, num_shards, command)
    return staged.publish()


def published(url: str, name: str) -> Iterator[tuple[int, str]]:
    """Publish, and the number and command of each version."""
    log, sizes = DatasetLog(ObjectStore(url)), random.Random(name)
    for index in count():
        command = f"{name}-{index}"
        yield publish(log, sizes.randint(1, MAX_SHARDS), command).number, command


if __name__ == "__main__":
    for version in published(*sys.argv[1:]):
        print(*version, flush=True)
