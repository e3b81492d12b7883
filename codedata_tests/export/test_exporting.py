"""`codedata export`: a new folder, whole or not at all, and what it says."""

import os
import stat
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from codedata.cli import main
from codedata.errors import TargetError
from codedata.export import npy
from codedata.export.exporting import FORMATS, export_dataset
from codedata.format.packing import IdArray
from codedata.store.dataset_folder import open_dataset
from codedata.store.locks import exclusive_lock
from codedata_tests import scenario


def test_the_command_writes_beside_the_dataset_and_says_how_to_open_it(
    folder: Path, ids: IdArray, capsys: pytest.CaptureFixture[str]
) -> None:
    os.umask(mask := os.umask(0o022))
    for to in FORMATS:
        assert main(["export", str(folder), "--to", to]) == 0
        output = folder.with_name(f"train-{to}")
        samples, usage = capsys.readouterr().out.splitlines()
        assert samples == f"{output}: {len(ids)} samples of 5 tokens"
        assert usage.startswith("open it with ")
        assert str(output) in usage
        assert stat.S_IMODE(output.stat().st_mode) == 0o777 & ~mask
    assert sorted(os.listdir(folder.parent)) == ["train", *sorted(f"train-{to}" for to in FORMATS)]


def test_of_documents_the_command_says_what_carries_their_boundaries(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scenario.write_document_dataset(tmp_path / "d")
    said = {"parquet": "seq_lengths", "megatron": "sequences"}
    nothing = "not carried; parquet and megatron carry them"
    for to in FORMATS:
        assert main(["export", str(folder), "--to", to]) == 0
        _, boundaries, usage = capsys.readouterr().out.splitlines()
        assert boundaries == f"boundaries of documents: {said.get(to, nothing)}"
        assert usage.startswith("open it with ")


def test_what_the_command_says_opens_the_output_beside_the_name_that_was_given(
    folder: Path, tmp_path: Path, ids: IdArray, capsys: pytest.CaptureFixture[str]
) -> None:
    link = tmp_path / 'a "link"'
    link.symlink_to(folder)
    for arguments, output in (
        ([str(folder), "--output", f"{folder}/../deep/er"], tmp_path / "deep" / "er"),
        ([str(link)], tmp_path / 'a "link"-npy'),
    ):
        assert main(["export", *arguments, "--to", "npy"]) == 0
        assert output.is_dir()
        usage = capsys.readouterr().out.splitlines()[1].removeprefix("open it with ")
        assert np.array_equal(eval(usage, {"numpy": np}), ids)  # noqa: S307


def test_an_output_that_exists_is_left_alone_unless_it_is_empty(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "there"
    output.mkdir()
    (output / "mine").touch()
    command = ["export", str(folder), "--to", "npy", "--output", str(output)]
    assert main(command) == 1
    assert f"the output {output} exists already; name a new folder" in capsys.readouterr().err
    assert os.listdir(output) == ["mine"]
    (output / "mine").unlink()
    assert main(command) == 0
    assert main(command) == 1


def test_an_output_that_cannot_be_made_is_refused_and_so_is_one_inside_the_dataset(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    said = r"the output .* (cannot be written: |exists already; |is no path; )"
    for name in ("file/below", "file", "link", "x" * 300, "a\0b", "/"):
        with pytest.raises(TargetError, match=said):
            export_dataset(open_dataset(folder), "npy", tmp_path / name)
    with pytest.raises(TargetError, match=r"is inside the dataset .*, which the next run replaces"):
        export_dataset(open_dataset(folder), "npy", folder / "npy")
    assert sorted(os.listdir(tmp_path)) == ["file", "link", "train"]
    assert "npy" not in os.listdir(folder)
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    export_dataset(open_dataset(folder), "npy", Path())
    assert "input_ids.npy" in os.listdir(tmp_path / "here"), "an empty one may be the output"


def test_an_export_that_fails_leaves_nothing(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(path: Path, counts: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(npy.np, "save", fail)
    with pytest.raises(TargetError, match=r"output cannot be written: No space left .*; mend that"):
        export_dataset(open_dataset(folder), "npy", tmp_path / "output")
    assert os.listdir(tmp_path) == ["train"]


def test_what_a_killed_export_left_is_cleared_and_a_living_one_is_not_disturbed(
    folder: Path, tmp_path: Path
) -> None:
    work = tmp_path / ".output.export"
    (work / "stage").mkdir(parents=True)
    (work / "stage" / "half.npy").touch()
    with (
        exclusive_lock(work / "lock", "x"),
        pytest.raises(TargetError, match=r"the output .*output is being written by another run"),
    ):
        export_dataset(open_dataset(folder), "npy", tmp_path / "output")
    assert os.listdir(work / "stage") == ["half.npy"]
    export_dataset(open_dataset(folder), "npy", tmp_path / "output")
    assert sorted(os.listdir(tmp_path)) == ["output", "train"]
    assert "half.npy" not in os.listdir(tmp_path / "output")


def test_a_damaged_dataset_and_a_format_that_is_none_are_refused(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "dump-3.pkl").write_bytes(b"\x80\x02](")
    assert main(["export", str(folder), "--to", "parquet"]) == 1
    assert "dump-3.pkl" in capsys.readouterr().err
    assert os.listdir(tmp_path) == ["train"]
    with pytest.raises(SystemExit) as stop:
        main(["export", str(folder), "--to", "csv"])
    assert stop.value.code == 2
    said = capsys.readouterr().err
    assert all(name in said for name in FORMATS)


def test_exporting_imports_neither_dagster_nor_torch(folder: Path) -> None:
    code = (
        "import sys; from codedata.cli import main; "
        "status = [main(['export', sys.argv[1], '--to', name]) for name in sys.argv[2:]]; "
        "print(status, {'dagster', 'torch', 'transformers', 'datasets'} & set(sys.modules))"
    )
    command = [sys.executable, "-c", code, str(folder), *FORMATS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[0, 0, 0, 0] set()"
