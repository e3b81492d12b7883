"""Where chunks are tokenized: worker processes on this machine, or this process itself.

Anything with the interface of `concurrent.futures.Executor` serves; these two are what the script
uses. Workers are spawned, not forked: forked ones would inherit the dataset's lock and the
threads' locks. They end when their parent does, however it ends.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any, ParamSpec, TypeVar

from codedata.errors import SettingsError

P = ParamSpec("P")
T = TypeVar("T")

MAX_WORKERS = 1024
"""More processes than this on one machine are a slip of the keyboard."""


class InlineExecutor(Executor):
    """Runs each call at once, in the calling thread."""

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Run a call; its result or its error is in the future, as with every executor."""
        future: Future[T] = Future()
        try:
            future.set_result(fn(*args, **kwargs))
        except Exception as error:  # noqa: BLE001  (handed on, not swallowed)
            future.set_exception(error)
        return future


class _WorkerPool(ProcessPoolExecutor):
    """Workers that Ctrl-C does not reach: it is the parent's to handle.

    They inherit the blocked signal, so it does not reach them while they start either.
    """

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit a call, which may start a worker."""
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            return super().submit(fn, *args, **kwargs)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def check_num_workers(num_workers: int) -> int:
    """Return the number, or refuse it.

    Raises:
        SettingsError: it is not 1 to `MAX_WORKERS`.
    """
    if not 1 <= num_workers <= MAX_WORKERS:
        raise SettingsError(f"num_workers must be 1 to {MAX_WORKERS}, not {num_workers}")
    return num_workers


@contextmanager
def chunk_executor(num_workers: int, num_chunks: int) -> Iterator[Executor]:
    """An executor for `num_chunks` calls that keeps `num_workers` cores busy.

    One worker or one chunk runs in this process, where the tokenizers library itself uses the
    cores. An error, Ctrl-C included, ends the workers at once.
    """
    processes = min(num_workers, num_chunks)
    if processes <= 1:
        yield InlineExecutor()
        return
    threads = max(1, num_workers // processes)
    executor = _WorkerPool(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_start_worker,
        initargs=(threads,),
    )
    try:
        yield executor
    except BaseException:
        workers: dict[int, Any] = dict(getattr(executor, "_processes", None) or {})
        executor.shutdown(wait=False, cancel_futures=True)
        for worker in workers.values():
            worker.terminate()
        raise
    executor.shutdown()


def _start_worker(threads: int) -> None:
    """Prepare a worker process: its share of the threads, and its end."""
    os.environ["RAYON_NUM_THREADS"] = str(threads)
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None, "only called in a worker"
    parent.join()
    os._exit(1)
