"""Orders that a seed draws: of the samples in an epoch, and of the documents in a chunk.

    ComputedOrder   any place of it is computed, nothing is stored: epochs of any size
    BlockOrder      shards in a drawn order, and the samples of some shards at a time in another
    StoredOrder     sorted keys, 24 bytes a number while it is made and 8 then: of documents in a
                    chunk, and of epochs that an earlier release began
    InOrder         as they stand

An order depends on the seed, what it is drawn for and how many are to be ordered: not on ranks,
workers, batch sizes, or the releases of numpy and torch. numpy keeps the streams of its bit
generators and of SeedSequence, though not those of Generator.permutation (NEP 19), so keys are
theirs, and all that follows is arithmetic on 64-bit integers, which docs/format.md states, too.
"""

import re
from collections.abc import Sequence
from typing import Any, Protocol

import numpy as np
from numpy.random import PCG64, SeedSequence
from numpy.typing import NDArray

from codedata.errors import SettingsError
from codedata.printable import shortened

# Shards whose samples are mixed in a BlockOrder: enough that a batch hardly has two samples of one
# file, few enough to be in a cache and mapped at once, with the next ones on their way.
BLOCK_SHARDS = 32
# Whole permutations of 2 to 8 cannot be told from uniform in a million drawn by 12 rounds on 4
# bits; on 3 bits they can by far (by 2 % of them), since a half of one bit hardly mixes.
_ROUNDS = 12
_LEAST_BITS = 4
# The finalizer of SplitMix64 (Steele, Lea and Flood 2014; these constants are Stafford's Mix13).
_SHIFT_1, _FACTOR_1 = np.uint64(30), np.uint64(0xBF58476D1CE4E5B9)
_SHIFT_2, _FACTOR_2 = np.uint64(27), np.uint64(0x94D049BB133111EB)
_ONE, _SIXTY_FOUR = np.uint64(1), np.uint64(64)

Places = NDArray[np.int64]


class Order(Protocol):
    """A permutation of the numbers from 0 to its length - 1, of which any part can be asked for."""

    def __len__(self) -> int:
        """How many numbers it has."""
        ...

    def at(self, places: Places) -> NDArray[np.int64]:
        """The numbers at some places, any of 0 to the length - 1, in any order."""
        ...

    def take(self, start: int, stop: int) -> NDArray[np.int64]:
        """The numbers at the places from start to stop, shape (stop - start,)."""
        return self.at(np.arange(start, stop))


