"""Calls of the hub's library, whose refusals are said with their remedy.

`limit_client` has the library use a client with patience and limits (`codedata.hub.limits`): our
commands and jobs call it, an import never does, nor does who opens a dataset; there the library's
own client and its own retries serve.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache, partial
from math import inf
from pathlib import Path

from huggingface_hub import HfApi, constants, get_session, set_client_factory
from huggingface_hub.utils import logging as hub_logging

from codedata.errors import CodedataError
from codedata.hub.limits import CALL, Call, LimitedClient
from codedata.hub.refusals import REFUSED, HubError, Kind, no_hub, refusal
from codedata.layout import is_commit
from codedata.places import local_path
from codedata.progress import Reporter

ASKING_SECONDS = 10
"""How long a hub that is not reached is asked for a name that may be a misspelt folder."""


@cache
def limit_client() -> None:
    """Have the hub's library use a client with patience and limits from now on in this process."""
    set_client_factory(partial(LimitedClient, get_session().event_hooks["request"]))
    hub_logging.set_verbosity_error()  # it warns of what is said here, with signed addresses


@contextmanager
def calling(
    repo: str,
    kind: Kind,
    revision: str = "main",
    path: str | None = None,
    *,
    reporter: Reporter,
    patient: bool = True,
    within: float = inf,
) -> Iterator[None]:
    """Call the hub's library.

    Args:
        repo: `owner/name`.
        kind: which of the hub's lists the repository is in.
        revision: branch, tag or commit.
        path: of a file in the repository.
        reporter: told of every wait.
        patient: whether to wait at all.
        within: seconds after which a hub that is not reached is given up.

    Raises:
        NoSuchFileError: the repository has no such file.
        HubError: the hub refuses, or is not reached; with the remedy.
        OSError: this machine's disk does not take what arrives.
    """
    cache_home(constants.HF_HUB_CACHE)
    token = CALL.set(Call(path or f"{repo} at {revision}", reporter, patient, within))
    try:
        yield
    except CodedataError:
        raise
    except REFUSED as error:
        raise refusal(error, repo, kind, revision, path) from error
    finally:
        CALL.reset(token)


def cache_home(folder: str) -> Path:
    """A folder of the hub's library, which for a user without a home would be one named `~`.

    Raises:
        HubError: it is no folder of this machine.
    """
    return local_path(folder, "the hub's cache (HF_HOME)", error=HubError)


def newest_commit(repo: str, *, kind: Kind, revision: str, reporter: Reporter) -> str:
    """The commit that a revision stands for now: one request.

    Raises:
        HubError: see `calling`.
    """
    with calling(repo, kind, revision, reporter=reporter):
        info = HfApi().repo_info(
            repo,
            repo_type=kind,
            revision=revision,
            timeout=constants.HF_HUB_ETAG_TIMEOUT,
            expand=["sha"],  # pyright: ignore[reportArgumentType]  (a list, as of each kind's own)
        )
    if info.sha is None or not is_commit(info.sha):
        raise no_hub(repo)
    return info.sha
