"""Orders: permutations that a seed and what they are drawn for decide, for all time."""

import tracemalloc
from collections.abc import Callable
from itertools import pairwise, permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from codedata.format.order import (
    BlockOrder,
    ComputedOrder,
    InOrder,
    Order,
    StoredOrder,
    permutation,
)


def whole(order: Order) -> list[int]:
    return order.take(0, len(order)).tolist()


def drawn(number: int, times: int, seed: int = 0) -> NDArray[np.int64]:
    """So many computed orders of one size, shape (times, number): of groups of one shard each."""
    order = BlockOrder(np.arange(1, times + 1) * number, seed, blocks=1)
    return order.take(0, times * number).reshape(times, number) % number


def chi_square(counts: NDArray[np.int64], expected: NDArray[np.float64] | float) -> float:
    """In standard deviations from its mean, for as many degrees of freedom as cells."""
    found = float(((counts - expected) ** 2 / expected).sum())
    return (found - counts.size) / (2 * counts.size) ** 0.5


# For all time: a run that goes on after an upgrade must find the order that it began with.


def test_computed_orders_are_the_ones_of_all_time() -> None:
    assert whole(ComputedOrder(10, 0, 0)) == [4, 3, 6, 5, 8, 2, 0, 7, 9, 1]
    assert whole(ComputedOrder(10, 0, 1)) == [6, 0, 7, 4, 5, 1, 3, 9, 8, 2]
    assert whole(ComputedOrder(5, 7, 0)) == [2, 3, 0, 4, 1]
    big = [13, 9, 3, 12, 2, 1, 11, 10, 14, 15, 7, 0, 4, 5, 8, 6]
    assert whole(ComputedOrder(16, 2**100, 3, 4)) == big
    billion = [507306998, 711770699, 683225930, 113284620, 732789262, 221934946]
    assert ComputedOrder(10**9, 0, 0).take(0, 6).tolist() == billion
    last = np.array([0, 10**9 - 1])
    assert ComputedOrder(10**9, 1, 2**32 - 1).at(last).tolist() == [642754679, 552564524]
    largest = [161421751063966000, 1042025603330313332, 1632075458689526831]
    assert ComputedOrder(2**62, 0, 0).take(0, 3).tolist() == largest


def test_orders_by_blocks_are_the_ones_of_all_time() -> None:
    ends = [3, 3, 5, 9, 12]
    assert whole(BlockOrder(ends, 0, 0, blocks=2)) == [6, 1, 8, 5, 0, 7, 2, 3, 11, 4, 10, 9]
    assert whole(BlockOrder(ends, 0, 1, blocks=2)) == [9, 0, 2, 11, 1, 10, 6, 4, 7, 8, 3, 5]
    order = BlockOrder(np.arange(1, 100_001) * 3300, 0, 0)
    assert order.take(0, 4).tolist() == [275996219, 49149988, 283039975, 154574633]
    end = order.take(len(order) - 3, len(order))
    assert end.tolist() == [123873572, 15449856, 14597833]


def test_stored_orders_are_the_ones_that_earlier_releases_gave() -> None:
    assert whole(StoredOrder(10, 0, 0)) == [6, 3, 8, 1, 4, 5, 9, 2, 7, 0]
    assert whole(StoredOrder(10, 0, 1)) == [1, 3, 8, 6, 2, 0, 7, 5, 4, 9]
    assert whole(StoredOrder(5, 7, 0)) == [1, 2, 4, 0, 3]


def test_the_order_of_a_chunks_documents_is_the_one_of_all_time() -> None:
    assert permutation(8, 0, 0, 0).tolist() == [7, 2, 0, 4, 3, 5, 6, 1]
    assert permutation(8, 0, 3, 2**40).tolist() == [3, 5, 1, 7, 0, 2, 4, 6]
    assert permutation(0, 0, 0, 0).tolist() == []
    drawn_for = [
        (seed, file, start) for seed in range(3) for file in range(9) for start in range(9)
    ]
    assert len({tuple(permutation(20, *each).tolist()) for each in drawn_for}) == len(drawn_for)


