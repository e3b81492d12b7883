"""A recipe in a YAML: what does not fit is refused by its line; what fits is the split's."""

from pathlib import Path

import dagster as dg
import pytest

from codedata.components import DatasetSplit
from codedata.components.split_recipe import specs_of
from codedata.recipe.documents import DocumentRecipe, Fim
from codedata.resources import resources
from codedata_tests.components.test_from_yaml import CORPUS, refusal
from codedata_tests.components.yamls import tree_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's use of pydantic

SPLIT = """\
type: codedata.components.DatasetSplit
attributes:
  name: s
  corpus: c
  pad_token: 1
"""
NAMES = "documents, order, order_seed, packing, fim"
TRUTH = "as YAML also reads yes, no, on and off; write"
TOKEN = "the name of a token of the tokenizer, in quotes"
SEED = "a whole number from 0 to 9223372036854775807"
FIM = "rate, spm_rate, level, seed, tokens"
THREE = "auto, or the names of three tokens: {prefix: ..., suffix: ..., middle: ...}"

EOS = "recipe:\n    documents: {eos: e}\n    "

REFUSED = [  # below `attributes`; line, field, and what is said of it
    ("recipe: best_fit", 6, "", f"is 'best_fit'; write fields below it, of {NAMES}"),
    ("recipe: yes", 6, "", f"is true, {TRUTH} fields below it, of {NAMES}"),
    ("recipe: [concat]", 6, "", f"is ['concat']; write fields below it, of {NAMES}"),
    (
        "recipe: {}",
        6,
        ".documents.eos",
        f"is missing, the token after each document; write {TOKEN}",
    ),
    (
        "recipe:\n    paking: concat",
        7,
        "",
        f"has no field 'paking'; did you mean packing? there are {NAMES}",
    ),
    ("recipe:\n    eos: </s>", 7, "", f"has no field 'eos'; there are {NAMES}"),
    (
        "recipe:\n    documents: </s>",
        7,
        ".documents",
        "is '</s>'; write fields below it, of bos, eos, control_tokens",
    ),
    (
        "recipe:\n    documents:\n      bos: <s>",
        7,
        ".documents.eos",
        f"is missing, the token after each document; write {TOKEN}",
    ),
    ("recipe:\n    documents:\n      eos:", 8, ".documents.eos", f"is empty; write {TOKEN}"),
    ('recipe:\n    documents:\n      eos: ""', 8, ".documents.eos", f"is empty; write {TOKEN}"),
    ("recipe:\n    documents: {eos: 32014}", 7, ".documents.eos", f"is 32014; write {TOKEN}"),
    ("recipe:\n    documents: {eos: on}", 7, ".documents.eos", f"is true, {TRUTH} {TOKEN}"),
    (
        "recipe:\n    documents: {eos: e, bos: no}",
        7,
        ".documents.bos",
        f"is false, {TRUTH} {TOKEN}, or null for none",
    ),
    (
        "recipe:\n    documents: {eos: e, eod: e}",
        7,
        ".documents",
        "has no field 'eod'; did you mean eos? there are bos, eos, control_tokens",
    ),
    (
        "recipe:\n    documents: {eos: e, control_tokens: keep}",
        7,
        ".documents.control_tokens",
        "is 'keep'; write drop or text",
    ),
    (
        EOS + "order: shuffle",
        8,
        ".order",
        "is 'shuffle'; did you mean shuffled? write corpus or shuffled",
    ),
    (EOS + "order:", 8, ".order", "is empty; write corpus or shuffled"),
    (EOS + "order_seed: -1", 8, ".order_seed", f"is -1; write {SEED}"),
    (EOS + "order_seed: 1.5", 8, ".order_seed", f"is 1.5; write {SEED}"),
    (
        EOS + "packing: best-fit",
        8,
        ".packing",
        "is 'best-fit'; did you mean best_fit? write best_fit or concat",
    ),
    (EOS + "packing: {concat: 1}", 8, ".packing", "is {'concat': 1}; write best_fit or concat"),
    (EOS + "fim: yes", 8, ".fim", f"is true, {TRUTH} fields below it, of {FIM}"),
    (EOS + "fim: 0.5", 8, ".fim", f"is 0.5; write fields below it, of {FIM}"),
    (EOS + "fim:\n      rate: 50", 9, ".fim.rate", "is 50; write a number from 0 to 1"),
    (EOS + "fim: {rate: half}", 8, ".fim.rate", "is 'half'; write a number from 0 to 1"),
    (EOS + "fim: {spm_rate: .nan}", 8, ".fim.spm_rate", "is nan; write a number from 0 to 1"),
    (
        EOS + "fim: {level: contexts}",
        8,
        ".fim.level",
        "is 'contexts'; did you mean context? write context or document",
    ),
    (
        EOS + "fim: {seed: 99999999999999999999}",
        8,
        ".fim.seed",
        f"is 99999999999999999999; write {SEED}",
    ),
    (
        EOS + "fim: {ratio: 1}",
        8,
        ".fim",
        f"has no field 'ratio'; did you mean rate? there are {FIM}",
    ),
    (EOS + "fim: {tokens: aut}", 8, ".fim.tokens", f"is 'aut'; did you mean auto? write {THREE}"),
    (EOS + "fim: {tokens: [p, s]}", 8, ".fim.tokens", f"is ['p', 's']; write {THREE}"),
    (EOS + "fim: {tokens: [p, s, p]}", 8, ".fim.tokens", f"is ['p', 's', 'p']; write {THREE}"),
    (
        EOS + "fim: {tokens: {prefix: p, suffix: s, mid: m}}",
        8,
        ".fim.tokens",
        "is {'prefix': 'p', 'suffix': 's', 'mid': 'm'}; write " + THREE,
    ),
    (
        EOS + "fim:\n      tokens: [p, e, m]",
        9,
        ".fim.tokens",
        "has 'e', which is eos of recipe.documents too; name another token",
    ),
]


@pytest.mark.parametrize(("recipe", "line", "field", "said"), REFUSED)
def test_a_recipe_that_does_not_fit_is_refused_by_the_field_and_its_line(
    recipe: str, line: int, field: str, said: str, tmp_path: Path
) -> None:
    found = refusal(tmp_path, {"s": f"{SPLIT}  {recipe}\n"})
    assert found == f"s/defs.yaml:{line}: recipe{field} {said}"


def test_a_template_may_stand_in_a_recipe_and_the_job_has_the_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FIM_RATE", "0.25")
    recipe = "{documents: {eos: '</s>'}, fim: {rate: \"{{ env('FIM_RATE', '0.5') }}\"}}"
    yamls = {"s": f"{SPLIT}  recipe: {recipe}\n", "c": f"{CORPUS}    path: c.parquet\n"}
    made = tree_of(tmp_path, yamls).build_defs()
    defs = dg.Definitions.merge(made, dg.Definitions(resources=resources))
    assert specs_of(defs)["s"].recipe == DocumentRecipe(eos="</s>", fim=Fim(rate=0.25))


def test_editors_know_the_fields_of_a_recipe() -> None:
    [recipe, _] = DatasetSplit.model().model_json_schema()["properties"]["recipe"]["anyOf"]
    assert ", ".join(recipe["properties"]) == NAMES
    assert recipe["properties"]["documents"]["required"] == ["eos"]
    [fim, _] = recipe["properties"]["fim"]["anyOf"]
    assert ", ".join(fim["properties"]) == FIM
    assert fim["properties"]["level"]["enum"] == ["context", "document"]
