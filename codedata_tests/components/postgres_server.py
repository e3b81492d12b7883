"""A Postgres of a test: a server of its own on loopback, and the page's database in it."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from codedata_tests.services import free_port

_INITDB = [*sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"))]
SERVER = _INITDB[-1].parent if _INITDB else None

needs_postgres = [
    pytest.mark.skipif(SERVER is None, reason="no Postgres server: apt-get install postgresql"),
    pytest.mark.skipif(
        not all(importlib.util.find_spec(name) for name in ("dagster_postgres", "psycopg2")),
        reason="pip install dagster-postgres psycopg2-binary",
    ),
]
"""Marks of the tests that start one."""


@pytest.fixture
def postgres() -> Iterator[int]:
    """The loopback port of a server of its own; not run by root, which Postgres refuses."""
    assert SERVER is not None
    folder = Path(tempfile.mkdtemp(prefix="codedata-postgres-", dir="/tmp"))
    as_user: list[str] = []
    if os.geteuid() == 0:
        user = pwd.getpwnam("nobody")
        os.chown(folder, user.pw_uid, user.pw_gid)
        ids = (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
        as_user = ["setpriv", *ids]
    port = free_port()
    data, log = str(folder / "data"), str(folder / "log")
    pg_ctl = [*as_user, str(SERVER / "pg_ctl"), "-D", data]
    try:
        subprocess.run(
            [*as_user, str(SERVER / "initdb"), "-D", data, "-U", "postgres", "-A", "trust"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        options = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
        subprocess.run(
            [*pg_ctl, "-o", options, "-l", log, "-w", "start"],
            cwd=folder,
            stdout=subprocess.DEVNULL,
            check=True,
        )
        yield port
        subprocess.run([*pg_ctl, "-m", "immediate", "stop"], cwd=folder, check=True)
    finally:
        shutil.rmtree(folder)


def make_database(port: int, sql: Path, password: str) -> None:
    """Run a page's SQL, which makes the role and the database."""
    assert SERVER is not None
    where = ("-h", "127.0.0.1", "-p", str(port), "-U", "postgres", "-v", "ON_ERROR_STOP=1")
    command = [str(SERVER / "psql"), *where, "-v", f"password={password}", "-f", str(sql)]
    subprocess.run(command, check=True)
