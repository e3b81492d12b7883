"""A failed request to an object store, or to another server -> what it means, and asking again.

Of whichever client fsspec has: botocore's, aiohttp's, Google's, Azure's. Each has its own place for
the status and the code of an answer, and wraps one error into another.

Invariants: a request that may succeed later (a timeout, a lost connection, a server that is busy or
at fault) is made again, each time after a longer wait, and so often at the most; what was answered
for good (not there, there already, not given, no room) is never asked for again.
"""

import asyncio
import random
import re
from collections.abc import Awaitable, Callable, Mapping
from itertools import count
from typing import Any, TypeVar, cast

Answer = TypeVar("Answer")

TRY_SECONDS = 60.0
"""For a request that moves few bytes."""

FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 0.5, 20.0
"""Doubled with each try, and never less than half of it: Amazon's "equal jitter", so that those who
were turned away together do not come back together."""

_TRY_AGAIN = {408, 425, 429}
"""Beside 5xx: https://developer.mozilla.org/docs/Web/HTTP/Reference/Status"""

_NEVER = {501, 505, 507}
"""Of 5xx: what the server has not, and what it has no room for."""

_PASSING = {
    *("SlowDown", "Throttling", "ThrottlingException", "RequestTimeout", "InternalError"),
    *("ConditionalRequestConflict", "OperationAborted"),  # 409: another writer is at it
    *("BadDigest", "IncompleteBody", "XAmzContentSHA256Mismatch"),  # damaged on the way
}
"""Codes of S3 that come with a status of 4xx, or with none, and pass:
https://docs.aws.amazon.com/AmazonS3/latest/API/ErrorResponses.html"""

_EXPIRED = {
    *("ExpiredToken", "ExpiredTokenException", "TokenRefreshRequired", "RequestExpired"),
    *("InvalidToken", "InvalidAccessKeyId"),  # what a server says of keys that were replaced
    "AuthenticationFailed",  # Azure's, of an expired signature too
}

_FULL = {"QuotaExceeded", "XMinioStorageFull", "InsufficientCapacity", "AccountUsageExceeded"}
"""Ceph's, with 403; MinIO's, with 507; others'."""

_ANSWERS = (FileNotFoundError, FileExistsError, IsADirectoryError, NotADirectoryError)

_OURS = (LookupError, TypeError, ValueError, ImportError, AttributeError, NotImplementedError)

_TRANSPORT = {
    *("ConnectionError", "HTTPClientError", "IncompleteReadError"),
    *("ResponseParserError", "ChecksumError", "FlexibleChecksumError"),
}
"""Of botocore's errors without an answer, those of the way; the others are of configuration."""

_SIGNING = re.compile("Credential|Token|SSO|Login|RefreshError")
"""In the names of botocore's and Google's errors of those who cannot sign what they ask."""


def status_of(error: BaseException) -> int | None:
    """The status of the answer behind an error."""
    for each in (error, error.__cause__):
        if type(each).__module__ == "aiohttp.http_exceptions":  # a broken answer: its code is 400
            return None
        if (response := _botocore_response(each)) is not None:
            return response.get("ResponseMetadata", {}).get("HTTPStatusCode")
        for holder in (each, getattr(each, "response", None)):
            for name in ("status", "status_code", "code"):
                status = str(getattr(holder, name, None))
                if status.isdecimal():  # Google's may be a string
                    return int(status)
    return None


def code_of(error: BaseException) -> str:
    """The code of the answer behind an error, such as NoSuchBucket; empty where it has none."""
    for each in (error, error.__cause__):
        if (response := _botocore_response(each)) is not None:
            return str(response.get("Error", {}).get("Code", ""))
        code = getattr(each, "error_code", None)
        if code is not None:  # Azure's is a string, or an enumeration of strings
            return str(getattr(code, "value", code))
    return ""


def is_full(error: BaseException) -> bool:
    """Whether the store has no room, or a quota is used up."""
    return status_of(error) == 507 or code_of(error) in _FULL


def is_expired(error: BaseException) -> bool:
    """Whether the credentials may be taken again once they are read anew."""
    return code_of(error) in _EXPIRED or status_of(error) == 401 or _cannot_sign(error)


