"""The script as a process of its own: how tests start it, end it, and look at what it left."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from codedata.format.fingerprint import ChunkFingerprint
from codedata.store.chunks import LocalChunks
from codedata.tokenize_data import main

PAD_ID = 534
OLD = ["--seq_length", "50", "--max_dump_size", "30"]
NEW = ["--seq_length", "64", "--max_dump_size", "200", "--chunk_size", "1000"]
"""150 chunks and as many shards: a second of work."""


def command(switches: Sequence[str], num_workers: int = 2) -> list[str]:
    start = [sys.executable, "-m", "codedata.tokenize_data"]
    return [*start, *switches, "--num_workers", str(num_workers)]


def run_here(switches: Sequence[str]) -> int:
    """The same script in this process: what is being tested then is not the process."""
    return main([*switches, "--num_workers", "1"])


def run(arguments: Sequence[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(arguments, capture_output=True, text=True, check=False, timeout=300)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def work_folder(target: Path) -> Path:
    return target.with_name(f".{target.name}.codedata")


def finished_chunks(target: Path) -> dict[str, int]:
    """Names of the chunks that are stored, with their inodes: another file has another one."""
    try:
        paths = list((work_folder(target) / "chunks").iterdir())
        return {path.name: path.stat().st_ino for path in paths if path.suffix == ".arrow"}
    except FileNotFoundError:
        return {}


@contextmanager
def recorded_chunks(patch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Names of the chunks that are written in this process."""
    made: list[str] = []

    def recording(put: Callable[..., Any]) -> Callable[..., Any]:
        def record(self: LocalChunks, fingerprint: ChunkFingerprint, *ids: Any, **more: Any) -> Any:
            made.append(f"{fingerprint.chars.key}.arrow")
            return put(self, fingerprint, *ids, **more)

        return record

    with patch.context() as until_the_end:
        for name in ("put", "put_documents"):
            until_the_end.setattr(LocalChunks, name, recording(getattr(LocalChunks, name)))
        yield made


def lines(stderr: str) -> list[str]:
    """What stands on stderr beside progress, and that the first run on a machine compiles."""
    progress = re.compile(r"Tokenizing |compiling |$")
    return [line for line in re.split(r"[\r\n]+", stderr) if not progress.match(line)]


def assert_refused(done: subprocess.CompletedProcess[str], message: str) -> None:
    assert done.returncode == 1, done.stderr
    [line] = lines(done.stderr)
    assert line.startswith("tokenize_data: error: ")
    assert re.search(message, line), line
    assert "Wrote" not in done.stdout


def assert_only_chunks_are_left(target: Path) -> None:
    """Beside the dataset nothing but finished chunks, which the next run reuses."""
    work = work_folder(target)
    assert set(os.listdir(target.parent)) <= {target.name, work.name}
    if work.exists():
        assert os.listdir(work) == ["chunks"]
        assert set(os.listdir(work / "chunks")) == set(finished_chunks(target))


# Processes


def wait_for(condition: Callable[[], object], process: subprocess.Popen[str]) -> None:
    """Wait until it holds, or the process has ended, as it may where this one was held up."""
    while not condition() and process.poll() is None:
        time.sleep(0.001)


@contextmanager
def started(switches: Sequence[str]) -> Iterator[subprocess.Popen[str]]:
    """The script with two threads, in a process group that ends with the block."""
    with subprocess.Popen(
        command(switches),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            for member in members_of_group(process.pid):
                os.kill(member, signal.SIGKILL)


def members_of_group(group: int) -> list[int]:
    """Processes of a group that live, zombies aside."""
    found: list[int] = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            state, _parent, its_group = (
                (folder / "stat").read_text(encoding="utf-8").rpartition(")")[2].split()[:3]
            )
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(its_group) == group and state not in "ZX":
            found.append(int(folder.name))
    return sorted(found)


def assert_all_end(group: int) -> None:
    """Whatever the script may have started sees within a moment that it is gone."""
    deadline = time.monotonic() + 60
    while left := members_of_group(group):
        assert time.monotonic() < deadline, f"{left} outlived the script"
        time.sleep(0.01)


needs_proc = pytest.mark.skipif(
    not Path("/proc/self/stat").exists(), reason="processes are found in /proc"
)
