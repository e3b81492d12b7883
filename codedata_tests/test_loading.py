"""`load_dataset`: a split's name -> its dataset, below the root."""

from pathlib import Path

import pytest

from codedata import load_dataset
from codedata.errors import DatasetError
from codedata.format.ranges import CharRange
from codedata.layout import ROOT_VARIABLE
from codedata_tests import scenario

SHARDS = [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9, 10, 11, 600]]]
CHARS = [CharRange(0, 100), CharRange(100, 150)]


def damage(folder: Path) -> Path:
    """Flip a bit of an id, which only a hash finds."""
    data = bytearray((folder / "dump-1.pkl").read_bytes())
    data[data.index(b"M") + 1] ^= 1
    (folder / "dump-1.pkl").write_bytes(data)
    return folder


def test_load_dataset_opens_a_dataset_below_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scenario.write_dataset(tmp_path / "datasets" / "train", SHARDS, chars=CHARS)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    dataset = load_dataset("train")
    samples = [sample for shard in SHARDS for sample in shard]
    assert [sample["input_ids"].tolist() for sample in dataset] == samples
    assert capsys.readouterr() == ("", ""), "it is quiet"
    damage(folder)
    assert len(load_dataset("train")) == 3
    with pytest.raises(DatasetError, match=r"dump-1\.pkl"):
        load_dataset("train", verify=True)


def test_the_root_is_the_folder_data_where_no_variable_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.write_dataset(tmp_path / "data" / "datasets" / "train", SHARDS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    assert len(load_dataset("train")) == 3
