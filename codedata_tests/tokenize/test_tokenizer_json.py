"""A tokenizer.json is parsed as `json` parses it, its merges only when somebody asks."""

import json
from typing import Any

import pytest

from codedata.tokenize.structure import merge_that_aborts
from codedata.tokenize.tokenizer_json import Merges, parse_structure, without_parts

STRUCTURE: dict[str, Any] = {
    "version": "1.0",
    "truncation": {"max_length": 8},
    "padding": None,
    "added_tokens": [{"id": 3, "content": "<é🙂>", "special": True}],
    "model": {"type": "BPE", "dropout": None, "vocab": {"a": 0, "b": 1, "ab": 2}},
}
PAIRS = [["a", "b"], ["ab", '\u0120"\\']]


def written(merges: Any, *, indent: int | None = None) -> bytes:
    model = STRUCTURE["model"] | {"merges": merges, "continuing_subword_prefix": None}
    return json.dumps(STRUCTURE | {"model": model}, indent=indent).encode()


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("merges", [PAIRS, ["a b", "ab c"], [], None, "a b", {"a": "b"}])
def test_all_but_the_merges_is_as_json_parses_it(merges: Any, indent: int | None) -> None:
    data = written(merges, indent=indent)
    found, expected = parse_structure(data), json.loads(data)
    lazy = found["model"]["merges"]
    assert isinstance(lazy, Merges) == isinstance(merges, list)
    if isinstance(lazy, Merges):
        assert "_parsed" not in vars(lazy)
        assert len(lazy) == len(merges)
        found["model"]["merges"] = [*lazy]
    assert found == expected
    assert [*found["model"]] == [*expected["model"]]


def test_a_merge_that_aborts_is_found_among_those_that_were_not_parsed() -> None:
    structure = parse_structure(written(PAIRS))
    structure["model"]["continuing_subword_prefix"] = "##"
    assert merge_that_aborts(structure) == "b"


@pytest.mark.parametrize("data", [b"[1]", b"7", b'{"a": Infinity}', b'{"model": 7}', b"{}"])
def test_what_json_takes_besides_is_parsed_by_it(data: bytes) -> None:
    assert parse_structure(data) == json.loads(data)


@pytest.mark.parametrize("data", [b"", b"{", b'{"a": \n 1,}', b"[" * 100_000])
def test_what_is_wrong_is_said_as_json_says_it(data: bytes) -> None:
    with pytest.raises((ValueError, RecursionError)) as expected:
        json.loads(data)
    with pytest.raises((ValueError, RecursionError)) as found:
        parse_structure(data)
    assert str(found.value) == str(expected.value)


def test_parts_are_taken_out_and_the_rest_stays() -> None:
    data = written(PAIRS, indent=2)
    without = json.loads(without_parts(data, ["truncation", "padding"]))
    assert without == json.loads(data) | {"truncation": None}
