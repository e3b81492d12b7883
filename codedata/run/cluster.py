# pyright: standard
# (distributed has few types)
"""Chunks on the workers of a Dask cluster, which need share no disk with anybody.

A call and its chunk -> what a worker makes of them. What travels is the chunk's task: addresses,
hashes and counts, as bytes that the scheduler does not open, so it needs no codedata. A worker that
dies or freezes loses its chunks to others; how often a chunk may cost a worker (`allowed-failures`)
and how long one may be silent (`worker-ttl`) are the scheduler's own limits: of a cluster that was
there they are told, of workers of this machine they are set here.
"""

import logging
import pickle
import platform
import secrets
import traceback
import weakref
from collections.abc import Callable, Generator
from concurrent.futures import BrokenExecutor, CancelledError, Executor, Future
from contextlib import contextmanager
from functools import cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from codedata.errors import SettingsError, WorkerError
from codedata.parallel import limit_library_threads, return_freed_memory
from codedata.progress import Reporter, logger
from codedata.run.placement import Cluster
from codedata.sources.parquet.text import keep_no_row_groups
from codedata.store.files import remove_leftovers

T = TypeVar("T")

_WORKER_TTL = "30s"
_ALLOWED_FAILURES = 3
"""Of workers of this machine: a chunk is tried again three times."""

_TRIES_MORE = 3
"""A chunk for which a worker has no memory, or whose result is lost, is submitted again thrice,
as if that worker had died."""

_OLDEST_RUN_SECONDS = 7 * 86400.0
"""What is older in a folder that workers have to see is of a driver that was killed."""

_ANSWER_SECONDS = 30
"""For a scheduler across a network that is there."""

_PACKAGES = ("codedata", "tokenizers", "gigatoken", "numba", "numpy", "pyarrow")
"""What decides ids, or the bytes that hold them."""

_PLACE = tuple[str, str]
"""A file that workers have to see, and what it holds."""


class DaskWorkers(Executor):
    """The workers of a cluster; what is submitted takes one argument.

    Args:
        client: of the cluster.
        place: a file that every worker has to see, and what it holds; None where they need none.

    Attributes:
        client: of the cluster.
        dashboard: where the cluster is watched.
    """

    def __init__(self, client: Any, place: _PLACE | None = None) -> None:
        self.client = client
        self._executor = client.get_executor(pure=False)
        self._place = place
        self._scheduler = str(client.scheduler.address)
        self.dashboard = str(client.dashboard_link)

    def submit(self, fn: Callable[..., T], /, *args: Any, **kwargs: Any) -> Future[T]:
        """Have a worker call a function.

        What the future raises is the function's own error, or BrokenExecutor: workers died of it,
        their memory ran out, or the scheduler is gone.
        """
        assert not kwargs, "calls of chunks have none"
        call = pickle.dumps(_Call(_call, fn, args, _versions(), self._place))
        here = Future[T]()
        self._send(here, _named(fn.__name__), call, _TRIES_MORE)
        return here

    def _send(
        self, here: Future[T], load: Callable[[bytes], T], call: bytes, tries_left: int
    ) -> None:
        """Have a worker make a call, whose outcome a future gets."""
        there = self._executor.submit(load, call)

        def hand_over(there: Future[T]) -> None:
            why = None if there.cancelled() else _why_again(there.exception())
            if why is None or not tries_left or here.cancelled():
                _hand_over(here, self._scheduler, there)
                return
            logger.warning(
                "%s of %s (%s); the chunk is submitted again, %d of %d",
                why,
                self._scheduler,
                load.__name__,
                _TRIES_MORE + 1 - tries_left,
                _TRIES_MORE,
            )
            try:
                self._send(here, load, call, tries_left - 1)
            except Exception:  # noqa: BLE001 - the run has ended, or its scheduler is gone
                _hand_over(here, self._scheduler, there)

        there.add_done_callback(hand_over)
        here.add_done_callback(partial(_cancel, weakref.ref(there)))

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:  # noqa: ARG002
        """Forget what is not done."""
        self._executor.shutdown(wait=False)


