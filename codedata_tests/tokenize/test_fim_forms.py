"""Which pieces have other tokens than their form has, by hand."""

from typing import Any

import numpy as np
import pytest

from codedata.format.documents import Form
from codedata.recipe.documents import DocumentRecipe, FimIds, ResolvedRecipe
from codedata.tokenize.fim_forms import other_than_form

BOS, PRE, SUF, MID, EOS = 90, 91, 92, 93, 94
PLAIN, PSM, SPM = Form.PLAIN, Form.PSM, Form.SPM
SHA256S = ["a" * 64, "b" * 64]


def recipe(*, bos: int | None = BOS, **fim: Any) -> ResolvedRecipe:
    named = DocumentRecipe.of(
        {"documents": {"eos": "e"}, "fim": {"tokens": ["p", "s", "m"], **fim}}
    )
    ids = FimIds(prefix=PRE, suffix=SUF, middle=MID)
    return ResolvedRecipe(recipe=named, bos=bos, eos=EOS, fim=ids)


def wrong(of: ResolvedRecipe, *pieces: tuple[int, list[int], Form]) -> list[int]:
    """Which of some pieces: a document, ids and a form each."""
    ids = np.array([id_ for _, own, _ in pieces for id_ in own], np.uint16)
    rows = np.array([(document, len(own), form) for document, own, form in pieces], np.int32)
    return other_than_form(of, ids, rows.reshape(-1, 3), SHA256S.__getitem__).tolist()


RIGHT = [
    (0, [BOS, PRE, 1, SUF, 2, MID, 3], PSM),
    (0, [1, 2], PLAIN),
    (0, [PRE, SUF, 2, 1, MID, 3, EOS], SPM),
    (1, [BOS, PRE, SUF, MID, 3, 4], SPM),
    (1, [PRE, 5, SUF, MID], PSM),
    (1, [3, EOS], Form.TOO_LONG),
]


def test_pieces_of_every_form_and_those_of_no_document() -> None:
    assert wrong(recipe(rate=1.0, spm_rate=1.0), *RIGHT) == []
    assert wrong(recipe(rate=1.0, spm_rate=1.0)) == []


@pytest.mark.parametrize("piece", range(len(RIGHT)))
def test_each_other_form_is_told_from_its_tokens(piece: int) -> None:
    document, ids, form = RIGHT[piece]
    plain = {PLAIN, Form.TOO_LONG, Form.LEFT_PLAIN}
    for other in {*Form} - (plain if form in plain else {form}):
        changed = [*RIGHT[:piece], (document, ids, other), *RIGHT[piece + 1 :]]
        assert wrong(recipe(rate=1.0, spm_rate=1.0), *changed) == [piece]


@pytest.mark.parametrize(
    "ids",
    [
        [BOS, 1, PRE, SUF, 2, MID, 3],
        [PRE, 1, SUF, 2, MID, 3],
        [BOS, PRE, 1, MID, 2, SUF, 3],
        [BOS, PRE, 1, SUF, 2, 3],
        [BOS, PRE, 1, SUF, 2, MID, 3, MID],
        [BOS, PRE, 1, SUF, 2, SUF, 3],
    ],
    ids=["a token before", "no bos", "another order", "no middle", "a fourth", "one twice"],
)
def test_sentinels_stand_there_once_each_in_their_places(ids: list[int]) -> None:
    assert wrong(recipe(rate=1.0, spm_rate=1.0), (0, ids, PSM), *RIGHT[1:]) == [0]


def test_without_bos_a_document_begins_with_its_prefix() -> None:
    first = [PRE, 1, SUF, 2, MID, 3]
    assert wrong(recipe(bos=None), (0, first, PSM)) == []
    assert wrong(recipe(bos=None), (0, [BOS, *first], PSM)) == [0]


def test_where_the_prefix_has_no_tokens_what_was_drawn_decides() -> None:
    pieces = [(0, [BOS, PRE, SUF, 2, MID, 3], PSM), (0, [PRE, SUF, 2, MID, 3], SPM)]
    expected = {0.0: [1], 1.0: [0]}
    for spm_rate, found in expected.items():
        assert wrong(recipe(rate=1.0, spm_rate=spm_rate), *pieces) == found


def test_a_recipe_without_fill_in_the_middle_has_plain_pieces_alone() -> None:
    plain = ResolvedRecipe(
        recipe=DocumentRecipe.of({"documents": {"eos": "e"}}), bos=None, eos=EOS, fim=None
    )
    assert wrong(plain, (0, [PRE, 1, EOS], PLAIN), (1, [PRE, 5, SUF, MID], PSM)) == [1]
