"""`codedata init`: a folder -> a project of one's own in it, which works at once.

Its YAMLs are those of codedata/defs and its other files those of codedata/cli/project, which the
tests run. They are copied, with other names; over one's own code, codedata/cli/own_code.py puts
its source and windows in.
"""

import argparse
import importlib.util
import keyword
import re
import shlex
import shutil
import sys
from collections.abc import Mapping
from fnmatch import fnmatchcase
from importlib.metadata import version
from pathlib import Path

from codedata.arguments import path
from codedata.cli.instance import make_instance
from codedata.cli.own_code import (
    find_own_code,
    said_of,
    said_of_left_out,
    write_own_corpus,
    yamls_over,
)
from codedata.environment import variables
from codedata.errors import SettingsError
from codedata.layout import ROOT_VARIABLE, Layout
from codedata.places import is_object_url, local_path
from codedata.printable import say

_FILES = Path(__file__).parent / "project"
_DEFS = Path(__file__).parent.parent / "defs"

_PLACES = {
    "pyproject.toml": "pyproject.toml",
    "definitions.py": "my_project/definitions.py",
    "train.py": "train.py",
    "gitignore": ".gitignore",
    "codedata.yml": ".github/workflows/codedata.yml",
}
"""Where each file goes."""

_DEMO = ("demo_corpus", "demo_tokenizer", "demo_train", "demo_validation", "demo_documents")
_OWN = _DEMO[:-1]
"""Over one's own code, whose length nobody knows, two windows."""

_SPLITS = "demo_train demo_validation demo_documents"
_STACK = ("the_stack_c", "train", "validation")

_MAY_BE_THERE = (".git", ".gitattributes", ".gitignore", ".venv", "venv", "LICENSE*", "README*")
"""What a folder has before there is a project: a fresh clone of GitHub's, and an environment."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser("init", help="write a project of your own, which works at once")
    parser.add_argument("project", metavar="FOLDER", type=path, help="new, empty, or a fresh clone")
    over = parser.add_mutually_exclusive_group()
    over.add_argument(
        "--folder",
        dest="code",
        metavar="PATH",
        type=path,
        help="over the source code below this folder (default: over installed C and C++ headers)",
    )
    over.add_argument("--stack", choices=["c"], help="over The Stack, for which the hub is asked")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Write a project, and say what to do next.

    Raises:
        SettingsError: the folder cannot be a project's, or has something in it; or there is too
            little code to make one over, or a corpus of its name already.
    """
    project: Path = options.project.absolute()
    _require_empty(project)
    package = _package_of(project)
    names = {"my_project": package, '"codedata"': f'"codedata=={version("codedata")}"'}
    copied, said = _DEMO, ""
    if options.code is not None:
        names |= {_SPLITS: "my_train my_validation", "demo_": "my_", "DEMO_": "MY_"}
        copied = _OWN
    elif options.stack is not None:
        names |= {_SPLITS: "train validation"}
        names |= {"demo_train": "train", "demo_validation": "validation"}
        copied = _STACK
    defs = {
        _renamed(name, names): _renamed(_read(_DEFS / name / "defs.yaml"), names) for name in copied
    }
    layout = _layout(project)
    own = options.code and find_own_code(options.code.resolve(), project.resolve(), layout)
    home = layout.dagster_home if layout.url is None else project / "data" / ".dagster"
    make_instance(home)  # `dg dev` comes before the first `materialize`, too
    corpus_yaml = f"{package}/defs/my_corpus/defs.yaml"
    if own:
        corpus = write_own_corpus(own, layout)
        defs = yamls_over(own, corpus, defs)
        about = said_of(own, corpus)
        said = said_of_left_out(own, corpus, corpus_yaml)
    else:
        about = "The Stack's first C file" if options.stack else "the installed C and C++ headers"
    files = {_renamed(at, names): _renamed(_read(_FILES / it), names) for it, at in _PLACES.items()}
    files |= {f"{package}/__init__.py": "", f"{package}/defs/__init__.py": ""}
    files |= {f"{package}/defs/{name}/defs.yaml": text for name, text in defs.items()}
    _write(project, files)
    say(f"{project}: a project over {about}; its YAMLs are in {package}/defs")
    if said:
        say(f"left out: {said}")
    _say_next(options.project, _renamed(_SPLITS, names))
    if own:
        say(f"in CI: name folders of the repository in {corpus_yaml}; this machine's are not there")
    return 0


def _say_next(project: Path, splits: str) -> None:
    """Say the commands that make splits and train on them."""
    say("next:")
    is_here = project.absolute() == Path.cwd()
    there = "" if is_here else f"cd {shlex.quote(str(project))} && "
    say(f"  {there}{_program('codedata')} materialize {splits}")
    python = Path(sys.executable)
    name = "python" if python.with_name("python").exists() else python.name
    say(f"  {_program(name)} train.py")


def _layout(project: Path) -> Layout:
    """Where the commands, which run in the project, will have what they make."""
    named = variables().get(ROOT_VARIABLE) or "data"
    if is_object_url(named):
        return Layout.at(named, ROOT_VARIABLE)
    root = local_path(named, ROOT_VARIABLE)
    return Layout.at(str((project / root).resolve()), ROOT_VARIABLE)


def _read(path: Path) -> str:
    return path.read_text("utf-8")


def _write(project: Path, files: Mapping[str, str]) -> None:
    """Write files; a .gitignore that is there gets the lines that it lacks."""
    for place, text in files.items():
        target = project / place
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            target.write_text(text, encoding="utf-8")
            continue
        there = target.read_text(encoding="utf-8", errors="surrogateescape")
        lacking = [line for line in text.splitlines() if line not in there.splitlines()]
        with target.open("a", encoding="utf-8") as opened:
            opened.write("\n".join(["" if there.endswith("\n") else "\n", *lacking, ""]))


def _package_of(project: Path) -> str:
    """The name of a project's package."""
    package = re.sub(r"[\W_]+", "_", project.name, flags=re.ASCII).strip("_").lower()
    if not package.isidentifier() or keyword.iskeyword(package):
        raise SettingsError(
            f"the folder {project.name!r} gives no name of a Python package; name it with letters, "
            "digits and hyphens, a letter first"
        )
    found = importlib.util.find_spec(package)
    if found is not None and found.origin is not None:  # a mere folder in the path has none
        raise SettingsError(
            f"the folder {project.name!r} gives the package {package!r}, of which name there is "
            "a module already; name it otherwise"
        )
    return package


def _require_empty(project: Path) -> None:
    if not project.exists():
        return
    if not project.is_dir():
        raise SettingsError(f"{project} is no folder; name one that is new or empty")
    there = sorted(each.name for each in project.iterdir())
    found = [name for name in there if not any(fnmatchcase(name, may) for may in _MAY_BE_THERE)]
    if found:
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise SettingsError(
            f"{project} is not empty: it holds {', '.join(found[:3])}{more}; name a folder that is "
            "new, empty or a fresh clone (README, LICENSE, .gitignore)"
        )


def _program(name: str) -> str:
    """A program of this Python's folder, as the shell finds it."""
    place = Path(sys.executable).with_name(name)
    return name if shutil.which(name) == str(place) else shlex.quote(str(place))


def _renamed(text: str, names: Mapping[str, str]) -> str:
    """A text of the package with other names, all at once: a new name is not renamed again."""
    return re.sub("|".join(map(re.escape, names)), lambda found: names[found[0]], text)
