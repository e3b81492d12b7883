"""Engines and fidelity: the ids of the tokenizers library, whatever the structure and the text."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, normalizers, pre_tokenizers

from codedata.core.packing import IdArray
from codedata.errors import TokenizerError
from codedata.tokenization.engine import (
    NewlineBlocksEngine,
    WholeTextEngine,
    choose_engine,
    reference_ids,
)
from codedata.tokenization.fidelity import PROBE, check_fidelity
from codedata.tokenization.loading import LoadedTokenizer, find_tokenizer, load_tokenizer
from codedata.tokenization.structure import framing_is_constant, why_newline_cuts_may_change_ids
from codedata_tests import scenario

SAMPLE = "\n".join(scenario.c_documents(3, seed=7))


def loaded_from(tokenizer: Tokenizer | dict[str, Any], folder: Path) -> LoadedTokenizer:
    text = tokenizer.to_str() if isinstance(tokenizer, Tokenizer) else json.dumps(tokenizer)
    (folder / "tokenizer.json").write_text(text, encoding="utf-8")
    return load_tokenizer(find_tokenizer(str(folder)))


@pytest.fixture(scope="module")
def deepseek_like(tmp_path_factory: pytest.TempPathFactory) -> LoadedTokenizer:
    tokenizer = scenario.train_tokenizer(scenario.deepseek_like())
    return loaded_from(tokenizer, tmp_path_factory.mktemp("deepseek-like"))


@pytest.fixture(scope="module")
def gpt2_like(tmp_path_factory: pytest.TempPathFactory) -> LoadedTokenizer:
    tokenizer = scenario.train_tokenizer(scenario.gpt2_like())
    return loaded_from(tokenizer, tmp_path_factory.mktemp("gpt2-like"))


TEXTS = st.lists(
    st.one_of(
        st.text(max_size=20),
        st.sampled_from(
            ["\n", "\r\n", "\n\n \n", " ", "\t", scenario.EOT, scenario.BOS, "ü", SAMPLE[:200]]
        ),
    ),
    max_size=30,
).map("".join)


@pytest.mark.parametrize("block_chars", [1, 7, 8000])
@settings(
    max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(text=TEXTS)
def test_blocks_cut_after_newlines_give_the_ids_of_the_whole_text(
    block_chars: int, text: str, deepseek_like: LoadedTokenizer
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codedata.tokenization.engine._BLOCK_CHARS", block_chars)
        ids = NewlineBlocksEngine(deepseek_like).encode(text)
    assert ids.tolist() == reference_ids(deepseek_like, text)


def test_structure_decides_the_engine_not_the_name(
    deepseek_like: LoadedTokenizer, gpt2_like: LoadedTokenizer
) -> None:
    assert isinstance(choose_engine(deepseek_like), NewlineBlocksEngine)
    engine = choose_engine(gpt2_like)
    assert isinstance(engine, WholeTextEngine)
    assert "does not isolate newlines" in engine.reason
    assert engine.encode(SAMPLE).tolist() == reference_ids(gpt2_like, SAMPLE)


def test_a_cut_after_a_newline_does_change_the_ids_of_a_gpt2_like_tokenizer(
    gpt2_like: LoadedTokenizer,
) -> None:
    """The control: were blocks used without the proof, the ids would be others."""
    text = "int i;\n\n\n\n    int j;\n\n\n" * 20
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("codedata.tokenization.engine._BLOCK_CHARS", 1)
        ids = NewlineBlocksEngine(gpt2_like).encode(text)
    assert ids.tolist() != reference_ids(gpt2_like, text)


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
    "added token that strips to the left": (["added_tokens", -1, "lstrip"], True),
    "added token that strips to the right": (["added_tokens", -1, "rstrip"], True),
}


@pytest.mark.parametrize(("place", "value"), CHANGES.values(), ids=CHANGES)
def test_any_doubt_in_the_structure_means_whole_chunks(
    place: list[Any], value: Any, deepseek_like: LoadedTokenizer
) -> None:
    structure = json.loads(json.dumps(deepseek_like.structure))
    assert why_newline_cuts_may_change_ids(structure) is None
    part = structure
    for key in place[:-1]:
        part = part[key]
    part[place[-1]] = value
    assert why_newline_cuts_may_change_ids(structure) is not None


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


def test_an_engine_that_gives_other_ids_is_refused_with_the_place(
    deepseek_like: LoadedTokenizer,
) -> None:
    class OffByOne(WholeTextEngine):
        def encode(self, text: str) -> IdArray:
            ids = super().encode(text).copy()
            ids[5:6] += 1
            return ids

    with pytest.raises(TokenizerError, match=r"different ids .* from token 5 on"):
        check_fidelity(deepseek_like, OffByOne(deepseek_like, "a test"), SAMPLE)


def test_the_probe_holds_what_tokenizers_lose() -> None:
    assert all(piece in PROBE for piece in ("\t", "   ", "\r\n", "\n\n\n", "0x7f", "中文", "🙂"))


def test_a_pre_tokenizer_that_isolates_the_string_newline_is_cut_too(tmp_path: Path) -> None:
    tokenizer = scenario.train_tokenizer(scenario.deepseek_like())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [pre_tokenizers.Split("\n", "isolated"), pre_tokenizers.ByteLevel(add_prefix_space=False)]
    )
    loaded = loaded_from(tokenizer, tmp_path)
    assert isinstance(choose_engine(loaded), NewlineBlocksEngine)
    check_fidelity(loaded, choose_engine(loaded), SAMPLE)
