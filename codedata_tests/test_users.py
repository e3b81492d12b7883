"""Users other than the one who runs the tests, which only root can start.

One as containers have them: no name, no HOME, and no folder for caches. And two people of a group
on one root: what one makes the other can go on with, or is told why not; the folder has the group's
setgid bit, so that what is made in it is the group's.
"""

import os
import re
import shutil
import stat
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
from tokenizers import pre_tokenizers

from codedata.layout import Layout
from codedata.store.dataset_folder import open_dataset
from codedata_tests import scenario

CAPABILITY = "+dac_read_search"
"""To read the interpreter and the package, wherever they lie; it lets nothing be written."""

pytestmark = pytest.mark.skipif(
    sys.platform != "linux" or os.geteuid() != 0 or shutil.which("setpriv") is None,
    reason="only root on Linux, with setpriv, may become another user",
)


@contextmanager
def folder_of(uid: int, gid: int, mode: int) -> Iterator[Path]:
    """A folder of another user's; pytest's own ones lie where nobody else is let through."""
    with tempfile.TemporaryDirectory() as folder:
        os.chown(folder, uid, gid)
        os.chmod(folder, mode)  # noqa: PTH101 - the string is what TemporaryDirectory gives
        yield Path(folder)


def run_as(
    uid: int,
    folder: Path,
    *arguments: str | Path,
    group: int | None = None,
    umask: int = 0o022,
    variables: Mapping[str, str | Path] | None = None,
) -> subprocess.CompletedProcess[str]:
    """Python as a user without a name, with the variables alone and no folder but this one."""
    groups = ["--clear-groups"] if group is None else ["--groups", str(group)]
    become = ["setpriv", "--reuid", str(uid), "--regid", str(uid), *groups]
    become += ["--inh-caps", CAPABILITY, "--ambient-caps", CAPABILITY]
    environment = {"PATH": os.environ["PATH"], "HF_HUB_OFFLINE": "1", "TMPDIR": str(folder)}
    return subprocess.run(
        [*become, sys.executable, *arguments],
        env=environment | {name: str(value) for name, value in (variables or {}).items()},
        cwd=folder,
        umask=umask,
        capture_output=True,
        text=True,
        check=False,
    )


def save_plain_tokenizer(folder: Path) -> tuple[Path, dict[str, str]]:
    """A tokenizer that the library itself applies, and the switches of small runs with it.

    The compiled engine would take its seconds anew in each process of a user without a cache.
    """
    split = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Punctuation(),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    tokenizer = scenario.train_tokenizer(split)
    switches = {"seq_length": "64", "min_sample_length": "10", "chars_to_tokenize": "50000"}
    switches |= {"chunk_size": "30000", "pad_token": str(tokenizer.token_to_id(scenario.PAD))}
    return scenario.save_tokenizer(tokenizer, folder), switches


# A user of a container

UID = 12345


@pytest.fixture
def work() -> Iterator[Path]:
    """The working folder of that user."""
    with folder_of(UID, UID, 0o700) as folder:
        yield folder


def test_the_script_and_materialize_need_neither_a_name_nor_a_home(
    work: Path, corpus: Path, tmp_path: Path
) -> None:
    folder, switches = save_plain_tokenizer(tmp_path / "tokenizer")
    script = ["-m", "codedata.tokenize_data", "--tokenizer_base", folder, "--data_file", corpus]
    of_script = [part for name, value in switches.items() for part in (f"--{name}", value)]
    done = run_as(UID, work, *script, "--tokenization_folder", "by_script", *of_script)
    assert done.returncode == 0, done.stderr
    assert "home" not in done.stderr
    of_split = {f"CODEDATA_TRAIN_{name.upper()}": value for name, value in switches.items()}
    of_split |= {"CODEDATA_CORPUS": str(corpus), "CODEDATA_TOKENIZER": str(folder)}
    done = run_as(
        UID,
        work,
        *("-W", "ignore", "-m", "codedata", "materialize", "train"),
        variables=of_split,
    )
    assert done.returncode == 0, done.stderr
    lines = re.split(r"[\r\n]+", done.stderr.strip())
    assert "Traceback" not in done.stderr
    assert sum("home" in line for line in lines) <= 2, lines  # numba says it, and matplotlib
    made = open_dataset(work / "data/datasets/train")
    assert made.digest == open_dataset(work / "by_script").digest
    assert "~" not in os.listdir(work), "no folder is made for a home that there is not"


