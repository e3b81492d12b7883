"""numba's event that it compiles -> one line for whoever waits: the first run on a machine does."""

import logging
from functools import cache

from numba.core import event

logger = logging.getLogger(__name__)


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
