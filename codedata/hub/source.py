"""Files of a dataset repository on the Hugging Face Hub: fetched, whole or their leading text.

They are named by path, or by a configuration and a split of the dataset; the list of those that are
not named one by one is asked for (`codedata.hub.listing`), of one commit, and kept.

`CODEDATA_CORPUS` puts a file of this machine in the place of a corpus of one file. What speaks with
the hub is imported when something is fetched: a second that starting the code location need not
wait for.
"""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from pathlib import Path
from typing import Annotated, BinaryIO, ClassVar, Literal

from pydantic import Field, model_validator

from codedata.environment import variables
from codedata.errors import CorpusError
from codedata.layout import CORPUS_VARIABLE, is_commit, is_repo
from codedata.places import local_path
from codedata.progress import Reporter
from codedata.sources.base import Repository, must
from codedata.sources.kinds.local import LocalSource, stamp_of
from codedata.sources.listing import Listing
from codedata.sources.paths import MANY, Paths, expand_paths, is_pattern
from codedata.sources.record import PIN_NAME, Corpus
from codedata.sources.tabular import FirstChars, TabularSource
from codedata.store.owners import explained


def _is_none(value: object) -> bool:
    """Fields without which a corpus keeps its code version."""
    return value is None


def _is_word(name: str | None) -> bool:
    return name is None or bool(name.strip())


