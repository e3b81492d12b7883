"""moto's server as Amazon's S3, and a gate before it that answers otherwise where it is told to.

The gate lets every method through, bodies and headers as they are. What it does instead is given by
path or method, or by what a request is about; lists can lag behind what went through it.
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
from typing import Literal, NamedTuple, get_args
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import unescape

RESET, STALL, LOST, CUT = -1, -2, -3, -4
"""Answers that are none: the connection is closed, nothing comes, it is done and not said, or half
of what is said arrives."""

Answer = int | tuple[int, str]
"""A status, or one of those above; with a code: (403, "QuotaExceeded"). 0: what the server says."""

SLOW_DOWN, UNAVAILABLE, BROKEN = (
    (503, "SlowDown"),
    (503, "ServiceUnavailable"),
    (500, "InternalError"),
)
DENIED, EXPIRED = (403, "AccessDenied"), (400, "ExpiredToken")
NO_QUOTA, NO_ROOM = (403, "QuotaExceeded"), (507, "InsufficientStorage")

Kind = Literal["PUT", "CREATE", "GET", "LIST", "DELETE", "HEAD"]
"""What a request does; CREATE is a PUT that is to succeed only where nothing is."""


class Request(NamedTuple):
    """What is asked for: of a bucket and a key, or of what the keys of a list begin with."""

    kind: Kind
    path: str


_OF_THE_WAY = {
    *("connection", "content-length", "date", "expect", "server", "transfer-encoding"),
}
"""Headers that are the gate's own, for each of its two sides. A signature is of the host, too."""


@dataclass(kw_only=True)
class Gate:
    """What stands before the server.

    Attributes:
        address: its URL.
        answers: to give instead of what the server says, one a request; by path, by method, or by
            both, such as `PUT /bucket/key`.
        fault: what is given to others, by what they are about.
        lag_seconds: for so long a list does not show what was put or removed.
        asked: requests by path.
        requests: each, its method and its path with its query, in order.
        signed_by: the key of each, as far as they are signed.
        most_at_once: requests that were under way at the same time.
        gathers: so many requests before the first of them is answered.
        removed: headers that do not get through, in lower case.
    """

    address: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    fault: Callable[[Request], Answer] = lambda _: 0
    lag_seconds: float = 0.0
    asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    requests: list[tuple[str, str]] = field(default_factory=list)
    signed_by: list[str] = field(default_factory=list)
    most_at_once: int = 0
    gathers: int = 0
    removed: set[str] = field(default_factory=set)
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)
    kinds: Counter[Kind] = field(default_factory=Counter[Kind])
    changed: dict[str, float] = field(default_factory=dict[str, float])
    listed: dict[str, bytes] = field(default_factory=dict[str, bytes])

    def forget(self) -> None:
        """Be as at the start."""
        for each in (self.answers, self.asked, self.requests, self.signed_by, self.removed):
            each.clear()
        for each in (self.kinds, self.changed, self.listed):
            each.clear()
        self.fault = lambda _: 0
        self.most_at_once, self.gathers, self.lag_seconds = 0, 0, 0.0

    def answer_to(self, method: str, path: str, request: Request) -> Answer:
        """The next that is to be given; 0 for what the server says."""
        for key in (f"{method} {path}", path, method):
            if answers := self.answers.get(key):
                return answers.pop(0)
        return self.fault(request)

    def as_it_was(self, bucket: str, prefix: str, page: bytes) -> bytes:
        """A page of a list without what changed within `lag_seconds`."""
        until = time.monotonic() - self.lag_seconds
        entries = re.findall(rb"<Contents>.*?</Contents>", page, re.DOTALL)
        shown = {f"{bucket}/{_key_of(entry)}": entry for entry in entries}
        with self.lock:
            late = {path for path, when in self.changed.items() if when > until}
            for path in shown.keys() & late - self.listed.keys():
                page = page.replace(shown[path], b"")
            gone = (late & self.listed.keys()) - shown.keys()
            self.listed |= {path: entry for path, entry in shown.items() if path not in late}
            for path in self.changed.keys() - late - shown.keys():
                self.listed.pop(path, None)
            again = [self.listed[path] for path in gone if path.startswith(f"{bucket}/{prefix}")]
        if b"<IsTruncated>true" not in page:
            end = b"</ListBucketResult>"
            page = page.replace(end, b"".join(again) + end)
        return page


