"""Engines and fidelity: the ids of the tokenizers library, whatever the structure and the text."""

import dataclasses
import itertools
import json
import random
import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers

from codedata.core.settings import CharRange
from codedata.errors import ExactnessError, SettingsError, TokenizerError
from codedata.io.parquet_text import Utf8
from codedata.tokenization import interned
from codedata.tokenization.engine import (
    ENGINE_CHOICES,
    BlocksEngine,
    Encoded,
    Engine,
    EngineChoice,
    WholeTextEngine,
    as_utf8,
    choose_engine,
    reference_ids,
)
from codedata.tokenization.fidelity import (
    COMPARED_BYTES,
    COMPARED_PIECES,
    PROBE,
    STORED_CHARS,
    check_fidelity,
    compare_ids,
    holds_ids_of,
)
from codedata.tokenization.loading import LoadedTokenizer, find_tokenizer, load_tokenizer
from codedata.tokenization.structure import (
    AFTER_NEWLINES,
    Pretokenizer,
    find_pretokenizer,
    framing_is_constant,
    why_not_interned,
)
from codedata_tests import scenario

SAMPLE = "\n".join(scenario.c_documents(3, seed=7))


def loaded_from(tokenizer: Tokenizer | dict[str, Any], folder: Path) -> LoadedTokenizer:
    text = tokenizer.to_str() if isinstance(tokenizer, Tokenizer) else json.dumps(tokenizer)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    return load_tokenizer(find_tokenizer(str(folder)))


def metaspace() -> Tokenizer:
    """SentencePiece's structure, as Llama 2 has it: one long pre-token, spaces replaced."""
    tokenizer = scenario.train_tokenizer(pre_tokenizers.ByteLevel(add_prefix_space=False))
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="never")
    tokenizer.decoder = decoders.Metaspace(prepend_scheme="never")
    return tokenizer


def qwen_like() -> Tokenizer:
    tokenizer = scenario.train_tokenizer(scenario.llama3_like(r"\p{N}"))
    tokenizer.normalizer = normalizers.NFC()
    return tokenizer


def llama3_like() -> dict[str, Any]:
    """Llama 3 takes a pre-token that is in the vocabulary whole, whatever the merges say."""
    structure = json.loads(scenario.train_tokenizer(scenario.llama3_like()).to_str())
    structure["model"]["ignore_merges"] = True
    vocab = structure["model"]["vocab"]
    vocab |= {word: len(vocab) + 10 + place for place, word in enumerate(UNMERGED)}
    return structure


UNMERGED = ("Ġ0x", "zqzq", "Ġaverylongidentifier")

STRUCTURES: dict[str, Any] = {
    "deepseek": lambda: scenario.train_tokenizer(scenario.deepseek_like()),
    "gpt2": lambda: scenario.train_tokenizer(scenario.gpt2_like()),
    "llama3": llama3_like,
    "qwen": qwen_like,
    "metaspace": metaspace,
}


@pytest.fixture(scope="module")
def tokenizers_by_name(tmp_path_factory: pytest.TempPathFactory) -> dict[str, LoadedTokenizer]:
    return {
        name: loaded_from(make(), tmp_path_factory.mktemp(name))
        for name, make in STRUCTURES.items()
    }


@pytest.fixture
def deepseek_like(tokenizers_by_name: dict[str, LoadedTokenizer]) -> LoadedTokenizer:
    return tokenizers_by_name["deepseek"]


@pytest.fixture
def gpt2_like(tokenizers_by_name: dict[str, LoadedTokenizer]) -> LoadedTokenizer:
    return tokenizers_by_name["gpt2"]


def test_structure_decides_the_engine_not_the_name(
    tokenizers_by_name: dict[str, LoadedTokenizer],
) -> None:
    chosen = {name: choose_engine(loaded) for name, loaded in tokenizers_by_name.items()}
    assert {name: engine.name for name, engine in chosen.items()} == {
        "deepseek": "pretokens",
        "gpt2": "pretokens",
        "llama3": "pretokens",
        "qwen": "pretokens",
        "metaspace": "whole",
    }
    assert "does not isolate newlines" in chosen["metaspace"].reason


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("forced", ENGINE_CHOICES[1:])
def test_a_forced_engine_is_taken_where_it_is_proven_and_refused_where_not(
    name: str, forced: EngineChoice, tokenizers_by_name: dict[str, LoadedTokenizer]
) -> None:
    loaded = tokenizers_by_name[name]
    if name == "metaspace" and forced != "whole":
        with pytest.raises(SettingsError, match=f"{forced}.*not proven.*'auto' or 'whole'"):
            choose_engine(loaded, forced)
        return
    engine = choose_engine(loaded, forced)
    assert engine.name == forced
    assert engine.encode(as_utf8(SAMPLE)).ids.tolist() == reference_ids(loaded, SAMPLE)


