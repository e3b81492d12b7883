"""Workers that share no disk: the bytes of a local run, whatever is killed, frozen, or there twice.

One scheduler and three workers, each a process with folders of its own; all they have in common is
an object store.
"""

import os
import pickle
import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from distributed import Client

from codedata.layout import Layout
from codedata.recipe.settings import Settings
from codedata.run import compared
from codedata.sources.record import record_corpus
from codedata.sources.stored_text import store_corpus
from codedata.tokenize_data import tokenize_data
from codedata_tests import scenario
from codedata_tests.object_roots import SECRET, fresh_bucket
from codedata_tests.run.cluster_runs import Run, drive
from codedata_tests.services import process, waited_for

SETTINGS = Settings(
    pad_token=0, seq_length=64, min_sample_length=8, max_dump_size=40, chars_to_tokenize=10**9,
    chunk_size=9_000,
)  # fmt: skip
WORKER_TTL = "1s"
"""A worker is given up after ten heartbeats of half a second, however short this is."""


def environment_of(folder: Path) -> dict[str, str]:
    """That of a machine of its own, as far as files go; the store is found by the rest."""
    own = {"HOME": "home", "TMPDIR": "tmp", "XDG_CACHE_HOME": "cache"}
    for name in own.values():
        (folder / name).mkdir(parents=True)
    places = {variable: str(folder / name) for variable, name in own.items()}
    python = os.pathsep.join(path for path in sys.path if path)
    limits = {
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": WORKER_TTL,
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3",
    }
    return {**os.environ, **places, **limits, "PYTHONPATH": python}


