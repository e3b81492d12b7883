"""Datasets to export, and what must be found in every format."""

from pathlib import Path

import numpy as np
import pytest

from codedata.format.packing import IdArray
from codedata_tests import scenario

SHARD_SIZES = [3, 1, 1500, 2, 5, 4, 1, 1, 2, 3, 2, 6]
"""Twelve shards, so that dump-10 sorts before dump-2; one longer than what is copied at once."""

SEQ_LENGTH = 5
LAST = [5, 2, 4, 5, 1, 5, 3, 5, 5, 5, 5, 4]


@pytest.fixture
def shards(request: pytest.FixtureRequest) -> list[IdArray]:
    """Ids of each shard; the widest id, of 16 bits or more, stands in one shard alone."""
    random = np.random.default_rng(0)
    made: list[IdArray] = [random.integers(0, 600, (n, SEQ_LENGTH)) for n in SHARD_SIZES]
    made[4][2, 3] = getattr(request, "param", 600)
    for samples, num_tokens in zip(made, LAST, strict=True):
        samples[-1, num_tokens:] = 7
    return made


with_wide_ids = pytest.mark.parametrize("shards", [600, 70_000], indirect=True)


@pytest.fixture
def ids(shards: list[IdArray]) -> IdArray:
    """All samples, shape (num_samples, SEQ_LENGTH)."""
    return np.concatenate(shards)


@pytest.fixture
def text_tokens() -> list[int]:
    """How many tokens of each sample are the text's."""
    counts: list[int] = []
    for num_samples, last in zip(SHARD_SIZES, LAST, strict=True):
        counts += [SEQ_LENGTH] * (num_samples - 1) + [last]
    return counts


@pytest.fixture
def folder(shards: list[IdArray], tmp_path: Path) -> Path:
    return scenario.write_dataset(tmp_path / "train", shards, last_sample_tokens=LAST)


@pytest.fixture
def older(shards: list[IdArray], tmp_path: Path) -> Path:
    """The same samples, of a meta that does not say what is padding."""
    return scenario.write_dataset(tmp_path / "older", shards)


def documents_of_chunks() -> list[list[int]]:
    """The ids of each document of `scenario.write_document_dataset`, in order."""
    return [
        [*range(100 * number, 100 * number + length - 1), scenario.DOCUMENT_EOS]
        for lengths in scenario.DOCUMENT_LENGTHS
        for number, length in enumerate(lengths, 1)
        if length
    ]
