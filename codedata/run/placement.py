"""What a user says of where chunks run -> threads of this process, or a Dask cluster.

The resource's fields come first, then the environment. An address is judged before any work, and
without importing Dask.
"""

import re
from dataclasses import dataclass

from codedata.environment import variables
from codedata.errors import SettingsError
from codedata.layout import DASK_VARIABLE
from codedata.printable import shortened

THREADS = "threads"
DASK = "dask"
KINDS = (THREADS, DASK)

LOCAL = "local"
"""In the place of an address: workers of this machine, for as long as the run takes."""

_ADDRESS = re.compile(r"(tcp|tls|ws|wss|ucx)://[^/\s]+:\d+", re.ASCII)
"""What `distributed.Client` takes, by its schemes: https://distributed.dask.org/en/stable/protocol.html"""


@dataclass(frozen=True, kw_only=True)
class Cluster:
    """A Dask cluster.

    Attributes:
        address: of its scheduler; None for workers of this machine.
    """

    address: str | None


def known_kind(kind: str | None) -> str | None:
    """Return what may be chosen, or refuse it.

    Raises:
        SettingsError: it is no kind.
    """
    if kind is not None and kind not in KINDS:
        raise SettingsError(
            f"kind of chunk_executor is {shortened(kind)!r}; choose {THREADS} or {DASK}"
        )
    return kind


def cluster_of(kind: str | None, address: str | None) -> Cluster | None:
    """The cluster on which chunks run; None for threads of this process.

    Args:
        kind: threads, dask, or None: dask where there is an address.
        address: of a scheduler, or local; by default `$CODEDATA_DASK_ADDRESS`.

    Raises:
        SettingsError: there is no such kind, what is given is no address, or it has no use.
    """
    if known_kind(kind) == THREADS:
        if address is not None:
            raise SettingsError(
                f"chunk_executor has kind {THREADS} and address {shortened(address)!r}, which no "
                f"thread needs; write kind: {DASK}, or leave the address out"
            )
        return None
    named = "address of chunk_executor" if address is not None else DASK_VARIABLE
    place = address if address is not None else variables().get(DASK_VARIABLE) or None
    if place is None:
        return Cluster(address=None) if kind == DASK else None
    if place == LOCAL:
        return Cluster(address=None)
    if _ADDRESS.fullmatch(place) is None:
        raise SettingsError(
            f"{named} is {shortened(place)!r}, no address of a Dask scheduler; write "
            f"tcp://HOST:8786, as the scheduler prints it, or {LOCAL} for workers of this machine"
        )
    return Cluster(address=place)
