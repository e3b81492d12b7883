"""A dataset that was verified is not read again in the same process, unless a file changed."""

import os
from pathlib import Path

import pytest

from codedata.errors import DatasetError
from codedata.format.ranges import CharRange
from codedata.store.verified import open_once, remember_verified
from codedata_tests import scenario

SHARDS = [[[1, 2, 3], [4, 5, 6]], [[7, 8, 9]]]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return scenario.write_dataset(tmp_path / "d", SHARDS, chars=CharRange(0, 20).cut(10))


def test_an_unchanged_dataset_is_opened_once(folder: Path) -> None:
    first = open_once(folder, verify=True)
    assert open_once(folder) is first
    assert open_once(folder, verify=True) is first


def test_what_was_not_verified_is_not_taken_for_it(folder: Path) -> None:
    first = open_once(folder)
    assert open_once(folder, verify=True) is not first


def test_a_shard_of_other_bytes_is_found_though_its_size_and_time_are_the_same(
    folder: Path,
) -> None:
    remember_verified(open_once(folder, verify=True))
    path = folder / "dump-1.pkl"
    before, data = path.stat(), bytearray(path.read_bytes())
    data[data.index(b"M") + 1] ^= 1
    path.write_bytes(data)
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DatasetError, match="does not have the sha256 that its meta states"):
        open_once(folder, verify=True)


def test_a_dataset_that_took_its_place_is_opened_anew(folder: Path, tmp_path: Path) -> None:
    first = open_once(folder, verify=True)
    folder.rename(tmp_path / "old")
    scenario.write_dataset(folder, SHARDS[:1], chars=[CharRange(0, 10)])
    assert open_once(folder, verify=True).digest != first.digest
