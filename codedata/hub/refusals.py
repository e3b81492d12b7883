"""What the hub's library raises -> why something is not given or taken, and the remedy.

An address of the storage host is signed: whoever has it has the file, so it is in no message.
"""

import re
from typing import Literal

import httpx2
from huggingface_hub import constants, errors, get_token

from codedata.printable import shortened

Kind = Literal["model", "dataset"]

PASSING = (408, 429, 500, 502, 503, 504)

REFUSED = (
    httpx2.HTTPError,  # the library's own errors of answers among them
    httpx2.InvalidURL,
    OSError,  # so are the library's of metadata and of its cache
    ValueError,  # a token or a name that no request can hold
    RecursionError,
)
"""What a call of the library may end with."""

_QUERY = re.compile(r"(https?://[^\s?'\"]+)\?[^\s'\"]*")


class HubError(Exception):
    """Why the hub does not give or take something; the caller says what it was for."""


class NoSuchFileError(HubError):
    """The repository exists, but has no such file."""


class UnreachableError(HubError):
    """The hub had no answer for all the tries, or must not be asked."""


class ServerError(HubError):
    """The server answered, but as no hub does."""


def page_of(repo: str, kind: Kind) -> str:
    """The address of a repository's page."""
    return f"{constants.ENDPOINT}/{'datasets/' if kind == 'dataset' else ''}{repo}"


def refusal(
    error: BaseException, repo: str, kind: Kind, revision: str, path: str | None
) -> HubError:
    """What a refused call means, and the remedy.

    Raises:
        OSError: it is this machine's, of its disk for one.
    """
    if isinstance(error, errors.LocalEntryNotFoundError) and error.__cause__ is not None:
        error = error.__cause__  # the library's words for any failure to ask
    if isinstance(error, HubError):
        return error
    if said := _known(error, repo, kind, revision, path):
        is_missing = isinstance(error, errors.RemoteEntryNotFoundError)
        return NoSuchFileError(said) if is_missing else HubError(said)
    if isinstance(error, errors.OfflineModeIsEnabled):
        return UnreachableError(
            f"HF_HUB_OFFLINE is set, and not all that is asked for is in the cache "
            f"{constants.HF_HUB_CACHE}; unset it where there is a network"
        )
    if isinstance(error, errors.FileMetadataError):
        return no_hub(path or repo)
    if passes(error):
        return UnreachableError(f"{why_passing(error)}; run again later")
    if isinstance(error, OSError) and error.errno is not None:
        raise error
    said = str(error)
    if isinstance(error, errors.HfHubHTTPError):
        said = error.server_message or why_status(error.response)
    return HubError(shortened(" ".join(_QUERY.sub(r"\1", said).split())))


def _known(
    error: BaseException, repo: str, kind: Kind, revision: str, path: str | None
) -> str | None:
    page, tokens = page_of(repo, kind), f"{constants.ENDPOINT}/settings/tokens"
    give = f"make a token on {tokens}, then set HF_TOKEN to it or run `hf auth login`"
    has_token = get_token() is not None
    said = None
    match error:
        case httpx2.UnsupportedProtocol() | httpx2.InvalidURL():
            said = f"HF_ENDPOINT is {constants.ENDPOINT!r}; write it as https://..."
        case errors.RevisionNotFoundError():
            said = (
                f"the repository has no revision {revision!r}; name a branch, a tag or a commit "
                f"that {page}/commits shows, or take the newest commit with --update"
            )
        case errors.RemoteEntryNotFoundError():
            said = (
                f"the repository has no {path} at {revision!r}; {page}/tree/{revision} shows what "
                "it has"
            )
        case errors.GatedRepoError() if has_token:
            said = (
                f"the account of your token has no access: accept the terms on {page} (some owners "
                "decide by hand); a fine-grained token also needs the permission to read gated "
                f"repositories ({tokens})"
            )
        case errors.GatedRepoError():
            said = f"its terms must be accepted first: log in and accept them on {page}; {give}"
        case errors.RepositoryNotFoundError():
            said = (
                f"there is no {kind} repository {repo}, or it is private and not yours; correct "
                f"its name{'' if has_token else f'; if it is private, {give}'}"
            )
        case errors.HfHubHTTPError() if error.response.status_code == 401:
            said = f"the hub does not know your token; {give}"
        case _:
            pass
    return said


def no_hub(what: str) -> ServerError:
    """That a server does not answer as the hub does."""
    return ServerError(
        f"{constants.ENDPOINT} does not say commit, hash and size of {what} as the Hugging Face "
        "Hub does: a proxy or a login page may answer in its place, or HF_ENDPOINT is no hub's"
    )


def passes(error: BaseException) -> bool:
    """Whether something failed for a reason that passes by itself."""
    if isinstance(error, errors.HfHubHTTPError):
        return error.response.status_code in PASSING
    if _is_late(error):
        return True
    is_transport = isinstance(error, httpx2.TransportError)
    return is_transport and not isinstance(error, httpx2.UnsupportedProtocol)


def _is_late(error: BaseException) -> bool:
    """Whether it is asyncio's of an answer that takes too long; a disk's has a number."""
    return isinstance(error, TimeoutError) and error.errno is None


def why_passing(error: BaseException) -> str:
    """Why something failed that may pass."""
    if isinstance(error, errors.HfHubHTTPError):
        return why_status(error.response)
    if isinstance(error, httpx2.TimeoutException) or _is_late(error):
        return "the hub sends nothing"
    if isinstance(error, httpx2.ConnectError):
        # Not always the hub itself: bytes may come from a storage host, which a firewall may block.
        url = error.request.url
        return f"{url.scheme}://{url.netloc.decode()} cannot be reached ({error})"
    return f"the connection broke ({str(error).rstrip('.') or type(error).__name__})"


def why_status(response: httpx2.Response) -> str:
    """What the hub answered."""
    return f"the hub answers {response.status_code} {response.reason_phrase}"
