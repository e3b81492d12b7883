"""A commit of a git repository on this machine: read without a checkout, written as a parquet.

The commit is resolved once and kept, like the hub's: a branch that moves on is said, and taken with
`--update`. Of the same files, the parquet is that of `kind: folders`, byte for byte.
"""

import hashlib
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from functools import cache, cached_property, partial
from itertools import accumulate
from pathlib import Path
from typing import Annotated, ClassVar, Literal, NamedTuple

from pydantic import Field, model_validator

from codedata.errors import CorpusError
from codedata.places import local_path
from codedata.printable import shortened
from codedata.progress import Reporter
from codedata.sources.base import Repository, Source, must
from codedata.sources.commits import Commits, Entry, Tree, is_whole_commit
from codedata.sources.folders import is_excluded
from codedata.sources.kinds.folders import Exclude, Extensions, Languages, taken_by
from codedata.sources.languages import Taken, unusual_language
from codedata.sources.record import PARQUET_NAME, Corpus, read_corpus, record_corpus
from codedata.sources.source_files import MAX_FILE_BYTES, SourceFile, write_source_files
from codedata.sources.stored_text import stored_part
from codedata.store.files import remove_leftovers, replace_atomically

_REMOTE = re.compile(r"(?!file:)[^/:]+:")
"""A URL, or host:path: for git another machine's, where a colon stands before any slash."""


