"""A Hugging Face Hub on loopback: what the client asks for, and faults on request.

Two origins: the hub itself, and the host that stores large files, to which the hub redirects.
Repositories are git-like: branches of commits, each a dictionary of files. What was asked is kept
in a list, with the bytes that were sent.
"""

import base64
import hashlib
import json
import re
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, unquote, urlsplit

Files = dict[str, bytes]

_LARGE_NAMES = (".pkl", ".parquet")
_REPO = r"(?P<kind>datasets/|models/|)(?P<repo>[\w.-]+/[\w.-]+)"
_BLOCK_BYTES = 1 << 14


@dataclass
class Repo:
    """A repository: the files of each commit, the commit of each branch or tag."""

    name: str
    private: bool = False
    gated: bool = False
    commits: dict[str, Files] = field(default_factory=dict)
    refs: dict[str, str] = field(default_factory=dict)

    def commit(self, files: Files, *, branch: str = "main") -> str:
        """Add a commit in which the repository holds exactly these files."""
        commit = git_hash(f"{self.name} {len(self.commits)}".encode())
        self.commits[commit] = dict(files)
        self.refs[branch] = commit
        return commit

    def files(self, revision: str = "main") -> Files:
        return self.commits[self.refs[revision]]


@dataclass
class Fault:
    """What goes wrong with requests that match: after `skip` that do not fail, the next `times`."""

    method: str = "GET"
    path: str = ""
    blobs: bool | None = None
    skip: int = 0
    times: int = 1
    status: int | None = None
    headers: dict[str, str] = field(default_factory=dict)
    cut_after: int | None = None
    stall_after: int | None = None
    flip_at: float = 0.0
    ignore_range: bool = False
    shift: int = 0
    block_seconds: float = 0.0
    body: bytes = b""
    endless: bytes = b""
    drip_seconds: float = 0.0

    def matches(self, method: str, path: str, *, blobs: bool) -> bool:
        is_asked = self.method in (method, "*") and self.path in path
        return is_asked and self.times > 0 and self.blobs in (blobs, None)


@dataclass(frozen=True)
class Request:
    """A request that was answered, or is being answered."""

    method: str
    path: str
    blobs: bool
    headers: dict[str, str]


@dataclass
class Hub:
    """The state of the hub, shared with its two servers."""

    address: str = ""
    blob_address: str = ""
    repos: dict[tuple[str, str], Repo] = field(default_factory=dict)
    tokens: dict[str, set[str]] = field(default_factory=dict)
    faults: list[Fault] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    stored: dict[str, bytes] = field(default_factory=dict)
    bytes_sent: int = 0
    stopping: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def add_repo(
        self, name: str, files: Files, *, kind: str = "dataset", private: bool = False
    ) -> Repo:
        """A repository with one commit on main."""
        repo = self.repos[kind, name] = Repo(name, private=private)
        repo.commit(files)
        return repo

    def fail(self, **fault: Any) -> Fault:
        """Have something go wrong."""
        self.faults.append(Fault(**fault))
        return self.faults[-1]

    def clear(self) -> None:
        """Forget what was asked."""
        self.requests.clear()
        self.bytes_sent = 0

    def asked(self, method: str = "GET", *, blobs: bool | None = None) -> list[str]:
        """Paths that were asked for."""
        of_method = (each for each in self.requests if each.method == method)
        return [each.path for each in of_method if blobs in (each.blobs, None)]

    def environment(self, home: Path) -> dict[str, str]:
        """For commands of another process; without a token unless one is added.

        Xet, the client's other way to move large files, needs a service that is none of the hub's.
        """
        return {
            "HF_ENDPOINT": self.address,
            "HF_HOME": str(home),
            "HF_HUB_OFFLINE": "0",
            "HF_HUB_DOWNLOAD_TIMEOUT": "1",
            "HF_HUB_DISABLE_TELEMETRY": "1",
            "HF_HUB_DISABLE_XET": "1",
        }


class _RefusalError(Exception):
    def __init__(self, status: int, code: str, message: str = "", **headers: str) -> None:
        super().__init__(status)
        self.status = status
        self.headers = {"X-Error-Code": code, "X-Error-Message": message, **headers}


