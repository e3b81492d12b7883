"""A URL -> the client of its object store: one a process, of any file system of fsspec.

Options are fsspec's own (FSSPEC_S3_..., its files), credentials the cloud's own (its variables and
files), of whichever machine asks: https://filesystem-spec.readthedocs.io/en/latest/features.html.

Invariants: a client is never shared with a process that was forked; the stores that are listed here
honour conditional writes, each by its client's `mode="create"`; nothing of a listing is kept.
"""

# pyright: reportMissingTypeStubs=false

import asyncio
import inspect
import os
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from codedata.errors import StoreError
from codedata.places import require_no_secret
from codedata.printable import printable, shortened
from codedata.progress import logger
from codedata.store import requests
from codedata.store.given_up import waiting_for

if TYPE_CHECKING:
    from fsspec.asyn import AsyncFileSystem

Answer = TypeVar("Answer")

CONCURRENCY = 64
"""Requests of a process at a time; below the 100 connections that aiohttp lets a session have."""

_SLOWEST_BYTES = 100_000
"""A second: a shard of 60 MB may take ten minutes."""

_LINE_SECONDS = 5.0
"""Between two lines about requests that are made again."""

_NOT_REACHED_TRIES = 3
"""Of a request to a store that never answered, as far as is known: its address may be wrong."""


@dataclass(frozen=True, kw_only=True)
class Kind:
    """What is particular to an object store.

    Attributes:
        schemes: of its URLs.
        extra: of codedata, that installs its client.
        bucket: what it calls the first part of a path.
        address: where its address is said, if it is not the cloud's own.
        sign_in: how to say who asks.
        rights: that are needed.
        max_tries: of a request; fewer where the client makes some of its own.
        put, read: options of its client by which an object is put, and read, in one request.
    """

    schemes: tuple[str, ...]
    extra: str = ""
    bucket: str = "bucket"
    address: str = ""
    sign_in: str = "say in fsspec's configuration who asks"
    rights: str = "those to list, read, write and delete"
    max_tries: int = 8
    put: Mapping[str, Any] = field(default_factory=dict[str, Any])
    read: Mapping[str, Any] = field(default_factory=dict[str, Any])


KINDS = (
    Kind(
        schemes=("s3", "s3a"),
        extra="s3",
        address="AWS_ENDPOINT_URL",
        sign_in=(
            "sign in as for every AWS tool (AWS_PROFILE, or AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY)"
        ),
        rights="s3:ListBucket, s3:GetObject, s3:PutObject, s3:DeleteObject",
        put={"chunksize": 3 << 30},  # s3fs uploads in parts from twice that on, S3 takes 5 GiB
        read={"max_concurrency": 1},  # else it asks for the size first
    ),
    Kind(
        schemes=("gs", "gcs"),
        extra="gcs",
        address="FSSPEC_GS_ENDPOINT_URL",
        sign_in="sign in with `gcloud auth application-default login`, or set "
        "GOOGLE_APPLICATION_CREDENTIALS",
        rights="the role Storage Object User",
        max_tries=3,
        put={"chunksize": 1 << 30},
    ),
    Kind(
        schemes=("az", "abfs", "abfss"),
        extra="azure",
        bucket="container",
        address="AZURE_STORAGE_CONNECTION_STRING",
        sign_in="set AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY, or "
        "AZURE_STORAGE_CONNECTION_STRING",
        rights="the role Storage Blob Data Contributor",
        max_tries=3,
    ),
    Kind(schemes=("memory",)),
)
"""Those whose conditional writes were tried."""

_CLIENTS: dict[tuple[object, ...], "Client"] = {}

_NO_BUCKET = {"NoSuchBucket", "ContainerNotFound"}


def kind_of(url: str) -> Kind:
    """What is particular to the store of a URL."""
    scheme = url.partition("://")[0]
    return next((kind for kind in KINDS if scheme in kind.schemes), Kind(schemes=(scheme,)))