def sometimes(random: Random, share: float, *answers: Answer) -> Callable[[Request], Answer]:
    """One of some answers, for a share of the requests."""
    return lambda _: random.choice(answers) if random.random() < share else 0


def for_kinds(*kinds: Kind, answer: Answer, times: int) -> Callable[[Request], Answer]:
    """An answer for the first requests of some kinds."""
    left = [answer] * times
    return lambda request: left.pop() if left and request.kind in kinds else 0


def _key_of(entry: bytes) -> str:
    key = re.search(rb"<Key>(.*?)</Key>", entry, re.DOTALL)
    assert key is not None
    return unescape(unquote(key[1].decode()))


class _Handler(BaseHTTPRequestHandler):
    gate: Gate
    port: int
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else what follows the headers comes 40 ms later

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base names it)
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        gate, path, request = self.gate, self.path.partition("?")[0], self._request()
        body = self.rfile.read(num_bytes := int(self.headers.get("Content-Length", 0)))
        if len(body) < num_bytes:  # who asked is gone
            self.close_connection = True
            return
        with gate.lock:
            gate.asked[path] += 1
            gate.requests.append((self.command, self.path))
            gate.signed_by += re.findall("Credential=([^/]+)", self.headers["Authorization"] or "")
            gate.under_way += 1
            gate.most_at_once = max(gate.most_at_once, gate.under_way)
            gate.kinds[request.kind] += 1
            answer = gate.answer_to(self.command, path, request)
        for _ in range(3000):  # a minute, where they never come
            if gate.most_at_once >= gate.gathers or gate.closing.wait(0.02):
                break
        with gate.lock:
            gate.under_way -= 1
        status, code = answer if isinstance(answer, tuple) else (answer, "SlowDown")
        if status == STALL:
            gate.closing.wait(60)
        if status > 0:
            error = f"<Error><Code>{code}</Code><Message>So says the gate.</Message></Error>"
            self._send(status, error.encode(), {})
        elif status not in {RESET, STALL}:
            self._pass_on(request, body, status)
        self.close_connection |= status < 0

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815  (the base names them)

    def _request(self) -> Request:
        url = urlsplit(self.path)
        path, query = unquote(url.path).lstrip("/"), parse_qs(url.query, keep_blank_values=True)
        if self.command == "GET" and "list-type" in query:
            [prefix] = query.get("prefix", [""])
            return Request("LIST", f"{path.rstrip('/')}/{prefix}")
        if self.command == "POST":  # of its uses, only what removes several is asked for
            return Request("DELETE", path)
        if self.command == "PUT" and "If-None-Match" in self.headers:
            return Request("CREATE", path)
        [kind] = [kind for kind in get_args(Kind) if kind == self.command]
        return Request(kind, path)

    def _pass_on(self, request: Request, body: bytes, status: int) -> None:
        gate = self.gate
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=60)
        kept_back = _OF_THE_WAY | gate.removed
        headers = {name: v for name, v in self.headers.items() if name.lower() not in kept_back}
        try:
            connection.request(self.command, self.path, body, headers)
            answer = connection.getresponse()
            found = answer.read()
        finally:
            connection.close()
        if answer.status < 300 and request.kind in {"PUT", "CREATE", "DELETE"}:
            with gate.lock:
                gate.changed[request.path] = time.monotonic()
        elif request.kind == "LIST" and gate.lag_seconds:
            bucket, _, prefix = request.path.partition("/")
            found = gate.as_it_was(bucket, prefix, found)
        if status == LOST:
            return
        given = {name: v for name, v in answer.getheaders() if name.lower() not in _OF_THE_WAY}
        length = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(found))
        self._send(
            answer.status, found[: len(found) // 2] if status == CUT else found, given, length
        )

    def _send(
        self, status: int, body: bytes, headers: dict[str, str], length: str | None = None
    ) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", length or str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128  # of five, many at once would be turned away

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


def wait_until(condition: object, seconds: float = 100.0) -> None:
    """Wait for something that another thread or process does."""
    assert callable(condition)
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until, "it did not come about"
        time.sleep(0.01)
