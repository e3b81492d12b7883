"""Where chunks are tokenized: threads of this process.

Anything with the interface of `concurrent.futures.Executor` serves; threads are what the script and
the assets use. What costs time runs without the interpreter's lock (compiled code, the tokenizers
library, Arrow, hashes, disk), so threads keep all cores busy, start at once, and share one copy of
the tokenizer and of the program.
"""

import atexit
import ctypes
import gc
import os
import re
import resource
import sys
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from functools import cache
from itertools import islice
from pathlib import Path
from queue import SimpleQueue
from typing import Any, ParamSpec, TypeVar

from codedata.errors import SettingsError

P = ParamSpec("P")
P1 = TypeVar("P1")
T = TypeVar("T")

MAX_WORKERS = 1024
"""More threads than this on one machine are a slip of the keyboard."""

_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # malloc.h
_LARGE_BLOCK = 1 << 20

_GRACE_SECONDS = 2.0

_MOST_WAITING = 4096
"""Calls of an executor that are not done: enough for as many threads of a cluster, and some
megabytes of tasks."""

_OBJECTS_BETWEEN_SEARCHES = 10_000
"""For garbage, some megabytes of it at the most; large arrays are freed without a search."""


def available_cores() -> int:
    """Cores that this process may run on."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processes_here() -> int:
    """Training processes that share this machine, where their launcher says how many they are."""
    said = os.environ.get("LOCAL_WORLD_SIZE", "")
    return max(1, int(said)) if said.isdecimal() else 1


@cache
def memory_bytes() -> int:
    """The memory that this machine has, or the container may have."""
    physical = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    try:
        limit = Path("/sys/fs/cgroup/memory.max").read_text()
    except OSError:  # no container, or none of cgroup v2
        return physical
    return min(physical, int(limit)) if limit.strip().isdecimal() else physical


def peak_memory_bytes() -> int:
    """The most memory that this process has had so far.

    On Linux `getrusage` says no less than the process had which started this one.
    """
    try:
        status = Path("/proc/self/status").read_bytes()
    except OSError:
        status = b""
    if found := re.search(rb"^VmHWM:\s*(\d+) kB$", status, re.MULTILINE):
        return int(found[1]) * 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak if sys.platform == "darwin" else peak * 1024


def check_num_workers(num_workers: int) -> int:
    """Return the number, or refuse it.

    Raises:
        SettingsError: it is not 1 to `MAX_WORKERS`.
    """
    if not 1 <= num_workers <= MAX_WORKERS:
        raise SettingsError(f"num_workers must be 1 to {MAX_WORKERS}, not {num_workers}")
    return num_workers


def limit_library_threads(num_workers: int) -> None:
    """Have the tokenizers library use so many threads; without effect once it has started some."""
    os.environ.setdefault("RAYON_NUM_THREADS", str(num_workers))


def return_freed_memory() -> None:
    """Have glibc give large blocks back when they are freed, instead of keeping some in each arena.

    By default it adapts to the sizes it sees, here to chunks: tens of megabytes a thread.
    """
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(_M_MMAP_THRESHOLD, _LARGE_BLOCK)
        libc.mallopt(_M_TRIM_THRESHOLD, _LARGE_BLOCK)


class ChunkThreads(ThreadPoolExecutor):
    """Threads for chunks: after an error none of them runs; Ctrl-C waits only a moment for them."""

    def __init__(self, num_workers: int) -> None:
        return_freed_memory()
        super().__init__(num_workers, thread_name_prefix="chunk")
        self._left: set[Future[Any]] = set()

    def submit(self, fn: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> Future[T]:
        """Submit a call."""
        future = super().submit(fn, *args, **kwargs)
        self._left.add(future)
        future.add_done_callback(self._left.discard)
        return future

    def __exit__(self, kind: object, *error: object) -> None:
        interrupted = isinstance(kind, type) and not issubclass(kind, Exception)
        self.shutdown(wait=not interrupted, cancel_futures=kind is not None)
        wait([each for each in [*self._left] if each.running()], timeout=_GRACE_SECONDS)


def completed(
    executor: Executor, fn: Callable[[P1], T], items: Iterable[P1]
) -> Generator[tuple[P1, Future[T]]]:
    """Have an executor call a function with some things: each with its future, as it is done.

    No more than some thousands wait in the executor at once, and once this is left none does.
    """
    done = SimpleQueue[Future[T]]()
    waiting: dict[Future[T], P1] = {}
    left = iter(items)

    def submit(num_items: int) -> None:
        for item in islice(left, num_items):
            future = executor.submit(fn, item)
            waiting[future] = item
            future.add_done_callback(done.put)

    try:
        submit(_MOST_WAITING)
        while waiting:
            future = done.get()
            item = waiting.pop(future)
            submit(1)
            yield item, future
    finally:
        for future in waiting:
            future.cancel()


def map_in_order(executor: Executor, fn: Callable[[P1], T], items: Iterable[P1]) -> Generator[T]:
    """What an executor makes of some things by a function, in their order.

    No more than some thousands wait in it at once (`Executor.map` has its `buffersize` from Python
    3.14 on, and before all of them: 170 MB a hundred thousand), and after an error none does.
    """
    waiting, left = deque[Future[T]](), iter(items)
    try:
        waiting.extend(executor.submit(fn, item) for item in islice(left, _MOST_WAITING))
        while waiting:
            yield waiting.popleft().result()
            waiting.extend(executor.submit(fn, item) for item in islice(left, 1))
    finally:
        for future in waiting:
            future.cancel()


def side_by_side(fn: Callable[[P1], T], items: Iterable[P1]) -> list[T]:
    """What a function makes of some things, in their order; a thread a core, and none for one."""
    things = list(items)
    if len(things) <= 1:
        return [fn(thing) for thing in things]
    with ThreadPoolExecutor(available_cores()) as threads:
        return list(map_in_order(threads, fn, things))


@contextmanager
def loading_for_good() -> Iterator[None]:
    """Load what stays as long as the process: Python never searches it for garbage, once a process.

    Dagster and its definitions are 150,000 objects, and a run has 400,000 at its end. To search
    them all, again and again and when the process ends, took a quarter of a small run's time. What
    is made later is searched as ever, though not every 700 objects.
    """
    if gc.get_freeze_count():
        yield
        return
    is_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.set_threshold(max(_OBJECTS_BETWEEN_SEARCHES, gc.get_threshold()[0]))
        atexit.register(gc.freeze)
        if is_enabled:
            gc.enable()


def exit_process(status: int) -> None:
    """End the process at once.

    Nothing is left to do but what the system does faster (0.1 s), and after Ctrl-C threads in the
    middle of a chunk are not waited for.
    """
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)
