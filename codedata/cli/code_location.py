"""The code location of a command: `-m MODULE`, the working folder's project, or the package's own.

    -m MODULE                                   that module
    dg.toml, or [tool.dg] in pyproject.toml     the module that dg would load
    workspace.yaml                              the one location that it names
    none of them                                those of the folder above, and so on
    none anywhere                               codedata.definitions

The root and relative paths are the working folder's all the same. Finding it reads no more than
such a file; loading it imports dagster and the location's modules, with the folder of that file in
the path, as `dagster dev` has it.
"""

import argparse
import importlib
import importlib.util
import sys
import tomllib
import warnings
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

from codedata.cli.definition_errors import require_all_defined, user_error
from codedata.errors import CodedataError, SettingsError
from codedata.parallel import loading_for_good
from codedata.progress import TERMINAL

if TYPE_CHECKING:
    import dagster as dg

OWN_MODULE = "codedata.definitions"
"""What serves where nobody names another: the demo, and The Stack."""


@dataclass(frozen=True, kw_only=True)
class CodeLocation:
    """Where definitions are.

    Attributes:
        module: dotted name of a module, or path of a file that is one.
        named_by: what says so, for messages.
        folder: that goes first in the path of modules.
        attribute: of the module; None for the one that has definitions.
        autoload: whether the module is a folder of definitions, which Dagster assembles.
        is_above: whether a folder above the working one names it.
    """

    module: str
    named_by: str
    folder: Path
    attribute: str | None = None
    autoload: bool = False
    is_above: bool = False


def add_module_option(parser: argparse.ArgumentParser, *, default: Any = None) -> None:
    """The switch that names a code location."""
    parser.add_argument(
        "-m",
        "--module",
        default=default,
        metavar="MODULE",
        help="module with the definitions (default: those of the project in this folder, or above)",
    )


def find_code_location(module: str | None, folder: Path) -> CodeLocation:
    """The code location that a command works on.

    Args:
        module: that the user named.
        folder: the working folder.

    Raises:
        SettingsError: a file that names it cannot be read, or names several.
    """
    if module is not None:
        return CodeLocation(module=module, named_by="-m", folder=folder)
    for each in (folder, *folder.parents):
        for name, read in (
            ("dg.toml", _read_dg),
            ("pyproject.toml", _read_pyproject),
            ("workspace.yaml", _read_workspace),
        ):
            path = each / name
            if path.is_file() and (found := read(path)) is not None:
                return replace(found, is_above=each != folder)
    return CodeLocation(module=OWN_MODULE, named_by="the package", folder=folder)


def load_definitions(location: CodeLocation, *, again: bool = False) -> "dg.Definitions":
    """The definitions of a code location.

    Args:
        location: which.
        again: made anew, by what is kept under the root now.

    Raises:
        CodedataError: there are none, or they cannot be made; the message says what to correct.
    """
    shown, warnings.formatwarning = warnings.formatwarning, _one_line
    try:
        # Seconds of imports.
        with TERMINAL.waiting(f"loading {location.module}"), loading_for_good():
            found = _definitions_of(location, again=again)
            require_all_defined(found)
    except CodedataError:
        raise
    except Exception as error:
        if (cause := user_error(error)) is not None:
            raise cause from error
        why = " ".join(f"{type(error).__name__}: {error}".split())
        raise SettingsError(
            f"the definitions of {location.module} ({location.named_by}) cannot be loaded: {why}; "
            "-v shows where"
        ) from error
    finally:
        warnings.formatwarning = shown
    return found


def _one_line(message: Warning | str, *_: object) -> str:
    return f"codedata: warning: {message}\n"


def _definitions_of(location: CodeLocation, *, again: bool) -> "dg.Definitions":
    import dagster as dg
    from dagster.components.definitions import LazyDefinitions

    for known in (dg.BetaWarning, dg.PreviewWarning):  # of the parts that the components use
        warnings.filterwarnings("ignore", category=known)
    module = _import(location)
    if again:
        for name, value in [*vars(module).items()]:
            if isinstance(value, dg.Definitions):
                delattr(module, name)  # a reload keeps what the module does not set
        module = importlib.reload(module)
    if location.autoload:
        return dg.load_defs(module)
    names = [location.attribute] if location.attribute else ["defs", *sorted(vars(module))]
    for found in (getattr(module, name, None) for name in names):
        made = found() if isinstance(found, LazyDefinitions) else found
        if isinstance(made, dg.Definitions):
            return made
    what = f"no {location.attribute}" if location.attribute else "none"
    raise SettingsError(
        f"{location.module} ({location.named_by}) should hold Dagster definitions, and holds "
        f"{what}; name the module that says `defs = dg.Definitions(...)`, or has a function with "
        "@dg.definitions"
    )


