"""Which engine a tokenizer gets, and one of a single file from outside the package."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from codedata.errors import SettingsError
from codedata.store.dataset_folder import open_dataset
from codedata.tokenize.engines import registry
from codedata.tokenize.engines.base import PieceEngine, as_utf8, reference_ids
from codedata.tokenize.engines.registry import (
    choose_engine,
    engine_choices,
    explain_choice,
    register,
)
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata_tests.script_runs import command, run_here
from codedata_tests.tokenize.structures import FORCED, SAMPLE, STRUCTURES

CHOSEN = {name: [*engines, "whole"][0] for name, engines in FORCED.items()}


@pytest.mark.parametrize("name", STRUCTURES)
def test_structure_decides_the_engine_and_one_that_is_forced_is_proven_or_refused(
    name: str, tokenizers_by_name: dict[str, LoadedTokenizer]
) -> None:
    loaded = tokenizers_by_name[name]
    assert choose_engine(loaded).name == CHOSEN[name]
    for forced in engine_choices()[1:]:
        if forced not in (*FORCED[name], "whole"):
            why = rf"'{forced}' is not proven .*; choose 'auto' or '{CHOSEN[name]}'"
            with pytest.raises(SettingsError, match=why):
                choose_engine(loaded, forced)
        else:
            engine = choose_engine(loaded, forced)
            assert engine.name == forced
            assert engine.encode(as_utf8(SAMPLE)).ids.tolist() == reference_ids(loaded, SAMPLE)


def test_the_log_says_which_engine_it_is_and_where_to_look_if_it_is_slow(
    tokenizers_by_name: dict[str, LoadedTokenizer], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO", logger=registry.__name__):
        for name in ("gpt2", "metaspace", "unknown"):
            choose_engine(tokenizers_by_name[name])
    fast, *slow = caplog.messages
    assert "gigatoken (GPT-2's pre-tokenizer)" in fast
    assert "codedata tokenizer" not in fast
    assert all("` says what would be faster" in each for each in slow)


def test_a_name_that_no_engine_has_is_refused_with_those_that_there_are(
    gpt2_like: LoadedTokenizer,
) -> None:
    known = "'fast' is not known; choose one of auto, gigatoken, pretokens, words, blocks, whole"
    with pytest.raises(SettingsError, match=known):
        choose_engine(gpt2_like, "fast")


ONE_FILE = """
from codedata.tokenize.engines.base import PieceEngine

class OneByOne(PieceEngine):
    name = "one_by_one"
    piece_bytes = 2_000

    @classmethod
    def why_not(cls, structure, pretokenizer):
        return None if pretokenizer.rules else "it is of another family"

    def encode_pieces(self, text, pieces, *, threads):
        return [self.by_library(text, [piece])[0] for piece in pieces]
"""


@pytest.fixture
def one_by_one(monkeypatch: pytest.MonkeyPatch) -> type[PieceEngine]:
    """The engine of that file, registered in this process for a test."""
    monkeypatch.setattr(registry, "_registered", {})
    names: dict[str, type[PieceEngine]] = {}
    exec(ONE_FILE, names)  # noqa: S102  (the module that the other test installs)
    return register(names["OneByOne"])


def test_a_registered_engine_is_asked_first_and_chosen_where_it_is_exact(
    one_by_one: type[PieceEngine], deepseek_like: LoadedTokenizer, gpt2_like: LoadedTokenizer
) -> None:
    own = ["gigatoken", "pretokens", "words", "blocks", "whole"]
    assert engine_choices() == ["auto", "one_by_one", *own]
    engine = choose_engine(deepseek_like)
    assert isinstance(engine, one_by_one)
    assert engine.encode(as_utf8(SAMPLE)).ids.tolist() == reference_ids(deepseek_like, SAMPLE)
    other = choose_engine(gpt2_like)
    assert (other.name, other.reason) == ("gigatoken", "one_by_one: it is of another family")
    with pytest.raises(SettingsError, match=r"one_by_one: it is of.*'auto' or 'gigatoken'"):
        choose_engine(gpt2_like, "one_by_one")


@pytest.mark.parametrize("name", STRUCTURES)
def test_a_choice_is_explained_by_what_is_against_the_engines_before_it(
    name: str, tokenizers_by_name: dict[str, LoadedTokenizer]
) -> None:
    engine, against = explain_choice(tokenizers_by_name[name])
    _, *asked = engine_choices()
    assert [each for each, _ in against] == asked[: asked.index(engine.name)]
    assert all(why in engine.reason for _, why in against)


def test_an_engine_is_not_asked_where_no_cut_is_proven(
    one_by_one: type[PieceEngine], tokenizers_by_name: dict[str, LoadedTokenizer]
) -> None:
    """There would be nothing to compare: the library itself tokenizes such a text."""
    loaded = tokenizers_by_name["unknown"]
    assert choose_engine(loaded).name == "whole"
    with pytest.raises(SettingsError, match="of which no cut is known"):
        choose_engine(loaded, one_by_one.name)


def test_an_engine_from_outside_cannot_take_a_name_of_codedata_s_own(
    one_by_one: type[PieceEngine],
) -> None:
    register(type("Whole", (one_by_one,), {"name": "whole"}))
    with pytest.raises(SettingsError, match="from outside codedata is named 'whole'"):
        engine_choices()


def test_the_script_makes_the_same_dataset_with_the_engine_of_an_installed_package(
    switches: list[str], tmp_path: Path
) -> None:
    """One file, and the entry point that names it, as an installed package leaves them."""
    installed = tmp_path / "installed"
    about = installed / "one_by_one-1.0.dist-info"
    about.mkdir(parents=True)
    (installed / "one_by_one_engine.py").write_text(ONE_FILE, encoding="utf-8")
    (about / "METADATA").write_text("Metadata-Version: 2.1\nName: one-by-one\nVersion: 1.0\n")
    entry = "[codedata.engines]\none_by_one = one_by_one_engine:OneByOne\n"
    (about / "entry_points.txt").write_text(entry)
    assert run_here(switches) == 0
    own = Path(switches[3])
    switches[3] = str(tmp_path / "made")
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(installed), *sys.path])}
    done = subprocess.run(
        command(switches), env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    made, other = Path(switches[3]), open_dataset(own).digest
    assert open_dataset(made, verify=True).digest == other
    for folder, engine in ((own, "pretokens"), (made, "one_by_one")):
        facts = open_dataset(folder).facts
        assert facts is not None
        assert facts.engine == engine
