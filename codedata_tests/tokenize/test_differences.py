import itertools
import runpy
import unicodedata
from functools import cache
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codedata.tokenize import differences
from codedata.tokenize.differences import Twin, known_differences, probe_differences

_ROOT = Path(__file__).parents[2]
_FAMILIES: dict[str, list[dict[str, Any]]] = runpy.run_path(
    str(_ROOT / "tools" / "difference_tables.py")
)["families"]()

_ORDINARY = range(0x400, 0x440)
_NEW_IN_17 = 0x88F
"""ARABIC LETTER NOON WITH RING ABOVE: gigatoken has it, tokenizers 0.23 does not."""


@cache
def _twin(family: str) -> Twin:
    return Twin(_FAMILIES[family][0])


def _known(family: str) -> np.ndarray[Any, np.dtype[np.int32]]:
    ranges = known_differences(_FAMILIES[family][0])
    assert ranges is not None, "run `python tools/difference_tables.py` and commit what it writes"
    return ranges


@pytest.mark.parametrize("family", ["Llama 3", "Qwen 2", "DeepSeek V3"])
def test_around_the_edges_of_each_range_of_the_table_exactly_its_code_points_differ(
    family: str,
) -> None:
    ranges = _known(family)
    flags = np.zeros(0x110000, dtype=bool)
    for start, stop in ranges:
        flags[start:stop] = True
    assert flags[_NEW_IN_17]

    for edge in ranges.ravel().tolist():
        around = range(edge - 4, edge + 4)
        assert _twin(family).compare(around).tolist() == flags[around].tolist(), hex(edge)


def test_an_ordinary_script_and_ascii_differ_in_no_family() -> None:
    for family in _FAMILIES:
        flags = np.zeros(0x110000, dtype=bool)
        for start, stop in _known(family):
            flags[start:stop] = True
        assert not flags[:0x295].any(), family
    for code_points in (range(128), _ORDINARY, range(0x4E00, 0x4E40)):
        assert not _twin("Llama 3").compare(code_points).any()


def test_what_sentencepiece_does_with_spaces_differs_nowhere() -> None:
    for family in ("Llama 2", "Metaspace first", "Gemma 3"):
        assert _known(family).shape == (0, 2)
        for code_points in (range(128), range(0x2560, 0x25A0), range(0x2000, 0x2040)):
            assert not _twin(family).compare(code_points).any()


def test_a_step_that_gigatoken_passes_over_shows_in_ascii() -> None:
    structure = {**_FAMILIES["Llama 3"][0]}
    split, to_bytes = structure["pre_tokenizer"]["pretokenizers"]
    digits = {"type": "Digits", "individual_digits": True}
    structure["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [digits, split, to_bytes]}

    differing = Twin(structure).compare(range(128))

    assert [chr(each) for each in np.flatnonzero(differing)] == list("0123456789")


@pytest.fixture
def _few_code_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "_FULL", (range(128, 0x900),))
    monkeypatch.setattr(differences, "_OTHERS", ())


@pytest.fixture
def unknown() -> dict[str, Any]:
    return {
        **_FAMILIES["GPT-2"][0],
        "normalizer": {"type": "Sequence", "normalizers": [{"type": "NFC"}] * 2},
    }


@pytest.mark.usefixtures("_few_code_points")
def test_an_unknown_structure_is_probed_and_kept(
    unknown: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert known_differences(unknown) is None

    probed = probe_differences(unknown, seconds=60)

    assert [0x88F, 0x890] in probed.tolist()
    assert probed[-1].tolist() == [0xE000, 0x110000], "what no batch held"
    kept = known_differences(unknown)
    assert kept is not None
    assert np.array_equal(kept, probed)
    assert kept.dtype == np.int32


def test_what_a_probe_does_not_come_to_counts_as_differing_and_is_not_kept(
    unknown: dict[str, Any], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    probed = probe_differences(unknown, seconds=0)

    assert probed.tolist() == [[0, 0xD800], [0xE000, 0x110000]]
    assert known_differences(unknown) is None


@pytest.mark.parametrize("package", ["tokenizers", "gigatoken"])
def test_another_release_of_either_library_is_not_known(
    package: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        differences, "version", lambda name: "0" if name == package else version(name)
    )
    assert known_differences(_FAMILIES["Llama 3"][0]) is None


def test_flags_that_change_no_border_are_the_same_structure() -> None:
    plain = _FAMILIES["GPT-2"][0]
    old_spelling = {
        **plain,
        "normalizer": {"type": "Sequence", "normalizers": []},
        "pre_tokenizer": {"type": "ByteLevel", "add_prefix_space": False, "trim_offsets": False},
    }
    with_nfc = {**plain, "normalizer": {"type": "NFC"}}

    assert differences.structure_key(old_spelling) == differences.structure_key(plain)
    assert differences.structure_key(with_nfc) != differences.structure_key(plain)


def _tokens(twin: Twin, template: str, character: str) -> tuple[int, ...]:
    """The lengths of a line's tokens, in bytes."""
    text = template.replace("C", character)
    return tuple(len(each) for each in twin._library.encode(text).tokens)


def _splits(twin: Twin, context: str, character: str) -> tuple[int, ...]:
    pre_tokenizer = twin._library._tokenizer.pre_tokenizer
    assert pre_tokenizer is not None
    pieces = pre_tokenizer.pre_tokenize_str(context.replace("C", character))
    return tuple(start for _, (start, _) in pieces)


@pytest.mark.parametrize("family", ["o200k", "DeepSeek V3", "Llama 3"])
def test_the_lines_tell_apart_all_that_any_context_does(family: str) -> None:
    # One or two of each category, all of three bytes, and what DeepSeek V3 isolates.
    of_category: dict[str, list[str]] = {}
    for each in map(chr, range(0x800, 0xD800)):
        of_category.setdefault(unicodedata.category(each), []).append(each)
    characters = [each for found in of_category.values() for each in (found[0], found[-1])]
    characters += ["\u3040", "\u3041", "\u30a0", "中"]
    twin = _twin(family)
    contexts = [
        "".join(each)
        for length in (1, 2, 3)
        for each in itertools.product("CaA1!' \n\r/中", repeat=length)
        if "C" in each
    ]

    classes: dict[tuple[Any, ...], list[str]] = {}
    for character in characters:
        splits = tuple(_splits(twin, context, character) for context in contexts)
        classes.setdefault(splits, []).append(character)

    assert len(classes) >= 4
    seen = [
        {_tokens(twin, differences._CONTEXTS, each) for each in same} for same in classes.values()
    ]
    for one, other in itertools.combinations(seen, 2):
        assert not one & other
    unassigned = next(same for same in classes.values() if "\ud7ff" in same)
    few = {_tokens(twin, differences._FEW_CONTEXTS, each) for each in unassigned}
    for same in classes.values():
        if same is not unassigned and not {"\u3040", "\u3041", "\u30a0"} & {*same}:
            assert not few & {_tokens(twin, differences._FEW_CONTEXTS, each) for each in same}


@pytest.mark.campaign
def test_every_code_point_of_a_family_is_as_its_table_says() -> None:
    known = _known("o200k")

    assert np.array_equal(probe_differences(_FAMILIES["o200k"][0], seconds=100), known)
