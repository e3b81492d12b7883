"""What a server may send, and how long it may take: said in one line, for few bytes and seconds."""

import gzip
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from codedata.hub import client
from codedata.hub.client import newest_commit
from codedata.hub.files import fetch_file
from codedata.hub.refusals import HubError, ServerError, UnreachableError
from codedata_tests.hub.server import Hub
from codedata_tests.said import Said

NAME = "a.parquet"
DATA = b"PAR1" * 1000
ENDLESS = {"endless": b"[" * (1 << 16), "times": 1000}
BOMB = gzip.compress(b"{" + b" " * 30_000_000, 1)


@pytest.fixture(autouse=True)
def quick(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    hub.add_repo("owner/data", {NAME: DATA})
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 20.0)
    monkeypatch.setattr(client, "WAITS", (0.01, 0.01))
    started = time.monotonic()
    yield
    assert time.monotonic() - started < 60
    assert hub.bytes_sent < 20_000_000, "some megabytes fit the system's own buffers"


def fetch(said: Said) -> Path:
    return fetch_file(
        "owner/data", NAME, kind="dataset", revision="main", reporter=said.reporter
    ).path


def ask(said: Said) -> str:
    return newest_commit("owner/data", kind="dataset", revision="main", reporter=said.reporter)


@pytest.mark.parametrize(
    ("fault", "said_of_it"),
    [
        (ENDLESS, "with more than 1,000,000 bytes"),
        ({"status": 200, "body": b"[" * 500_000}, r"with b'\[\[\[.*, which is not what"),
        ({"status": 200, "body": b"<html>Please log in"}, r"with b'<html>Please log in', which is"),
        ({"status": 200, "body": BOMB, "headers": {"Content-Encoding": "gzip"}}, r"ed \(gzip\)"),
        ({"status": 200, "body": b"[]"}, r"with b'\[\]', which is not what the hub"),
        ({"status": 302, "headers": {"Location": "file:///etc/passwd"}}, "to file:///etc/passwd, "),
        ({**ENDLESS, "status": 404}, "404"),
        ({"status": 404, "body": b"[" * 500_000}, "404"),
        ({"status": 400, "body": b'{"errors": 5, "error": {"a": []}}'}, "400"),
        ({"status": 400, "body": b'{"error": "Nobody\\nwrote this"}'}, "Nobody wrote this"),
        (
            {"status": 400, "body": b'{"errors": [{"message": "Nobody\\nwrote"}, 5, '
             b'{"message": 6}, {"message": "this"}], "error": "at all"}'},
            "Nobody wrote; this; at all",
        ),
        ({"status": 302, "headers": {"Location": "/api/datasets/owner/data"}, "times": 99}, "redi"),
    ],
    ids=["endless JSON", "deep JSON", "HTML", "gzip", "a list", "to a file", "endless error",
         "deep error", "odd error", "an error", "errors", "redirects"],
)  # fmt: skip
def test_an_answer_that_no_hub_gives_is_said_in_one_line(
    fault: dict[str, Any], said_of_it: str, hub: Hub, said: Said
) -> None:
    hub.fail(path="/api/datasets/owner/data", **fault)
    with pytest.raises(HubError, match=said_of_it) as refusal:
        ask(said)
    assert "\n" not in str(refusal.value)
    assert len(str(refusal.value)) < 400


COMMIT = "0" * 40
RIGHT = {"X-Repo-Commit": COMMIT, "ETag": f'"{COMMIT}"'}


@pytest.mark.parametrize(
    ("status", "headers", "said_of_it"),
    [
        (200, {}, "does not say commit, hash and size of .*: a proxy or a login page may answer"),
        (200, {**RIGHT, "X-Repo-Commit": "../" * 9 + "evil"}, "does not say commit"),
        (200, {**RIGHT, "ETag": '"../../../evil"'}, "does not say commit"),
        (200, {**RIGHT, "X-Linked-Size": "-5"}, "does not say commit, hash and size"),
        (302, {**RIGHT, "Location": "file:///etc/passwd"}, "to file:///etc/passwd, which is no ad"),
    ],
    ids=["none", "commit", "etag", "size", "out of the web"],
)
def test_what_would_leave_the_cache_or_the_web_or_is_no_size_is_refused(
    status: int, headers: dict[str, str], said_of_it: str, hub: Hub, said: Said, tmp_path: Path
) -> None:
    hub.fail(method="HEAD", status=status, headers=headers, times=10)
    with pytest.raises(ServerError, match=said_of_it):
        fetch(said)
    assert not list(tmp_path.rglob("*evil*"))


def test_slow_headers_are_not_waited_for(
    hub: Hub, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_ETAG_TIMEOUT", 0.5)
    hub.fail(method="HEAD", drip_seconds=0.1, times=1000)
    with pytest.raises(UnreachableError, match="the hub sends nothing; given up after 3 tries"):
        fetch(said)


def test_a_body_that_hardly_moves_is_broken_off(
    hub: Hub, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.repos["dataset", "owner/data"].commit({NAME: DATA * 100})
    monkeypatch.setattr(client, "_SLOWEST_BYTES", 1_000_000)
    hub.fail(blobs=True, block_seconds=0.3)
    assert fetch(said).read_bytes() == DATA * 100
    assert any("the hub sends nothing; going on" in line for line in said)
