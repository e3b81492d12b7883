"""A dataset folder -> a dataset repository of the hub, and back, with its facts and card.

    $HF_HOME/codedata/datasets--owner--name/<commit>/    a dataset of the hub: links to the cache

Pushed is what verifies, in one commit, so that no revision holds a mixture. Fetched is what the
meta of one commit names; it appears under its name when it is whole.
"""

import os
import shutil
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants
from huggingface_hub.file_download import repo_folder_name

from codedata.errors import DatasetError
from codedata.format.card import CARD_NAME, own_digest, render_card
from codedata.format.facts import FACTS_NAME, dump_facts
from codedata.format.meta import MAX_META_BYTES, META_NAME, ShardEntry, file_index, parse_meta
from codedata.format.without_paths import without_paths
from codedata.hub.client import Call, cache_home, limit_client, newest_commit
from codedata.hub.files import describe, fetch_file, find_here, note_revision
from codedata.hub.refusals import HubError, NoSuchFileError, page_of
from codedata.layout import is_commit, is_repo
from codedata.progress import Reporter
from codedata.store.dataset_folder import Dataset, open_dataset
from codedata.store.files import publish_folder
from codedata.store.locks import waiting_lock
from codedata.store.owners import explained


def push_dataset(
    folder: Path, repo: str, *, public: bool, branch: str, message: str | None, reporter: Reporter
) -> str:
    """Upload a dataset in one commit, and return the address of that commit.

    Args:
        folder: of the dataset.
        repo: dataset repository; it is made if there is none.
        public: whether anyone may see it.
        branch: that the commit goes to; it is made if there is none.
        message: of the commit; None names the dataset's digest.
        reporter: told what is waited for.

    Raises:
        DatasetError: the folder is no whole dataset that says what it was made of.
        HubError: the hub does not take it, or the repository is not as private as asked for.
    """
    limit_client()
    dataset = open_dataset(folder, verify=True)
    texts = _public_texts(dataset, reporter)
    names = [*_names(dataset.entries), META_NAME]
    page = page_of(repo, "dataset")
    api, options = HfApi(), {"repo_type": "dataset", "exist_ok": True}
    with Call(repo, "dataset", branch, reporter=reporter).made():
        api.create_repo(repo, private=not public, **options)
        is_private = api.dataset_info(repo, expand=["private"]).private
        if public and is_private:
            raise HubError(
                f"{repo} exists and is private; make it public on {page}/settings, or push without "
                "--public"
            )
        if not public and not is_private:
            raise HubError(
                f"{repo} is public, but a dataset holds its corpus's text and is pushed privately "
                f"unless told otherwise; push with --public, or make it private on {page}"
            )
        if branch != "main":
            api.create_branch(repo, branch=branch, **options)
        head = newest_commit(repo, kind="dataset", revision=branch, reporter=reporter)
        there = api.list_repo_files(repo, repo_type="dataset", revision=head)
        texts_there = [name for name in (FACTS_NAME, CARD_NAME) if name in there]
        _require_own_texts(repo, head, texts_there, reporter)
        stale = [name for name in sorted({*there} - {*names}) if file_index(name) is not None]
        stale += [name for name in texts_there if name not in texts]
        operations = [
            *(CommitOperationDelete(name) for name in stale),
            *(CommitOperationAdd(name, str(folder / name)) for name in names),
            *(CommitOperationAdd(name, data) for name, data in texts.items()),
        ]
        try:
            pushed = api.create_commit(
                repo,
                operations,
                commit_message=message or f"Dataset {dataset.digest}",
                repo_type="dataset",
                revision=branch,
                parent_commit=head,
            )
        except RuntimeError as error:  # in which the library wraps that of a thread
            if isinstance(error.__cause__, HubError | httpx2.HTTPError):
                raise error.__cause__ from error
            raise HubError(f"the upload failed: {error}") from error
    if open_dataset(folder).digest != dataset.digest:
        raise DatasetError(f"{folder} was replaced while it was pushed; push it again")
    return pushed.commit_url


def _public_texts(dataset: Dataset, reporter: Reporter) -> dict[str, bytes]:
    """Facts and card of a verified dataset as others may see them.

    The card of an older codedata may name folders of this machine; facts never do.

    Raises:
        DatasetError: nothing says what the dataset was made of.
    """
    facts, folder = dataset.facts, dataset.folder
    if facts is None:
        raise DatasetError(
            f"{folder} does not say what it was made of: it holds no {FACTS_NAME}; make the "
            "dataset again"
        )
    if (folder / FACTS_NAME).exists():
        texts = [folder / FACTS_NAME, folder / CARD_NAME]
        return {path.name: path.read_bytes() for path in texts if path.exists()}
    reporter.say(
        f"{folder / CARD_NAME} is of an older codedata; {FACTS_NAME} and a card made of it are "
        "pushed, without folders of this machine, and it stays as it is here"
    )
    public = without_paths(facts)
    card = render_card(public)
    return {FACTS_NAME: dump_facts(public, card), CARD_NAME: card}


