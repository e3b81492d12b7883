"""A backfill of several runs on machines with disks of their own, and the run that publishes."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.execution.backfill import BulkActionStatus

from codedata.store.object_store import ObjectStore
from codedata_tests import scenario
from codedata_tests.components.machines import RAN_ON, Machine
from codedata_tests.components.postgres_server import (
    make_database,
    needs_postgres,
    postgres,
)
from codedata_tests.howto_pages import ROOT, blocks_of
from codedata_tests.services import free_port

__all__ = ["postgres"]  # a fixture

PAGE = "shared-instance.md"
BIN = Path(sys.executable).parent
NUM_FILES = 6
DEADLINE_SECONDS = 600

pytestmark = [pytest.mark.long, pytest.mark.timeout(2 * DEADLINE_SECONDS), *needs_postgres]

DEFINITIONS = (ROOT / "codedata" / "cli" / "project" / "definitions.py").read_text("utf-8")
CORPUS = """\
type: codedata.components.RawCorpus
attributes:
  name: c
  source: {{kind: url, path: "{url}/{{0..{last}}}.parquet"}}
"""
SPLIT = """\
type: codedata.components.DatasetSplit
attributes:
  name: train
  corpus: c
  tokenizer_base: tokenizer
  pad_token: 534
  seq_length: 64
  min_sample_length: 10
  chunk_size: 3000
  partitions: file
  matches_transformers: false
  backfill: {partitions_per_run: 2}
"""


def block(name: str) -> str:
    [text] = [each.text for each in blocks_of(PAGE) if (each.title or "").endswith(name)]
    return text


def copy_project(folder: Path, sources: str, tokenizer: Path) -> None:
    """What an image has: the definitions, and the tokenizer's files."""
    for name, text in {
        "mine/__init__.py": "",
        "mine/definitions.py": DEFINITIONS,
        "mine/defs/c/defs.yaml": CORPUS.format(url=sources, last=NUM_FILES - 1),
        "mine/defs/train/defs.yaml": SPLIT,
        "pyproject.toml": '[tool.dg]\ndirectory_type = "project"\n[tool.dg.project]\n'
        'root_module = "mine"\nregistry_modules = ["codedata.components"]\n',
    }.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    shutil.copytree(tokenizer, folder / "tokenizer")


@pytest.fixture
def machines(
    postgres: int, bucket: str, tokenizer_folder: Path, tmp_path: Path
) -> dict[str, Machine]:
    """Two that run, one that has Dagster's services, and one that knows nobody."""
    sources = f"{bucket}-sources"
    texts = scenario.c_documents(40 * NUM_FILES)
    for number in range(NUM_FILES):
        documents = texts[40 * number : 40 * (number + 1)]
        parquet = scenario.write_parquet(tmp_path / f"{number}.parquet", documents)
        ObjectStore(sources).put(parquet.name, parquet.read_bytes())
    made = {name: Machine(tmp_path / name) for name in ("one", "two", "services", "alone")}
    for machine in made.values():
        copy_project(machine.folder, sources, tokenizer_folder)
    return made


@pytest.fixture
def shared(
    postgres: int, bucket: str, tmp_path: Path, machines: dict[str, Machine]
) -> dict[str, str]:
    """The variables that all of them have, and the instance in each one's own DAGSTER_HOME."""
    lines = [line.partition("=") for line in block("codedata.env").splitlines()]
    of_page = {name: value for name, _, value in lines if name.startswith("DAGSTER_")}
    of_page |= {"DAGSTER_PG_PORT": str(postgres)}
    sql = tmp_path / "dagster.sql"
    sql.write_text(block("dagster.sql"), encoding="utf-8")
    make_database(postgres, sql, of_page["DAGSTER_PG_PASSWORD"])
    launcher = {
        "module": "codedata_tests.components.machines",
        "class": "NextMachine",
        "config": {
            "here": str(machines["services"].folder),
            "folders": [str(machines[name].folder) for name in ("one", "two")],
        },
    }
    of_store = {name: value for name, value in os.environ.items() if name.startswith("AWS_")}
    variables = {
        **of_store,
        **of_page,
        "CODEDATA_ROOT": bucket,
        "PYTHONPATH": str(ROOT),
        "PYTHONWARNINGS": "ignore",
    }
    for name, machine in machines.items():
        yaml = block("dagster.yaml").replace("max_concurrent_runs: 1", "max_concurrent_runs: 2")
        if name == "services":
            yaml += f"\nrun_launcher: {json.dumps(launcher)}\n"
        home = Path(machine.environment(variables)["DAGSTER_HOME"])
        (home / "dagster.yaml").write_text(yaml, encoding="utf-8")
    return variables


