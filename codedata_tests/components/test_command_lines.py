"""The dagster and dg command lines as CI calls them, over the shipped splits."""

import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from codedata.format.ranges import CharRange
from codedata.recipe.settings import Settings
from codedata.store.dataset_folder import open_dataset
from codedata.tokenize_data import tokenize_data
from codedata_tests import scenario
from codedata_tests.components.small_platform import SWITCHES, environment_of_splits

ROOT = Path(__file__).parent.parent.parent
BIN = Path(sys.executable).parent
EXECUTE = [str(BIN / "dagster"), "job", "execute", "-m", "codedata.definitions", "-j"]


@pytest.fixture
def environment(corpus: Path, tokenizer_folder: Path, tmp_path: Path) -> dict[str, str]:
    return environment_of_splits(corpus, tokenizer_folder, tmp_path)


def run(
    command: list[str], environment: dict[str, str], *, cwd: Path = ROOT
) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, cwd=cwd, capture_output=True, text=True, check=False
    )


def test_dagster_job_execute_and_dg_launch_make_what_the_script_makes(
    environment: dict[str, str], corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    done = run([*EXECUTE, "train"], environment)
    assert done.returncode == 0, done.stderr[-3000:]
    expected = tmp_path / "script"
    settings = Settings(tokenizer_base=str(tokenizer_folder), **SWITCHES)
    tokenize_data(corpus, expected, settings, num_workers=1)
    assert scenario.dataset_bytes(tmp_path / "root/datasets/train") == scenario.dataset_bytes(
        expected
    )
    launched = run([str(BIN / "dg"), "launch", "--job", "validation"], environment)
    assert launched.returncode == 0, launched.stderr[-3000:]
    validation = open_dataset(tmp_path / "root/datasets/validation", verify=True)
    assert validation.seq_length == 32
    assert validation.entries[0].chars == CharRange(101_000, 121_000)


def test_what_stops_a_run_is_said_with_an_exit_status(
    environment: dict[str, str], tmp_path: Path
) -> None:
    environment["CODEDATA_TRAIN_PAD_TOKEN"] = "60000"
    done = run([*EXECUTE, "train"], environment)
    assert done.returncode != 0
    assert "pad_token 60000 is not in the vocabulary" in done.stderr + done.stdout
    assert not (tmp_path / "root/datasets").exists()


def start_until_chunks_are_there(
    command: list[str], environment: dict[str, str], chunks: Path
) -> subprocess.Popen[str]:
    """Start a run of 100 chunks in a process group of its own, and come back in its middle."""
    environment["CODEDATA_TRAIN_CHUNK_SIZE"] = "1000"
    process = subprocess.Popen(
        command,
        env=environment,
        cwd=ROOT,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    while len(list(chunks.glob("*.arrow"))) < 10 and process.poll() is None:
        time.sleep(0.002)
    return process


def interrupted(
    command: list[str], environment: dict[str, str], root: Path, by: signal.Signals
) -> tuple[int, str]:
    """Status and stderr of a run that was sent a signal in its middle.

    Where it was further on by then, as on a busy machine it may be, another one is started.
    """
    for _ in range(6):
        for made in ("chunks", "datasets"):
            shutil.rmtree(root / made, ignore_errors=True)
        chunks = root / "chunks/train/00000"
        process = start_until_chunks_are_there(command, environment, chunks)
        if process.poll() is None:
            os.killpg(process.pid, by)
        said = process.communicate()[1]
        assert len(list(chunks.glob("*.arrow"))) >= 10, said
        is_done = len(list(chunks.glob("*.arrow"))) == 100 or (root / "datasets/train").exists()
        if process.returncode and not is_done:
            return process.returncode, said
    pytest.fail("it was done each time before the signal came")


@pytest.mark.campaign
def test_after_kill_9_the_next_run_finishes_with_the_finished_chunks(
    environment: dict[str, str], tmp_path: Path
) -> None:
    chunks = tmp_path / "root/chunks/train/00000"
    status, _ = interrupted([*EXECUTE, "train"], environment, tmp_path / "root", signal.SIGKILL)
    assert status == -signal.SIGKILL
    left = chunks / ".0000001000-0000002000.arrow.0123456789abcdef.tmp"
    left.write_bytes(b"what a kill leaves now and then")
    os.utime(left, (0, 0))
    (chunks / "0000001000-0000002000.arrow").unlink()
    finished = {path.name: path.stat().st_mtime_ns for path in chunks.glob("*.arrow")}
    assert 9 <= len(finished) < 99, "killed in the middle"
    done = run([*EXECUTE, "train"], environment)
    assert done.returncode == 0, done.stderr[-3000:]
    assert {name: (chunks / name).stat().st_mtime_ns for name in finished} == finished
    assert left not in chunks.glob(".*"), "what is surely nobody's is removed"
    assert open_dataset(tmp_path / "root/datasets/train", verify=True).num_samples > 100
    assert os.listdir(tmp_path / "root/datasets") == ["train"]


@pytest.mark.campaign
def test_ctrl_c_ends_codedata_materialize_with_one_line_and_status_130(
    environment: dict[str, str], tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "codedata", "materialize", "train"]
    status, said = interrupted(command, environment, tmp_path / "root", signal.SIGINT)
    assert status == 130, said
    assert said.splitlines()[-1] == "codedata: interrupted; finished chunks are kept"
    # Dagster raises the interrupt wherever it is, now and then in a library that logs it.
    assert f'File "{ROOT / "codedata"}' not in said, "no traceback goes through the package"


NEW_SPLIT = """\
type: codedata.components.DatasetSplit
attributes:
  name: tiny
  corpus: mine
  seq_length: 32
  min_sample_length: 8
  pad_token: 534
  chars_to_tokenize: 40000
  chunk_size: 10000
  tokenizer_base: {tokenizer}
"""
NEW_CORPUS = """\
type: codedata.components.RawCorpus
attributes:
  name: mine
  source:
    kind: folders
    folders:
      project: {folder}
    extensions: [c]
"""
PROJECT = """\
[tool.dg]
directory_type = "project"
[tool.dg.project]
root_module = "mine"
"""
DOWNSTREAM = '''\
"""A user's own code location: new YAML files, and an asset that takes the dataset."""

from pathlib import Path

import dagster as dg

from codedata import PickledTrainerDataset
from codedata.definitions import resources


@dg.asset(ins={"train": dg.AssetIn(["tiny", "dataset"])}, group_name="mine")
def model(train: PickledTrainerDataset) -> dg.MaterializeResult:
    tokens = sum(int(sample["input_ids"].numel()) for sample in train)
    return dg.MaterializeResult(metadata={"trained on": tokens})


defs = dg.Definitions.merge(
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
    dg.Definitions(
        assets=[model],
        jobs=[dg.define_asset_job("train_model", selection=["model"])],
        resources=resources,
        executor=dg.in_process_executor,
    ),
)
'''


@pytest.mark.campaign
def test_a_new_corpus_and_split_are_two_yaml_files_and_no_python(
    environment: dict[str, str], documents: list[str], tokenizer_folder: Path, tmp_path: Path
) -> None:
    """In a project of its own, with a downstream asset that takes a PickledTrainerDataset."""
    sources = tmp_path / "sources"
    sources.mkdir()
    for index, document in enumerate(documents):
        (sources / f"{index}.c").write_text(document, encoding="utf-8")
    project = tmp_path / "project"
    defs = project / "mine" / "defs"
    for folder, text in (
        ("tiny", NEW_SPLIT.format(tokenizer=tokenizer_folder)),
        ("corpus", NEW_CORPUS.format(folder=sources)),
    ):
        (defs / folder).mkdir(parents=True)
        (defs / folder / "defs.yaml").write_text(text, encoding="utf-8")
    for name, text in (
        ("mine/__init__.py", ""),
        ("mine/defs/__init__.py", ""),
        ("mine/definitions.py", DOWNSTREAM),
        ("pyproject.toml", PROJECT),
    ):
        (project / name).write_text(text, encoding="utf-8")
    del environment["CODEDATA_TOKENIZER"]
    environment["PYTHONPATH"] = f"{project}{os.pathsep}{ROOT}"
    command = [str(BIN / "dagster"), "job", "execute", "-m", "mine.definitions", "-j"]
    done = run([*command, "tiny"], environment, cwd=project)
    assert done.returncode == 0, done.stderr[-3000:]
    dataset = open_dataset(tmp_path / "root/datasets/tiny", verify=True)
    assert dataset.seq_length == 32
    assert [entry.chars.key for entry in dataset.entries if entry.chars] == [
        f"{start:010d}-{start + 10_000:010d}" for start in range(0, 40_000, 10_000)
    ]
    done = run([*command, "train_model"], environment, cwd=project)
    assert done.returncode == 0, done.stderr[-3000:]
