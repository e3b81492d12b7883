"""Fixtures of the Dagster tests."""

from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from codedata_tests.components.small_platform import SmallPlatform


@pytest.fixture
def platform(corpus: Path, tokenizer_folder: Path, tmp_path: Path) -> Iterator[SmallPlatform]:
    """A small corpus and split with an instance of their own; nothing is materialized yet."""
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield SmallPlatform(tmp_path / "root", corpus, tokenizer_folder, instance)