PIECES = [
    *("'s", "'S", "'ll", "'Re", "don't", "we'VE", "it's", "'", "''", "'l", "'r"),
    *(" ", "  ", "    ", "\t", "\t\t", "\n", "\r\n", "\n\n\n", " \n ", "\n  \n", "\r", "\v", "\f"),
    *("\x00", "\x1c", "\x1f", "\x7f", "0", "12", "123", "12345", " 9", "0x", " 0x", "zqzq"),
    *(
        "int",
        "x",
        " foo",
        "_a1",
        "->",
        "++",
        "= ",
        "==",
        "/*",
        "*/",
        "#define ",
        "();",
        "{\n",
        "}\n\n",
    ),
    *(
        "é",
        " é",
        "e\u0301",
        "=\u0338",
        "3\u0301",
        "s\u0301",
        "\u017f",
        "'\u017f",
        "K",
        "ß",
        "İ",
        "ǅ",
        "\uff41",
    ),
    *(
        "中文",
        "一龥",
        "ࠀ",
        "가",
        "한국어",
        "🙂",
        "\U0001d4b3",
        "٣",
        "१",
        "½",
        "²",
        "Ⅷ",
        "—",
        "“",
        "€",
        "\U0010ffff",
    ),
    *("\u00a0", "\u2003", "\u3000", "\u2028", "\x85", "\u200b", "\ufeff"),
    *(scenario.EOT, scenario.BOS, scenario.PAD, scenario.EOT[:4], scenario.EOT[1:], "ü", "õ"),
]
"""Where pre-tokens begin and end, and whatever may be taken for it."""


def generated_text(random_: random.Random) -> str:
    """A text of one of several kinds, some characters to some thousands long."""

    def pieces(most: int) -> str:
        return "".join(random_.choice(PIECES) for _ in range(random_.randrange(1, most)))

    kind = random_.randrange(7)
    if kind <= 1:
        return pieces(60)
    if kind == 2:
        return "".join(chr(random_.randrange(128)) for _ in range(random_.randrange(1, 200)))
    if kind == 3:
        planes = [random_.choice([(0, 0xD800), (0xE000, 0x110000)]) for _ in range(60)]
        return "".join(chr(random_.randrange(*plane)) for plane in planes)
    if kind == 4:
        return "".join(random_.choice("ab1 \t\n(.='é\u00a0中") for _ in range(100))
    if kind == 5:
        repeats = [random_.choice([1, 1, 2, 5, 130]) for _ in range(20)]
        return "".join(random_.choice(PIECES) * times for times in repeats)
    documents = scenario.c_documents(1, random_.randrange(1000))
    return pieces(3) + "\n".join(documents)[: random_.randrange(3000)] + pieces(3)


def require_exact(loaded: LoadedTokenizer, engines: Sequence[Engine], text: str) -> None:
    expected = reference_ids(loaded, text)
    for engine in engines:
        assert engine.encode(as_utf8(text), threads=2).ids.tolist() == expected, (engine.name, text)


def compare_generated_texts(
    loaded: LoadedTokenizer, num_texts: int, seed: int, patch: pytest.MonkeyPatch
) -> None:
    random_ = random.Random(seed)
    engines = [choose_engine(loaded, name) for name in ENGINE_CHOICES[1:3]]
    for _ in range(num_texts):
        package = "codedata.tokenization"
        patch.setattr(f"{package}.engine._BLOCK_BYTES", random_.choice([1, 7, 50, 8000]))
        patch.setattr(f"{package}.interned._BLOCK_BYTES", random_.choice([1, 3, 64, 1 << 18]))
        patch.setattr(f"{package}.interned._SMALL_BLOCK_BYTES", random_.choice([1, 5, 1000]))
        patch.setattr(f"{package}.interned._SPANS", random_.choice([1, 2, 4096]))
        require_exact(loaded, engines, generated_text(random_))


