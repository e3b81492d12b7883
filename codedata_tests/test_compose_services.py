"""deploy/compose.yaml without Docker: its services as processes, and a split that they make."""

import os
import re
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from codedata.store.object_store import ObjectStore
from codedata.store.versions import DatasetLog
from codedata_tests.components.postgres_server import SERVER, needs_postgres, postgres
from codedata_tests.howto_pages import ROOT
from codedata_tests.object_roots import SECRET, fresh_bucket
from codedata_tests.services import free_port, process, waited_for
from codedata_tests.test_deploy import SERVICES

__all__ = ["postgres"]  # a fixture

pytestmark = [pytest.mark.long, pytest.mark.timeout(900), *needs_postgres]

BIN = Path(sys.executable).parent
PASSWORD = "password-of-the-database"


@dataclass
class Stack:
    """Services of the file as processes, each in a home of its own, with its hosts on loopback.

    Attributes:
        folder: of the homes.
        given: variables that the file asks for.
        here: hosts and ports that stand in the file, and what they are here.
        ui: the port of the webserver.
    """

    folder: Path
    given: Mapping[str, str]
    here: dict[str, str]
    ui: int = field(default_factory=free_port)

    def really(self, text: str) -> str:
        """A value of the file as docker compose reads it, but for hosts and ports."""
        found = re.sub(r"\$\{(\w+):[?-]([^}]*)\}", lambda m: self.given.get(m[1], m[2]), text)
        for shown, really in self.here.items():
            found = found.replace(shown, really)
        return found

    def environment(self, name: str) -> dict[str, str]:
        """What a service has, beside the home that the image gives it."""
        home = self.folder / name
        (home / "dagster").mkdir(parents=True, exist_ok=True)
        instance = (ROOT / "deploy" / "dagster.yaml").read_text(encoding="utf-8")
        (home / "dagster" / "dagster.yaml").write_text(instance, encoding="utf-8")
        image = {"PATH": f"{BIN}:{os.environ['PATH']}", "HOME": str(home), "PYTHONPATH": str(ROOT)}
        image |= {"DAGSTER_HOME": str(home / "dagster"), "PYTHONWARNINGS": "ignore"}
        own = SERVICES[name].get("environment", {})
        return image | {variable: self.really(value) for variable, value in own.items()}

    def run(self, service: str, *command: str) -> None:
        """A command in a service, as by `docker compose exec`; without one its own."""
        words = command or SERVICES[service]["command"]
        done = subprocess.run(
            [*map(self.really, words)],
            cwd=self.folder,
            env=self.environment(service),
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr[-3000:]


@pytest.fixture
def stack(s3_server: str, postgres: int, tmp_path: Path) -> Iterator[Stack]:
    """All services of the file, up."""
    assert SERVER is not None
    psql = [str(SERVER / "psql"), "-h", "127.0.0.1", "-p", str(postgres), "-U", "postgres"]
    for sql in ("create role dagster login", "create database dagster owner dagster"):
        subprocess.run([*psql, "-c", sql], check=True, stdout=subprocess.DEVNULL)
    with fresh_bucket(s3_server), ExitStack() as services:
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")
        given = {**{name: os.environ[name] for name in names}, "DAGSTER_PG_PASSWORD": PASSWORD}
        here = {"http://store:8333": s3_server, "postgres": "127.0.0.1", "8787": "0"}
        here |= {"0.0.0.0": "127.0.0.1"}  # noqa: S104  (what must not stand here)
        stack = Stack(tmp_path, given, here)
        stack.here |= {"5432": str(postgres), "3000": str(stack.ui)}
        stack.run("bucket")

        def start(name: str, *more: str) -> Path:
            command = [*map(stack.really, SERVICES[name]["command"]), *more]
            environment = stack.environment(name)
            return services.enter_context(process(command, tmp_path / name, environment))

        log = start("scheduler", "--port", "0")
        address = waited_for(log, r"Scheduler at:\s+(tcp://127\.0\.0\.1:\d+)")
        stack.here["tcp://scheduler:8786"] = address
        start("worker")
        log = start("webserver")
        waited_for(log, r"(Serving dagster-webserver on http://127\.0\.0\.1)")
        start("daemon")
        yield stack


def test_a_split_that_the_webserver_queues_is_made_by_the_workers_in_the_bucket(
    stack: Stack,
) -> None:
    until(lambda: answers(f"http://127.0.0.1:{stack.ui}/server_info"), stack)
    launch = ("dagster", "job", "launch", "-m", "codedata.definitions", "-j", "demo_train")
    stack.run("webserver", *launch)
    log = DatasetLog(ObjectStore("s3://codedata/data/datasets/demo_train"))
    until(lambda: log.head() is not None, stack)
    stack.run("daemon", "codedata", "verify", "demo_train")
    worker = said(stack, "worker")
    assert "Register worker" in said(stack, "scheduler")
    assert worker.count("Start worker at") == 2
    everything = said(stack)
    assert SECRET not in everything
    assert PASSWORD not in everything


def until(is_so: Callable[[], bool], stack: Stack) -> None:
    """Wait for something."""
    deadline = time.monotonic() + 400
    while not is_so():
        assert time.monotonic() < deadline, said(stack)[-5000:]
        time.sleep(0.5)


def answers(url: str) -> bool:
    """Whether a server answers."""
    try:
        urllib.request.urlopen(url, timeout=30).close()
    except urllib.error.URLError:
        return False
    return True


def said(stack: Stack, service: str = "*") -> str:
    """What services printed."""
    logs = sorted(stack.folder.glob(f"{service}/*.log"))
    assert logs
    return "\n".join(log.read_text(encoding="utf-8") for log in logs)
