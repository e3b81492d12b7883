"""`load_dataset`: a split's name -> its dataset, below the root."""

import logging
import pickle
import shutil
from pathlib import Path
from typing import Any

import pytest

from codedata import PickledTrainerDataset, load_dataset, load_mixture
from codedata.errors import DatasetError, SettingsError
from codedata.format.ranges import CharRange
from codedata.layout import ROOT_VARIABLE
from codedata.resources import DataRoot, Datasets
from codedata.store.object_store import ObjectStore
from codedata_tests import scenario

SHARDS = [[[1, 2, 3, 4], [5, 6, 7, 8]], [[9, 10, 11, 600]]]
CHARS = [CharRange(0, 100), CharRange(100, 150)]
TEXT_TOKENS = [4, 2]
LABELS = [[1, 2, 3, 4], [5, 6, 7, 8], [9, 10, -100, -100]]


def damage(folder: Path) -> Path:
    """Flip a bit of an id, which only a hash finds."""
    data = bytearray((folder / "dump-1.pkl").read_bytes())
    data[data.index(b"M") + 1] ^= 1
    (folder / "dump-1.pkl").write_bytes(data)
    return folder


def test_load_dataset_opens_a_dataset_below_the_root(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scenario.write_dataset(
        tmp_path / "datasets" / "train", SHARDS, chars=CHARS, last_sample_tokens=TEXT_TOKENS
    )
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    dataset = load_dataset("train")
    samples = [sample for shard in SHARDS for sample in shard]
    assert [sample["input_ids"].tolist() for sample in dataset] == samples
    assert [sample["labels"].tolist() for sample in dataset] == LABELS
    plain = load_dataset("train", mask_padding=False)
    assert [sample["labels"].tolist() for sample in plain] == samples
    assert plain.digest == dataset.digest
    assert capsys.readouterr() == ("", ""), "it is quiet"
    monkeypatch.delenv(ROOT_VARIABLE)
    for where in (folder, str(folder)):
        assert [each["labels"].tolist() for each in load_dataset(where)] == LABELS
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    damage(folder)
    assert len(load_dataset("train")) == 3
    with pytest.raises(DatasetError, match=r"dump-1\.pkl"):
        load_dataset("train", verify=True)


@pytest.mark.parametrize(
    ("mixture", "message"),
    [
        (None, "the mixture to load is None; give its name, or the path of its YAML$"),
        ("", "the mixture to load is ''; give its name"),
        ({"sources": []}, r"its YAML, or write codedata\.Mixture\(\*\*it\)$"),
        ([{"dataset": "a"}], r"its YAML, or write codedata\.Mixture\(it\)$"),
    ],
)
def test_what_names_no_mixture_is_refused_with_what_would(mixture: Any, message: str) -> None:
    with pytest.raises(SettingsError, match=message):
        load_mixture(mixture)


def test_of_a_dataset_that_does_not_say_where_padding_is_labels_are_loaded_on_request_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.write_dataset(tmp_path / "datasets" / "old", SHARDS)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    for load in (load_dataset, Datasets(store=DataRoot()).load):
        with pytest.raises(DatasetError) as refusal:
            load("old")
        assert "(last_sample_tokens)" in str(refusal.value)
        assert str(refusal.value).endswith(
            "; or load it with mask_padding=False, and the loss counts its padding"
        )
        assert load("old", mask_padding=False)[-1]["labels"].tolist() == SHARDS[1][0]


def test_the_root_is_the_folder_data_where_no_variable_names_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "datasets" / "train"
    scenario.write_dataset(folder, SHARDS, last_sample_tokens=TEXT_TOKENS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv(ROOT_VARIABLE, raising=False)
    assert len(load_dataset("train")) == 3


def test_load_dataset_opens_a_copy_of_a_dataset_below_a_url(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    caplog: pytest.LogCaptureFixture,
) -> None:
    folder = scenario.write_dataset(
        tmp_path / "train", SHARDS, chars=CHARS, last_sample_tokens=TEXT_TOKENS
    )
    store = ObjectStore("memory://loading/datasets/train")
    for path in folder.iterdir():
        store.put(path.name, path.read_bytes())
    monkeypatch.setenv(ROOT_VARIABLE, "memory://loading/")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with caplog.at_level(logging.INFO, "codedata"):
        dataset = load_dataset("train", verify=True)
    assert f"reading {store.url} from its copy {tmp_path}" in caplog.text
    assert dataset.digest == PickledTrainerDataset([folder], quiet=True).digest
    assert [each.where for each in dataset.datasets] == [store.url]
    assert capsys.readouterr() == ("", ""), "it is quiet"
    PickledTrainerDataset(store.url)
    assert f"It is {store.url}\n" in capsys.readouterr().out
    sent = pickle.dumps(dataset[1:])
    for _ in range(2):
        assert pickle.loads(sent)[0]["input_ids"].tolist() == [5, 6, 7, 8]
        shutil.rmtree(tmp_path / "cache")
    assert capsys.readouterr() == ("", ""), "it is quiet"
    store.put("dump-1.pkl", (damage(folder) / "dump-1.pkl").read_bytes())
    with pytest.raises(DatasetError, match=r"train/dump-1\.pkl does not have the sha256"):
        load_dataset("train")
    with pytest.raises(DatasetError, match=r"datasets/other holds no .*\(codedata materialize\)"):
        load_dataset("other")
    store.remove(store.list())
