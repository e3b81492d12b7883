"""Calls of the hub's library, and its HTTP client: patient, limited, refusals said with a remedy.

`limit_client` has the library use a client with patience and limits: our commands and jobs call it,
an import never does, nor does who opens a dataset; there the library's own client and its own
retries serve.

Invariants: of an error or of JSON at most `MAX_ANSWER_BYTES` are read, and nothing compressed is
taken, so no more comes of them; what the library then parses is JSON that ends; the library sees no
redirect out of the web, and no commit, hash or size that it would make a path or a number of; an
answer begins in time, and a body that hardly moves is broken off. What a server did otherwise is
said in one line. What passes by itself (429, 5xx, connections that break or stall) is tried again a
bounded number of times, request by request, and every wait is said.
"""

import json
import re
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from contextlib import contextmanager
from contextvars import ContextVar, copy_context
from dataclasses import dataclass
from functools import cache, partial
from math import inf
from pathlib import Path
from typing import Any

import httpx2
from huggingface_hub import HfApi, constants, get_session, set_client_factory
from huggingface_hub.utils import logging as hub_logging

from codedata.errors import CodedataError
from codedata.hub.refusals import (
    PASSING,
    REFUSED,
    HubError,
    Kind,
    ServerError,
    UnreachableError,
    no_hub,
    passes,
    refusal,
    why_passing,
    why_status,
)
from codedata.layout import is_commit
from codedata.places import local_path
from codedata.printable import shortened
from codedata.progress import TERMINAL, Reporter
from codedata.store.given_up import require_wanted, sleep

ASKING_SECONDS = 10
"""How long a hub that is not reached is asked for a name that may be a misspelt folder."""

MAX_ANSWER_BYTES = 1_000_000
"""Of an error or of JSON. The hub's pages of a listing have half of it."""

WAITS = (1, 2, 4, 8, 16, 32)
"""Seconds before each new try; a minute in all."""

_LONGEST_WAIT = 300
"""Seconds that a server may ask for: the hub's windows are of five minutes."""

_ANSWER_SECONDS = 120.0
"""Until an answer begins, where the library names no limit: a commit may take a while."""

_SLOWEST_BYTES = 1_000
"""A second, on average: what is slower is broken off, and tried again."""

_ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)


def is_etag(etag: str) -> bool:
    """Whether it is git's hash of a blob, or the sha256 of a large file."""
    return _ETAG.fullmatch(etag) is not None


@dataclass
class Call:
    """What the requests of this context are for; see `made`.

    Attributes:
        repo: `owner/name`.
        kind: which of the hub's lists the repository is in.
        revision: branch, tag or commit.
        path: of a file in the repository.
        reporter: told of every wait.
        patient: whether to wait at all.
        within: seconds after which a hub that is not reached is given up; one that answers, be it
            that it has no time now, is waited for as ever.
    """

    repo: str
    kind: Kind
    revision: str
    path: str | None = None
    reporter: Reporter = TERMINAL  # of threads of the library's own
    patient: bool = True
    within: float = inf

    def __post_init__(self) -> None:
        self.until = time.monotonic() + self.within
        self.what = self.path or f"{self.repo} at {self.revision}"

    @contextmanager
    def made(self) -> Iterator[None]:
        """Call the hub's library.

        Raises:
            NoSuchFileError: the repository has no such file.
            HubError: the hub refuses, or is not reached; with the remedy.
            OSError: this machine's disk does not take what arrives.
        """
        cache_home(constants.HF_HUB_CACHE)
        token = CALL.set(self)
        try:
            yield
        except CodedataError:
            raise
        except REFUSED as error:
            raise refusal(error, self.repo, self.kind, self.revision, self.path) from error
        finally:
            CALL.reset(token)

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
        sleep(seconds)


CALL: ContextVar[Call] = ContextVar("CALL", default=Call("", "model", "", "the hub"))  # noqa: B039


@cache
def limit_client() -> None:
    """Have the hub's library use a client with patience and limits from now on in this process."""
    set_client_factory(partial(_LimitedClient, get_session().event_hooks["request"]))
    hub_logging.set_verbosity_error()  # it warns of what is said here, with signed addresses


def cache_home(folder: str) -> Path:
    """A folder of the hub's library, which for a user without a home would be one named `~`.

    Raises:
        HubError: it is no folder of this machine.
    """
    return local_path(folder, "the hub's cache (HF_HOME)", error=HubError)


