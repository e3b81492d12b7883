"""The how-to pages as their readers meet them: a copy of the clone, and the blocks of each page.

| block | what is done with it |
|---|---|
| any with `title="path"` | written to that path, from the folder where commands run |
| `bash` | run in the copy, and what follows in the folder to which it changes (`cd mine`) |
| `bash title="refused"` | run likewise, and must fail |
| `text` | the `bash` block before it must print each line, `…` standing for anything |
| `python` without a title | run likewise |
| `sh` | not run: the network, a service, or what others prove; `codedata` and `dask` are parsed |
"""

import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import dropwhile
from pathlib import Path

from distributed.cli import dask_scheduler, dask_worker

from codedata import tokenize_data
from codedata.cli import build_parser

ROOT = Path(__file__).parent.parent
PAGES = ROOT / "docs" / "howto"
PROJECT = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
REFUSED = "refused"
DASK = {"scheduler": dask_scheduler.main, "worker": dask_worker.main}

_BLOCK = re.compile(r"^```(\w+)(?: title=\"([^\"]+)\")?\n(.*?)^```$", re.MULTILINE | re.DOTALL)
_ASSIGNMENT = re.compile(r"[A-Z_]+=")
_CHANGES_TO = re.compile(r"^cd (\S+)$", re.MULTILINE)
_LANGUAGES = {"bash", "sh", "text", "python", "yaml", "toml", "ini", "sql"}


@dataclass(frozen=True, kw_only=True)
class Block:
    """A fenced block of a page."""

    language: str
    title: str | None
    text: str


def blocks_of(name: str) -> list[Block]:
    """The blocks of a page, in order."""
    page = (PAGES / name).read_text(encoding="utf-8")
    blocks = [Block(language=a, title=b or None, text=c) for a, b, c in _BLOCK.findall(page)]
    assert len(blocks) * 2 == page.count("```"), "every fence is a block that is known here"
    assert {block.language for block in blocks} <= _LANGUAGES
    return blocks


def make_clone(folder: Path) -> Path:
    """What a reader has after the README's installation, without the tests and docs."""
    shutil.copytree(ROOT / "codedata", folder / "codedata")
    for name in ("pyproject.toml", "workspace.yaml"):
        shutil.copy2(ROOT / name, folder)
    (folder / ".venv").symlink_to(sys.prefix)
    return folder


def make_project(clone: Path, environment: Mapping[str, str]) -> Path:
    """The project `mine`, in which most pages work."""
    _run([str(clone / ".venv/bin/codedata"), "init", "mine"], clone, clone, environment)
    return clone / "mine"


def write_files(name: str, folder: Path) -> None:
    """Write the files of a page, as one does who has read it before."""
    for block in blocks_of(name):
        if block.title not in (None, REFUSED):
            _write(block, folder)


def do_page(
    name: str, clone: Path, environment: Mapping[str, str], *, here: Mapping[str, str] | None = None
) -> list[str]:
    """Do what a page says; what each `bash` block printed.

    Args:
        name: of the page.
        clone: where its reader starts.
        environment: of its commands.
        here: what stands on the page for what is another in a test, such as a host, and that.
    """
    printed: list[str] = []
    folder = clone
    for block in blocks_of(name):
        if block.language == "bash":
            text = block.text
            for shown, really in (here or {}).items():
                text = text.replace(shown, really)
            command = ["bash", "-euo", "pipefail", "-c", text]
            refused = block.title == REFUSED
            printed.append(_run(command, folder, clone, environment, refused=refused))
            folder = folder.joinpath(*_CHANGES_TO.findall(block.text))
        elif block.language == "text":
            for line in block.text.splitlines():
                assert _pattern(line).search(printed[-1]), f"{line!r} is not in: {printed[-1]}"
        elif block.language == "sh":
            assert parsed(block.text), block.text
        elif block.title is not None:
            _write(block, folder)
        elif block.language == "python":
            python = str(clone / ".venv/bin/python")
            _run([python, "-c", block.text], folder, clone, environment)
        else:
            raise AssertionError(f"a {block.language} block without a title: {block.text}")
    return printed


def parsed(commands: str) -> list[str]:
    """The names of the commands and scripts of a block, with switches that exist."""
    lines = [shlex.split(line) for line in commands.replace("\\\n", " ").splitlines()]
    names: list[str] = []
    for line in lines:
        words = list(dropwhile(_ASSIGNMENT.match, line))
        words[:1] = [each.removeprefix("../") for each in words[:1]]
        if words[:1] == [".venv/bin/codedata"]:
            build_parser().parse_args(words[1:])
            names.append(words[1])
        elif words[:3] == [".venv/bin/python", "-m", "codedata.tokenize_data"]:
            tokenize_data.build_parser().parse_args(words[3:])
            names.append(words[2])
        elif words[:1] == [".venv/bin/dask"]:
            DASK[words[1]].make_context(words[1], words[2:])
            names.append(f"dask {words[1]}")
        elif words[:2] == [".venv/bin/pip", "install"]:
            for extra in re.findall(r"[\w-]+", "".join(re.findall(r"\.\[(.*)\]", line[-1]))):
                assert f"\n{extra} = [" in PROJECT, extra
            names.append("pip")
        elif words[:3] == ["docker", "compose", "-f"]:
            assert (ROOT / words[3]).is_file()
            names.append("docker compose")
    return names


def parsed_blocks(name: str) -> list[str]:
    """The names of the `codedata` commands of a page's `sh` blocks."""
    return [
        word for block in blocks_of(name) if block.language == "sh" for word in parsed(block.text)
    ]


def _write(block: Block, folder: Path) -> None:
    assert block.title is not None
    path = folder / block.title
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(block.text, encoding="utf-8")


def _run(
    command: list[str],
    folder: Path,
    clone: Path,
    environment: Mapping[str, str],
    *,
    refused: bool = False,
) -> str:
    own = {"PYTHONPATH": str(clone), "PYTHONWARNINGS": "ignore"}
    done = subprocess.run(
        command,
        cwd=folder,
        env={**environment, **own},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert (done.returncode != 0) == refused, f"{command[-1]}\n{done.stdout[-4000:]}"
    return done.stdout


def _pattern(line: str) -> re.Pattern[str]:
    return re.compile(".*".join(re.escape(part.strip()) for part in line.split("…")))


def run_python(script: str, folder: Path, clone: Path, environment: Mapping[str, str]) -> str:
    """Run a script of a page in a folder; what it printed."""
    return _run([str(clone / ".venv/bin/python"), script], folder, clone, environment)
