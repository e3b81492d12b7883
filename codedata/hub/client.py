"""Calls of the hub's library: what passes by itself is waited for, what the hub refuses is said.

What passes (429, 5xx, connections that break or stall) is tried again a bounded number of times,
request by request, and every wait is said. `limit_client` has the library use a client that does
so, and has limits (`codedata.hub.limits`): our commands and jobs call it, an import never does, nor
does who opens a dataset; there the library's own client and its own retries serve.
"""

import re
import time
from collections.abc import Callable
from contextlib import suppress
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from functools import cache
from math import inf
from typing import Any, TypeVar

import httpx2
from huggingface_hub import HfApi, constants, set_client_factory
from huggingface_hub.utils import logging as hub_logging

from codedata.errors import CodedataError
from codedata.hub.limits import LimitedClient
from codedata.hub.refusals import (
    COMMIT,
    REFUSED,
    Kind,
    UnreachableError,
    no_hub,
    passes,
    refusal,
    status_passes,
    why_passing,
    why_status,
)
from codedata.progress import TERMINAL, Reporter

T = TypeVar("T")

WAITS = (1, 2, 4, 8, 16, 32)
"""Seconds before each new try; a minute in all."""

ASKING_SECONDS = 10
"""How long a hub that is not reached is asked for a name that may be a misspelt folder."""

_LONGEST_WAIT = 300
"""Seconds that a Retry-After may ask for: the hub's windows are of five minutes."""

_FOR_EVER = 1e9


@dataclass
class _Call:
    """What the requests of this context are for.

    Attributes:
        what: names it in messages.
        reporter: told of every wait.
        waits: before each new try.
        within: seconds after which a hub that is not reached is given up; one that answers, be it
            that it has no time now, is waited for as ever.
        until: when they are over.
    """

    what: str = "the hub"
    reporter: Reporter = TERMINAL  # of threads of the library's own
    waits: tuple[float, ...] | None = None
    within: float = inf
    until: float = inf

    def wait(self, num_tries: int, why: str, asked: float = 0) -> None:
        """Wait before the next try, after so many.

        Raises:
            UnreachableError: there were enough.
        """
        waits = WAITS if self.waits is None else self.waits
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


_NOTHING = _Call()
_CALL: ContextVar[_Call] = ContextVar("_CALL", default=_NOTHING)


class _PatientClient(LimitedClient):
    """A client that waits for what passes."""

    def send(self, request: httpx2.Request, **options: Any) -> httpx2.Response:
        """Send a request, again where it fails for a reason that passes.

        Raises:
            HubError: it failed too often, or the answer is none that a hub gives.
        """
        call, num_tries = _CALL.get(), 0
        # A body that is a stream is rewound by the library, which tries again in its own way.
        is_replayable = isinstance(request.stream, httpx2.ByteStream)
        while True:
            num_tries += 1
            try:
                response = super().send(request, **options)
            except httpx2.TransportError as error:
                if not is_replayable or not passes(error):
                    raise
                call.wait(num_tries, why_passing(error))
                continue
            if not is_replayable or not status_passes(response):
                return response
            response.close()
            call.until = inf
            call.wait(num_tries, why_status(response), _asked_wait(response.headers))

    def seconds_for(self, request: httpx2.Request) -> float:
        """Seconds in which something must arrive."""
        left = _CALL.get().until - time.monotonic()
        return max(0.01, min(super().seconds_for(request), left))

    def transfer_broke(self, error: httpx2.TransportError) -> None:
        """Say that a body ended early, and the library will ask for the rest."""
        call = _CALL.get()
        call.reporter.say(f"{call.what}: {why_passing(error)}; going on")


@cache
def limit_client() -> None:
    """Have the hub's library use a client with patience and limits from now on in this process."""
    set_client_factory(_PatientClient)
    hub_logging.set_verbosity_error()  # of what is said here, with signed addresses


def ask(
    what: str,
    request: Callable[[], T],
    reporter: Reporter,
    *,
    repo: str,
    kind: Kind,
    revision: str | None = None,
    path: str | None = None,
    patient: bool = True,
    within: float = inf,
) -> T:
    """Make a call of the hub's library.

    Args:
        what: names it in messages.
        request: the call.
        reporter: told of every wait.
        repo: that it is about, for messages.
        kind: of the repository.
        revision: that was asked for.
        path: that was asked for.
        patient: whether to wait at all.
        within: seconds after which a hub that is not reached is given up.

    Raises:
        NoSuchFileError: the repository has no such file.
        HubError: the hub refuses, or is not reached; with the remedy.
        OSError: this machine's disk does not take what arrives.
    """
    waits = None if patient else ()
    token = _CALL.set(_Call(what, reporter, waits, within, time.monotonic() + within))
    try:
        return request()
    except CodedataError:
        raise
    except REFUSED as error:
        raise refusal(error, repo=repo, kind=kind, revision=revision, path=path) from error
    finally:
        _CALL.reset(token)


def _asked_wait(headers: httpx2.Headers) -> float:
    """Seconds of Retry-After, or of the hub's own `RateLimit: "api";r=0;t=42`."""
    after = headers.get("Retry-After", "").strip()
    if after.isdecimal():
        return min(float(after), _FOR_EVER)
    with suppress(ValueError, TypeError):  # a date, against the hub's own clock
        until = parsedate_to_datetime(after)
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return max(0.0, (until - now).total_seconds())
    limit = re.search(r";\s*r=0\s*;\s*t=(\d{1,6})", headers.get("RateLimit", ""))
    return float(limit[1]) if limit else 0


def newest_commit(
    repo: str, *, kind: Kind, revision: str, reporter: Reporter, patient: bool = True
) -> str:
    """The commit that a revision stands for now: one request.

    Raises:
        HubError: see `ask`.
    """
    info = ask(
        f"{repo} at {revision}",
        lambda: HfApi().repo_info(
            repo,
            repo_type=kind,
            revision=revision,
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
            expand=["sha"],  # pyright: ignore[reportArgumentType]  (a list, as of each kind's own)
        ),
        reporter,
        repo=repo,
        kind=kind,
        revision=revision,
        patient=patient,
    )
    if info.sha is None or not COMMIT.fullmatch(info.sha):
        raise no_hub(repo)
    return info.sha
