"""The order of an epoch: seed and epoch -> a permutation of all samples, the same everywhere.

It depends on the seed, the epoch and the number of samples alone: not on ranks, workers, batch
sizes, or the releases of numpy and torch. numpy keeps the streams of its bit generators and of
SeedSequence, though not those of Generator.permutation (NEP 19), so the order is that of raw 64-bit
keys, sorted.
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
    """Each of 0 to number - 1 once, shape (number,), by a seed and what it is drawn for."""
    keys = np.random.PCG64(np.random.SeedSequence(seed, spawn_key=key))
    return np.argsort(keys.random_raw(number), kind="stable").astype(np.int64, copy=False)
