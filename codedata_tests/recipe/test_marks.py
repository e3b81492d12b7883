"""What the recipes of several datasets say, and what one model may not learn from together."""

from pathlib import Path
from typing import Any

from codedata.format.facts import Facts, parse_facts
from codedata.recipe.marks import MARKS, differing, marks_of
from codedata_tests import scenario


def facts_with(folder: Path, recipe: dict[str, Any] | None) -> Facts:
    scenario.write_facts(scenario.write_dataset(folder, [[[1, 2]]]), recipe=recipe)
    return parse_facts((folder / "codedata.yaml").read_bytes())


def test_tokens_of_a_recipe_are_compared_and_what_is_each_dataset_s_own_is_not(
    tmp_path: Path,
) -> None:
    framing = {"documents": {"eos": "</s>", "bos": "<s>", "control_tokens": "drop"}}
    own = {"documents": {**framing["documents"], "control_tokens": "text"}, "packing": "concat"}
    named = {"prefix": "<p>", "suffix": "<s>", "middle": "<m>"}
    recipes: list[dict[str, Any] | None] = [
        None,
        framing | {"fim": {"rate": 0.5, "tokens": "auto"}},
        own | {"fim": {"rate": 0.9, "tokens": named}},
        {"documents": {"eos": "</s>"}, "fim": {"tokens": named | {"middle": "<n>"}}},
    ]
    facts = [facts_with(tmp_path / str(number), recipe) for number, recipe in enumerate(recipes)]
    names, marks = ["old", "a", "b", "c", "none"], [*map(marks_of, facts), marks_of(None)]
    said = {what: differing(names, what, [each[what] for each in marks]) for what in MARKS}
    assert said == {
        "eos": [],
        "bos": ["bos of a is <s>, of c none"],
        "fim tokens": ["fim tokens of b is <p> <s> <m>, of c <p> <s> <n>"],
    }