def newest_commit(repo: str, *, kind: Kind, revision: str, reporter: Reporter) -> str:
    """The commit that a revision stands for now: one request.

    Raises:
        HubError: see `Call.made`.
    """
    with Call(repo, kind, revision, reporter=reporter).made():
        info = HfApi().repo_info(
            repo,
            repo_type=kind,
            revision=revision,
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
            expand=["sha"],  # pyright: ignore[reportArgumentType]  (a list, as of each kind's own)
        )
    if info.sha is None or not is_commit(info.sha):
        raise no_hub(repo)
    return info.sha


class _LimitedClient(httpx2.Client):
    """A client for `huggingface_hub.set_client_factory`; proxies and certificates as by default.

    Args:
        request_hooks: those of the library's own client, by which it goes offline.
    """

    def __init__(self, request_hooks: Sequence[Callable[..., Any]]) -> None:
        super().__init__(
            event_hooks={"request": [*request_hooks], "response": [_limit]},
            follow_redirects=True,
            headers={"Accept-Encoding": "identity"},
        )

    def send(
        self, request: httpx2.Request, *, stream: bool = False, **options: Any
    ) -> httpx2.Response:
        """Send a request, again where it fails for a reason that passes.

        Raises:
            HubError: it failed too often, or the answer is none that a hub gives.
        """
        call, num_tries = CALL.get(), 0
        # A body that is a stream is rewound by the library, which tries again in its own way.
        is_replayable = isinstance(request.stream, httpx2.ByteStream)
        while True:
            num_tries += 1
            try:
                response = self._send(request, call, stream=stream, **options)
            except httpx2.TransportError as error:
                if not is_replayable or not passes(error):
                    raise
                call.wait(num_tries, why_passing(error))
                continue
            call.until = inf  # it is reached
            if not is_replayable or response.status_code not in PASSING:
                return response
            response.close()
            call.wait(num_tries, why_status(response), _asked_wait(response.headers))

    def _send(
        self, request: httpx2.Request, call: Call, *, stream: bool, **options: Any
    ) -> httpx2.Response:
        seconds = request.extensions.get("timeout", {}).get("read") or _ANSWER_SECONDS
        seconds = max(0.01, min(seconds, call.until - time.monotonic()))
        timeout = dict.fromkeys(("connect", "read", "write", "pool"), seconds)
        request.extensions = {**request.extensions, "timeout": timeout}
        upload_seconds = int(request.headers.get("Content-Length", 0)) / _SLOWEST_BYTES
        send = super().send
        response = _in_time(
            lambda: send(request, stream=True, **options), seconds + upload_seconds, request
        )
        if not isinstance(response.stream, httpx2.ByteStream):
            response.stream = _Body(response.stream, seconds, call if stream else None)
        if not stream:
            try:
                if "Range" in request.headers and response.status_code == 200:
                    raise _wrong(
                        response,
                        "sends all of a file of which a part was asked for; leave first_chars out, "
                        "which fetches the whole file",
                    )
                _require_range(response)
                response.read()
            finally:
                response.close()
        return response


class _Body(httpx2.SyncByteStream):
    """A body that must move on; with a call, it is said where the library will ask for the rest."""

    def __init__(self, stream: Any, seconds: float, call: Call | None = None) -> None:
        self._stream = stream
        self._seconds = seconds
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        started, num_bytes = time.monotonic(), 0
        try:
            for block in self._stream:
                require_wanted()
                num_bytes += len(block)
                allowed = self._seconds + num_bytes / _SLOWEST_BYTES
                if time.monotonic() - started > allowed:
                    raise httpx2.ReadTimeout(f"{num_bytes} bytes in {allowed:.0f} s")
                yield block
        except httpx2.TransportError as error:
            if self._call is not None:
                self._call.reporter.say(f"{self._call.what}: {why_passing(error)}; going on")
            if isinstance(error, httpx2.ReadError):  # which the library would not resume after
                raise httpx2.RemoteProtocolError(str(error)) from error
            raise

    def close(self) -> None:
        """Give the connection back."""
        self._stream.close()


def _asked_wait(headers: httpx2.Headers) -> float:
    """Seconds of Retry-After, or of the hub's own `RateLimit: "api";r=0;t=42`: nothing is left."""
    after = re.fullmatch(r"\s*(\d{1,9})\s*", headers.get("Retry-After", ""))
    limit = re.search(r";\s*r=0\s*;\s*t=(\d{1,9})\b", headers.get("RateLimit", ""))
    found = after or limit
    return int(found[1]) if found else 0


