"""Requests of some threads, which another thread may give up: then nobody waits for them any more.

What fetches ahead must end with the loop that it fetches for, not when a slow store has answered.
"""

import threading
from collections.abc import Callable, Generator
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import contextmanager, suppress
from contextvars import ContextVar, copy_context
from functools import partial
from typing import Any, Self, TypeVar

_Result = TypeVar("_Result")


class Waits:
    """What threads wait for in blocks of `here`; after `give_up` each wait is a CancelledError.

    Attributes:
        is_over: whether it was given up.
    """

    def __init__(self) -> None:
        self._futures: set[Future[Any]] = set()
        self.is_over = False

    @contextmanager
    def here(self) -> Generator[Self]:
        """Have what this thread waits for in the block be given up with the others."""
        token = _WAITS.set(self)
        try:
            yield self
        finally:
            _WAITS.reset(token)

    def give_up(self) -> None:
        """End every wait, and those that would begin; from any thread."""
        self.is_over = True
        for future in self._futures.copy():
            future.cancel()

    @contextmanager
    def waiting(self, future: Future[Any]) -> Generator[None]:
        """Wait for something in the block."""
        self._futures.add(future)
        try:
            if self.is_over:  # as of now: it may be after `give_up` went through them
                future.cancel()
            yield
        finally:
            self._futures.discard(future)


_WAITS: ContextVar[Waits | None] = ContextVar("_WAITS", default=None)


@contextmanager
def waiting_for(future: Future[Any]) -> Generator[None]:
    """Wait for something in the block, unless this thread's waits are given up."""
    waits = _WAITS.get()
    if waits is None:
        yield
        return
    with waits.waiting(future):
        yield


def sleep(seconds: float) -> None:
    """Sleep, unless this thread's waits are given up.

    Raises:
        CancelledError: they are.
    """
    never = Future[None]()
    with waiting_for(never), suppress(TimeoutError):
        never.result(seconds)


def abandonable(work: Callable[[], _Result]) -> _Result:
    """What is done, by a thread of its own that is left alone where this one's waits are given up.

    For what nothing can interrupt; it ends when it asks `require_wanted`, or is done.

    Raises:
        CancelledError: they are given up.
    """
    if _WAITS.get() is None:
        return work()
    done, context = Future[_Result](), copy_context()

    def run() -> None:
        try:
            result = context.run(work)
        except BaseException as error:  # noqa: BLE001  (it is raised where the result is awaited)
            end = partial(done.set_exception, error)
        else:
            end = partial(done.set_result, result)
        with suppress(InvalidStateError):  # given up
            end()

    threading.Thread(target=run, name="a request that may be given up", daemon=True).start()
    with waiting_for(done):
        return done.result()


def require_wanted() -> None:
    """End what this thread does where its waits are given up.

    Raises:
        CancelledError: they are.
    """
    waits = _WAITS.get()
    if waits is not None and waits.is_over:
        raise CancelledError
