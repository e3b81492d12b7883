"""The page on a shared instance, done: a real Postgres, its dagster.yaml, its two processes."""

import configparser
import os
import shlex
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest

from codedata_tests.components.postgres_server import (
    make_database,
    needs_postgres,
    postgres,
)
from codedata_tests.components.small_platform import environment_of_splits
from codedata_tests.howto_pages import ROOT, blocks_of
from codedata_tests.services import free_port

__all__ = ["postgres"]  # a fixture

PAGE = "shared-instance.md"
BIN = Path(sys.executable).parent
pytestmark = [pytest.mark.long, pytest.mark.timeout(600), *needs_postgres]


def file_of_page(name: str) -> str:
    [text] = [block.text for block in blocks_of(PAGE) if (block.title or "").endswith(name)]
    return text


@pytest.fixture
def environment(
    postgres: int, corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> dict[str, str]:
    """The page's variables, with the database made by the page's SQL and its dagster.yaml."""
    made = environment_of_splits(corpus, tokenizer_folder, tmp_path)
    (tmp_path / "codedata.env").write_text(file_of_page("codedata.env"), encoding="utf-8")
    [sourcing] = [b.text.splitlines()[0] for b in blocks_of(PAGE) if b.text.startswith("set -a")]
    sourcing = sourcing.replace("/etc/codedata.env", "./codedata.env")
    shown = subprocess.run(
        ["/bin/bash", "-euc", f"{sourcing}; /usr/bin/env"],
        cwd=tmp_path,
        env={},
        capture_output=True,
        text=True,
        check=True,
    )
    of_page = dict(line.split("=", 1) for line in shown.stdout.splitlines())
    of_page = {name: value for name, value in of_page.items() if name[:3] in ("COD", "DAG")}
    assert {"DAGSTER_HOME", "CODEDATA_ROOT"} < of_page.keys()
    of_page |= {name: made[name] for name in ("DAGSTER_HOME", "CODEDATA_ROOT")}
    of_page["DAGSTER_PG_PORT"] = str(postgres)
    home = Path(of_page["DAGSTER_HOME"])
    (home / "dagster.yaml").write_text(file_of_page("dagster.yaml"), encoding="utf-8")
    sql = tmp_path / "dagster.sql"
    sql.write_text(file_of_page("dagster.sql"), encoding="utf-8")
    make_database(postgres, sql, of_page["DAGSTER_PG_PASSWORD"])
    return {**made, **of_page}


@contextmanager
def service(name: str, environment: dict[str, str], *, port: int = 3000) -> Iterator[None]:
    """The process of one of the page's units, in this clone and on another port."""
    unit = configparser.ConfigParser(interpolation=None)
    unit.optionxform = str  # pyright: ignore[reportAttributeAccessIssue]
    unit.read_string(file_of_page(f"{name}.service"))
    command = unit["Service"]["ExecStart"].replace("-p 3000", f"-p {port}")
    program, *arguments = shlex.split(command.replace("/srv/codedata/.venv/bin", str(BIN)))
    process = subprocess.Popen(
        [program, *arguments],
        cwd=ROOT,
        env=environment,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        yield
        assert process.poll() is None, f"{name} ended"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def run(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False
    )


@contextmanager
def instance_of(environment: dict[str, str]) -> Iterator[dg.DagsterInstance]:
    with pytest.MonkeyPatch.context() as patch:
        for name, value in environment.items():
            if name.startswith("DAGSTER_"):
                patch.setenv(name, value)
        with dg.DagsterInstance.from_config(environment["DAGSTER_HOME"]) as instance:
            yield instance


def test_a_run_from_a_shell_is_in_the_database_with_its_materializations(
    environment: dict[str, str],
) -> None:
    done = run([str(BIN / "codedata"), "materialize", "train"], environment)
    assert done.returncode == 0, done.stderr[-3000:]
    with instance_of(environment) as instance:
        assert type(instance.event_log_storage).__name__ == "PostgresEventLogStorage"
        [record] = instance.get_runs()
        assert (record.job_name, record.status) == ("train", dg.DagsterRunStatus.SUCCESS)
        keys = {"/".join(key.path) for key in instance.get_asset_keys()}
        assert {"train/token_chunks", "train/dataset", "the_stack_c/raw_parquet"} <= keys
        event = instance.get_latest_materialization_event(dg.AssetKey(["train", "dataset"]))
        assert event is not None
        assert event.run_id == record.run_id
        chunks = instance.get_materialized_partitions(dg.AssetKey(["train", "token_chunks"]))
        assert len(chunks) == 4
    assert not list(Path(environment["DAGSTER_HOME"]).rglob("*.db")), "nothing is in SQLite"


def test_the_two_processes_run_what_is_queued_one_after_the_other(
    environment: dict[str, str],
) -> None:
    for split in ("train", "validation"):
        command = ["job", "launch", "-w", "workspace.yaml", "-j", split]
        done = run([str(BIN / "dagster"), *command], environment)
        assert done.returncode == 0, done.stderr[-3000:]
    port = free_port()
    with (
        instance_of(environment) as instance,
        service("codedata-webserver", environment, port=port),
        service("codedata-daemon", environment),
    ):
        deadline = time.monotonic() + 300
        while any(not each.is_finished for each in instance.get_runs()):
            assert time.monotonic() < deadline, instance.get_runs()
            time.sleep(0.2)
        first, second = sorted(instance.get_run_records(), key=lambda each: each.start_time or 0)
        assert {each.dagster_run.job_name for each in (first, second)} == {"train", "validation"}
        for each in (first, second):
            assert each.dagster_run.status is dg.DagsterRunStatus.SUCCESS
        assert first.end_time is not None
        assert second.start_time is not None
        assert second.start_time >= first.end_time
        urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=30).close()


def test_without_the_scheme_no_driver_is_found(environment: dict[str, str]) -> None:
    path = Path(environment["DAGSTER_HOME"], "dagster.yaml")
    lines = path.read_text(encoding="utf-8").splitlines(keepends=True)
    without = [line for line in lines if "scheme:" not in line]
    assert len(without) == len(lines) - 1
    path.write_text("".join(without), encoding="utf-8")
    done = run([str(BIN / "codedata"), "materialize", "train"], environment)
    assert done.returncode != 0
    assert "ModuleNotFoundError: No module named 'psycopg'" in done.stderr
