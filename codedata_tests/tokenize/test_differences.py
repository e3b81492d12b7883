import itertools
import runpy
import unicodedata
from functools import cache
from importlib.metadata import version
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from codedata.tokenize import differences
from codedata.tokenize.differences import Twin, known_differences, probe_differences

_ROOT = Path(__file__).parents[2]
_FAMILIES: dict[str, list[dict[str, Any]]] = runpy.run_path(
    str(_ROOT / "tools" / "difference_tables.py")
)["families"]()


@cache
def _twin(family: str) -> Twin:
    return Twin(_FAMILIES[family][0])


def _known(family: str) -> np.ndarray[Any, np.dtype[np.int32]]:
    ranges = known_differences(_FAMILIES[family][0])
    assert ranges is not None, "run `python tools/difference_tables.py` and commit what it writes"
    return ranges


def _flags(family: str) -> np.ndarray[Any, np.dtype[np.bool_]]:
    flags = np.zeros(0x110000, dtype=bool)
    for start, stop in _known(family):
        flags[start:stop] = True
    return flags


@pytest.mark.parametrize("family", ["Qwen 2", "DeepSeek V3"])
def test_a_probe_of_blocks_finds_the_code_points_of_the_table_there(family: str) -> None:
    flags = _flags(family)
    blocks = sorted({edge // 128 for edge in _known(family).ravel().tolist()})
    assert len(blocks) > 30

    for block in blocks[::3]:
        code_points = range(block * 128, block * 128 + 128)
        assert np.array_equal(_twin(family).compare(code_points), flags[code_points]), hex(block)


def test_what_is_new_or_composes_anew_is_in_the_table() -> None:
    new_letter, new_pair = 0x88F, (0x11935, 0x11930)  # of Unicode 17; composes since 13

    assert _flags("GPT-2")[new_letter]
    assert not _flags("GPT-2")[[*new_pair]].any()
    assert _flags("Qwen 2")[[*new_pair]].any()


def test_an_ordinary_script_and_ascii_differ_in_no_family() -> None:
    for family in _FAMILIES:
        assert not _flags(family)[:0x295].any(), family
    for code_points in (range(128), range(0x400, 0x440), range(0x4E00, 0x4E40)):
        assert not _twin("Qwen 2").compare(code_points).any()


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

    assert {*b"0123456789"} <= {*np.flatnonzero(differing)}


@pytest.fixture
def few_code_points(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(differences, "_FULL", (range(128, 0x900),))
    monkeypatch.setattr(differences, "_OTHERS", ())


@pytest.mark.usefixtures("few_code_points")
def test_an_unknown_structure_is_probed_and_kept(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    twice = {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "NFC"}]}
    unknown = {**_FAMILIES["GPT-2"][0], "normalizer": twice}
    assert known_differences(unknown) is None

    probed = probe_differences(unknown, seconds=60)

    assert [0x88F, 0x890] in probed.tolist()
    assert probed[-1].tolist() == [0xE000, 0x110000], "what no batch held"
    kept = known_differences(unknown)
    assert kept is not None
    assert np.array_equal(kept, probed)
    assert kept.dtype == np.int32


def test_what_a_probe_does_not_come_to_counts_as_differing(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    strip = {"type": "Strip", "strip_left": True, "strip_right": True}
    unknown = {**_FAMILIES["Metaspace first"][0], "normalizer": strip}

    probed = probe_differences(unknown, seconds=0)

    assert probed.tolist() == [[0, 0xD800], [0xE000, 0x110000]]
    assert known_differences(unknown) is None


def test_a_probe_that_ran_out_of_time_goes_on_where_it_was(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    batches = [range(0x400, 0x440), range(0x880, 0x8A0), range(0x4E00, 0x4E20)]
    monkeypatch.setattr(differences, "_batches", lambda: iter(batches))
    compared: list[range] = []
    real = Twin.compare

    def counted(self: Twin, code_points: range) -> np.ndarray[Any, np.dtype[np.bool_]]:
        compared.append(code_points)
        return real(self, code_points)

    monkeypatch.setattr(Twin, "compare", counted)
    clock = iter([0, 1, 2, 60])
    # Its own clock: other threads of the process go by the real one.
    monkeypatch.setattr(differences, "time", SimpleNamespace(monotonic=lambda: next(clock)))
    structure = _FAMILIES["Llama 3"][0]
    first = probe_differences(structure)
    assert compared == batches[:2]
    clock = iter([0, 1])
    second = probe_differences(structure)
    assert compared == batches
    assert [0x88F, 0x890] in first.tolist()
    assert 0x4E00 in range(*next(each for each in first.tolist() if each[1] > 0x4E00))
    assert not any(start <= 0x4E00 < stop for start, stop in second.tolist())


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


@pytest.mark.parametrize("family", ["o200k", "DeepSeek V3"])
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
    of_this_plane = {"\u3040", "\u3041", "\u30a0", "中"}
    unassigned = next(same for same in classes.values() if "\ud7ff" in same)
    few = {_tokens(twin, differences._FEW_CONTEXTS, each) for each in unassigned}
    for same in classes.values():
        if same is not unassigned and (family != "DeepSeek V3" or not of_this_plane & {*same}):
            assert not few & {_tokens(twin, differences._FEW_CONTEXTS, each) for each in same}


@pytest.mark.campaign
def test_every_code_point_of_a_family_is_as_its_table_says() -> None:
    known = _known("o200k")

    assert np.array_equal(probe_differences(_FAMILIES["o200k"][0], seconds=100), known)
