"""The order that is to come -> the shards of streams here before their samples are asked for.

Threads of the loader's process walk the batches of this machine's ranks from the position on, and
fetch the shards that they need, several side by side, as long as those and the ones in use fit into
half of the cache: the other half is for what else is there, so that nothing goes before it was
used. The ranks have one plan, since they share the cache: of each shard one of them sees to it, and
the others to the next. Loops of a process that are under way at once have equal parts of that half.

Invariants: the threads end with the iteration, however it ends, what they began is removed, and
they keep no process from ending; they begin after the loader's workers, which they do not know;
nothing that fails here is raised here: whoever needs the sample asks for its shard again, and says
why it does not come. What lies in folders is not touched, nor what the next epoch needs: nobody
knows whether there is one.
"""

import os
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import CancelledError
from contextlib import contextmanager
from functools import cache
from itertools import islice
from math import inf
from typing import Any, cast
from weakref import WeakSet

import numpy as np
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Subset

from codedata.errors import CodedataError
from codedata.format.order import BLOCK_SHARDS, block_shards
from codedata.printable import printable
from codedata.progress import logger, megabytes
from codedata.store.cache import CACHE_VARIABLE, cache_place, max_cache_bytes
from codedata.store.given_up import Ending, Waits
from codedata.training.epoch_orders import Shuffle
from codedata.training.identity import parts_of
from codedata.training.reader import SampleReader
from codedata.training.shortcuts import shortcut

_AT_ONCE, _LEAST_AT_ONCE = 8, 2
"""Shards that are under way for a machine, and for a rank at the least: a connection of an
object store gives some 50 MB/s."""

_FIRST_WALK, _LONGEST_WALK = 32, 4096
"""Batches that are looked through at once: few at first, so that the first shard is soon asked for,
and then so many that each costs next to nothing."""

_MOST_AHEAD = 1 << 14
"""Batches that are looked through before they are delivered, where all shards fit: with those of
eight ranks, of 64 samples each, some seconds of work."""

_CLOSING_SECONDS = 0.5
"""For threads to remove what they began: what they wait for is given up at once, but a disk may be
slow."""

Shard = tuple[SampleReader, int]


