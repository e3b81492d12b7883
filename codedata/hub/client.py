"""Requests to the Hugging Face Hub: what a file is, its bytes, the commit of a revision.

What the hub refuses is said in one line with its remedy. What passes by itself (429, 5xx, broken
and stalled connections) is waited for a bounded number of times, and every wait is said.
"""

import re
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from math import inf
from typing import Any, Literal, TypeVar

import httpx2
from huggingface_hub import HfApi, constants, get_hf_file_metadata, get_session, get_token
from huggingface_hub import hf_hub_url as url_of
from huggingface_hub.errors import (
    GatedRepoError,
    HfHubHTTPError,
    OfflineModeIsEnabled,
    RemoteEntryNotFoundError,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from codedata.progress import Reporter

T = TypeVar("T")
Kind = Literal["model", "dataset"]

COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)

ETAG = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)
"""git's hash of a blob, or the sha256 of a large file."""

WAITS = (1, 2, 4, 8, 16, 32)
"""Seconds before each new try; a minute in all, as long as nothing arrives."""

ASKING_SECONDS = 10
"""How long a hub that is not reached is asked for a name that may be a misspelt folder."""

LONGEST_WAIT = 300
"""Seconds that a Retry-After may ask for: the hub's windows are of five minutes."""

_FOR_EVER = 1e9

_PASSING = (408, 429, 500, 502, 503, 504)

_REFUSED = (
    HfHubHTTPError,
    OfflineModeIsEnabled,
    httpx2.RequestError,
    httpx2.InvalidURL,
    ValueError,  # a token or a name that no request can hold
)
"""What a request may end with."""

_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*")


class HubError(Exception):
    """Why the hub does not give or take something; the caller says what it was for."""


class NoSuchFileError(HubError):
    """The repository exists, but has no such file."""


class UnreachableError(HubError):
    """The hub had no answer for all the tries, or must not be asked."""


@dataclass(frozen=True, kw_only=True)
class RemoteFile:
    """A file as the hub states it.

    Attributes:
        repo: `owner/name`.
        kind: which of the hub's lists the repository is in.
        path: in the repository.
        commit: the commit it is of.
        etag: sha256 of the bytes where they are stored as a large file, else git's blob hash.
        num_bytes: its size.
    """

    repo: str
    kind: Kind
    path: str
    commit: str
    etag: str
    num_bytes: int


class _Patience:
    """Counts tries in a row that brought nothing, and waits between them.

    With `within`, a hub that is not reached is given up after so many seconds; one that answers,
    be it that it has no time now, is waited for as ever.
    """

    def __init__(
        self,
        what: str,
        reporter: Reporter,
        *,
        waits: tuple[float, ...] | None = None,
        stopped: threading.Event | None = None,
        within: float = inf,
    ) -> None:
        self._what = what
        self._reporter = reporter
        self._waits = WAITS if waits is None else waits
        self._stopped = stopped or threading.Event()
        self._within = within
        self._until = time.monotonic() + within
        self._tries = 0

    @property
    def seconds_left(self) -> float:
        """For the next try."""
        return max(0.0, self._until - time.monotonic())

    def start_again(self) -> None:
        """Something arrived."""
        self._tries = 0

    def wait(self, error: Exception) -> None:
        """Wait before the next try.

        Raises:
            UnreachableError: there were enough tries, or nobody waits any more.
        """
        why, asked = _why_passing(error)
        if isinstance(error, HfHubHTTPError):
            self._until = inf
        is_last = self._tries == len(self._waits) or asked > LONGEST_WAIT
        seconds = 0 if is_last else max(self._waits[self._tries], asked)
        if is_last or seconds > self.seconds_left:
            much = f" and asks to wait {asked:.0f} s" if asked > LONGEST_WAIT else ""
            tries = f"after {self._tries + 1} tries in a row" if self._tries else "at once"
            if self._until < inf:
                tries = f"within {self._within:.0f} s"
            raise UnreachableError(
                f"{why}{much}; given up {tries}; run again later: what has arrived is kept"
            ) from error
        self._tries += 1
        self._reporter.say(
            f"{self._what}: {why}; trying again in {seconds:.0f} s "
            f"({self._tries} of {len(self._waits)})"
        )
        if self._stopped.wait(seconds):
            raise UnreachableError("the transfer was stopped") from error


