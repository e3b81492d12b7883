"""The commit that a revision was resolved to once: so a branch that moves on changes nothing here.

A pin is a small JSON file under the root. It holds as long as repository and revision are the same.
A corpus has one; tokenizers, which many splits name, have one a repository and revision.
"""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

from codedata.layout import is_commit
from codedata.store.files import replace_atomically


def read_tokenizer_pin(folder: Path, repo: str, revision: str) -> str:
    """The commit of a tokenizer to ask for: see `read_pin`."""
    pinned = read_pin(_tokenizer_pin(folder, repo, revision), repo, revision)
    if pinned == revision:  # of an older codedata: one a repository, of whichever came last
        return read_pin(folder / f"{repo.replace('/', '--')}.json", repo, revision)
    return pinned


def write_tokenizer_pin(folder: Path, repo: str, revision: str, commit: str) -> None:
    """Remember the commit of a tokenizer's revision."""
    write_pin(_tokenizer_pin(folder, repo, revision), repo, revision, commit)


def _tokenizer_pin(folder: Path, repo: str, revision: str) -> Path:
    return folder / f"{repo.replace('/', '--')}@{quote(revision, safe='')}.json"


def read_pin(path: Path, repo: str, revision: str) -> str:
    """The commit to ask for: the pinned one, or the revision itself where none is."""
    if is_commit(revision):
        return revision
    try:
        pin: Any = json.loads(path.read_bytes())
        if (pin["repo"], pin["revision"]) == (repo, revision) and is_commit(pin["commit"]):
            return pin["commit"]
    except (FileNotFoundError, ValueError, TypeError, KeyError):
        pass  # none, or another's: resolved anew
    return revision


def write_pin(path: Path, repo: str, revision: str, commit: str) -> None:
    """Remember the commit of a revision."""
    if is_commit(revision):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    pin = {"repo": repo, "revision": revision, "commit": commit}
    replace_atomically(path, json.dumps(pin, indent=2).encode())
