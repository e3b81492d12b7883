"""`codedata init`: what it writes is what the package has, and loads; what it refuses."""

import filecmp
import os
import shutil
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import dagster as dg
import pytest
import yaml

from codedata.cli import main
from codedata.cli.instance import INSTANCE_YAML
from codedata.components import DatasetSplit, RawCorpus
from codedata.layout import Layout
from codedata.sources.kinds.folders import FoldersSource
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
        ([], ["demo_corpus", "demo_documents", "demo_tokenizer", "demo_train", "demo_validation"]),
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
    train = copied[-2]  # before validation
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
    said = capsys.readouterr().out
    assert f"13 files, {corpus.num_chars:,} characters: c, py below" in said
    assert "left out" not in said
    assert said.splitlines()[-1].startswith(
        "in CI: name folders of the repository in own_code/defs"
    )
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
    ("project", "code"), [("own_a", "demo_x"), ("own_b", "my_project"), ("demo_own", "code")]
)
def test_no_name_of_one_s_own_is_taken_for_one_of_the_package(
    project: str, code: str, here: Path
) -> None:
    write_code(here / code)
    assert main(["init", project, "--folder", code]) == 0
    defs = here / project / project / "defs"
    text = (defs / "my_corpus" / "defs.yaml").read_text(encoding="utf-8")
    assert yaml.safe_load(text)["attributes"]["source"]["folders"] == {code: f"{here}/{code}"}
    pyproject = tomllib.loads((here / project / "pyproject.toml").read_text(encoding="utf-8"))
    assert pyproject["tool"]["dg"]["project"]["root_module"] == project


OTHERS = [
    ".git/a.c", "b/.hidden/a.c", "node_modules/x/a.c", "env/lib/site-packages/a.c",
    "b/[1]/lib/a.c", "target/a.c", "tool/build/a.c",
]  # fmt: skip


def test_what_others_made_below_a_folder_and_the_project_are_left_out_and_said(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_code(here / "code")
    code = here / "code"
    for name in (*OTHERS, "build/own.c"):
        (code / name).parent.mkdir(parents=True, exist_ok=True)
        (code / name).write_text("int a;\n", encoding="utf-8")
    for name in ("b/[1]/pyvenv.cfg", "target/CACHEDIR.TAG", "tool/setup.py", "empty.py"):
        (code / name).touch()
    assert main(["init", "code/own_inside", "--folder", "code"]) == 0
    [left_out] = [line for line in capsys.readouterr().out.splitlines() if "left out: " in line]
    assert left_out == (
        "left out: .git, b/.hidden, b/[1], env/lib/site-packages, node_modules, target, tool/build "
        "(exclude in own_inside/defs/my_corpus/defs.yaml); files empty: 2"
    )
    project = code / "own_inside"
    [component] = components_of(project, monkeypatch).get_all_components(of_type=RawCorpus)
    source = component.typed_source
    assert isinstance(source, FoldersSource)
    names = [file.name for file in source.walk().files]
    assert "code/build/own.c" in names
    assert not [name for name in names if "own_inside" in name or name[5:] in OTHERS]
    recorded = read_corpus(Layout(project / "data").corpus("my_corpus"))
    assert source.look(project) == recorded.origin["walk"]


def test_the_corpus_is_written_below_the_root_that_the_project_s_commands_use(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    write_code(here / "code")
    monkeypatch.setenv("CODEDATA_ROOT", "../elsewhere")
    assert main(["init", "root_one", "--folder", "code"]) == 0
    assert read_corpus(Layout(here / "elsewhere").corpus("my_corpus")).num_rows == 13
    assert not (here / "root_one" / "data").exists()
    assert main(["init", "root_two", "--folder", "code"]) == 1
    assert "my_corpus is there already, of another project" in capsys.readouterr().err
    assert not (here / "root_two").exists()


def test_under_a_root_in_an_object_store_the_corpus_is_there_and_the_history_beside_the_project(
    here: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """On another machine with the same project, a dry run knows the corpus."""
    write_code(here / "code")
    url = "memory://own-objects/root"
    monkeypatch.setenv("CODEDATA_ROOT", url)
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "one"))
    assert main(["init", "own_objects", "--folder", "code"]) == 0
    assert os.listdir(here / "own_objects" / "data") == [".dagster"]
    assert main(["init", "own_second", "--folder", "code"]) == 1
    assert f"corpus my_corpus in {url} is there already" in capsys.readouterr().err
    monkeypatch.setenv("XDG_CACHE_HOME", str(here / "other"))
    monkeypatch.delenv("DAGSTER_HOME", raising=False)
    monkeypatch.chdir(here / "own_objects")
    monkeypatch.syspath_prepend(here / "own_objects")
    assert main(["materialize", "--dry-run", "my_train"]) == 0
    said = capsys.readouterr().out
    assert "fetch     nothing\n" in said
    assert "how long is known when my_tokenizer is here" in said
    assert read_corpus(Layout.at(url, "root").corpus("my_corpus")).num_rows == 13


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
        (["own_x", "--folder", "own_x"], "/own_x is the new project itself; name a folder of code"),
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
    assert first.endswith("codedata materialize demo_train demo_validation demo_documents")
    assert second.endswith(" train.py")
    assert shutil.which(second.split()[0]), "of an activated environment the name is enough"
    pyproject = tomllib.loads((project / "pyproject.toml").read_text(encoding="utf-8"))
    ours = f"codedata=={version('codedata')}"
    assert pyproject["project"]["dependencies"] == [ours, "dagster-dg-cli"]
    instance = project / "data" / ".dagster" / "dagster.yaml"
    assert instance.read_text(encoding="utf-8") == INSTANCE_YAML
    assert pyproject["tool"]["dg"]["project"]["root_module"] == "own_here"


def test_a_fresh_clone_keeps_its_files_and_its_gitignore_gets_the_lines_that_it_lacks(
    here: Path,
) -> None:
    project = here / "own_clone"
    (project / ".git").mkdir(parents=True)
    for name in ("README.md", "LICENSE", ".gitattributes"):
        (project / name).write_text(name, encoding="utf-8")
    (project / ".gitignore").write_bytes(b"# \xfc\r\n__pycache__/\n.venv/")
    assert main(["init", "own_clone"]) == 0
    for name in ("README.md", "LICENSE", ".gitattributes"):
        assert (project / name).read_text(encoding="utf-8") == name
    ignored = (project / ".gitignore").read_bytes()
    assert ignored.startswith(b"# \xfc\r\n__pycache__/\n.venv/\n\n#")
    assert b"\n/data/\n" in ignored
    assert [ignored.count(line) for line in (b"__pycache__/", b".venv/", b"\n.env\n")] == [1, 1, 1]


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
