"""Workers that share no disk: the bytes of a local run, whatever is killed, frozen, or there twice.

One scheduler and three workers, each a process with folders of its own; all they have in common is
an object store.
"""

import logging
import os
import pickle
import re
import signal
import sys
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import distributed
import psutil
import pytest

import codedata
from codedata.errors import SettingsError, WorkerError
from codedata.layout import Layout
from codedata.parallel import completed
from codedata.recipe.documents import DocumentRecipe
from codedata.recipe.settings import Settings
from codedata.run import cluster, compared
from codedata.run.tokenize import result_of
from codedata.sources.record import record_corpus
from codedata.sources.stored_text import store_corpus
from codedata.store.versions import Version
from codedata.tokenize_data import tokenize_data
from codedata_tests import scenario
from codedata_tests.object_roots import SECRET, fresh_bucket
from codedata_tests.run.cluster_runs import Run, connected, die, drive, run_short_of_memory
from codedata_tests.services import process, waited_for

SETTINGS = Settings(
    pad_token=0,
    seq_length=64,
    min_sample_length=8,
    max_dump_size=40,
    chars_to_tokenize=100_000,
    chunk_size=9_000,
)
WORKER_TTL = "1s"
"""A worker is given up after ten heartbeats of half a second, however short this is."""
PATIENT = "60s"
"""Of the scheduler here: on a busy machine a worker, or it itself, may stand still for seconds."""


LOOPBACK = ("--host", "127.0.0.1", "--dashboard-address", "127.0.0.1:0")


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
        "DASK_DISTRIBUTED__WORKER__PROFILE__ENABLED": "false",
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
        arguments = [self.address, *LOOPBACK, "--no-nanny", "--nthreads", "1"]
        arguments += ["--local-directory", str(folder / "dask")]
        environment = environment_of(folder)
        self.stack.enter_context(
            process(module("distributed.cli.dask_worker", *arguments), folder, environment)
        )

    def pids(self, num_workers: int = 3) -> list[int]:
        with connected(self.address) as workers:
            workers.client.wait_for_workers(num_workers, timeout=300)
            return list(workers.client.run(os.getpid).values())


@pytest.fixture(scope="module")
def bucket(s3_server: str) -> Iterator[str]:
    with fresh_bucket(s3_server) as url:
        yield url


@pytest.fixture(scope="module")
def machines(bucket: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machines]:
    assert bucket, "its environment is that of the workers"
    folders = tmp_path_factory.mktemp("machines")
    arguments = [*LOOPBACK, "--port", "0"]
    with ExitStack() as stack:
        environment = environment_of(folders / "scheduler")
        environment["DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL"] = PATIENT
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


def published(run: Run, version: Version | None = None) -> dict[str, bytes]:
    """Shards and meta of a version, by default the newest."""
    version = version or run.log.published()
    with run.log.snapshot(version) as snapshot:
        return {name: snapshot.read(name) for name in version.names}


def requests_in(log: str) -> Counter[str]:
    """How many requests of each method, by the ends of the names that they are for."""
    found = re.findall(r'"(GET|PUT) /\S+\.(\w+) HTTP', log)
    return Counter(f"{method} {end}" for method, end in found)


def forget_compared() -> None:
    """As a process that made none of the chunks."""
    compared._known.clear()  # pyright: ignore[reportPrivateUsage]
    compared._taken.clear()  # pyright: ignore[reportPrivateUsage]


def test_workers_without_a_shared_disk_make_the_bytes_of_a_local_run(
    run: Run, expected: dict[str, bytes], caplog: pytest.LogCaptureFixture
) -> None:
    said: list[str] = []
    with caplog.at_level(logging.INFO, "werkzeug"):
        version, reused = drive(run, said.append)
    asked = requests_in(caplog.text)
    assert asked["PUT arrow"] == asked["GET arrow"] == len(reused), "of a chunk two requests"
    assert asked["PUT pkl"] == asked["GET pkl"] == version.num_shards, "of a shard two"
    assert asked["PUT json"] <= 6, "conditional-writes aside: tokenizer, meta, version"
    assert published(run) == expected
    assert version.number == 1
    assert len(reused) > 10
    assert not any(reused)
    assert "given up after 60s without a sign of life, a chunk after it cost 4 workers" in said[0]
    assert "watch it at http://127.0.0.1:" in said[0]
    forget_compared()
    again, reused = drive(run)
    assert again == version, "the same bytes, facts and card are the same version"
    assert all(reused)


