"""The order of a mixture: its blocks, its sources' draws, by hand and as a whole."""

import pickle
from fractions import Fraction
from functools import partial
from itertools import pairwise

import numpy as np
import pytest
from numpy.typing import NDArray

from codedata.format.mixing import BLOCK, MixedRows, MixedSource
from codedata.format.order import ComputedOrder, InOrder
from codedata.format.shares import Shares

WEIGHTS = (Fraction(7, 10), Fraction(2, 10), Fraction(1, 10))
SIZES = (9_000, 700, 1_500)
NUM_SAMPLES = 3 * BLOCK + 100
FIRSTS = (0, 9_000, 9_700)


def in_order(number: int, _epoch: int) -> InOrder:
    return InOrder(number)


def mixed(num_samples: int = NUM_SAMPLES, *, start: int = 0, shuffle: bool = True) -> MixedRows:
    sources = [
        MixedSource(
            rows=range(first, first + size),
            order=partial(ComputedOrder, size, 5, first) if shuffle else partial(in_order, size),
            start=start,
        )
        for first, size in zip(FIRSTS, SIZES, strict=True)
    ]
    shares = Shares(WEIGHTS)
    return MixedRows(sources, shares, num_samples=num_samples, seed=5, shuffle=shuffle)


def source_of(rows: list[int]) -> NDArray[np.intp]:
    return np.searchsorted(FIRSTS, rows, side="right") - 1


def draws_of(number: int, size: int, first: int) -> list[int]:
    """The rows of the first draws of a source, epoch by epoch, as the definition has it."""
    order = [*ComputedOrder(size, 5, first, 0).take(0, size)]
    for epoch in range(1, number // size + 1):
        order += [*ComputedOrder(size, 5, first, epoch).take(0, size)]
    return [int(sample) + first for sample in order[:number]]


def test_the_draws_of_a_source_are_its_epochs_one_after_the_other() -> None:
    rows = list(mixed())
    of = source_of(rows)
    for number, (size, first) in enumerate(zip(SIZES, FIRSTS, strict=True)):
        drawn = [row for row, source in zip(rows, of, strict=True) if source == number]
        assert drawn == draws_of(len(drawn), size, first)
    assert np.bincount(of).tolist() == mixed().drawn(NUM_SAMPLES) == [8672, 2477, 1239]


def test_a_block_has_what_the_weights_say_in_a_shuffled_order() -> None:
    rows = list(mixed())
    for block, (start, stop) in enumerate(pairwise([*range(0, NUM_SAMPLES, BLOCK), NUM_SAMPLES])):
        of = source_of(rows[start:stop])
        expected = np.subtract(Shares(WEIGHTS).counts(stop), Shares(WEIGHTS).counts(start))
        sorted_kinds = np.repeat([0, 1, 2], expected)
        order = ComputedOrder(stop - start, 5, block)
        assert of.tolist() == sorted_kinds[order.take(0, stop - start)].tolist()
    assert np.bincount(source_of(rows[:BLOCK])).tolist() == [2867, 819, 410]


def test_any_part_is_the_same_in_any_process_and_order_of_asking() -> None:
    rows, other = list(mixed()), mixed()
    for index in (NUM_SAMPLES - 1, BLOCK, BLOCK - 1, 0, -1, -NUM_SAMPLES):
        assert other[index] == rows[index]
    assert list(pickle.loads(pickle.dumps(other))[100:5000:7]) == rows[100:5000:7]
    with pytest.raises(IndexError):
        other[NUM_SAMPLES]


def test_a_batch_of_one_block_is_had_at_once_and_of_two_or_none_it_is_not() -> None:
    rows = list(mixed())
    part = mixed()[7:]
    for start, number in ((0, 8), (BLOCK - 15, 8), (BLOCK - 7, 8), (NUM_SAMPLES - 15, 8)):
        assert part.run(start, number) == rows[start + 7 : start + 7 + number]
    for start, number in ((BLOCK - 14, 8), (NUM_SAMPLES - 14, 8), (-8, 8)):
        assert part.run(start, number) is None
    assert mixed()[::2].run(0, 8) is None


def test_a_longer_mixture_begins_as_a_shorter_one_up_to_its_last_block() -> None:
    assert list(mixed(NUM_SAMPLES + 5000)[: 3 * BLOCK]) == list(mixed()[: 3 * BLOCK])


def test_what_is_drawn_is_known_at_any_place() -> None:
    rows = mixed(start=3)
    of = source_of(list(rows))
    for number in (0, 1, 4095, 4096, 4097, NUM_SAMPLES):
        expected = np.bincount(of[:number], minlength=3) + 3
        assert rows.drawn(number) == expected.tolist()
        assert rows[number:].drawn(0) == expected.tolist()


def test_a_next_stage_goes_on_in_each_source() -> None:
    whole, first = [*mixed(1000)], mixed(400)
    sources = [
        MixedSource(rows=range(f, f + size), order=partial(ComputedOrder, size, 5, f), start=done)
        for f, size, done in zip(FIRSTS, SIZES, first.drawn(400), strict=True)
    ]
    equal = Shares([Fraction(1)] * 3)
    second = [*MixedRows(sources, equal, num_samples=600, seed=5, shuffle=True)]
    assert np.bincount(source_of(second)).tolist() == [200, 200, 200]
    assert not {*second} & {*first}
    for number, (size, f) in enumerate(zip(SIZES, FIRSTS, strict=True)):
        both = [row for row in [*first, *second] if source_of([row])[0] == number]
        assert both == draws_of(len(both), size, f)
    assert len({*whole}) == 1000


def test_without_shuffle_sources_stand_at_equal_distances_in_their_own_order() -> None:
    rows = list(mixed(shuffle=False))
    assert source_of(rows[:12]).tolist() == [0, 0, 1, 0, 2, 0, 0, 1, 0, 0, 0, 0]
    assert [row for row in rows if row < 9_000] == [*range(8672)]
    for stop in range(0, NUM_SAMPLES, 101):
        of = np.bincount(source_of(rows[:stop]), minlength=3)
        assert np.abs(of - np.multiply(stop, [0.7, 0.2, 0.1])).max() < 3


def test_a_source_of_a_small_share_goes_on_over_what_is_worked_out_at_once() -> None:
    rare = MixedSource(
        rows=range(200_000, 204_200), order=partial(ComputedOrder, 4_200, 5, 1), start=4_000
    )
    most = MixedSource(rows=range(200_000), order=partial(ComputedOrder, 200_000, 5, 0), start=0)
    shares = Shares([Fraction(999), Fraction(1)])
    rows = MixedRows([most, rare], shares, num_samples=100_000, seed=5, shuffle=True)
    drawn = [row - 200_000 for row in rows if row >= 200_000]
    assert drawn == ComputedOrder(4_200, 5, 1, 0).take(4_000, 4_100).tolist()
    common = [row for row in rows if row < 200_000]
    assert common == ComputedOrder(200_000, 5, 0, 0).take(0, 99_900).tolist()