@contextmanager
def service(machine: Machine, shared: dict[str, str], *command: str) -> Iterator[None]:
    with (machine.folder / f"{command[0]}.log").open("wb") as log:
        process = subprocess.Popen(
            [str(BIN / command[0]), *command[1:]],
            cwd=machine.folder,
            env=machine.environment(shared),
            start_new_session=True,
            stdout=log,
            stderr=subprocess.STDOUT,
        )
    try:
        yield
        assert process.poll() is None, f"{command} ended"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(60)


def said_by(machine: Machine, environment: dict[str, str], *command: str) -> str:
    done = subprocess.run(
        [str(BIN / command[0]), *command[1:]],
        cwd=machine.folder,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def wait_until_it_answers(port: int) -> None:
    deadline = time.monotonic() + 90
    while True:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5).close()
        except OSError:
            assert time.monotonic() < deadline, "the webserver did not answer"
            time.sleep(0.2)
        else:
            return


def wait_for(instance: dg.DagsterInstance) -> Sequence[dg.RunRecord]:
    """The runs of the one backfill, by when they began."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while True:
        [backfill] = instance.get_backfills()
        if backfill.status in (
            BulkActionStatus.COMPLETED_SUCCESS,
            BulkActionStatus.COMPLETED_FAILED,
            BulkActionStatus.FAILED,
        ):
            break
        assert time.monotonic() < deadline, instance.get_runs()
        time.sleep(1)
    assert backfill.status is BulkActionStatus.COMPLETED_SUCCESS, backfill.error
    return sorted(instance.get_run_records(), key=lambda record: record.start_time or 0)


def test_runs_on_machines_without_a_common_folder_make_the_dataset_that_one_makes(
    machines: dict[str, Machine], shared: dict[str, str], tmp_path: Path
) -> None:
    services, alone = machines["services"], machines["alone"]
    own_root = {**shared, "CODEDATA_ROOT": str(alone.folder / "data")}
    (Path(alone.environment(own_root)["DAGSTER_HOME"]) / "dagster.yaml").unlink()
    said = said_by(alone, alone.environment(own_root), "codedata", "materialize", "train")
    digest = said.splitlines()[0].rpartition(" ")[2]

    port, workspace = free_port(), ("-m", "mine.definitions")
    [launching] = [each.text for each in blocks_of(PAGE) if "launchPartitionBackfill" in each.text]
    command = shlex.split(launching.replace("the_stack_c", "c").replace(":3000", f":{port}"))
    with pytest.MonkeyPatch.context() as patch:
        for name, value in services.environment(shared).items():
            patch.setenv(name, value)
        patch.syspath_prepend(ROOT)
        with (
            dg.DagsterInstance.from_config(shared_home := os.environ["DAGSTER_HOME"]) as instance,
            service(services, shared, "dagster-webserver", "-p", str(port), *workspace),
            service(services, shared, "dagster-daemon", "run", *workspace),
        ):
            wait_until_it_answers(port)
            launched = said_by(
                services, services.environment(shared), "dagster-graphql", *command[1:]
            )
            assert "LaunchBackfillSuccess" in launched, launched
            fetched, *chunked, published = wait_for(instance)
    assert shared_home == str(services.folder / "dagster_home")
    ranges = [
        tuple(
            run.dagster_run.tags[f"dagster/asset_partition_range_{end}"] for end in ("start", "end")
        )
        for run in chunked
    ]
    assert sorted(ranges) == [("00000", "00001"), ("00002", "00003"), ("00004", "00005")]
    assert {run.dagster_run.tags[RAN_ON] for run in chunked} == {"one", "two"}
    assert (published.start_time or 0) >= max(run.end_time or 0 for run in chunked)
    assert (fetched.end_time or 0) <= min(run.start_time or 0 for run in chunked)
    said = said_by(alone, alone.environment(shared), "codedata", "verify", "train")
    assert digest in said, "the same bytes"
    for machine in machines.values():
        assert not (machine.folder / "data").exists() or machine is alone