def remade(place: int, number: int, seed: int, *key: int) -> int:
    """A computed order in whole numbers of Python, as docs/format.md states it."""
    state = np.random.SeedSequence(seed, spawn_key=key).generate_state(12, np.uint64)
    bits = max(4, (number - 1).bit_length())
    a, b = bits // 2, bits - bits // 2

    def top(width: int, z: int) -> int:
        z %= 2**64
        z = (z ^ (z >> 30)) * 0xBF58476D1CE4E5B9 % 2**64
        z = (z ^ (z >> 27)) * 0x94D049BB133111EB % 2**64
        return z >> (64 - width)

    while True:
        left, right = divmod(place, 2**b)
        for i, round_key in enumerate(map(int, state)):
            if i % 2 == 0:
                left = (left + top(a, right + round_key)) % 2**a
            else:
                right = (right + top(b, left + round_key)) % 2**b
        place = left * 2**b + right
        if place < number:
            return place


@given(number=st.integers(1, 2**62), seed=st.integers(0, 2**128 - 1), data=st.data())
@settings(max_examples=30)
def test_a_computed_order_can_be_remade_from_what_is_written_of_it(
    number: int, seed: int, data: st.DataObject
) -> None:
    place = data.draw(st.integers(0, number - 1))
    key = data.draw(st.lists(st.integers(0, 2**32 - 1), max_size=3))
    order = ComputedOrder(number, seed, *key)
    assert order.at(np.array([place])).tolist() == [remade(place, number, seed, *key)]


# Permutations


def test_computed_orders_have_each_number_once() -> None:
    for number in (0, 1, 2, 15, 16, 17, 4097, 65535, 65536, 100_003):
        numbers = ComputedOrder(number, number % 7, 3).take(0, number)
        assert numbers.dtype == np.int64
        assert np.array_equal(np.sort(numbers), np.arange(number)), number
    # The groups of this have one shard each, and sizes of 1 to 700.
    order = BlockOrder(np.cumsum(np.arange(701)), 0, blocks=1)
    numbers = order.take(0, len(order))
    shards = np.searchsorted(np.cumsum(np.arange(701)), numbers, "right")
    starts = np.flatnonzero(np.diff(shards, prepend=-1))
    assert len(starts) == 700, "shard after shard"
    for group in np.split(numbers, starts[1:]):
        assert np.array_equal(np.sort(group), np.arange(group.min(), group.min() + len(group)))


