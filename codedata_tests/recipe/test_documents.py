"""The recipe of a YAML: what it says, there and back, and what of it decides chunks."""

import json
import pickle
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codedata.errors import SettingsError
from codedata.recipe.documents import AUTO, DocumentRecipe, Fim
from codedata.recipe.judging import MAX_SEED, RecipeError

EOS = {"documents": {"eos": "</s>"}}

shares, seeds = st.floats(0, 1), st.integers(0, MAX_SEED)
names = st.text(min_size=1)
fims = st.builds(
    Fim,
    rate=shares,
    spm_rate=shares,
    level=st.sampled_from(["context", "document"]),
    seed=seeds,
    tokens=st.just(AUTO) | st.lists(names, min_size=3, max_size=3, unique=True).map(tuple),
)
recipes = st.builds(
    DocumentRecipe,
    eos=names,
    bos=st.none() | names,
    control_tokens=st.sampled_from(["drop", "text"]),
    order=st.sampled_from(["corpus", "shuffled"]),
    order_seed=seeds,
    packing=st.sampled_from(["best_fit", "concat"]),
    fim=st.none() | fims,
).filter(lambda each: each.fim is None or not {each.eos, each.bos} & {*each.fim.tokens})


def as_facts(value: Any) -> Any:
    """A mapping as facts keep it: None is left out, and no number is but a whole one."""
    if isinstance(value, dict):
        return {name: as_facts(each) for name, each in value.items() if each is not None}
    return str(value) if isinstance(value, float) else value


@given(recipes)
@settings(max_examples=30)
def test_a_recipe_is_itself_after_a_round_through_json_and_through_facts(
    recipe: DocumentRecipe,
) -> None:
    fields = recipe.as_dict()
    assert DocumentRecipe.of(json.loads(json.dumps(fields))) == recipe
    assert DocumentRecipe.of(as_facts(fields)) == recipe


def test_what_a_recipe_leaves_out_is_as_the_pages_say() -> None:
    assert DocumentRecipe.of(EOS) == DocumentRecipe(eos="</s>")
    assert DocumentRecipe.of(EOS).as_dict() == {
        "documents": {"bos": None, "eos": "</s>", "control_tokens": "drop"},
        "order": "corpus",
        "order_seed": 0,
        "packing": "best_fit",
        "fim": None,
    }
    fim = DocumentRecipe.of(EOS | {"fim": {}}).fim
    assert fim == Fim(rate=0.5, spm_rate=0.5, level="context", seed=0, tokens="auto")


def test_numbers_may_be_texts_and_whole_ones_are_shares_too() -> None:
    """What a template hands over, and what decides the same must hash the same."""
    fim = {"rate": "0.25", "spm_rate": 1, "seed": "7", "tokens": ["<p>", "<s>", "<m>"]}
    found = DocumentRecipe.of(EOS | {"order_seed": "3", "fim": fim})
    assert found.order_seed == 3
    assert found.fim == Fim(rate=0.25, spm_rate=1.0, seed=7, tokens=("<p>", "<s>", "<m>"))
    assert json.dumps(found.as_dict()["fim"]["spm_rate"]) == "1.0"
    by_name = {"middle": "<m>", "prefix": "<p>", "suffix": "<s>"}
    assert DocumentRecipe.of(EOS | {"fim": fim | {"tokens": by_name}}).fim == found.fim


CHUNKS_STAY = ({"order": "shuffled"}, {"order_seed": 5})
CHUNKS_CHANGE = (
    {"eos": "<e>"}, {"bos": "<b>"}, {"control_tokens": "text"}, {"packing": "concat"},
    {"fim": Fim()},
)  # fmt: skip


def test_of_a_recipe_all_but_the_order_decides_chunks() -> None:
    recipe = DocumentRecipe(eos="</s>")
    before = recipe.of_chunks(64)
    assert recipe.of_chunks(32) != before, "which tells how many samples best fit makes"
    assert all(replace(recipe, **each).of_chunks(64) == before for each in CHUNKS_STAY)
    assert all(replace(recipe, **each).of_chunks(64) != before for each in CHUNKS_CHANGE)
    concat = replace(recipe, packing="concat")
    assert concat.of_chunks(64) == concat.of_chunks(32)
    asked = replace(concat, fim=Fim())
    assert asked.of_chunks(64) != asked.of_chunks(32), "pieces are cut for it"


def test_a_refusal_says_where_it_is_and_survives_pickling() -> None:
    with pytest.raises(SettingsError) as found:
        DocumentRecipe.of(EOS | {"fim": {"rate": 2}})
    copy = pickle.loads(pickle.dumps(found.value))
    assert isinstance(copy, RecipeError)
    assert (str(copy), copy.path) == (str(found.value), ("recipe", "fim", "rate"))
