"""A repository, a path and a revision -> a file of the Hugging Face Hub on this disk.

The revision is resolved to a commit, which is recorded. What the hub refuses is said in one line
with its remedy.
"""

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

_COMMIT = re.compile(r"[0-9a-f]{40}", re.ASCII)


class HubError(Exception):
    """Why the hub does not give a file; the caller says what the file was for."""


class NoSuchFileError(HubError):
    """The repository exists, but has no such file."""


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """A fetched file.

    Attributes:
        path: in the hub client's cache.
        commit: the commit it is of.
    """

    path: Path
    commit: str


def fetch_file(
    repo: str, path: str, *, kind: Literal["model", "dataset"], revision: str | None = None
) -> HubFile:
    """Fetch a file, or find it in the cache.

    Args:
        repo: `owner/name`.
        path: the file's path in the repository.
        kind: which of the hub's two lists the repository is in.
        revision: branch, tag or commit; None is the default branch.

    Raises:
        NoSuchFileError: the repository has no such file.
        HubError: anything else that keeps the file away, with the remedy.
    """
    # A second of imports that local files do not need.
    import httpx2
    from huggingface_hub import _CACHED_NO_EXIST, hf_hub_download, try_to_load_from_cache
    from huggingface_hub.errors import (
        GatedRepoError,
        HfHubHTTPError,
        LocalEntryNotFoundError,
        OfflineModeIsEnabled,
        RemoteEntryNotFoundError,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    try:
        local = Path(hf_hub_download(repo, path, repo_type=kind, revision=revision))
    except GatedRepoError as error:
        raise HubError(
            "its terms must be accepted first; accept them on its page, then set HF_TOKEN or run "
            "`hf auth login`"
        ) from error
    except RepositoryNotFoundError as error:
        raise HubError("there is no such repository, or it is private") from error
    except RevisionNotFoundError as error:
        raise HubError(f"the repository has no revision {revision!r}") from error
    except RemoteEntryNotFoundError as error:
        raise NoSuchFileError(f"the repository has no {path}") from error
    except HfHubHTTPError as error:
        raise HubError(" ".join(str(error).split())) from error
    except (LocalEntryNotFoundError, OfflineModeIsEnabled, httpx2.HTTPError) as error:
        known = try_to_load_from_cache(repo, path, repo_type=kind, revision=revision)
        if known is _CACHED_NO_EXIST:
            raise NoSuchFileError(f"the repository has no {path}") from error
        raise HubError("it cannot be reached, and the cache has no copy") from error
    commit = next((part for part in local.parts if _COMMIT.fullmatch(part)), "")
    assert commit, "the client's cache has one folder a commit"
    return HubFile(path=local, commit=commit)
