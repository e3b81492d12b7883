"""`codedata init`: what it writes is what the package has, and loads; what it refuses."""

import filecmp
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from codedata.cli import main
from codedata.components import DatasetSplit, RawCorpus
from codedata.layout import Layout
from codedata.sources.record import read_corpus
from codedata_tests import scenario
from codedata_tests.components.yamls import jobs_of

ROOT = Path(__file__).parent.parent.parent
DEFS = ROOT / "codedata" / "defs"

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's use of pydantic


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A working folder; the modules of its projects are forgotten afterwards."""
    known = {*sys.modules}
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name in sys.modules.keys() - known:
        if name.startswith("own_"):
            del sys.modules[name]


def components_of(project: Path, monkeypatch: pytest.MonkeyPatch) -> dg.ComponentTree:
    """The components of a project, all definitions built."""
    monkeypatch.syspath_prepend(project)
    tree = dg.ComponentTree.for_project(project)
    assert jobs_of(tree)
    return tree


@pytest.mark.parametrize(
    ("switches", "copied"),
    [
        ([], ["demo_corpus", "demo_tokenizer", "demo_train", "demo_validation"]),
        (["--stack", "c"], ["the_stack_c", "train", "validation"]),
    ],
)
def test_the_yamls_of_a_project_are_the_very_files_of_the_package(
    switches: list[str], copied: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    project = Path(f"own_{copied[0]}")
    assert main(["init", str(project), *switches]) == 0
    defs = project / project / "defs"
    assert sorted(path.name for path in defs.iterdir() if path.is_dir()) == copied
    for name in copied:
        assert filecmp.cmp(defs / name / "defs.yaml", DEFS / name / "defs.yaml", shallow=False)
    assert "my_project" not in (project / "pyproject.toml").read_text(encoding="utf-8")
    train = copied[-2]
    assert f'load_dataset("{train}")' in (project / "train.py").read_text(encoding="utf-8")
    components_of(project, monkeypatch)


def write_code(folder: Path, num_files: int = 12) -> None:
    (folder / "deep").mkdir(parents=True)
    for index, document in enumerate(scenario.c_documents(num_files)):
        (folder / "deep" / f"{index}.c").write_text(document, encoding="utf-8")
    (folder / "notes.json").write_text("[" + "1, " * 9000 + "1]", encoding="utf-8")
    (folder / "tool.py").write_text("print()\n" * 200, encoding="utf-8")


def test_over_one_s_own_code_the_splits_touch_between_two_documents_and_take_all(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_code(here / "code")
    assert main(["init", "own_code", "--folder", "code"]) == 0
    tree = components_of(here / "own_code", monkeypatch)
    corpus = read_corpus(Layout(here / "own_code" / "data").corpus("my_corpus"))
    assert f"13 files, {corpus.num_chars:,} characters: c, py below" in capsys.readouterr().out
    [source] = tree.get_all_components(of_type=RawCorpus)
    assert source.source["folders"] == {"code": f"{here}/code"}
    splits = {each.name: each for each in tree.get_all_components(of_type=DatasetSplit)}
    train, validation = (splits[name].settings.window for name in ("my_train", "my_validation"))
    assert splits["my_validation"].held_out_from == ["my_train"]
    assert (train.start, train.stop, validation.stop) == (0, validation.start, corpus.num_chars)
    documents = corpus.open_text().first_documents(corpus.num_rows)
    borders = [len(" ".join(documents[:number])) + 1 for number in range(1, len(documents))]
    assert train.stop in borders
    assert 0.7 * corpus.num_chars < train.stop < 0.98 * corpus.num_chars


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["full"], "/full is not empty: it holds a, b, c and 1 more; name a folder that is new"),
        (["file"], "/file is no folder; name one that is new or empty"),
        (["own_x/json"], "'json', of which name there is a module already; name it otherwise"),
        (["own_x/3d"], "the folder '3d' gives no name of a Python package"),
        (["own_x", "--folder", "none"], "/none of the corpus does not exist; name a folder"),
        (["own_x", "--folder", "full"], "lies in "),
        (["own_x", "--folder", "little"], "has 8 bytes; name a folder with at least 2,000"),
    ],
)
def test_what_can_be_no_project_is_refused_and_nothing_is_left(
    arguments: list[str], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in "abcd":
        (here / "full" / name).mkdir(parents=True)
    (here / "file").touch()
    (here / "little").mkdir()
    (here / "little" / "a.c").write_text("int a;\n\n", encoding="utf-8")
    before = sorted(here.rglob("*"))
    assert main(["init", *arguments]) == 1
    [line] = capsys.readouterr().err.splitlines()
    assert line.startswith("codedata: error: ")
    assert said in line
    assert sorted(here.rglob("*")) == before


def test_a_folder_with_nothing_but_an_environment_and_a_repository_becomes_a_project(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    project = here / "own_here"
    for name in (".git", ".venv"):
        (project / name).mkdir(parents=True)
    monkeypatch.chdir(project)
    assert main(["init", "."]) == 0
    *_, first, second = capsys.readouterr().out.splitlines()
    assert "cd " not in first
    assert first.endswith("codedata materialize demo_train demo_validation")
    assert second.endswith(" train.py")
    assert Path(second.split()[0]).exists()
    pyproject = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["project"]["dependencies"] == ["codedata", "dagster-dg-cli"]
    assert pyproject["tool"]["dg"]["project"]["root_module"] == "own_here"


def test_a_broken_yaml_of_the_package_breaks_no_project(here: Path) -> None:
    assert main(["init", "own_alone"]) == 0
    script = (
        "import own_alone.definitions as found, sys; found.defs.resolve_asset_graph(); "
        "print(sorted(name for name in sys.modules if name.startswith('codedata.defs')))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", script],
        cwd=here / "own_alone",
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