class Ahead:
    """Shards that are fetched ahead of what is delivered.

    Args:
        dataset: of which batches are drawn.
        batches: their indices, in the order in which they will be delivered.
        most_bytes: of shards that are in use or fetched ahead, by all that is open; one is fetched
            in any case.
        at_once: shards that are under way.
        workers: those of the loop, which end with it.
    """

    def __init__(
        self,
        dataset: Any,
        batches: Iterator[list[int]],
        most_bytes: int,
        at_once: int,
        workers: Ending | None,
    ) -> None:
        self._workers = workers
        self._dataset, self._batches = dataset, batches
        self._most_bytes, self._at_once = most_bytes, at_once
        self._needed = self._walk()
        self._next: tuple[Shard, int, int] | None = None
        self._window: dict[Shard, int] = {}
        self._num_bytes = self._num_delivered = self._num_walked = 0
        self._wake_at, self._is_closed, self._pid = inf, False, os.getpid()
        self._turn, self._waits = threading.Condition(), Waits()
        self._threads: list[threading.Thread] = []
        self._is_told = False

    def start(self) -> None:
        """Begin to fetch; with fewer threads where there may be no more."""
        _OPEN.add(self)
        for number in range(self._at_once):
            name = f"codedata-ahead-{number}"
            thread = threading.Thread(target=self._run, name=name, daemon=True)
            try:
                thread.start()
            except RuntimeError as error:
                logger.warning("%d of %d threads fetch ahead: %s", number, self._at_once, error)
                return
            self._threads.append(thread)

    def deliver(self) -> None:
        """Note that one more batch is delivered."""
        self._num_delivered += 1
        if self._num_delivered >= self._wake_at:
            with self._turn:
                self._turn.notify_all()

    def give_up(self) -> None:
        """End what is under way."""
        if os.getpid() != self._pid:  # a process that was forked has none of the threads
            return
        self._is_closed = True
        _OPEN.discard(self)
        self._waits.give_up()
        if self._workers is not None:
            self._workers.tell()
        with self._turn:
            self._turn.notify_all()

    def close(self) -> None:
        """End, and what is under way, of which nothing is left then."""
        self.give_up()
        if os.getpid() == self._pid:
            until = time.monotonic() + _CLOSING_SECONDS
            for thread in self._threads:
                if thread is not threading.current_thread():  # which collects what is left
                    thread.join(max(0.0, until - time.monotonic()))

    def _run(self) -> None:
        while not self._is_closed:
            try:
                if (shard := self._take()) is None:
                    return
                reader, number = shard
                with self._waits.here():
                    reader.fetch(number)
            except CancelledError:
                return
            except Exception as error:  # noqa: BLE001  (the loop asks again, and raises it)
                self._tell(error)
                with self._turn:
                    self._wait_until(self._num_delivered + 1)

    def _tell(self, error: Exception) -> None:
        """Say why something is not fetched ahead; once, and as a warning, where it is unknown."""
        if isinstance(error, CodedataError | OSError):
            logger.info("not fetched ahead: %s", error)
        elif not self._is_told:
            self._is_told = True
            what = f"{type(error).__name__}: {error}"
            logger.warning(printable(f"not fetched ahead, but when samples are needed: {what}"))

    def _take(self) -> Shard | None:
        """The next shard to be fetched, once it may be; None at the end."""
        with self._turn:
            while not self._is_closed:
                if self._next is None:
                    self._next = next(self._needed, None)
                    if self._next is None:
                        return None
                shard, first, last = self._next
                if first - self._num_delivered > _MOST_AHEAD:
                    self._wait_until(first - _MOST_AHEAD)
                    continue
                self._forget_used()
                reader, number = shard
                num_bytes = 0 if shard in self._window else reader.num_bytes(number)
                most_bytes = self._most_bytes // max(1, len(_OPEN))
                if self._window and self._num_bytes + num_bytes > most_bytes:
                    self._wait_until(min(self._window.values()) + 1)
                    continue
                self._next = None
                if last >= self._num_delivered:
                    self._window[shard] = last
                    self._num_bytes += num_bytes
                    return shard
        return None

    def _wait_until(self, num_delivered: int) -> None:
        """Wait until so many batches are delivered, or it is closed."""
        while not self._is_closed and self._num_delivered < num_delivered:
            self._wake_at = min(self._wake_at, num_delivered)
            if self._num_delivered < num_delivered:  # as of now: `deliver` takes no lock
                self._turn.wait()
            self._wake_at = inf

    def _forget_used(self) -> None:
        for shard in [each for each, last in self._window.items() if last < self._num_delivered]:
            del self._window[shard]
            self._num_bytes -= shard[0].num_bytes(shard[1])

    def _walk(self) -> Iterator[tuple[Shard, int, int]]:
        """Each shard that some batches need, and the numbers of the first and last of those."""
        length, start = _FIRST_WALK, 0
        while batches := [*islice(self._batches, length)]:
            numbers = np.repeat(np.arange(start, start + len(batches)), [*map(len, batches)])
            indices = np.fromiter((i for batch in batches for i in batch), np.int64, len(numbers))
            found: list[tuple[int, int, Shard]] = []
            for reader, shards, places in _shards(self._dataset, indices, np.arange(len(indices))):
                which, first = np.unique(shards, return_index=True)
                last = len(shards) - 1 - np.unique(shards[::-1], return_index=True)[1]
                firsts, lasts = numbers[places[first]].tolist(), numbers[places[last]].tolist()
                of_reader = ((reader, number) for number in which.tolist())
                found += zip(firsts, lasts, of_reader, strict=True)
            for first_batch, last_batch, shard in sorted(found, key=lambda each: each[:2]):
                yield shard, first_batch, last_batch
            start, length = start + len(batches), min(2 * length, _LONGEST_WALK)


_OPEN: WeakSet[Ahead] = WeakSet()


def _close_all() -> None:
    under_way = [*_OPEN]
    for ahead in under_way:
        ahead.give_up()
    for ahead in under_way:
        ahead.close()


# Before threads of libraries end, whose requests would fail and say so; `atexit` comes after.
cast("Any", threading)._register_atexit(_close_all)  # noqa: SLF001


