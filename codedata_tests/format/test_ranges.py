"""Ranges of characters: cut from their start, never past their end, named by what they hold."""

from hypothesis import given
from hypothesis import strategies as st

from codedata.format.ranges import CharRange


def test_a_range_is_cut_every_chunk_size_characters_from_its_start() -> None:
    for chars, chunk_size, pieces in (
        ((3, 14), 5, [(3, 8), (8, 13), (13, 14)]),
        ((3, 8), 5, [(3, 8)]),
        ((3, 7), 2**62, [(3, 7)]),
        ((3, 3), 5, []),
    ):
        cut = CharRange(*chars).cut(chunk_size)
        assert cut == [CharRange(*piece) for piece in pieces]
        assert all(type(piece) is CharRange for piece in cut)


@given(start=st.integers(0, 2**62), length=st.integers(0, 500), chunk_size=st.integers(1, 600))
def test_the_pieces_of_a_range_are_the_range(start: int, length: int, chunk_size: int) -> None:
    pieces = CharRange(start, start + length).cut(chunk_size)
    assert [at for piece in pieces for at in range(*piece[:2])] == list(
        range(start, start + length)
    )
    assert all(piece.num_chars == chunk_size for piece in pieces[:-1])
    assert all(0 < piece.num_chars <= chunk_size for piece in pieces)


def test_the_first_characters_of_a_range_never_exceed_it() -> None:
    for num_chars, stop in ((0, 3), (1, 4), (7, 10), (8, 10), (99, 10)):
        assert CharRange(3, 10).first(num_chars) == CharRange(3, stop)


def test_a_range_names_its_chunk() -> None:
    assert CharRange(0, 10_000_000).key == "0000000000-0010000000"
    assert CharRange(9_999_999_999, 10_000_000_000).key == "9999999999-10000000000"
