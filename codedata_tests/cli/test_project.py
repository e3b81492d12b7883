"""A project of a user's: its code location is found, its split is made, listed and shown."""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import termios
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import yaml

from codedata.cli import main, split_states
from codedata.format.meta import META_NAME
from codedata.layout import ROOT_VARIABLE, TOKENIZER_VARIABLE
from codedata.sources.record import record_corpus
from codedata.store.dataset_folder import open_dataset
from codedata_tests import scenario

PYPROJECT = """\
[tool.dg]
directory_type = "project"

[tool.dg.project]
root_module = "mine"
"""
DEFINITIONS = """\
from pathlib import Path

import dagster as dg

from codedata.definitions import resources


@dg.definitions
def assembled() -> dg.Definitions:
    found = dg.load_from_defs_folder(path_within_project=Path(__file__).parent)
    return dg.Definitions.merge(found, dg.Definitions(resources=resources))
"""
Listed = dict[str, Any]
SWITCHES = {"seq_length": 64, "min_sample_length": 10, "chunk_size": 30_000, "pad_token": 534}


@pytest.fixture(scope="module")
def once(
    corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> tuple[Path, list[str], str]:
    """The folder of a project whose split is made, and what making it printed to two pipes."""
    folder = tmp_path_factory.mktemp("project")
    shutil.copy(corpus, folder / "c.parquet")
    shutil.copytree(tokenizer_folder, folder / "tok")
    write_project(
        folder,
        {
            "c": ("RawCorpus", {"source": {"kind": "local", "path": "c.parquet"}}),
            "small": (
                "DatasetSplit",
                {
                    "corpus": "c",
                    "tokenizer_base": "tok",
                    "chars_to_tokenize": 100_000,
                    "matches_transformers": False,
                    **SWITCHES,
                },
            ),
        },
    )
    done = subprocess.run(
        [sys.executable, "-m", "codedata", "materialize", "small"],
        cwd=folder,
        env=own_environment(),
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return folder, done.stdout.splitlines(), done.stderr


def write_project(folder: Path, components: Mapping[str, tuple[str, dict[str, Any]]]) -> None:
    """Write a project whose package is `mine`, with a YAML for each component, by its name."""
    for name, (kind, attributes) in components.items():
        (place := folder / "mine" / "defs" / name).mkdir(parents=True)
        component = {
            "type": f"codedata.components.{kind}",
            "attributes": {"name": name, **attributes},
        }
        (place / "defs.yaml").write_text(yaml.dump(component), encoding="utf-8")
    (folder / "pyproject.toml").write_text(PYPROJECT, encoding="utf-8")
    for init in (folder / "mine", folder / "mine" / "defs"):
        (init / "__init__.py").touch()
    (folder / "mine" / "definitions.py").write_text(DEFINITIONS, encoding="utf-8")


def own_environment() -> dict[str, str]:
    taken = ("CODEDATA_", "DAGSTER_")
    return {name: value for name, value in os.environ.items() if not name.startswith(taken)}


def forget_modules() -> None:
    """Have the project's modules loaded anew, as each process does."""
    for name in [each for each in sys.modules if each.partition(".")[0] == "mine"]:
        del sys.modules[name]


@pytest.fixture
def project(
    once: tuple[Path, list[str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A copy of that project, the working folder, to change."""
    folder = tmp_path / "project"
    shutil.copytree(once[0], folder, copy_function=shutil.copy2)
    monkeypatch.chdir(folder)
    for variable in ("DAGSTER_HOME", ROOT_VARIABLE, TOKENIZER_VARIABLE):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setattr(sys, "path", [*sys.path])
    forget_modules()
    yield folder
    os.environ.pop("DAGSTER_HOME", None)


@pytest.fixture
def listed(project: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Listed]:
    """`codedata list --json`, as a process of its own would give it: of the one split."""

    def run(*arguments: str) -> Listed:
        forget_modules()
        assert main([*arguments, "list", "--json"]) == 0
        found = json.loads(capsys.readouterr().out)
        assert found["root"] == str(project / "data")
        [split] = found["splits"]
        return split

    return run


def edit(project: Path, name: str, **attributes: Any) -> None:
    path = project / "mine" / "defs" / name / "defs.yaml"
    component = yaml.safe_load(path.read_text(encoding="utf-8"))
    component["attributes"] |= attributes
    path.write_text(yaml.dump(component), encoding="utf-8")


def test_making_a_split_says_where_it_is_and_writes_no_bar_into_a_pipe(
    once: tuple[Path, list[str], str],
) -> None:
    folder, out, err = once
    dataset = open_dataset(folder / "data" / "datasets" / "small")
    assert f"{dataset.folder}: {len(dataset.shards)} files, " in out[0]
    assert out[0].endswith(f" digest {dataset.digest}")
    assert out[1:] == [f"{folder}/data/reports/small.html: what it is made of"]
    assert "\r" not in err
    assert "\ncollecting c\n" in f"\n{err}"
    assert "\ndescribing small\n" in err
    assert "Tokenizing small: 0 of 4 chunks are unchanged and reused, 4 to tokenize\n" in err
    assert re.search(r"Tokenizing small: 4 of 4 chunks, .* M characters/s, 0 s left\n", err)


def test_a_split_that_is_as_its_yaml_says_is_made(
    project: Path, listed: Callable[..., Listed]
) -> None:
    dataset = open_dataset(project / "data" / "datasets" / "small")
    assert listed() == {
        "name": "small",
        "state": "made",
        "why": [],
        "folder": str(dataset.folder),
        "samples": dataset.num_samples,
        "seq_length": 64,
        "tokens": dataset.num_tokens,
        "digest": dataset.digest,
    }
    edit(project, "small", pad_token=scenario.PAD, description="another")
    assert listed()["why"] == [], "the same token by its name, and words that decide no byte"


STALE = {
    "a switch": ({"chunk_size": 25_000, "seq_length": 32}, [
        "seq_length was 64, is now 32", "chunk_size was 30000, is now 25000",
    ]),
    "the pad token's name": ({"pad_token": scenario.BOS}, [
        f"pad_token was 534, is now {scenario.BOS!r}",
    ]),
    "another tokenizer": ({"tokenizer_base": "owner/other"}, [
        "tokenizer_base was tok, is now owner/other",
    ]),
}  # fmt: skip


@pytest.mark.parametrize(("changed", "why"), STALE.values(), ids=STALE)
def test_a_split_whose_yaml_was_edited_is_stale_and_says_what_was_and_is(
    changed: dict[str, Any], why: list[str], project: Path, listed: Callable[..., Listed]
) -> None:
    edit(project, "small", **changed)
    found = listed()
    assert (found["state"], found["why"]) == ("stale", why)


def test_overrides_files_and_releases_make_a_split_stale_too(
    project: Path, listed: Callable[..., Listed], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEDATA_SMALL_MAX_DUMP_SIZE", "7")
    assert listed()["why"] == ["max_dump_size was 10000, is now 7"]
    monkeypatch.delenv("CODEDATA_SMALL_MAX_DUMP_SIZE")
    monkeypatch.setattr(split_states, "CODE_VERSION", 2)
    [why] = listed()["why"]
    assert "whose ids this release corrects" in why
    monkeypatch.undo()
    monkeypatch.chdir(project)
    config = project / "tok" / "tokenizer_config.json"
    config.rename(project / "config")
    assert listed()["why"] == ["the files of tokenizer tok changed"]
    (project / "config").rename(config)
    scenario.write_parquet(project / "c.parquet", scenario.c_documents(61))
    changed = "corpus c changed: its source in the YAML, or its files"
    assert listed()["why"] == [changed], "as the instance of Dagster knows"
    record_corpus(project / "data" / "corpora" / "c", project / "c.parquet", {"kind": "local"})
    assert listed()["why"] == ["corpus c is another than it was made of", changed]


def test_what_is_no_whole_dataset_is_damaged_or_missing_and_the_others_are_still_listed(
    project: Path, listed: Callable[..., Listed]
) -> None:
    folder = project / "data" / "datasets" / "small"
    (folder / "codedata.yaml").unlink()
    (folder / "README.md").unlink()
    assert listed()["why"] == ["it does not say what it was made of (codedata.yaml)"]
    (folder / "dump-0.pkl").unlink()
    found = listed()
    assert (found["state"], found["digest"]) == ("damaged", None)
    assert "lacks dump-0.pkl" in found["why"][0]
    shutil.rmtree(project / "data")
    found = listed()
    assert (found["state"], found["why"]) == ("missing", [])
    assert not (project / "data").exists(), "looking makes nothing"


@pytest.mark.parametrize("command", [(), ("list",)], ids=["alone", "list"])
def test_the_splits_of_the_project_are_said_in_a_table(
    command: tuple[str, ...], project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    edit(project, "small", chunk_size=25_000)
    assert main(command) == 0
    said = capsys.readouterr().out
    first = "splits of mine.definitions, below data\n"
    assert said.startswith(first if command else "Tokenized, packed and checked ")
    assert first in said
    assert re.search(
        r"^small  stale  [\d,]+ samples of 64 tokens  [0-9a-f]{12}  data/datasets/small\n"
        r"       chunk_size was 30000, is now 25000\n\Z",
        said,
        re.MULTILINE,
    )


def test_below_its_folder_a_project_is_found_and_which_one_and_which_root_is_said(
    project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(project / "mine")
    assert main(["list"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"splits of mine.definitions of {project}, below {project}/mine/data"
    assert lines[1].startswith("small  missing")


def test_another_code_location_is_named_by_m_and_hints_name_it_too(
    project: Path, listed: Callable[..., Listed], capsys: pytest.CaptureFixture[str]
) -> None:
    target = 'code_location_target_module = "mine.nowhere"\n'
    (project / "pyproject.toml").write_text(PYPROJECT + target, encoding="utf-8")
    assert main(["list"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert "there is no module 'mine.nowhere', which [tool.dg] of pyproject.toml names: " in line
    assert listed("-m", "mine.definitions")["name"] == "small"
    assert main(["list", "-m", "mine.definitions"]) == 0
    assert "small" in capsys.readouterr().out
    assert main(["-m", "mine.definitions", "show", "large"]) == 1
    assert "`codedata -m mine.definitions list`" in capsys.readouterr().err


def test_every_command_takes_the_split_s_name(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = project / "data" / "datasets" / "small"
    digest = open_dataset(folder).digest
    assert main(["verify", "small"]) == 0
    assert digest in capsys.readouterr().out
    assert main(["show", "small"]) == 0
    assert f"{scenario.BOS}" in capsys.readouterr().out, "decoded with the tokenizer of the facts"
    assert main(["export", "small", "--to", "npy"]) == 0
    assert (project / "data" / "datasets" / "small-npy").is_dir()
    shutil.copytree(folder, project / "elsewhere" / "small")
    assert main(["report", "small", "elsewhere/small"]) == 0
    assert "report.html: small, elsewhere/small; " in capsys.readouterr().out


def test_a_name_that_may_mean_two_datasets_is_refused_and_one_that_means_one_is_not(
    project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    split = project / "data" / "datasets" / "small"
    (project / "small").mkdir()
    assert main(["verify", "small"]) == 0, "the folder holds no dataset"
    shutil.copy(split / META_NAME, project / "small")
    capsys.readouterr()
    assert main(["verify", "small"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert f"'small' is the dataset of a split, {split}, and a folder here; write ./small" in line
    assert main(["verify", "data/datasets/small"]) == 0
    assert main(["verify", "smal"]) == 1
    assert "did you mean small? there are small" in capsys.readouterr().err
    for named, meant in (
        ("large/", ""),
        ("small/", "there is no folder small/ here; without the slash, small is the dataset of"),
        ("small,small", "there is no dataset 'small,small'; separate names by spaces: small small"),
    ):
        shutil.rmtree(project / "small", ignore_errors=True)
        assert main(["show", named]) == 1
        assert meant in capsys.readouterr().err
    assert main(["materialize", "small,small"]) == 1
    assert "; separate names by spaces: small small" in capsys.readouterr().err


def worked_for(process: "subprocess.Popen[bytes]") -> float:
    """Seconds that a process has had of a core so far."""
    with suppress(psutil.NoSuchProcess):
        return sum(psutil.Process(process.pid).cpu_times()[:2])
    return 0.0


@pytest.mark.campaign
def test_a_terminal_sees_a_bar_a_quiet_one_the_result_and_a_verbose_one_each_chunk(
    project: Path,
) -> None:
    blank: list[float] = []

    def shown(*switches: str) -> str:
        """What stderr, a terminal, shows of making everything again; its work while it is blank."""
        command = [sys.executable, "-m", "codedata", *switches, "materialize", "--force", "small"]
        ours, theirs = pty.openpty()
        termios.tcsetwinsize(theirs, (24, 80))
        with subprocess.Popen(
            command, cwd=project, env=own_environment(), stderr=theirs, stdout=subprocess.DEVNULL
        ) as process:
            os.close(theirs)
            seen, worked = bytearray(), 0.0
            blank.clear()
            try:
                while data := os.read(ours, 1 << 16):
                    before, worked = worked, worked_for(process)
                    if seen.endswith((b"\n", b"\x1b[K")):
                        blank.append(worked - before)
                    seen += data
            except OSError:  # the other end is closed
                pass
            os.close(ours)
        assert process.returncode == 0
        blank[:] = [seconds / worked for seconds in blank]
        return seen.decode()

    seen = shown()
    assert max(blank) < 0.25, "a share of the work in which the line says nothing"
    assert "loading mine.definitions ...\r\r\x1b[K" in seen
    for step in ("collecting c", "preparing small", "packing, checking and publishing small"):
        assert f"\r\x1b[K{step} ...\r" in seen
    assert "Tokenizing small: 100%" in seen
    assert "codedata: done in " in seen
    assert shown("-q") == ""
    lines = shown("-v").splitlines()
    assert sum("chunk 00000" in line for line in lines) == 4
    assert not any("100%" in line for line in lines)