@contextmanager
def dask_workers(
    cluster: Cluster, *, num_workers: int, folder: Path | None, reporter: Reporter
) -> Generator[DaskWorkers]:
    """Connect to a cluster, or start one on this machine, for as long as chunks are made.

    Args:
        cluster: which.
        num_workers: threads of workers of this machine, where they are started here.
        folder: of this machine, that every worker has to see; None where they need none.
        reporter: told of the cluster, and where it is watched.

    Raises:
        SettingsError: Dask is not installed, or no scheduler answers at the address.
    """
    try:
        from distributed import Client
    except ImportError as error:
        raise SettingsError(
            "chunk_executor has kind dask, and Dask is not installed; install codedata[dask]"
        ) from error
    with _scheduler(cluster, num_workers) as place:
        try:
            client = Client(place, timeout=_ANSWER_SECONDS, set_as_default=False)
        except (OSError, TypeError, ValueError) as error:  # TypeError: TLS without a key
            raise SettingsError(
                f"no Dask scheduler answers at {cluster.address} within {_ANSWER_SECONDS} s "
                f"({error}); start one (dask scheduler), or correct the address"
            ) from error
        with client, _seen(folder) as seen:
            workers = DaskWorkers(client, seen)
            _tell(client, workers.dashboard, reporter)
            with workers:
                yield workers


@contextmanager
def _scheduler(cluster: Cluster, num_workers: int) -> Generator[Any]:
    """The address of a scheduler, or one with workers that are started here."""
    if cluster.address is not None:
        yield cluster.address
        return
    from dask import config
    from distributed import LocalCluster
    from distributed.deploy.utils import nprocesses_nthreads

    processes, threads = nprocesses_nthreads(num_workers)
    limits = {
        "distributed.scheduler.worker-ttl": _WORKER_TTL,
        "distributed.scheduler.allowed-failures": _ALLOWED_FAILURES,
        "distributed.worker.profile.enabled": False,  # which looks at each call 100 times a second
    }
    with (
        config.set(limits),
        LocalCluster(
            n_workers=processes,
            threads_per_worker=threads,
            host="127.0.0.1",
            dashboard_address="127.0.0.1:0",
            silence_logs=logging.CRITICAL,  # what goes wrong is told in our terms
            env={"RAYON_NUM_THREADS": str(threads)},
        ) as started,
    ):
        yield started


def _tell(client: Any, dashboard: str, reporter: Reporter) -> None:
    """Say what the cluster has, and by what limits its scheduler gives a chunk up."""
    from dask import config

    found = client.scheduler_info(n_workers=-1)["workers"].values()
    threads = sum(each["nthreads"] for each in found)
    ttl, failures = (
        client.run_on_scheduler(config.get, f"distributed.scheduler.{name}")
        for name in ("worker-ttl", "allowed-failures")
    )
    has = f"{len(found)} workers with {threads} threads"
    reporter.say(
        f"Dask at {client.scheduler.address} has {has if found else 'no worker yet'}; one is given "
        f"up after {ttl} without a sign of life, a chunk after it cost {failures + 1} workers; "
        f"watch it at {dashboard}"
    )


@contextmanager
def _seen(folder: Path | None) -> Generator[_PLACE | None]:
    """A file in a folder, by which a worker finds out whether it sees the folder."""
    if folder is None:
        yield None
        return
    holds = secrets.token_hex(16)
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder, older_than=_OLDEST_RUN_SECONDS)
    path = folder / f".workers.{holds}.tmp"
    path.write_text(holds)
    try:
        yield str(path), holds
    finally:
        path.unlink(missing_ok=True)


def _why_again(error: BaseException | None) -> str | None:
    """Why a call is to be submitted again; None where that would not help."""
    if isinstance(error, MemoryError):
        return "memory ran out on a worker"
    if isinstance(error, TypeError):
        # Dask's executor takes a result for an error where the worker that had it died meanwhile.
        frames = [frame for frame, _ in traceback.walk_tb(error.__traceback__)]
        if frames and frames[-1].f_globals.get("__name__") == "distributed.cfexecutor":
            return "a worker died as its result came, one"
    return None


