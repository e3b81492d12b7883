"""Ids of one chunk -> samples of equal length -> the groups that become shards.

Pure and vectorised. The rule is section "Samples" of docs/format.md: samples start at 0,
seq_length, 2 * seq_length, ... while start < len(ids) - min_sample_length; the last one, where it
is shorter, is padded.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

IdArray = NDArray[np.integer[Any]]

MAX_TOKEN_ID = 2**31 - 1
"""The largest id that the pickle opcode BININT holds."""


def id_dtype(largest_id: int) -> np.dtype[Any]:
    """The smallest of uint16 and int32 that holds ids from 0 to `largest_id`."""
    return np.dtype(np.uint16 if largest_id <= np.iinfo(np.uint16).max else np.int32)


def count_samples(num_tokens: int, *, seq_length: int, min_sample_length: int) -> int:
    """Number of samples that a chunk of `num_tokens` ids gives."""
    return max(0, -(-(num_tokens - min_sample_length) // seq_length))


def pack_samples(
    ids: IdArray, *, seq_length: int, min_sample_length: int, pad_token: int
) -> IdArray:
    """Cut the ids of one chunk into samples.

    Args:
        ids: shape (num_tokens,), integers.
        seq_length: ids in a sample.
        min_sample_length: a rest of this many ids or fewer is dropped.
        pad_token: fills up a last sample that is shorter than `seq_length`.

    Returns:
        Shape (num_samples, seq_length), where nothing had to be padded a view of `ids`.
    """
    num_samples = count_samples(
        len(ids), seq_length=seq_length, min_sample_length=min_sample_length
    )
    num_cells = num_samples * seq_length
    if num_cells <= len(ids):
        return ids[:num_cells].reshape(num_samples, seq_length)
    samples = np.full(num_cells, pad_token, np.promote_types(ids.dtype, id_dtype(pad_token)))
    samples[: len(ids)] = ids
    return samples.reshape(num_samples, seq_length)


def split_shards(samples: IdArray, max_dump_size: int) -> Iterator[IdArray]:
    """Yield the samples `max_dump_size` at a time, shape (at most max_dump_size, seq_length)."""
    for start in range(0, len(samples), max_dump_size):
        yield samples[start : start + max_dump_size]
