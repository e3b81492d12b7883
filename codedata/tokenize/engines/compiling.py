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
        assert event.data is not None, "numba says which dispatcher"
        module: str = event.data["dispatcher"].py_func.__module__
        if not self._has_said and module.startswith("codedata."):
            self._has_said = True
            logger.warning("compiling what is fast, once on this machine: some seconds")

    def on_end(self, event: event.Event) -> None:
        """It is compiled."""