def is_denied(error: BaseException) -> bool:
    """Whether it is not given to whoever asks."""
    return (
        isinstance(error, PermissionError)
        or status_of(error) in {401, 403}
        or _cannot_sign(error)
        or (isinstance(error, OSError) and str(error).startswith("Forbidden:"))  # gcsfs's 403
    )


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed later."""
    if is_full(error):
        return False
    if isinstance(error, TimeoutError | ConnectionError) or code_of(error) in _PASSING:
        return True
    if is_denied(error) or isinstance(error, (*_ANSWERS, *_OURS)):
        return False
    status = status_of(error)
    if status is not None:
        return status in _TRY_AGAIN or (status >= 500 and status not in _NEVER)
    kinds = {each.__name__ for each in type(error).__mro__}
    return "BotoCoreError" not in kinds or bool(kinds & _TRANSPORT)


def said_by(error: BaseException) -> str:
    """An error as a part of a message: its kind, its code and what it says, in one line."""
    code, text = code_of(error), " ".join(str(error).split())  # Ceph's have no other text
    if isinstance(error, TimeoutError):
        text = text or "no answer in time"
    return f"{type(error).__name__}: {text if code in text else f'{code}: {text}'}".rstrip(": ")


class RequestFailedError(Exception):
    """A request failed, and is not made again.

    Attributes:
        error: of the last try.
        num_tries: in all.
    """

    def __init__(self, error: Exception, num_tries: int) -> None:
        super().__init__(error, num_tries)
        self.error, self.num_tries = error, num_tries


async def persistently(
    ask: Callable[[], Awaitable[Answer]],
    *,
    tries_for: Callable[[Exception], int],
    try_seconds: float,
    before_wait: Callable[[Exception, int, float], None],
    asked_wait: Callable[[Exception], float] = lambda _: 0.0,
) -> Answer:
    """Ask, and ask again as long as what fails may pass.

    Args:
        ask: makes the request.
        tries_for: how often it is made at the most, going by what a try failed of.
        try_seconds: for each.
        before_wait: told why a try failed, which it was, and how long is waited before the next.
        asked_wait: seconds that the server asks for.

    Raises:
        RequestFailedError: with what the last try failed of.
    """
    for num_tries in count(1):
        try:
            async with asyncio.timeout(try_seconds):
                return await ask()
        except Exception as error:
            if num_tries >= tries_for(error) or not may_pass(error):
                raise RequestFailedError(error, num_tries) from error
            longest = min(LONGEST_WAIT_SECONDS, FIRST_WAIT_SECONDS * 2 ** (num_tries - 1))
            wait = asked_wait(error) + random.uniform(longest / 2, longest)  # noqa: S311  (no secret)
            before_wait(error, num_tries, wait)
        await asyncio.sleep(wait)
    raise AssertionError("the last try returns or raises")


def with_ours(
    scheme: str, storage_options: Mapping[str, Any], concurrency: int
) -> Mapping[str, Any]:
    """Options of a file system, with those by which requests are ours alone to repeat."""
    if scheme in {"s3", "s3a"}:
        config = {"max_pool_connections": concurrency, "retries": {"total_max_attempts": 1}}
        config |= storage_options.get("config_kwargs") or {}
        return {**storage_options, "config_kwargs": config}
    if scheme in {"http", "https"}:  # bytes as they lie there, not as they may be packed on the way
        client = dict(storage_options.get("client_kwargs") or {})
        client["headers"] = {"Accept-Encoding": "identity", **client.get("headers", {})}
        return {**storage_options, "client_kwargs": {"auto_decompress": False, **client}}
    return storage_options


def _botocore_response(error: BaseException | None) -> dict[str, Any] | None:
    response: Any = getattr(error, "response", None)
    return cast("dict[str, Any]", response) if isinstance(response, dict) else None


def _cannot_sign(error: BaseException) -> bool:
    kinds = type(error).__mro__
    libraries = {each.__module__.partition(".")[0] for each in kinds}
    return bool(libraries & {"botocore", "google"}) and any(
        _SIGNING.search(each.__name__) for each in kinds
    )
