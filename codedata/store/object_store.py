"""An object store as a store: names are keys below a URL, of any file system of fsspec.

Invariants: what is put is one request, so nothing is half-visible; what exists is never renamed. A
store is known by its URL alone: options and credentials are those of whichever machine asks, so it
pickles without any. What fails in passing is asked for again, a few times, and says so in the log.

Requests: one a `put`, `read`, name of `read_many`, `sizes` and `remove`; one for 1,000 names of a
listing; one a `put_if_absent`, and one more where something is there.
"""

# ruff: noqa: SLF001 - fsspec's interface for asyncio begins with underscores

import asyncio
import errno
import io
import os
import secrets
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache, partial
from typing import Any, NamedTuple, TypeVar

import numpy as np

from codedata.errors import StoreError
from codedata.format.shards import Bytes
from codedata.store.base import Data
from codedata.store.clients import CONCURRENCY, KINDS, Client, connect, kind_of, wait_for
from codedata.store.requests import status_of

Answer = TypeVar("Answer")

_UNKNOWN_BYTES = 60_000_000
"""Taken for what is read whole: it may take ten minutes; a server that falls silent is left as soon
as its client gives it up, s3fs after 15 seconds."""

PROBE_NAME = "conditional-writes"
"""Of the folder of the objects by which a store shows that it honours them."""

_WRITERS = 4
"""That write the probe at once: of them one may win, and none that comes later."""


class Found(NamedTuple):
    """What a listing says of an object.

    Attributes:
        num_bytes: that it has.
        modified: when it was written, in seconds of the epoch.
        etag: what tells another version of it, where the store says so.
    """

    num_bytes: int
    modified: float
    etag: str = ""


def last_written(listed: tuple[str, Found]) -> tuple[float, str]:
    """Orders what is listed by when it was written; of the same moment, by name."""
    name, about = listed
    return about.modified, name


