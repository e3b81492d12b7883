"""URLs of one file system -> the bytes that lie there: asked for side by side, in pieces.

Any file system of fsspec: those with an interface for asyncio are asked through it, on fsspec's own
thread, the others by threads.

Invariants: a request that may succeed later (a timeout, a lost connection, a server that is busy or
at fault) is made again, each time after a longer wait; what is not there is None at the first
answer; what is not given to whoever asks ends it all at the first; nothing is asked for once the
block is left, whatever for.
"""

import asyncio
from collections.abc import Mapping
from concurrent.futures import Future
from typing import TYPE_CHECKING, Any

from codedata.errors import CorpusError
from codedata.printable import shortened
from codedata.store import requests

if TYPE_CHECKING:
    from fsspec.asyn import AsyncFileSystem

PIECE_BYTES = 1 << 20
"""Of an object at once: nearly all source files are smaller, and what is held is bounded by it."""

MAX_CONCURRENCY = 100
"""What aiohttp lets a session have: https://docs.aiohttp.org/en/stable/client_advanced.html"""

_S3 = {"s3", "s3a"}


class Objects:
    """Objects of a file system, as long as a `with` block lasts.

    Args:
        url: a URL of any, by whose beginning the file system is known.
        storage_options: its own: https://filesystem-spec.readthedocs.io
        concurrency: requests at a time.
        retries: of a request, after the first try.

    Attributes:
        path: of the URL, as the file system writes it.
        num_bytes: that arrived.
        num_retries: requests that were made again.

    Raises:
        CorpusError: there is no such file system here, or it has no such options.
    """

    def __init__(
        self, url: str, storage_options: Mapping[str, Any], *, concurrency: int, retries: int
    ) -> None:
        from fsspec.asyn import get_loop  # fsspec is loaded where something is fetched
        from fsspec.core import url_to_fs
        from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

        scheme = url.partition("://")[0]
        options = requests.with_ours(scheme, storage_options, concurrency)
        try:
            system, self.path = url_to_fs(url, skip_instance_cache=True, **options)
        except ImportError as error:
            extra = "pip install 'codedata[s3]'" if scheme in _S3 else "install what it names"
            raise CorpusError(f"{scheme}:// cannot be read here: {error}; {extra}") from error
        except (OSError, TypeError, ValueError) as error:
            raise CorpusError(
                f"{shortened(url)} cannot be opened: {error}; correct the url, or storage_options "
                f"({', '.join(storage_options) or 'none'})"
            ) from error
        if scheme in _S3:
            system.retries = 1  # as those of botocore: they would multiply ours
        self._plain = system
        self._system: AsyncFileSystem = (
            system if system.async_impl else AsyncFileSystemWrapper(system, asynchronous=False)
        )
        self._loop, self._slots = get_loop(), asyncio.Semaphore(concurrency)
        self._retries, self.num_retries, self.num_bytes = retries, 0, 0
        self._asked: set[Future[bytes | None]] = set()

    def __enter__(self) -> "Objects":
        return self

    def __exit__(self, *error: object) -> None:
        for future in [*self._asked]:
            future.cancel()

    def ask(self, path: str, start: int = 0) -> Future[bytes | None]:
        """Ask for a piece of an object: `PIECE_BYTES`, or less where it ends.

        Args:
            path: as the file system writes it.
            start: bytes before the piece.

        Returns:
            The bytes, none behind the end; None where there is no such object. Or a CorpusError.
        """
        future = asyncio.run_coroutine_threadsafe(self._piece(path, start), self._loop)
        self._asked.add(future)
        future.add_done_callback(self._asked.discard)
        return future

    def url_of(self, path: str) -> str:
        """An object's URL, for messages."""
        return shortened(self._plain.unstrip_protocol(path))

    async def _piece(self, path: str, start: int) -> bytes | None:
        read = self._system._cat_file  # noqa: SLF001  (fsspec's interface for asyncio)

        def count(*_: object) -> None:
            self.num_retries += 1

        async with self._slots:
            try:
                piece = await requests.persistently(
                    lambda: read(path, start=start, end=start + PIECE_BYTES),
                    tries_for=lambda _: self._retries + 1,
                    try_seconds=requests.TRY_SECONDS,  # for a piece: 17 kB a second at the least
                    before_wait=count,
                )
            except requests.RequestFailedError as failed:
                error, status = failed.error, requests.status_of(failed.error)
                if status == 416:  # no bytes from there on
                    return b""
                gone = (FileNotFoundError, IsADirectoryError, NotADirectoryError)
                if status in {404, 410} or isinstance(error, gone):
                    return None
                url = self.url_of(path)
                raise explained(url, error, num_tries=failed.num_tries) from error
        self.num_bytes += len(piece)
        return piece


def explained(url: str, error: Exception, *, num_tries: int = 1) -> CorpusError:
    """What a file system does not give, why, and what to do.

    Args:
        url: that was asked for.
        error: that the file system, or the client that it has, raised.
        num_tries: after which.
    """
    status = requests.status_of(error)
    cause = error.__cause__ if isinstance(error, FileNotFoundError) else None
    if isinstance(cause, Exception) and (requests.is_denied(cause) or requests.may_pass(cause)):
        error = cause  # fsspec's http calls whatever fails a file that is not there
    why = requests.said_by(error)
    if isinstance(error, FileNotFoundError) or status in {404, 410}:
        return CorpusError(f"{url} does not exist; correct its path")
    if isinstance(error, ImportError):
        return CorpusError(f"{url} needs a package ({why}); of s3: pip install 'codedata[s3]'")
    if requests.is_denied(error):
        remedy = "say in storage_options who asks"
        if url.partition(":")[0] in _S3:
            remedy = (
                "write `anon: true` in storage_options if it is public, or sign in as for every "
                "AWS tool (AWS_PROFILE, AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY)"
            )
        return CorpusError(f"{url} is not given to whoever asks here ({why}); {remedy}")
    if requests.may_pass(error):
        tries = f"given up after {num_tries} tries in a row; " if num_tries > 1 else ""
        return CorpusError(f"{url}: {why}; {tries}run again later, which goes on with what is here")
    return CorpusError(f"{url} cannot be read ({why}); correct the url, or storage_options")
