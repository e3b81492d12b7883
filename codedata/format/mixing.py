"""Shares of sources, and the order of each -> the order of a mixture, a block of places at a time.

    block b     places b * BLOCK and following: of each source as many as its share has by the
                block's end less those by its beginning, in the order `ComputedOrder(., seed, b)`
    draw k      of a source, counted over all blocks: sample k % n of the order of its epoch k // n

Nothing is stored but the last blocks that were asked for, and the window of each source's order
that they were taken from.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, overload

import numpy as np
from numpy.typing import NDArray

from codedata.format.order import ComputedOrder, Order
from codedata.format.shares import Shares

BLOCK = 4096
"""Places within which sources are shuffled: some batches of a large run."""

_WINDOW_BLOCKS, _LEAST_WINDOW = 16, 4096
"""What is worked out at once of a source's order, in blocks, and at least in samples: a call costs
up to 1 ms, whatever is asked for. Of all together that is 1 MB, and at most 64 kB more for each."""

_KEPT_BLOCKS = 32
"""1 MB: whoever goes through a mixture in its order needs one or two."""


@dataclass(frozen=True, kw_only=True)
class MixedSource:
    """What a mixture draws from a source.

    Attributes:
        rows: where each of its samples lies among those of all sources.
        order: of an epoch.
        start: how many of its draws were done before.
    """

    rows: range | NDArray[np.int64]
    order: Callable[[int], Order]
    start: int


class MixedRows:
    """The rows that a mixture draws, by their place: a sequence, whose slices are such too.

    Args:
        sources: what is mixed.
        shares: of each.
        num_samples: places there are.
        seed: of what is shuffled.
        shuffle: False puts sources into each block at equal distances.
    """

    def __init__(
        self,
        sources: Sequence[MixedSource],
        shares: Shares,
        *,
        num_samples: int,
        seed: int,
        shuffle: bool,
    ) -> None:
        self._sources, self._shares = tuple(sources), shares
        self._num_samples, self._seed, self._shuffle = num_samples, seed, shuffle
        self.places = range(num_samples)
        self._keep_blocks()

    def _keep_blocks(self) -> None:
        self._block = lru_cache(_KEPT_BLOCKS)(self._make_block)
        # A block may have the end of a window of a source, and the beginning of its next.
        self._window = lru_cache(2 * len(self._sources))(self._make_window)

    def __getstate__(self) -> dict[str, Any]:
        kept = ("_block", "_window")
        return {name: value for name, value in self.__dict__.items() if name not in kept}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__ = state
        self._keep_blocks()

    def __len__(self) -> int:
        return len(self.places)

    def __iter__(self) -> Iterator[int]:
        return (self[index] for index in range(len(self)))

    @overload
    def __getitem__(self, index: int) -> int: ...
    @overload
    def __getitem__(self, index: slice) -> "MixedRows": ...
    @overload
    def __getitem__(self, index: NDArray[np.int64]) -> NDArray[np.int64]: ...
    def __getitem__(
        self, index: int | slice | NDArray[np.int64]
    ) -> "int | MixedRows | NDArray[np.int64]":
        if isinstance(index, np.ndarray):
            return np.array([self[number] for number in index.tolist()], np.int64)
        if isinstance(index, slice):
            other = object.__new__(MixedRows)
            other.__dict__ = {**self.__dict__, "places": self.places[index]}
            return other
        block, place = divmod(self.places[index], BLOCK)
        return int(self._block(block)[1][place])

    def run(self, start: int, number: int) -> list[int] | None:
        """The rows of consecutive places: what a batch is of, where nobody shuffles again.

        Returns:
            None where they are not of one block, or there are none such.
        """
        places = self.places
        block, first = divmod(places.start + start, BLOCK)
        if places.step != 1 or start < 0 or start + number > len(places) or first + number > BLOCK:
            return None
        return self._block(block)[1][first : first + number].tolist()

    @property
    def is_whole(self) -> bool:
        """Whether every place is there."""
        return self.places == range(self._num_samples)

    def drawn(self, number: int) -> list[int]:
        """How many draws of each source are done with the first places, `start` included.

        Args:
            number: of places, 0 to `len`, of rows whose step is more than 0.
        """
        place = min(self.places.start + number * self.places.step, self._num_samples)
        block, rest = divmod(place, BLOCK)
        counts = self._shares.counts(block * BLOCK)
        if rest:
            of_block = np.bincount(self._block(block)[0][:rest], minlength=len(counts))
            counts = [count + int(more) for count, more in zip(counts, of_block, strict=True)]
        return [each.start + count for each, count in zip(self._sources, counts, strict=True)]

    def _make_block(self, block: int) -> tuple[NDArray[np.unsignedinteger[Any]], NDArray[np.int64]]:
        """The source of each place of a block, and its row."""
        first = block * BLOCK
        size = min(BLOCK, self._num_samples - first)
        before, after = self._shares.counts(first), self._shares.counts(first + size)
        numbers = [there - here for here, there in zip(before, after, strict=True)]
        narrow = np.min_scalar_type(len(numbers))  # sorted by counting, not by comparing
        kinds = np.repeat(np.arange(len(numbers), dtype=narrow), numbers)
        if self._shuffle:
            kinds = kinds[ComputedOrder(size, self._seed, block).take(0, size)]
        else:
            distances = [(np.arange(n, dtype=np.float64) + 0.5) / n for n in numbers if n]
            kinds = kinds[np.argsort(np.concatenate(distances), kind="stable")]
        rows = np.empty(size, np.int64)
        rows[np.argsort(kinds, kind="stable")] = np.concatenate(
            [self._drawn(number, *of) for number, of in enumerate(zip(before, after, strict=True))]
        )
        return kinds, rows

    def _drawn(self, number: int, first: int, stop: int) -> NDArray[np.int64]:
        """The rows of some draws in a row of a source, by their numbers after its `start`."""
        source, size = self._sources[number], len(self._sources[number].rows)
        width = max(_LEAST_WINDOW, int(_WINDOW_BLOCKS * BLOCK * self._shares.weights[number]))
        draw, stop = source.start + first, source.start + stop
        parts = [np.empty(0, np.int64)]
        while draw < stop:
            epoch, sample = divmod(draw, size)
            window, place = divmod(sample, width)
            part = self._window(number, epoch, window * width, min((window + 1) * width, size))
            parts.append(part[place : place + stop - draw])
            draw += len(parts[-1])
        samples = np.concatenate(parts)
        if isinstance(source.rows, range):
            return samples * source.rows.step + source.rows.start
        return source.rows[samples]

    def _make_window(self, number: int, epoch: int, start: int, stop: int) -> NDArray[np.int64]:
        return self._sources[number].order(epoch).take(start, stop)
