"""Servers that speak S3, each behind a gate: moto's, and by hand a real one."""

from collections.abc import Iterator

import pytest

from codedata_tests.campaigns.ceph import ceph_gateway, why_no_ceph
from codedata_tests.object_roots import GatedBucket, fresh_bucket
from codedata_tests.sources.loopback_s3 import gate_before


@pytest.fixture(scope="session")
def ceph_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Ceph's gateway."""
    if why := why_no_ceph():
        pytest.skip(why)
    with ceph_gateway(tmp_path_factory.mktemp("ceph")) as address:
        yield address


@pytest.fixture(
    params=[
        pytest.param("s3_server", id="moto"),
        pytest.param("ceph_server", id="ceph", marks=[pytest.mark.long, pytest.mark.timeout(1800)]),
    ]
)
def served(request: pytest.FixtureRequest) -> Iterator[GatedBucket]:
    """A fresh root on each, and the gate before it."""
    address: str = request.getfixturevalue(request.param)
    with gate_before(int(address.rpartition(":")[2])) as gate, fresh_bucket(gate.address) as url:
        gate.requests.clear()
        yield GatedBucket(url, gate)
