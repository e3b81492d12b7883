"""The list of one-line faults, and the tests -> which faults no test would catch.

    python tools/plant_faults.py [--jobs N] [--check] [WORD ...]

codedata_tests/faults.toml lists mistakes that people make, by what a user would meet. Each is
planted alone, in a copy of the checkout, and the tests that must then fail are run there; the
checkout itself is never edited.

    [part.name]
    behaviour   what goes wrong
    old         the text to replace: of one line, and in one place of all files of codedata/; a line
                break before it means that the line begins with it
    new         what stands there instead
    caught_by   tests: the end of a file's path in codedata_tests/, and ::test where one is enough

Text and files are found by what they are, not where they lie, so the list outlives their move.
Before, the same tests must pass in a copy without a fault. Exit status: 0 all caught, 1 one is not
caught or does not apply, 2 the tests fail without any fault, or no fault was chosen.
"""

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parent.parent
LIST = ROOT / "codedata_tests" / "faults.toml"
_FAILED = re.compile(r"^(?:FAILED|ERROR) \S*?([^/\s]+\.py(?:::\w+)?)", re.MULTILINE)
_SECONDS = 300
"""A fault may have a test wait for ever; each test has its own limit (pyproject.toml) besides."""


class DoesNotApplyError(ValueError):
    """A fault whose text or tests are not there, or whose planting gives no Python."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A mistake, where it is made, and what must notice it."""

    name: str
    behaviour: str
    old: str
    new: str
    caught_by: tuple[str, ...]

    def file(self, package: Path) -> Path:
        """The one file of the package that holds the text."""
        if "\n" in self.old.strip("\n") + self.new.strip("\n") or self.old == self.new:
            raise DoesNotApplyError("old and new are not two texts of one line each")
        places = [(path, path.read_bytes().count(self.old.encode())) for path in _files(package)]
        found = [(path, count) for path, count in places if count]
        if [count for _, count in found] != [1]:
            where = ", ".join(f"{path.relative_to(package)} ({count})" for path, count in found)
            raise DoesNotApplyError(
                f"{self.old!r} must stand in one place, not in {where or 'none'}"
            )
        return found[0][0]

    def plant(self, package: Path) -> None:
        """Make the mistake in a copy of the package."""
        path = self.file(package)
        text = path.read_text(encoding="utf-8").replace(self.old, self.new)
        if path.suffix == ".py":
            try:
                compile(text, path.name, "exec")
            except SyntaxError as error:
                raise DoesNotApplyError(f"{self.new!r} gives no Python: {error}") from error
        path.write_text(text, encoding="utf-8")

    def tests(self, root: Path) -> list[str]:
        """What pytest is to run, below a copy of the checkout."""
        return [_test(root, each) for each in self.caught_by]


def _files(package: Path) -> Iterator[Path]:
    for path in sorted(package.rglob("*")):
        if path.is_file() and path.parent.name != "__pycache__":
            yield path


def _test(root: Path, test: str) -> str:
    end, *names = test.split("::")
    found = [path for path in root.glob("codedata_tests/**/*.py") if str(path).endswith(f"/{end}")]
    if len(found) != 1:
        raise DoesNotApplyError(f"{end} must be the end of one path of codedata_tests, not {found}")
    if names and f"def {names[0].partition('[')[0]}(" not in found[0].read_text(encoding="utf-8"):
        raise DoesNotApplyError(f"{found[0].name} has no test {names[0]}")
    return "::".join([str(found[0].relative_to(root)), *names])


def read_list(path: Path) -> list[Fault]:
    """The faults, in the order of the file."""
    parts: dict[str, dict[str, dict[str, Any]]] = tomllib.loads(path.read_text(encoding="utf-8"))
    return [
        Fault(name=f"{part}.{name}", **{**fields, "caught_by": tuple(fields["caught_by"])})
        for part, faults in parts.items()
        for name, fields in faults.items()
    ]


def chosen(faults: Sequence[Fault], words: Sequence[str]) -> list[Fault]:
    """The faults named by words, or whose name or behaviour has one; all where there is no word."""
    return [
        fault
        for fault in faults
        if not words or any(word in f"{fault.name} {fault.behaviour}" for word in words)
    ]


