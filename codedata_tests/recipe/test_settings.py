"""The switches: the reference's defaults, refusals before any work, ranges and held-out splits."""

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from codedata.errors import CodedataError, SettingsError
from codedata.format.ranges import CharRange
from codedata.recipe.settings import Settings, require_held_out

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""On a busy machine any example may be slow."""

DEFAULTS = {
    "tokenizer_base": "deepseek-ai/deepseek-coder-33b-base",
    "min_sample_length": 1000,
    "seq_length": 1536,
    "max_dump_size": 10000,
    "pad_token": 32014,
    "starting_character": 0,
    "chars_to_tokenize": 100000000,
    "chunk_size": 10000000,
}
"""As the reference script has them."""

NUMBERS = [name for name in DEFAULTS if name != "tokenizer_base"]
FROM_ZERO = ["min_sample_length", "pad_token", "starting_character"]
FROM_ONE = ["seq_length", "max_dump_size", "chars_to_tokenize", "chunk_size"]
LARGEST = {
    "min_sample_length": 2**62,
    "seq_length": 2**24,
    "max_dump_size": 2**62,
    "pad_token": 2**31 - 1,
    "starting_character": 2**62,
    "chars_to_tokenize": 2**62,
    "chunk_size": 2**62,
}


def made(**switches: Any) -> Settings:
    return Settings(**switches)


def refusal(**switches: Any) -> str:
    with pytest.raises(SettingsError) as error:
        made(**switches)
    return str(error.value)


def test_the_defaults_are_those_of_the_reference() -> None:
    assert Settings().as_dict() == DEFAULTS
    assert list(Settings().as_dict()) == list(DEFAULTS), "in this order"
    assert sorted(NUMBERS) == sorted(FROM_ZERO + FROM_ONE)


def test_the_default_window_is_the_first_hundred_million_characters() -> None:
    assert Settings().window == CharRange(0, 100_000_000)


def test_the_validation_split_of_the_reference_follows_the_default_window() -> None:
    validation = Settings(
        starting_character=100_000_000, chars_to_tokenize=2_000_000, seq_length=512
    )
    assert validation.window == CharRange(100_000_000, 102_000_000)
    assert validation.min_sample_length > validation.seq_length, "legal, and usual"
    require_held_out("validation", [validation.window], {"train": [Settings().window]})


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(FrozenInstanceError):
        Settings().seq_length = 5  # type: ignore[misc]  # pyright: ignore[reportAttributeAccessIssue]


@pytest.mark.parametrize("name", FROM_ZERO)
def test_zero_is_taken_where_it_means_something(name: str) -> None:
    assert made(**{name: 0}).as_dict()[name] == 0


@pytest.mark.parametrize("name", FROM_ONE)
def test_one_is_taken_and_zero_refused_where_nothing_would_be_left(name: str) -> None:
    assert made(**{name: 1}).as_dict()[name] == 1
    assert refusal(**{name: 0}) == f"{name} must be 1 to {LARGEST[name]}, not 0"


@pytest.mark.parametrize("value", [-1, -1000, -(2**63)])
@pytest.mark.parametrize("name", NUMBERS)
def test_a_negative_switch_is_refused_with_its_name_and_value(name: str, value: int) -> None:
    least = 0 if name in FROM_ZERO else 1
    assert refusal(**{name: value}) == f"{name} must be {least} to {LARGEST[name]}, not {value}"


@pytest.mark.parametrize("name", NUMBERS)
def test_the_largest_value_is_taken_and_one_more_refused(name: str) -> None:
    largest = LARGEST[name]
    assert made(**{name: largest}).as_dict()[name] == largest
    for value in (largest + 1, 2**63, 10**30):
        message = refusal(**{name: value})
        assert message.startswith(f"{name} must be ")
        assert message.endswith(f" to {largest}, not {value}")


@pytest.mark.parametrize(
    "value",
    [True, False, 1000.0, 1.5, float("nan"), float("inf"), "1000", b"1000", None, [1000], (), {}],
    ids=repr,
)
@pytest.mark.parametrize("name", NUMBERS)
def test_what_is_no_whole_number_is_refused_with_its_name_and_value(name: str, value: Any) -> None:
    if name == "pad_token" and isinstance(value, str):
        return  # names a token
    assert refusal(**{name: value}) == f"{name} must be a whole number, not {value!r}"


@pytest.mark.parametrize("value", ["", " ", "\t\n"], ids=repr)
def test_a_blank_tokenizer_is_refused(value: str) -> None:
    assert refusal(tokenizer_base=value) == "tokenizer_base must name a tokenizer, and is empty"


@pytest.mark.parametrize("value", [None, 0, True, 1.5, b"gpt2", ["gpt2"]], ids=repr)
def test_a_tokenizer_that_is_no_text_is_refused_with_its_name_and_value(value: Any) -> None:
    message = refusal(tokenizer_base=value)
    assert message.startswith("tokenizer_base must")
    assert repr(value) in message


def test_one_message_names_every_wrong_switch() -> None:
    message = refusal(
        tokenizer_base="", seq_length=0, chunk_size=-7, pad_token=[], max_dump_size=True
    )
    assert message.split("; ") == [
        "seq_length must be 1 to 16777216, not 0",
        "max_dump_size must be a whole number, not True",
        "pad_token must be a whole number, not []",
        "chunk_size must be 1 to 4611686018427387904, not -7",
        "tokenizer_base must name a tokenizer, and is empty",
    ]


def test_a_refusal_is_a_value_error_that_survives_pickling() -> None:
    with pytest.raises(SettingsError) as error:
        Settings(seq_length=0)
    again = pickle.loads(pickle.dumps(error.value))
    assert type(again) is SettingsError
    assert isinstance(again, CodedataError)
    assert isinstance(again, ValueError)
    assert str(again) == str(error.value)


def test_a_number_too_long_to_print_is_refused_by_its_switch() -> None:
    with pytest.raises(SettingsError, match=r"chunk_size must be .* not a far larger number"):
        Settings(chunk_size=10**5000)


# Ranges of characters


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


@UNHURRIED
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


# Splits held out from others

TRAIN = CharRange(100, 200)


@pytest.mark.parametrize("window", [(0, 100), (200, 300), (0, 1), (500, 501), (150, 150)], ids=str)
def test_a_split_beside_the_other_is_held_out(window: tuple[int, int]) -> None:
    require_held_out("validation", [CharRange(*window)], {"train": [TRAIN]})


@pytest.mark.parametrize(
    ("window", "shared"),
    [
        ((0, 101), (100, 101)),
        ((199, 300), (199, 200)),
        ((100, 200), (100, 200)),
        ((120, 130), (120, 130)),
        ((0, 1000), (100, 200)),
    ],
)
def test_a_split_that_shares_characters_is_refused_with_where(
    window: tuple[int, int], shared: tuple[int, int]
) -> None:
    with pytest.raises(SettingsError) as error:
        require_held_out("validation", [CharRange(*window)], {"train": [TRAIN]})
    assert str(error.value) == (
        f"split 'validation' is held out from 'train', but characters {shared[0]} to {shared[1]} "
        f"are in both: 'validation' takes {window[0]} to {window[1]}, 'train' 100 to 200; "
        "move starting_character of 'validation' to 200 or later"
    )


def test_every_other_split_is_looked_at() -> None:
    others = {"train": [TRAIN], "test": [CharRange(300, 400)]}
    require_held_out("validation", [CharRange(200, 300)], others)
    with pytest.raises(SettingsError, match="held out from 'test', but characters 300 to 301 "):
        require_held_out("validation", [CharRange(200, 301)], others)
    require_held_out("validation", [CharRange(0, 1000)], {})


@UNHURRIED
@given(st.integers(0, 12), st.integers(1, 6), st.integers(0, 12), st.integers(1, 6))
def test_a_split_is_refused_exactly_where_a_character_is_in_both(
    start: int, length: int, other_start: int, other_length: int
) -> None:
    window = CharRange(start, start + length)
    other = CharRange(other_start, other_start + other_length)
    shared = sorted(set(range(*window[:2])) & set(range(*other[:2])))
    if not shared:
        require_held_out("a", [window], {"b": [other]})
        return
    with pytest.raises(SettingsError, match=f"characters {shared[0]} to {shared[-1] + 1} are in b"):
        require_held_out("a", [window], {"b": [other]})


def test_the_same_characters_of_different_files_are_not_shared() -> None:
    first, second = CharRange(0, 100), CharRange(0, 100, file=1)
    require_held_out("validation", [second], {"train": [first]})
    with pytest.raises(SettingsError, match="characters 50 to 100 of file 1 are in both"):
        require_held_out("validation", [CharRange(50, 150, file=1)], {"train": [first, second]})
