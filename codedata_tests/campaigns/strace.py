"""Calls of a command to the kernel that touch a folder, and the command once more with one failing.

A call is known by its name, its path and how many like it came before, whatever thread makes it.
"""

import functools
import re
import shutil
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

CHANGES = (
    *("mkdir", "mkdirat", "openat", "flock", "truncate", "ftruncate", "write", "pwrite64"),
    *("fsync", "fdatasync", "rename", "renameat", "renameat2", "link", "linkat", "symlink"),
    *("symlinkat", "unlink", "unlinkat", "rmdir", "chmod", "fchmod", "fchmodat"),
)
"""What makes, changes, forces to the disk or removes a file; `openat` where it may create one."""

REMOVALS = ("unlink", "unlinkat", "rmdir")


@dataclass(frozen=True)
class Call:
    """A call: the `number`-th of its `name` on `path`, counted from 1."""

    name: str
    path: str
    number: int

    def __str__(self) -> str:
        return f"{self.name} {Path(self.path).name} {self.number}"


@functools.cache
def _why_not() -> str | None:
    strace = shutil.which("strace")
    if strace is None:
        return "strace is not installed"
    command = [strace, "-f", "-qq", "-e", "inject=rmdir:error=EIO", sys.executable, "-c", ""]
    tried = subprocess.run(command, capture_output=True, text=True, check=False)
    return f"strace may not trace: {tried.stderr.strip()}" if tried.returncode else None


def require_strace() -> None:
    """Skip the test where calls cannot be traced."""
    if why_not := _why_not():
        pytest.skip(why_not)


def calls_below(folder: Path, command: Sequence[str]) -> list[Call]:
    """The changing calls on paths below a folder that a command makes, in their order."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as log:
        trace = ["-e", "trace=" + ",".join(f"?{name}" for name in CHANGES)]
        done = _strace([*trace, "--seccomp-bpf"], log.name, command)
        assert done.returncode == 0, done.stderr
        lines = log.read().splitlines()
    seen: Counter[tuple[str, str]] = Counter()
    calls: list[Call] = []
    for line in lines:
        found = re.match(
            rf'\d+ +(\w+)\((?:AT_FDCWD<[^>]*>, )?(?:"|\d+<)({re.escape(str(folder))}[^">]*)[">]',
            line,
        )
        if found is None or (found[1] == "openat" and "O_CREAT" not in line):
            continue
        name, path = found.groups()
        seen[name, path] += 1
        calls.append(Call(name, path, seen[name, path]))
    return calls


def killed_at(call: Call, command: Sequence[str]) -> bool:
    """Run a command that is killed when it makes a call; False if it ended without making it."""
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as log:
        done = _strace(_inject(call, "signal=KILL", once=True), log.name, command)
    if done.returncode == -signal.SIGKILL:
        return True
    assert done.returncode == 0, done.stderr
    return False


@dataclass(frozen=True)
class Failure:
    """How a command ended of which a call failed, or more than one."""

    num_failed: int
    status: int
    stderr: str


def failing_at(call: Call, error: str, command: Sequence[str], *, once: bool = True) -> Failure:
    """Run a command of which a call fails with an error such as `EIO`.

    Args:
        call: the call.
        error: what it says.
        command: what is run.
        once: only this call fails; otherwise each later one of its name on its path, too.
    """
    with tempfile.NamedTemporaryFile("r", encoding="utf-8") as log:
        inject = _inject(call, f"error={error}", once=once)
        done = _strace([*inject, "--seccomp-bpf"], log.name, command)
        num_failed = log.read().count("(INJECTED)")
    return Failure(num_failed, done.returncode, done.stderr)


def _inject(call: Call, what: str, *, once: bool) -> list[str]:
    when = f"{call.number}" if once else f"{call.number}+"
    inject = f"inject={call.name}:{what}:when={when}"
    return ["-P", call.path, "-e", f"trace={call.name}", "-e", inject]


def _strace(
    options: Sequence[str], log: str, command: Sequence[str]
) -> subprocess.CompletedProcess[str]:
    start = ["strace", "-f", "-qq", "-y", "-o", log, *options, "--"]
    return subprocess.run(
        [*start, *command], capture_output=True, text=True, check=False, timeout=300
    )
