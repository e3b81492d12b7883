"""Commands that take the URL of a dataset, or a split's name where the root is a URL."""

import json
import os
from pathlib import Path

import pytest

from codedata.cli import main
from codedata.progress import SILENT
from codedata.store.copies import open_at
from codedata.store.object_store import ObjectStore
from codedata.store.versions import DatasetLog
from codedata_tests.store.small_datasets import num_shards_of, stage
from codedata_tests.store.test_pruning import STAGED


@pytest.fixture
def root(bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A root with two versions of `train`; the working folder is empty."""
    log = DatasetLog(ObjectStore(f"{bucket}/datasets/train"))
    for num_shards in (2, 3):
        staged = log.stage(f"of-{num_shards}")
        stage(staged, num_shards)
        staged.publish()
    monkeypatch.setenv("CODEDATA_ROOT", bucket)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    return bucket


def test_datasets_at_urls_are_verified_shown_exported_and_fetched(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{root}/datasets/train"
    assert main(["verify", "train", url, f"{url}@1", "--json"]) == 0
    of_split, newest, first = json.loads(capsys.readouterr().out)
    assert of_split == {**newest, "dataset": "train"}
    assert (newest["url"], newest["files"], first["files"]) == (f"{url}@2", 3, 2)
    assert main(["verify", f"{url}@1"]) == 0
    said = capsys.readouterr().out
    assert said.startswith(f"{url}@1: whole; 2 files, 3 samples")
    assert said.endswith(
        "; checked: every hash of the copy here, of the objects in the store the size in all\n"
    )
    assert main(["show", "train"]) == 0
    assert capsys.readouterr().out.startswith(f"{url}@2: 3 files\n")
    assert main(["show", "train", "--json"]) == 0
    shown = json.loads(capsys.readouterr().out)
    assert (shown["url"], shown["sample"]["input_ids"]) == (f"{url}@2", [3, 3, 3])
    assert main(["export", url, "--to", "npy"]) == 0
    assert main(["fetch", f"{url}@1", "mine"]) == 0
    assert sorted(os.listdir()) == ["mine", "train-npy"]
    assert num_shards_of(Path("mine")) == 2
    assert main(["fetch", url, "mine"]) == 0
    assert num_shards_of(Path("mine")) == 3


def test_what_is_not_there_or_not_whole_at_a_url_is_said_in_a_line(
    root: str, capsys: pytest.CaptureFixture[str]
) -> None:
    url = f"{root}/datasets/train"

    def refused(*command: str) -> str:
        assert main(list(command)) == 1
        return capsys.readouterr().err

    assert f"{root}/datasets/other holds no dump-meta" in refused("show", f"{root}/datasets/other")
    assert f"there is no dataset 'other' in {root}/datasets" in refused("verify", "other")
    assert "without the slash, train is the dataset of a split" in refused("verify", "train/")
    assert "train has no version 9: its versions are 1 to 2" in refused("verify", f"{url}@9")
    assert "`codedata prune` removes versions" in refused("clean")
    assert main(["verify", "train"]) == 0
    ObjectStore(url).put("of-3/dump-0.pkl", b"cut off")
    assert "something wrote over its objects" in refused("verify", "train")
    ObjectStore(url).remove(["of-3/dump-0.pkl"])
    assert "of-3/dump-0.pkl is gone (1 of 4 objects" in refused("verify", "train")
    Path("train").mkdir()
    assert "train holds no dump-meta_data.json" in refused("verify", "./train")


def test_prune_says_what_goes_and_removes_it(
    root: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def said(*switches: str) -> str:
        assert main(["prune", *switches]) == 0
        return capsys.readouterr().out

    store = ObjectStore(root)
    store.put("chunks/train/00000/0000000000-0000000100.aa.12.ids.compiled.3.arrow", b"ids")
    assert said() == "nothing is unused\n"
    stage(DatasetLog(store.below("datasets/train")).stage(STAGED), 1)
    names = store.list()
    assert said().splitlines() == ["0.0 MB were written within the grace, and stay"]
    dry = said("--grace", "0s", "--dry-run")
    assert f"0.0 MB  {root}/datasets/train/{STAGED}: was never published\n" in dry
    assert f"0.0 MB  {root}/datasets/train/of-2: of version 1\n" in dry
    assert store.list() == names
    assert said("train", "--chunks", "--grace", "0s") == dry.replace(
        "can go; without --dry-run it does", "removed"
    )
    assert store.list() == [
        name for name in names if "/of-2/" not in name and f"/{STAGED}/" not in name
    ]
    assert said("--grace", "0s") == "nothing is unused\n"
    stage(DatasetLog(store.below("datasets/mine")).stage("train"), 1)
    left = f"left: {root}/datasets/mine/train is not known to be codedata's; remove it yourself"
    assert said("--grace", "0s").startswith(left)
    assert num_shards_of(open_at(f"{root}/datasets/mine/train", SILENT)) == 1
    assert main(["prune", "train", "trian"]) == 1
    assert (
        f"there is no split 'trian' in {root}: did you mean train? there are mine, train"
        in capsys.readouterr().err
    )
    with pytest.raises(SystemExit):
        main(["prune", "--grace", "soon"])
    assert "write a number and its unit, such as 7d, 12h" in capsys.readouterr().err
    assert main(["prune", "--chunks"]) == 1
    monkeypatch.setenv("CODEDATA_ROOT", "here")
    assert main(["prune"]) == 1
    assert "`codedata clean` removes what nothing uses there" in capsys.readouterr().err
