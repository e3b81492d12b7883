"""Fixtures of the Dagster tests."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from codedata_tests.components.small_platform import MadePlatform, SmallPlatform


@pytest.fixture
def platform(corpus: Path, tokenizer_folder: Path, tmp_path: Path) -> Iterator[SmallPlatform]:
    """A small corpus and split with an instance of their own; nothing is materialized yet."""
    with dg.DagsterInstance.ephemeral() as instance:
        yield SmallPlatform(tmp_path / "root", corpus, tokenizer_folder, instance)


@pytest.fixture(scope="session")
def made_once(
    corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, dg.ExecuteInProcessResult]:
    """The folder of a platform of which one run made everything, and what that run did."""
    folder = tmp_path_factory.mktemp("made")
    with dg.DagsterInstance.local_temp(str(folder)) as instance:
        platform = SmallPlatform(
            folder / "root", corpus, tokenizer_folder, instance, matches_transformers=True
        )
        result = platform.run()
    assert result.success
    return folder, result


@pytest.fixture
def made(
    made_once: tuple[Path, dg.ExecuteInProcessResult],
    corpus: Path,
    tokenizer_folder: Path,
    tmp_path: Path,
) -> Iterator[MadePlatform]:
    """A copy of that platform, which a test may change."""
    folder, first_run = made_once
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield MadePlatform(
            tmp_path / "root", corpus, tokenizer_folder, instance, first_run=first_run
        )
