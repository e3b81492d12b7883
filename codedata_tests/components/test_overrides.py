"""Variables of the environment: which are read, which are slips, and which are somebody else's."""

import re
import sys
import warnings
from pathlib import Path

import dagster as dg
import pytest

from codedata import load_dataset
from codedata.cli.definition_errors import user_error
from codedata.components.overrides import unread_variables
from codedata_tests import scenario
from codedata_tests.components.yamls import tree_of

SPLITS = ["train", "train_small", "validation"]


def misspelt(name: str) -> str:
    """What a slip is taken for."""
    with pytest.raises(ValueError, match=f"^{name} is set, but codedata has no such variable") as e:
        unread_variables(SPLITS, {name: "64"})
    found = re.fullmatch(r".*, only (\w+); correct the name, or unset it", str(e.value))
    assert found is not None, e.value
    return found[1]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("CODEDATA_TRAIN_SEQ_LENGHT", "CODEDATA_TRAIN_SEQ_LENGTH"),
        ("CODEDATA_TRIAN_SEQ_LENGTH", "CODEDATA_TRAIN_SEQ_LENGTH"),
        ("CODEDATA_TRAIN_SMALL_SEQLENGTH", "CODEDATA_TRAIN_SMALL_SEQ_LENGTH"),
        ("CODEDATA_TRAIN_SMALL_CHUNK", "CODEDATA_TRAIN_SMALL_CHUNK_SIZE"),
        ("CODEDATA_TRAIN_CHUNKS", "CODEDATA_TRAIN_CHUNK_SIZE"),
        ("CODEDATA_TRAIN_LARGE_CHUNK_SIZE", "CODEDATA_TRAIN_SMALL_CHUNK_SIZE"),
        ("CODEDATA_VALIDATION_TOKENIZER", "CODEDATA_VALIDATION_TOKENIZER_BASE"),
        ("CODEDATA_ROOOT", "CODEDATA_ROOT"),
        ("CODEDATA_CORPSU", "CODEDATA_CORPUS"),
        ("CODEDATA_TOKENISER", "CODEDATA_TOKENIZER"),
        ("CODEDATA_NO_LOCKS", "CODEDATA_NO_LOCK"),
        ("CODEDATA_DASK_ADRESS", "CODEDATA_DASK_ADDRESS"),
    ],
)
def test_a_slip_is_refused_with_the_nearest_name(name: str, meant: str) -> None:
    assert misspelt(name) == meant


def test_what_is_read_is_no_slip_even_where_one_split_begins_like_another() -> None:
    names = ["ROOT", "CORPUS", "TOKENIZER", "DASK_ADDRESS", "NO_LOCK"]
    names += ["TRAIN_SEQ_LENGTH", "TRAIN_SMALL_SEQ_LENGTH"]
    assert unread_variables(SPLITS, {f"CODEDATA_{name}": "1" for name in names}) == []


def test_splits_of_alike_names_are_not_taken_for_slips_of_each_other() -> None:
    given = {f"CODEDATA_{split}_PAD_TOKEN": "1" for split in ("FR", "DE", "DEV")}
    assert unread_variables(["fr", "de", "dev"], given) == []


def test_an_empty_variable_is_as_good_as_unset() -> None:
    assert unread_variables(SPLITS, {"CODEDATA_ROOOT": "", "CODEDATA_X": ""}) == []


KUBERNETES = [
    "CODEDATA_PORT",
    "CODEDATA_PORT_80_TCP",
    "CODEDATA_PORT_80_TCP_ADDR",
    "CODEDATA_SERVICE_HOST",
    "CODEDATA_SERVICE_PORT",
    "CODEDATA_SERVICE_PORT_HTTP",
    "CODEDATA_TRAIN_PORT",
    "CODEDATA_TRAIN_SERVICE_HOST",
]
"""Of services `codedata` and `codedata-train`; the first is two letters from CODEDATA_ROOT."""


def test_what_kubernetes_sets_is_unread_and_no_slip() -> None:
    given = dict.fromkeys([*KUBERNETES, "CODEDATA_SOMETHING"], "tcp://10.0.0.1:80")
    assert unread_variables(SPLITS, given) == sorted(given)


SPLIT = """\
type: codedata.components.DatasetSplit
attributes: {{name: {name}, corpus: c, tokenizer_base: {name}}}
"""


@pytest.fixture
def tree(tmp_path: Path) -> dg.ComponentTree:
    """A code location of its own with the splits `mine` and `mine_too`, and no corpus."""
    return tree_of(tmp_path, {name: SPLIT.format(name=name) for name in ("mine", "mine_too")})


def build(tree: dg.ComponentTree) -> list[str]:
    """The warnings with which the definitions load."""
    with warnings.catch_warnings(record=True) as found:
        warnings.simplefilter("ignore", DeprecationWarning)  # Dagster's own use of pydantic
        warnings.simplefilter("always", UserWarning)
        tree.build_defs()
    return [str(each.message) for each in found if each.category is UserWarning]


def test_a_code_location_of_its_own_is_judged_by_its_own_splits(
    tree: dg.ComponentTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEDATA_MINE_TOO_SEQ_LENGTH", "64")
    monkeypatch.setenv("CODEDATA_TRAIN_SEQ_LENGTH", "64")
    monkeypatch.setenv("CODEDATA_PORT", "tcp://10.0.0.1:80")
    [said] = build(tree)  # once for both splits
    assert said.startswith("CODEDATA_PORT, CODEDATA_TRAIN_SEQ_LENGTH: set in the environment, but ")


def test_a_slip_stops_a_code_location_of_its_own(
    tree: dg.ComponentTree, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEDATA_MIEN_SEQ_LENGTH", "64")
    with pytest.raises(Exception, match="Error while building") as refusal:
        build(tree)
    assert "no such variable, only CODEDATA_MINE_SEQ_LENGTH" in str(user_error(refusal.value))


def test_the_resources_do_not_load_the_splits_of_the_package(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CODEDATA_TRIAN_SEQ_LENGTH", "64")
    monkeypatch.delitem(sys.modules, "codedata.definitions", raising=False)
    from codedata.definitions import resources

    assert sorted(resources) == ["chunk_executor", "dataset_io_manager", "datasets", "store"]


def test_load_dataset_judges_no_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scenario.write_dataset(tmp_path / "datasets/train", [[[1, 2]]], last_sample_tokens=[2])
    monkeypatch.setenv("CODEDATA_ROOT", str(tmp_path))
    monkeypatch.setenv("CODEDATA_ROOOT", "x")
    monkeypatch.setenv("CODEDATA_TRAIN_SEQ_LENGHT", "64")
    assert len(load_dataset("train")) == 1