class Client:
    """The client of an object store.

    Args:
        kind: of the store.
        make: makes the file system; also anew, when credentials are no longer taken.
    """

    def __init__(self, kind: Kind, make: "Callable[[], AsyncFileSystem]") -> None:
        self.kind, self._make = kind, make
        self._system = make()
        self._slots, self._renewing = asyncio.Semaphore(CONCURRENCY), asyncio.Lock()
        self._has_answered = False
        self._said, self._num_unsaid = -_LINE_SECONDS, 0

    async def ask(
        self,
        url: str,
        request: Callable[[Any], Awaitable[Answer]],
        *,
        num_bytes: int = 0,
        is_known: bool = False,
    ) -> Answer:
        """Ask for something, as often as it may help.

        Args:
            url: what it is about, for messages.
            request: makes it, of the file system.
            num_bytes: that it sends or gives, of which the time that it has follows.
            is_known: the store answered whoever knows of it, such as the process that a worker was
                forked from, so that its address is right.

        Raises:
            FileNotFoundError: there is no such object.
            FileExistsError: there is one, as a conditional write found.
            StoreError: it is not done, for a reason that is said.
        """
        self._has_answered |= is_known

        async def answer() -> Answer:
            system = self._system
            try:
                return await request(system)
            except Exception as error:
                if not self._has_answered or not requests.is_expired(error):
                    raise
                return await request(await self._renewed(url, system, error))

        async with self._slots:
            try:
                answered = await requests.persistently(
                    answer,
                    tries_for=self._tries_for,
                    try_seconds=requests.TRY_SECONDS + num_bytes / _SLOWEST_BYTES,
                    before_wait=partial(self._say, url),
                )
            except requests.RequestFailedError as failed:
                raise self._meant(url, failed) from failed.error
        self._has_answered = True
        return answered

    @property
    def lists_prefixes(self) -> bool:
        """Whether the server lists the names that begin with something, not folders alone."""
        untyped: Any = self._system
        find = untyped._find  # noqa: SLF001 - fsspec's interface for asyncio
        return "prefix" in inspect.signature(find).parameters

    def no_bucket(self, url: str) -> StoreError:
        """What is said where the bucket of a URL is not there."""
        bucket, address = self.kind.bucket, self.kind.address
        return StoreError(
            f"{_bucket_of(url)} does not exist: make the {bucket}, or correct its name"
            + (f", or the store's address ({address})" if address else "")
        )

    def _tries_for(self, error: Exception) -> int:
        if self._has_answered or requests.status_of(error) is not None:
            return self.kind.max_tries
        return min(self.kind.max_tries, _NOT_REACHED_TRIES)

    async def _renewed(
        self, url: str, system: "AsyncFileSystem", error: Exception
    ) -> "AsyncFileSystem":
        """The file system made anew, once for all whose credentials are no longer taken."""
        async with self._renewing:
            if self._system is system:
                logger.warning(
                    printable(
                        f"{_bucket_of(url)}: the credentials are no longer taken "
                        f"({requests.said_by(error)}); they are read anew"
                    )
                )
                self._system = await asyncio.to_thread(self._make)  # some ask a server for them
            return self._system

    def _say(self, url: str, error: Exception, num_tries: int, wait: float) -> None:
        now = time.monotonic()
        if now - self._said < _LINE_SECONDS:
            self._num_unsaid += 1
            return
        others = f"; so were {self._num_unsaid} other requests" if self._num_unsaid else ""
        logger.warning(
            printable(
                f"{url}: {requests.said_by(error)}; asked again in {wait:.1f} s, after try "
                f"{num_tries} of {self._tries_for(error)}{others}"
            )
        )
        self._said, self._num_unsaid = now, 0

    def _meant(self, url: str, failed: requests.RequestFailedError) -> Exception:
        error = failed.error
        if requests.code_of(error) in _NO_BUCKET:
            return self.no_bucket(url)
        if isinstance(error, FileNotFoundError):
            self._has_answered = True
            return FileNotFoundError(url)
        if isinstance(error, FileExistsError) or requests.status_of(error) == 412:
            self._has_answered = True
            return FileExistsError(url)
        return StoreError(f"{shortened(url)}{self._explained(failed)}")

    def _explained(self, failed: requests.RequestFailedError) -> str:
        """What follows the URL."""
        kind, error, why = self.kind, failed.error, requests.said_by(failed.error)
        tries = f"given up after {failed.num_tries} tries in a row; "
        resumed = "run again, which goes on with what is there"
        if requests.is_full(error):
            return (
                f": there is no room ({why}); make some (`codedata prune` removes old versions), "
                f"or raise the quota, and {resumed}"
            )
        if requests.is_expired(error) and self._has_answered:
            return (
                f": the credentials are no longer taken, nor are those that were read anew "
                f"({why}); renew them, and {resumed}"
            )
        if requests.is_denied(error) or requests.is_expired(error):
            return (
                f" is not given to whoever asks here ({why}); {kind.sign_in}, and have the rights "
                f"that are needed ({kind.rights})"
            )
        is_reached = self._has_answered or requests.status_of(error) is not None
        if requests.may_pass(error) and is_reached:
            return f": {why}; {tries}{resumed}"
        address = f", the store's address ({kind.address})" if kind.address else ""
        tried = tries if failed.num_tries > 1 else ""
        return (
            f" cannot be reached ({why}); {tried}correct the URL{address}, or what fsspec's "
            "configuration says of it"
        )


