"""Threads for chunks: what an error and Ctrl-C leave running."""

import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import Future
from threading import Event, Timer

import pytest

from codedata import parallel
from codedata.parallel import ChunkThreads, completed, map_in_order
from codedata_tests.sources.loopback_s3 import wait_until


def end_with(error: BaseException, began: Event, goes_on: Event, finished: Event) -> None:
    def work() -> None:
        began.set()
        goes_on.wait(60)
        finished.set()

    with ChunkThreads(1) as threads:
        threads.submit(work)
        began.wait()
        raise error


@pytest.mark.parametrize(
    ("error", "waited_for"), [(OSError("disk full"), True), (KeyboardInterrupt(), False)]
)
def test_after_an_error_no_thread_runs_on_and_ctrl_c_waits_only_a_moment(
    error: BaseException, waited_for: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The stage is another run's as soon as the block is left, so nothing may write into it."""
    monkeypatch.setattr(parallel, "_GRACE_SECONDS", 0.01)
    began, goes_on, finished = Event(), Event(), Event()
    if waited_for:
        Timer(0.3, goes_on.set).start()
    with pytest.raises(type(error)):
        end_with(error, began, goes_on, finished)
    assert finished.is_set() == waited_for
    goes_on.set()
    assert finished.wait(60)


def test_after_an_error_nothing_that_waits_is_begun() -> None:
    began, waiting = Event(), list[Future[None]]()

    def work() -> None:
        began.set()
        wait_until(lambda: waiting and waiting[0].cancelled(), seconds=20)

    def fail_while_one_works() -> None:
        with ChunkThreads(1) as threads:
            threads.submit(work)
            waiting.append(threads.submit(began.clear))
            began.wait()
            raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        fail_while_one_works()
    assert waiting[0].cancelled()
    assert began.is_set()


def test_of_many_calls_some_wait_at_once_and_none_once_they_are_left(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "_MOST_WAITING", 3)
    taken: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    with ChunkThreads(1) as threads:
        found = [(item, future.result()) for item, future in completed(threads, str, numbers())]
        assert found == [(number, str(number)) for number in range(20)]
        taken.clear()
        goes_on = Event()
        for _ in (left := completed(threads, lambda n: n == 0 or goes_on.wait(20), numbers())):
            assert len(taken) == 4, "one is done, one is at work, and two wait"
            break
        left.close()
        goes_on.set()
    assert len(taken) == 4


def test_what_is_mapped_in_order_waits_by_some_and_ends_with_its_first_error(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(parallel, "_MOST_WAITING", 3)
    taken: list[int] = []
    begun: list[int] = []

    def numbers() -> Iterator[int]:
        for number in range(20):
            taken.append(number)
            yield number

    def slow_where_even(number: int) -> str:
        begun.append(number)
        time.sleep(0.01 * (number % 2 == 0))
        if number in (6, 7):
            raise OSError(f"{number} is bad")
        return str(number)

    with ChunkThreads(2) as threads:
        found = map_in_order(threads, slow_where_even, numbers())
        assert [next(found) for _ in range(6)] == ["0", "1", "2", "3", "4", "5"]
        with pytest.raises(OSError, match="6 is bad"):
            next(found)
    assert len(taken) == 9, "of the seventh on, three were under way"
    begun.clear()
    with ChunkThreads(1) as threads:
        goes_on = Event()
        left = map_in_order(
            threads, lambda n: begun.append(n) or n == 0 or goes_on.wait(20), numbers()
        )
        assert next(left)
        left.close()
        goes_on.set()
        assert threads.submit(len, begun).result() <= 2, "what waited is not begun"
    assert [*map_in_order(threads, str, ())] == []


_LOADS_FOR_GOOD = """
import gc
from codedata.parallel import loading_for_good

class Ring:
    def __init__(self, name):
        self.name, self.itself = name, self
    def __del__(self):
        print("collected", self.name)

collections = []
gc.callbacks.append(lambda phase, info: collections.append(info))
with loading_for_good():
    with loading_for_good():  # as a command does with a code location that does it too
        loaded = [[] for _ in range(100_000)]
    loaded += [[] for _ in range(100_000)]
    Ring("while it loads")
print(len(collections), gc.isenabled(), gc.get_freeze_count() > 200_000)
Ring("after it")
gc.collect()
with loading_for_good():
    Ring("once more")
gc.collect()
Ring("at the end")
"""


def test_no_garbage_is_looked_for_in_what_is_loaded_for_good_nor_at_the_end() -> None:
    said = subprocess.check_output([sys.executable, "-c", _LOADS_FOR_GOOD], text=True)
    assert said.splitlines() == ["0 True True", "collected after it", "collected once more"]


_PEAK = "from codedata.parallel import peak_memory_bytes; print(peak_memory_bytes())"


def test_the_peak_of_memory_is_the_process_s_own_not_of_that_which_started_it() -> None:
    large = bytearray(b"x") * (200 << 20)
    assert parallel.peak_memory_bytes() > len(large)
    assert int(subprocess.check_output([sys.executable, "-c", _PEAK])) < len(large) // 2
