"""A dataset -> MDS shards and their index.json, which mosaicml-streaming reads (and LLM Foundry).

Columns: `tokens`, int32, shape (seq_length,), and `text_tokens`, int32, where the meta says how
many are the text's. Where documents lie in samples is not carried. A shard is

    number of samples, u32   offset of each sample and of the end, u32   the columns as JSON
    the samples, each its columns in the order of their names

Source: streaming/base/format/mds of mosaicml-streaming 0.13, version 2 of the format. That package
asks for an older huggingface-hub than this one, so the format is written without it.
"""

import hashlib
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.export.blocks import NOT_CARRIED, blocks, text_tokens, write_origin
from codedata.store.dataset_folder import Dataset

BOUNDARIES = NOT_CARRIED

_SHARD_BYTES = 1 << 26
"""mosaicml-streaming's own size_limit; offsets are 32 bits."""

_CONFIG_BYTES = 1 << 10
"""Room for a shard's head beside the offsets of its samples; the columns as JSON take 300."""


def write(dataset: Dataset, folder: Path) -> None:
    """Write shards, index and origin of a dataset."""
    counts, length = text_tokens(dataset), dataset.seq_length
    columns = {"tokens": (f"ndarray:int32:{length}", 4 * length)}
    if counts is not None:
        columns["text_tokens"] = ("int32", 4)
    names = sorted(columns)
    config: dict[str, Any] = {
        "version": 2,
        "format": "mds",
        "compression": None,
        "hashes": ["sha256"],
        "size_limit": _SHARD_BYTES,
        "column_names": names,
        "column_encodings": [columns[name][0] for name in names],
        "column_sizes": [columns[name][1] for name in names],
    }
    shards: list[dict[str, Any]] = []
    for index, samples in enumerate(_shards(dataset, counts)):
        data = _encode(samples, json.dumps(config, sort_keys=True).encode())
        name = f"shard.{index:05d}.mds"
        (folder / name).write_bytes(data)
        raw = {
            "basename": name,
            "bytes": len(data),
            "hashes": {"sha256": hashlib.sha256(data).hexdigest()},
        }
        shards.append({**config, "samples": len(samples), "raw_data": raw, "zip_data": None})
    write_origin(dataset, folder, BOUNDARIES)
    (folder / "index.json").write_text(
        json.dumps({"version": 2, "shards": shards}, sort_keys=True), encoding="utf-8"
    )


def _shards(dataset: Dataset, counts: NDArray[np.int32] | None) -> Iterator[NDArray[np.int32]]:
    """The samples of each MDS shard, int32, shape (num_samples, columns and tokens)."""
    width = dataset.seq_length + (counts is not None)
    most = max(1, (_SHARD_BYTES - _CONFIG_BYTES) // (4 * width + 4))
    pending: list[NDArray[np.int32]] = []
    num_pending = row = 0
    for ids in dataset.shards:
        for block in blocks(ids, np.dtype("<i4")):
            rows = block
            if counts is not None:
                rows = np.column_stack([counts[row : row + len(block)], block]).astype("<i4")
            row += len(block)
            while len(rows):
                taken = rows[: most - num_pending]
                pending.append(taken)
                num_pending, rows = num_pending + len(taken), rows[len(taken) :]
                if num_pending == most:
                    yield np.concatenate(pending)
                    pending, num_pending = [], 0
    if pending:
        yield np.concatenate(pending)


def _encode(samples: NDArray[np.int32], config: bytes) -> bytes:
    num_samples, width = samples.shape
    first = 4 + 4 * (num_samples + 1) + len(config)
    offsets = first + 4 * width * np.arange(num_samples + 1)
    head = np.array([num_samples], "<u4").tobytes() + offsets.astype("<u4").tobytes()
    return head + config + samples.tobytes()
