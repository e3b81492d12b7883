"""What the next run makes anew, or at all, is said before it: by `list`, and by a dry run."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from codedata.cli import main
from codedata.layout import ROOT_VARIABLE
from codedata_tests import scenario
from codedata_tests.cli.test_project import (
    edit,
    forget_modules,
    own_environment,
    write_project,
)

SPLIT = {
    "corpus": "c",
    "tokenizer_asset": "tok",
    "matches_transformers": False,
    "seq_length": 64,
    "min_sample_length": 10,
    "pad_token": 1,
    "chars_to_tokenize": 60_000,
    "chunk_size": 20_000,
}
COMPONENTS: dict[str, tuple[str, dict[str, Any]]] = {
    "c": ("RawCorpus", {"source": {"kind": "folders", "folders": {"src": "src"}}}),
    "tok": ("TrainedTokenizer", {"corpus": "c", "vocab_size": 400, "chars_to_train_on": 50_000}),
    "small": ("DatasetSplit", SPLIT),
    "late": ("DatasetSplit", SPLIT | {"starting_character": 10**6}),
}


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a project whose corpus and tokenizer are made of a folder of files."""
    folder = tmp_path / "project"
    write_project(folder, COMPONENTS)
    (folder / "src").mkdir()
    for number, text in enumerate(scenario.c_documents(40)):
        (folder / "src" / f"{number}.c").write_text(text, encoding="utf-8")
    monkeypatch.chdir(folder)
    for variable in [name for name in os.environ if name.startswith(("CODEDATA_", "DAGSTER_"))]:
        monkeypatch.delenv(variable)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return folder


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command says, as a process of its own would."""

    def run(*arguments: str) -> str:
        forget_modules()
        assert main(arguments) == 0
        return capsys.readouterr().out

    return run


def test_what_the_next_run_makes_anew_is_said_by_list_and_by_a_dry_run(
    project: Path, said: Callable[..., str]
) -> None:
    def why() -> list[str]:
        found = json.loads(said("list", "--json"))["splits"]
        [split] = [each for each in found if each["name"] == "small"]
        assert split["state"] == ("stale" if split["why"] else "made")
        return split["why"]

    def planned() -> str:
        return said("materialize", "--dry-run", "small")

    first = planned()
    assert "  fetch     nothing\n" in first
    assert "  tokens    about 20,000, at 3 characters a token; 312 samples of 64\n" in first
    assert re.search(r"  disk      about \d.* MB; .* free\n", first)
    assert "how long is known when c/raw_parquet is here" in first
    assert not (project / "data").exists()

    done = subprocess.run(
        [sys.executable, "-m", "codedata", "materialize", "small", "late"],
        env=own_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, "split 'late': " in done.stderr) == (1, True), done.stderr
    assert "datasets/small: 3 files, " in done.stdout, "the split before it is made, and is named"
    assert why() == []
    assert "; 3 of 3 chunks are finished\n" in planned()

    file = project / "src" / "0.c"
    before, changed = file.stat(), "corpus c changed: its source in the YAML, or its files"
    file.touch()
    assert why() == [changed]
    again = planned()
    assert f"  again     all chunks: {changed}\n" in again
    assert re.search(r", at (?!3 )[\d.]+ characters a token; ", again), "the trained tokenizer's"
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert why() == []

    edit(project, "tok", vocab_size=350)
    assert why() == ["tokenizer tok changed in its YAML"]
    again = planned()
    assert "  again     all chunks: tokenizer tok changed in its YAML\n" in again
    assert "; 0 of 3 chunks are finished\n" in again
    edit(project, "tok", vocab_size=400)
    assert "; 3 of 3 chunks are finished\n" in planned()


@pytest.mark.campaign
def test_a_dry_run_without_a_network_says_what_it_cannot_know_and_asks_once(
    tmp_path: Path,
) -> None:
    environment = {
        **own_environment(),
        ROOT_VARIABLE: str(tmp_path / "root"),
        "HF_HOME": str(tmp_path / "hf"),
        "HF_ENDPOINT": "http://127.0.0.1:9",
        "HF_HUB_OFFLINE": "0",
    }
    done = subprocess.run(
        [sys.executable, "-m", "codedata", "materialize", "--dry-run", "train", "validation"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    waited = re.findall(r"; trying again in (\d+) s ", done.stderr)
    assert 0 < sum(map(int, waited)) < 30, "and not a minute a question"
    assert done.stdout.count("  fetch     not known: the hub is not reached\n") == 2
    assert done.stdout.count(", at 3 characters a token; ") == 2
    assert "tokenizer" not in done.stderr
    assert not (tmp_path / "root").exists()


def test_a_reader_that_leaves_a_dry_run_is_no_error(project: Path) -> None:
    command = f"{sys.executable} -m codedata materialize --dry-run small | true"
    done = subprocess.run(
        ["/bin/bash", "-c", f"{command}; echo ${{PIPESTATUS[0]}}"],
        cwd=project,
        env=own_environment() | {"PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.stdout, done.stderr) == ("141\n", "")