FAST = [name for name in STRUCTURES if name != "metaspace"]


@pytest.mark.campaign
@pytest.mark.parametrize("name", FAST)
def test_generated_texts_have_the_ids_of_the_library(
    name: str, tokenizers_by_name: dict[str, LoadedTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare_generated_texts(tokenizers_by_name[name], 1_000, 1, monkeypatch)


@pytest.mark.long
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", FAST)
def test_ten_thousand_generated_texts_have_the_ids_of_the_library(
    name: str, tokenizers_by_name: dict[str, LoadedTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    compare_generated_texts(tokenizers_by_name[name], 10_000, 2, monkeypatch)


@pytest.mark.parametrize("name", FAST)
def test_every_pair_of_ascii_characters_in_every_neighbourhood_of_classes(
    name: str, tokenizers_by_name: dict[str, LoadedTokenizer]
) -> None:
    """Pairs of all characters, and each four of one character a class, one text a line."""
    engines = [choose_engine(tokenizers_by_name[name], each) for each in ENGINE_CHOICES[1:3]]
    ascii_ = [chr(code) for code in range(128)]
    pairs = ["".join(pair) for pair in itertools.product(ascii_, repeat=2)]
    fours = ["".join(four) for four in itertools.product("a1 \t\n\r(='s\x01é", repeat=4)]
    for texts in (pairs, fours):
        for start in range(0, len(texts), 512):
            require_exact(
                tokenizers_by_name[name], engines, "xy\n".join(texts[start : start + 512])
            )


@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=st.lists(st.one_of(st.text(max_size=20), st.sampled_from(PIECES))).map("".join))
def test_any_text_has_the_ids_of_the_library(
    text: str, tokenizers_by_name: dict[str, LoadedTokenizer]
) -> None:
    for loaded in tokenizers_by_name.values():
        require_exact(loaded, [choose_engine(loaded)], text)


def test_a_cut_after_a_newline_does_change_the_ids_of_a_gpt2_like_tokenizer(
    gpt2_like: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The control: were texts cut without the proof, the ids would be others."""
    text = "int i;\n\n\n\n    int j;\n\n\n" * 20
    monkeypatch.setattr("codedata.tokenization.engine._BLOCK_BYTES", 1)
    found = find_pretokenizer(gpt2_like.structure)
    assert isinstance(found, Pretokenizer)
    right = BlocksEngine(gpt2_like, found, "a test")
    wrong = BlocksEngine(gpt2_like, dataclasses.replace(found, cut=AFTER_NEWLINES), "a test")
    assert right.encode(as_utf8(text)).ids.tolist() == reference_ids(gpt2_like, text)
    assert wrong.encode(as_utf8(text)).ids.tolist() != reference_ids(gpt2_like, text)


def test_what_a_table_forgets_is_merged_again(
    deepseek_like: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = choose_engine(deepseek_like, "pretokens")
    table = interned.new_table(num_slots=16, arena_ids=0)
    monkeypatch.setattr(interned, "new_table", lambda: table)
    for _ in range(2):
        require_exact(deepseek_like, [engine], SAMPLE)
        assert 0 < table.used[0] <= 8
        assert table.used[1] <= len(table.arena)


def test_pretokens_whose_keys_are_equal_are_told_apart(deepseek_like: LoadedTokenizer) -> None:
    """Zero bytes fill up a short key, so its length has to count too."""
    for text in ("a\0 a \0a\0\0 a", "\0" * 7 + "a" + "\0" * 8 + "a" + "\0" * 9):
        require_exact(deepseek_like, [choose_engine(deepseek_like, "pretokens")], text)


def test_a_tokenizer_without_added_tokens_and_a_text_without_characters(tmp_path: Path) -> None:
    structure = json.loads(scenario.train_tokenizer(scenario.deepseek_like()).to_str())
    structure["added_tokens"] = []
    loaded = loaded_from(structure, tmp_path)
    engine = choose_engine(loaded)
    assert engine.name == "pretokens"
    for text in ("", "\n", SAMPLE):
        require_exact(loaded, [engine], text)


def test_one_engine_serves_many_threads(deepseek_like: LoadedTokenizer) -> None:
    engine = choose_engine(deepseek_like)
    texts = ["\n".join(scenario.c_documents(2, seed)) for seed in range(40)]
    with ThreadPoolExecutor(8) as threads:
        encoded = list(threads.map(lambda text: engine.encode(as_utf8(text), threads=2), texts))
    for text, each in zip(texts, encoded, strict=True):
        assert each.ids.tolist() == reference_ids(deepseek_like, text)


@pytest.mark.parametrize("name", FAST)
@pytest.mark.parametrize("forced", ["pretokens", "blocks"])
def test_marks_say_which_ids_a_place_in_the_text_has(
    name: str,
    forced: EngineChoice,
    tokenizers_by_name: dict[str, LoadedTokenizer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = tokenizers_by_name[name]
    monkeypatch.setattr("codedata.tokenization.engine._BLOCK_BYTES", 100)
    monkeypatch.setattr("codedata.tokenization.interned._BLOCK_BYTES", 100)
    encoded = choose_engine(loaded, forced).encode(as_utf8(SAMPLE))
    assert len(encoded.marks) > 20
    for byte, place in encoded.marks:
        rest = loaded.tokenizer.encode(SAMPLE.encode()[byte:].decode(), add_special_tokens=False)
        assert encoded.ids[place : place + len(rest.ids)].tolist() == rest.ids


CHANGES: dict[str, tuple[list[str | int], Any]] = {
    "a normalizer": (["normalizer"], {"type": "NFKC"}),
    "newlines not isolated": (["pre_tokenizer", "pretokenizers", 0, "behavior"], "MergedWithNext"),
    "another pattern first": (
        ["pre_tokenizer", "pretokenizers", 0, "pattern"],
        {"Regex": "\n+"},
    ),
    "inverted": (["pre_tokenizer", "pretokenizers", 0, "invert"], True),
    "prefix space": (["pre_tokenizer", "pretokenizers", -1, "add_prefix_space"], True),
    "Metaspace": (["pre_tokenizer", "pretokenizers", -1], {"type": "Metaspace"}),
    "no pre-tokenizer": (["pre_tokenizer"], None),
    "another model": (["model", "type"], "Unigram"),
    "added token with a newline": (["added_tokens", -1, "content"], "a\nb"),
    "added token that a cut may divide": (["added_tokens", -1, "content"], "f(x)"),
    "added token that strips to the left": (["added_tokens", -1, "lstrip"], True),
    "added token that strips to the right": (["added_tokens", -1, "rstrip"], True),
    "added token that is a single word": (["added_tokens", -1, "single_word"], True),
}


def changed(loaded: LoadedTokenizer, place: list[Any], value: Any) -> dict[str, Any]:
    structure = json.loads(json.dumps(loaded.structure))
    part = structure
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    return structure


@pytest.mark.parametrize(("place", "value"), CHANGES.values(), ids=CHANGES)
def test_any_doubt_in_the_structure_means_whole_chunks(
    place: list[Any], value: Any, deepseek_like: LoadedTokenizer
) -> None:
    assert isinstance(find_pretokenizer(deepseek_like.structure), Pretokenizer)
    assert isinstance(find_pretokenizer(changed(deepseek_like, place, value)), str)


UNKNOWN_MERGES: dict[str, tuple[list[str | int], Any]] = {
    "marked ends of words": (["model", "end_of_word_suffix"], "</w>"),
    "marked continuations": (["model", "continuing_subword_prefix"], "##"),
    "a byte without a token": (["model", "vocab"], {"a": 0}),
}


@pytest.mark.parametrize(("place", "value"), UNKNOWN_MERGES.values(), ids=UNKNOWN_MERGES)
def test_a_model_that_does_more_than_merge_bytes_is_left_to_the_library(
    place: list[Any], value: Any, deepseek_like: LoadedTokenizer
) -> None:
    found = find_pretokenizer(deepseek_like.structure)
    assert isinstance(found, Pretokenizer)
    assert why_not_interned(deepseek_like.structure, found) is None
    assert why_not_interned(changed(deepseek_like, place, value), found) is not None


def test_a_token_looked_for_in_normalized_text_is_left_to_the_library(tmp_path: Path) -> None:
    tokenizer = qwen_like()
    tokenizer.add_tokens([AddedToken("né(a", normalized=True)])
    engine = choose_engine(loaded_from(tokenizer, tmp_path))
    assert engine.name == "blocks"
    assert "normalized text" in engine.reason


def test_a_post_processor_that_is_not_understood_means_whole_chunks(
    deepseek_like: LoadedTokenizer,
) -> None:
    assert framing_is_constant(deepseek_like.structure)
    twice = {"type": "TemplateProcessing", "single": [{"Sequence": {}}, {"Sequence": {}}]}
    assert not framing_is_constant({**deepseek_like.structure, "post_processor": twice})
    unknown = {"type": "Sequence", "processors": [{"type": "SomethingNew"}]}
    assert not framing_is_constant({**deepseek_like.structure, "post_processor": unknown})


def test_a_good_tokenizer_passes_though_its_single_character_tokens_do_not_decode(
    deepseek_like: LoadedTokenizer, gpt2_like: LoadedTokenizer
) -> None:
    text = SAMPLE + "über õ" + scenario.EOT
    for loaded in (deepseek_like, gpt2_like):
        ids = loaded.tokenizer.encode("ü", add_special_tokens=False).ids
        assert len(ids) == 1
        check_fidelity(loaded, choose_engine(loaded), text)


def test_a_tokenizer_that_loses_spaces_is_refused(
    deepseek_like: LoadedTokenizer, tmp_path: Path
) -> None:
    """As releases of transformers 5 rebuilt deepseek-coder: Metaspace for the declared steps."""
    structure = json.loads(json.dumps(deepseek_like.structure))
    structure["pre_tokenizer"] = {
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True,
    }  # fmt: skip
    broken = loaded_from(structure, tmp_path)
    with pytest.raises(TokenizerError, match=r"loses (white space|text)") as caught:
        check_fidelity(broken, choose_engine(broken), SAMPLE)
    assert str(tmp_path) in str(caught.value)
    assert "use the tokenizer.json that the model was published with" in str(caught.value)


LOSSES = {
    "strips blanks": (normalizers.Replace("  ", " "), "loses white space"),
    "drops tabs": (normalizers.Replace("\t", ""), "loses white space"),
    "lower case": (normalizers.Lowercase(), "loses text"),
    "strips accents": (normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()]), "t"),
}


@pytest.mark.parametrize(("normalizer", "message"), LOSSES.values(), ids=LOSSES)
def test_a_normalizer_that_changes_the_text_is_refused(
    normalizer: normalizers.Normalizer, message: str, tmp_path: Path
) -> None:
    tokenizer = scenario.train_tokenizer(scenario.deepseek_like())
    tokenizer.normalizer = normalizer
    loaded = loaded_from(tokenizer, tmp_path)
    with pytest.raises(TokenizerError, match=message):
        check_fidelity(loaded, choose_engine(loaded), SAMPLE)


def test_a_loss_that_only_the_text_to_tokenize_shows_is_refused(tmp_path: Path) -> None:
    tokenizer = scenario.train_tokenizer(scenario.deepseek_like())
    tokenizer.normalizer = normalizers.Replace("@", "")
    loaded = loaded_from(tokenizer, tmp_path)
    check_fidelity(loaded, choose_engine(loaded), "int i;")
    with pytest.raises(TokenizerError, match=r"loses text: in the window, .*'/\*\* @param"):
        check_fidelity(loaded, choose_engine(loaded), "/** @param i */", where="the window")


def test_nfc_is_no_loss(tmp_path: Path) -> None:
    tokenizer = scenario.train_tokenizer(scenario.deepseek_like())
    tokenizer.normalizer = normalizers.NFC()
    loaded = loaded_from(tokenizer, tmp_path)
    check_fidelity(loaded, choose_engine(loaded), "cafe\u0301 " + SAMPLE)


def test_a_single_character_token_that_is_a_blank_excuses_no_lost_blank(tmp_path: Path) -> None:
    tokenizer = scenario.train_tokenizer(scenario.deepseek_like())
    tokenizer.add_tokens([AddedToken("\t")])
    tokenizer.decoder = decoders.Sequence([decoders.Replace("\t", ""), decoders.ByteLevel()])
    loaded = loaded_from(tokenizer, tmp_path)
    with pytest.raises(TokenizerError, match="loses white space"):
        check_fidelity(loaded, choose_engine(loaded), SAMPLE)


class OffByOne(WholeTextEngine):
    """Wrong in one id."""

    def __init__(self, loaded: LoadedTokenizer, place: int) -> None:
        super().__init__(loaded, "a test")
        self.cut: re.Pattern[bytes] | None = AFTER_NEWLINES
        self.place = place

    def encode(self, text: Utf8, *, threads: int = 1) -> Encoded:
        ids = super().encode(text, threads=threads).ids.copy()
        ids[self.place : self.place + 1] ^= 1
        return Encoded(ids=ids, marks=[(0, 0)])


def test_an_engine_that_gives_other_ids_is_refused_with_the_place(
    deepseek_like: LoadedTokenizer,
) -> None:
    with pytest.raises(TokenizerError, match=r"different ids .* from token 5 on"):
        check_fidelity(deepseek_like, OffByOne(deepseek_like, 5), SAMPLE)


def test_a_wrong_id_in_a_chunk_is_found_and_its_text_named(deepseek_like: LoadedTokenizer) -> None:
    text = as_utf8(SAMPLE)
    for place in (0, 5, 300):
        engine = OffByOne(deepseek_like, place)
        with pytest.raises(ExactnessError) as caught:
            compare_ids(deepseek_like, engine, text, engine.encode(text), seed=3, where="c.parquet")
        message = str(caught.value)
        token = deepseek_like.tokenizer.encode(SAMPLE).offsets[place]
        assert repr(SAMPLE[token[0] : token[1]])[1:-1] in message
        assert "(c.parquet, from 0 on)" in message
        assert "nothing of it was stored" in message


@pytest.mark.parametrize("name", STRUCTURES)
def test_at_most_32_kilobytes_of_a_chunk_are_tokenized_again(
    name: str, tokenizers_by_name: dict[str, LoadedTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = tokenizers_by_name[name]
    monkeypatch.setattr("codedata.tokenization.interned._BLOCK_BYTES", 10_000)
    engine, text = choose_engine(loaded), as_utf8("\n".join(scenario.c_documents(30, seed=5)))
    compared = compare_ids(loaded, engine, text, engine.encode(text), seed=1, where="here")
    assert COMPARED_PIECES * COMPARED_BYTES <= 32_000
    if name == "metaspace":
        assert compared == 0  # the library's own ids, of the whole text
    else:
        assert 8_000 < compared <= COMPARED_PIECES * COMPARED_BYTES


@pytest.mark.parametrize("name", STRUCTURES)
@pytest.mark.parametrize("text", ["C code", "a table of numbers", "no place to cut"])
def test_any_stretch_of_a_chunks_own_text_confirms_its_ids(
    name: str, text: str, tokenizers_by_name: dict[str, LoadedTokenizer]
) -> None:
    loaded = tokenizers_by_name[name]
    content = {
        "C code": scenario.plain_text(scenario.c_documents(60, seed=8)),
        "a table of numbers": "0, " * 20_000,
        "no place to cut": "中" * 20_000,
    }[text]
    utf8, engine = as_utf8(content), choose_engine(loaded)
    starts = np.append(np.flatnonzero((utf8 & 0xC0) != 0x80), len(utf8))

    def read(chars: CharRange) -> Utf8:
        return utf8[starts[chars.start] : starts[chars.stop]]

    ids, chars = engine.encode(utf8).ids, CharRange(0, len(content))
    assert chars.num_chars > STORED_CHARS
    assert all(holds_ids_of(loaded, engine, read, chars, ids) for _ in range(5))
    if len(ids):  # the library drops what this vocabulary does not have
        assert not holds_ids_of(loaded, engine, read, chars, ids[:100])


def test_text_without_a_place_to_cut_is_not_compared_but_tokenized_exactly(
    deepseek_like: LoadedTokenizer,
) -> None:
    text = as_utf8("中" * 3000)
    engine = choose_engine(deepseek_like)
    encoded = engine.encode(text)
    assert compare_ids(deepseek_like, engine, text, encoded, seed=1, where="here") == 0
    assert encoded.ids.tolist() == reference_ids(deepseek_like, "中" * 3000)


def test_the_probe_holds_what_tokenizers_lose() -> None:
    assert all(piece in PROBE for piece in ("\t", "   ", "\r\n", "\n\n\n", "0x7f", "中文", "🙂"))


def test_a_pre_tokenizer_that_isolates_the_string_newline_is_cut_too(tmp_path: Path) -> None:
    tokenizer = scenario.train_tokenizer(scenario.deepseek_like())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    loaded = loaded_from(tokenizer, tmp_path)
    assert choose_engine(loaded).name == "blocks"
    check_fidelity(loaded, choose_engine(loaded), SAMPLE)
