"""What all formats write: the ids block by block, in one dtype, and the tokens of each sample."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.store.dataset_folder import Dataset

NOT_CARRIED = "not carried"
"""Of the boundaries of documents."""

_BLOCK_TOKENS = 1 << 20
"""Tokens copied at a time, 4 MB as int32; a sample that has more is copied whole."""


def ids_dtype(dataset: Dataset) -> np.dtype[Any]:
    """The dtype that holds the ids of all shards: uint16, or int32 where one shard needs it."""
    return np.result_type(*{*map(dataset.files.dtype, range(dataset.num_shards))}).newbyteorder("<")


def blocks(ids: NDArray[Any], dtype: np.dtype[Any]) -> Iterator[NDArray[Any]]:
    """The samples of a shard as contiguous arrays, shape (some samples, seq_length)."""
    num_samples = max(1, _BLOCK_TOKENS // ids.shape[1])
    for start in range(0, len(ids), num_samples):
        yield np.ascontiguousarray(ids[start : start + num_samples], dtype)


def text_tokens(dataset: Dataset) -> NDArray[np.int32] | None:
    """How many tokens of each sample are the text's, shape (num_samples,); None: not known."""
    if dataset.num_padding is None:
        return None
    counts = np.full(dataset.num_samples, dataset.seq_length, np.int32)
    for row, num_tokens in dataset.padded_samples().items():
        counts[row] = num_tokens
    return counts


def origin(dataset: Dataset, boundaries: str) -> str:
    """What was exported, as JSON; of documents, also what carries their boundaries."""
    facts: dict[str, object] = {
        "digest": dataset.digest,
        "num_samples": dataset.num_samples,
        "seq_length": dataset.seq_length,
    }
    if dataset.spans:
        facts["boundaries"] = boundaries
    return json.dumps(facts)


def write_origin(dataset: Dataset, folder: Path, boundaries: str) -> None:
    """Write what was exported beside it, as `codedata.json`."""
    text = f"{origin(dataset, boundaries)}\n"
    (folder / "codedata.json").write_text(text, encoding="utf-8")
