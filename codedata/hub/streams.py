"""A dataset of the Hugging Face Hub at one commit, as what is streamed.

Meta, facts and card are fetched like any file, into the hub's cache; shards, and what lies beside
them, into this user's own, which is bounded. Requests: one for the commit of a branch, one for
each page of the list, and one for each 32 MB of a file.

Invariants: of an answer no more bytes are read than were asked for, and one; an answer of another
length, as what fails in passing, is asked for again; what is under way ends at once where it is
given up (`store/given_up.py`), which only requests on an event loop do.
"""

import os
from collections.abc import Generator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import lru_cache, partial

import httpx2
from huggingface_hub import HfApi, constants, get_async_session, hf_hub_url
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status

from codedata.errors import DatasetError
from codedata.format.card import CARD_NAME
from codedata.format.facts import FACTS_NAME
from codedata.format.meta import META_NAME
from codedata.hub.client import LONGEST_WAIT, Call, asked_wait
from codedata.hub.datasets import commit_of, no_dataset
from codedata.hub.files import fetch_file, note_revision
from codedata.hub.refusals import HubError, NoSuchFileError, passes, why_passing
from codedata.layout import is_repo
from codedata.printable import printable
from codedata.progress import TERMINAL, Reporter, logger
from codedata.store import requests
from codedata.store.clients import wait_for
from codedata.store.streamed import Stream, require_unverified

_TRIES = 8
"""Of a request: some 40 seconds in all, where the hub names no time."""

_PIECE_SECONDS = 600.0
"""For an answer: 32 MB at 55 kB/s."""


@dataclass(frozen=True)
class HubRemote:
    """A commit of a dataset repository; see `Remote`.

    Attributes:
        repo: `owner/name`.
        commit: of it.
    """

    repo: str
    commit: str

    @property
    def where(self) -> str:
        """As fsspec writes it."""
        return f"hf://datasets/{self.repo}@{self.commit}"

    def texts(self) -> tuple[bytes, bytes | None, bytes | None]:
        """See `Remote.texts`."""
        with _said(self):
            meta = self._text(META_NAME)
            if meta is None:
                raise no_dataset(self.repo, self.commit)
            return meta, self._text(FACTS_NAME), self._text(CARD_NAME)

    def sizes(self, prefix: str) -> dict[str, int | None]:
        """See `Remote.sizes`."""
        with _said(self), self._call().made():
            tree = HfApi().list_repo_tree(self.repo, revision=self.commit, repo_type="dataset")
            files = (each for each in tree if isinstance(each, RepoFile))
            return {each.path: each.size for each in files if each.path.startswith(prefix)}

    def read(self, name: str, start: int, stop: int) -> bytes:
        """See `Remote.read`."""
        url = hf_hub_url(self.repo, name, repo_type="dataset", revision=self.commit)
        asked = {"Range": f"bytes={start}-{stop - 1}", "Accept-Encoding": "identity"}
        ask = partial(_piece, url, build_hf_headers() | asked, start, stop)
        persistently = requests.persistently(
            ask,
            tries_for=lambda error: _TRIES if passes(error) and not _is_long(error) else 1,
            try_seconds=_PIECE_SECONDS,
            before_wait=partial(_say, f"{self.where}/{name}"),
            asked_wait=_asked_wait,
        )
        try:
            with _said(self), self._call(name).made():
                try:
                    return wait_for(persistently)
                except requests.RequestFailedError as failed:
                    raise failed.error from failed
        except NoSuchFileError as error:
            raise FileNotFoundError(name) from error

    def _text(self, name: str) -> bytes | None:
        try:
            found = fetch_file(
                self.repo, name, kind="dataset", revision=self.commit, reporter=TERMINAL
            )
        except NoSuchFileError:
            return None
        return found.path.read_bytes()

    def _call(self, name: str | None = None) -> Call:
        return Call(self.repo, "dataset", self.commit, name)


def stream_of_hub(repo: str, revision: str, reporter: Reporter, *, verify: bool) -> Stream:
    """What streams a dataset at the commit that a revision stands for now.

    Args:
        repo: dataset repository, `owner/name`.
        revision: branch, tag or commit.
        reporter: told what is waited for.
        verify: whether all of it is to be verified, which is refused.

    Raises:
        HubError: the hub does not give it.
        DatasetError: the repository holds no dataset; or all is to be verified.
    """
    if not is_repo(repo):
        raise HubError("a repository is written as owner/name")
    require_unverified(f"dataset {repo}", verify=verify)
    commit = commit_of(repo, revision, reporter)
    note_revision(repo, revision, kind="dataset", commit=commit)
    return Stream(HubRemote(repo, commit))


async def _piece(url: str, headers: Mapping[str, str], start: int, stop: int) -> bytes:
    """The bytes of a range, exactly as many."""
    num_bytes, blocks, num_here = stop - start, list[bytes](), 0
    timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
    async with _client(os.getpid()).stream("GET", url, headers=headers, timeout=timeout) as answer:
        hf_raise_for_status(answer)
        is_all = answer.status_code == 200  # of a server without ranges
        num_here = -start if is_all else 0
        async for block in answer.aiter_bytes():
            blocks.append(block[max(0, -num_here) :])
            num_here += len(block)
            if num_here > num_bytes:
                break
    if num_here < num_bytes or (num_here > num_bytes and not is_all):
        more = "more" if num_here > num_bytes else f"{max(0, num_here):,}"
        raise httpx2.RemoteProtocolError(
            f"{more} of {num_bytes:,} bytes came", request=answer.request
        )
    return b"".join(blocks)[:num_bytes]


@lru_cache(maxsize=1)
def _client(pid: int) -> httpx2.AsyncClient:  # noqa: ARG001  (a process)
    """A client whose connections are this process's, on fsspec's event loop."""
    return get_async_session()


def _asked_wait(error: Exception) -> float:
    """Seconds that the hub asks to be left alone."""
    answer = getattr(error, "response", None)
    return 0.0 if answer is None else asked_wait(answer.headers)


def _is_long(error: Exception) -> bool:
    return _asked_wait(error) > LONGEST_WAIT


def _say(where: str, error: Exception, num_tries: int, wait: float) -> None:
    why = why_passing(error)
    line = f"{where}: {why}; asked again in {wait:.1f} s, after try {num_tries} of {_TRIES}"
    logger.warning(printable(line))


@contextmanager
def _said(remote: HubRemote) -> Generator[None]:
    """Have what the hub does not give be an error of the dataset, as of any other that is streamed.

    Raises:
        NoSuchFileError: as it is.
        DatasetError: anything else, with the remedy.
    """
    try:
        yield
    except NoSuchFileError:
        raise
    except HubError as error:
        raise DatasetError(f"{remote.where}: the hub does not give it: {error}") from error
