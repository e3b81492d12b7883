"""moto's server as an object store of this machine, and a fresh root in it for each test.

Who asks finds it by the variables of every AWS tool, child processes too; nothing of the user's own
configuration is read. Only tests that ask for it wait a second for moto.
"""

import os
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from typing import Any

import pytest

from codedata.store import clients
from codedata_tests.sources.loopback_s3 import Gate, gate_before

_NUMBERS = count()

KEY = "key-of-the-bucket"

_CLIENTS_OF: dict[str, dict[Any, Any]] = {}
"""By server: a tenth of a second that only the first test waits for, and none asks another's."""

SECRET = "secret-of-the-bucket"
"""Its other half: what must stand in nothing that a run leaves."""


@pytest.fixture(scope="session")
def s3_server() -> Iterator[str]:
    """The address of a server on loopback."""
    from moto.server import ThreadedMotoServer  # a second that other tests need not wait for

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    yield "http://{}:{}".format(*server.get_host_and_port())
    server.stop()


def _make_bucket(address: str, name: str) -> None:
    """Make a bucket by a signed request: a client takes a second to be made."""
    from botocore.auth import S3SigV4Auth  # where a bucket is asked for
    from botocore.awsrequest import AWSRequest
    from botocore.credentials import Credentials

    url = f"{address}/{name}"
    signed = AWSRequest("PUT", url)
    S3SigV4Auth(Credentials(KEY, SECRET), "s3", "us-east-1").add_auth(signed)
    request = urllib.request.Request(url, method="PUT", headers=dict(signed.headers))
    urllib.request.urlopen(request, timeout=10).close()


@contextmanager
def fresh_bucket(address: str) -> Iterator[str]:
    """`s3://name/prefix` with nothing below it, and the environment in which it is found.

    For fixtures of a module; a test asks for `bucket`.

    Args:
        address: of the server, or of what stands before it.
    """
    with pytest.MonkeyPatch.context() as patch:
        yield make_bucket(address, patch)


def make_bucket(address: str, patch: pytest.MonkeyPatch) -> str:
    """See `fresh_bucket`; the environment is that of a patch."""
    name = f"bucket-{next(_NUMBERS)}"
    for variable in [each for each in os.environ if each.startswith(("AWS_", "FSSPEC_"))]:
        patch.delenv(variable)
    patch.setattr(clients, "_CLIENTS", _CLIENTS_OF.setdefault(address, {}))
    patch.setenv("AWS_ENDPOINT_URL", address)
    patch.setenv("AWS_ACCESS_KEY_ID", KEY)
    patch.setenv("AWS_SECRET_ACCESS_KEY", SECRET)
    patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    patch.setenv("AWS_CONFIG_FILE", os.devnull)
    patch.setenv("AWS_SHARED_CREDENTIALS_FILE", os.devnull)
    patch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    _make_bucket(address, name)
    return f"s3://{name}/prefix"


@pytest.fixture
def bucket(s3_server: str, monkeypatch: pytest.MonkeyPatch) -> str:
    """`s3://name/prefix` with nothing below it, found by this process and its children."""
    return make_bucket(s3_server, monkeypatch)


@dataclass(frozen=True)
class GatedBucket:
    """A fresh root, and the gate before its server."""

    url: str
    gate: Gate


@pytest.fixture(scope="session")
def s3_gate(s3_server: str) -> Iterator[Gate]:
    """A gate before the server."""
    with gate_before(int(s3_server.rpartition(":")[2])) as gate:
        yield gate


@pytest.fixture
def gated(s3_gate: Gate, monkeypatch: pytest.MonkeyPatch) -> Iterator[GatedBucket]:
    """A fresh root whose server is at fault when its gate is told to be."""
    url = make_bucket(s3_gate.address, monkeypatch)
    s3_gate.forget()
    yield GatedBucket(url, s3_gate)
    s3_gate.forget()
