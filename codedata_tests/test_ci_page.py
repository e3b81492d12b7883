"""The workflow of `codedata init`: its steps are run as GitHub runs them, on a tiny corpus."""

import re
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from codedata.cli import main
from codedata_tests.components.small_platform import environment_of_splits
from codedata_tests.howto_pages import PAGES, ROOT, parsed_blocks


def workflow_in(file: Path) -> dict[Any, Any]:
    return yaml.safe_load(file.read_text(encoding="utf-8"))


WORKFLOW = workflow_in(ROOT / "codedata" / "cli" / "project" / "codedata.yml")
JOB = WORKFLOW["jobs"]["datasets"]
BASH = ("bash", "-euo", "pipefail", "-c")
INSTALL = "Install"
"""The one step that the tests leave out: .ci/run does the same, and this environment has it."""


@pytest.fixture
def project(tmp_path: Path) -> Path:
    """What is checked out, and installed: over a corpus that the environment puts in its place."""
    folder = tmp_path / "ours"
    assert main(["init", str(folder), "--stack", "c"]) == 0
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


@pytest.fixture
def environment(corpus: Path, tokenizer_folder: Path, tmp_path: Path) -> dict[str, str]:
    made = environment_of_splits(corpus, tokenizer_folder, tmp_path)
    for name in ("DAGSTER_HOME", "CODEDATA_ROOT", "VIRTUAL_ENV"):
        made.pop(name, None)
    return made


def run_steps(project: Path, environment: Mapping[str, str]) -> tuple[str | None, str]:
    """Run the steps until one fails: its name, None if none does, and what was printed."""
    printed: list[str] = []
    workflow = workflow_in(project / ".github/workflows/codedata.yml")
    for step in workflow["jobs"]["datasets"]["steps"]:
        if "run" not in step or step["name"] == INSTALL:
            continue
        assert "${{" not in step["run"], "a step's command is the same here and on GitHub"
        own = {**workflow["env"], **step.get("env", {})}
        given = {name: value for name, value in own.items() if "${{" not in value}
        done = subprocess.run(
            [*BASH, step["run"]],
            cwd=project,
            env={**environment, **given, "PYTHONPATH": str(ROOT)},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
        )
        printed.append(done.stdout)
        if done.returncode != 0:
            return step["name"], "\n".join(printed)
    return None, "\n".join(printed)


@pytest.mark.campaign
def test_the_steps_make_verified_datasets_and_a_report_and_a_damaged_one_stops_them(
    project: Path, environment: dict[str, str]
) -> None:
    failed, printed = run_steps(project, environment)
    assert failed is None, printed[-4000:]
    assert printed.count(": whole; ") == 2
    [cached] = {step["with"]["path"] for step in JOB["steps"] if "cache/" in step.get("uses", "")}
    assert len(list((project / cached / "train").rglob("*.arrow"))) == 4
    [kept] = [step for step in JOB["steps"] if "upload-artifact" in step.get("uses", "")]
    for pattern in kept["with"]["path"].split():
        assert list(project.glob(pattern)), pattern
    verify = next(step for step in JOB["steps"] if step.get("name") == "Verify")["run"]
    (project / "data/datasets/validation/dump-0.pkl").write_bytes(b"\x80\x02](](e.")
    own = {**environment, "CODEDATA_ROOT": "data", "SPLITS": "validation", "PYTHONPATH": str(ROOT)}
    done = subprocess.run([*BASH, verify], cwd=project, env=own, capture_output=True, check=False)
    assert done.returncode == 1


@pytest.mark.campaign
@pytest.mark.parametrize(
    ("variable", "value", "step", "message"),
    [
        ("CODEDATA_TRAIN_SEQ_LENGTH", "0", "Check the definitions", "seq_length must be 1 to"),
        ("CODEDATA_TRAIN_PAD_TOKEN", "60000", "Materialize", "is not in the vocabulary"),
    ],
)
def test_a_broken_switch_makes_a_step_fail(
    project: Path,
    environment: dict[str, str],
    variable: str,
    value: str,
    step: str,
    message: str,
) -> None:
    failed, printed = run_steps(project, {**environment, variable: value})
    assert failed == step
    assert message in printed
    assert not (project / "data/datasets").exists()


def test_the_workflow_is_bounded_and_its_actions_are_pinned_to_a_major() -> None:
    assert WORKFLOW["permissions"] == {"contents": "read"}
    assert WORKFLOW["concurrency"]["cancel-in-progress"] is True
    assert JOB["timeout-minutes"] <= 60
    for step in JOB["steps"]:
        if "uses" in step:
            assert re.fullmatch(r"actions/[\w/-]+@v\d+", step["uses"])
        else:
            assert step["timeout-minutes"] < JOB["timeout-minutes"]
    secrets = [step["name"] for step in JOB["steps"] if "secrets." in str(step)]
    assert secrets == ["Materialize"]
    always = [step["name"] for step in JOB["steps"] if step.get("if") == "always()"]
    assert always == ["Save the chunks", "Keep the reports"]
    assert {"push", "workflow_dispatch"} == WORKFLOW[True].keys(), "YAML 1.1 reads `on` as true"


def test_the_page_says_each_step_that_can_fail_and_its_commands_exist() -> None:
    page = (PAGES / "ci.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (\w[\w ]+) \| ", page, re.MULTILINE)
    assert rows[1:] == [step["name"] for step in JOB["steps"] if "run" in step]
    assert parsed_blocks("ci.md") == ["push"]
