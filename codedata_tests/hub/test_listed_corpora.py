"""A project whose corpus names a dataset of the hub: its files are listed, then fetched."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from codedata.cli import main
from codedata.components.raw_corpus import RawCorpus
from codedata.errors import CorpusError
from codedata.layout import Layout
from codedata.progress import SILENT
from codedata.store.dataset_folder import open_dataset
from codedata_tests import scenario
from codedata_tests.cli.test_project import forget_modules, write_project
from codedata_tests.hub.server import Hub

REPO = "owner/texts"
NAMES = [f"data/train-{n:05d}-of-00003.parquet" for n in range(3)]


@pytest.fixture
def project(tmp_path: Path, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: a project with a corpus of the hub by split, and one split over it."""
    folder = tmp_path / "project"
    components = {
        "c": ("RawCorpus", {"source": {"kind": "hub", "repo": REPO, "split": "train"}}),
        "small": (
            "DatasetSplit",
            {
                "corpus": "c", "files": "all", "tokenizer_base": str(tokenizer_folder),
                "matches_transformers": False, "seq_length": 64, "min_sample_length": 10,
                "pad_token": 534, "chars_to_tokenize": 20_000, "chunk_size": 20_000,
            },
        ),
    }  # fmt: skip
    write_project(folder, components)
    monkeypatch.chdir(folder)
    monkeypatch.setattr(sys, "path", [*sys.path])
    return folder


@pytest.fixture
def said(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """What a command says, as a process of its own would."""

    def run(*arguments: str) -> str:
        forget_modules()
        code = main(arguments)
        out, err = capsys.readouterr()
        assert code == 0, err
        return out + err

    return run


@pytest.fixture
def corpus(hub: Hub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[], RawCorpus]:
    """Loads the component of a corpus of two files, as definitions do."""
    files = {name: _parquet(tmp_path, seed) for seed, name in enumerate(NAMES)}
    hub.add_repo(REPO, dict([*files.items()][1:]))
    monkeypatch.setenv("CODEDATA_ROOT", str(tmp_path / "root"))
    return lambda: RawCorpus(name="c", source={"kind": "hub", "repo": REPO, "split": "train"})


def _parquet(folder: Path, seed: int) -> bytes:
    return scenario.write_parquet(folder / "f", scenario.c_documents(9, seed)).read_bytes()


def test_a_run_whose_definitions_knew_no_list_makes_one_and_says_to_load_them_again(
    corpus: Callable[[], RawCorpus], hub: Hub, tmp_path: Path
) -> None:
    layout, loaded = Layout(tmp_path / "root"), corpus()
    assert loaded.num_files == 1
    with pytest.raises(CorpusError, match=r"has 2 files, now listed in .*press Reload in the UI"):
        loaded.materialize(layout, SILENT)
    loaded = corpus()
    assert loaded.num_files == 2
    paths = [loaded.materialize(layout, SILENT, file=file).origin["path"] for file in range(2)]
    assert paths == NAMES[1:]

    hub.repos["dataset", REPO].commit({name: _parquet(tmp_path, 3) for name in NAMES})
    assert corpus()._code_version == loaded._code_version
    with pytest.raises(CorpusError, match=r"has 3 files, now listed in .* were loaded with 2"):
        loaded.materialize(layout, SILENT, update=True)
    assert corpus().num_files == 3
    assert corpus()._code_version != loaded._code_version


@pytest.mark.campaign
def test_the_files_of_a_dataset_of_the_hub_are_listed_before_a_run_and_when_one_asks(
    hub: Hub, project: Path, said: Callable[..., str], tmp_path: Path
) -> None:
    files = {name: _parquet(tmp_path, seed) for seed, name in enumerate(NAMES)}
    repo = hub.add_repo(REPO, dict([*files.items()][:2]))
    assert "missing" in said("list")
    assert not hub.requests
    assert "corpus c: 2 files of commit" in said("materialize", "small")
    dataset = open_dataset(project / "data" / "datasets" / "small")
    assert [entry.chars.file for entry in dataset.entries if entry.chars] == [0, 1]

    repo.commit(files)
    assert "small  made" in said("list")
    shown = said("list", "--refresh")
    assert "corpus c: 3 files of commit" in shown
    assert "; 1 new since it was listed before" in shown
    assert "files were 2, are now 3" in shown
    hub.clear()
    said("materialize", "small")
    assert not [path for path in hub.asked() if "/tree/" in path]
    assert len(open_dataset(project / "data" / "datasets" / "small").entries) == 3