@given(
    sizes=st.lists(st.integers(0, 30), max_size=40),
    blocks=st.integers(1, 50),
    seed=st.integers(0, 2**64),
)
@settings(max_examples=40)
def test_orders_by_blocks_have_each_number_once_and_some_whole_shards_at_a_time(
    sizes: list[int], blocks: int, seed: int
) -> None:
    ends = np.cumsum(np.array(sizes, np.int64))
    order = BlockOrder(ends, seed, 5, blocks=blocks)
    numbers = order.take(0, len(order))
    assert sorted(numbers.tolist()) == list(range(sum(sizes)))
    shards = np.searchsorted(ends, numbers, "right").tolist()
    group_of = {shard: i // blocks for i, shard in enumerate(dict.fromkeys(shards))}
    groups = [group_of[shard] for shard in shards]
    assert groups == sorted(groups)


MADE_BY: list[Callable[[], Order]] = [
    lambda: InOrder(700),
    lambda: StoredOrder(700, 3, 1),
    lambda: ComputedOrder(700, 3, 1),
    lambda: BlockOrder(np.arange(1, 101) * 7, 3, 1, blocks=9),
]


@pytest.mark.parametrize("make", MADE_BY)
@given(
    cuts=st.lists(st.integers(0, 700), max_size=6), places=st.lists(st.integers(0, 699), max_size=9)
)
@settings(max_examples=15)
def test_any_part_of_an_order_is_what_the_whole_has_there(
    make: Callable[[], Order], cuts: list[int], places: list[int]
) -> None:
    order = make()
    numbers = whole(order)
    assert sorted(numbers) == list(range(700))
    parts = [order.take(*ends).tolist() for ends in pairwise([0, *sorted(cuts), 700])]
    assert [number for part in parts for number in part] == numbers
    assert order.at(np.array(places, np.int64)).tolist() == [numbers[place] for place in places]


@pytest.mark.parametrize("make", MADE_BY[2:])
@pytest.mark.parametrize("place", [-1, 700])
def test_a_place_that_an_order_has_not_is_no_number(make: Callable[[], Order], place: int) -> None:
    with pytest.raises((AssertionError, IndexError)):
        make().at(np.array([3, place]))


def test_no_two_seeds_or_epochs_have_the_same_order() -> None:
    for make in (ComputedOrder, StoredOrder):
        orders = {tuple(whole(make(20, seed, epoch))) for seed in range(8) for epoch in range(8)}
        assert len(orders) == 64
    ends = np.arange(1, 9) * 3
    by_blocks = {tuple(whole(BlockOrder(ends, 0, epoch, blocks=3))) for epoch in range(50)}
    assert len(by_blocks) == 50


def test_an_order_of_a_billion_holds_next_to_nothing() -> None:
    for make, most in [
        (lambda: ComputedOrder(10**9, 0, 0), 1e6),
        (lambda: InOrder(10**9), 1e6),
        (lambda: BlockOrder(np.arange(1, 100_001) * 10_000, 0, 0), 3e7),
    ]:
        tracemalloc.start()
        order = make()
        for start in (0, 10**9 // 2, 10**9 - 4096):
            numbers = order.take(start, start + 4096)
            assert len(np.unique(numbers)) == 4096
            assert numbers.min() >= 0
            assert numbers.max() < 10**9
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < most


# Uniform


@pytest.mark.parametrize("number", range(2, 9))
def test_of_a_few_each_order_is_as_likely_as_any_other(number: int) -> None:
    orders = drawn(number, 4000)
    for place in range(number):
        counts = np.bincount(orders[:, place], minlength=number)
        assert chi_square(counts, 4000 / number) < 5
    if number <= 5:
        every = {each: i for i, each in enumerate(permutations(range(number)))}
        found = np.bincount([every[tuple(row)] for row in orders.tolist()], minlength=len(every))
        assert chi_square(found, 4000 / len(every)) < 5
    pairs = orders[:, 0] * number + orders[:, 1]  # of two places the values are never the same
    counts = np.bincount(pairs, minlength=number * number)
    counts = counts[np.arange(number * number) % (number + 1) != 0]
    assert chi_square(counts, 4000 / (number * (number - 1))) < 5


@pytest.mark.parametrize("number", [1000, 1024, 1025])
def test_the_orders_of_a_thousand_are_those_that_chance_gives(number: int) -> None:
    times = 200
    orders = drawn(number, times, seed=1)
    firsts = np.bincount(orders[:, :5].ravel() // 103, minlength=10)[:9]
    assert chi_square(firsts, 5 * times * 103 / number) < 5
    same_place = (orders == np.arange(number)).sum()
    assert abs(same_place - times) < 5 * times**0.5, "fixed points are Poisson's, of mean 1"
    # Values d apart follow each other as often as there are such pairs: number - |d|.
    steps = np.bincount((np.diff(orders, axis=1) + number - 1).ravel(), minlength=2 * number - 1)
    apart = number - np.abs(np.arange(2 * number - 1) - (number - 1))
    apart[number - 1] = 0
    binned = [np.add.reduceat(each, np.arange(0, 2 * number - 1, 25)) for each in (steps, apart)]
    assert abs(chi_square(binned[0], binned[1] * times / number)) < 5


def test_an_order_of_a_thousand_has_as_many_inversions_as_chance_gives() -> None:
    number, times = 1000, 40
    later = np.triu_indices(number)
    found = [(each[:, None] > each)[later].sum() for each in drawn(number, times, seed=1)]
    deviation = (number * (number - 1) * (2 * number + 5) / 72) ** 0.5
    z = (np.array(found) - number * (number - 1) / 4) / deviation
    assert abs(z.mean()) * times**0.5 < 4
    assert 0.6 < z.std() < 1.5


@pytest.mark.parametrize("start", [0, 10**9 - 100_000])
def test_neighbours_in_an_order_of_a_billion_have_nothing_to_do_with_each_other(start: int) -> None:
    numbers = ComputedOrder(10**9, 0, 0).take(start, start + 100_000)
    bins = numbers * 32 // 10**9
    pairs = np.bincount(bins[:-1] * 32 + bins[1:], minlength=1024)
    assert abs(chi_square(pairs, 99_999 / 1024)) < 5
    low = numbers % 32
    pairs = np.bincount(low[:-1] * 32 + low[1:], minlength=1024)
    assert abs(chi_square(pairs, 99_999 / 1024)) < 5
    epochs = [ComputedOrder(10**9, 0, epoch).take(0, 20_000) * 16 // 10**9 for epoch in (0, 1)]
    assert abs(chi_square(np.bincount(epochs[0] * 16 + epochs[1], minlength=256), 20_000 / 256)) < 5
