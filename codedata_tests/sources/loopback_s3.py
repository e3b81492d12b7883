"""moto's server as Amazon's S3, and a gate before it that answers otherwise where it is told to.

The gate lets every method through, bodies and headers as they are, and knows what each request is
about. What it does instead is a fault by kind; lists can lag behind what went through it.
"""

import http.client
import re
import threading
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from random import Random
from typing import Literal, NamedTuple
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import unescape

RESET, STALL, LOST, CUT = -1, -2, -3, -4
"""Answers that are none: the connection is closed, nothing comes, it is closed once the server did
what was asked, or after half of the answer."""

Kind = Literal["PUT", "CREATE", "GET", "LIST", "DELETE", "HEAD"]
"""What a request does; CREATE is a PUT that is to succeed only where nothing is."""


class Refusal(NamedTuple):
    """An answer of the gate's own."""

    status: int
    code: str

    @property
    def body(self) -> bytes:
        """As S3 writes it."""
        said = (
            f"<Error><Code>{self.code}</Code><Message>The gate says {self.code}.</Message></Error>"
        )
        return said.encode()


SLOW_DOWN = Refusal(503, "SlowDown")
UNAVAILABLE = Refusal(503, "ServiceUnavailable")
BROKEN = Refusal(500, "InternalError")
DENIED = Refusal(403, "AccessDenied")
EXPIRED = Refusal(400, "ExpiredToken")
NO_QUOTA = Refusal(403, "QuotaExceeded")
NO_ROOM = Refusal(507, "InsufficientStorage")

Fault = Refusal | int | None
"""A refusal, a status, or one of those that are no answer; None lets the request through."""


class Request(NamedTuple):
    """What is asked for: the kind, and a bucket and key; of a LIST the prefix."""

    kind: Kind
    path: str


@dataclass(kw_only=True)
class Gate:
    """What stands before the server.

    Attributes:
        address: its URL.
        answers: by path, statuses to give instead of what the server says, one a request.
        fault: says of each request what becomes of it.
        lag_seconds: for so long a list does not show what was put or removed.
        asked: requests by path.
        requests: all, in their order.
        most_at_once: requests that were under way at the same time.
        delay_seconds: before each answer.
    """

    address: str = ""
    answers: dict[str, list[int]] = field(default_factory=dict)
    fault: Callable[[Request], Fault] = lambda _: None
    lag_seconds: float = 0.0
    asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    requests: list[Request] = field(default_factory=list)
    most_at_once: int = 0
    delay_seconds: float = 0.0
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)
    changed: dict[str, float] = field(default_factory=dict)
    listed: dict[str, bytes] = field(default_factory=dict)

    def counts(self) -> Counter[Kind]:
        """How often each kind was asked for."""
        return Counter(request.kind for request in self.requests)

    def as_it_was(self, bucket: str, prefix: str, page: bytes) -> bytes:
        """A page of a list without what changed within `lag_seconds`."""
        until = time.monotonic() - self.lag_seconds
        with self.lock:
            late = {path for path, when in self.changed.items() if when > until}
            entries = re.findall(rb"<Contents>.*?</Contents>", page, re.DOTALL)
            shown = {f"{bucket}/{_key_of(entry)}": entry for entry in entries}
            for path in shown.keys() & late:
                if path not in self.listed:
                    page = page.replace(shown[path], b"")
            gone = (late & self.listed.keys()) - shown.keys()
            self.listed |= {path: entry for path, entry in shown.items() if path not in late}
            for path in self.changed.keys() - late - shown.keys():
                self.listed.pop(path, None)
            if b"<IsTruncated>true" not in page:
                again = [
                    self.listed[each] for each in gone if each.startswith(f"{bucket}/{prefix}")
                ]
                page = page.replace(
                    b"</ListBucketResult>", b"".join(again) + b"</ListBucketResult>"
                )
        return page


def sometimes(random: Random, share: float, *faults: Fault) -> Callable[[Request], Fault]:
    """One of some faults, for a share of the requests."""
    return lambda _: random.choice(faults) if random.random() < share else None


def times(number: int, fault: Fault, *kinds: Kind) -> Callable[[Request], Fault]:
    """A fault for the first requests of some kinds."""
    left = [fault] * number

    def next_fault(request: Request) -> Fault:
        return left.pop() if request.kind in kinds and left else None

    return next_fault