def test_workers_make_of_documents_the_bytes_of_a_local_run(
    run: Run, corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    recipe = {"documents": {"bos": scenario.BOS, "eos": scenario.EOT}, "order": "shuffled"}
    few = replace(SETTINGS, chars_to_tokenize=30_000, tokenizer_base=str(tokenizer_folder))
    switches: dict[str, Any] = few.as_dict()
    local = codedata.build(
        corpus, tmp_path / "set", num_workers=1, engine="whole", recipe=recipe, **switches
    )
    documents = replace(run, name="documents", settings=few, recipe=DocumentRecipe.of(recipe))
    version, _ = drive(documents)
    assert published(documents, version) == scenario.dataset_bytes(tmp_path / "set")
    assert version.made_of is not None
    assert local.facts is not None
    assert version.made_of.documents == local.facts.documents is not None


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

    with connected(machines.address) as workers:
        workers.client.run_on_scheduler(give_up_after, 1)
        drive(run, hurt_workers)
        workers.client.run_on_scheduler(give_up_after, 60)
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


def test_a_result_whose_worker_dies_as_it_comes_is_made_again(
    machines: Machines, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """As Dask's executor sees it: the result is there, and the future counts as lost by then."""
    lost, status = ["lost"], distributed.Future.status

    def status_of(future: distributed.Future) -> str:
        asked_by = sys._getframe(1).f_code.co_name
        is_lost = asked_by == "_cascade_future" and lost
        return lost.pop() if is_lost else str(status.__get__(future))

    monkeypatch.setattr(distributed.Future, "status", property(status_of))
    with caplog.at_level(logging.WARNING), connected(machines.address) as workers:
        assert workers.submit(len, "chunk").result(300) == 5
        with pytest.raises(TypeError, match="has no len"):
            workers.submit(len, 1).result(300)
    assert caplog.text.count("the chunk is submitted again, 1 of 3") == 1


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


def test_of_drivers_at_once_each_publishes_a_version_and_those_of_the_same_one(
    run: Run, expected: dict[str, bytes]
) -> None:
    alike = replace(run, name="at_once")
    other = replace(alike, settings=replace(SETTINGS, seq_length=32))
    with ThreadPoolExecutor(3) as threads:
        versions = [version for version, _ in threads.map(drive, [alike, other, alike])]
    digests = [version.digest for version in versions]
    assert digests[0] == digests[2] != digests[1]
    found = alike.log.versions()
    assert [version.number for version in found] in ([1, 2], [1, 2, 3])
    for version in found:
        shards_and_meta = published(alike, version)
        assert (shards_and_meta == expected) is (version.digest == digests[0])
        assert version.digest in digests
        with alike.log.snapshot(version) as snapshot:
            assert {*snapshot.sizes(""), *scenario.TEXTS} == {*shards_and_meta, *scenario.TEXTS}


def test_a_worker_with_other_releases_is_refused_by_name(
    machines: Machines, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster, "_versions", lambda: {"codedata": "0.0.1", "words": "2"})
    with connected(machines.address) as workers, pytest.raises(WorkerError) as refusal:
        workers.submit(len, "chunk").result(300)
    assert re.search(
        r"^the Dask worker at tcp://\S+ has Python 3\.\d+ \(here none\), "
        r"codedata \S+ \(here 0\.0\.1\).* words none \(here 2\), so its ids may be others; "
        r"install the same there$",
        str(refusal.value),
    )


def test_a_worker_that_does_not_see_the_folder_of_a_run_is_refused(
    machines: Machines, tmp_path: Path
) -> None:
    root = tmp_path / "root"
    with connected(machines.address, folder=root) as workers:
        assert workers.submit(len, "chunk").result(300) == 5
        [seen] = root.iterdir()
        seen.write_text("another folder of this name", encoding="utf-8")
        others = cluster.DaskWorkers(workers.client, (str(seen), "what was written"))
        with pytest.raises(WorkerError, match=f"does not see the folder {root}; mount it there"):
            others.submit(len, "chunk").result(300)
    assert not list(root.iterdir())


def test_a_chunk_for_which_workers_lack_memory_is_tried_again_and_then_named(
    machines: Machines, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    some, all_ = tmp_path / "some", tmp_path / "all"
    some.mkdir()
    all_.mkdir()
    with connected(machines.address) as workers:
        [(_, future)] = completed(workers, run_short_of_memory, [(some, 3)])
        assert result_of(future, "chunk 1") == 4
        assert "the chunk is submitted again, 3 of 3" in caplog.text
        [(_, future)] = completed(workers, run_short_of_memory, [(all_, 9)])
        with pytest.raises(WorkerError, match=r"^chunk 2: memory ran out on each worker .*: run a"):
            result_of(future, "chunk 2")
    assert len(list(all_.iterdir())) == 4


def test_what_a_killed_driver_left_in_the_folder_of_a_run_is_cleared(
    machines: Machines, tmp_path: Path
) -> None:
    with connected(machines.address, folder=tmp_path):
        [left] = tmp_path.iterdir()
        old, young = (left.with_name(f".workers.{name}.tmp") for name in ("old", "young"))
        old.touch()
        young.touch()
        os.utime(old, (0, 0))
    with connected(machines.address, folder=tmp_path):
        assert young.exists()
        assert not old.exists()


def test_an_address_where_no_scheduler_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cluster, "_ANSWER_SECONDS", 0.2)
    with (
        pytest.raises(SettingsError, match=r"no Dask scheduler answers at tcp://127\.0\.0\.1:9 "),
        connected("tcp://127.0.0.1:9"),
    ):
        pass


@pytest.mark.campaign
def test_workers_of_this_machine_bind_to_loopback_and_a_chunk_that_kills_them_is_given_up(
    run: Run, capfd: pytest.CaptureFixture[str]
) -> None:
    said, before = list[str](), bound()
    with connected(None, said.append) as workers:
        assert "has 2 workers with 2 threads; one is given up after 30s" in said[0]
        assert "a chunk after it cost 4 workers" in said[0]
        assert {each[0] for each in bound() - before} == {"127.0.0.1"}
        task = run.tasks(run.plan())[1]
        capfd.readouterr()
        with pytest.raises(TypeError):
            workers.submit(len, 1).result(300)
        [(_, future)] = completed(workers, die, [task])
        with pytest.raises(WorkerError) as lost:
            result_of(future, task.where)
    assert "".join(capfd.readouterr()) == "", "what went wrong is told in one line, by the run"
    assert re.search(
        r"^characters 9000 to 18000 of s3:/\S+: 4 workers died of it, the last at tcp://127\.0\.0\.1:"
        r"\d+: killed, or out of memory .*; finished chunks are kept: run again$",
        str(lost.value),
    )


def give_up_after(seconds: float, dask_scheduler: Any) -> None:
    """Have a scheduler give up workers after so long."""
    dask_scheduler.worker_ttl = seconds
    looking = dask_scheduler.periodic_callbacks["worker-ttl"]
    looking.stop()
    looking.callback_time = 1000 * seconds
    looking.start()


def bound() -> set[tuple[str | int, ...]]:
    """Where this process and all it started listen."""
    me = psutil.Process()
    found = [each.net_connections("tcp") for each in (me, *me.children(recursive=True))]
    return {tuple(one.laddr) for each in found for one in each if one.status == "LISTEN"}
