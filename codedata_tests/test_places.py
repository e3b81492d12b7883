"""Every place that a user writes: `~` is the home folder, and a URL is never taken for a folder."""

import os
import re
from collections.abc import Callable
from contextlib import suppress
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from codedata import PickledTrainerDataset, cli, load_dataset, tokenize_data
from codedata.components import DatasetSplit, RawCorpus
from codedata.errors import CorpusError, DatasetError, SettingsError
from codedata.layout import Layout
from codedata.places import local_path, place_at
from codedata.recipe.settings import Settings
from codedata.resources import DataRoot
from codedata.sources.kinds.folders import FoldersSource
from codedata.sources.kinds.local import LocalSource
from codedata.store.copies import find_version
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


PATHS = ["a", "./~/x", "a/~", "/a b/c:d", "c:x", "a:/b", "", "./s3://x"]


def test_a_home_folder_stands_for_its_path_and_any_other_path_is_the_path(home: Path) -> None:
    assert local_path("~", "it") == home
    assert local_path("~/a/b", "it") == home / "a/b"
    assert local_path(Path("~/a"), "it") == home / "a"
    assert local_path("~root/a", "it") == Path("/root/a")
    assert [local_path(place, "it") for place in PATHS] == [Path(place) for place in PATHS]


def test_a_url_or_a_home_that_there_is_not_is_refused_with_what_to_do() -> None:
    for place, message in {
        URL: "a URL; .*copy it here",
        Path(URL): "a URL; .*copy it here",
        "GS://bucket/x": "a URL; .*copy it here",
        "hf://datasets/owner/name": "a URL; .*write owner/name",
        "file:///data/x": "a URL; .*write the path alone",
        "~no_such_user/x": "but ~no_such_user has no home",
    }.items():
        with pytest.raises(SettingsError, match=f"^it is '.*', {message}"):
            local_path(place, "it")


def split(**attributes: Any) -> DatasetSplit:
    return DatasetSplit(name="a", corpus="c", **attributes)


def corpus(kind: str, **fields: object) -> RawCorpus:
    return RawCorpus(name="c", source={"kind": kind, **fields})


def script(parquet: str, target: str) -> None:
    tokenize_data.tokenize_data(Path(parquet), Path(target), Settings(), num_workers=1)


REFUSING: list[tuple[str, Callable[[str], object]]] = [
    ("", lambda place: PickledTrainerDataset([Path(place)])),
    ("", lambda place: corpus("local", path=["a.parquet", place])),
    ("", lambda place: corpus("folders", folders={"a": place})),
    ("", lambda place: split(tokenizer_base=place)),
    ("", find_tokenizer),
    ("", lambda place: script(place, "d")),
    ("", lambda place: script("a.parquet", place)),
    ("CODEDATA_TOKENIZER", lambda _: split().settings),
    ("CODEDATA_A_TOKENIZER_BASE", lambda _: split().settings),
]
"""What takes a place: of a variable of the environment, or as its argument."""

TAKING: list[tuple[str, Callable[[str], object]]] = [
    ("", lambda place: DataRoot(root=place).layout),
    ("", lambda place: PickledTrainerDataset([place])),
    (ROOT, lambda _: Layout.from_environment()),
    (ROOT, lambda _: load_dataset("train")),
]
"""What takes the URLs of object stores too."""