def _key_of(entry: bytes) -> str:
    key = re.search(rb"<Key>(.*?)</Key>", entry, re.DOTALL)
    assert key is not None
    return unescape(unquote(key[1].decode()))


_OURS = {"connection", "content-length", "transfer-encoding", "date", "server"}
"""Headers of an answer that the gate writes itself."""


class _Handler(BaseHTTPRequestHandler):
    gate: Gate
    port: int
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base names it)
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        gate, request, body = self.gate, self._request(), self._body()
        with gate.lock:
            gate.asked[self.path] += 1
            gate.requests.append(request)
            gate.under_way += 1
            gate.most_at_once = max(gate.most_at_once, gate.under_way)
            answers = gate.answers.get(self.path)
            fault = answers.pop(0) if answers else gate.fault(request)
        gate.closing.wait(gate.delay_seconds)
        with gate.lock:
            gate.under_way -= 1
        if isinstance(fault, Refusal):
            self._send(fault.status, fault.body, {"Content-Type": "application/xml"})
        elif fault is not None and fault > 0:
            self._send(fault, SLOW_DOWN.body, {})
        elif fault in (RESET, STALL):
            if fault == STALL:
                gate.closing.wait(60)
            self.close_connection = True
        else:
            self._let_through(request, body, fault)

    do_PUT = do_HEAD = do_DELETE = do_POST = do_GET  # noqa: N815  (the base looks for these)

    def _request(self) -> Request:
        url = urlsplit(self.path)
        path, query = unquote(url.path).lstrip("/"), parse_qs(url.query, keep_blank_values=True)
        if self.command == "GET" and "list-type" in query:
            [prefix] = query.get("prefix", [""])
            return Request("LIST", f"{path.rstrip('/')}/{prefix}")
        if self.command == "POST":  # of the S3 API, only what removes several is asked for
            return Request("DELETE", path)
        if self.command == "PUT" and "If-None-Match" in self.headers:
            return Request("CREATE", path)
        kinds: dict[str, Kind] = {
            "GET": "GET", "PUT": "PUT", "DELETE": "DELETE", "HEAD": "HEAD",
        }  # fmt: skip
        return Request(kinds[self.command], path)

    def _body(self) -> bytes:
        assert "Transfer-Encoding" not in self.headers, "the clients of these tests tell lengths"
        return self.rfile.read(int(self.headers.get("Content-Length", 0)))

    def _let_through(self, request: Request, body: bytes, fault: Fault) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        try:
            connection.request(self.command, self.path, body or None, dict(self.headers.items()))
            answer = connection.getresponse()
            page = answer.read()
        finally:
            connection.close()
        bucket, _, rest = request.path.partition("/")
        if request.kind in ("PUT", "CREATE", "DELETE") and answer.status < 300:
            with self.gate.lock:
                self.gate.changed[request.path] = time.monotonic()
        elif request.kind == "LIST" and self.gate.lag_seconds:
            page = self.gate.as_it_was(bucket, rest, page)
        if fault == LOST:
            self.close_connection = True
            return
        headers = {name: value for name, value in answer.getheaders() if name.lower() not in _OURS}
        num_bytes = len(page)
        if request.kind == "HEAD":
            num_bytes = int(answer.headers.get("Content-Length", 0))
        self._send(answer.status, page, headers, num_bytes, cut=fault == CUT)

    def _send(
        self,
        status: int,
        body: bytes,
        headers: dict[str, str],
        num_bytes: int | None = None,
        *,
        cut: bool = False,
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body) if num_bytes is None else num_bytes))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body[: len(body) // 2] if cut else body)
        if cut:
            self.close_connection = True


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of five, the others' connections would be refused

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that goes is no error."""


@contextmanager
def gate_before(port: int) -> Iterator[Gate]:
    """A gate before the server at a port of this machine, as long as the block lasts."""
    gate = Gate()
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"gate": gate, "port": port}))
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    gate.address = f"http://127.0.0.1:{server.server_port}"
    try:
        yield gate
    finally:
        gate.closing.set()
        server.shutdown()
        server.server_close()


def wait_until(condition: object, seconds: float = 10.0) -> None:
    """Wait for something that another thread or process does."""
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)
