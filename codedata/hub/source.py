"""Parquets of a dataset repository on the Hugging Face Hub: fetched, whole or their leading text.

`CODEDATA_CORPUS` puts a file of this machine in the place of a corpus of one file. What speaks with
the hub is imported when something is fetched: a second that starting the code location need not
wait for.
"""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import ClassVar, Literal

from pydantic import Field

from codedata.environment import variables
from codedata.errors import CorpusError
from codedata.format.ranges import MAX_CHARACTERS
from codedata.layout import CORPUS_VARIABLE, is_repo
from codedata.places import local_path
from codedata.progress import Reporter
from codedata.sources.base import Source
from codedata.sources.kinds.local import LocalSource
from codedata.sources.paths import MANY, expand_paths
from codedata.sources.record import PARTS_NAME, PIN_NAME, Corpus, record_corpus
from codedata.store.owners import explained


class HubSource(Source):
    """Parquet files of a dataset repository on the Hugging Face Hub."""

    shown_kinds: ClassVar[frozenset[str]] = frozenset({"huggingface", "parquet"})

    kind: Literal["hub"] = "hub"
    repo: str = Field(description="Dataset repository: owner/name.")
    path: str | list[str] = Field(description=MANY)
    revision: str = Field(
        default="main",
        description="Branch, tag or commit; a branch or tag is resolved once, and then kept.",
    )
    first_chars: int | None = Field(
        default=None,
        description="Fetch no more of each file than its first characters take, and only the "
        "column content.",
    )

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The files, in their order."""
        return expand_paths(self.path, f"the hub source {self.repo}")

    @property
    def num_files(self) -> int:
        """Parquets, each a text of its own."""
        return len(self.paths)

    @property
    def num_chars(self) -> int | None:
        """Characters that are fetched of each file; None where all are here."""
        return self.first_chars if self._in_its_place is None else None

    @property
    def repository(self) -> "HubRepository":
        """What is asked for a newer commit: of a source that names a commit, the main branch."""
        return HubRepository(repo=self.repo, revision=self.revision)

    @property
    def _in_its_place(self) -> LocalSource | None:
        """The file of this machine that the environment puts there.

        Raises:
            CorpusError: that is no path.
        """
        if not (override := variables().get(CORPUS_VARIABLE)):
            return None
        return LocalSource(path=str(local_path(override, CORPUS_VARIABLE, error=CorpusError)))

    def require_valid(self) -> None:
        """Refuse values that no corpus can have."""
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

    def stamp(self) -> str:
        """Of the file that the environment puts in its place, size and time."""
        local = self._in_its_place
        return local.stamp() if local else ""

    def look(self, folder: Path) -> str:
        """The commit that was pinned."""
        pin = folder / PIN_NAME
        return pin.read_text(encoding="utf-8") if pin.exists() else ""

    def materialize(self, file: int, folder: Path, reporter: Reporter, *, update: bool) -> Corpus:
        """Fetch a file, or what its first characters take."""
        corpus = folder.parent if self.num_files > 1 else folder
        if (local := self._in_its_place) is not None:
            if self.num_files > 1:
                raise CorpusError(
                    f"{CORPUS_VARIABLE} puts one file in the place of the hub's, but corpus "
                    f"{corpus.name!r} has {self.num_files}; unset it, or name the files in its "
                    "defs.yaml (kind: local)"
                )
            reporter.log(f"{CORPUS_VARIABLE} puts {local.path} in the place of the hub's file")
            return local.materialize(file, folder, reporter, update=update)
        from codedata.hub.corpora import fetch_corpus_file
        from codedata.hub.refusals import HubError

        path = self.paths[file]
        try:
            fetched = fetch_corpus_file(
                self.repo,
                path,
                revision=self.revision,
                pin=corpus / PIN_NAME,
                first_chars=self.first_chars,
                parts=folder / PARTS_NAME,
                update=update,
                reporter=reporter,
            )
        except HubError as error:
            instead = f"; or download the file and set {CORPUS_VARIABLE} to its path"
            raise CorpusError(
                f"corpus {corpus.name!r}: the hub does not give {path} of {self.repo} at "
                f"{self.revision!r}: {error}{instead if self.num_files == 1 else ''}"
            ) from error
        except OSError as error:
            raise CorpusError(
                f"corpus {corpus.name!r}: {path} of {self.repo} cannot be stored: "
                f"{explained(error)}; make room, or set HF_HOME (the hub's cache) and "
                "CODEDATA_ROOT to folders that can be written"
            ) from error
        origin = {
            "kind": "hub",
            "repo": self.repo,
            "path": path,
            "revision": self.revision,
            "commit": fetched.commit,
        }
        return record_corpus(
            folder, fetched.path, origin, expected_sha256=fetched.sha256, part=fetched.part
        )


@dataclass(frozen=True, kw_only=True)
class HubRepository:
    """A dataset repository, at a revision."""

    repo: str
    revision: str

    @property
    def branch(self) -> str:
        """The branch or tag whose newest commit is asked for: of a commit, the main one's."""
        from codedata.hub.refusals import COMMIT

        return "main" if COMMIT.fullmatch(self.revision) else self.revision

    def newest_commit(self, reporter: Reporter) -> str:
        """Ask the hub for it.

        Raises:
            CorpusError: it does not say.
        """
        from codedata.hub.client import limit_client, newest_commit
        from codedata.hub.refusals import HubError

        limit_client()
        try:
            return newest_commit(self.repo, kind="dataset", revision=self.branch, reporter=reporter)
        except HubError as error:
            raise CorpusError(
                f"the hub does not say the newest commit of {self.repo}: {error}"
            ) from error