def copy_checkout(folder: Path) -> Path:
    """The files that git knows, or would add, with their times: caches of compiled code hold."""
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True).stdout
    for name in filter(None, names.decode().split("\0")):
        if (ROOT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, folder / name)
    return folder


def run_tests(root: Path, tests: Sequence[str], *options: str) -> subprocess.CompletedProcess[str]:
    """Run tests of a copy against its own package, which the installed one does not hide."""
    return subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-x", "-q", "-rfE", "-p", "no:cacheprovider"),
            *("--durations=0", "--durations-min=5", "-n", "0", *options, *tests),
        ],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        check=False,
        timeout=_SECONDS * max(1, len(tests) // 4),
    )


def catch(fault: Fault, base: Path) -> tuple[str, str]:
    """Plant a fault in a copy of a copy: the verdict, and what says so."""
    with _temporary_folder() as folder:
        root = shutil.copytree(base, folder / "checkout")
        started = time.monotonic()
        try:
            fault.plant(root / "codedata")
            done = run_tests(root, fault.tests(root))
        except DoesNotApplyError as error:
            return "does not apply", str(error)
        except subprocess.TimeoutExpired:
            return "caught", f"nothing ends within {_SECONDS} s"
    if done.returncode == pytest.ExitCode.OK:
        return "NOT CAUGHT", fault.behaviour
    if done.returncode == pytest.ExitCode.NO_TESTS_COLLECTED:
        return "does not apply", "its tests are not of the default suite"
    failed = _FAILED.search(done.stdout)
    by = failed[1] if failed else (done.stdout + done.stderr).strip()[-200:]
    return "caught", f"{by} ({time.monotonic() - started:.0f} s)"


@contextmanager
def _temporary_folder() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="faults-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o755)  # some tests are run by other users
        yield folder


def main() -> int:
    """Plant the faults; the exit status."""
    parser = argparse.ArgumentParser(description="Plant one-line faults and see them caught.")
    parser.add_argument("words", nargs="*", help="faults with this in name or behaviour (all)")
    parser.add_argument("--jobs", type=int, default=1, help="faults planted at a time")
    parser.add_argument("--check", action="store_true", help="only see that each can be planted")
    given = parser.parse_args()
    faults = chosen(read_list(LIST), given.words)
    if not faults:
        print("no fault has such a name or behaviour")
        return 2
    started = time.monotonic()
    with _temporary_folder() as base:
        copy_checkout(base)
        if given.check:
            return check(faults, base)
        tests = sorted({test for fault in faults for test in _applicable(fault, base)})
        done = run_tests(base, tests, *(["-n", str(given.jobs)] if given.jobs > 1 else []))
        if done.returncode:
            print(f"{done.stdout}{done.stderr}\nthe tests fail without any fault")
            return 2
        print(f"{len(tests)} tests and files of tests pass without a fault", flush=True)
        verdicts: list[str] = []
        with ThreadPoolExecutor(given.jobs) as threads:
            running = {threads.submit(catch, fault, base): fault for fault in faults}
            for future in as_completed(running):
                verdict, why = future.result()
                verdicts.append(verdict)
                print(f"{verdict:<14} {running[future].name}: {why}", flush=True)
    num_caught = verdicts.count("caught")
    seconds = time.monotonic() - started
    print(f"{num_caught} of {len(faults)} faults are caught ({seconds:.0f} s)")
    return int(num_caught < len(faults))


def check(faults: Sequence[Fault], root: Path) -> int:
    """Say which faults cannot be planted; the exit status."""
    num_wrong = 0
    for fault in faults:
        try:
            fault.file(root / "codedata")
            fault.tests(root)
        except DoesNotApplyError as error:
            num_wrong += 1
            print(f"does not apply {fault.name}: {error}")
    print(f"{len(faults) - num_wrong} of {len(faults)} faults can be planted")
    return int(num_wrong > 0)


def _applicable(fault: Fault, root: Path) -> list[str]:
    try:
        return fault.tests(root)
    except DoesNotApplyError:
        return []  # which `catch` says


if __name__ == "__main__":
    sys.exit(main())
