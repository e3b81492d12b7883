"""Orders that a seed draws: of the samples in an epoch, and of the documents in a chunk.

An order depends on the seed, what it is drawn for and how many are to be ordered: not on ranks,
workers, batch sizes, or the releases of numpy and torch. numpy keeps the streams of its bit
generators and of SeedSequence, though not those of Generator.permutation (NEP 19), so the order is
that of raw 64-bit keys, sorted.
"""

import numpy as np
from numpy.typing import NDArray


def epoch_order(num_samples: int, *, seed: int, epoch: int) -> NDArray[np.int64]:
    """The order in which an epoch goes through the samples.

    Args:
        num_samples: how many there are; ten million take a second and 240 MB.
        seed: 0 or more.
        epoch: 0 or more.

    Returns:
        Each of 0 to num_samples - 1 once, shape (num_samples,).
    """
    return permutation(num_samples, seed, epoch)


def permutation(number: int, seed: int, *key: int) -> NDArray[np.int64]:
    """An order that a seed draws.

    Args:
        number: how many are ordered.
        seed: 0 or more.
        key: what it is drawn for, numbers of 0 or more: an epoch, or a chunk's file and start.

    Returns:
        Each of 0 to number - 1 once, shape (number,).
    """
    keys = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))
    return np.argsort(keys.random_raw(number), kind="stable").astype(np.int64, copy=False)
