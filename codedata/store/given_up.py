"""Requests of some threads, which another thread may give up: then nobody waits for them any more.

What fetches ahead must end with the loop that it fetches for, not when a slow store has answered.
"""

from collections.abc import Generator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any, Self


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


def require_wanted() -> None:
    """End what this thread does where its waits are given up.

    Raises:
        CancelledError: they are.
    """
    waits = _WAITS.get()
    if waits is not None and waits.is_over:
        raise CancelledError
