"""The Dagster instance of the command line: where it is, and what of a user's own stays."""

import os
from pathlib import Path

import pytest
import yaml

from codedata.cli import main
from codedata.cli.instance import INSTANCE_YAML, prepare_dagster_home
from codedata.layout import ROOT_VARIABLE
from codedata.progress import TERMINAL


def test_a_dagster_home_that_is_set_is_kept_and_so_is_a_dagster_yaml_of_the_user(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    home = tmp_path / "deep" / "home"
    monkeypatch.setenv("DAGSTER_HOME", str(home))
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "root"))
    assert prepare_dagster_home(TERMINAL) == home
    assert os.environ["DAGSTER_HOME"] == str(home)
    assert not (tmp_path / "root").exists()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: true\n", encoding="utf-8")
    prepare_dagster_home(TERMINAL)
    assert (home / "dagster.yaml").read_text() == "telemetry:\n  enabled: true\n"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("storage: {sqlite: {base_dir: 5}}", "is not valid for expected type"),
        ("run_storage: {module: no.such, class: Thing}", "no.such"),
        ("a: [", "while parsing"),
    ],
    ids=["type", "module", "yaml"],
)
def test_an_instance_that_cannot_be_opened_is_said_in_one_line(
    text: str,
    said: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "dagster.yaml").write_text(text, encoding="utf-8")
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    assert main(["materialize", "demo_train"]) == 1
    [line] = capsys.readouterr().err.splitlines()
    message = line.removeprefix("codedata: error: ")
    assert message.startswith(f"the Dagster instance of {tmp_path} cannot be opened: ")
    assert said in message
    assert message.endswith("; correct its dagster.yaml, or unset DAGSTER_HOME")


@pytest.mark.parametrize("value", [None, ""], ids=["unset", "empty"])
def test_without_a_dagster_home_it_is_below_the_root_and_made_quiet(
    value: str | None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DAGSTER_HOME", "")  # so that what is set below is taken back
    if value is None:
        del os.environ["DAGSTER_HOME"]
    monkeypatch.setenv(ROOT_VARIABLE, "root")
    home = tmp_path / "root" / ".dagster"
    assert prepare_dagster_home(TERMINAL) == home
    assert os.environ["DAGSTER_HOME"] == str(home)
    assert (home / "dagster.yaml").read_text(encoding="utf-8") == INSTANCE_YAML
    written = yaml.safe_load(INSTANCE_YAML)
    assert written["telemetry"] == written["nux"] == {"enabled": False}
