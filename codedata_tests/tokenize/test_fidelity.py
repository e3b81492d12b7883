"""Tokenizers that lose text, engines that differ, and stored ids: what a run compares."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import AddedToken, decoders

from codedata.errors import ExactnessError, TokenizerError
from codedata.format.ranges import CharRange, Utf8
from codedata.tokenize.engines.base import Encoded, as_utf8, reference_ids
from codedata.tokenize.engines.pretokens import PretokensEngine
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.engines.whole import WholeTextEngine
from codedata.tokenize.fidelity import (
    COMPARED_BYTES,
    COMPARED_PIECES,
    PROBE,
    STORED_CHARS,
    check_fidelity,
    compare_ids,
    holds_ids_of,
    tokenize_and_compare,
)
from codedata.tokenize.structure import AFTER_NEWLINES
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata_tests import scenario
from codedata_tests.tokenize.structures import FAST, SAMPLE, STRUCTURES, loaded_from


def test_a_good_tokenizer_passes_though_its_single_character_tokens_do_not_decode(
    tokenizers_by_name: dict[str, LoadedTokenizer],
) -> None:
    """And NFC, which Qwen's normalizer is, is no loss."""
    text = "cafe\u0301 " + SAMPLE + "über õ" + scenario.EOT
    for loaded in (tokenizers_by_name[name] for name in FAST):
        ids = loaded.tokenizer.encode("ü", add_special_tokens=False).ids
        assert len(ids) == 1
        check_fidelity(loaded, choose_engine(loaded), text)


METASPACE = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}
NO_ACCENTS = {"type": "Sequence", "normalizers": [{"type": "NFD"}, {"type": "StripAccents"}]}


def replacing(text: str, by: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": {"String": text}, "content": by}


LOSSES: dict[str, tuple[dict[str, Any], str]] = {
    # As releases of transformers 5 rebuilt deepseek-coder.
    "Metaspace for the declared steps": ({"pre_tokenizer": METASPACE}, "text"),
    "strips blanks": ({"normalizer": replacing("  ", " ")}, "white space"),
    "drops tabs": ({"normalizer": replacing("\t", "")}, "white space"),
    "lower case": ({"normalizer": {"type": "Lowercase"}}, "text"),
    "strips accents": ({"normalizer": NO_ACCENTS}, "text"),
}


@pytest.mark.parametrize(("parts", "lost"), LOSSES.values(), ids=LOSSES)
def test_a_tokenizer_that_loses_some_of_the_text_is_refused(
    parts: dict[str, Any], lost: str, deepseek_like: LoadedTokenizer, tmp_path: Path
) -> None:
    loaded = loaded_from(deepseek_like.structure | parts, tmp_path)
    remedy = "use the tokenizer.json that the model was published with"
    with pytest.raises(TokenizerError, match=f"{tmp_path} loses {lost}: .*; {remedy}"):
        check_fidelity(loaded, choose_engine(loaded), SAMPLE)


def test_a_loss_that_only_the_text_to_tokenize_shows_is_refused(
    deepseek_like: LoadedTokenizer, tmp_path: Path
) -> None:
    loaded = loaded_from(deepseek_like.structure | {"normalizer": replacing("@", "")}, tmp_path)
    check_fidelity(loaded, choose_engine(loaded), "int i;")
    with pytest.raises(TokenizerError, match=r"loses text: in the window, .*'/\*\* @param"):
        check_fidelity(loaded, choose_engine(loaded), "/** @param i */", where="the window")


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
        super().__init__(loaded)
        self.cut = AFTER_NEWLINES
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
    engine, text = choose_engine(loaded), as_utf8("\n".join(scenario.c_documents(30, seed=5)))
    monkeypatch.setattr(type(engine), "piece_bytes", 1_500, raising=False)
    compared = compare_ids(loaded, engine, text, engine.encode(text), seed=1, where="here")
    assert COMPARED_PIECES * COMPARED_BYTES <= 32_000
    if name == "unknown":
        assert compared == 0  # the library's own ids, of the whole text
    else:
        assert 4_000 < compared <= COMPARED_PIECES * COMPARED_BYTES


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


def test_a_text_without_a_place_to_cut_is_left_to_the_library(
    deepseek_like: LoadedTokenizer,
) -> None:
    """None of a wrong engine's ids stays, though nothing of them could be compared."""
    wrong = OffByOne(deepseek_like, 7)
    ids, made = tokenize_and_compare(
        deepseek_like, wrong, as_utf8("中" * 3000), threads=1, seed=1, where="here"
    )
    assert made == {"engine": "whole", "compared_bytes": 0}
    assert ids.tolist() == reference_ids(deepseek_like, "中" * 3000)


def test_pieces_are_looked_for_all_over_a_text_that_has_few(
    deepseek_like: LoadedTokenizer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Fifty stretches without a place to cut, and one line that can be compared."""
    monkeypatch.setattr(PretokensEngine, "piece_bytes", 1)
    text = "\n".join(["中" * 3000] * 50 + ["int i;\n" * 1000])
    engine = choose_engine(deepseek_like)
    ids, made = tokenize_and_compare(
        deepseek_like, engine, as_utf8(text), threads=1, seed=1, where="here"
    )
    assert (made["engine"], made["compared_bytes"] > 2_000) == ("pretokens", True)
    assert ids.tolist() == reference_ids(deepseek_like, text)


def test_the_probe_holds_what_tokenizers_lose() -> None:
    assert all(piece in PROBE for piece in ("\t", "   ", "\r\n", "\n\n\n", "0x7f", "中文", "🙂"))