def test_compiled_code_that_no_folder_keeps_is_said_once_and_the_hub_s_cache_needs_a_name(
    work: Path,
) -> None:
    code = (
        "import codedata.tokenize.engines.kernels, codedata.reporting.shingles\n"
        "from codedata.tokenize.tokenizer_files import find_tokenizer; find_tokenizer('a/b')"
    )
    done = run_as(UID, work, "-c", code, variables={"NUMBA_CACHE_DIR": "/nonexistent/too"})
    first, *_, last = done.stderr.splitlines()
    assert first.startswith("compiling in every process anew: ")
    assert done.stderr.count("compiling in every process anew: ") == 1
    assert "(HF_HOME) is '~/.cache/huggingface/hub', but ~ has no home directory" in last
    assert os.listdir(work) == []


# Two of a group

ANN, BOB, GROUP = 61001, 61002, 61010

MATERIALIZE = ["-W", "ignore", "-m", "codedata", "materialize"]


@pytest.fixture
def shared() -> Iterator[Path]:
    """A folder that the group may write."""
    with folder_of(0, GROUP, 0o2775) as folder:
        yield folder


def said(done: subprocess.CompletedProcess[str]) -> list[str]:
    """The lines on stderr, bars and remarks on caches aside."""
    lines = re.split(r"[\r\n]+", done.stderr.strip())
    aside = ("Tokenizing", "compiling in every process anew", "Matplotlib", "Checking")
    return [line for line in lines if line and not line.startswith(aside)]


def closed_to_group(folder: Path) -> list[str]:
    """What lies below a folder that its group may not write."""
    return [
        str(path.relative_to(folder))
        for path in sorted(folder.rglob("*"))
        if not path.lstat().st_mode & stat.S_IWGRP and not path.name.startswith("matplotlib-")
    ]


def run_by(
    uid: int, folder: Path, *arguments: str | Path, **variables: str | Path
) -> subprocess.CompletedProcess[str]:
    return run_as(uid, folder, *arguments, group=GROUP, umask=0o002, variables=variables)


def refusal_of(uid: int, folder: Path, *arguments: str | Path, **variables: str | Path) -> str:
    """The one line that a command ends with."""
    done = run_by(uid, folder, *arguments, **variables)
    assert done.returncode == 1
    *steps, line = said(done)
    assert not any("error" in step for step in steps)
    return line


def test_what_one_made_with_the_script_the_other_replaces(
    shared: Path, corpus: Path, tmp_path: Path
) -> None:
    tokenizer, switches = save_plain_tokenizer(tmp_path / "tokenizer")
    script = ["-m", "codedata.tokenize_data", "--tokenizer_base", tokenizer, "--data_file", corpus]
    script += ["--tokenization_folder", "dataset"]
    script += [part for name, value in switches.items() for part in (f"--{name}", value)]
    for uid, seq_length in ((ANN, 64), (BOB, 32)):
        # What a run leaves that was killed, however its holder's umask was.
        work = shared / ".dataset.codedata"
        work.mkdir()
        (work / "lock").touch(mode=0o644)
        os.chown(work, BOB + ANN - uid, GROUP)
        work.chmod(0o2775)
        done = run_by(uid, shared, *script, "--seq_length", str(seq_length))
        assert done.returncode == 0, done.stderr
        assert open_dataset(shared / "dataset").seq_length == seq_length
        assert (shared / "dataset").stat().st_uid == uid
        assert closed_to_group(shared) == []
    (shared / "dataset").chmod(0o2755)
    before = os.listdir(shared)
    line = refusal_of(ANN, shared, *script)
    assert line.startswith("tokenize_data: error: the target dataset cannot be replaced; ")
    assert f"/dataset belongs to user {BOB} and is closed to you (drwxr-sr-x); work in a" in line
    assert line.endswith("opened to your group (chmod -R g+rwX, and umask 002 from then on)")
    assert os.listdir(shared) == before

    (shared / "dataset").chmod(0o2775)
    work = shared / ".dataset.codedata"
    (work / "chunks").mkdir(parents=True)
    os.chown(work, BOB, GROUP)
    line = refusal_of(ANN, shared, *script)
    assert line.startswith("tokenize_data: error: [Errno 13] Permission denied: '")
    assert f"/.dataset.codedata belongs to user {BOB} and is closed to you (drwxr-sr-x)" in line
    assert line.endswith("; dataset holds what it held before, or the new dataset whole")


