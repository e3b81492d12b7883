"""Versions of a dataset, published one after the other by the store alone, until it is killed."""

import os
import random
from collections.abc import Iterator
from itertools import count
from multiprocessing.connection import Connection

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


def run(url: str, name: str, environment: dict[str, str], told: Connection) -> None:
    """Publish until killed, and tell of each version once it is."""
    os.environ.clear()
    os.environ.update(environment)
    for version in published(url, name):
        told.send(version)