def missing_package(kind: Kind, error: ImportError) -> StoreError:
    """What is said where the package of a store's client is not installed."""
    remedy = f"pip install 'codedata[{kind.extra}]'" if kind.extra else "install what it names"
    return StoreError(f"{kind.schemes[0]}:// needs a package ({error}); {remedy}")


def connect(url: str) -> tuple[Client, str]:
    """The client of a URL's store, and the URL as its file system writes it.

    Raises:
        StoreError: there is none here, its options are wrong, or the URL may have a secret.
    """
    import fsspec  # where objects are asked for
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

    untyped: Any = fsspec

    kind, scheme = kind_of(url), url.partition("://")[0]
    require_no_secret(url, f"a URL of {scheme}://", error=StoreError)

    def make() -> "AsyncFileSystem":
        options = _options_of(kind)
        system, _ = untyped.url_to_fs(
            url, skip_instance_cache=True, use_listings_cache=False, **options
        )
        if "s3" in kind.schemes:
            system.retries = 1  # as those of botocore: they would multiply ours
            system.session = _session(system.kwargs)
        if system.async_impl:
            return system
        one = asyncio.Semaphore(1)  # what is made of two steps, such as memory's, is done as one
        return AsyncFileSystemWrapper(system, asynchronous=False, semaphore=one)

    try:
        cls = untyped.get_filesystem_class(scheme)
        key = (os.getpid(), scheme, *sorted(cls._get_kwargs_from_urls(url).items()))
        path: str = cls._strip_protocol(url).rstrip("/")
        client = _CLIENTS.get(key)
        if client is None:
            client = _CLIENTS.setdefault(key, Client(kind, make))
    except ImportError as error:
        raise missing_package(kind, error) from error
    except (OSError, TypeError, ValueError) as error:
        raise StoreError(
            f"{shortened(url)} cannot be opened ({requests.said_by(error)}); correct the URL, or "
            f"fsspec's configuration of {scheme}"
        ) from error
    return client, path


def wait_for(coroutine: Coroutine[Any, Any, Answer]) -> Answer:
    """The result of what is done on fsspec's own thread; it ends where waiting for it does.

    Raises:
        CancelledError: it is given up (`store/given_up.py`).
    """
    from fsspec.asyn import get_loop

    future = asyncio.run_coroutine_threadsafe(coroutine, get_loop())
    try:
        with waiting_for(future):
            return future.result()
    finally:
        future.cancel()


def _bucket_of(url: str) -> str:
    return "/".join(url.split("/")[:3])


def _session(options: Mapping[str, Any]) -> Any:
    """A session as s3fs makes it, that reads the times of a list as ISO writes them.

    botocore's own parser takes any writing, and three quarters of the time of a list.
    """
    from aiobotocore.session import AioSession
    from botocore import utils

    untyped: Any = utils

    def parsed(time: Any) -> datetime:
        try:
            return datetime.fromisoformat(time)
        except (TypeError, ValueError):
            return untyped.parse_timestamp(time)

    session: Any = AioSession(**options)
    session.get_component("response_parser_factory").set_parser_defaults(timestamp_parser=parsed)
    return session


def _options_of(kind: Kind) -> Mapping[str, Any]:
    """What fsspec's configuration says, with what is ours beside it: it takes one or the other."""
    from fsspec.config import conf

    configured: dict[str, Any] = {}
    for scheme in kind.schemes:
        configured |= conf.get(scheme, {})
    return requests.with_ours(kind.schemes[0], configured, CONCURRENCY)
