"""The ids of the tokenizers library by every engine, whatever the structure and the text."""

import dataclasses
import itertools
import json
import random
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken

from codedata.errors import SettingsError
from codedata.tokenize.engines import pretokens
from codedata.tokenize.engines.base import Engine, as_utf8, reference_ids
from codedata.tokenize.engines.blocks import BlocksEngine
from codedata.tokenize.engines.registry import choose_engine, engine_choices
from codedata.tokenize.fidelity import tokenize_and_compare
from codedata.tokenize.structure import AFTER_NEWLINES, Pretokenizer, find_pretokenizer
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata_tests import scenario
from codedata_tests.tokenize.hostile import CODE, PIECES, PROSE, hostile_text
from codedata_tests.tokenize.structures import FAST, FORCED, SAMPLE, loaded_from
from codedata_tests.tokenize.twins import TRAPS, TWINS

ENGINES = "codedata.tokenize.engines"

MUST_CUT = [name for name in TWINS if name != "unknown"]
"""Families whose texts can be cut, so that their chunks run on all processors and are compared."""

SMALL = {
    "pretokens": (("_SMALL_BLOCK_BYTES", (1, 5, 1000)), ("_SPANS", (1, 2, 4096))),
    "words": (("_SMALL_PIECE_BYTES", (1, 5, 500)),),
}
"""Constants of modules of engines that are made small, so that what they bound occurs."""


def engines_of(loaded: LoadedTokenizer) -> list[Engine]:
    """Every engine that is proven exact for a tokenizer, the library itself left out."""
    found: list[Engine] = []
    for name in engine_choices()[1:-1]:
        with suppress(SettingsError):
            found.append(choose_engine(loaded, name))
    return found


def require_exact(loaded: LoadedTokenizer, engines: Sequence[Engine], text: str) -> None:
    expected = reference_ids(loaded, text)
    for engine in engines:
        if engine.encode(as_utf8(text), threads=2).ids.tolist() != expected:
            least = minimal(loaded, engine, text)
            found = engine.encode(as_utf8(least)).ids.tolist()
            pytest.fail(
                f"{engine.name}: {least!a} gives {found[:20]}, the library "
                f"{reference_ids(loaded, least)[:20]}; found in {text[:300]!a}"
            )


def minimal(loaded: LoadedTokenizer, engine: Engine, text: str) -> str:
    """As little of a text as still gives other ids."""
    length = len(text)
    while length := length // 2:
        start = 0
        while start < len(text):
            less = text[:start] + text[start + length :]
            if engine.encode(as_utf8(less)).ids.tolist() != reference_ids(loaded, less):
                text = less
            else:
                start += length
    return text


