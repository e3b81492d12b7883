"""Where a command finds its definitions, and what it says where there are none."""

from pathlib import Path

import pytest

from codedata.cli.code_location import OWN_MODULE, find_code_location, load_definitions
from codedata.errors import SettingsError
from codedata_tests.cli.test_project import forget_modules

PROJECT = '[tool.dg.project]\nroot_module = "mine"\n'
FOUND = {
    "nothing": ({}, OWN_MODULE),
    "a project of another kind": ({"pyproject.toml": '[project]\nname = "x"\n'}, OWN_MODULE),
    "dg's settings alone": ({"pyproject.toml": "[tool.dg.cli]\nverbose = true\n"}, OWN_MODULE),
    "a project of dg": ({"pyproject.toml": PROJECT}, "mine.definitions"),
    "its own target": (
        {"pyproject.toml": f'{PROJECT}code_location_target_module = "mine.other"\n'},
        "mine.other",
    ),
    "a folder of definitions": (
        {"pyproject.toml": f'{PROJECT}autoload_defs = true\ndefs_module = "mine.d"\n'},
        "mine.d",
    ),
    "dg.toml": (
        {"dg.toml": '[project]\nroot_module = "first"\n', "pyproject.toml": PROJECT},
        "first.definitions",
    ),
    "a workspace": ({"workspace.yaml": "load_from: [{python_module: a.b}]"}, "a.b"),
    "a workspace in full": (
        {"workspace.yaml": "load_from:\n- python_module: {module_name: a.b, attribute: c}\n"},
        "a.b",
    ),
    "a package": ({"workspace.yaml": "load_from: [{python_package: {package_name: a}}]"}, "a"),
    "a file": (
        {"workspace.yaml": "load_from: [{python_file: {relative_path: x/defs.py}}]"},
        "{here}/x/defs.py",
    ),
    "a project before a workspace": (
        {"workspace.yaml": "load_from: [{python_module: a.b}]", "pyproject.toml": PROJECT},
        "mine.definitions",
    ),
}


@pytest.mark.parametrize(("files", "module"), FOUND.values(), ids=FOUND)
def test_a_code_location_is_found_as_dagster_s_commands_find_it(
    files: dict[str, str], module: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    found = find_code_location(None, tmp_path)
    assert found.module == module.format(here=tmp_path)
    assert found.autoload == ("autoload_defs" in str(files))
    assert find_code_location("given", tmp_path).module == "given"
    (below := tmp_path / "a" / "b").mkdir(parents=True)
    above = find_code_location(None, below)
    assert (above.module, above.is_above) == (found.module, found.module != OWN_MODULE)


REFUSED = {
    "a project file that is none": ({"pyproject.toml": "[tool"}, "pyproject.toml cannot be read"),
    "a word for a table": ({"pyproject.toml": "[tool]\ndg = 3"}, "dg should be a table, and is 3"),
    "several projects": ({"dg.toml": 'directory_type = "workspace"'}, "go into the folder of one"),
    "several locations": (
        {"workspace.yaml": "load_from: [{python_module: a}, {python_module: b}]"},
        r"names a, b; say which with -m MODULE",
    ),
    "a server": ({"workspace.yaml": "load_from: [{grpc_server: {port: 1}}]"}, "names none that"),
    "no workspace": ({"workspace.yaml": "load_from: 5"}, "workspace.yaml cannot be read: "),
    "no YAML": ({"workspace.yaml": "a: ["}, "workspace.yaml cannot be read: while parsing"),
}


@pytest.mark.parametrize(("files", "said"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_names_no_one_code_location_is_refused(
    files: dict[str, str], said: str, tmp_path: Path
) -> None:
    for name, text in files.items():
        (tmp_path / name).write_text(text, encoding="utf-8")
    with pytest.raises(SettingsError, match=said) as refused:
        find_code_location(None, tmp_path)
    assert "\n" not in str(refused.value)


MODULES = {
    "no module": (None, r"there is no module 'mine', which -m names: neither in .* nor installed"),
    "no definitions": ("x = 1", r"mine \(-m\) should hold Dagster definitions, and holds none"),
    "a fault": ("1 / 0", "mine .* cannot be loaded: ZeroDivisionError: .*; -v shows where"),
    "a missing import": ("import no_such_thing", "ModuleNotFoundError: .*'no_such_thing'"),
}


@pytest.mark.parametrize(("text", "said"), MODULES.values(), ids=MODULES)
def test_a_module_without_definitions_is_refused_in_one_line(
    text: str | None, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(tmp_path)
    forget_modules()
    if text is not None:
        (tmp_path / "mine.py").write_text(text, encoding="utf-8")
    location = find_code_location("mine", tmp_path)
    with pytest.raises(SettingsError, match=said) as refused:
        load_definitions(location)
    assert "\n" not in str(refused.value)


def test_definitions_of_a_file_and_of_a_named_attribute_are_loaded(tmp_path: Path) -> None:
    text = "import dagster as dg\na = dg.Definitions()\nb = dg.Definitions(metadata={'b': 1})\n"
    (tmp_path / "mine_file.py").write_text(text, encoding="utf-8")
    entry = "{relative_path: mine_file.py, attribute: b}"
    workspace = f"load_from: [{{python_file: {entry}}}]"
    (tmp_path / "workspace.yaml").write_text(workspace, encoding="utf-8")
    assert load_definitions(find_code_location(None, tmp_path)).metadata.keys() == {"b"}