@dataclass(frozen=True)
class ObjectStore:
    """The objects below a URL, without a slash at its end.

    Every method raises a StoreError where the store does not do what it is asked for: no such
    bucket, no rights, no room, no answer.
    """

    url: str

    def below(self, prefix: str) -> "ObjectStore":
        """The store of the names that begin with a folder."""
        return ObjectStore(f"{self.url}/{prefix}")

    def where(self, name: str) -> str:
        """The URL of a name."""
        return f"{self.url}/{name}"

    def put(self, name: str, data: Data) -> None:
        """See `Store.put`."""
        self._put(name, whole(data))

    def put_if_absent(self, name: str, data: Data) -> bool:
        """See `Store.put_if_absent`; a conditional write.

        True also where exactly these bytes lie there: of a request whose answer is lost nobody
        knows whether it was done, and it is made again. Who must know who wrote puts a nonce in.
        """
        held = whole(data)
        try:
            self._put(name, held, mode="create")
        except FileExistsError:
            return self.read_many([name], stop=len(held) + 1).get(name) == held
        return True

    def read(
        self, name: str, start: int = 0, stop: int | None = None, *, exactly: bool = False
    ) -> bytes:
        """See `Store.read`.

        Args:
            name: of the object.
            start: of a range.
            stop: of it.
            exactly: the range is known to be there, as the store said, be it to another process:
                other bytes are asked for again, and a store that does not answer is waited for.
        """
        found = self.read_many([name], start, stop, exactly=exactly)
        if name not in found:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)
        return found[name]

    def read_many(
        self,
        names: Iterable[str],
        start: int = 0,
        stop: int | None = None,
        *,
        exactly: bool = False,
    ) -> dict[str, bytes]:
        """The bytes of several names, asked for side by side; those of nothing are left out."""
        client, folder = connect(self.url)
        num_bytes = None if stop is None else max(0, stop - start)
        expected = _UNKNOWN_BYTES if num_bytes is None else num_bytes
        limits: dict[str, Any] = {}
        if start or stop is not None:  # of no bytes a range cannot be asked for
            limits = {"start": start, "end": None if stop is None else max(stop, start + 1)}

        async def read(name: str) -> tuple[str, bytes | None]:
            async def request(system: Any) -> bytes:
                try:
                    data = await system._cat_file(f"{folder}/{name}", **client.kind.read, **limits)
                except Exception as error:
                    if status_of(error) != 416:  # it ends before
                        raise
                    data = b""
                if exactly and num_bytes is not None and len(data) != num_bytes:
                    raise ConnectionError(f"{len(data):,} of {num_bytes:,} bytes came")
                return data

            try:
                data = await client.ask(
                    self.where(name), request, num_bytes=expected, is_known=exactly
                )
                return name, data[:num_bytes]
            except FileNotFoundError:
                return name, None

        return {name: data for name, data in _side_by_side(read, names) if data is not None}

    def map(self, name: str) -> Bytes:
        """All bytes, in memory."""
        return np.frombuffer(self.read(name), np.uint8)

    def list(self, prefix: str = "") -> Sequence[str]:
        """See `Store.list`."""
        return sorted(name for name, _ in self.scan(prefix))

    def found(self, prefix: str = "") -> dict[str, Found]:
        """What a listing says of every name that starts so."""
        return dict(self.scan(prefix))

    def scan(self, prefix: str = "") -> Iterator[tuple[str, Found]]:
        """Each name that starts so, and what a listing says of it; a page of them is in memory."""
        client, folder = connect(self.url)
        pages = _pages_of_s3 if "s3" in client.kind.schemes else _one_page
        for page in pages(client, self.url, folder, prefix):
            for path, about in page:
                name = path.removeprefix(f"{folder}/")
                if name.startswith(prefix) and not name.endswith("/"):  # a console's "folder"
                    yield name, about

    def sizes(self, names: Iterable[str]) -> dict[str, int]:
        """The bytes that names have, asked for side by side; those of nothing are left out."""
        client, folder = connect(self.url)

        async def size(name: str) -> tuple[str, int | None]:
            async def request(system: Any) -> Mapping[str, Any]:
                return await system._info(f"{folder}/{name}")

            with suppress(FileNotFoundError):
                about = await client.ask(self.where(name), request)
                if about["type"] == "file":
                    return name, int(about["size"])
            return name, None

        return {name: size for name, size in _side_by_side(size, names) if size is not None}

    def listings(self, prefixes: Sequence[str]) -> Sequence[str]:
        """What to list for the names that begin with any of some prefixes.

        Those, where the server gives the names that begin so; else all names once, which each of
        several would have it go through.
        """
        return prefixes if len(prefixes) < 2 or connect(self.url)[0].lists_prefixes else [""]

    def folders(self) -> Sequence[str]:
        """What the names of objects begin with, up to a slash; what comes after is not listed."""
        client, folder = connect(self.url)
        paths: Iterable[str] = ()
        if "s3" in client.kind.schemes:
            pages = _pages_of_s3(client, self.url, folder, "", Delimiter="/")
            paths = [path for page in pages for path, _ in page if path.endswith("/")]
        else:
            with suppress(FileNotFoundError):
                paths = wait_for(client.ask(self.url, partial(_folders, below=folder)))
        return sorted(path.rstrip("/").rpartition("/")[2] for path in paths)

    def remove(self, names: Iterable[str]) -> None:
        """Remove objects, side by side; those that are gone already are no error."""
        client, folder = connect(self.url)

        async def remove(name: str) -> None:
            async def request(system: Any) -> None:
                await system._rm_file(f"{folder}/{name}")

            with suppress(FileNotFoundError):
                await client.ask(self.where(name), request)

        _side_by_side(remove, names)

    def require_conditional_writes(self) -> None:
        """Refuse a store in which two that write at once may each believe that it was first.

        It is tried once a process, by some that write one object at once, and one after them; the
        object is of a name that no other process has, and is removed.

        Raises:
            StoreError: it does not honour conditional writes, or is not known to.
        """
        _try_conditional_writes(self, os.getpid())

    def _put(self, name: str, data: bytes, **mode: str) -> None:
        client, folder = connect(self.url)

        async def request(system: Any) -> None:
            await system._pipe_file(f"{folder}/{name}", data, **client.kind.put, **mode)

        try:
            wait_for(client.ask(self.where(name), request, num_bytes=len(data)))
        except FileNotFoundError as error:
            raise client.no_bucket(self.url) from error


