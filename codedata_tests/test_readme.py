"""What README.md tells people to type is what CI runs and what the code does."""

import json
import re
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from codedata.cli import main
from codedata.components import DatasetSplit
from codedata.format.ranges import CharRange
from codedata.recipe.settings import Settings
from codedata.tokenize_data import build_parser
from codedata_tests.demo import DEMO_SPLITS

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_readme_s_test_command_to_the_letter() -> None:
    command = next(line for line in README.splitlines() if line.endswith("&& .venv/bin/pytest"))
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert command in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()


def test_the_readme_s_corpus_and_split_load_in_a_project_of_init(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["init", "readmes_project"]) == 0
    found = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    assert len(found) == 2
    for block in found:
        name = yaml.safe_load(block)["attributes"]["name"]
        place = tmp_path / "readmes_project" / "readmes_project" / "defs" / name / "defs.yaml"
        place.parent.mkdir()
        place.write_text(block, encoding="utf-8")
    monkeypatch.chdir("readmes_project")
    monkeypatch.setattr(sys, "path", sys.path.copy())
    capsys.readouterr()
    assert main(["list", "--json"]) == 0
    splits = json.loads(capsys.readouterr().out)["splits"]
    assert [each["name"] for each in splits] == [*sorted(DEMO_SPLITS), "my_test"]


def test_the_readme_s_split_takes_what_it_says_and_a_variable_overrides_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("CODEDATA_MY_TEST_CHUNK_SIZE", "100000")
    _, split = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    settings = DatasetSplit(**yaml.safe_load(split)["attributes"]).settings
    assert settings.window == CharRange(0, 200_000)
    assert settings.chunk_size == 100_000


@pytest.mark.parametrize("page", ["README.md", "docs/reference/switches.md"])
def test_the_table_of_switches_has_every_one_with_its_default(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    table = dict(re.findall(r"^\| `(\w+)` \| (\S.*?) \|", text, re.MULTILINE))
    assert table == {field.name: str(field.default) for field in fields(Settings)}


def test_the_script_s_commands_have_only_switches_that_exist() -> None:
    page = (ROOT / "docs" / "howto" / "script.md").read_text(encoding="utf-8")
    commands = re.findall(r"codedata\.tokenize_data \\\n((?:.*\\\n)*.*)", page)
    assert len(commands) == 3
    for command in commands:
        build_parser().parse_args(command.replace("\\\n", " ").split())
