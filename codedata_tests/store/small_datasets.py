"""Datasets that name themselves: every id is the number of the dataset's shards."""

from collections.abc import Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import numpy as np

from codedata.format.facts import Facts, facts_of
from codedata.format.meta import ShardEntry
from codedata.format.shards import encode_shard
from codedata.store.base import Stage
from codedata.store.dataset_folder import Dataset, open_dataset
from codedata.store.publishing import check_target, open_staging
from codedata_tests.format.test_facts import ORIGIN

SEQ_LENGTH = 3


def entries_of(shards: Sequence[bytes | memoryview]) -> list[ShardEntry]:
    """What the meta says of these shards."""
    return [
        ShardEntry(
            num_samples=index + 1,
            num_tokens=(index + 1) * SEQ_LENGTH,
            sha256=sha256(data).hexdigest(),
        )
        for index, data in enumerate(shards)
    ]


def shards_of(num_shards: int) -> list[bytes]:
    """The bytes of its shards."""
    samples = [
        np.full((rows, SEQ_LENGTH), num_shards, np.uint16) for rows in range(1, num_shards + 1)
    ]
    return [b"".join(map(bytes, encode_shard(each, pad_token=0))) for each in samples]


def facts(num_shards: int, command: str = "make it") -> Facts:
    """What it was made of."""
    origin = replace(ORIGIN, command=command)
    return facts_of(origin, name="dataset", switches={}, entries=entries_of(shards_of(num_shards)))


def stage(staging: Stage, num_shards: int, command: str = "make it") -> None:
    """Stage one, the last shard first."""
    shards = shards_of(num_shards)
    for index in reversed(range(num_shards)):
        staging.add_shard(index, shards[index])
    staging.add_facts(facts(num_shards, command))
    staging.add_meta(entries_of(shards))


def publish(target: Path, num_shards: int) -> None:
    """Publish one in a folder."""
    with open_staging(check_target(target)) as staging:
        stage(staging, num_shards)
        staging.publish()


def num_shards_of(dataset: Dataset | Path) -> int:
    """Which one it is, once every id of it is found right."""
    if isinstance(dataset, Path):
        dataset = open_dataset(dataset, verify=True)
    num_shards = len(dataset.shards)
    assert [shard.shape for shard in dataset.shards] == [
        (index + 1, SEQ_LENGTH) for index in range(num_shards)
    ]
    assert all((shard == num_shards).all() for shard in dataset.shards)
    return num_shards