def _in_time(request: Callable[[], T], seconds: float) -> T:
    """Make a request, and wait no longer for it: looking up a name has no limit of its own.

    Raises:
        httpx2.ConnectTimeout: there was no answer in time.
    """
    if seconds == inf:
        return request()
    answer: Future[T] = Future()

    def make() -> None:
        try:
            answer.set_result(request())
        except BaseException as error:  # noqa: BLE001  (it is raised where the answer is awaited)
            answer.set_exception(error)

    # An executor's thread would be waited for when the process ends.
    threading.Thread(target=make, name="a request to the hub", daemon=True).start()
    try:
        return answer.result(timeout=seconds)
    except TimeoutError as error:
        raise httpx2.ConnectTimeout("no answer in time") from error


def _why_passing(error: Exception) -> tuple[str, float]:
    """Why something failed that may pass, and the seconds that the hub asks to wait."""
    if isinstance(error, HfHubHTTPError):
        status = error.response.status_code
        return f"the hub answers {status} {error.response.reason_phrase}", _asked_wait(
            error.response.headers
        )
    if isinstance(error, httpx2.TimeoutException):
        return "the hub sends nothing", 0
    if isinstance(error, httpx2.ConnectError):
        # Not always the hub itself: bytes may come from a storage host, which a firewall may block.
        url = error.request.url
        return f"{url.scheme}://{url.netloc.decode()} cannot be reached ({error})", 0
    return f"the connection broke ({str(error).rstrip('.') or type(error).__name__})", 0


def _asked_wait(headers: Any) -> float:
    """Seconds of Retry-After, or of the hub's own `RateLimit: "api";r=0;t=42`."""
    after = headers.get("Retry-After", "").strip()
    if after.isdecimal():
        return min(float(after), _FOR_EVER)
    with suppress(ValueError, TypeError):  # a date, against the hub's own clock
        until = parsedate_to_datetime(after)
        now = parsedate_to_datetime(headers["Date"]) if "Date" in headers else datetime.now(UTC)
        return max(0.0, (until - now).total_seconds())
    limit = re.search(r";\s*r=0\s*;\s*t=(\d{1,6})", headers.get("RateLimit", ""))
    return float(limit[1]) if limit else 0


def _passes(error: Exception) -> bool:
    if isinstance(error, HfHubHTTPError):
        response = error.response
        # A storage host's 403 is a signed address that ran out; the next request gets a new one.
        stored = bool(response.history) and "X-Error-Code" not in response.headers
        return response.status_code in _PASSING or (stored and response.status_code == 403)
    is_transport = isinstance(error, httpx2.TransportError)
    return is_transport and not isinstance(error, httpx2.UnsupportedProtocol)


def ask(
    what: str,
    request: Callable[[], T],
    reporter: Reporter,
    *,
    repo: str,
    kind: Kind,
    revision: str | None = None,
    path: str | None = None,
    patient: bool = True,
    within: float = inf,
) -> T:
    """Make a request, again where it fails for a reason that passes.

    Args:
        what: names it in messages.
        request: one try.
        reporter: told of every wait.
        repo: that it is about, for messages.
        kind: of the repository.
        revision: that was asked for.
        path: that was asked for.
        patient: whether to wait at all.
        within: seconds after which a hub that is not reached is given up.

    Raises:
        NoSuchFileError: the repository has no such file.
        HubError: the hub refuses, or is not reached; with the remedy.
    """
    patience = _Patience(what, reporter, waits=None if patient else (), within=within)
    while True:
        try:
            return _in_time(request, patience.seconds_left)
        except _REFUSED as error:
            if not _passes(error):
                raise refusal(error, repo=repo, kind=kind, revision=revision, path=path) from error
            patience.wait(error)


