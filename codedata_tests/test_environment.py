"""A .env beside the command: Dagster's commands, codedata's and plain Python see the same."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from codedata import cli, load_dataset
from codedata.environment import take_env_file, variables
from codedata.errors import SettingsError
from codedata.layout import Layout
from codedata_tests import scenario

ENV_FILE = """\
# What python-dotenv reads: comments, quotes, `export`, variables in others, and no value at all.
BASE='{folder}/with space'
export CODEDATA_ROOT="${{BASE}}/root"   # where everything goes
CODEDATA_TRAIN_SEQ_LENGTH=64
HF_TOKEN=of_the_file
CODEDATA_TOKENIZER
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working folder with a .env, and no variable of ours in the environment."""
    (tmp_path / ".env").write_text(ENV_FILE.format(folder=tmp_path), encoding="utf-8")
    for name in [*os.environ]:
        if name.startswith(("CODEDATA_", "DAGSTER_", "HF_TOKEN")):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_plain_python_takes_what_is_ours_and_leaves_the_environment_alone(folder: Path) -> None:
    before = dict(os.environ)
    root = folder / "with space" / "root"
    assert variables() == {"CODEDATA_ROOT": str(root), "CODEDATA_TRAIN_SEQ_LENGTH": "64"}
    assert Layout.from_environment().root == root
    scenario.write_dataset(root / "datasets/train", [[[1, 2]]], last_sample_tokens=[2])
    assert len(load_dataset("train")) == 1
    assert dict(os.environ) == before


def test_a_variable_that_is_set_wins_even_where_it_is_empty(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEDATA_ROOT", "/elsewhere")
    assert Layout.from_environment().root == Path("/elsewhere")
    monkeypatch.setenv("CODEDATA_ROOT", "")
    assert Layout.from_environment().root == folder / "data"


def test_a_command_takes_the_whole_file(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "environ", {**os.environ, "CODEDATA_TRAIN_SEQ_LENGTH": "128"})
    dataset = scenario.write_dataset(folder / "d", [[[1, 2]]])
    assert cli.main(["verify", str(dataset)]) == 0
    assert os.environ["HF_TOKEN"] == "of_the_file"
    assert os.environ["CODEDATA_ROOT"] == f"{folder}/with space/root"
    assert os.environ["CODEDATA_TRAIN_SEQ_LENGTH"] == "128"
    assert "CODEDATA_TOKENIZER" not in os.environ


def test_a_file_that_changes_is_read_again(folder: Path) -> None:
    assert variables()["CODEDATA_TRAIN_SEQ_LENGTH"] == "64"
    (folder / ".env").write_text("CODEDATA_TRAIN_SEQ_LENGTH=2048\n", encoding="utf-8")
    assert variables() == {"CODEDATA_TRAIN_SEQ_LENGTH": "2048"}
    (folder / ".env").unlink()
    assert variables() == {}


def test_a_file_that_cannot_be_read_is_named(folder: Path) -> None:
    for content, said in {
        b"CODEDATA_ROOT=\xff": "it is no UTF-8",
        b"HF_TOKEN=a\0b": "'HF_TOKEN' holds a NUL",
    }.items():
        (folder / ".env").write_bytes(content)
        for use in (variables, take_env_file):
            with pytest.raises(SettingsError, match=f"^{folder}/.env cannot be read: {said}"):
                use()


PROBE = '''\
"""A code location whose job says the root that its resources have."""

import dagster as dg

from codedata.definitions import resources


@dg.asset
def root(context: dg.AssetExecutionContext) -> None:
    context.log.info(f"root is {resources['store'].layout.root}!")


defs = dg.Definitions(
    assets=[root],
    jobs=[dg.define_asset_job("say", selection="root")],
    executor=dg.in_process_executor,
)
'''


@pytest.mark.campaign
def test_dagster_codedata_and_load_dataset_have_the_same_root_of_one_file(folder: Path) -> None:
    (folder / "probe.py").write_text(PROBE, encoding="utf-8")
    root = f"{folder}/with space/root"
    load = "import codedata; codedata.load_dataset('train')"
    dagster = str(Path(sys.executable).with_name("dagster"))
    for command, said in (
        ([dagster, "job", "execute", "-m", "probe", "-j", "say"], f"root is {root}!"),
        ([sys.executable, "-m", "codedata", "materialize", "no_such"], "there is no split"),
        ([sys.executable, "-c", load], f"split 'train' has no dataset in {root}/datasets/train"),
    ):
        done = subprocess.run(
            command,
            env={**os.environ, "PYTHONPATH": str(folder)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert said in done.stdout + done.stderr
        if command[-1] == "no_such":
            assert os.listdir(root) == [".dagster"], "the command made its instance there"