def compare_hostile_texts(
    loaded: LoadedTokenizer,
    engines: Sequence[Engine],
    num_texts: int,
    seed: int,
    patch: pytest.MonkeyPatch,
) -> int:
    """Compare all engines, their pieces and blocks of many small sizes.

    Returns:
        Bytes of text compared.
    """
    random_, num_bytes = random.Random(seed), 0
    added = loaded.tokenizer.get_added_tokens_decoder().values()
    tokens = sorted(token.content for token in added)
    require_exact(loaded, engines, "")
    for _ in range(num_texts):
        for engine in engines:
            patch.setattr(type(engine), "piece_bytes", random_.choice([1, 3, 16, 100, 8000]))
        for module, constants in SMALL.items():
            for name, values in constants:
                patch.setattr(f"{ENGINES}.{module}.{name}", random_.choice(values))
        text = hostile_text(random_, tokens)
        require_exact(loaded, engines, text)
        num_bytes += len(text.encode())
    return num_bytes


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("name", TWINS)
@pytest.mark.parametrize(
    ("num_texts", "seed"),
    [
        (45, 1),
        pytest.param(1_000, 2, marks=pytest.mark.campaign),
        pytest.param(100_000, 3, marks=pytest.mark.long),
    ],
)
def test_hostile_texts_have_the_ids_of_the_library(
    num_texts: int,
    seed: int,
    name: str,
    twin: Callable[[str], LoadedTokenizer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded, start = twin(name), time.process_time()
    engines = engines_of(loaded)
    num_bytes = compare_hostile_texts(loaded, engines, num_texts, seed, monkeypatch)
    seconds, names = time.process_time() - start, [engine.name for engine in engines]
    print(f"{name}: {num_texts} texts, {num_bytes} bytes, {seconds:.0f} s of CPU, exact: {names}")


@pytest.mark.parametrize("name", TRAPS)
def test_a_structure_that_looks_like_a_familys_has_the_ids_of_the_library(
    name: str, twin: Callable[[str], LoadedTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each once gave other ids; its engines cut elsewhere now, or are refused."""
    loaded = twin(name)
    engines = engines_of(loaded)
    compare_hostile_texts(loaded, engines, 30, 4, monkeypatch)
    for engine in engines:
        monkeypatch.setattr(type(engine), "piece_bytes", 1)
        for text in ("x int i y", "T is K9 int\ni  <x> if ab", "Z a\tint  i \n\n\n s t"):
            require_exact(loaded, [engine], text)


@pytest.mark.parametrize("name", MUST_CUT)
def test_texts_of_every_family_are_cut_and_compared(
    name: str, twin: Callable[[str], LoadedTokenizer], monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded, text = twin(name), as_utf8(CODE + PROSE[0])
    engine = choose_engine(loaded)
    assert engine.cut is not None, engine.reason
    monkeypatch.setattr(type(engine), "piece_bytes", 500)
    ids, made = tokenize_and_compare(loaded, engine, text, threads=2, seed=1, where="here")
    assert ids.tolist() == reference_ids(loaded, str(text.data, "utf-8"))
    assert made["engine"] == engine.name
    assert made["compared_bytes"] > 2_000


@pytest.mark.parametrize("name", FAST)
def test_every_pair_of_ascii_characters_in_every_neighbourhood_of_classes(
    name: str, tokenizers_by_name: dict[str, LoadedTokenizer]
) -> None:
    """Pairs of all characters, and each four of one character a class, one text a line."""
    engines = [choose_engine(tokenizers_by_name[name], each) for each in FORCED[name]]
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
    monkeypatch.setattr(BlocksEngine, "piece_bytes", 1)
    found = find_pretokenizer(gpt2_like.structure)
    assert isinstance(found, Pretokenizer)
    right = BlocksEngine(gpt2_like, found)
    wrong = BlocksEngine(gpt2_like, dataclasses.replace(found, cut=AFTER_NEWLINES))
    assert right.encode(as_utf8(text)).ids.tolist() == reference_ids(gpt2_like, text)
    assert wrong.encode(as_utf8(text)).ids.tolist() != reference_ids(gpt2_like, text)


def test_long_pretokens_are_merged_with_nothing_before_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The library has those, and pieces with added tokens, some of which follow a cut."""
    tokenizer = scenario.train_tokenizer(scenario.starcoder_like())
    tokenizer.add_tokens([AddedToken(word, single_word=True) for word in ("int", " if")])
    structure = json.loads(tokenizer.to_str())
    structure["model"]["vocab"]["Za"] = 900
    structure["model"]["merges"].insert(0, ["Z", "a"])
    loaded = loaded_from(structure, tmp_path)
    engine = choose_engine(loaded, "pretokens")
    assert engine.lead == "Z", "it would be merged"
    for size in (1, 1_000):
        monkeypatch.setattr(pretokens, "_SMALL_BLOCK_BYTES", size)
        for text in ("x;\n" + "a" * 300, "a" * 300 + "\nint", "x int y\tint z int", "x if y if"):
            require_exact(loaded, [engine], text)


def test_what_a_table_forgets_is_merged_again(
    deepseek_like: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = choose_engine(deepseek_like, "pretokens")
    table = pretokens.new_table(num_slots=16, arena_ids=0)
    monkeypatch.setattr(pretokens, "new_table", lambda: table)
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


@pytest.mark.parametrize(
    ("name", "forced"), [(name, forced) for name in FAST for forced in FORCED[name]]
)
def test_marks_say_which_ids_a_place_in_the_text_has(
    name: str,
    forced: str,
    tokenizers_by_name: dict[str, LoadedTokenizer],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    loaded = tokenizers_by_name[name]
    engine = choose_engine(loaded, forced)
    monkeypatch.setattr(type(engine), "piece_bytes", 100)
    encoded = engine.encode(as_utf8(SAMPLE))
    assert len(encoded.marks) > 20
    for byte, place in encoded.marks[::5]:
        rest = loaded.tokenizer.encode(SAMPLE.encode()[byte:].decode(), add_special_tokens=False)
        assert encoded.ids[place : place + len(rest.ids)].tolist() == rest.ids
