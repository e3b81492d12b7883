"""moto's server as Amazon's S3, and a gate before it that answers otherwise where it is told to."""

import http.client
import threading
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SLOW_DOWN = (
    b"<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"
)

RESET, STALL = -1, -2
"""Answers that are none: the connection is closed, or nothing comes."""


@dataclass(kw_only=True)
class Gate:
    """What stands before the server.

    Attributes:
        address: its URL.
        answers: by path, statuses to give instead of what the server says, one a request.
        asked: requests by path.
        most_at_once: requests that were under way at the same time.
        delay_seconds: before each answer.
    """

    address: str = ""
    answers: dict[str, list[int]] = field(default_factory=dict)
    asked: dict[str, int] = field(default_factory=lambda: defaultdict(int))
    most_at_once: int = 0
    delay_seconds: float = 0.0
    under_way: int = 0
    lock: threading.Lock = field(default_factory=threading.Lock)
    closing: threading.Event = field(default_factory=threading.Event)


class _Handler(BaseHTTPRequestHandler):
    gate: Gate
    port: int
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base names it)
        """Keep the tests' output clean."""

    def do_GET(self) -> None:
        gate = self.gate
        with gate.lock:
            gate.asked[self.path] += 1
            gate.under_way += 1
            gate.most_at_once = max(gate.most_at_once, gate.under_way)
            answers = gate.answers.get(self.path)
            status = answers.pop(0) if answers else 0
        gate.closing.wait(gate.delay_seconds)
        with gate.lock:
            gate.under_way -= 1
        if status == STALL:
            gate.closing.wait(60)
        if status < 0:
            self.close_connection = True
        elif status:
            self._send(status, SLOW_DOWN, {})
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
            headers = {name: value for name, value in self.headers.items() if name != "Host"}
            connection.request("GET", self.path, headers=headers)
            answer = connection.getresponse()
            self._send(answer.status, answer.read(), {"Content-Type": "application/octet-stream"})
            connection.close()

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
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