def _require_own_texts(repo: str, commit: str, names: list[str], reporter: Reporter) -> None:
    """Refuse to replace facts or a README.md that codedata did not write.

    Raises:
        HubError: it did not, or somebody changed them.
    """
    there = {name: _fetch(repo, name, commit, reporter).read_bytes() for name in names}
    name, digest = own_digest(there.get(FACTS_NAME), there.get(CARD_NAME))
    if there and digest is None:
        raise HubError(
            f"{name} of {repo} was not written by codedata, or was changed since; move it on "
            f"{page_of(repo, 'dataset')}, or push to another repository or branch"
        )


def _fetch(repo: str, name: str, commit: str, reporter: Reporter) -> Path:
    return fetch_file(repo, name, kind="dataset", revision=commit, reporter=reporter).path


def fetch_dataset(repo: str, revision: str, reporter: Reporter) -> Path:
    """Have the dataset of a revision as a folder.

    Args:
        repo: dataset repository, `owner/name`.
        revision: branch, tag or commit; one that is here costs no request if it is a commit.
        reporter: told how far the transfers are.

    Raises:
        HubError: the hub does not give it.
        DatasetError: the repository holds no whole dataset.
    """
    if not is_repo(repo):
        raise HubError("a repository is written as owner/name")
    commit = commit_of(repo, revision, reporter)
    name = repo_folder_name(repo_id=repo, repo_type="dataset")
    base = cache_home(constants.HF_HOME) / "codedata" / name
    folder = base / commit
    if not folder.exists():
        try:
            base.mkdir(parents=True, exist_ok=True)
            with waiting_lock(base / f".{commit}.lock", reporter.say):
                if not folder.exists():
                    _gather(repo, commit, folder, reporter)
        except OSError as error:
            raise HubError(
                f"{base} cannot be written: {explained(error)}; set HF_HOME to a folder that can"
            ) from error
    note_revision(repo, revision, kind="dataset", commit=commit)
    return folder


def commit_of(repo: str, revision: str, reporter: Reporter) -> str:
    """The commit that a revision stands for now: one request, or none for a commit.

    Raises:
        HubError: the hub does not give it.
        DatasetError: the repository holds no dataset.
    """
    if is_commit(revision):
        return revision
    here = find_here(repo, META_NAME, "dataset", revision)
    try:
        return describe(repo, META_NAME, revision=revision, reporter=reporter, here=here).commit
    except NoSuchFileError as error:
        raise no_dataset(repo, revision) from error


def no_dataset(repo: str, revision: str) -> DatasetError:
    """That a repository holds no dataset."""
    return DatasetError(
        f"{page_of(repo, 'dataset')} holds no {META_NAME} at {revision}, the mark of a whole "
        "dataset; name a repository that `codedata push` made"
    )


def _gather(repo: str, commit: str, folder: Path, reporter: Reporter) -> None:
    """Fetch the files of a dataset and put them under its name when they are whole."""
    try:
        meta = _fetch(repo, META_NAME, commit, reporter)
    except NoSuchFileError as error:
        raise no_dataset(repo, commit) from error
    with open(meta, "rb") as file:
        entries = parse_meta(file.read(MAX_META_BYTES + 1), f"{META_NAME} of {repo}")
    files = {META_NAME: meta}
    for name in _names(entries):
        files[name] = _fetch(repo, name, commit, reporter)
    for name in (FACTS_NAME, CARD_NAME):
        with suppress(NoSuchFileError):  # a dataset of the old script has neither
            files[name] = _fetch(repo, name, commit, reporter)
    stage = folder.with_name(f".{commit}.stage")
    shutil.rmtree(stage, ignore_errors=True)
    stage.mkdir()
    for name, path in files.items():
        _link(path.resolve(), stage / name)
    open_dataset(stage, verify=entries[0].sha256 is not None).check_unhashed()
    publish_folder(stage, folder)


def _names(entries: Sequence[ShardEntry]) -> list[str]:
    """The shards of a dataset, and what lies beside them."""
    return [name for index, entry in enumerate(entries) for name in entry.files(index)]


def _link(source: Path, target: Path) -> None:
    """The same file under another name; a copy where the filesystem has no such links."""
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)
