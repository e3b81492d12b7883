"""What README.md tells people to type is what CI runs and what the code does."""

import re
from dataclasses import fields
from pathlib import Path

import pytest
import yaml

from codedata.components import DatasetSplit, RawCorpus
from codedata.format.ranges import CharRange
from codedata.recipe.settings import Settings
from codedata.tokenize_data import build_parser

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text(encoding="utf-8")


def test_ci_runs_the_readme_s_test_command_to_the_letter() -> None:
    command = next(line for line in README.splitlines() if line.endswith("&& .venv/bin/pytest"))
    assert command in (ROOT / ".ci" / "run").read_text(encoding="utf-8").splitlines()
    assert command in (ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8").splitlines()


def test_the_readme_s_yaml_and_environment_are_valid(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CODEDATA_TRAIN_CHUNK_SIZE", "5000000")
    found = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    corpus, split = (yaml.safe_load(block) for block in found)
    assert split.pop("type") == "codedata.components.DatasetSplit"
    assert DatasetSplit(**split["attributes"]).settings.window == CharRange(
        102_000_000, 104_000_000
    )
    assert corpus.pop("type") == "codedata.components.RawCorpus"
    assert RawCorpus(**corpus["attributes"]).typed_source.model_dump()["kind"] == "folders"
    train = DatasetSplit(name="train", corpus="the_stack_c")
    assert train.settings.chunk_size == 5_000_000


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
