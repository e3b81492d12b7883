"""A dataset of the Hugging Face Hub at one commit, as what is streamed.

Meta, facts and card are fetched like any file, into the hub's cache; shards, and what lies beside
them, into this user's own, which is bounded. Requests: one for the commit of a branch, one for
each page of the list, and one for each 32 MB of a file.
"""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass

from huggingface_hub import HfApi, constants, hf_hub_url
from huggingface_hub.hf_api import RepoFile
from huggingface_hub.utils import build_hf_headers, hf_raise_for_status, http_backoff

from codedata.errors import DatasetError
from codedata.format.card import CARD_NAME
from codedata.format.facts import FACTS_NAME
from codedata.format.meta import META_NAME
from codedata.hub.client import Call
from codedata.hub.datasets import commit_of, no_dataset
from codedata.hub.files import fetch_file, note_revision
from codedata.hub.refusals import HubError, NoSuchFileError
from codedata.layout import is_repo
from codedata.progress import TERMINAL, Reporter
from codedata.store.given_up import abandonable
from codedata.store.streamed import Stream, require_unverified


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
        return abandonable(lambda: self._read(name, start, stop))

    def _read(self, name: str, start: int, stop: int) -> bytes:
        url = hf_hub_url(self.repo, name, repo_type="dataset", revision=self.commit)
        headers = build_hf_headers() | {"Range": f"bytes={start}-{stop - 1}"}
        try:
            with _said(self), self._call(name).made():
                answer = http_backoff(
                    "GET", url, headers=headers, timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT
                )
                hf_raise_for_status(answer)
                is_all = answer.status_code == 200  # of a server without ranges
                return answer.content[start:stop] if is_all else answer.content
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
