"""Requests of some threads, which another thread may give up: then nobody waits for them any more.

What fetches ahead must end with the loop that it fetches for, not when a slow store has answered;
and so must the loop's workers, which are processes of their own.
"""

import os
from collections.abc import Generator
from concurrent.futures import CancelledError, Future
from contextlib import contextmanager
from contextvars import ContextVar
from multiprocessing import Pipe
from threading import Thread
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


class Ending:
    """Has processes give up what they wait for; they are started with it.

    Of a pipe, which takes no harm where one of them is killed, as an event of multiprocessing does.

    Args:
        num_processes: that are told.
    """

    def __init__(self, num_processes: int) -> None:
        self._left = num_processes
        self._reader, self._writer = Pipe(duplex=False)

    def tell(self) -> None:
        """Have them give up."""
        os.write(self._writer.fileno(), bytes(self._left))
        self._left = 0

    def heed(self) -> None:
        """Have what this thread of one of them waits for be given up once it is told."""
        waits = Waits()
        _WAITS.set(waits)

        def wait() -> None:
            os.read(self._reader.fileno(), 1)
            waits.give_up()

        Thread(target=wait, daemon=True).start()


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