class InOrder(Order):
    """Each number at its own place."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __len__(self) -> int:
        return self._number

    def at(self, places: Places) -> NDArray[np.int64]:
        """The places."""
        return places


class StoredOrder(Order):
    """`permutation`, made at once and held: 8 bytes a number."""

    def __init__(self, number: int, seed: int, *key: int) -> None:
        self._numbers = permutation(number, seed, *key)

    def __len__(self) -> int:
        return len(self._numbers)

    def at(self, places: Places) -> NDArray[np.int64]:
        """The numbers at some places."""
        return self._numbers[places]


class ComputedOrder(Order):
    """A keyed bijection: what stands at a place is computed from the place, and nothing is stored.

    The place is enciphered by a Feistel network on the smallest power of two that holds `number`,
    and again as long as the result is not below `number`: cycle walking (Black and Rogaway 2002,
    Ciphers with Arbitrary Finite Domains), as Grain's and TensorFlow's index_shuffle do it.

        bits = max(4, bit length of number - 1); a = bits // 2; b = bits - a
        keys = SeedSequence(seed, spawn_key=key).generate_state(12, uint64)
        x = L * 2**b + R, and for i in 0 to 11:
            i even: L = (L + top(a, mix(R + keys[i]))) mod 2**a
            i odd:  R = (R + top(b, mix(L + keys[i]))) mod 2**b
        mix(z), mod 2**64: z ^= z >> 30; z *= 0xbf58476d1ce4e5b9; z ^= z >> 27;
            z *= 0x94d049bb133111eb
        top(n, z) = z >> (64 - n)

    Rounds add where Feistel's exclude: a round of exclusive ors is an even permutation, and so
    would be every order of a power of two.

    Args:
        number: how many are ordered, up to 2**62.
        seed: 0 or more.
        key: what it is drawn for, numbers from 0 to 2**32 - 1, such as an epoch.
    """

    def __init__(self, number: int, seed: int, *key: int) -> None:
        self._number = number
        self._keys = _round_keys(seed, *key)

    def __len__(self) -> int:
        return self._number

    def at(self, places: Places) -> NDArray[np.int64]:
        """The numbers at some places, 0.05 to 0.4 us each."""
        return _shuffled(places, np.array([self._number]), self._keys[:, None])


class BlockOrder(Order):
    """Shards in a drawn order, and the samples of `blocks` shards at a time in another.

    What disks and object stores read well: at most two groups of shards are in use at a time.

        shards  those that have samples, numbered as they stand, go by ComputedOrder(their number,
                seed, *key, 0)
        groups  group g is places g * blocks to (g + 1) * blocks - 1 of that
        samples of a group, shard after shard, go by ComputedOrder(their number, seed, *key, 1, g)

    Memory is 24 bytes a shard.

    Args:
        ends: of each shard the number after its last sample's, ascending, shape (num_shards,); what
            has no samples is left out.
        seed: 0 or more.
        key: what it is drawn for, as in ComputedOrder.
        blocks: shards a group.
    """

    def __init__(
        self,
        ends: NDArray[np.integer[Any]] | Sequence[int],
        seed: int,
        *key: int,
        blocks: int = BLOCK_SHARDS,
    ) -> None:
        edges = np.unique(np.append(0, np.asarray(ends, np.int64)))
        self._drawn_for = (seed, *key)
        shards = ComputedOrder(len(edges) - 1, seed, *key, 0).take(0, len(edges) - 1)
        self._shard_starts = edges[shards]
        self._shard_ends = np.cumsum(np.diff(edges)[shards])  # in the order of shards
        self._group_ends = np.append(self._shard_ends[blocks - 1 :: blocks], self._shard_ends[-1:])

    def __len__(self) -> int:
        return int(self._group_ends[-1]) if len(self._group_ends) else 0

    def at(self, places: Places) -> NDArray[np.int64]:
        """The numbers at some places, half a microsecond each at the most."""
        if not len(places):
            return places
        groups, group_of = np.unique(
            np.searchsorted(self._group_ends, places, "right"), return_inverse=True
        )
        starts = np.where(groups > 0, self._group_ends[groups - 1], 0)
        sizes = self._group_ends[groups] - starts
        keys = np.array([_round_keys(*self._drawn_for, 1, group) for group in groups.tolist()]).T
        which = group_of if len(groups) > 1 else None
        drawn = starts[group_of] + _shuffled(places - starts[group_of], sizes, keys, which)
        shard = np.searchsorted(self._shard_ends, drawn, "right")
        before = np.where(shard > 0, self._shard_ends[shard - 1], 0)
        return self._shard_starts[shard] + (drawn - before)


_BOOLS: tuple[type[object], ...] = (bool, int, np.bool_)


def judged_shuffle(given: object) -> bool | str:
    """What a user gave as `shuffle`: True, False or None, "blocks" or "blocks:N"; of two ways one.

    Raises:
        SettingsError: it is none of these.
    """
    if given is None or (isinstance(given, _BOOLS) and given in (0, 1)):
        return bool(given)
    if not isinstance(given, str) or not re.fullmatch("blocks(:[1-9][0-9]{0,17})?", given):
        raise SettingsError(
            f"shuffle is {shortened(repr(given))}; write True, False, 'blocks' or 'blocks:N', N "
            f"being how many shards are mixed at a time, {BLOCK_SHARDS} by default"
        )
    return "blocks" if given == f"blocks:{BLOCK_SHARDS}" else given


def block_shards(shuffle: bool | str) -> int:
    """How many shards a `shuffle` mixes at a time; 0 where it does not go by shards."""
    if not isinstance(shuffle, str) or not shuffle.startswith("blocks"):
        return 0
    return int(shuffle.removeprefix("blocks").removeprefix(":") or BLOCK_SHARDS)


def permutation(number: int, seed: int, *key: int) -> NDArray[np.int64]:
    """An order that a seed draws.

    Args:
        number: how many are ordered; ten million take a second and 240 MB.
        seed: 0 or more.
        key: what it is drawn for, numbers of 0 or more: an epoch, or a chunk's file and start.

    Returns:
        Each of 0 to number - 1 once, shape (number,).
    """
    keys = PCG64(SeedSequence(seed, spawn_key=key))
    return np.argsort(keys.random_raw(number), kind="stable").astype(np.int64, copy=False)


def _round_keys(seed: int, *key: int) -> NDArray[np.uint64]:
    sequence = SeedSequence(seed, spawn_key=key)
    return sequence.generate_state(_ROUNDS, np.uint64).astype(np.uint64, copy=False)


def _shuffled(
    places: Places,
    numbers: NDArray[np.int64],
    keys: NDArray[np.uint64],
    which: Places | None = None,
) -> NDArray[np.int64]:
    """What stands at some places of some computed orders; see ComputedOrder.

    Args:
        places: shape (num_places,).
        numbers: how many each order has, shape (num_orders,).
        keys: of their rounds, shape (12, num_orders).
        which: the order of each place, shape (num_places,); None where there is one order only.
    """
    bits = np.array([max((n - 1).bit_length(), _LEAST_BITS) for n in numbers.tolist()], np.uint64)
    below = numbers.astype(np.uint64)
    if which is not None:
        below, bits, keys = below[which], bits[which], keys[:, which]
    found = walked = places.astype(np.uint64)
    assert (found < below).all(), "there are no such places"
    walking = np.arange(len(places))
    while len(walking):
        walked = _enciphered(walked, bits, keys)
        found[walking] = walked
        (still,) = np.nonzero(walked >= below)
        walking, walked = walking[still], walked[still]
        if which is not None:
            below, bits, keys = below[still], bits[still], keys[:, still]
    return found.astype(np.int64)


def _enciphered(
    values: NDArray[np.uint64], bits: NDArray[np.uint64], keys: NDArray[np.uint64]
) -> NDArray[np.uint64]:
    """Values of so many bits through the rounds of the network."""
    a, b = bits >> _ONE, bits - (bits >> _ONE)
    left, right = values >> b, values & ((_ONE << b) - _ONE)
    halves = [
        (half, other, _SIXTY_FOUR - width, (_ONE << width) - _ONE)
        for half, other, width in ((left, right, a), (right, left, b))
    ]
    for number, key in enumerate(keys):
        half, other, above, mask = halves[number % 2]
        half += _mixed(other + key) >> above
        half &= mask
    return left << b | right


def _mixed(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values ^= values >> _SHIFT_1
    values *= _FACTOR_1
    values ^= values >> _SHIFT_2
    values *= _FACTOR_2
    return values
