"""`codedata init`: a folder -> a project of one's own in it, which works at once.

Its YAMLs are those of codedata/defs and its other files those of codedata/cli/project, which the
tests run. They are copied; over one's own code, names, windows and the source are other ones.
"""

import argparse
import importlib.util
import json
import keyword
import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from codedata.arguments import path
from codedata.errors import SettingsError
from codedata.layout import Layout
from codedata.printable import say
from codedata.progress import TERMINAL

if TYPE_CHECKING:
    from codedata.sources.record import Corpus

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

_DEMO = ("demo_corpus", "demo_tokenizer", "demo_train", "demo_validation")
_STACK = ("the_stack_c", "train", "validation")

_MAY_BE_THERE = {".git", ".venv", "venv"}
"""What a folder has before there is a project."""

_LEAST_BYTES = 2_000
"""Of one's own code: less is hardly a sample for each split."""

_MIN_CHUNK, _MAX_CHUNK = 100_000, 10_000_000
"""One's own code is tokenized in eight chunks, so that a change costs one of them: but not in
smaller ones than are worth a file, nor in larger ones than The Stack."""


def add_parser(commands: "argparse._SubParsersAction[argparse.ArgumentParser]") -> None:
    """Add the command."""
    parser = commands.add_parser("init", help="write a project of your own, which works at once")
    parser.add_argument("project", metavar="FOLDER", type=path, help="new or empty")
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
            little code to make one over.
    """
    project: Path = options.project.absolute()
    _require_empty(project)
    package = _package_of(project)
    names = {"my_project": package}
    if options.code is not None:
        names |= {"demo_": "my_", "DEMO_": "MY_"}
        about, defs = _over_code(options.code.resolve(), project)
    elif options.stack is not None:
        names |= {"demo_train": "train", "demo_validation": "validation"}
        about, defs = "The Stack's first C file", _yamls(_STACK)
    else:
        about, defs = "the installed C and C++ headers", _yamls(_DEMO)
    files = {place: _FILES.joinpath(name).read_text("utf-8") for name, place in _PLACES.items()}
    files |= {"my_project/__init__.py": "", "my_project/defs/__init__.py": ""}
    files |= {f"my_project/defs/{name}/defs.yaml": text for name, text in defs.items()}
    for place, text in files.items():
        target = project / _renamed(place, names)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_text(_renamed(text, names), encoding="utf-8")
    say(f"{project}: a project over {about}; its YAMLs are in {package}/defs")
    say("next:")
    splits = _renamed("demo_train demo_validation", names)
    is_here = project == Path.cwd()
    there = "" if is_here else f"cd {shlex.quote(str(options.project))} && "
    say(f"  {there}{_program('codedata')} materialize {splits}")
    python = Path(sys.executable)
    name = "python" if python.with_name("python").exists() else python.name
    say(f"  {_program(name)} train.py")
    return 0


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
    if found := sorted({each.name for each in project.iterdir()} - _MAY_BE_THERE):
        more = f" and {len(found) - 3} more" if len(found) > 3 else ""
        raise SettingsError(
            f"{project} is not empty: it holds {', '.join(found[:3])}{more}; name a folder that is "
            "new or empty"
        )


def _program(name: str) -> str:
    """A program of this Python's folder, as the shell finds it."""
    place = Path(sys.executable).with_name(name)
    return name if shutil.which(name) == str(place) else shlex.quote(str(place))


def _yamls(names: Iterable[str]) -> dict[str, str]:
    return {name: _DEFS.joinpath(name, "defs.yaml").read_text("utf-8") for name in names}


def _renamed(text: str, names: Mapping[str, str]) -> str:
    for name, other in names.items():
        text = text.replace(name, other)
    return text


def _over_code(code: Path, project: Path) -> tuple[str, dict[str, str]]:
    """What a project over one's own code is over, and its YAMLs.

    The corpus is written into the project already: the windows go by the length of its text.
    """
    from codedata.sources.folders import (
        CODE_EXTENSIONS,
        walk_folders,  # Arrow, only where it is used
    )
    from codedata.sources.kinds.folders import FoldersSource

    name = code.name or "root"
    files = walk_folders({name: code}, CODE_EXTENSIONS).files
    if (num_bytes := sum(file.num_bytes for file in files)) < _LEAST_BYTES:
        raise SettingsError(
            f"the code below {code} has {num_bytes:,} bytes; name a folder with at least "
            f"{_LEAST_BYTES:,}"
        )
    extensions = sorted({file.path.suffix[1:] for file in files})
    source = FoldersSource(folders={name: str(code)}, extensions=extensions)
    folder = Layout(project / "data").corpus("my_corpus")
    folder.mkdir(parents=True)
    corpus = source.materialize(0, folder, TERMINAL, update=False)
    defs = _yamls(_DEMO)
    ours = f"{', '.join(source.extensions)} below {code}"
    _set(
        defs,
        "demo_corpus",
        f"Files ending in {ours}, one document a row.",
        headers_of=f"folders: {json.dumps(source.folders, ensure_ascii=False)}",
        extensions=f"extensions: [{', '.join(source.extensions)}]",
    )
    border, num_chars = _border(corpus), corpus.num_chars
    chunk_size = min(max(_MIN_CHUNK, num_chars // 8), _MAX_CHUNK)
    for split, start, stop in (("train", 0, border), ("validation", border, num_chars)):
        _set(
            defs,
            f"demo_{split}",
            f"Characters {start:,} to {stop:,} of {num_chars:,}.",
            seq_length="seq_length: 512",
            min_sample_length="min_sample_length: 0",
            starting_character=f"starting_character: {start}",
            chars_to_tokenize=f"chars_to_tokenize: {stop - start}",
            chunk_size=f"chunk_size: {chunk_size}",
        )
    about = f"{corpus.num_rows:,} files, {num_chars:,} characters: {ours}"
    return about, {name.replace("demo_", "my_"): text for name, text in defs.items()}


def _set(defs: dict[str, str], name: str, description: str, **lines: str) -> None:
    """Set fields of a YAML, each the one line that begins with its name."""
    lines["description"] = f"description: {json.dumps(description, ensure_ascii=False)}"
    for field, line in lines.items():
        said = re.compile(rf"^( +){field}: .*$", re.MULTILINE)
        defs[name], found = said.subn(lambda old, line=line: old[1] + line, defs[name])
        assert found == 1, (name, field)


def _border(corpus: "Corpus") -> int:
    """Where the last tenth of a text begins: between two documents, where there are some."""
    documents = corpus.open_text().first_documents(corpus.num_rows)
    starts = accumulate(len(document) + 1 for document in documents)
    wanted = corpus.num_chars * 9 // 10
    near = [start for start in starts if corpus.num_chars // 2 < start < corpus.num_chars]
    return min(near, key=lambda start: abs(start - wanted), default=wanted)
