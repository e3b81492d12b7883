"""`codedata verify`: every folder is looked at, and damage is said, as a line and as JSON."""

import json
from pathlib import Path

import pytest

from codedata.cli import main
from codedata.format.ranges import CharRange
from codedata.store.dataset_folder import open_dataset
from codedata_tests import scenario
from codedata_tests.test_loading import damage

SHARDS = [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9, 10, 11, 600]]]
CHARS = [CharRange(0, 100), CharRange(100, 150)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return scenario.write_dataset(tmp_path / "d", SHARDS, chars=CHARS)


def test_verify_says_that_a_dataset_is_whole(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(folder)]) == 0
    captured = capsys.readouterr()
    digest = open_dataset(folder).digest
    said = f"whole; 2 files, 3 samples of 4 tokens, 12 tokens, digest {digest}"
    assert captured.out == f"{folder}: {said}\n"
    assert captured.err == ""


@pytest.mark.parametrize("order", [("good", "bad", "other"), ("bad", "good", "other")])
def test_verify_goes_through_all_folders_and_fails_if_one_is_bad(
    order: tuple[str, ...], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in order:
        scenario.write_dataset(tmp_path / name, SHARDS, chars=CHARS)
    damage(tmp_path / "bad")
    assert main(["verify", *(str(tmp_path / name) for name in order)]) == 1
    captured = capsys.readouterr()
    whole = [line.partition(": whole; ")[0] for line in captured.out.splitlines()]
    assert whole == [f"{tmp_path}/good", f"{tmp_path}/other"]
    [line] = captured.err.splitlines()
    assert f"{tmp_path}/bad/dump-1.pkl" in line


def test_json_has_an_object_a_dataset_and_errors_are_still_said_on_stderr(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bad = damage(scenario.write_dataset(folder.parent / "bad", SHARDS, chars=CHARS))
    assert main(["verify", "--json", str(folder), str(bad)]) == 1
    captured = capsys.readouterr()
    [line] = captured.err.splitlines()
    counts = {"files": 2, "samples": 3, "tokens": 12, "digest": open_dataset(folder).digest}
    assert json.loads(captured.out) == [
        {"dataset": str(folder), "folder": str(folder), "whole": True, **counts},
        {"dataset": str(bad), "whole": False, "error": line.removeprefix("codedata: error: ")},
    ]