def _cancel(there: weakref.ref[Future[Any]], here: Future[Any]) -> None:
    """Cancel the cluster's own future with ours.

    Ours does not hold it: a result that somebody holds is made again when its worker dies.
    """
    if here.cancelled() and (future := there()) is not None:
        future.cancel()


def _hand_over(here: Future[T], scheduler: str, there: Future[T]) -> None:
    """Give a future what the cluster's own has, its errors told in our terms."""
    if not here.set_running_or_notify_cancel():
        return
    try:
        here.set_result(there.result())
    except CancelledError:
        why = f"the Dask scheduler at {scheduler} is gone, or forgot the chunk"
        here.set_exception(BrokenExecutor(why))
    except BaseException as error:  # noqa: BLE001 - the future's
        here.set_exception(_in_our_terms(error))


def _in_our_terms(error: BaseException) -> BaseException:
    from distributed import KilledWorker

    if isinstance(error, KilledWorker):
        return BrokenExecutor(
            f"{error.allowed_failures + 1} workers died of it, the last at "
            f"{error.last_worker.address}: killed, or out of memory (a smaller chunk_size needs "
            "less)"
        )
    if isinstance(error, MemoryError):
        return BrokenExecutor(
            "memory ran out on each worker that had it (a smaller chunk_size needs less)"
        )
    if isinstance(error, ModuleNotFoundError) and (error.name or "").startswith("codedata"):
        return BrokenExecutor("a worker has no codedata, or another release: install the same")
    return error


class _Call:
    """Bytes of it are a call: who loads them makes it, and gets what it returns."""

    def __init__(self, fn: Callable[..., Any], *args: Any) -> None:
        self._call = fn, args

    def __reduce__(self) -> tuple[Callable[..., Any], tuple[Any, ...]]:
        return self._call


def _named(name: str) -> Callable[[bytes], Any]:
    """What loads bytes, under a name for the dashboard.

    One that no module has, so that it travels as code and the scheduler imports nothing of ours.
    """

    def load(call: bytes) -> Any:
        return pickle.loads(call)  # noqa: S301 - the driver's own

    load.__name__ = load.__qualname__ = name
    return load


def _call(
    fn: Callable[..., T], args: tuple[Any, ...], versions: dict[str, str], place: _PLACE | None
) -> T:
    """Make a call, on a worker that is fit for it."""
    from distributed import get_worker

    worker = get_worker()
    _require_alike(worker.address, versions)
    if place is not None:
        _require_seen(worker.address, *place)
    _prepare(worker.state.nthreads)
    return fn(*args)


def _require_alike(worker: str, versions: dict[str, str]) -> None:
    """Refuse a worker whose ids, or bytes, may be others.

    Raises:
        WorkerError: naming what differs.
    """
    own = _versions()
    differs = [
        f"{name} {own.get(name, 'none')} (here {versions.get(name, 'none')})"
        for name in sorted({*own, *versions})
        if own.get(name) != versions.get(name)
    ]
    if differs:
        raise WorkerError(
            f"the Dask worker at {worker} has {', '.join(differs)}, so its ids may be others; "
            "install the same there"
        )


@cache
def _require_seen(worker: str, path: str, holds: str) -> None:
    """Refuse a worker that does not see the folder that the run writes.

    Raises:
        WorkerError: naming the folder.
    """
    try:
        sees = Path(path).read_text() == holds
    except OSError:
        sees = False
    if not sees:
        raise WorkerError(
            f"the Dask worker at {worker} does not see the folder {Path(path).parent}; mount it "
            "there, or set CODEDATA_ROOT to an object store, for which no worker needs a disk"
        )


@cache
def _prepare(num_threads: int) -> None:
    limit_library_threads(num_threads)
    return_freed_memory()
    keep_no_row_groups()


@cache
def _versions() -> dict[str, str]:
    """Of what decides ids, and the bytes that hold them."""
    found = {"Python": ".".join(platform.python_version_tuple()[:2])}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