def test_no_place_takes_a_url_or_a_home_that_there_is_not(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    others = ("file:///x", "hf://datasets/a/b", "https://host/x", "~no_such_user/x")
    for place, (variable, use) in [
        *product((URL, "~no_such_user/x"), REFUSING),
        *product(others, TAKING),
    ]:
        with monkeypatch.context() as patch:
            patch.setenv(variable or "NO_VARIABLE", place)
            with pytest.raises(ValueError, match=r"a URL|no home directory"):
                use(place)
    with pytest.raises(ValueError, match="as the repository's page shows it"):
        corpus("hub", repo="a/b", path="hf://datasets/a/b/c.parquet")
    assert os.listdir() == []


SECRETS = (
    "s3://KEY:se/cr/et@bucket/x",
    "s3://KEY:et@7",
    "az://c/p?sig=et",
    "https://me:e/t@host/x",
)


@pytest.mark.parametrize("url", SECRETS)
def test_a_url_with_what_may_be_a_secret_is_refused_and_not_shown(
    home: Path,
    url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    said: list[str] = []
    for variable, use in [*TAKING, *REFUSING[:1]]:
        with monkeypatch.context() as patch:
            patch.setenv(variable or "NO_VARIABLE", url)
            with pytest.raises(ValueError, match="as a URL with a") as refused:
                use(url)
            said.append(str(refused.value))
    for words in (["verify", url], ["show", url], ["fetch", url, "d"], ["push", url, "a/b"]):
        with suppress(SystemExit):
            assert cli.main(words) == 1
        said.append(capsys.readouterr().err)
    monkeypatch.setenv(ROOT, url)
    for words in (["list"], ["show", "train"], ["prune"], ["materialize", "demo_train"]):
        with suppress(SystemExit):
            assert cli.main(words) == 1
        said.append(capsys.readouterr().err)
    for each in said:
        assert "as a URL with a" in each
        assert not re.search(r"KEY|e/?t@|sig=", each)
    assert os.listdir() == os.listdir(home) == []


def test_no_client_is_made_for_a_url_with_what_may_be_a_secret() -> None:
    for url in ("s3://KEY:se/cr/et@bucket/x", "s3://KEY:se/cr/et@bucket/x@7", "az://c/p?sig=et"):
        with pytest.raises(DatasetError, match=r"^the dataset's URL has .* as a URL with a"):
            find_version(url)


def test_a_url_without_a_secret_may_name_a_version_and_an_account() -> None:
    for url in (
        "s3://b/x@7",
        "abfs://c@account.dfs.core.windows.net/p",
        "s3://b/a:b",
        "gs://b/a@b",
    ):
        assert place_at(url, "it") == url


def test_a_root_in_an_object_store_has_a_folder_of_this_user_beside_it(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME", raising=False)
    layout = Layout.at(f"{URL}/", "root")
    assert (layout.url, layout.shown) == (URL, URL)
    assert layout.root.parent == home / ".cache" / "codedata" / "roots"
    assert layout.root != Layout.at("s3://bucket-x", "root").root
    assert layout.dagster_home == Path.cwd() / "data" / ".dagster"
    with pytest.raises(SettingsError, match=r"a root is a folder, or in an object store, such as"):
        Layout.at("https://host/x", "root")
    assert os.listdir() == []


def test_no_command_writes_to_a_url(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    export = ["export", "--to", "npy"]
    for arguments in ([*export, "d", "--output", URL], ["report", "train", "-o", URL]):
        with suppress(SystemExit):
            assert cli.main(arguments) == 1
        assert f" is {URL!r}, a URL; only paths of this machine" in capsys.readouterr().err
    assert os.listdir() == []


def test_the_corpus_of_the_environment_is_a_path_too(
    home: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_hub = corpus("hub", repo="a/b", path="c.parquet")
    monkeypatch.setenv("CODEDATA_CORPUS", URL)
    with pytest.raises(CorpusError, match="CODEDATA_CORPUS is 's3://bucket/x', a URL"):
        _ = of_hub.look(Layout(home))
    scenario.write_parquet(home / "c.parquet", ["int a;"])
    monkeypatch.setenv("CODEDATA_CORPUS", "~/c.parquet")
    seen = of_hub.look(Layout(home))
    scenario.write_parquet(home / "c.parquet", ["int a;", "int b;"])
    assert of_hub.look(Layout(home)) != seen, "it is the file of the home folder that is looked at"


def test_everything_below_a_home_folder_is_found(
    home: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = home / "root/datasets/train"
    scenario.write_dataset(folder, [[[1, 2], [3, 4]]], last_sample_tokens=[2])
    (home / "t").symlink_to(tokenizer_folder)
    monkeypatch.setenv(ROOT, "~/root")
    assert Layout.from_environment().root == home / "root"
    assert DataRoot(root="~/root").layout.root == home / "root"
    assert len(load_dataset("train")) == 2
    assert len(PickledTrainerDataset("~/root/datasets/train")) == 2
    assert cli.main(["verify", "~/root/datasets/train"]) == 0
    assert find_tokenizer("~/t").fingerprint == find_tokenizer(str(tokenizer_folder)).fingerprint
    assert LocalSource(path="~/{0..1}.parquet").paths == (home / "0.parquet", home / "1.parquet")
    assert FoldersSource(folders={"a": "~/a"}).places == {"a": home / "a"}
    assert os.listdir() == []
