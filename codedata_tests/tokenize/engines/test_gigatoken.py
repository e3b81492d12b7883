"""What codedata adds to gigatoken: what it leaves to the library, and what it keeps in bounds."""

import sys
import threading
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken

from codedata.tokenize.engines import gigatoken, registry
from codedata.tokenize.engines.alone import Stretch
from codedata.tokenize.engines.base import as_utf8, reference_ids
from codedata.tokenize.engines.gigatoken import GigatokenEngine
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata_tests import scenario
from codedata_tests.tokenize.structures import SAMPLE, loaded_from


def engine_of(loaded: LoadedTokenizer) -> GigatokenEngine:
    engine = choose_engine(loaded)
    assert isinstance(engine, GigatokenEngine), engine.reason
    return engine


def test_many_threads_give_the_same_ids_in_bounded_memory(
    gpt2_like: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Thousands of short parts beside a long one, whose ids come as rows of arrays."""
    engine = engine_of(gpt2_like)
    short = f"x {scenario.EOT} says hi here\n" * 5_000
    text = as_utf8(short + SAMPLE * 200)
    sizes: list[int] = []
    real = gigatoken._encode

    def measured(*given: Any, parallel: bool) -> list[np.ndarray[Any, np.dtype[np.uint32]]]:
        found = real(*given, parallel=parallel)
        sizes.append(len(found) * max(map(len, found)))
        return found

    expected = engine.encode(text, threads=1).ids
    monkeypatch.setattr(gigatoken, "_encode", measured)
    assert np.array_equal(engine.encode(text, threads=8).ids, expected)
    assert len(sizes) > 1
    assert sum(sizes) <= 2 * len(text)
    assert expected[:200].tolist() == reference_ids(gpt2_like, short[:2_000])[:200]


def test_awkward_is_not_imported(
    gpt2_like: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """gigatoken looks for its class where it is given a list; here it would find none."""
    monkeypatch.setitem(sys.modules, "awkward", ModuleType("awkward"))
    assert engine_of(gpt2_like).encode(as_utf8("int x;")).ids.tolist() == reference_ids(
        gpt2_like, "int x;"
    )


def test_it_is_loaded_anew_once_memory_has_grown(
    gpt2_like: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gigatoken, "_SETTLED_BYTES", 1)
    monkeypatch.setattr(gigatoken, "_GROWTH_BYTES", -1)
    engine = engine_of(gpt2_like)
    before = engine._peer._tokenizer
    assert engine.encode(as_utf8(SAMPLE)).ids.tolist() == reference_ids(gpt2_like, SAMPLE)
    assert engine._peer._tokenizer is not before
    monkeypatch.setattr(gigatoken, "_GROWTH_BYTES", 1 << 40)
    after = engine._peer._tokenizer
    assert engine.encode(as_utf8(SAMPLE)).ids.tolist() == reference_ids(gpt2_like, SAMPLE)
    assert engine._peer._tokenizer is after


def test_of_an_unknown_structure_what_is_beyond_ascii_waits_for_the_comparison(
    gpt2_like: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """New in Unicode 17, so that the two differ, and old letters, in which they do not."""
    go_on, asked = threading.Event(), threading.Event()

    def probe(structure: dict[str, Any]) -> np.ndarray[Any, np.dtype[np.int32]]:
        asked.set()
        assert go_on.wait(60)
        return np.array([[0x88F, 0x890]], np.int32)

    monkeypatch.setattr(gigatoken, "known_differences", lambda _: None)
    monkeypatch.setattr(gigatoken, "probe_differences", probe)
    engine, texts = engine_of(gpt2_like), ("plain\n", "ш " * 9, "x \u088fa y")

    def left_to_library() -> list[bool]:
        return [
            bool(engine._divide(utf8, Stretch.within([0, len(utf8)], len(utf8)))[1].any())
            for utf8 in map(as_utf8, texts)
        ]

    assert not asked.is_set(), "ASCII alone needs no comparison"
    assert left_to_library() == [False, True, True]
    assert asked.wait(60)
    go_on.set()
    engine.settle()
    assert left_to_library() == [False, False, True]
    for text in texts:
        assert engine.encode(as_utf8(text)).ids.tolist() == reference_ids(gpt2_like, text)


def test_a_structure_in_which_ascii_differs_is_refused(
    gpt2_like: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(gigatoken, "known_differences", lambda _: np.array([[48, 58]], np.int32))
    assert "it has other ids for ASCII" in choose_engine(gpt2_like).reason


def test_tokens_that_are_looked_for_before_others_are_the_library_s(tmp_path: Path) -> None:
    tokenizer = scenario.train_tokenizer(scenario.gpt2_like())
    tokenizer.add_tokens([AddedToken("rs", normalized=False), AddedToken("qr", normalized=True)])
    loaded = loaded_from(tokenizer, tmp_path)
    engine = engine_of(loaded)
    for text in ("qrs", "a qrs b", "rs qr", "qrqrs rs"):
        assert engine.encode(as_utf8(text)).ids.tolist() == reference_ids(loaded, text)


def test_without_it_the_others_serve(
    gpt2_like: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delitem(sys.modules, "codedata.tokenize.engines.gigatoken")
    monkeypatch.setitem(sys.modules, "gigatoken.gigatoken_rs", None)
    engine = choose_engine(gpt2_like)
    assert engine.name == "blocks"
    assert engine.reason.startswith("gigatoken: gigatoken.gigatoken_rs is not installed")
    assert registry.engine_choices()[1] == "gigatoken"