def _in_time(
    send: Callable[[], httpx2.Response], seconds: float, request: httpx2.Request
) -> httpx2.Response:
    """Wait no longer for an answer: neither looking up a name nor slow headers have a limit.

    Raises:
        httpx2.ReadTimeout: none began in time.
    """
    answer: Future[httpx2.Response] = Future()
    context = copy_context()

    def run() -> None:
        try:
            answer.set_result(context.run(send))
        except BaseException as error:  # noqa: BLE001  (it is raised where the answer is awaited)
            answer.set_exception(error)

    # An executor's thread would be waited for when the process ends.
    threading.Thread(target=run, name="a request to the hub", daemon=True).start()
    try:
        return answer.result(timeout=seconds)
    except TimeoutError as error:
        if answer.done():
            raise
        raise httpx2.ReadTimeout("no answer in time", request=request) from error


def _limit(response: httpx2.Response) -> None:
    """Refuse what the library would stumble over; read what is to be an error or JSON."""
    headers, request, path = response.headers, response.request, response.request.url.path
    location = headers.get("Location", "").partition("?")[0]
    if response.is_redirect and re.match(r"(?!https?:)[a-z][a-z0-9+.-]*:", location, re.IGNORECASE):
        raise _wrong(
            response, f"redirects to {shortened(location)}, which is no address of the web"
        )
    if request.method == "HEAD" and response.status_code < 400 and "/resolve/" in path:
        etag = headers.get("X-Linked-Etag") or headers.get("ETag") or ""
        size = headers.get("X-Linked-Size") or headers.get("Content-Length") or ""
        commit = headers.get("X-Repo-Commit", "")
        is_file = is_etag(etag.removeprefix("W/").strip('"')) and size.isdecimal()
        is_on_the_way = response.is_redirect and not commit
        if not is_on_the_way and not (is_commit(commit) and is_file):
            raise no_hub(path)
    if (encoding := headers.get("Content-Encoding", "identity")) != "identity":
        how = shortened(encoding)
        raise _wrong(response, f"sends an answer compressed ({how}) that was asked for as it is")
    is_api = str(request.url).startswith(f"{constants.ENDPOINT}/api/")
    if response.is_redirect or response.is_error:
        response.stream = httpx2.ByteStream(_message(_read(response)))
    elif is_api or request.method not in ("GET", "HEAD"):
        body = _read(response)
        response.stream = httpx2.ByteStream(body)
        kinds = dict if "/revision/" in path else (dict, list)
        if is_api and request.method == "GET" and _parsed(body, kinds) is None:
            raise _wrong(
                response,
                f"answers {path} with {body[:20]!r}, which is not what the hub answers: a proxy or "
                "a login page may answer in its place",
            )


def _require_range(response: httpx2.Response) -> None:
    """Refuse an answer that is of other bytes than were asked for: a part has no hash to tell."""
    start = re.match(r"bytes=(\d+)-", response.request.headers.get("Range", ""))
    given = response.headers.get("Content-Range", "")
    if response.status_code == 206 and start and not given.startswith(f"bytes {start[1]}-"):
        raise httpx2.RemoteProtocolError(
            f"asked for bytes from {start[1]} on, the server answers with Content-Range "
            f"{shortened(given)!r}"
        )


def _read(response: httpx2.Response) -> bytes:
    """A body of bounded size, at once."""
    body, stream, path = bytearray(), response.stream, response.request.url.path
    for block in _Body(stream, response.request.extensions["timeout"]["read"]):
        body += block
        if len(body) > MAX_ANSWER_BYTES:
            stream.close()  # pyright: ignore[reportAttributeAccessIssue]
            if response.is_error or response.is_redirect:
                return b""
            raise _wrong(response, f"answers {path} with more than {MAX_ANSWER_BYTES:,} bytes")
    return bytes(body)


def _message(body: bytes) -> bytes:
    """An error's body reduced to what it says, in the one form that the library always reads."""
    said = _parsed(body, dict) or {}
    texts = {key: shortened(text) for key, text in said.items() if isinstance(text, str)}
    errors = said.get("errors")
    nested = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    messages = [*(each.get("message") for each in nested), said.get("error")]
    if joined := "; ".join(dict.fromkeys(each for each in messages if isinstance(each, str))):
        texts["error"] = shortened(joined)
    return json.dumps(texts).encode()


def _parsed(body: bytes, kinds: type | tuple[type, ...]) -> Any:
    """JSON of some kinds; nothing where it is none of them."""
    try:
        found = json.loads(body)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, kinds) else None


def _wrong(response: httpx2.Response, what: str) -> ServerError:
    url = response.request.url
    return ServerError(f"{url.scheme}://{url.netloc.decode()} {what}")
