"""Every place that a user writes: `~` is the home folder, and a URL is refused, never a folder."""

import os
from collections.abc import Callable
from pathlib import Path

import pytest

from codedata import PickledTrainerDataset, cli, load_dataset, tokenize_data
from codedata.components import DatasetSplit, RawCorpus
from codedata.errors import CorpusError, SettingsError
from codedata.layout import Layout
from codedata.places import local_path
from codedata.recipe.settings import Settings
from codedata.resources import DataRoot
from codedata.sources.kinds.folders import FoldersSource
from codedata.sources.kinds.local import LocalSource
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario

URL = "s3://bucket/x"
ROOT = "CODEDATA_ROOT"


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The home folder; the working folder is another, in which nothing may appear."""
    folder, work = tmp_path / "home", tmp_path / "work"
    folder.mkdir()
    work.mkdir()
    monkeypatch.setenv("HOME", str(folder))
    monkeypatch.chdir(work)
    return folder


def test_a_home_folder_stands_for_its_path(home: Path) -> None:
    assert local_path("~", "it") == home
    assert local_path("~/a/b", "it") == home / "a/b"
    assert local_path(Path("~/a"), "it") == home / "a"
    assert local_path("~root/a", "it") == Path("/root/a")


@pytest.mark.parametrize("place", ["a", "./~/x", "a/~", "/a b/c:d", "c:x", "a:/b", "", "./s3://x"])
def test_any_other_path_is_the_path(place: str) -> None:
    assert local_path(place, "it") == Path(place)


@pytest.mark.parametrize(
    ("place", "remedy"),
    [
        (URL, "copy it here"),
        (Path(URL), "copy it here"),
        ("GS://bucket/x", "copy it here"),
        ("https://example.org/x", "copy it here"),
        ("hf://datasets/owner/name", "write owner/name"),
        ("file:///data/x", "write the path alone"),
    ],
)
def test_a_url_is_refused_with_what_to_do(place: str | Path, remedy: str) -> None:
    with pytest.raises(SettingsError, match=r"^it is '.*', a URL; ") as refusal:
        local_path(place, "it")
    assert remedy in str(refusal.value)


def test_a_home_folder_that_there_is_not_is_refused() -> None:
    with pytest.raises(SettingsError, match="'~no_such_user/x', but ~no_such_user has no home"):
        local_path("~no_such_user/x", "it")


def opened(variable: str, place: str, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv(variable, place)
    return Layout.from_environment()


REFUSING: dict[str, Callable[[str, pytest.MonkeyPatch], object]] = {
    "the root": lambda place, patch: opened(ROOT, place, patch),
    "the root of load_dataset": lambda place, patch: (
        patch.setenv(ROOT, place) or load_dataset("train")
    ),
    "the root of the resource": lambda place, _: DataRoot(root=place).layout,
    "a dataset": lambda place, _: PickledTrainerDataset([place]),
    "a path as one": lambda place, _: PickledTrainerDataset([Path(place)]),
    "a parquet": lambda place, _: RawCorpus(
        name="c", source={"kind": "local", "path": ["a.parquet", place]}
    ),
    "a folder": lambda place, _: RawCorpus(
        name="c", source={"kind": "folders", "folders": {"a": place}}
    ),
    "a tokenizer": lambda place, _: DatasetSplit(name="a", corpus="c", tokenizer_base=place),
    "a tokenizer that is looked for": lambda place, _: find_tokenizer(place),
    "the variable of all tokenizers": lambda place, patch: (
        patch.setenv("CODEDATA_TOKENIZER", place) or DatasetSplit(name="a", corpus="c")
    ),
    "the variable of a tokenizer": lambda place, patch: (
        patch.setenv("CODEDATA_A_TOKENIZER_BASE", place) or DatasetSplit(name="a", corpus="c")
    ),
    "the script's parquet": lambda place, _: tokenize_data.tokenize_data(
        Path(place), Path("d"), Settings(), num_workers=1
    ),
    "the script's folder": lambda place, _: tokenize_data.tokenize_data(
        Path("a.parquet"), Path(place), Settings(), num_workers=1
    ),
}


@pytest.mark.parametrize("place", [URL, "~no_such_user/x"])
@pytest.mark.parametrize("use", REFUSING.values(), ids=REFUSING)
def test_no_place_takes_a_url_or_a_home_that_there_is_not(
    use: Callable[[str, pytest.MonkeyPatch], object],
    place: str,
    home: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    with pytest.raises(ValueError, match=r"a URL|no home directory"):
        use(place, monkeypatch)
    assert os.listdir() == []


@pytest.mark.parametrize(
    "arguments",
    [
        ["verify", URL],
        ["show", URL],
        ["push", URL, "me/x"],
        ["export", URL, "--to", "npy"],
        ["export", "d", "--to", "npy", "--output", URL],
        ["report", "train", "-o", URL],
    ],
    ids=" ".join,
)
def test_no_command_takes_a_url(
    arguments: list[str], home: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(SystemExit) as stop:
        cli.main(arguments)
    assert stop.value.code == 2
    assert f"the path is {URL!r}, a URL; only paths of this machine" in capsys.readouterr().err
    assert os.listdir() == []


def test_a_file_of_the_hub_is_written_without_its_address() -> None:
    source = {"kind": "hub", "repo": "a/b", "path": "hf://datasets/a/b/c.parquet"}
    with pytest.raises(ValueError, match="as the repository's page shows it"):
        RawCorpus(name="c", source=source)


def test_the_corpus_of_the_environment_is_a_path_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    corpus = RawCorpus(name="c", source={"kind": "hub", "repo": "a/b", "path": "c.parquet"})
    monkeypatch.setenv("CODEDATA_CORPUS", URL)
    with pytest.raises(CorpusError, match="CODEDATA_CORPUS is 's3://bucket/x', a URL"):
        _ = corpus.look(Layout(home))
    scenario.write_parquet(home / "c.parquet", ["int a;"])
    monkeypatch.setenv("CODEDATA_CORPUS", "~/c.parquet")
    seen = corpus.look(Layout(home))
    scenario.write_parquet(home / "c.parquet", ["int a;", "int b;"])
    assert corpus.look(Layout(home)) != seen, "it is the file of the home folder that is looked at"


def test_everything_below_a_home_folder_is_found(
    home: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scenario.write_dataset(home / "root/datasets/train", [[[1, 2], [3, 4]]])
    (home / "t").symlink_to(tokenizer_folder)
    monkeypatch.setenv(ROOT, "~/root")
    assert Layout.from_environment().root == home / "root"
    assert DataRoot(root="~/root").layout.root == home / "root"
    assert len(load_dataset("train")) == 2
    assert len(PickledTrainerDataset("~/root/datasets/train")) == 2
    assert cli.main(["verify", "~/root/datasets/train"]) == 0
    assert find_tokenizer("~/t").fingerprint == find_tokenizer(str(tokenizer_folder)).fingerprint
    assert LocalSource(path="~/{0..1}.parquet").paths == (
        home / "0.parquet",
        home / "1.parquet",
    )
    assert FoldersSource(folders={"a": "~/a"}).places == {"a": home / "a"}
    assert os.listdir() == []
