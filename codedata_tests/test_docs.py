"""README.md and docs/: commands exist, those on the demo run, the Python runs, names are true.

The how-to pages are run by test_howtos.py; the installation and the tests' own command by .ci/run.
"""

import ast
import re
import runpy
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import yaml

from codedata import cli, definitions, layout, tokenize_data
from codedata.components import DatasetSplit, RawCorpus
from codedata.export.exporting import FORMATS
from codedata.recipe.documents import DocumentRecipe
from codedata.sources.registry import KINDS
from codedata.store.cache import CACHE_VARIABLE
from codedata.store.locks import NO_LOCK_VARIABLE
from codedata_tests.demo import Demo

ROOT = Path(__file__).parent.parent
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").rglob("*.md"))]
GENERATED = ("commands", "components")


def blocks(page: Path, language: str) -> list[str]:
    """The fenced blocks of a page in one language."""
    text = page.read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\b[^\n]*\n(.*?)^```", text, re.DOTALL | re.MULTILINE)


@dataclass(frozen=True)
class Command:
    """One command as a page has it, without its assignments of variables."""

    page: str
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.page}: {shlex.join(self.words)}"


def commands() -> Iterator[Command]:
    """Every command of every page, but of the how-to pages, which have splits of their own."""
    for page in PAGES:
        if page.parent == ROOT / "docs" / "howto":
            continue
        for block in blocks(page, "bash"):
            for line in block.replace("\\\n", " ").splitlines():
                lexer = shlex.shlex(line, posix=True, punctuation_chars="&|;")
                lexer.whitespace_split = True
                words: list[str] = []
                for word in [*lexer, "&&"]:
                    if word not in ("&&", "||", "|", ";", "&"):
                        if words or not re.match(r"[A-Z_]+=", word):
                            words.append(word.removeprefix(".venv/bin/"))
                    elif words:
                        yield Command(page.relative_to(ROOT).as_posix(), tuple(words))
                        words = []


COMMANDS = list(commands())

INSTALLED_TOOLS = {"dg", "dagster", "dagster-webserver", "dagster-daemon"}
INSTALLED_TOOLS |= {"coverage", "hf", "pip", "pytest", "zensical"}
SHELL = {"mkdir", "cp", "cd", "export"}


def test_commands_are_found_on_every_page_that_has_them() -> None:
    pages = {command.page for command in COMMANDS}
    assert {"README.md", "docs/hub.md", "docs/quickstart.md", "docs/training.md"} <= pages
    assert len(COMMANDS) >= 30


@pytest.mark.parametrize("command", COMMANDS, ids=str)
def test_a_command_is_one_that_exists(command: Command) -> None:
    program, *arguments = command.words
    if program == "codedata":
        cli.build_parser().parse_args(arguments)
    elif program in ("python", "python3", "torchrun"):
        _check_python(arguments)
    elif program == "dagster" and arguments[:2] == ["job", "execute"]:
        assert arguments[2:4] == ["-m", "codedata.definitions"]
        definitions.defs.resolve_job_def(arguments[arguments.index("-j") + 1])
    elif program in INSTALLED_TOOLS:
        assert (Path(sys.executable).parent / program).exists()
    else:
        assert program in SHELL


def _check_python(arguments: list[str]) -> None:
    if arguments[0] != "-m":
        [script] = [argument for argument in arguments if argument.endswith(".py")]
        text = (ROOT / script).read_text(encoding="utf-8")
        after = arguments[arguments.index(script) + 1 :]
        assert all(f'"{each}"' in text for each in after if each.startswith("--"))
    elif arguments[1] == "codedata.tokenize_data":
        tokenize_data.build_parser().parse_args(arguments[2:])
    elif arguments[1] != "venv":
        assert ROOT.joinpath(*arguments[1].split(".")).with_suffix(".py").is_file()


@pytest.fixture(scope="module")
def clone(demo: Demo, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which the pages' relative paths hold, over the demo's datasets.

    `train` and `validation` are the demo's too.
    """
    folder = tmp_path_factory.mktemp("clone")
    for name in ("examples", "workspace.yaml"):
        (folder / name).symlink_to(ROOT / name)
    (folder / ".venv").symlink_to(sys.prefix)
    datasets = folder / "data" / "datasets"
    datasets.mkdir(parents=True)
    for name in ("corpora", "tokenizers"):
        (folder / "data" / name).symlink_to(demo.root / name)
    for split in ("train", "validation"):
        for name in (split, f"demo_{split}"):
            (datasets / name).symlink_to(demo.root / "datasets" / f"demo_{split}")
    (datasets / "demo_documents").symlink_to(demo.root / "datasets" / "demo_documents")
    return folder


def run_in(clone: Path, demo: Demo, *command: str) -> str:
    environment = {**demo.environment, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)}
    del environment["CODEDATA_ROOT"]
    done = subprocess.run(
        command, cwd=clone, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.campaign
def test_the_quickstart_runs(clone: Path, demo: Demo) -> None:
    page = ROOT / "docs" / "quickstart.md"
    install, look, train, _ = blocks(page, "bash")
    assert install == blocks(ROOT / "README.md", "bash")[0]
    made, training = blocks(page, "text")
    counts = r"\d+ files, [\d,]+ samples of [\d,]+ tokens, [\d,]+ tokens"
    pattern = rf"data/datasets/demo_\w+: {counts}, digest "
    datasets = [line for line in demo.stdout.splitlines() if "/datasets/" in line]
    for line, printed in zip(made.splitlines(), datasets, strict=True):
        assert re.match(pattern, line)
        assert re.search(pattern.replace("data/", "/"), printed)

    out = run_in(clone, demo, "bash", "-euc", look)
    assert "demo_train: whole; " in out
    assert (clone / "report.html").stat().st_size > 50_000
    out = run_in(clone, demo, "bash", "-euc", f"{train.rstrip()} --eval_samples 8")
    assert "step 30 loss" in out
    for line in training.splitlines():
        assert re.search(re.sub(r"[\d.]+|…", ".*", re.escape(line)), out), line
    # Then the page on training: two ranks go on from there (here for two steps).
    [ranks] = re.findall(
        r"^.*torchrun .*$", blocks(page.parent / "training.md", "bash")[0], re.MULTILINE
    )
    out = run_in(clone, demo, "bash", "-euc", f"{ranks} --max_steps 32 --eval_samples 8")
    assert re.search(r"rank 1 goes on from step 30\n(.*\n)*step 31 loss .*\nstep 32 loss ", out)
    [program] = blocks(page, "python")
    run_in(clone, demo, sys.executable, "-c", program)


@pytest.mark.campaign
def test_the_readme_s_python_runs(clone: Path, demo: Demo) -> None:
    [vocab_size] = re.findall(r"train\.vocab_size  # (\d+)", (ROOT / "README.md").read_text())
    before = f"""
from tempfile import mkdtemp
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments
sizes = {{"hidden_size": 8, "intermediate_size": 8, "vocab_size": {vocab_size}}}
heads = {{"num_hidden_layers": 1, "num_attention_heads": 1, "num_key_value_heads": 1}}
model = LlamaForCausalLM(LlamaConfig(**sizes, **heads))
args = TrainingArguments(output_dir=mkdtemp(), report_to=[])
"""
    found = blocks(ROOT / "README.md", "python")
    assert len(found) == 3
    after = f"""
assert next(iter(loader))["input_ids"].shape == (8, 1536)
assert train.vocab_size == {vocab_size}
"""
    run_in(clone, demo, sys.executable, "-c", "\n".join([before, *found, after]))


@pytest.mark.campaign
def test_the_python_of_the_page_on_training_runs(clone: Path, demo: Demo) -> None:
    found = blocks(ROOT / "docs" / "training.md", "python")
    found = [each for each in found if "s3://" not in each]  # which is a store of the reader's
    assert len(found) == 13
    out = run_in(clone, demo, sys.executable, "-c", "\n".join(found))
    assert "the checkpoint was trained on " in out


@pytest.mark.campaign
def test_the_page_on_documents_is_of_the_demo(clone: Path, demo: Demo) -> None:
    page = ROOT / "docs" / "howto" / "documents.md"
    [recipe] = blocks(page, "yaml")
    assert DocumentRecipe.of(yaml.safe_load(recipe)["recipe"]).fim is not None
    [commands] = blocks(page, "bash")
    assert commands.splitlines()[0].rpartition(" ")[2] in demo.stdout
    assert "demo_documents" in run_in(clone, demo, "bash", "-euc", commands.splitlines()[1])
    [program] = blocks(page, "python")
    assert "SPM" in run_in(clone, demo, sys.executable, "-c", program).upper()


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_python_of_a_page_is_python(page: Path) -> None:
    for block in blocks(page, "python"):
        ast.parse(block)


def test_the_formats_of_the_export_are_those_on_the_page() -> None:
    text = (ROOT / "docs" / "training.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `(\w+)` \|", text, re.MULTILINE) == list(FORMATS)


def test_the_page_on_components_has_all_that_their_yaml_may_have() -> None:
    page = runpy.run_path(str(ROOT / "tools" / "reference_pages.py"))["components_page"]()
    *_, split = page.partition("## DatasetSplit")
    for component, text in ((RawCorpus, page.removesuffix(split)), (DatasetSplit, split)):
        fields = component.get_model_cls()
        assert fields is not None
        for name in fields.model_json_schema()["properties"]:
            assert f"| `{name}` |" in text
    for kind, point in KINDS.items():
        [table] = re.findall(
            rf"^### source, `kind: {kind}`\n(.*?)(?=^##)", page, re.MULTILINE | re.DOTALL
        )
        for name in point.load().model_fields:
            assert f"| `{name}` |" in table or name == "kind"


def test_the_variables_of_the_environment_are_those_of_the_package() -> None:
    text = (ROOT / "docs" / "reference" / "environment.md").read_text(encoding="utf-8")
    named = set(re.findall(r"^\| `(CODEDATA_\S+)` \|", text, re.MULTILINE))
    own = {layout.ROOT_VARIABLE, layout.CORPUS_VARIABLE, layout.TOKENIZER_VARIABLE}
    own |= {layout.DASK_VARIABLE, CACHE_VARIABLE}
    assert named == own | {NO_LOCK_VARIABLE, layout.switch_variable("<split>", "<switch>")}


@pytest.mark.parametrize("name", GENERATED)
def test_a_page_that_is_made_from_the_code_is_as_the_code_makes_it(name: str) -> None:
    made = runpy.run_path(str(ROOT / "tools" / "reference_pages.py"))[f"{name}_page"]()
    committed = (ROOT / "docs" / "reference" / f"{name}.md").read_text(encoding="utf-8")
    assert committed == made, "run `python tools/reference_pages.py` and commit what it writes"


def test_every_page_is_in_the_site_s_contents() -> None:
    contents = (ROOT / "zensical.toml").read_text(encoding="utf-8")
    listed = set(re.findall(r'"([\w/-]+\.md)"', contents))
    pages = {path.relative_to(ROOT / "docs").as_posix() for path in PAGES[2:]}
    assert listed == pages
