"""As much of the Hugging Face Hub's protocol as the client asks for small files, on loopback."""

import hashlib
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

COMMIT = "5" * 40


class Hub(BaseHTTPRequestHandler):
    """Serves files by their last path component, or one error for everything."""

    files: dict[str, bytes]
    error: tuple[int, str] | None
    requests: list[str]
    address: str

    def do_HEAD(self) -> None:
        self.answer(with_body=False)

    def do_GET(self) -> None:
        self.answer(with_body=True)

    def answer(self, *, with_body: bool) -> None:
        self.requests.append(self.path)
        data = self.files.get(self.path.rsplit("/", 1)[-1])
        if self.error or data is None:
            status, code = self.error or (404, "EntryNotFound")
            self.send_response(status)
            self.send_header("X-Error-Code", code)
            self.send_header("X-Repo-Commit", COMMIT)
            self.send_header("Content-Length", "0")
            self.end_headers()
            return
        self.send_response(200)
        self.send_header("ETag", f'"{hashlib.sha1(data, usedforsecurity=False).hexdigest()}"')
        self.send_header("X-Repo-Commit", COMMIT)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if with_body:
            self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base names it)
        """Keep the tests' output clean."""


@contextmanager
def serve(files: dict[str, bytes]) -> Iterator[type[Hub]]:
    """A hub that has these files in every repository."""
    Hub.files = files
    Hub.error = None
    Hub.requests = []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Hub)
    Hub.address = f"http://127.0.0.1:{server.server_port}"
    threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True).start()
    yield Hub
    server.shutdown()
    server.server_close()