def module(name: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", name, *arguments]


@dataclass(frozen=True)
class Machines:
    """A cluster, each process of it in a folder of its own.

    Attributes:
        address: of the scheduler.
        folders: of the processes.
        stack: ends the processes that are started later.
    """

    address: str
    folders: Path
    stack: ExitStack

    def start_worker(self) -> None:
        folder = self.folders / f"worker-{len(list(self.folders.iterdir()))}"
        arguments = [self.address, "--no-nanny", "--no-dashboard", "--nthreads", "1"]
        arguments += ["--host", "127.0.0.1", "--local-directory", str(folder / "dask")]
        environment = environment_of(folder)
        self.stack.enter_context(
            process(module("distributed.cli.dask_worker", *arguments), folder, environment)
        )

    def pids(self, num_workers: int = 3) -> list[int]:
        with Client(self.address, set_as_default=False) as client:
            client.wait_for_workers(num_workers, timeout=60)
            return list(client.run(os.getpid).values())


@pytest.fixture(scope="module")
def bucket(s3_server: str) -> Iterator[str]:
    with fresh_bucket(s3_server) as url:
        yield url


@pytest.fixture(scope="module")
def machines(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    assert bucket, "its environment is that of the workers"
    folders = tmp_path_factory.mktemp("machines")
    arguments = ["--host", "127.0.0.1", "--port", "0", "--no-dashboard"]
    with ExitStack() as stack:
        environment = environment_of(folders / "scheduler")
        log = stack.enter_context(
            process(
                module("distributed.cli.dask_scheduler", *arguments),
                folders / "scheduler",
                environment,
            )
        )
        machines = Machines(waited_for(log, r"Scheduler at: *(tcp://\S+)"), folders, stack)
        for _ in range(3):
            machines.start_worker()
        yield machines


@pytest.fixture(scope="module")
def run(
    bucket: str,
    machines: Machines,
    corpus: Path,
    tokenizer_folder: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> Run:
    """The corpus in the root; what a test makes of it has a name of its own."""
    layout = Layout(tmp_path_factory.mktemp("driver"), bucket)
    folder = layout.corpus("c")
    stored = store_corpus(layout, folder, record_corpus(folder, corpus, {"kind": "local"}))
    return Run(
        url=bucket,
        address=machines.address,
        text=stored.open_text(),
        tokenizer=tokenizer_folder,
        settings=SETTINGS,
    )


@pytest.fixture(scope="module")
def expected(
    corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, bytes]:
    """Shards and meta of the run of one machine."""
    folder = tmp_path_factory.mktemp("local") / "set"
    settings = replace(SETTINGS, tokenizer_base=str(tokenizer_folder))
    tokenize_data(corpus, folder, settings, num_workers=1, engine="whole")
    found = {path.name: path.read_bytes() for path in folder.iterdir()}
    return {name: data for name, data in found.items() if name not in scenario.TEXTS}


def published(run: Run) -> dict[str, bytes]:
    """Shards and meta of the newest version."""
    version = run.log.published()
    with run.log.snapshot(version) as snapshot:
        return {name: snapshot.read(name) for name in version.names}


def forget_compared() -> None:
    """As a process that made none of the chunks."""
    compared._known.clear()  # pyright: ignore[reportPrivateUsage]
    compared._taken.clear()  # pyright: ignore[reportPrivateUsage]


def test_workers_without_a_shared_disk_make_the_bytes_of_a_local_run(
    run: Run, expected: dict[str, bytes]
) -> None:
    said: list[str] = []
    version, reused = drive(run, said.append)
    assert published(run) == expected
    assert version.number == 1
    assert len(reused) > 10
    assert not any(reused)
    assert "given up after 1s without a sign of life, a chunk after it cost 4 workers" in said[0]
    assert "watch it at http://127.0.0.1:" in said[0]
    forget_compared()
    again, reused = drive(run)
    assert again == version, "the same bytes, facts and card are the same version"
    assert all(reused)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(type(run.text), "read_utf8", None)  # on the driver, as it would be here
        assert drive(run)[0] == version


def test_what_travels_is_small_and_holds_no_text_ids_or_credential(
    run: Run, documents: list[str]
) -> None:
    plan = run.plan()
    for task in run.tasks(plan):
        data = pickle.dumps(task)
        assert len(data) < 2_000
        for secret in (SECRET, "key-of-the-bucket", documents[0][:40]):
            assert secret.encode() not in data


def test_with_a_worker_killed_and_another_frozen_the_bytes_are_the_same(
    run: Run, machines: Machines, expected: dict[str, bytes]
) -> None:
    run = replace(run, name="hurt")
    killed, frozen, _ = machines.pids()
    hurt: list[int] = []

    def hurt_workers(line: str) -> None:
        if line.startswith("made") and not hurt:
            os.kill(frozen, signal.SIGSTOP)
            os.kill(killed, signal.SIGKILL)
            hurt.extend([killed, frozen])

    drive(run, hurt_workers)
    assert hurt
    assert published(run) == expected
    before = run.root.found(f"chunks/{run.name}/")
    os.kill(frozen, signal.SIGCONT)
    machines.start_worker()
    machines.pids(2)
    after = run.root.found(f"chunks/{run.name}/")
    assert {name: each.etag for name, each in after.items()} == {
        name: each.etag for name, each in before.items()
    }
    assert len(after) == len(run.plan().fingerprints)


def test_a_driver_that_is_killed_leaves_its_chunks_to_the_next(
    run: Run, expected: dict[str, bytes], tmp_path: Path
) -> None:
    run = replace(run, name="begun")
    pickled = tmp_path / "run"
    pickled.write_bytes(pickle.dumps(run))
    command = module("codedata_tests.run.cluster_runs", str(pickled))
    with process(command, tmp_path, environment_of(tmp_path / "own")) as log:
        waited_for(log, r"made (\S+)")
    assert run.log.head() is None
    _, reused = drive(run)
    assert any(reused)
    assert published(run) == expected


def test_of_two_drivers_at_once_there_is_one_version_or_two_in_order(
    run: Run, expected: dict[str, bytes]
) -> None:
    alike = replace(run, name="twice")
    with ThreadPoolExecutor(2) as threads:
        versions = [version for version, _ in threads.map(drive, [alike, alike])]
    assert [version.number for version in alike.log.versions()] == [1]
    assert {version.digest for version in versions} == {alike.log.published().digest}
    assert published(alike) == expected
    other = replace(alike, settings=replace(SETTINGS, seq_length=32))
    with ThreadPoolExecutor(2) as threads:
        found = dict(threads.map(lambda each: (each.settings, drive(each)[0]), [alike, other]))
    assert [version.number for version in alike.log.versions()] in ([1, 2], [1, 2, 3])
    for version in alike.log.versions():
        with alike.log.snapshot(version) as snapshot:
            names = set(snapshot.list()) - set(scenario.TEXTS)
            assert names == {*version.names}
    assert found[other.settings].digest != found[alike.settings].digest