@lru_cache(maxsize=64)
def _try_conditional_writes(store: ObjectStore, pid: int) -> None:  # noqa: ARG001  (a process)
    known = [scheme for kind in KINDS for scheme in kind.schemes]
    scheme = kind_of(store.url).schemes[0]
    if scheme not in known:
        raise StoreError(
            f"{scheme}:// is not known to honour conditional writes, by which two runs at once "
            f"keep apart; write to {', '.join(known)}"
        )

    name = f"{PROBE_NAME}/{secrets.token_hex(16)}"

    def is_first(_: object = None) -> bool:
        return store.put_if_absent(name, secrets.token_bytes(16))

    with ThreadPoolExecutor(_WRITERS) as threads:
        num_first = sum(threads.map(is_first, range(_WRITERS)))
    num_first += is_first()
    store.remove([name])
    if num_first > 1:
        raise StoreError(
            f"{store.url} does not honour conditional writes (If-None-Match): of {_WRITERS} that "
            "wrote one object at once, and one after them, more than one did; two runs at once "
            "would lose data: use a store that has them (Amazon S3, Google, Azure; in our trials "
            "Ceph 16.2), or a newer release of this one"
        )


def _pages_of_s3(
    client: Client, url: str, folder: str, prefix: str, **limits: str
) -> Iterator[list[tuple[str, Found]]]:
    """Pages as the server gives them; fsspec's `find` holds all that is said of every object.

    Behind a delimiter what has it in common is one name, which ends with it.
    """
    token: dict[str, str] = {}
    while True:

        async def request(system: Any, token: Mapping[str, str] = token) -> Any:
            bucket, key, _ = system.split_path(folder)
            start = f"{key}/{prefix}" if key else prefix
            asked = {"Bucket": bucket, "Prefix": start, **limits, **token}
            return bucket, await system._call_s3("list_objects_v2", **asked)

        try:
            bucket, page = wait_for(client.ask(f"{url}/{prefix}", request))
        except FileNotFoundError as error:
            raise client.no_bucket(url) from error
        yield [
            (f"{bucket}/{each['Key']}", _about({**each, "size": each["Size"]}))
            for each in page.get("Contents", [])
        ] + [
            (f"{bucket}/{each['Prefix']}", Found(0, 0.0)) for each in page.get("CommonPrefixes", [])
        ]
        if not page.get("IsTruncated"):
            return
        token = {"ContinuationToken": page["NextContinuationToken"]}


def _one_page(
    client: Client, url: str, folder: str, prefix: str
) -> Iterator[list[tuple[str, Found]]]:
    parent, slash, begin = prefix.rpartition("/")
    below = f"{folder}/{parent}" if slash else folder
    request = partial(_find, below=below, begin=begin if client.lists_prefixes else "")
    try:
        yield wait_for(client.ask(f"{url}/{prefix}", request))
    except FileNotFoundError:
        return


async def _find(system: Any, *, below: str, begin: str) -> list[tuple[str, Found]]:
    limits = {"prefix": begin} if begin else {}
    about = await system._find(below, detail=True, **limits)
    return [(name, _about(each)) for name, each in about.items()]


async def _folders(system: Any, *, below: str) -> list[str]:
    about = await system._ls(below, detail=True)
    return [each["name"] for each in about if each["type"] == "directory"]


def _about(said: Mapping[str, Any]) -> Found:
    """What a listing says of an object: each client has its own words for it."""
    names = ("LastModified", "last_modified", "updated", "mtime", "created")
    when = next((said[name] for name in names if said.get(name)), 0.0)
    if isinstance(when, str):
        when = datetime.fromisoformat(when)
    seconds = when.timestamp() if isinstance(when, datetime) else float(when)
    etag = str(said.get("ETag") or said.get("etag") or "").strip('"')
    return Found(int(said["size"]), seconds, etag)


def _side_by_side(
    ask: Callable[[str], Awaitable[Answer]], names: Iterable[str]
) -> Sequence[Answer]:
    """What is answered of each, in any order; where one fails, none is asked for any longer."""
    left, answers = iter(names), list[Answer]()

    async def take() -> None:
        for name in left:
            answers.append(await ask(name))

    async def every() -> None:
        takers = [asyncio.ensure_future(take()) for _ in range(CONCURRENCY)]
        try:
            await asyncio.gather(*takers)
        finally:
            for taker in takers:
                taker.cancel()

    wait_for(every())
    return answers


def whole(data: Data) -> bytes:
    """The bytes that a file is to hold."""
    if not callable(data):
        return bytes(data)
    file = io.BytesIO()
    data(file)
    return file.getvalue()
