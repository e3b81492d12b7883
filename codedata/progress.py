"""Finished chunks and arriving bytes -> log lines with rate and remaining time, or bars.

A run has a log; where it belongs to a command too, its stderr shows what the run waits for, and,
if it is a terminal, bars. How much of it is told is the level of the logger `codedata`: a library
leaves that to its program, a command line sets it.
"""

import logging
import shutil
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import IntEnum
from threading import Lock
from typing import Any

from tqdm import tqdm

from codedata.format.ranges import CharRange
from codedata.printable import printable

logger = logging.getLogger("codedata")


class Verbosity(IntEnum):
    """How much a command tells beside its results, as a level of logging."""

    QUIET = logging.ERROR
    NORMAL = logging.WARNING
    VERBOSE = logging.INFO


@contextmanager
def telling(verbosity: Verbosity) -> Iterator[None]:
    """Have this process tell so much on stderr, as long as a command runs."""
    level, handler = logger.level, logging.StreamHandler()
    logger.setLevel(verbosity)
    logger.addHandler(handler)
    try:
        yield
    finally:
        logger.setLevel(level)
        logger.removeHandler(handler)


SHOW_BARS = ContextVar("SHOW_BARS", default=False)
"""Whether runs in this context belong to a command, whose user is shown how far they are."""

_FEW_CHUNKS = 100
"""Up to so many have a line each in a run's log; of more, lines that come one after the other."""

_LINE_SECONDS = 5.0
"""Between two lines about one transfer."""

_ERASE_LINE = "\r\x1b[K"

_BAR_DELAY_SECONDS = 0.5
"""A small file is here before a bar would be seen."""


_WAITED_FOR: list[str] = []
"""What the terminal shows: the last of what a command is doing, each a part of the one before."""


