"""What requests to the hub are for, and how long they are tried again."""

import re
import time
from contextvars import ContextVar
from dataclasses import dataclass
from math import inf

import httpx2

from codedata.hub.refusals import UnreachableError
from codedata.progress import TERMINAL, Reporter

WAITS = (1, 2, 4, 8, 16, 32)
"""Seconds before each new try; a minute in all."""

_LONGEST_WAIT = 300
"""Seconds that a server may ask for: the hub's windows are of five minutes."""


@dataclass
class Call:
    """What the requests of this context are for.

    Attributes:
        what: names it in messages.
        reporter: told of every wait.
        patient: whether to wait at all.
        within: seconds after which a hub that is not reached is given up; one that answers, be it
            that it has no time now, is waited for as ever.
    """

    what: str = "the hub"
    reporter: Reporter = TERMINAL  # of threads of the library's own
    patient: bool = True
    within: float = inf

    def __post_init__(self) -> None:
        self.until = time.monotonic() + self.within

    def wait(self, num_tries: int, why: str, asked: float = 0) -> None:
        """Wait before the next try, after so many.

        Raises:
            UnreachableError: there were enough.
        """
        waits = WAITS if self.patient else ()
        is_last = num_tries > len(waits) or asked > _LONGEST_WAIT
        seconds = 0 if is_last else max(waits[num_tries - 1], asked)
        if is_last or time.monotonic() + seconds > self.until:
            much = f" and asks to wait {asked:.0f} s" if asked > _LONGEST_WAIT else ""
            tries = f"after {num_tries} tries in a row" if num_tries > 1 else "at once"
            if self.until < inf:
                tries = f"within {self.within:.0f} s"
            raise UnreachableError(f"{why}{much}; given up {tries}; run again later")
        self.reporter.say(
            f"{self.what}: {why}; trying again in {seconds:.0f} s ({num_tries} of {len(waits)})"
        )
        time.sleep(seconds)


CALL: ContextVar[Call] = ContextVar("CALL", default=Call())  # noqa: B039  (it is nobody's)


def asked_wait(headers: httpx2.Headers) -> float:
    """Seconds of Retry-After, or of the hub's own `RateLimit: "api";r=0;t=42`."""
    after = re.fullmatch(r"\s*(\d{1,9})\s*", headers.get("Retry-After", ""))
    limit = re.search(r";\s*r=0\s*;\s*t=(\d{1,9})", headers.get("RateLimit", ""))
    found = after or limit
    return float(found[1]) if found else 0
