"""An object store as a store: names are keys below a URL, of any file system of fsspec.

What is put is one request, so nothing is half-visible; what exists is never renamed. A store is
known by its URL alone: options and credentials are fsspec's and the cloud's own variables and
files, of whichever machine asks (https://filesystem-spec.readthedocs.io/en/latest/features.html),
so it pickles without any.
"""

import errno
import io
import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, NamedTuple

import numpy as np

from codedata.format.shards import Bytes
from codedata.store.base import Data


class Found(NamedTuple):
    """What a listing says of an object.

    Attributes:
        num_bytes: its size.
        modified: when it was written, in seconds of the epoch.
        etag: what tells another version of it, where the store says so.
    """

    num_bytes: int
    modified: float
    etag: str = ""


@dataclass(frozen=True)
class ObjectStore:
    """The objects below a URL, without a slash at its end."""

    url: str

    def below(self, prefix: str) -> "ObjectStore":
        """The store of the names that begin with a folder."""
        return ObjectStore(f"{self.url}/{prefix}")

    def where(self, name: str) -> str:
        """The URL of a name."""
        return f"{self.url}/{name}"

    def put(self, name: str, data: Data) -> None:
        """See `Store.put`; one request."""
        system, path = self._system()
        system.pipe_file(f"{path}/{name}", whole(data))

    def put_if_absent(self, name: str, data: Data) -> bool:
        """See `Store.put_if_absent`; a conditional write."""
        system, path = self._system()
        try:
            system.pipe_file(f"{path}/{name}", whole(data), mode="create")
        except FileExistsError:
            return False
        return True

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `Store.read`."""
        system, path = self._system()
        whole = not start and stop is None
        try:
            return system.cat_file(
                f"{path}/{name}", **({} if whole else {"start": start, "end": stop})
            )
        except FileNotFoundError as error:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name) from error

    def read_many(self, names: Iterable[str]) -> dict[str, bytes]:
        """The bytes of several names, side by side; those that hold nothing are left out."""
        found: dict[str, bytes] = {}
        for name in names:
            try:
                found[name] = self.read(name)
            except FileNotFoundError:
                continue
        return found

    def map(self, name: str) -> Bytes:
        """All bytes, in memory."""
        return np.frombuffer(self.read(name), np.uint8)

    def list(self, prefix: str = "") -> Sequence[str]:
        """See `Store.list`."""
        return sorted(self.found(prefix))

    def found(self, prefix: str = "") -> dict[str, Found]:
        """What a listing says of every name that starts so."""
        system, path = self._system()
        folder = prefix.rpartition("/")[0]
        system.invalidate_cache()
        about = system.find(f"{path}/{folder}".rstrip("/"), detail=True)
        found: dict[str, Found] = {}
        for key, each in about.items():
            name = key.removeprefix(f"{path}/")
            if name.startswith(prefix):
                when = each.get("LastModified") or each.get("created") or each.get("mtime")
                seconds = when.timestamp() if isinstance(when, datetime) else float(when or 0)
                etag = str(each.get("ETag") or each.get("etag") or "").strip('"')
                found[name] = Found(int(each["size"]), seconds, etag)
        return found

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects; those that are gone already are no error."""
        system, path = self._system()
        for name in names:
            system.rm_file(f"{path}/{name}")

    def _system(self) -> tuple[Any, str]:
        return _system_of(self.url)


@lru_cache(maxsize=64)
def _system_of(url: str) -> tuple[Any, str]:
    import fsspec  # where objects are asked for

    system, path = fsspec.url_to_fs(url)
    return system, path.rstrip("/")


def whole(data: Data) -> bytes:
    """The bytes that a file is to hold."""
    if not callable(data):
        return bytes(data)
    file = io.BytesIO()
    data(file)
    return file.getvalue()
