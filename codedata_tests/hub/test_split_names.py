"""Splits by the names of folders and files: those that the library `datasets` finds in the same."""

import os
import random
from pathlib import Path

import pytest

from codedata.errors import CorpusError
from codedata.hub.source import HubSource
from codedata.progress import SILENT
from codedata_tests.hub.server import Hub

REPO = "owner/texts"

WORDS = [
    *("train", "training", "test", "testing", "eval", "evaluation", "valid", "val", "dev"),
    *("validation", "data", "en", "contest", "Train", "1", "latest", "trainer"),
]
BETWEEN = ["-", "_", " ", ".", "", "1"]


def layout(random_: random.Random) -> list[str]:
    """Paths of some files, of words that name splits and of others."""
    paths: set[str] = set()
    for _ in range(random_.randint(1, 4)):
        parts = [
            random_.choice(BETWEEN).join(random_.choices(WORDS, k=random_.randint(1, 2)))
            for _ in range(random_.randint(1, 3))
        ]
        if random_.random() < 0.15:
            parts = ["data", f"{random_.choice(WORDS)}-0000{random_.randint(0, 1)}-of-00002"]
        paths.add("/".join(parts) + ".parquet")
    return sorted(paths)


def splits_of_datasets(paths: list[str], folder: Path) -> dict[str, list[str]]:
    """What the library finds in a folder with such files."""
    from datasets.data_files import get_data_patterns, resolve_pattern

    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).touch()
    splits: dict[str, list[str]] = {}
    for split, patterns in get_data_patterns(str(folder)).items():
        found: set[str] = set()
        for pattern in patterns:
            try:
                found |= {
                    os.path.relpath(each, folder) for each in resolve_pattern(pattern, str(folder))
                }
            except FileNotFoundError:
                continue
        if found:
            splits[str(split)] = sorted(found)
    return splits


@pytest.mark.campaign
@pytest.mark.parametrize("seed", range(40))
def test_splits_by_names_are_those_that_datasets_finds(seed: int, hub: Hub, tmp_path: Path) -> None:
    paths = layout(random.Random(seed))
    hub.add_repo(REPO, dict.fromkeys(paths, b""))
    expected = splits_of_datasets(paths, tmp_path / "texts")
    for split in {*expected, "train", "validation", "test"}:
        source = HubSource(repo=REPO, split=split)
        if split in expected:
            assert sorted(source.ask(SILENT).paths) == expected[split], paths
        else:
            with pytest.raises(CorpusError, match="does not have"):
                source.ask(SILENT)