class _Handler(BaseHTTPRequestHandler):
    hub: Hub
    blobs: bool
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else what follows the headers comes 40 ms later

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  (the base names it)
        """Keep the tests' output clean."""

    def _handle(self) -> None:
        size = int(self.headers.get("Content-Length") or 0)
        self.body = self.rfile.read(size)
        url = urlsplit(self.path)
        self.fault = Fault()
        headers = {name.lower(): value for name, value in self.headers.items()}
        with self.hub.lock:
            self.hub.requests.append(Request(self.command, self.path, self.blobs, headers))
            for fault in self.hub.faults:
                if fault.matches(self.command, self.path, blobs=self.blobs):
                    if fault.skip:
                        fault.skip -= 1
                        continue
                    fault.times -= 1
                    self.fault = fault
                    break
        try:
            if self.fault.endless or self.fault.drip_seconds:
                self._go_on_for_ever()
                return
            if self.fault.status is not None:
                self._send(self.fault.status, self.fault.body, self.fault.headers)
                return
            self._route(unquote(url.path), {k: v[0] for k, v in parse_qs(url.query).items()})
        except _RefusalError as refusal:
            body = json.dumps({"error": refusal.headers["X-Error-Message"]}).encode()
            self._send(refusal.status, body, refusal.headers)

    do_GET = do_HEAD = do_POST = do_PUT = _handle  # noqa: N815  (the base names them)

    def _route(self, path: str, query: dict[str, str]) -> None:
        for method, pattern, answer in _BLOB_ROUTES if self.blobs else _HUB_ROUTES:
            found = re.fullmatch(pattern, path)
            if found and self.command in method.split():
                answer(self, query, **found.groupdict())
                return
        self._send(404, b"no such route", {})

    def _send(self, status: int, body: bytes, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self._send_body(body)

    def _go_on_for_ever(self) -> None:
        """Headers byte by byte, or a body of the same block, as long as somebody reads."""
        self.close_connection = True
        fault = self.fault
        try:
            if fault.drip_seconds:
                self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
                while not self.hub.stopping.wait(fault.drip_seconds):
                    self.wfile.write(b"x")
            self.send_response(fault.status or 200)
            for name, value in fault.headers.items():
                self.send_header(name, value)
            self.end_headers()
            while not self.hub.stopping.is_set():
                self.wfile.write(fault.endless)
                with self.hub.lock:
                    self.hub.bytes_sent += len(fault.endless)
        except OSError:
            return

    def _send_body(self, body: bytes) -> None:
        fault = self.fault
        if fault.flip_at and body:
            place = int(len(body) * fault.flip_at)
            body = body[:place] + bytes([body[place] ^ 0xFF]) + body[place + 1 :]
        end = len(body)
        for limit in (fault.cut_after, fault.stall_after):
            if limit is not None:
                end = min(end, limit)
        for start in range(0, end, _BLOCK_BYTES):
            block = body[start : min(start + _BLOCK_BYTES, end)]
            try:
                self.wfile.write(block)
            except OSError:
                return
            with self.hub.lock:
                self.hub.bytes_sent += len(block)
            if fault.block_seconds:
                time.sleep(fault.block_seconds)
        if fault.stall_after is not None:
            self.hub.stopping.wait(30)
        if end < len(body):
            self.wfile.flush()
            self.close_connection = True
            # A reset, as where a cable is pulled, not an orderly end.
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _send_ranged(self, data: bytes, headers: dict[str, str]) -> None:
        asked = re.fullmatch(r"bytes=(\d+)-(\d*)", self.headers.get("Range") or "")
        if asked is None or self.fault.ignore_range:
            self._send(200, data, headers)
            return
        start, stop = int(asked[1]), min(int(asked[2] or len(data)) + 1, len(data))
        start, stop = start + self.fault.shift, stop + self.fault.shift
        if start >= len(data):
            self._send(416, b"", {"Content-Range": f"bytes */{len(data)}"})
            return
        where = {"Content-Range": f"bytes {start}-{stop - 1}/{len(data)}"}
        self._send(206, data[start:stop], headers | where)

    def _json(self, answer: Any, status: int = 200) -> None:
        self._send(status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _token(self) -> str | None:
        token = (self.headers.get("Authorization") or "").removeprefix("Bearer ").strip()
        if not token:
            return None
        if token not in self.hub.tokens:
            raise _RefusalError(401, "", "Invalid credentials in Authorization header")
        return token

    def _repo(self, kind: str, repo: str) -> Repo:
        found = self.hub.repos.get((kind.rstrip("s/") or "model", repo))
        token = self._token()
        if found is None or (found.private and token is None):
            raise _RefusalError(404 if token else 401, "RepoNotFound", "Repository not found")
        return found

    def _commit(self, repo: Repo, revision: str) -> str:
        commit = repo.refs.get(revision, revision)
        if commit not in repo.commits:
            raise _RefusalError(404, "RevisionNotFound", f"Invalid rev id: {revision}")
        return commit

    # What the hub answers

    def resolve_file(
        self, _: dict[str, str], kind: str, repo: str, revision: str, path: str
    ) -> None:
        found = self._repo(kind, repo)
        token = self._token()
        if found.gated and (token is None or repo not in self.hub.tokens[token]):
            raise _RefusalError(403 if token else 401, "GatedRepo", "Access is restricted.")
        commit = self._commit(found, revision)
        headers = {"X-Repo-Commit": commit}
        if path not in found.commits[commit]:
            raise _RefusalError(404, "EntryNotFound", "Entry not found", **headers)
        data = found.commits[commit][path]
        if not _is_large(path, data):
            self._send_ranged(data, headers | {"ETag": f'"{git_hash(data)}"'})
            return
        sha256 = hashlib.sha256(data).hexdigest()
        self.hub.stored[sha256] = data
        large = {
            "X-Linked-Size": str(len(data)),
            "X-Linked-Etag": f'"{sha256}"',
            "Location": f"{self.hub.blob_address}/blob/{sha256}?signature=s&name={quote(path, '')}",
        }
        self._send(302, b"", headers | large)

    def info(self, _: dict[str, str], kind: str, repo: str, revision: str = "main") -> None:
        found = self._repo(kind, repo)
        commit = self._commit(found, revision)
        self._json({"id": repo, "sha": commit, "private": found.private})

    def tree(
        self, _: dict[str, str], kind: str, repo: str, revision: str, folder: str | None = None
    ) -> None:
        found = self._repo(kind, repo)
        files = found.commits[self._commit(found, revision)]
        entries: list[dict[str, Any]] = []
        below = f"{folder}/" if folder else ""
        inside = {name: data for name, data in files.items() if name.startswith(below)}
        if below and not inside:
            raise _RefusalError(404, "EntryNotFound", "Entry not found")
        for name, data in sorted(inside.items()):
            entry = {"type": "file", "path": name, "size": len(data), "oid": git_hash(data)}
            if _is_large(name, data):
                entry["lfs"] = {"oid": oid_of(name, data), "size": len(data), "pointerSize": 130}
            entries.append(entry)
        self._json(entries)

    def refs(self, _: dict[str, str], kind: str, repo: str) -> None:
        found = self._repo(kind, repo)
        named = {"branches": "", "converts": "refs/convert/"}
        self._json(
            {
                what: [
                    {"name": ref.removeprefix(prefix), "ref": ref, "targetCommit": commit}
                    for ref, commit in found.refs.items()
                    if ref.startswith("refs/convert/") == bool(prefix)
                ]
                for what, prefix in named.items()
            }
            | {"tags": []}
        )

    def create_repo(self, _: dict[str, str]) -> None:
        self._require_token()
        asked = json.loads(self.body)
        name = f"{asked['organization']}/{asked['name']}"
        url = f"{self.hub.address}/datasets/{name}"
        if (asked["type"], name) in self.hub.repos:
            self._json({"error": "You already created this dataset repo", "url": url}, 409)
            return
        first = {".gitattributes": b"*.pkl filter=lfs\n"}
        is_private = asked.get("visibility") == "private"
        self.hub.add_repo(name, first, kind=asked["type"], private=is_private)
        self._json({"url": url, "name": name, "id": "1"})

    def create_branch(self, _: dict[str, str], kind: str, repo: str, branch: str) -> None:
        self._require_token()
        found = self._repo(kind, repo)
        if branch in found.refs:
            self._json({"error": "Reference already exists"}, 409)
            return
        found.refs[branch] = found.refs["main"]
        self._json({})

    def preupload(self, _: dict[str, str], kind: str, repo: str, revision: str) -> None:
        self._require_token()
        found = self._repo(kind, repo)
        there = found.commits[self._commit(found, revision)]
        files: list[dict[str, Any]] = []
        for path in (each["path"] for each in json.loads(self.body)["files"]):
            mode = "lfs" if path.endswith(_LARGE_NAMES) else "regular"
            oid = oid_of(path, there[path]) if path in there else None
            files.append({"path": path, "uploadMode": mode, "shouldIgnore": False, "oid": oid})
        self._json({"files": files})

    def batch(self, _: dict[str, str], kind: str, repo: str) -> None:
        self._require_token()
        self._repo(kind, repo)
        objects: list[dict[str, Any]] = []
        for each in json.loads(self.body)["objects"]:
            upload = {"href": f"{self.hub.blob_address}/blob/{each['oid']}?signature=u"}
            actions = {} if each["oid"] in self.hub.stored else {"actions": {"upload": upload}}
            objects.append({"oid": each["oid"], "size": each["size"], **actions})
        self._json({"transfer": "basic", "objects": objects})

    def send_commit(self, _: dict[str, str], kind: str, repo: str, revision: str) -> None:
        self._require_token()
        found = self._repo(kind, repo)
        header, *changes = (json.loads(line) for line in self.body.decode().splitlines())
        parent = header["value"].get("parentCommit")
        if parent not in (None, found.refs[revision]):
            raise _RefusalError(412, "PreconditionFailed", "A commit has happened since.")
        files = dict(found.files(revision))
        for change in changes:
            value = change["value"]
            if change["key"] == "file":
                files[value["path"]] = base64.b64decode(value["content"])
            elif change["key"] == "lfsFile":
                files[value["path"]] = self.hub.stored[value["oid"]]
            else:
                del files[value["path"]]
        commit = found.commit(files, branch=revision)
        url = f"{self.hub.address}/datasets/{repo}/commit/{commit}"
        self._json({"success": True, "commitOid": commit, "commitUrl": url, "hookOutput": ""})

    def validate_yaml(self, _: dict[str, str]) -> None:
        self._json({"errors": [], "warnings": []})

    def _require_token(self) -> None:
        if self._token() is None:
            raise _RefusalError(401, "", "Invalid username or password.")

    # What the host of large files answers

    def blob(self, _: dict[str, str], oid: str) -> None:
        self._send_ranged(self.hub.stored[oid], {"ETag": f'"{oid[:32]}"'})

    def upload(self, _: dict[str, str], oid: str) -> None:
        is_right = hashlib.sha256(self.body).hexdigest() == oid
        if is_right:
            self.hub.stored[oid] = self.body
        self._send(200 if is_right else 400, b"", {})


_Route = tuple[str, str, Callable[..., None]]
_HUB_ROUTES: list[_Route] = [
    ("GET HEAD", rf"/{_REPO}/resolve/(?P<revision>[^/]+)/(?P<path>.+)", _Handler.resolve_file),
    ("GET", rf"/api/{_REPO}", _Handler.info),
    ("GET", rf"/api/{_REPO}/revision/(?P<revision>.+)", _Handler.info),
    ("GET", rf"/api/{_REPO}/refs", _Handler.refs),
    ("GET", rf"/api/{_REPO}/tree/(?P<revision>[^/]+)(/(?P<folder>.+))?", _Handler.tree),
    ("POST", r"/api/repos/create", _Handler.create_repo),
    ("POST", rf"/api/{_REPO}/branch/(?P<branch>.+)", _Handler.create_branch),
    ("POST", rf"/api/{_REPO}/preupload/(?P<revision>.+)", _Handler.preupload),
    ("POST", rf"/{_REPO}\.git/info/lfs/objects/batch", _Handler.batch),
    ("POST", rf"/api/{_REPO}/commit/(?P<revision>.+)", _Handler.send_commit),
    ("POST", r"/api/validate-yaml", _Handler.validate_yaml),
]
_BLOB_ROUTES: list[_Route] = [
    ("GET HEAD", r"/blob/(?P<oid>[0-9a-f]{64})", _Handler.blob),
    ("PUT", r"/blob/(?P<oid>[0-9a-f]{64})", _Handler.upload),
]


def _is_large(path: str, data: bytes) -> bool:
    return path.endswith(_LARGE_NAMES) or len(data) > 10 << 20


def oid_of(path: str, data: bytes) -> str:
    """What the hub says of a file that is there: a large one's sha256, else git's hash."""
    return hashlib.sha256(data).hexdigest() if _is_large(path, data) else git_hash(data)


def git_hash(data: bytes) -> str:
    """Git's hash of a file."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data, usedforsecurity=False).hexdigest()


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that was killed is no error."""


@contextmanager
def serve() -> Iterator[Hub]:
    """A hub without repositories, as long as the block lasts."""
    hub = Hub()
    servers: list[_Server] = []
    for blobs in (False, True):
        handler = type("Handler", (_Handler,), {"hub": hub, "blobs": blobs})
        servers.append(_Server(("127.0.0.1", 0), handler))
        threading.Thread(target=servers[-1].serve_forever, args=(0.01,), daemon=True).start()
    hub.address = f"http://127.0.0.1:{servers[0].server_port}"
    hub.blob_address = f"http://localhost:{servers[1].server_port}"
    try:
        yield hub
    finally:
        hub.stopping.set()
        for server in servers:
            server.shutdown()
            server.server_close()
