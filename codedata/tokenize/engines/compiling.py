"""numba's start: one line for whoever waits while it compiles, and no extensions of others.

The first run on a machine compiles; the others load what it left.
"""

import logging
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from numba.core import entrypoints, event

logger = logging.getLogger(__name__)

_load_extensions = entrypoints.init_all


@contextmanager
def without_extensions() -> Iterator[None]:
    """Have numba leave out the extensions that other packages install, as long as this goes on.

    Before its first function it loads them all; awkward's, which gigatoken brings along, takes
    0.4 s, and nothing here needs it. They are loaded before the next function of whoever does.
    """
    entrypoints.init_all = lambda: None
    try:
        yield
    finally:
        entrypoints.init_all = _load_extensions


@cache
def announce_compiling() -> None:
    """Have this process say, once, that functions of codedata are being compiled.

    What an earlier process compiled is loaded, in milliseconds, without a word.
    """
    event.register("numba:compile", _Announcer())


class _Announcer(event.Listener):
    """Says it of the first function; all follow it."""

    def __init__(self) -> None:
        self._has_said = False

    def on_start(self, event: event.Event) -> None:
        """A function is about to be compiled, one of codedata or of another library."""
        function = (event.data or {})["dispatcher"].py_func
        if not self._has_said and (function.__module__ or "").startswith("codedata."):
            self._has_said = True
            logger.warning("compiling what is fast, once on this machine: some seconds")

    def on_end(self, event: event.Event) -> None:
        """It is compiled."""
