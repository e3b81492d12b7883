"""The order of an epoch: a permutation that seed and epoch decide, for all time."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from codedata.format.order import epoch_order, permutation


def test_the_order_is_the_one_that_earlier_releases_gave() -> None:
    # A run that resumes after an upgrade must find the order that it began with.
    assert epoch_order(10, seed=0, epoch=0).tolist() == [6, 3, 8, 1, 4, 5, 9, 2, 7, 0]
    assert epoch_order(10, seed=0, epoch=1).tolist() == [1, 3, 8, 6, 2, 0, 7, 5, 4, 9]
    assert epoch_order(5, seed=7, epoch=0).tolist() == [1, 2, 4, 0, 3]


def test_the_order_of_a_chunks_documents_is_the_one_of_all_time() -> None:
    assert permutation(8, 0, 0, 0).tolist() == [7, 2, 0, 4, 3, 5, 6, 1]
    assert permutation(8, 0, 3, 2**40).tolist() == [3, 5, 1, 7, 0, 2, 4, 6]
    assert permutation(0, 0, 0, 0).tolist() == []
    drawn_for = [
        (seed, file, start) for seed in range(3) for file in range(9) for start in range(9)
    ]
    assert len({tuple(permutation(20, *each).tolist()) for each in drawn_for}) == len(drawn_for)


@given(st.integers(0, 300), st.integers(0, 2**64), st.integers(0, 2**31))
def test_every_order_has_each_sample_once(num_samples: int, seed: int, epoch: int) -> None:
    order = epoch_order(num_samples, seed=seed, epoch=epoch)
    assert order.dtype == np.int64
    assert sorted(order.tolist()) == list(range(num_samples))


def test_no_two_seeds_or_epochs_have_the_same_order() -> None:
    orders = {
        tuple(epoch_order(20, seed=seed, epoch=epoch).tolist())
        for seed in range(20)
        for epoch in range(20)
    }
    assert len(orders) == 400


def test_each_sample_is_as_often_first_as_any_other() -> None:
    firsts = [int(epoch_order(8, seed=3, epoch=epoch)[0]) for epoch in range(4000)]
    counts = np.bincount(firsts, minlength=8)
    assert abs(counts - 500).max() < 100, "five standard deviations are 105"
