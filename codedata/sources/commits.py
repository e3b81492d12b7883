"""A git repository on this machine -> the files of a commit, read where git has them.

Nothing is checked out, written or fetched. It is the program `git` that reads: it knows every way
in which objects are stored. Of what may change what it says or does, nothing is asked: variables,
the user's and the system's configuration, hooks, attributes and filters, replaced objects, and any
transport, so that a partial clone fetches nothing. Its own ownership check holds; what the user has
named as `safe.directory` is passed on.
"""

import os
import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import IO, NamedTuple

from codedata.errors import CorpusError
from codedata.printable import shortened
from codedata.sources.source_files import git_hash

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}", re.ASCII)

_NO_SIZE = -1
"""Of a file that is not here, of which git says BAD."""

_MODE_OF_LINK, _KIND_OF_SUBMODULE = b"120000", b"commit"

_NO_CONFIGURATION = {
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_ALLOW_PROTOCOL": "none",  # a partial clone would fetch; older git knows no better switch
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",  # its messages are told apart
}


class Entry(NamedTuple):
    """A file of a commit.

    Attributes:
        path: within the commit; bytes that are not UTF-8 as lone surrogates.
        blob: the hash by which git has it.
        num_bytes: its size; below zero where it is not here.
    """

    path: str
    blob: str
    num_bytes: int


@dataclass(frozen=True, kw_only=True)
class Tree:
    """What a commit holds.

    Attributes:
        files: the plain ones.
        links: paths of symbolic links.
        submodules: paths of commits of other repositories, which are not here.
    """

    files: list[Entry]
    links: list[str]
    submodules: list[str]


def is_whole_commit(revision: str) -> bool:
    """Whether a revision is a commit by its whole hash, which stays the same for ever."""
    return _COMMIT.fullmatch(revision) is not None


@dataclass(frozen=True)
class Commits:
    """The commits of a repository: a working copy, its `.git`, or a bare clone."""

    path: Path

    def resolve(self, revision: str) -> str:
        """The commit that a branch, a tag or another name of one stands for now.

        Raises:
            CorpusError: there is no such repository or commit, or git is not there or refuses.
        """
        name = f"{revision}^{{commit}}"
        found = self._ask("rev-parse", "--verify", "--quiet", name, may_fail=True)
        if not found:
            raise CorpusError(
                f"the repository {self.path} has no commit {shortened(revision)!r}; name a branch, "
                "a tag or a commit that it has (`git fetch --unshallow` completes a shallow clone)"
            )
        return found.decode().strip()

    def tree(self, commit: str) -> Tree:
        """What a commit holds.

        Raises:
            CorpusError: some of it is not here.
        """
        tree = Tree(files=[], links=[], submodules=[])
        for line in self._ask("ls-tree", "-r", "-z", "-l", "--full-tree", commit).split(b"\0")[:-1]:
            about, _, raw = line.partition(b"\t")
            mode, kind, blob, num_bytes = about.split()
            path = raw.decode("utf-8", "surrogateescape")
            if kind == _KIND_OF_SUBMODULE:
                tree.submodules.append(path)
            elif mode == _MODE_OF_LINK:
                tree.links.append(path)
            else:
                size = int(num_bytes) if num_bytes.isdigit() else _NO_SIZE
                tree.files.append(Entry(path, blob.decode(), size))
        return tree

    @contextmanager
    def reading(self) -> Iterator["Reading"]:
        """One process of git that gives the bytes of files, as many as are asked for."""
        with subprocess.Popen(  # noqa: S603  (git, and no word of a user's)
            self._command("cat-file", "--batch"),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=self._environment,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            yield Reading(self.path, process.stdin, process.stdout)

    @cached_property
    def _environment(self) -> dict[str, str]:
        own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        own |= _NO_CONFIGURATION
        own["GIT_CEILING_DIRECTORIES"] = str(self.path.resolve().parent)  # this one, none above it
        trusted = _trusted_folders()
        for index, folder in enumerate(trusted):
            own[f"GIT_CONFIG_KEY_{index}"] = "safe.directory"
            own[f"GIT_CONFIG_VALUE_{index}"] = folder
        return own | {"GIT_CONFIG_COUNT": str(len(trusted))}

    def _command(self, *arguments: str) -> list[str]:
        return ["git", "-C", str(self.path), "--no-pager", *arguments]

    def _ask(self, *arguments: str, may_fail: bool = False) -> bytes:
        """What git prints; nothing where it may say no, and does.

        Raises:
            CorpusError: it is not installed, finds no repository, refuses it, or lacks objects.
        """
        if not self.path.is_dir():
            raise CorpusError(
                f"the repository {self.path} of the corpus does not exist; name the folder of a "
                "working copy or of a bare clone"
            )
        try:
            done = subprocess.run(  # noqa: S603  (a revision begins with no dash)
                self._command(*arguments), capture_output=True, check=False, env=self._environment
            )
        except FileNotFoundError as error:
            raise CorpusError(
                f"git, which reads the repository {self.path}, is not installed; install it, or "
                "name the folder of a working copy (kind: folders)"
            ) from error
        if may_fail and done.returncode == 1:
            return b""
        if done.returncode:
            raise CorpusError(self._refusal(done.stderr.decode(errors="replace").strip()))
        return done.stdout

    def _refusal(self, said: str) -> str:
        if "safe.directory" in said:
            return (
                f"the repository {self.path} belongs to another user, and git reads such a one "
                "only where you trust it; if you do: git config --global --add safe.directory "
                f"{self.path.resolve()}"
            )
        if "not a git repository" in said:
            return (
                f"{self.path} is no git repository; name the folder of a working copy or of a bare "
                "clone, or take its files as they are (kind: folders)"
            )
        if "promisor remote" in said:
            return (
                f"the repository {self.path} is a partial clone that lacks files of the commit, "
                "and nothing is fetched here; make a whole one with `git clone --bare`"
            )
        why = "; ".join(said.splitlines())
        return f"git cannot read the repository {self.path}: {why}; `git fsck` says what is wrong"


@dataclass(frozen=True)
class Reading:
    """A process that gives files of a repository."""

    path: Path
    asked: IO[bytes]
    given: IO[bytes]

    def read(self, entry: Entry) -> bytes:
        """The bytes of a file.

        Raises:
            CorpusError: it is not there, or has other bytes than its hash says.
        """
        data = b""
        with suppress(BrokenPipeError):  # it ended, and gives nothing
            os.write(self.asked.fileno(), f"{entry.blob}\n".encode())
        header = self.given.readline().split()
        if header[1:] == [b"blob", str(entry.num_bytes).encode()]:
            data = self.given.read(entry.num_bytes + 1)[:-1]
        is_other = len(entry.blob) == 40 and git_hash(data) != entry.blob
        if is_other or len(data) != entry.num_bytes:
            raise CorpusError(
                f"{entry.path} of the repository {self.path} cannot be read whole; `git fsck` says "
                "what is wrong"
            )
        return data


def _trusted_folders() -> list[str]:
    """What the user's and the system's configuration name as `safe.directory`."""
    own = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("GIT_") or name.startswith("GIT_CONFIG_")
    }
    done = subprocess.run(
        ["git", "config", "--get-all", "-z", "safe.directory"],  # noqa: S607  (the user's git)
        capture_output=True,
        check=False,
        cwd="/",
        env=own,
    )
    return os.fsdecode(done.stdout).split("\0")[:-1]
