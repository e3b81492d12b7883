"""Shares of sources: exact at any number of draws, never two off, by hand and by hypothesis."""

from fractions import Fraction

from hypothesis import example, given
from hypothesis import strategies as st

from codedata.format.shares import Shares

weights = st.lists(
    st.one_of(st.integers(1, 10**6), st.fractions(Fraction(1, 10**6), 1000)), min_size=1, max_size=9
)


def shares_of(*weights: str) -> Shares:
    return Shares([Fraction(weight) for weight in weights])


def test_halves_take_turns_and_a_third_comes_every_third_time() -> None:
    assert [shares_of("1", "1").counts(i) for i in range(4)] == [[0, 0], [1, 0], [1, 1], [2, 1]]
    two_to_one = shares_of("0.2", "0.1")
    assert [two_to_one.counts(i)[1] for i in range(10)] == [0, 0, 1, 1, 1, 2, 2, 2, 3, 3]


def test_ten_tenths_are_as_exact_after_a_trillion_draws_as_after_ten() -> None:
    tenths = Shares([Fraction("0.1")] * 10)
    assert tenths.counts(10) == [1] * 10
    assert tenths.counts(10**13) == [10**12] * 10


@given(weights, st.integers(0, 10**12))
@example([10**6, *[1] * 8], 4096)
@example([1, 1, 2, 4, 8, 16, 32, 64, 128], 77)
def test_no_count_is_two_off_and_none_shrinks(given_weights: list[Fraction], draws: int) -> None:
    shares = Shares([Fraction(weight) for weight in given_weights])
    counts, more = shares.counts(draws), shares.counts(draws + 1)
    assert sum(counts) == draws
    for weight, count in zip(shares.weights, counts, strict=True):
        assert abs(count - weight * draws) < 2
    assert sorted(b - a for a, b in zip(counts, more, strict=True))[-2:] in ([0, 1], [1])
    assert min(b - a for a, b in zip(counts, more, strict=True)) >= 0


@given(weights, st.data())
def test_the_most_draws_are_those_that_one_more_would_exceed(
    given_weights: list[Fraction], data: st.DataObject
) -> None:
    shares = Shares([Fraction(weight) for weight in given_weights])
    has = data.draw(
        st.lists(st.integers(0, 10**7), min_size=len(given_weights), max_size=len(given_weights))
    )

    def fits(draws: int) -> bool:
        return all(count <= has for count, has in zip(shares.counts(draws), has, strict=True))

    most = shares.most(has)
    assert fits(most)
    assert not fits(most + 1)
