"""Datasets that name themselves: every id is the number of the dataset's shards."""

from hashlib import sha256
from pathlib import Path

import numpy as np

from codedata.format.card import Origin, dump_card
from codedata.format.meta import ShardEntry, dump_meta
from codedata.format.shards import encode_shard
from codedata.recipe.settings import Settings
from codedata.store.base import Stage
from codedata.store.dataset_folder import Dataset, open_dataset
from codedata.store.publishing import check_target, open_staging

SEQ_LENGTH = 3


def card(entries: list[ShardEntry], command: str = "make it") -> bytes:
    """The card of a dataset of these entries."""
    origin = Origin(corpus={}, tokenizer={}, engine="whole", versions={}, command=command)
    digest = sha256(dump_meta(entries)).hexdigest()
    return dump_card("dataset", origin, Settings(seq_length=SEQ_LENGTH), entries, digest)


def stage(staging: Stage, num_shards: int, command: str = "make it") -> None:
    """Stage one, the last shard first."""
    entries: list[ShardEntry] = []
    for index in reversed(range(num_shards)):
        samples = np.full((index + 1, SEQ_LENGTH), num_shards, np.uint16)
        data = encode_shard(samples, pad_token=0).data
        staging.add_shard(index, data)
        digest = sha256(data).hexdigest()
        entries.insert(0, ShardEntry(num_samples=index + 1, num_tokens=samples.size, sha256=digest))
    staging.add_card(card(entries, command))
    staging.add_meta(entries)


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