def refusal(
    error: Exception, *, repo: str, kind: Kind, revision: str | None = None, path: str | None = None
) -> HubError:
    """What a refused request means, and the remedy."""
    page = page_of(repo, kind)
    if isinstance(error, OfflineModeIsEnabled):
        return UnreachableError(
            f"HF_HUB_OFFLINE is set, and not all that is asked for is in the cache "
            f"{constants.HF_HUB_CACHE}; unset it where there is a network"
        )
    if isinstance(error, httpx2.UnsupportedProtocol | httpx2.InvalidURL):
        return HubError(f"HF_ENDPOINT is {constants.ENDPOINT!r}; write it as https://...")
    if isinstance(error, RevisionNotFoundError):
        return HubError(
            f"the repository has no revision {revision!r}; name a branch, a tag or a commit that "
            f"{page}/commits shows, or take the newest commit with --update"
        )
    if isinstance(error, RemoteEntryNotFoundError):
        return NoSuchFileError(
            f"the repository has no {path} at {revision!r}; {page}/tree/{revision or 'main'} shows "
            "what it has"
        )
    if why := _why_no_access(error, repo, kind, page):
        return HubError(why)
    headers = error.response.headers if isinstance(error, HfHubHTTPError) else {}
    # An address of the storage host is signed: whoever has it has the file.
    said = _QUERY.sub(r"\1", headers.get("X-Error-Message") or str(error))
    return HubError(" ".join(said.split()))


def page_of(repo: str, kind: Kind) -> str:
    """The address of a repository's page."""
    return f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"


def _why_no_access(error: Exception, repo: str, kind: Kind, page: str) -> str | None:
    tokens = f"{constants.ENDPOINT}/settings/tokens"
    give = f"make a token on {tokens}, then set HF_TOKEN to it or run `hf auth login`"
    has_token = get_token() is not None
    if isinstance(error, GatedRepoError):
        if not has_token:
            return f"its terms must be accepted first: log in and accept them on {page}; {give}"
        return (
            f"the account of your token has no access: accept the terms on {page} (some owners "
            "decide by hand); a fine-grained token also needs the permission to read gated "
            f"repositories ({tokens})"
        )
    if isinstance(error, RepositoryNotFoundError):
        or_private = "" if has_token else f"; if it is private, {give}"
        return (
            f"there is no {kind} repository {repo}, or it is private and not yours; correct its "
            f"name{or_private}"
        )
    if isinstance(error, HfHubHTTPError) and error.response.status_code == 401:
        return f"the hub does not know your token; {give}"
    return None


def describe(
    repo: str,
    path: str,
    *,
    kind: Kind,
    revision: str,
    reporter: Reporter,
    patient: bool = True,
    within: float = inf,
) -> RemoteFile:
    """Ask what a file of a revision is: one request.

    Raises:
        HubError: see `ask`.
    """
    url = url_of(repo, path, repo_type=kind, revision=revision)
    found = ask(
        path,
        lambda: get_hf_file_metadata(url, timeout=constants.HF_HUB_ETAG_TIMEOUT),
        reporter,
        repo=repo,
        kind=kind,
        revision=revision,
        path=path,
        patient=patient,
        within=within,
    )
    commit, etag = found.commit_hash or "", found.etag or ""
    # They become names in the cache.
    if not COMMIT.fullmatch(commit) or not ETAG.fullmatch(etag) or found.size is None:
        raise HubError(
            f"{constants.ENDPOINT} does not say commit, hash and size of {path} as the Hugging "
            "Face Hub does; correct HF_ENDPOINT"
        )
    return RemoteFile(
        repo=repo,
        kind=kind,
        path=path,
        commit=commit,
        etag=etag,
        num_bytes=found.size,
    )


