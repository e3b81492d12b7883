"""pyproject.toml's ranges -> constraints.txt: one version of every package, for all machines.

    python tools/constraints.py [--upgrade [PACKAGE ...]]

Resolves the package with all extras for every Python and platform that it supports, in a new
virtual environment with uv (pip resolves for the machine it runs on alone, without the markers of
the others). Pins that still satisfy the ranges stay, what is missing is added, what nothing needs
goes; `--upgrade` takes the newest of the packages named, or of all.
"""

import argparse
import re
import subprocess
import tempfile
import venv
from collections.abc import Sequence
from pathlib import Path

ROOT = Path(__file__).parent.parent
CONSTRAINTS = ROOT / "constraints.txt"
UV = "uv==0.13.9"
"""The version that wrote the file; another may order or mark it differently."""


def resolve(*, upgrade: Sequence[str] | None) -> str:
    """Every pin, with its marker and what needs it.

    Args:
        upgrade: packages to take the newest of; all where it is empty, none where it is None.
    """
    with tempfile.TemporaryDirectory(prefix="constraints-") as name:
        venv.create(name, with_pip=True)
        python = Path(name) / "bin" / "python"
        subprocess.run([python, "-m", "pip", "install", "-q", UV], check=True)
        resolved = Path(name) / CONSTRAINTS.name
        resolved.write_text(CONSTRAINTS.read_text(encoding="utf-8"), encoding="utf-8")
        compiling = ["-m", "uv", "pip", "compile", "--quiet", "--universal", "--no-header"]
        compiling += ["--python-version", "3.11", "--all-extras", "--output-file", str(resolved)]
        if upgrade is not None:
            named = [f"--upgrade-package={package}" for package in upgrade]
            compiling += named or ["--upgrade"]
        subprocess.run([python, *compiling, "pyproject.toml"], cwd=ROOT, check=True)
        return resolved.read_text(encoding="utf-8")


def without_local(pins: str) -> str:
    """Pins without local versions: `torch==2.13.0` takes every build of it, `+cpu` the one."""
    return re.sub(r"^([\w.-]+==[^\s+]+)\+\S+", r"\1", pins, flags=re.MULTILINE)


def main() -> None:
    """Write the file, and say how many pins changed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--upgrade", nargs="*", metavar="PACKAGE", help="newest versions (of all)")
    old = CONSTRAINTS.read_text(encoding="utf-8")
    new = without_local(resolve(upgrade=parser.parse_args().upgrade))
    CONSTRAINTS.write_text(new, encoding="utf-8")
    pins = {line for line in new.splitlines() if "==" in line}
    before = {line for line in old.splitlines() if "==" in line}
    for line in sorted(before ^ pins, key=lambda line: (line.partition("==")[0], line in pins)):
        print(f"{'+' if line in pins else '-'} {line}")
    print(f"{len(pins)} pins, {len(pins - before)} of them new")


if __name__ == "__main__":
    main()
