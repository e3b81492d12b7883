"""Datasets that name themselves: every id is the number of the dataset's shards.

Those of an even number of shards have documents, one a sample; their sidecars name them, too.
"""

from dataclasses import replace
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np

from codedata.format.facts import Facts, facts_of
from codedata.format.meta import ShardEntry, documents_name, file_names, shard_name, spans_name
from codedata.format.shards import encode_shard
from codedata.format.sidecars import encode_documents
from codedata.format.spans import encode_spans
from codedata.store.base import Stage
from codedata.store.dataset_folder import Dataset, open_dataset
from codedata.store.publishing import check_target, open_staging
from codedata_tests.format.test_facts import ORIGIN
from codedata_tests.scenario import chunk_documents

SEQ_LENGTH = 3


def has_documents(num_shards: int) -> bool:
    """Whether sidecars lie beside its shards."""
    return num_shards % 2 == 0


def entries_of(num_shards: int) -> list[ShardEntry]:
    """What the meta says of its shards."""
    hashes = {name: sha256(data).hexdigest() for name, data in files_of(num_shards).items()}
    return [
        ShardEntry(
            num_samples=index + 1,
            num_tokens=(index + 1) * SEQ_LENGTH,
            num_text_tokens=(index + 1) * SEQ_LENGTH if has_documents(num_shards) else None,
            sha256=hashes[shard_name(index)],
            spans_sha256=hashes.get(spans_name(index)),
            documents_sha256=hashes.get(documents_name(index)),
        )
        for index in range(num_shards)
    ]


@cache
def files_of(num_shards: int) -> dict[str, bytes]:
    """Its shards and sidecars."""
    files: dict[str, bytes] = {}
    for index in range(num_shards):
        samples = np.full((index + 1, SEQ_LENGTH), num_shards, np.uint16)
        files[shard_name(index)] = b"".join(map(bytes, encode_shard(samples, pad_token=0)))
        if has_documents(num_shards):
            spans = [(row, 0, SEQ_LENGTH, row, num_shards, 0) for row in range(index + 1)]
            table = chunk_documents([SEQ_LENGTH] * (index + 1), {}, first_row=num_shards).table
            files[spans_name(index)] = encode_spans(np.array(spans, np.int32))
            files[documents_name(index)] = encode_documents(table)
    return files


def facts(num_shards: int, command: str = "make it") -> Facts:
    """What it was made of."""
    origin = replace(ORIGIN, command=command)
    return facts_of(origin, name="dataset", switches={}, entries=entries_of(num_shards))


def stage(staging: Stage, num_shards: int, command: str = "make it") -> None:
    """Stage one, the last shard first."""
    files = files_of(num_shards)
    for index in reversed(range(num_shards)):
        for name in file_names(index, documents=has_documents(num_shards)):
            staging.put(name, files[name])
    staging.add_facts(facts(num_shards, command))
    staging.add_meta(entries_of(num_shards))


def publish(target: Path, num_shards: int) -> None:
    """Publish one in a folder."""
    with open_staging(check_target(target)) as staging:
        stage(staging, num_shards)
        staging.publish()


def num_shards_of(dataset: Dataset | Path) -> int:
    """Which one it is, once every id of it is found right, and what its sidecars say."""
    if isinstance(dataset, Path):
        dataset = open_dataset(dataset, verify=True)
    num_shards = len(dataset.shards)
    assert [shard.shape for shard in dataset.shards] == [
        (index + 1, SEQ_LENGTH) for index in range(num_shards)
    ]
    assert all((shard == num_shards).all() for shard in dataset.shards)
    assert len(dataset.spans) == (num_shards if has_documents(num_shards) else 0)
    assert all((spans[:, 4] == num_shards).all() for spans in dataset.spans)
    return num_shards