class GitSource(Source):
    """A commit of a git repository on this machine, written as a parquet."""

    shown_kinds: ClassVar[frozenset[str]] = frozenset({"git", "parquet"})

    kind: Literal["git"] = "git"
    path: Annotated[
        str, must(lambda path: path.strip() and "\0" not in path, "write a repository's path")
    ] = Field(description="A working copy or a bare clone. Relative to the working folder.")
    revision: Annotated[
        str,
        must(
            lambda revision: revision.strip() and revision[0] != "-" and "\0" not in revision,
            "name a branch, a tag or a commit that the repository has",
        ),
    ] = Field(
        default="HEAD",
        description="Branch, tag or commit; a branch or tag is resolved once, and then kept.",
    )
    name: Annotated[
        str | None,
        must(
            lambda name: name is None or (name.strip() and "/" not in name and "\0" not in name),
            "write a name without a slash",
        ),
    ] = Field(
        default=None,
        description="What stands before each file's path in the corpus; by default the name of the "
        "repository's folder, without .git.",
    )
    extensions: Extensions = Field(default=["c", "h"])
    languages: Languages = Field(default_factory=list)
    exclude: Exclude = Field(default_factory=list)

    @model_validator(mode="after")
    def _require_local(self) -> "GitSource":
        if _REMOTE.match(self.path):
            raise CorpusError(
                f"path is {shortened(self.path)!r}, of another machine; fetch it with `git clone "
                f"--bare {shortened(self.path)}`, and name the folder that this makes"
            )
        _ = self.commits, self.taken
        return self

    @cached_property
    def commits(self) -> Commits:
        """Those of the repository.

        Raises:
            CorpusError: it is no path of this machine.
        """
        return Commits(local_path(self.path, "path", error=CorpusError))

    @property
    def taken(self) -> Taken:
        """Which files are taken.

        Raises:
            CorpusError: there is no such language, or extensions are named too.
        """
        return taken_by(self, self.extensions, self.languages)

    @property
    def repository(self) -> Repository | None:
        """What is asked for a newer commit; where a commit is named, there is none."""
        if is_whole_commit(self.revision):
            return None
        return Repository(
            branch=self.revision,
            newest_commit=lambda _: self.commits.resolve(self.revision),
            place="repository",
        )

    def look(self, folder: Path) -> str:
        """The commit that is kept."""
        return self._kept_commit(folder) or ""

    def materialize(
        self,
        file: int,  # noqa: ARG002  (there is one)
        folder: Path,
        reporter: Reporter,
        *,
        update: bool,
    ) -> Corpus:
        """Write the files of the commit as a parquet, unless it is of the same ones already."""
        commit = self._commit(folder, reporter, update=update)
        files, passed_over = self._chosen(self.commits.tree(commit))
        if not files:
            raise CorpusError(
                f"no file {self.taken.said} is in {self.path} at {self.revision!r}, commit "
                f"{commit}; name another revision, or other extensions"
            )
        origin = {
            "kind": "git",
            "path": self.path,
            "revision": self.revision,
            "commit": commit,
            "files": _fingerprint(files),
        }
        parquet = folder / PARQUET_NAME
        with suppress(CorpusError):  # no record, or a damaged one: written again
            corpus = read_corpus(folder)
            unchanged = origin.items() <= corpus.origin.items()
            is_here = parquet.exists() and parquet.stat().st_size == corpus.num_bytes
            if unchanged and (is_here or stored_part(corpus)):
                reporter.log(f"commit {commit} is here already: {corpus.path} is kept")
                return corpus
        remove_leftovers(folder)
        skipped: dict[str, int] = {}
        replace_atomically(
            parquet, lambda out: skipped.update(write_source_files(self._read(files), out))
        )
        return record_corpus(folder, parquet, {**origin, "skipped": skipped | passed_over})

    def _commit(self, folder: Path, reporter: Reporter, *, update: bool) -> str:
        """The commit to take: the one that was, unless there is none or it is to move on."""
        newest, kept = self.commits.resolve(self.revision), self._kept_commit(folder)
        if kept is None or kept == newest or update:
            return newest
        try:
            self.commits.resolve(kept)
        except CorpusError as error:
            raise CorpusError(f"{error}; or move on to the newest with --update") from error
        reporter.log(f"{self.revision!r} of {self.path} is {newest} by now; --update takes that")
        return kept

    def _kept_commit(self, folder: Path) -> str | None:
        """The commit that the corpus here is of, if it is of the same repository and revision."""
        with suppress(CorpusError):  # no record, or a damaged one
            origin = read_corpus(folder).origin
            if (origin.get("path"), origin.get("revision")) == (self.path, self.revision):
                return origin.get("commit")
        return None

    def _chosen(self, tree: Tree) -> tuple[list["_Chosen"], dict[str, int]]:
        """The files that are taken, sorted by name, and how many others were passed over."""
        taken, prefix = self.taken, self.name or _name_of(self.commits.path)
        is_out = cache(partial(is_excluded, exclude=self.exclude))

        def is_kept(path: str, *, is_folder: bool = False) -> bool:
            parts = [prefix, *path.split("/")]
            inside = accumulate(parts if is_folder else parts[:-1], "{}/{}".format)
            return not any(map(is_out, [*inside][1:]))

        files = [
            _Chosen(f"{prefix}/{entry.path}", taken.language(name), entry)
            for entry in tree.files
            if (name := entry.path.rpartition("/")[2]) in taken and is_kept(entry.path)
        ]
        passed_over = {
            "link": sum(map(is_kept, tree.links)),
            "submodule": sum(is_kept(path, is_folder=True) for path in tree.submodules),
        }
        return sorted(files, key=lambda file: file.name), passed_over

    def _read(self, files: list["_Chosen"]) -> Iterator[SourceFile]:
        with self.commits.reading() as reading:
            for name, language, entry in files:
                is_read = entry.num_bytes <= MAX_FILE_BYTES
                data = reading.read(entry) if is_read else b""
                yield SourceFile(name, language, entry.num_bytes, data)


class _Chosen(NamedTuple):
    """A file that is taken: its path within the corpus, its language, and what git has of it."""

    name: str
    language: str | None
    entry: Entry


def _fingerprint(files: list[_Chosen]) -> str:
    """A sha256 over names, contents and unusual languages."""
    digest = hashlib.sha256()
    for name, language, entry in files:
        line = f"{name}\0{entry.blob}\n" + unusual_language(name.rpartition("/")[2], language)
        digest.update(line.encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _name_of(path: Path) -> str:
    """What a repository is called, by its folder."""
    folder = Path(os.path.abspath(path))  # noqa: PTH100  (a link keeps its name)
    named = folder.parent if folder.name == ".git" else folder
    return named.name.removesuffix(".git") or "root"
