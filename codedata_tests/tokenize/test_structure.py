"""What a tokenizer.json must declare for a shortcut, and each doubt that rules one out."""

import copy
from pathlib import Path
from typing import Any

import pytest
from tokenizers import AddedToken, Regex, pre_tokenizers

from codedata.tokenize.engines.pretokens import PretokensEngine
from codedata.tokenize.engines.registry import choose_engine
from codedata.tokenize.fidelity import check_fidelity
from codedata.tokenize.structure import Pretokenizer, find_pretokenizer
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata_tests import scenario
from codedata_tests.tokenize.structures import SAMPLE, loaded_from, qwen_like

STEPS = ("pre_tokenizer", "pretokenizers")
TWICE = {"type": "TemplateProcessing", "single": [{"Sequence": {}}, {"Sequence": {}}]}
UNKNOWN = {"type": "Sequence", "processors": [{"type": "SomethingNew"}]}


def replacing(pattern: dict[str, str], content: str) -> dict[str, Any]:
    return {"type": "Replace", "pattern": pattern, "content": content}


NO_CUT: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "a normalizer of any pattern": (("normalizer",), replacing({"Regex": "x+"}, ""), "may change"),
    "a normalizer of letters": (("normalizer",), replacing({"String": "x"}, " "), "may change"),
    "spaces that vanish": (("normalizer",), replacing({"String": " "}, ""), "replaces spaces"),
    "an unknown normalizer": (("normalizer",), {"type": "SomethingNew"}, "SomethingNew may"),
    "newlines not isolated": ((*STEPS, 0, "behavior"), "MergedWithNext", "no cut is known"),
    "another pattern first": ((*STEPS, 0, "pattern"), {"Regex": "\n+"}, "no cut is known"),
    "inverted": ((*STEPS, 0, "invert"), True, "what does not match"),
    "an unknown step": ((*STEPS, 0), {"type": "SomethingNew"}, "SomethingNew may look beyond"),
    "white space that gives no token": (("pre_tokenizer",), None, "reach over white space"),
    "a token with a newline": (("added_tokens", -1, "content"), "a\nb", "reach across"),
    "a token that a cut may divide": (("added_tokens", -1, "content"), "f(x)", "reach across"),
    "a token that strips to the left": (("added_tokens", -1, "lstrip"), True, "reach across"),
    "a token that strips to the right": (("added_tokens", -1, "rstrip"), True, "reach across"),
    "a token of a single word": (("added_tokens", -1, "single_word"), True, "reach across"),
    "a text that is framed twice": (("post_processor",), TWICE, "more than frame"),
    "an unknown post-processor": (("post_processor",), UNKNOWN, "more than frame"),
}
NO_MERGES: dict[str, tuple[tuple[str | int, ...], Any, str]] = {
    "marked ends of words": (("model", "end_of_word_suffix"), "</w>", "marks where words start"),
    "marked continuations": (("model", "continuing_subword_prefix"), "##", "marks where words"),
    "a byte without a token": (("model", "vocab"), {"a": 0}, "no token for 127 of the ASCII"),
    "whole words first": (("model", "ignore_merges"), True, "takes whole words"),
    "a normalizer that cuts allow": (
        ("normalizer",),
        {"type": "NFC"},
        "tokenizer normalizes it",
    ),
    "a last step that is not known": ((*STEPS, -2, "individual_digits"), False, "has no rules for"),
}


def changed(loaded: LoadedTokenizer, place: tuple[str | int, ...], value: Any) -> dict[str, Any]:
    structure = part = copy.deepcopy(loaded.structure)
    for key in place[:-1]:
        part = part[key]  # pyright: ignore[reportArgumentType]  (a list's index)
    part[place[-1]] = value  # pyright: ignore[reportArgumentType]
    return structure


@pytest.mark.parametrize(("place", "value", "why"), NO_CUT.values(), ids=NO_CUT)
def test_any_doubt_in_the_structure_means_whole_chunks(
    place: tuple[str | int, ...], value: Any, why: str, deepseek_like: LoadedTokenizer
) -> None:
    assert isinstance(find_pretokenizer(deepseek_like.structure), Pretokenizer)
    found = find_pretokenizer(changed(deepseek_like, place, value))
    assert isinstance(found, str)
    assert why in found


@pytest.mark.parametrize(("place", "value", "why"), NO_MERGES.values(), ids=NO_MERGES)
def test_a_model_that_does_more_than_merge_bytes_is_left_to_the_library(
    place: tuple[str | int, ...], value: Any, why: str, deepseek_like: LoadedTokenizer
) -> None:
    known = find_pretokenizer(deepseek_like.structure)
    assert isinstance(known, Pretokenizer)
    assert PretokensEngine.why_not(deepseek_like.structure, known) is None
    structure = changed(deepseek_like, place, value)
    found = find_pretokenizer(structure)
    assert isinstance(found, Pretokenizer)
    assert why in (PretokensEngine.why_not(structure, found) or "")


def test_what_proves_cuts_alone_is_left_to_blocks(tmp_path: Path) -> None:
    """A token looked for in normalized text; an unknown step after one that isolates newlines."""
    qwen, newlines = qwen_like(), scenario.train_tokenizer(scenario.deepseek_like())
    qwen.add_tokens([AddedToken("né(a", normalized=True)])
    newlines.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split("\n", "isolated"),
            pre_tokenizers.Split(Regex("[a-z]+ ?"), "isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    for tokenizer, why in ((qwen, "in normalized text"), (newlines, "step that isolates newlines")):
        loaded = loaded_from(tokenizer, tmp_path)
        engine = choose_engine(loaded)
        assert engine.name == "blocks"
        assert why in engine.reason
        check_fidelity(loaded, engine, SAMPLE)
