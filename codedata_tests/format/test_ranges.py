"""Ranges of characters: cut from their start, never past their end, named by what they hold."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedata.format.ranges import CharRange


@pytest.mark.parametrize(
    ("chars", "chunk_size", "pieces"),
    [
        ((0, 10), 5, [(0, 5), (5, 10)]),
        ((0, 11), 5, [(0, 5), (5, 10), (10, 11)]),
        ((3, 14), 5, [(3, 8), (8, 13), (13, 14)]),
        ((3, 8), 5, [(3, 8)]),
        ((3, 7), 5, [(3, 7)]),
        ((3, 7), 2**62, [(3, 7)]),
        ((3, 6), 1, [(3, 4), (4, 5), (5, 6)]),
        ((3, 3), 5, []),
    ],
)
def test_a_range_is_cut_every_chunk_size_characters_from_its_start(
    chars: tuple[int, int], chunk_size: int, pieces: list[tuple[int, int]]
) -> None:
    assert CharRange(*chars).cut(chunk_size) == [CharRange(*piece) for piece in pieces]
    assert all(type(piece) is CharRange for piece in CharRange(*chars).cut(chunk_size))


@given(start=st.integers(0, 2**62), length=st.integers(0, 500), chunk_size=st.integers(1, 600))
def test_the_pieces_of_a_range_are_the_range(start: int, length: int, chunk_size: int) -> None:
    pieces = CharRange(start, start + length).cut(chunk_size)
    assert [at for piece in pieces for at in range(*piece[:2])] == list(
        range(start, start + length)
    )
    assert all(piece.num_chars == chunk_size for piece in pieces[:-1])
    assert all(0 < piece.num_chars <= chunk_size for piece in pieces)


@pytest.mark.parametrize(
    ("num_chars", "expected"), [(0, (3, 3)), (1, (3, 4)), (7, (3, 10)), (8, (3, 10)), (99, (3, 10))]
)
def test_the_first_characters_of_a_range_never_exceed_it(
    num_chars: int, expected: tuple[int, int]
) -> None:
    assert CharRange(3, 10).first(num_chars) == CharRange(*expected)
    assert CharRange(3, 10).first(num_chars).num_chars == min(num_chars, 7)


@pytest.mark.parametrize(
    ("chars", "key"),
    [
        ((0, 10_000_000), "0000000000-0010000000"),
        ((99_999_999, 100_000_000), "0099999999-0100000000"),
        ((9_999_999_999, 10_000_000_000), "9999999999-10000000000"),
    ],
)
def test_a_range_names_its_chunk(chars: tuple[int, int], key: str) -> None:
    assert CharRange(*chars).key == key
