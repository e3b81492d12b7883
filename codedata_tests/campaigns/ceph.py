"""Ceph's RADOS gateway, a real server that speaks S3, from the packages of a Linux distribution.

    apt-get install --no-install-recommends radosgw ceph-mon ceph-mgr ceph-osd ceph-common

One monitor, one manager, one storage daemon that keeps all in memory, and the gateway, on loopback;
their folder is all they write. It answers 12 s after it is started.
"""

import shutil
import socket
import subprocess
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

from codedata_tests.object_roots import KEY, SECRET
from codedata_tests.sources.loopback_s3 import wait_until

PROGRAMS = ("ceph", "ceph-mon", "ceph-mgr", "ceph-osd", "monmaptool", "radosgw", "radosgw-admin")

_CLUSTER, _STORAGE = "11111111-2222-3333-4444-555555555555", "22222222-2222-3333-4444-555555555555"
"""Their ids. The monitor takes a storage daemon only by the id that it was told of."""

_CONFIG = """
[global]
fsid = {cluster}
mon initial members = a
mon host = [v2:127.0.0.1:{monitor}]
ms bind msgr1 = false
public addr = 127.0.0.1
cluster addr = 127.0.0.1
auth cluster required = none
auth service required = none
auth client required = none
# Without keys nothing can be encrypted, which the gateway would otherwise ask for first.
ms mon client mode = crc secure
run dir = {folder}
log file = {folder}/$name.log
admin socket = {folder}/$name.$pid.asok
mon cluster log file = {folder}/cluster.log
mon data = {folder}/mon
mgr data = {folder}/mgr
osd data = {folder}/osd
osd objectstore = memstore
memstore device bytes = {num_bytes}
osd class load list = *
osd class default list = *
osd pool default size = 1
osd pool default min size = 1
osd pool default pg num = 8
osd pool default pgp num = 8
osd crush chooseleaf type = 0
mon allow pool size one = true
mon data avail crit = 1
rgw frontends = beast endpoint=127.0.0.1:{gateway}
"""


def why_no_ceph() -> str | None:
    """Why a gateway cannot be started here; None where it can."""
    missing = [name for name in PROGRAMS if shutil.which(name) is None]
    return f"{', '.join(missing)} not installed" if missing else None


@contextmanager
def ceph_gateway(folder: Path, num_bytes: int = 4 << 30) -> Iterator[str]:
    """The address of a gateway, as long as the block lasts.

    Args:
        folder: empty; their files.
        num_bytes: of memory for what is stored, at the most.
    """
    monitor, gateway = _free_ports(2)
    settings = {"cluster": _CLUSTER, "num_bytes": num_bytes, "folder": folder}
    config = folder / "ceph.conf"
    config.write_text(_CONFIG.format(**settings, monitor=monitor, gateway=gateway))
    for name in ("mon", "mgr", "osd"):
        (folder / name).mkdir()

    def run(*command: str) -> None:
        program, *arguments = command
        done = subprocess.run(
            [program, "-c", str(config), *arguments],
            stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"

    with ExitStack() as running:

        def start(*command: str) -> None:
            program, *arguments = command
            log = running.enter_context(open(folder / f"{program}.out", "wb"))
            running.callback(_end, subprocess.Popen(
                [program, "-c", str(config), "-f", *arguments],
                stdin=subprocess.DEVNULL, stdout=log, stderr=log,
            ))  # fmt: skip

        address = f"[v2:127.0.0.1:{monitor}]"
        run("monmaptool", "--create", "--addv", "a", address, "--fsid", _CLUSTER, f"{folder}/map")
        run("ceph-mon", "--mkfs", "-i", "a", "--monmap", f"{folder}/map")
        start("ceph-mon", "-i", "a")
        start("ceph-mgr", "-i", "a")
        run("ceph", "osd", "new", _STORAGE, "0")
        run("ceph-osd", "-i", "0", "--mkfs", "--osd-uuid", _STORAGE)
        start("ceph-osd", "-i", "0")
        start("radosgw", "-n", "client.rgw")
        url = f"http://127.0.0.1:{gateway}"
        wait_until(lambda: _answers(url), seconds=60)
        user = ("--uid=codedata", "--display-name=codedata")
        run("radosgw-admin", "user", "create", *user, f"--access-key={KEY}", f"--secret={SECRET}")
        yield url


def _end(process: "subprocess.Popen[bytes]") -> None:
    process.kill()
    process.wait()


def _answers(url: str) -> bool:
    try:
        urllib.request.urlopen(url, timeout=5).close()
    except OSError:
        return False
    return True


def _free_ports(number: int) -> list[int]:
    with ExitStack() as stack:
        sockets = [stack.enter_context(socket.socket()) for _ in range(number)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]
