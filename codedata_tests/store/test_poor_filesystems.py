"""Filesystems that lack what this machine's has: their errors, injected where they give them."""

import errno
import fcntl
import os
import stat
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codedata import cli
from codedata.errors import DatasetError
from codedata.pickle_dataset import PickledTrainerDataset
from codedata.store.dataset_folder import open_dataset
from codedata.store.files import Mapping, fsync_folder, write_durably
from codedata.store.locks import NO_LOCK_VARIABLE
from codedata.store.publishing import check_target, open_staging
from codedata_tests import scenario
from codedata_tests.script_runs import NEW, contents, run_here
from codedata_tests.store.small_datasets import num_shards_of, publish, stage

FEW = [*NEW, "--chars_to_tokenize", "5000"]


def fail(number: int) -> Any:
    raise OSError(number, os.strerror(number))


def without_fsync_of(kind: int, patch: pytest.MonkeyPatch, number: int) -> None:
    """`fsync` fails on all that is of a kind."""
    fsync = os.fsync

    def fail_on_kind(descriptor: int) -> None:
        if stat.S_IFMT(os.fstat(descriptor).st_mode) == kind:
            fail(number)
        fsync(descriptor)

    patch.setattr(os, "fsync", fail_on_kind)


def test_the_script_makes_the_same_dataset_without_flock_mmap_and_fsync_of_folders(
    switches: list[str], target: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    few = [*switches, *FEW]
    again = [*few, "--tokenization_folder", str(target.with_name("again"))]
    assert run_here(again) == 0
    monkeypatch.setattr(fcntl, "flock", lambda *_: fail(errno.ENOSYS))
    without_fsync_of(stat.S_IFDIR, monkeypatch, errno.EINVAL)
    monkeypatch.setattr(Mapping, "__init__", lambda *_: fail(errno.ENODEV))
    assert run_here(few) == 0
    made, wanted = contents(target), contents(target.with_name("again"))
    assert {name: made[name] for name in made if name not in scenario.TEXTS} == {
        name: wanted[name] for name in wanted if name not in scenario.TEXTS
    }
    assert sorted(os.listdir(target.parent)) == ["again", "set"]


@pytest.mark.parametrize("number", [errno.EINVAL, errno.ENOTSUP])
def test_a_folder_that_cannot_be_forced_to_the_disk_passes_and_a_file_does_not(
    number: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        without_fsync_of(stat.S_IFDIR, patch, number)
        fsync_folder(tmp_path)
        publish(tmp_path / "dataset", 2)
    with monkeypatch.context() as patch:
        without_fsync_of(stat.S_IFDIR, patch, errno.EIO)
        with pytest.raises(OSError, match="Input/output error") as error:
            fsync_folder(tmp_path)
        assert error.value.filename == str(tmp_path)
    without_fsync_of(stat.S_IFREG, monkeypatch, number)
    with pytest.raises(OSError, match=os.strerror(number)):
        write_durably(tmp_path / "file", b"data")
    with pytest.raises(OSError, match=os.strerror(number)):
        publish(tmp_path / "dataset", 3)
    assert num_shards_of(tmp_path / "dataset") == 2


def test_a_shard_that_cannot_be_mapped_is_read_and_where_memory_is_missing_that_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = [[1, 2, 3], [4, 5, 6]], [[7, 8, 9]]
    folder = scenario.write_dataset(tmp_path / "dataset", [first, second])
    for number in (errno.ENODEV, errno.EINVAL, errno.ENOSYS, errno.ENOTSUP):
        monkeypatch.setattr(Mapping, "__init__", lambda *_, n=number: fail(n))
        shards = open_dataset(folder, verify=True).shards
        assert [shard.tolist() for shard in shards] == [first, second]
        assert not any(shard.flags.writeable for shard in shards)
    dataset = PickledTrainerDataset(folder)
    assert np.stack([dataset[row]["input_ids"] for row in range(3)]).tolist() == first + second
    monkeypatch.setattr(Mapping, "__init__", lambda *_: fail(errno.ENOMEM))
    with pytest.raises(DatasetError, match=r"cannot be mapped: there is no memory for it.*sysctl"):
        open_dataset(folder)


def test_a_mode_that_nobody_may_set_does_not_undo_a_publication(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    target = tmp_path / "dataset"
    publish(target, 2)
    target.chmod(0o2750)
    with open_staging(check_target(target)) as staging:
        stage(staging, 3)
        monkeypatch.setattr(os, "chmod", lambda *_, **__: fail(errno.EPERM))
        staging.publish()
    assert num_shards_of(target) == 3
    assert os.listdir(tmp_path) == ["dataset"]


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc")
def test_commands_go_without_locks_where_they_are_told_to(
    switches: list[str],
    target: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(os, "environ", dict(os.environ))
    monkeypatch.setattr(fcntl, "flock", lambda *_: fail(errno.EIO))
    export = ["export", str(target), "--to", "npy"]
    for run, arguments in ((run_here, [*switches, *FEW]), (cli.main, export)):
        assert run(arguments) == 1
        assert "cannot be locked: Input/output error; try again, or" in capsys.readouterr().err
        assert run([*arguments, "--no-lock"]) == 0
        del os.environ[NO_LOCK_VARIABLE]
    assert {path.name for path in target.parent.iterdir()} >= {"set", "set-npy"}
    assert cli.build_parser().parse_args(["materialize", "train", "--no-lock"]).no_lock
