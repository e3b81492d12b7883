"""What runs over an object store leave: no credential in any of it; and that they let nobody in.

One that fails, on workers of this machine, and one that succeeds; then all that they said and wrote
is searched: Dagster's history, logs, caches, the folders of temporary files, and every object.
"""

import os
import sqlite3
import subprocess
import sys
import time
import zlib
from collections.abc import Iterator
from contextlib import closing, suppress
from pathlib import Path

import psutil
import pytest

from codedata.store.object_store import ObjectStore
from codedata_tests.object_roots import KEY, SECRET, GatedBucket
from codedata_tests.sources.loopback_s3 import DENIED, Request

pytestmark = [pytest.mark.campaign, pytest.mark.timeout(1800)]

TOKEN = "token-of-the-session"
CREDENTIALS = [each.encode() for each in (KEY, SECRET, TOKEN)]

SWITCHES = {"CHARS_TO_TOKENIZE": "200000", "CHUNK_SIZE": "50000", "MAX_DUMP_SIZE": "20"}


def addresses(running: "subprocess.Popen[bytes]") -> set[str]:
    """Where a process and those that it started listen, until it ends."""
    found: set[str] = set()
    while running.poll() is None:
        with suppress(psutil.NoSuchProcess):
            root = psutil.Process(running.pid)
            for each in [root, *root.children(recursive=True)]:
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    sockets = each.net_connections("inet")
                    found |= {s.laddr.ip for s in sockets if s.status == psutil.CONN_LISTEN}
        time.sleep(0.5)  # to look costs more than what is looked at
    return found


def written_below(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Each file, and each value of a database that is packed."""
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            data = path.read_bytes()
            yield str(path), data
            if data.startswith(b"SQLite format 3"):
                with closing(sqlite3.connect(path)) as database:
                    for value in packed_values(database):
                        yield f"{path}, unpacked", value


def packed_values(database: sqlite3.Connection) -> Iterator[bytes]:
    tables = database.execute("SELECT name FROM sqlite_master WHERE type = 'table'").fetchall()
    for (table,) in tables:
        for row in database.execute(f'SELECT * FROM "{table}"'):  # noqa: S608  (its own names)
            for value in row:
                if isinstance(value, bytes):
                    with suppress(zlib.error):
                        yield zlib.decompress(value)


def test_a_run_over_a_store_leaves_no_credential_anywhere_and_listens_on_loopback_alone(
    gated: GatedBucket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_SESSION_TOKEN", TOKEN)
    places = {name: tmp_path / name for name in ("HOME", "XDG_CACHE_HOME", "TMPDIR", "work")}
    for place in places.values():
        place.mkdir()
    environment = {
        **{name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"},
        **{name: str(place) for name, place in places.items()},
        **{f"CODEDATA_DEMO_TRAIN_{name}": value for name, value in SWITCHES.items()},
        "CODEDATA_ROOT": gated.url,
        "PYTHONPATH": os.pathsep.join(path for path in sys.path if path),
    }

    def materialize(log: Path, **more: str) -> tuple[int, set[str]]:
        command = [sys.executable, "-m", "codedata", "materialize", "demo_train"]
        with open(log, "wb") as out:
            running = subprocess.Popen(
                command, cwd=places["work"], env=environment | more, stdout=out, stderr=out
            )
        listening = addresses(running)
        return running.returncode, listening

    def refuse_chunks(request: Request) -> tuple[int, str] | int:
        return DENIED if request.kind == "PUT" and "/chunks/" in request.path else 0

    gated.gate.fault = refuse_chunks
    listening, num_tried = set[str](), 0
    while not listening:  # where it was over before it was looked at, once more
        num_tried += 1
        assert num_tried < 7, "the scheduler and its workers listen"
        status, listening = materialize(tmp_path / "failed.log", CODEDATA_DASK_ADDRESS="local")
        said = (tmp_path / "failed.log").read_text()
        assert status == 1, said
        assert "AccessDenied" in said
    assert listening <= {"127.0.0.1", "::1"}
    gated.gate.fault = lambda _: 0
    status, listening = materialize(tmp_path / "done.log")
    assert status == 0, (tmp_path / "done.log").read_text()
    assert not listening

    store = ObjectStore(gated.url)
    left = [*written_below(tmp_path), *store.read_many(store.list()).items()]
    assert any("unpacked" in where for where, _ in left)
    assert any(b"AccessDenied" in data for where, data in left if ".dagster" in where)
    assert any("dump-0.pkl" in where for where, _ in left)
    found = [where for where, data in left if any(each in data for each in CREDENTIALS)]
    assert found == []