def _show_waited_for() -> None:
    if _WAITED_FOR:
        line = f"{_WAITED_FOR[-1]} ..."[: shutil.get_terminal_size().columns - 1]  # on one line
        print(f"{_ERASE_LINE}{line}", end="\r", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Reporter:
    """Where a run says what it does.

    Attributes:
        log: takes a line for the run's log.
        in_terminal: whether a command's stderr shows bars, and what is said.
    """

    log: Callable[[str], None]
    in_terminal: bool

    @property
    def shows_bars(self) -> bool:
        """Whether bars are drawn: on a terminal, where neither less nor more is asked for."""
        return self._tells and sys.stderr.isatty()

    @property
    def _tells(self) -> bool:
        return self.in_terminal and logger.getEffectiveLevel() == Verbosity.NORMAL

    def say(self, line: str) -> None:
        """Tell what a user would wonder about: in the log, and beside a command's results."""
        line = printable(line)
        self.log(line)
        if self._tells:
            if self.shows_bars and _WAITED_FOR:
                print(end=_ERASE_LINE, file=sys.stderr)
            tqdm.write(line, file=sys.stderr)
            _show_waited_for()

    def say_in_place_of_bar(self, line: str) -> None:
        """Tell what a bar would show, where a command's stderr is a file or a pipe."""
        if self._tells and not sys.stderr.isatty():
            print(line, file=sys.stderr, flush=True)

    @contextmanager
    def waiting(self, what: str) -> Iterator[None]:
        """Show on a terminal what a command is doing, as long as it does."""
        self.log(what)
        if not self.shows_bars:
            yield
            return
        _WAITED_FOR.append(printable(what))
        try:
            _show_waited_for()
            yield
        finally:
            _WAITED_FOR.pop()
            print(end=_ERASE_LINE, file=sys.stderr, flush=True)
            _show_waited_for()

    @contextmanager
    def step(self, what: str) -> Iterator[None]:
        """Show what a run is doing: on a terminal as long as it does, in a pipe as a line."""
        self.say_in_place_of_bar(printable(what))
        with self.waiting(what):
            yield

    def transfer(self, name: str, doing: str = "Fetching", done: str = "fetched") -> "Transfer":
        """Bytes that are about to arrive; to be used in a `with` block."""
        return Transfer(self, name, doing, done)

    @contextmanager
    def tokenizing(
        self, name: str, *, reused: Sequence[CharRange], missing: Sequence[CharRange]
    ) -> Iterator[Callable[[CharRange, int], None]]:
        """Chunks that are about to be tokenized: what to call with each finished one's tokens.

        Args:
            name: of what they are of.
            reused: the chunks that an earlier run left.
            missing: those to tokenize.
        """
        title = f"Tokenizing {printable(name)}"
        done, num_chunks = len(reused), len(reused) + len(missing)
        start = (
            f"{done} of {num_chunks} chunks are unchanged and reused, {len(missing)} to tokenize"
        )
        self.log(start)
        if missing:
            self.say_in_place_of_bar(f"{title}: {start}")
        here, chars_done = sum(chars.num_chars for chars in reused), 0
        num_chars = sum(chars.num_chars for chars in missing)
        started = said = time.monotonic()
        with tqdm(
            desc=title,
            initial=here,
            total=here + num_chars,
            unit="char",
            unit_scale=True,
            disable=not (self.shows_bars and missing),
        ) as bar:

            def count(chars: CharRange, num_tokens: int) -> None:
                nonlocal done, chars_done, said
                done, chars_done = done + 1, chars_done + chars.num_chars
                bar.update(chars.num_chars)
                now = time.monotonic()
                rate = chars_done / max(now - started, 1e-9)
                far = (
                    f"{done} of {num_chunks} chunks, {rate / 1e6:.1f} M characters/s, "
                    f"{(num_chars - chars_done) / rate:.0f} s left"
                )
                is_due = done == num_chunks or now - said >= _LINE_SECONDS
                if is_due or num_chunks <= _FEW_CHUNKS:
                    self.log(f"chunk {chars.key}: {num_tokens:,} tokens; {far}")
                if is_due:
                    said = now
                    self.say_in_place_of_bar(f"{title}: {far}")

            yield count

    @contextmanager
    def packing(self, name: str, *, num_chunks: int) -> Iterator[Callable[[int], None]]:
        """Chunks that are about to be packed: what to call with each packed one's tokens.

        Args:
            name: of what they are of.
            num_chunks: how many.
        """
        title = f"Packing {printable(name)}"
        done = num_tokens = 0
        started = said = time.monotonic()
        with tqdm(desc=title, total=num_chunks, unit="chunk", disable=not self.shows_bars) as bar:

            def count(tokens: int) -> None:
                nonlocal done, num_tokens, said
                done, num_tokens = done + 1, num_tokens + tokens
                bar.update()
                now = time.monotonic()
                if done == num_chunks or now - said >= _LINE_SECONDS:
                    said, seconds = now, max(now - started, 1e-9)
                    far = (
                        f"{done} of {num_chunks} chunks packed, {num_tokens / seconds / 1e6:.1f} M "
                        f"tokens/s, {seconds / done * (num_chunks - done):.0f} s left"
                    )
                    self.log(far)
                    self.say_in_place_of_bar(f"{title}: {far}")

            yield count


def reporter_of_run(log: Callable[[str], None]) -> Reporter:
    """The reporter of a run with a log, which shows what it does where a command runs it."""
    return Reporter(log, in_terminal=SHOW_BARS.get())


TERMINAL = Reporter(logger.info, in_terminal=True)
"""For commands that have no log of their own."""

SILENT = Reporter(lambda _: None, in_terminal=False)
"""For programs that print nothing."""


class Transfer:
    """Counts arriving bytes, from any thread.

    Attributes:
        arrived: how many did.
    """

    def __init__(self, reporter: Reporter, name: str, doing: str, done: str) -> None:
        self._reporter = reporter
        self._name, self._doing, self._done = printable(name), doing, done
        self.arrived = self._expected = 0
        self._started = self._said = time.monotonic()
        self._lock = Lock()
        self._bar: tqdm[Any] | None = None

    def __enter__(self) -> "Transfer":
        if self._reporter.shows_bars:
            name = f"{self._doing} {self._name.rsplit('/', 1)[-1]}"
            self._bar = tqdm(desc=name, unit="B", unit_scale=True, delay=_BAR_DELAY_SECONDS)
        return self

    def expect(self, num_bytes: int) -> None:
        """Say how much it will be in all, as far as that is known."""
        self._expected = num_bytes
        if self._bar is not None:
            self._bar.total = num_bytes

    def advance(self, num_bytes: int) -> None:
        """Count bytes that arrived."""
        with self._lock:
            self.arrived += num_bytes
            if self._bar is not None:
                self._bar.update(num_bytes)
            now = time.monotonic()
            if not self.arrived or now - self._said < _LINE_SECONDS:
                return
            self._said = now
            rate = self.arrived / (now - self._started)
            far = f"{megabytes(self.arrived)}, {megabytes(rate)}/s"
            if self._expected:
                left = max(0, self._expected - self.arrived) / rate
                expected = megabytes(max(self.arrived, self._expected))
                far = (
                    f"{megabytes(self.arrived)} of {expected}, {megabytes(rate)}/s, "
                    f"{left:.0f} s left"
                )
            self._tell(far)

    def __exit__(self, kind: object, *error: object) -> None:
        if self._bar is not None:
            self._bar.leave = bool(self.arrived)
            self._bar.close()
        if kind is None and self.arrived:
            seconds = max(time.monotonic() - self._started, 1e-9)
            self._tell(
                f"{megabytes(self.arrived)} {self._done} in {seconds:.1f} s, "
                f"{megabytes(self.arrived / seconds)}/s"
            )

    def _tell(self, far: str) -> None:
        self._reporter.log(f"{self._name}: {far}")
        self._reporter.say_in_place_of_bar(f"{self._doing} {self._name}: {far}")


def rounded(value: float) -> float:
    """A figure for a reader: four digits that say something."""
    return float(f"{value:.4g}")


def megabytes(num_bytes: float) -> str:
    """A number of bytes for a reader."""
    return f"{num_bytes / 1e6:,.1f} MB"
