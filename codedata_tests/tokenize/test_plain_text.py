"""Control tokens that stand in a text, read as the text they are."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codedata.format.documents import Form
from codedata.tokenize.bare_ids import Texts
from codedata.tokenize.engines.base import as_utf8
from codedata.tokenize.plain_text import as_plain_text, ids_as_text, plain_tokenizer
from codedata.tokenize.token_bytes import token_bytes
from codedata.tokenize.undo_fim import undone
from codedata_tests import scenario
from codedata_tests.tokenize.fim_documents import (
    FRAME,
    SENTINELS,
    FimTokenizer,
    fim_tokenizer,
)
from codedata_tests.tokenize.twins import TWINS, byte_level, split, steps

LITERAL = f"a {SENTINELS[0]}b{FRAME[1]}{FRAME[1]}ü c<|User|>{SENTINELS[2]}"


@pytest.fixture(scope="module")
def deepseek(tmp_path_factory: pytest.TempPathFactory) -> FimTokenizer:
    """Its tokens of fill-in-the-middle are added, and not special."""
    return fim_tokenizer(TWINS["deepseek-coder"](), tmp_path_factory.mktemp("deepseek"))


def bytes_of(tokenizer: FimTokenizer, ids: Any) -> bytes:
    return token_bytes(tokenizer.loaded).bytes_of(np.asarray(ids), continues=False)


@pytest.mark.parametrize("special", [False, True])
@pytest.mark.parametrize("name", ["deepseek-coder", "mistral", "bert"])
def test_control_tokens_are_text_and_all_other_added_tokens_stay(
    name: str, special: bool, tmp_path: Path
) -> None:
    tokenizer = fim_tokenizer(TWINS[name](), tmp_path, special=special)
    recipe = tokenizer.recipe(control_tokens="text")
    library = tokenizer.loaded.tokenizer
    control = {recipe.bos, *recipe.control_ids}
    added = library.get_added_tokens_decoder()
    others = [id_ for id_ in added if id_ not in control and not added[id_].lstrip]
    assert len(others) > 3, "there is something to lose"
    assert not control.isdisjoint(library.encode(LITERAL).ids)
    for id_ in others[:40]:
        text = f"{LITERAL}{added[id_].content}{LITERAL}"
        found = as_plain_text(tokenizer.loaded, recipe, as_utf8(text))
        assert found is not None
        assert id_ in found.tolist()
        assert control.isdisjoint(found.tolist())
    assert plain_tokenizer(tokenizer.loaded, recipe.control_ids).get_vocab() == library.get_vocab()


def test_the_bytes_of_such_a_text_are_those_of_its_ids(deepseek: FimTokenizer) -> None:
    recipe = deepseek.recipe(control_tokens="text")
    found = as_plain_text(deepseek.loaded, recipe, as_utf8(LITERAL))
    assert found is not None
    assert found.dtype == np.uint16
    assert bytes_of(deepseek, found) == LITERAL.encode()


@settings(max_examples=20, deadline=None)
@given(
    parts=st.lists(
        st.one_of(
            st.text("ab \n\r\tüÁé中🙂(;", max_size=12),
            st.sampled_from(["<|User|>", "<fim_", "prefix>", "<|EOT|>", "|>", "<|eos"]),
        ),
        max_size=8,
    )
)
def test_a_text_without_them_has_the_ids_that_it_has_anyway(
    parts: Sequence[str], deepseek: FimTokenizer
) -> None:
    text = "".join(parts)
    recipe = deepseek.recipe(control_tokens="text")
    expected = deepseek.loaded.tokenizer.encode(text, add_special_tokens=False).ids
    if set(expected).isdisjoint(recipe.control_ids):
        found = as_plain_text(deepseek.loaded, recipe, as_utf8(text))
        assert found is not None
        assert found.tolist() == expected
        for control_tokens in ("drop", "text"):
            other = deepseek.recipe(control_tokens=control_tokens)
            [own] = ids_as_text(deepseek.loaded, deepseek.engine, other, Texts.of([as_utf8(text)]))
            assert own is not None
            assert own.tolist() == expected


def test_it_has_none_where_the_model_itself_makes_the_token(tmp_path: Path) -> None:
    structure = json.loads(scenario.train_tokenizer(scenario.gpt2_like()).to_str())
    model = structure["model"]
    model["ignore_merges"] = True  # a pre-token that is in the vocabulary is taken whole
    structure["pre_tokenizer"] = steps(split(r"<\S+>|\s+|[^<\s]+|<"), byte_level())
    model["vocab"] |= {SENTINELS[0]: len(model["vocab"]) + 9}
    tokenizer = fim_tokenizer(structure, tmp_path)
    recipe = tokenizer.recipe(control_tokens="text")
    for text, can in {f"a {SENTINELS[0]} b": False, f"a {SENTINELS[1]} b": True}.items():
        assert (as_plain_text(tokenizer.loaded, recipe, as_utf8(text)) is not None) == can


def test_texts_with_control_tokens_are_none_where_they_are_dropped(deepseek: FimTokenizer) -> None:
    texts = Texts.of([as_utf8(text) for text in ("a", LITERAL, "", f"{FRAME[0]}", "b")])
    for control_tokens, can in {"drop": [0, 2, 4], "text": [0, 1, 2, 3, 4]}.items():
        recipe = deepseek.recipe(control_tokens=control_tokens)
        found = ids_as_text(deepseek.loaded, deepseek.engine, recipe, texts)
        assert [place for place, ids in enumerate(found) if ids is not None] == can


@pytest.mark.parametrize("seq_length", [24, 400])
def test_a_document_that_has_them_is_permuted_and_given_back(
    seq_length: int, deepseek: FimTokenizer
) -> None:
    texts = [f"{number} {LITERAL * 3}" for number in range(20)]
    recipe = deepseek.recipe(control_tokens="text", rate=0.8)
    assert recipe.fim is not None
    every = deepseek.pieces(recipe, texts, seq_length)
    forms = {form for pieces in every for _, form in pieces}
    assert forms >= {Form.PSM, Form.SPM, Form.PLAIN}
    sentinels = [recipe.fim.prefix, recipe.fim.suffix, recipe.fim.middle]
    for text, pieces in zip(texts, every, strict=True):
        for ids, form in pieces:
            own = ids[np.isin(ids, sentinels)].tolist()
            assert own == (sentinels if form in (Form.PSM, Form.SPM) else [])
        assert undone(deepseek.loaded, recipe, pieces) == text.encode()
