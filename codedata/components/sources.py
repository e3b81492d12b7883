"""Where a corpus comes from, as its YAML says: a hub's repository, this machine, or folders."""

import math
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

import dagster as dg
from pydantic import Field

from codedata.errors import CorpusError
from codedata.format.ranges import MAX_CHARACTERS
from codedata.layout import is_repo
from codedata.places import local_path

MAX_FILES = 10_000
"""Partitions of an asset: the UI stays quick, and a slip in a pattern is found out at once."""

_EXTENSION = re.compile(r"[^./\\\s\0]+")
_PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")
_NUMBERS = re.compile(r"\{(\d+)\.\.(\d+)\}")
_GLOB = re.compile(r"[*?]")

_MANY = "Path of the parquet, or a list of paths; {00000..00256} in one stands for those numbers."


def expand_paths(paths: str | list[str], what: str) -> tuple[str, ...]:
    """The paths that a YAML names, in its order.

    Args:
        paths: one or several; `{000..256}` stands for each number, as in a shell.
        what: whose paths they are, for messages.

    Raises:
        CorpusError: a path is empty, a pattern of another kind, or named twice.
    """
    expanded: list[str] = []
    for path in [paths] if isinstance(paths, str) else paths:
        if not path.strip() or "\0" in path:
            raise CorpusError(f"path of {what} is {path!r}; name a parquet file")
        ranges = _NUMBERS.findall(path)
        most = math.prod(max(1, 1 + int(last) - int(first)) for first, last in ranges)
        if len(expanded) + most > MAX_FILES:
            raise CorpusError(
                f"path of {what} stands, with {path!r}, for more than {MAX_FILES:,} files; make "
                "several corpora"
            )
        expanded += _expand(path, what)
    if not expanded:
        raise CorpusError(f"path of {what} is []; name at least one parquet file")
    if len(set(expanded)) < len(expanded):
        twice = next(path for path in expanded if expanded.count(path) > 1)
        raise CorpusError(f"path of {what} names {twice} twice; name each file once")
    return tuple(expanded)


def _expand(path: str, what: str) -> list[str]:
    found = _NUMBERS.search(path)
    if found is None:
        if _GLOB.search(path):
            raise CorpusError(
                f"path of {what} is {path!r}, but its files must be known without asking for "
                "them: write a range, such as train-{00000..00256}-of-00257.parquet, or a list"
            )
        return [path]
    first, last = found[1], found[2]
    padded = any(len(number) > 1 and number[0] == "0" for number in (first, last))
    if int(last) < int(first) or (padded and len(first) != len(last)):
        raise CorpusError(
            f"path of {what} holds {found[0]}; write the smaller number first, and both with as "
            "many digits as the files' names have, such as {00000..00256}"
        )
    width = len(first) if padded else 1
    return [
        f"{path[: found.start()]}{number:0{width}d}{rest}"
        for number in range(int(first), int(last) + 1)
        for rest in _expand(path[found.end() :], what)
    ]


class HubSource(dg.Model, dg.Resolvable):
    """Parquet files of a dataset repository on the Hugging Face Hub."""

    kind: Literal["hub"]
    repo: str = Field(description="Dataset repository: owner/name.")
    path: str | list[str] = Field(description=_MANY)
    revision: str = Field(
        default="main",
        description="Branch, tag or commit; a branch or tag is resolved once, and then kept.",
    )
    first_chars: int | None = Field(
        default=None,
        description="Fetch no more of each file than its first characters take, and only the "
        "column content.",
    )

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, in their order."""
        return expand_paths(self.path, f"the hub source {self.repo}")

    def require_valid(self) -> None:
        """Refuse values that no corpus can have.

        Raises:
            CorpusError: naming the field, its value and the remedy.
        """
        if not is_repo(self.repo):
            raise CorpusError(
                f"repo of a hub source is {self.repo!r}; write it as owner/name, such as "
                "bigcode/the-stack"
            )
        if not self.revision.strip() or "\0" in self.revision:
            raise CorpusError(
                f"revision of the hub source {self.repo} is {self.revision!r}; name one that the "
                "repository has"
            )
        if self.first_chars is not None and not 1 <= self.first_chars <= MAX_CHARACTERS:
            raise CorpusError(
                f"first_chars of the hub source {self.repo} is {self.first_chars}; it must be 1 "
                f"to {MAX_CHARACTERS}, or left out for whole files"
            )
        for path in self.paths:
            if "://" in path or path.startswith("/") or ".." in path.split("/"):
                raise CorpusError(
                    f"path of the hub source {self.repo} is {path!r}; write it as the repository's "
                    "page shows it, without a leading slash or an address"
                )


class LocalSource(dg.Model, dg.Resolvable):
    """Parquet files on this machine."""

    kind: Literal["local"]
    path: str | list[str] = Field(description=f"{_MANY} Relative to the working folder.")

    @property
    def paths(self) -> tuple[str, ...]:
        """The files, in their order.

        Raises:
            CorpusError: one is no path of this machine.
        """
        what = "path of a local source"
        return tuple(
            str(local_path(path, what, error=CorpusError))
            for path in expand_paths(self.path, "a local source")
        )

    def require_valid(self) -> None:
        """Refuse values that no corpus can have.

        Raises:
            CorpusError: naming the field, its value and the remedy.
        """
        _ = self.paths


class FoldersSource(dg.Model, dg.Resolvable):
    """Folders of source code on this machine, written as a parquet."""

    kind: Literal["folders"]
    folders: Mapping[str, str] = Field(
        default_factory=dict, description="Folders by the name that their files get in the corpus."
    )
    headers_of: list[str] = Field(
        default_factory=list,
        description="Installed packages whose C and C++ headers are taken; missing ones are not.",
    )
    extensions: list[str] = Field(
        default=["c", "h"], description="Endings of the files to take, without the dot."
    )

    @property
    def places(self) -> dict[str, Path]:
        """The folders by their names.

        Raises:
            CorpusError: one is no folder of this machine.
        """
        return {
            name: local_path(place, f"folder {name!r} of a folders source", error=CorpusError)
            for name, place in self.folders.items()
        }

    def require_valid(self) -> None:
        """Refuse values that no corpus can have.

        Raises:
            CorpusError: naming the field, its value and the remedy.
        """
        if not self.folders and not self.headers_of:
            raise CorpusError(
                "a folders source has neither folders ({}) nor headers_of ([]); name at least one "
                "folder"
            )
        if not self.extensions:
            raise CorpusError("extensions of a folders source is []; name at least one, such as c")
        for extension in self.extensions:
            if not _EXTENSION.fullmatch(extension):
                raise CorpusError(
                    f"extensions of a folders source holds {extension!r}; write each ending "
                    "without the dot, such as c"
                )
        for name, place in self.folders.items():
            if not name.strip() or "/" in name or not place.strip() or "\0" in name + place:
                raise CorpusError(
                    f"folders of a folders source holds {name!r}: {place!r}; write a name without "
                    "a slash, and the path of a folder"
                )
        _ = self.places
        for package in self.headers_of:
            if not _PACKAGE.fullmatch(package):
                raise CorpusError(
                    f"headers_of of a folders source holds {package!r}; write the name by which "
                    "Python imports the package, such as numpy"
                )


Source = HubSource | LocalSource | FoldersSource