def _shards(
    dataset: Any, indices: NDArray[np.int64], places: NDArray[np.intp]
) -> Iterator[tuple[SampleReader, NDArray[np.intp], NDArray[np.intp]]]:
    """The shards of samples, through torch's own wrappers, and at which place each sample stood."""
    if type(dataset) is Subset:
        dataset = cast("Any", dataset)
        yield from _shards(dataset.dataset, np.asarray(dataset.indices)[indices], places)
    elif type(dataset) is ConcatDataset:
        dataset = cast("Any", dataset)
        indices = indices % len(dataset)
        part = np.searchsorted(dataset.cumulative_sizes, indices, side="right")
        starts = [0, *dataset.cumulative_sizes]
        for number in np.unique(part).tolist():
            of_part = part == number
            inner = indices[of_part] - starts[number]
            yield from _shards(dataset.datasets[number], inner, places[of_part])
    elif shards_of := shortcut(dataset, "shards_of", "__len__"):
        yield *shards_of(indices), places


def _at_a_time(num_bytes: NDArray[np.int64], shuffle: Shuffle) -> int:
    """Bytes of the shards that batches are drawn from at a time."""
    at_once = min(len(num_bytes), block_shards(shuffle) or len(num_bytes))
    return int(num_bytes.sum()) * at_once // len(num_bytes)


@cache
def _warn_of_small_cache(
    where: str, shuffle: Shuffle, num_bytes: int, most_bytes: int, num_loops: int, fitting: int
) -> None:
    """Say, once a process, that shards will go before they were used up.

    Args:
        where: they are.
        shuffle: as it was asked for.
        num_bytes: of those that batches are drawn from at a time.
        most_bytes: of the cache.
        num_loops: that share it.
        fitting: shards that it has room for, and for as many more that are fetched ahead.
    """
    blocks = "blocks" if fitting >= BLOCK_SHARDS else f"blocks:{fitting}"
    other = f"give shuffle='{blocks}', or " if fitting and blocks != shuffle else ""
    shared = f", {num_loops} loops together" if num_loops > 1 else ""
    logger.warning(
        printable(
            f"{where}: with shuffle={shuffle!r} batches are of {megabytes(num_bytes)} of shards at "
            f"a time, more than the {megabytes(most_bytes)} that the cache may have{shared}, so "
            f"that they are fetched over and over; {other}raise {CACHE_VARIABLE}"
        )
    )


def ending_of(dataset: Any, num_workers: int) -> Ending | None:
    """What ends workers that are started for one loop; None where they wait for nothing."""
    return Ending(num_workers) if num_workers and _streamed(dataset) else None


def _streamed(dataset: Any) -> list[Any]:
    return [part for part in parts_of(dataset) if shortcut(part, "is_streamed", "__len__")]


@contextmanager
def fetched_ahead(
    dataset: Any,
    upcoming: Callable[[range], Iterator[list[int]]],
    ranks: range,
    shuffle: Shuffle,
    workers: Ending | None = None,
) -> Generator[Ahead | None]:
    """Fetch shards ahead as long as the block lasts; None where nothing is streamed.

    Args:
        dataset: of which batches are drawn.
        upcoming: gives the batches that will be of some ranks together, which other threads go
            through.
        ranks: that share this machine's cache.
        shuffle: how they are drawn.
        workers: what ends those of the loop, once the block does.
    """
    streamed = _streamed(dataset)
    if not streamed:
        yield None
        return
    most_bytes, num_loops = max_cache_bytes(cache_place("shards")), len(_OPEN) + 1
    streams = {each.where: each.stream for part in streamed for each in part.datasets}
    for where, stream in streams.items():
        if stream is not None and (sizes := stream.num_bytes) is not None and shuffle:
            num_bytes = _at_a_time(sizes, shuffle)
            room = most_bytes // num_loops
            if num_bytes > room:
                fitting = room // 2 * len(sizes) // int(sizes.sum())
                _warn_of_small_cache(where, shuffle, num_bytes, most_bytes, num_loops, fitting)
    at_once = max(_LEAST_AT_ONCE, _AT_ONCE // len(ranks))
    ahead = Ahead(dataset, upcoming(ranks), most_bytes // 2, at_once, workers)
    try:
        ahead.start()
        yield ahead
    finally:
        ahead.close()
