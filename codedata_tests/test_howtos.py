"""Every file and command of the how-to pages, done in a copy of the clone."""

import os
import shutil
from pathlib import Path

import pytest

from codedata.store.dataset_folder import open_dataset
from codedata_tests.howto_pages import do_page, make_clone, make_project, run_python, write_files

pytestmark = pytest.mark.campaign

PAD_ID = "534"
"""Of the tokenizer that the tests put in the place of the hub's."""


@pytest.fixture(scope="module")
def compiled(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One clone for all pages, since the first run in each compiles the engine, for seconds."""
    return make_clone(tmp_path_factory.mktemp("clone"))


@pytest.fixture
def clone(compiled: Path) -> Path:
    """The clone as it was before any page."""
    for name in ("data", "mine", "my_tokenizer"):
        shutil.rmtree(compiled / name, ignore_errors=True)
    return compiled


@pytest.fixture
def environment() -> dict[str, str]:
    ours = ("CODEDATA_", "DAGSTER_", "VIRTUAL_ENV")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}


def test_a_corpus_of_one_s_own_is_made_as_its_page_says(
    clone: Path, environment: dict[str, str], tokenizer_folder: Path
) -> None:
    environment["CODEDATA_TOKENIZER"] = str(tokenizer_folder)
    environment |= {f"CODEDATA_MY_{split}_PAD_TOKEN": PAD_ID for split in ("TRAIN", "SECOND")}
    environment["CODEDATA_MY_THIRD_PAD_TOKEN"] = PAD_ID
    do_page("own-corpus.md", clone, environment)
    assert open_dataset(clone / "mine/data/datasets/my_train", verify=True).num_samples > 100
    assert open_dataset(clone / "mine/data/datasets/my_second", verify=True).num_samples > 10


def test_corpora_as_people_have_them_are_looked_at_and_loaded_as_their_page_says(
    clone: Path, environment: dict[str, str]
) -> None:
    make_project(clone, environment)
    *_, checked = do_page("corpora.md", clone, environment)
    assert "All definitions loaded successfully." in checked


@pytest.mark.timeout(1200)  # a dozen commands, each of which imports Dagster
def test_a_project_of_one_s_own_is_made_as_its_page_says(
    clone: Path, environment: dict[str, str]
) -> None:
    do_page("own-project.md", clone, environment)
    assert open_dataset(clone / "mine/data/datasets/my_train", verify=True).num_samples > 100


@pytest.mark.timeout(1200)  # a dozen commands, as above
def test_datasets_are_mixed_as_their_page_says(clone: Path, environment: dict[str, str]) -> None:
    *_, refused = do_page("mixtures.md", clone, environment)
    assert "num_samples" in refused
    assert (clone / "mine/data/mixtures/my_mix.json").is_file()


def test_a_tokenizer_of_one_s_own_is_trained_and_used_as_its_page_says(
    clone: Path, environment: dict[str, str]
) -> None:
    do_page("own-tokenizer.md", clone, environment)
    assert open_dataset(clone / "mine/data/datasets/my_train", verify=True).num_samples > 50


def test_the_script_makes_a_dataset_as_its_page_says(
    clone: Path, environment: dict[str, str]
) -> None:
    write_files("own-tokenizer.md", clone)
    run_python("train_my_tokenizer.py", clone, clone, environment)
    do_page("script.md", clone, environment)
    assert open_dataset(clone / "data/functions", verify=True).num_samples > 10


def test_new_splits_are_made_as_their_page_says(clone: Path, environment: dict[str, str]) -> None:
    project = make_project(clone, environment)
    write_files("own-corpus.md", project)
    write_files("own-tokenizer.md", project)
    for name in ("my_second", "my_parquet"):
        shutil.rmtree(project / "mine/defs" / name)
    run_python("train_my_tokenizer.py", project, clone, environment)
    do_page("new-split.md", clone, environment)
    for name, chars in (("my_train", 0), ("my_validation", 200_000), ("my_test", 250_000)):
        first = open_dataset(project / "data/datasets" / name, verify=True).entries[0]
        assert first.chars is not None
        assert first.chars.start == chars
    parts = open_dataset(project / "data/datasets/parts_train", verify=True)
    assert [entry.chars.file for entry in parts.entries if entry.chars] == [0, 1]