class HubSource(TabularSource):
    """Files of a dataset repository on the Hugging Face Hub."""

    shown_kinds: ClassVar[frozenset[str]] = frozenset({"huggingface", "parquet"})

    kind: Literal["hub"] = "hub"
    repo: Annotated[str, must(is_repo, "write it as owner/name, such as bigcode/the-stack")] = (
        Field(description="Dataset repository: owner/name.")
    )
    path: Annotated[
        Paths | None,
        must(
            lambda path: (
                path is None
                or (
                    not any(
                        "://" in each or each.startswith("/") or ".." in each.split("/")
                        for each in expand_paths(path)
                    )
                )
            ),
            "write it as the repository's page shows it, without a leading slash or an address",
        ),
    ] = Field(default=None, description=f"{MANY} Left out, config and split say which files.")
    config: Annotated[str | None, must(_is_word, "name one of the dataset's")] = Field(
        default=None,
        exclude_if=_is_none,
        description="Configuration of the dataset; left out, the only or the default one.",
    )
    split: Annotated[str | None, must(_is_word, "name one of the dataset's")] = Field(
        default=None,
        exclude_if=_is_none,
        description="Split of the dataset, such as train; left out, the only one.",
    )
    revision: Annotated[
        str,
        must(
            lambda revision: revision.strip() and "\0" not in revision,
            "name one that the repository has",
        ),
    ] = Field(
        default="main",
        description="Branch, tag or commit; a branch or tag is resolved once, and then kept.",
    )
    first_chars: FirstChars = Field(
        default=None,
        description="Fetch no more of each file than its first characters take; of a parquet only "
        "the column of the documents and those that are named.",
    )

    @model_validator(mode="after")
    def _names_files_once(self) -> "HubSource":
        if self.path is not None and (self.config or self.split):
            raise ValueError(
                "it has a path, and config or split too; the path says which files: leave one out"
            )
        return self

    @cached_property
    def paths(self) -> tuple[str, ...]:
        """The files, in their order; none where there is no list of them yet."""
        if self.asked is not None:
            return self.listing.paths if self.listing else ()
        return expand_paths(self.path) if self.path is not None else ()

    @property
    def num_files(self) -> int:
        """Its files, each a text of its own; 1 where there is no list of them yet."""
        return max(1, len(self.paths))

    @property
    def asked(self) -> str | None:
        """Repository and revision, and what of them."""
        is_named = self.path is not None and not any(map(is_pattern, expand_paths(self.path)))
        if is_named or self._in_its_place:
            return None
        return json.dumps([self.repo, self.revision, self.path, self.config, self.split])

    def ask(self, reporter: Reporter) -> Listing:
        """Ask for the files, at the newest commit of the revision."""
        from codedata.hub.listing import list_files
        from codedata.hub.refusals import HubError

        try:
            return list_files(self, reporter)
        except HubError as error:
            raise CorpusError(
                f"the hub does not list the files of {self.repo} at {self.revision!r}: {error}"
            ) from error

    @property
    def listed_revision(self) -> str:
        """The branch, tag or commit that the files are of."""
        return self.listing.revision if self.listing else self.revision

    @property
    def num_chars(self) -> int | None:
        """Characters that are fetched of each file; None where all are here."""
        return None if self._in_its_place else self.first_chars

    @property
    def repository(self) -> Repository:
        """What is asked for a newer commit: of a source that names a commit, the main branch."""
        branch = "main" if is_commit(self.revision) else self.listed_revision
        return Repository(branch=branch, newest_commit=self._newest_commit)

    @property
    def _in_its_place(self) -> Path | None:
        """The file of this machine that the environment puts there.

        Raises:
            CorpusError: that is no path.
        """
        override = variables().get(CORPUS_VARIABLE)
        return local_path(override, CORPUS_VARIABLE, error=CorpusError) if override else None

    def stamp(self) -> str:
        """Of the file that the environment puts in its place, size and time."""
        local = self._in_its_place
        return stamp_of([local]) if local else ""

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
            reporter.log(f"{CORPUS_VARIABLE} puts {local} in the place of the hub's file")
            return self.record(local, folder, {"kind": "local"}, reporter)
        from codedata.hub.corpora import fetch_corpus

        with self._saying(file, corpus.name):
            return fetch_corpus(self, self.paths[file], folder, reporter, update=update)

    @contextmanager
    def opened(self, file: int) -> Iterator[tuple[str, BinaryIO]]:
        """A file of the hub, of which comes what is read, and its path there."""
        if (local := self._in_its_place) is not None:
            with LocalSource(path=str(local)).opened(file) as found:
                yield found
            return
        from codedata.hub.corpora import open_remote

        path = self.paths[file]
        with self._saying(file, self.repo), open_remote(self, path) as opened:
            yield path, opened

    def bytes_to_fetch(self, file: int, folder: Path, reporter: Reporter) -> int:
        """What the hub says; of leading characters, what the parquet's footer does."""
        if self._in_its_place is not None:
            return 0
        from codedata.hub.corpora import bytes_to_fetch

        with self._saying(file, (folder.parent if self.num_files > 1 else folder).name):
            return bytes_to_fetch(self, self.paths[file], folder, reporter)

    @contextmanager
    def _saying(self, file: int, corpus: str) -> Iterator[None]:
        """Name the corpus and its file in what fails."""
        from codedata.hub.refusals import HubError

        path = self.paths[file]
        try:
            yield
        except HubError as error:
            instead = f"; or download the file and set {CORPUS_VARIABLE} to its path"
            raise CorpusError(
                f"corpus {corpus!r}: the hub does not give {path} of {self.repo} at "
                f"{self.revision!r}: {error}{instead if self.num_files == 1 else ''}"
            ) from error
        except OSError as error:
            raise CorpusError(
                f"corpus {corpus!r}: {path} of {self.repo} cannot be stored: "
                f"{explained(error)}; make room, or set HF_HOME (the hub's cache) and "
                "CODEDATA_ROOT to folders that can be written"
            ) from error

    def _newest_commit(self, reporter: Reporter) -> str:
        from codedata.hub.client import limit_client, newest_commit
        from codedata.hub.refusals import HubError

        limit_client()
        branch = self.repository.branch
        try:
            return newest_commit(self.repo, kind="dataset", revision=branch, reporter=reporter)
        except HubError as error:
            raise CorpusError(
                f"the hub does not say the newest commit of {self.repo}: {error}"
            ) from error