def _import(location: CodeLocation) -> ModuleType:
    if (folder := str(location.folder)) not in sys.path:
        sys.path.insert(0, folder)
    if location.module.endswith(".py"):
        return _import_file(Path(location.module))
    try:
        return importlib.import_module(location.module)
    except ModuleNotFoundError as error:
        missing = error.name or ""
        if not f"{location.module}.".startswith(f"{missing}."):
            raise
        raise SettingsError(
            f"there is no module {missing!r}, which {location.named_by} names: neither in "
            f"{location.folder} nor installed; correct the name, or install its project "
            "(pip install -e .)"
        ) from error


def _import_file(path: Path) -> ModuleType:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None or not path.is_file():
        raise SettingsError(f"there is no file {path}, which workspace.yaml names; correct it")
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise SettingsError(f"{path} cannot be read: {error}; correct it") from error


def _table(path: Path, tables: dict[str, Any], name: str) -> dict[str, Any]:
    found = tables.get(name, {})
    if not isinstance(found, dict):
        raise SettingsError(f"{path}: {name} should be a table, and is {found!r}; correct it")
    return found


def _read_dg(path: Path) -> CodeLocation | None:
    return _of_project(path, "project of dg.toml", _read_toml(path))


def _read_pyproject(path: Path) -> CodeLocation | None:
    tool = _table(path, _read_toml(path), "tool")
    tables = _table(path, tool, "dg")
    return _of_project(path, "[tool.dg] of pyproject.toml", tables)


def _of_project(path: Path, named_by: str, tables: dict[str, Any]) -> CodeLocation | None:
    """What dg loads of a project: https://docs.dagster.io/api/dg/dg-cli-configuration."""
    if tables.get("directory_type") == "workspace":
        raise SettingsError(
            f"{path} is of a workspace of projects; go into the folder of one, or name a module "
            "with -m"
        )
    known = _table(path, tables, "project")
    if (root := known.get("root_module")) is None:
        return None
    if known.get("autoload_defs"):
        module = known.get("defs_module", f"{root}.defs")
        return CodeLocation(module=module, named_by=named_by, folder=path.parent, autoload=True)
    module = known.get("code_location_target_module", f"{root}.definitions")
    return CodeLocation(module=module, named_by=named_by, folder=path.parent)


def _read_workspace(path: Path) -> CodeLocation:
    """The one location of https://docs.dagster.io/deployment/code-locations/workspace-yaml."""
    import yaml  # only where there is such a file

    try:
        entries = (yaml.safe_load(path.read_text(encoding="utf-8")) or {}).get("load_from", [])
        found = [each for entry in entries for each in _of_entry(path, entry)]
    except (OSError, ValueError, AttributeError, TypeError, LookupError, yaml.YAMLError) as error:
        why = " ".join(str(error).split())
        raise SettingsError(f"{path} cannot be read: {why}; correct it") from error
    if len(found) != 1:
        names = ", ".join(each.module for each in found) or "none that runs in this process"
        raise SettingsError(
            f"{path} should name one code location, and names {names}; say which with -m MODULE"
        )
    return found[0]


def _of_entry(path: Path, entry: dict[str, Any]) -> Iterator[CodeLocation]:
    for kind, field in (
        ("python_module", "module_name"),
        ("python_package", "package_name"),
        ("python_file", "relative_path"),
    ):
        if kind in entry:
            said: Any = entry[kind]
            named: dict[str, str] = {field: said} if isinstance(said, str) else said
            is_file = kind == "python_file"
            yield CodeLocation(
                module=str(path.parent / named[field]) if is_file else named[field],
                named_by="workspace.yaml",
                folder=path.parent / named.get("working_directory", "."),
                attribute=named.get("attribute"),
            )
