"""The HTTP client of the hub's library: what passes is waited for, what a server sends is limited.

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
from contextvars import copy_context
from math import inf
from typing import Any, TypeVar

import httpx2
from huggingface_hub import constants

from codedata.hub.refusals import (
    COMMIT,
    ETAG,
    PASSING,
    ServerError,
    no_hub,
    passes,
    why_passing,
    why_status,
)
from codedata.hub.waiting import CALL, Call, asked_wait
from codedata.printable import shortened

T = TypeVar("T")

MAX_ANSWER_BYTES = 1_000_000
"""Of an error or of JSON. The hub's pages of a listing have half of it."""

_ANSWER_SECONDS = 120.0
"""Until an answer begins, where the library names no limit: a commit may take a while."""

_SLOWEST_BYTES = 1_000
"""A second, on average: what is slower is broken off, and tried again."""


class LimitedClient(httpx2.Client):
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
            call.wait(num_tries, why_status(response), asked_wait(response.headers))

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
        if stream:
            return response
        try:
            if "Range" in request.headers and response.status_code == 200:
                raise _wrong(
                    response,
                    "sends all of a file of which a part was asked for; leave first_chars out, "
                    "which fetches the whole file",
                )
            response.read()
        finally:
            response.close()
        return response


class _Body(httpx2.SyncByteStream):
    """A body that must move on; with a call, it is said where the library will ask for the rest."""

    def __init__(self, stream: Any, seconds: float, call: Call | None) -> None:
        self._stream = stream
        self._seconds = seconds
        self._call = call

    def __iter__(self) -> Iterator[bytes]:
        started, num_bytes = time.monotonic(), 0
        try:
            for block in self._stream:
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


def _in_time(send: Callable[[], T], seconds: float, request: httpx2.Request) -> T:
    """Wait no longer for an answer: neither looking up a name nor slow headers have a limit.

    Raises:
        httpx2.ReadTimeout: none began in time.
    """
    answer: Future[T] = Future()
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
    location = headers.get("Location", "")
    if response.is_redirect and re.match(r"(?!https?:)[a-z][a-z0-9+.-]*:", location, re.IGNORECASE):
        where = shortened(location.split("?")[0])
        raise _wrong(response, f"redirects to {where}, which is no address of the web")
    for name in ("Content-Length", "X-Linked-Size"):
        if not headers.get(name, "0").isdecimal():
            size = shortened(headers[name])
            raise _wrong(response, f"states {name} {size!r}, which is no size")
    if request.method == "HEAD" and response.status_code < 400 and "/resolve/" in path:
        etag = headers.get("X-Linked-Etag") or headers.get("ETag") or ""
        commit = headers.get("X-Repo-Commit", "")
        is_on_the_way = response.is_redirect and not commit
        is_hub = COMMIT.fullmatch(commit) and ETAG.fullmatch(etag.removeprefix("W/").strip('"'))
        if not is_hub and not is_on_the_way:
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
        _require_json(response, body, strict=is_api and request.method == "GET")
    elif "Range" in request.headers:
        _require_range(response)


def _read(response: httpx2.Response) -> bytes:
    """A body of bounded size, at once."""
    body, stream, path = bytearray(), response.stream, response.request.url.path
    seconds = response.request.extensions["timeout"]["read"]
    for block in _Body(stream, seconds, None):
        body += block
        if len(body) > MAX_ANSWER_BYTES:
            stream.close()  # pyright: ignore[reportAttributeAccessIssue]
            if response.is_error or response.is_redirect:
                return b""
            raise _wrong(response, f"answers {path} with more than {MAX_ANSWER_BYTES:,} bytes")
    return bytes(body)


def _message(body: bytes) -> bytes:
    """An error's body reduced to what it says, in the one form that the library always reads."""
    try:
        answer: Any = json.loads(body)
    except (ValueError, RecursionError):
        return b""
    if not isinstance(answer, dict):
        return b""
    errors = answer.get("errors")
    nested = [each for each in errors if isinstance(each, dict)] if isinstance(errors, list) else []
    said = [*(each.get("message") for each in nested), answer.get("error")]
    known = {key: value for key, value in answer.items() if isinstance(value, str)}
    known["error"] = shortened("; ".join(each for each in said if isinstance(each, str)))
    return json.dumps(known).encode()


def _require_json(response: httpx2.Response, body: bytes, *, strict: bool) -> None:
    path = response.request.url.path
    try:
        is_right = isinstance(json.loads(body), dict if "/revision/" in path else (dict, list))
    except RecursionError as error:
        raise _wrong(response, f"answers {path} with JSON nested without end") from error
    except ValueError:
        is_right = False
    if strict and not is_right:
        raise _wrong(
            response,
            f"answers {path} with {body[:20]!r}, which is not what the hub answers: a proxy or a "
            "login page may answer in its place",
        )


def _require_range(response: httpx2.Response) -> None:
    """Refuse an answer that is of other bytes than were asked for: a part has no hash to tell."""
    start = re.match(r"bytes=(\d+)-", response.request.headers["Range"])
    given = response.headers.get("Content-Range", "")
    if response.status_code == 206 and start and not given.startswith(f"bytes {start[1]}-"):
        raise httpx2.RemoteProtocolError(
            f"asked for bytes from {start[1]} on, the server answers with Content-Range "
            f"{shortened(given)!r}"
        )


def _wrong(response: httpx2.Response, what: str) -> ServerError:
    url = response.request.url
    return ServerError(f"{url.scheme}://{url.netloc.decode()} {what}")