PREPARE = """
from codedata.cli.instance import open_instance, prepare_dagster_home
from codedata.progress import TERMINAL

home = prepare_dagster_home(TERMINAL)
"""
OPEN = PREPARE + "with open_instance(home): pass"


@pytest.mark.campaign
def test_both_work_with_one_instance_and_one_who_may_not_write_it_gets_their_own(
    shared: Path, corpus: Path
) -> None:
    variables = {"CODEDATA_ROOT": str(shared / "root"), "CODEDATA_CORPUS": str(corpus)}
    layout = Layout(shared / "root")
    done = run_by(ANN, shared, "-c", OPEN, **variables)
    assert done.stderr == ""
    assert len(list(layout.dagster_home.rglob("*.db"))) == 3
    assert closed_to_group(layout.root) == []

    closed = layout.corpus("the_stack_c")
    closed.mkdir(parents=True)
    closed.parent.chmod(0o2775)
    os.chown(closed, ANN, GROUP)
    tokenizer, switches = save_plain_tokenizer(shared / "tokenizer")
    chosen = {f"CODEDATA_TRAIN_{name.upper()}": value for name, value in switches.items()}
    chosen |= variables | {"CODEDATA_TOKENIZER": str(tokenizer)}
    line = refusal_of(BOB, shared, *MATERIALIZE, "train", **chosen)
    assert line.startswith("codedata: error: split 'train': [Errno 13] ")
    assert f"; {closed} belongs to user {ANN} and is closed to you (drwxr-sr-x); work in" in line
    [of_run] = set(layout.dagster_home.rglob("*-*.db"))
    assert (of_run.stat().st_uid, stat.S_IMODE(of_run.stat().st_mode)) == (BOB, 0o664)
    closed.chmod(0o2775)
    assert closed_to_group(layout.root) == []

    index = layout.dagster_home / "history" / "runs" / "index.db"
    index.chmod(0o644)
    before = {path: path.stat().st_mtime_ns for path in layout.dagster_home.rglob("*")}
    done = run_by(BOB, shared, "-c", PREPARE, **variables)
    own = layout.own_dagster_home(BOB)
    whose = f"{index} belongs to user {ANN} and is closed to you (-rw-r--r--)"
    assert done.stderr == f"codedata: runs are recorded in {own}, since {whose}\n"
    assert closed_to_group(own) == []
    assert {path: path.stat().st_mtime_ns for path in layout.dagster_home.rglob("*")} == before

    variables |= {"DAGSTER_HOME": str(layout.dagster_home)}
    line = refusal_of(BOB, shared, *MATERIALIZE, "train", **variables)
    assert line.startswith(
        f"codedata: error: the Dagster instance of {layout.dagster_home} cannot be written; {whose}"
    )
    assert line.endswith("; or set DAGSTER_HOME to a folder of your own")


def test_a_root_that_nobody_else_may_write_is_refused_in_one_line(shared: Path) -> None:
    root = shared / "root"
    root.mkdir()
    os.chown(root, ANN, GROUP)
    line = refusal_of(BOB, shared, *MATERIALIZE, "demo_train", CODEDATA_ROOT=root)
    assert line.startswith(f"codedata: error: Dagster's folder {root}/.dagster cannot be made: ")
    assert f"{root} belongs to user {ANN} and is closed to you" in line
    assert os.listdir(root) == []
