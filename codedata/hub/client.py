"""Calls of the hub's library, whose refusals are said with their remedy.

`limit_client` has the library use a client with patience and limits (`codedata.hub.limits`): our
commands and jobs call it, an import never does, nor does who opens a dataset; there the library's
own client and its own retries serve.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache, partial
from math import inf
from typing import TypeVar

from huggingface_hub import HfApi, constants, get_session, set_client_factory
from huggingface_hub.utils import logging as hub_logging

from codedata.errors import CodedataError
from codedata.hub.limits import LimitedClient
from codedata.hub.refusals import COMMIT, REFUSED, Kind, no_hub, refusal
from codedata.hub.waiting import CALL, Call
from codedata.progress import Reporter

T = TypeVar("T")

ASKING_SECONDS = 10
"""How long a hub that is not reached is asked for a name that may be a misspelt folder."""


@cache
def limit_client() -> None:
    """Have the hub's library use a client with patience and limits from now on in this process."""
    set_client_factory(partial(LimitedClient, get_session().event_hooks["request"]))
    hub_logging.set_verbosity_error()  # it warns of what is said here, with signed addresses


@dataclass(frozen=True)
class Asked:
    """What the hub is asked for.

    Attributes:
        repo: `owner/name`.
        kind: which of the hub's lists the repository is in.
        revision: branch, tag or commit.
        path: of a file in the repository.
    """

    repo: str
    kind: Kind
    revision: str = "main"
    path: str | None = None


def ask(
    asked: Asked,
    request: Callable[[], T],
    reporter: Reporter,
    *,
    patient: bool = True,
    within: float = inf,
) -> T:
    """Make a call of the hub's library.

    Args:
        asked: what it is about.
        request: the call.
        reporter: told of every wait.
        patient: whether to wait at all.
        within: seconds after which a hub that is not reached is given up.

    Raises:
        NoSuchFileError: the repository has no such file.
        HubError: the hub refuses, or is not reached; with the remedy.
        OSError: this machine's disk does not take what arrives.
    """
    what = asked.path or f"{asked.repo} at {asked.revision}"
    token = CALL.set(Call(what, reporter, patient, within))
    try:
        return request()
    except CodedataError:
        raise
    except REFUSED as error:
        raise refusal(error, asked.repo, asked.kind, asked.revision, asked.path) from error
    finally:
        CALL.reset(token)


def newest_commit(repo: str, *, kind: Kind, revision: str, reporter: Reporter) -> str:
    """The commit that a revision stands for now: one request.

    Raises:
        HubError: see `ask`.
    """
    info = ask(
        Asked(repo, kind, revision),
        lambda: HfApi().repo_info(
            repo,
            repo_type=kind,
            revision=revision,
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
            expand=["sha"],  # pyright: ignore[reportArgumentType]  (a list, as of each kind's own)
        ),
        reporter,
    )
    if info.sha is None or not COMMIT.fullmatch(info.sha):
        raise no_hub(repo)
    return info.sha
