"""Processes that stand for services: started, waited for by what they print, and ended."""

import os
import re
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path


def free_port() -> int:
    """A port of loopback that nobody listens on."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        return free.getsockname()[1]


@contextmanager
def process(command: Sequence[str], folder: Path, environment: Mapping[str, str]) -> Iterator[Path]:
    """A process, ended with all it started; where its output goes."""
    with tempfile.NamedTemporaryFile("wb", dir=folder, suffix=".log", delete=False) as log:
        started = subprocess.Popen(
            command,
            cwd=folder,
            env=environment,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        yield Path(log.name)
    finally:
        os.killpg(started.pid, signal.SIGKILL)
        started.wait(30)


def waited_for(log: Path, pattern: str, *, seconds: float = 300) -> str:
    """What a process prints, once it does: the first group of a pattern."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if found := re.search(pattern, log.read_text(encoding="utf-8")):
            return found[1]
        time.sleep(0.05)
    raise AssertionError(log.read_text(encoding="utf-8"))
