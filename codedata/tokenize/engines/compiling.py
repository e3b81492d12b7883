"""numba's start: a line for whoever waits while it compiles, no extensions of others, no LLVM left.

The first run on a machine compiles; the others load what it left.
"""

import ctypes
import logging
import mmap
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from numba.core import entrypoints, event

logger = logging.getLogger(__name__)

_load_extensions = entrypoints.init_all

_MAPS = Path("/proc/self/maps")


@contextmanager
def loading_compiled() -> Iterator[None]:
    """Have numba load functions without what only others need: extensions, and LLVM afterwards.

    Before its first function it loads the extensions of all packages that are installed;
    awkward's, which gigatoken brings along, takes 0.4 s. They are loaded before the next function
    of whoever needs them.
    """
    entrypoints.init_all = lambda: None
    try:
        yield
    finally:
        entrypoints.init_all = _load_extensions
        _leave_llvm()


def _leave_llvm() -> None:
    """Take LLVM's code, 50 MB, out of this process's memory: it is needed to load, not to run.

    It comes back from its file, page by page, where it is called again. Only the part that can be
    executed goes, for nobody writes it: what is written would be lost.
    """
    libc = ctypes.CDLL(None)
    for line in _MAPS.read_text().splitlines() if _MAPS.exists() else ():
        span, mode, *_ = line.split()
        if mode == "r-xp" and "libllvmlite" in line:
            start, stop = (int(address, 16) for address in span.split("-"))
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(stop - start), mmap.MADV_DONTNEED)


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
