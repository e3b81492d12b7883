"""`codedata fetch`: what was pushed, in a folder; whole, or not at all."""

import os
from pathlib import Path

import pytest

from codedata.cli import main
from codedata_tests import scenario
from codedata_tests.hub.server import Hub
from codedata_tests.script_runs import contents

REPO = "me/c-train"


def write(folder: Path, *shards: list[list[int]]) -> Path:
    return scenario.write_facts(scenario.write_dataset(folder, shards))


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    capsys.readouterr()
    assert main(["fetch", *map(str, arguments)]) == 1
    [line] = capsys.readouterr().err.splitlines()
    return line


def test_a_dataset_of_the_hub_is_had_as_a_folder_and_the_older_one_is_replaced(
    hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    hub.tokens["hf_me"] = set()
    monkeypatch.setenv("HF_TOKEN", "hf_me")
    first = write(tmp_path / "first", [[1, 2]], [[3, 4]])
    second = write(tmp_path / "second", [[5, 6], [7, 8]])
    target = tmp_path / "fetched"
    assert main(["push", str(first), REPO]) == 0
    commit = hub.repos["dataset", REPO].refs["main"]
    assert main(["fetch", REPO, str(target)]) == 0
    assert contents(target) == contents(first)
    assert main(["push", str(second), REPO]) == 0
    assert main(["fetch", REPO, str(target)]) == 0
    assert contents(target) == contents(second)
    assert main(["fetch", f"{REPO}@{commit}", str(target)]) == 0
    assert contents(target) == contents(first)
    assert f"{target}: 2 files, 2 samples of 2 tokens, 4 tokens, digest " in capsys.readouterr().out
    assert sorted(os.listdir(tmp_path))[:2] == ["fetched", "first"], "nothing is left beside it"

    (target / "notes.txt").touch()
    assert "holds 'notes.txt'" in refused(capsys, REPO, target)
    said = refused(capsys, "me/none", tmp_path / "new")
    assert "the hub does not give dataset me/none: " in said
    assert not (tmp_path / "new").exists()