def newest_commit(
    repo: str, *, kind: Kind, revision: str, reporter: Reporter, patient: bool = True
) -> str:
    """The commit that a revision stands for now: one request.

    Raises:
        HubError: see `ask`.
    """
    info = ask(
        f"{repo} at {revision}",
        lambda: HfApi().repo_info(
            repo, repo_type=kind, revision=revision, timeout=constants.HF_HUB_ETAG_TIMEOUT
        ),
        reporter,
        repo=repo,
        kind=kind,
        revision=revision,
        patient=patient,
    )
    if info.sha is None or not COMMIT.fullmatch(info.sha):
        raise HubError(
            f"{constants.ENDPOINT} does not say the commit of {repo} as the Hugging Face Hub does; "
            "correct HF_ENDPOINT"
        )
    return info.sha


def stream(
    file: RemoteFile,
    start: int,
    stop: int,
    reporter: Reporter,
    *,
    stopped: threading.Event | None = None,
) -> Iterator[bytes]:
    """Bytes `start` to `stop` (exclusive) of a file; where a connection breaks, the next goes on.

    Args:
        file: as the hub states it.
        start: of the range.
        stop: of the range.
        reporter: told of every wait.
        stopped: set by whoever no longer waits for the bytes.

    Raises:
        HubError: see `ask`.
    """
    patience = _Patience(file.path, reporter, stopped=stopped)
    position = start
    while position < stop:
        try:
            for block in _one_answer(file, position, stop):
                position += len(block)
                patience.start_again()
                yield block
            if position < stop:
                raise httpx2.RemoteProtocolError(f"ended after {position} of {stop} bytes")
        except _REFUSED as error:
            if not _passes(error):
                raise refusal(
                    error, repo=file.repo, kind=file.kind, revision=file.commit, path=file.path
                ) from error
            patience.wait(error)


def _one_answer(file: RemoteFile, start: int, stop: int) -> Iterator[bytes]:
    """What one request gives of a range: all of it, or less where it ends early."""
    url = url_of(file.repo, file.path, repo_type=file.kind, revision=file.commit)
    # Compressed, the bytes of a range would not be those of the file.
    headers = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
    with get_session().stream(
        "GET",
        url,
        headers={**build_hf_headers(), **headers},
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        follow_redirects=True,
    ) as response:
        if response.status_code >= 400:
            response.read()
        hf_raise_for_status(response)
        _require_range(response, start, file.num_bytes)
        # A server may ignore the range and send the file from its start.
        skip = start if response.status_code == 200 else 0
        left = stop - start
        for block in response.iter_raw():
            kept = block[skip : skip + left]
            skip = max(0, skip - len(block))
            left -= len(kept)
            if kept:
                yield kept
            if not left:
                return


def _require_range(response: httpx2.Response, start: int, num_bytes: int) -> None:
    """Refuse an answer that is of other bytes than were asked for: a part has no hash to tell.

    Raises:
        httpx2.RemoteProtocolError: it is.
    """
    headers = response.headers
    wrong = None
    if response.status_code == 206:
        given = headers.get("Content-Range", "")
        if not re.fullmatch(rf"bytes {start}-\d+/{num_bytes}", given):
            wrong = f"Content-Range {given!r}"
    elif response.status_code != 200:
        wrong = f"status {response.status_code}"
    elif headers.get("Content-Length", str(num_bytes)) != str(num_bytes):
        wrong = f"{headers['Content-Length']} bytes"
    if headers.get("Content-Encoding", "identity") != "identity":
        wrong = f"Content-Encoding {headers['Content-Encoding']}"
    if wrong is not None:
        raise httpx2.RemoteProtocolError(
            f"asked for bytes from {start} of {num_bytes} on, the server answers with {wrong}"
        )
