"""moto's server as Amazon's S3, and a gate before it that answers otherwise where it is told to."""

import http.client
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

RESET, STALL, LOST = -1, -2, -3
"""Answers that are none: the connection is closed, nothing comes, or it is done and not said."""

Answer = int | tuple[int, str]
"""A status, or one of those above; of S3, with a code: (403, "QuotaExceeded")."""

_OF_THE_WAY = {
    *("connection", "content-length", "date", "expect", "host", "server", "transfer-encoding"),
}
"""Headers that are the gate's own, for each of its two sides."""


@dataclass(kw_only=True)
class Gate:
    """What stands before the server.

    Attributes:
        address: its URL.
        answers: to give instead of what the server says, one a request; by path, by method, or by
            both, such as `PUT /bucket/key`.
        asked: requests by path.
        requests: each, its method and its path with its query, in order.
        most_at_once: requests that were under way at the same time.
        delay_seconds: before each answer.
        removed: headers that do not get through, in lower case.
    """

    address: str = ""
    answers: dict[str, list[Answer]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    requests: list[tuple[str, str]] = field(default_factory=list)
    most_at_once: int = 0
    delay_seconds: float = 0.0
    removed: set[str] = field(default_factory=set)
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)

    def answer_to(self, method: str, path: str) -> Answer:
        """The next that is to be given; 0 for what the server says."""
        for key in (f"{method} {path}", path, method):
            if answers := self.answers.get(key):
                return answers.pop(0)
        return 0


class _Handler(BaseHTTPRequestHandler):
    gate: Gate
    port: int
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base names it)
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        gate, path = self.gate, self.path.partition("?")[0]
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        with gate.lock:
            gate.asked[path] += 1
            gate.requests.append((self.command, self.path))
            gate.under_way += 1
            gate.most_at_once = max(gate.most_at_once, gate.under_way)
            answer = gate.answer_to(self.command, path)
        gate.closing.wait(gate.delay_seconds)
        with gate.lock:
            gate.under_way -= 1
        status, code = answer if isinstance(answer, tuple) else (answer, "SlowDown")
        if status == STALL:
            gate.closing.wait(60)
        if status > 0:
            error = f"<Error><Code>{code}</Code><Message>So says the gate.</Message></Error>"
            self._send(status, error.encode(), {})
        elif status in {0, LOST}:
            self._pass_on(body, is_lost=status == LOST)
        self.close_connection |= status < 0

    do_PUT = do_POST = do_DELETE = do_HEAD = do_GET  # noqa: N815  (the base names them)

    def _pass_on(self, body: bytes, *, is_lost: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        kept_back = _OF_THE_WAY | self.gate.removed
        headers = {name: v for name, v in self.headers.items() if name.lower() not in kept_back}
        connection.request(self.command, self.path, body, headers)
        answer = connection.getresponse()
        found = answer.read()
        if not is_lost:
            given = {name: v for name, v in answer.getheaders() if name.lower() not in _OF_THE_WAY}
            length = answer.getheader("Content-Length") if self.command == "HEAD" else None
            self._send(answer.status, found, given, length)
        connection.close()

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
