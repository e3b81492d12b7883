"""Words of ASCII are cut into tokens as the library's models do, whatever vocabulary they have."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codedata.format.texts import Texts
from codedata.tokenize.bare_ids import bare_ids
from codedata.tokenize.engines.base import as_utf8, reference_ids
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.engines.words import WordsEngine, build_trie
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata_tests.tokenize.structures import loaded_from
from codedata_tests.tokenize.twins import PRECOMPILED, metaspace, replaced, steps

PRE_TOKENIZERS: dict[str, dict[str, Any]] = {
    "metaspace": metaspace("always"),
    "metaspace, first": metaspace("first"),
    "metaspace, never": metaspace("never"),
    "t5": steps({"type": "WhitespaceSplit"}, metaspace("always")),
    "bert": {"type": "BertPreTokenizer"},
}
MERGED_SPACES = {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}
NORMALIZERS: list[list[dict[str, Any]]] = [
    [],
    [{"type": "NFKC"}, MERGED_SPACES],
    [{"type": "Nmt"}, {"type": "Strip", "strip_left": True, "strip_right": True}, MERGED_SPACES],
    [{"type": "Lowercase"}],
    [PRECOMPILED],
]
TOKENS = st.sets(st.text("abB(\n▁", min_size=1, max_size=4), min_size=1, max_size=12).map(sorted)
SCORES = st.sampled_from([0.0, -0.1, -0.2, -0.3, -1.0, -1.1, -1.2, -2.3, -3.3, -12.6])
PLAIN = [*"aabbB(  \n\t", "(\n", "\r\n", "aaabbb"]
LEFT = ["é", "\x01", "<unk>", "a" * 300]
"""What pieces hold that are left to the library."""
TEXTS = st.sampled_from([PLAIN, [*PLAIN, *LEFT]]).flatmap(
    lambda pieces: st.lists(st.sampled_from(pieces), max_size=40).map("".join)
)
FRESH = settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def structure_of(
    model: dict[str, Any], pre_tokenizer: str, normalizer: list[dict[str, Any]]
) -> dict[str, Any]:
    flags = dict.fromkeys(("single_word", "lstrip", "rstrip", "normalized"), False)
    unknown = {"id": 0, "content": "<unk>", "special": True, **flags}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [unknown],
        "normalizer": {"type": "Sequence", "normalizers": normalizer} if normalizer else None,
        "pre_tokenizer": PRE_TOKENIZERS[pre_tokenizer],
        "post_processor": None,
        "decoder": None,
        "model": model,
    }


def unigram(scored: list[tuple[str, float]], *, byte_fallback: bool = False) -> dict[str, Any]:
    vocab = [("<unk>", 0.0), *scored]
    return {"type": "Unigram", "unk_id": 0, "vocab": vocab, "byte_fallback": byte_fallback}


def wordpiece(tokens: list[str], max_chars: int = 6) -> dict[str, Any]:
    vocab = {token: place for place, token in enumerate(["<unk>", *tokens])}
    flags = {"unk_token": "<unk>", "continuing_subword_prefix": "##"}
    return {"type": "WordPiece", "vocab": vocab, "max_input_chars_per_word": max_chars, **flags}


def require_exact(structure: dict[str, Any], text: str, folder: Path) -> LoadedTokenizer:
    """As one text, and as the middle one of three and in parts, each alone."""
    loaded = loaded_from(structure, folder)
    engine = choose_engine(loaded, "words")
    assert engine.encode(as_utf8(text)).ids.tolist() == reference_ids(loaded, text), text
    parts = [text[: len(text) // 3], text, text[len(text) // 3 :]]
    found = bare_ids(engine, Texts.of([as_utf8(part) for part in parts]))
    assert [found[at].tolist() for at in range(3)] == [
        loaded.tokenizer.encode(part, add_special_tokens=False).ids for part in parts
    ], text
    return loaded


@FRESH
@given(
    tokens=TOKENS,
    scores=st.lists(SCORES, min_size=12, max_size=12),
    byte_fallback=st.booleans(),
    pre_tokenizer=st.sampled_from(sorted(PRE_TOKENIZERS)),
    normalizer=st.sampled_from(NORMALIZERS),
    text=TEXTS,
)
@example(
    tokens=["a", "b"],
    scores=[-0.1] * 12,
    byte_fallback=False,
    pre_tokenizer="metaspace",
    normalizer=[],
    text="a((b (( a",
)
@example(
    tokens=["a", "b"],
    scores=[-0.1] * 12,
    byte_fallback=False,
    pre_tokenizer="metaspace",
    normalizer=NORMALIZERS[2],
    text="a b ",
)
@example(
    tokens=["a", "▁"],
    scores=[-0.1] * 12,
    byte_fallback=False,
    pre_tokenizer="metaspace",
    normalizer=[PRECOMPILED],
    text="a a\r\n\r\na b",
)
def test_the_best_path_is_the_library_s_with_equal_scores_and_unknown_characters(
    tokens: list[str],
    scores: list[float],
    byte_fallback: bool,
    pre_tokenizer: str,
    normalizer: list[dict[str, Any]],
    text: str,
    tmp_path: Path,
) -> None:
    model = unigram(list(zip(tokens, scores, strict=False)), byte_fallback=byte_fallback)
    require_exact(structure_of(model, pre_tokenizer, normalizer), text, tmp_path)


@FRESH
@given(
    tokens=TOKENS,
    inner=TOKENS,
    pre_tokenizer=st.sampled_from(sorted(PRE_TOKENIZERS)),
    normalizer=st.sampled_from(NORMALIZERS),
    text=TEXTS,
)
def test_the_longest_matches_are_the_library_s_with_words_too_long_or_unknown(
    tokens: list[str],
    inner: list[str],
    pre_tokenizer: str,
    normalizer: list[dict[str, Any]],
    text: str,
    tmp_path: Path,
) -> None:
    model = wordpiece([*tokens, *(f"##{token}" for token in inner)])
    require_exact(structure_of(model, pre_tokenizer, normalizer), text, tmp_path)


def test_scores_are_those_that_the_library_reads_which_differ_by_the_last_bit(
    tmp_path: Path,
) -> None:
    scores = [-1 - place / 7919 for place in range(500)]
    model = unigram([(f"w{place}", score) for place, score in enumerate(scores)])
    loaded = loaded_from(structure_of(model, "metaspace", []), tmp_path)
    read = build_trie(json.loads(loaded.tokenizer.to_str())["model"]).scores[1:].tolist()
    less = next(place for place, score in enumerate(scores) if read[place] < score)
    words = [("ab", read[less]), ("a", scores[less]), ("b", 0.0), ("▁", 0.0)]
    loaded = require_exact(structure_of(unigram(words), "metaspace", []), "ab ab", tmp_path)
    assert reference_ids(loaded, "ab") == [4, 1], "as good as a and b, which are not better"


def test_of_equal_tokens_the_last_one_counts(tmp_path: Path) -> None:
    model = unigram([("a", -1.0), ("aa", -9.0), ("▁", -1.0), ("aa", -1.5), ("a", -0.9)])
    loaded = require_exact(structure_of(model, "metaspace", []), "a aa aaa", tmp_path)
    assert reference_ids(loaded, "aa a") == [3, 4, 3, 5]


@pytest.mark.parametrize(
    ("pre_tokenizer", "first", "text"),
    [("bert", "a", "aaaaaa aaaaaaa"), ("metaspace", "▁", "aaaaa aaaaaa")],
)
def test_a_word_of_six_characters_is_taken_apart_and_one_of_seven_is_unknown(
    pre_tokenizer: str, first: str, text: str, tmp_path: Path
) -> None:
    """A Metaspace mark is a character."""
    structure = structure_of(wordpiece([first, "##a"]), pre_tokenizer, [])
    loaded = require_exact(structure, text, tmp_path)
    assert reference_ids(loaded, text) == [1, 2, 2, 2, 2, 2, 0]


@pytest.mark.parametrize(
    ("model", "parts", "why"),
    [
        ({"type": "BPE", "vocab": {"a": 0}, "merges": []}, {}, "neither Unigram nor WordPiece"),
        (unigram([("a", -1.0)]) | {"unk_id": None}, {}, "no token for what is unknown"),
        (unigram([("", -1.0)]), {}, "a token of no characters"),
        (unigram([("a", -1.0)]), {"normalizer": replaced("x", "y")}, "normalizer Replace may"),
        (unigram([("a", -1.0)]), {"pre_tokenizer": {"type": "Whitespace"}}, "is not BERT's or"),
    ],
)
def test_what_is_not_certain_is_said(
    model: dict[str, Any], parts: dict[str, Any], why: str
) -> None:
    structure = structure_of(model, "metaspace", []) | parts
    found = WordsEngine.why_not(structure, None)  # pyright: ignore[reportArgumentType]
    assert why in (found or "")
