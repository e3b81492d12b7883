"""The switches: the reference's defaults, refusals before any work, and held-out splits."""

import pickle
from dataclasses import FrozenInstanceError
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedata.errors import SettingsError
from codedata.format.ranges import CharRange
from codedata.recipe.settings import SWITCHES, Settings, require_held_out

LIMITS = {  # default, smallest, largest
    "min_sample_length": (1000, 0, 2**62),
    "seq_length": (1536, 1, 2**24),
    "max_dump_size": (10_000, 1, 2**62),
    "pad_token": (32014, 0, 2**31 - 1),
    "starting_character": (0, 0, 2**62),
    "chars_to_tokenize": (100_000_000, 1, 2**62),
    "chunk_size": (10_000_000, 1, 2**62),
}
"""As the reference script has them, and what makes sense of them."""

OR_ALL = {"chars_to_tokenize": ", or all"}

TOKENIZER = "deepseek-ai/deepseek-coder-33b-base"


def made(**switches: Any) -> Settings:
    return Settings(**switches)


def refusal(**switches: Any) -> str:
    with pytest.raises(SettingsError) as error:
        made(**switches)
    return str(error.value)


def test_the_defaults_are_those_of_the_reference() -> None:
    defaults = {name: default for name, (default, _, _) in LIMITS.items()}
    assert list(Settings().as_dict().items()) == [("tokenizer_base", TOKENIZER), *defaults.items()]
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


@pytest.mark.parametrize("name", LIMITS)
def test_a_switch_takes_what_lies_within_its_limits_and_names_what_does_not(name: str) -> None:
    _, least, most = LIMITS[name]
    for value in (least, most):
        assert getattr(made(**{name: value}), name) == value
    for value in (least - 1, -1, -(2**63), most + 1, 2**63, 10**30):
        if value != 0 or least:
            said = f"{name} must be {least} to {most}{OR_ALL.get(name, '')}, not {value}"
            assert refusal(**{name: value}) == said
    assert refusal(**{name: 10**5000}).endswith("not a far larger number")


@pytest.mark.parametrize(
    "value", [True, 1000.0, float("nan"), "1000", b"1000", None, [1000], ()], ids=repr
)
@pytest.mark.parametrize("name", LIMITS)
def test_what_is_no_whole_number_is_refused_with_its_name_and_value(name: str, value: Any) -> None:
    if name == "pad_token" and isinstance(value, str):
        assert Settings(pad_token=value).pad_token == value, "it names a token"
    else:
        said = f"{name} must be a whole number{OR_ALL.get(name, '')}, not {value!r}"
        assert refusal(**{name: value}) == said


@pytest.mark.parametrize(
    ("value", "said"),
    [
        *((blank, "name a tokenizer, and is empty") for blank in ("", " ", "\t\n")),
        *((wrong, f"be text, not {wrong!r}") for wrong in (None, 0, True, 1.5, b"gpt2", ["gpt2"])),
    ],
    ids=repr,
)
def test_a_tokenizer_that_is_none_is_refused(value: Any, said: str) -> None:
    assert refusal(tokenizer_base=value) == f"tokenizer_base must {said}"


def test_one_message_names_every_wrong_switch() -> None:
    message = refusal(
        tokenizer_base="", seq_length=0, chunk_size=-7, pad_token="", max_dump_size=True
    )
    assert message.split("; ") == [
        "tokenizer_base must name a tokenizer, and is empty",
        "seq_length must be 1 to 16777216, not 0",
        "max_dump_size must be a whole number, not True",
        "pad_token must be an id or name a token, and is empty",
        "chunk_size must be 1 to 4611686018427387904, not -7",
    ]
    with pytest.raises(SettingsError) as error:
        Settings(seq_length=0)
    again = pickle.loads(pickle.dumps(error.value))
    assert (type(again), str(again)) == (SettingsError, str(error.value))


def test_a_switch_makes_its_value_of_a_text() -> None:
    assert SWITCHES["seq_length"].parse("512") == 512
    assert SWITCHES["tokenizer_base"].parse("512") == "512"
    assert [SWITCHES["pad_token"].parse(text) for text in ("7", "<pad>")] == [7, "<pad>"]
    with pytest.raises(ValueError, match="invalid literal"):
        SWITCHES["seq_length"].parse("many")


def test_all_characters_are_the_largest_number_and_are_shown_as_all() -> None:
    settings = made(chars_to_tokenize="all", starting_character=5)
    assert settings.window.is_open
    assert settings.window.start == 5
    assert settings.as_dict()["chars_to_tokenize"] == "all"
    assert made(**settings.as_dict()) == settings
    assert [SWITCHES["chars_to_tokenize"].parse(text) for text in ("all", "7")] == ["all", 7]
    assert refusal(chunk_size="all") == "chunk_size must be a whole number, not 'all'"


def test_a_pad_token_by_name_has_no_id_yet() -> None:
    with pytest.raises(SettingsError, match="the name '<pad>', of which no tokenizer has said"):
        _ = Settings(pad_token="<pad>").pad_id


# Splits held out from others

TRAIN = CharRange(100, 200)


def test_a_split_held_out_from_all_characters_of_the_same_file_is_refused_in_one_line() -> None:
    every = made(chars_to_tokenize="all").window
    require_held_out("validation", [every._replace(file=1)], {"train": [every]})
    with pytest.raises(SettingsError) as refused:
        require_held_out("validation", [CharRange(7, 9)], {"train": [every]})
    assert str(refused.value) == (
        "split 'validation' is held out from 'train', but characters 7 to 9 are in both: "
        "'validation' takes 7 to 9, 'train' 0 to the end; end 'train' earlier by a number as its "
        "chars_to_tokenize, or give the two different files"
    )


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
