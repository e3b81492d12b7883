"""`dagster dev` for real: the webserver and the daemon over the project's own workspace."""

import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).parent.parent.parent


@contextmanager
def dagster_dev(environment: Mapping[str, str]) -> Iterator[int]:
    """The port of a webserver that runs as long as the block."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    process = subprocess.Popen(
        [
            str(Path(sys.executable).parent / "dagster"),
            *("dev", "-w", "workspace.yaml", "-p", str(port)),
        ],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    deadline = time.monotonic() + 300
    while True:
        assert process.poll() is None, "the webserver ended"
        assert time.monotonic() < deadline, "the webserver did not answer"
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5).close()
            break
        except OSError:
            time.sleep(0.2)
    yield port
    os.killpg(process.pid, signal.SIGINT)
    process.wait(300)
