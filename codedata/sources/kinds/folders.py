"""Folders of source code on this machine: walked, and written as a parquet."""

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from codedata.errors import CorpusError
from codedata.places import local_path
from codedata.progress import Reporter
from codedata.sources.base import Source, must
from codedata.sources.folders import Walk, header_folders, walk_folders, write_source_parquet
from codedata.sources.languages import Taken, of_languages, with_extensions
from codedata.sources.record import PARQUET_NAME, Corpus, read_corpus, record_corpus
from codedata.sources.stored_text import stored_part
from codedata.store.files import remove_leftovers, replace_atomically

_EXTENSION = re.compile(r"[^./\\\s\0]+")
_PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")

Extensions = Annotated[
    list[str],
    must(
        lambda extensions: extensions and all(map(_EXTENSION.fullmatch, extensions)),
        "name at least one ending, each without the dot, such as c",
    ),
    Field(description="Endings of the files to take, without the dot."),
]
"""The fields that a commit's files have too: `codedata.sources.kinds.git`."""

Languages = Annotated[
    list[str],
    Field(
        exclude_if=lambda languages: not languages,  # corpora without it keep their code version
        description="In place of extensions: languages, named as on GitHub, such as C++, each with "
        "the endings and names of files of github-linguist's list.",
    ),
]

Exclude = Annotated[
    list[str],
    must(
        lambda patterns: all(
            pattern.strip() and pattern.strip("/") == pattern and "\0" not in pattern
            for pattern in patterns
        ),
        "write a folder's name, or its path within the corpus, with no slash at its ends",
    ),
    Field(
        exclude_if=lambda patterns: not patterns,
        description="Folders below those that are left out: by name, such as build or .*, or by "
        "path within the corpus, such as mine/third_party; * stands for anything.",
    ),
]


def taken_by(source: Source, extensions: Sequence[str], languages: Sequence[str]) -> Taken:
    """The files that a source takes, which has these fields.

    Raises:
        CorpusError: there is no such language, or extensions are named too.
    """
    if not languages:
        return with_extensions(extensions)
    if "extensions" in source.model_fields_set:
        raise CorpusError(
            f"it has extensions ({', '.join(extensions)}) and languages ({', '.join(languages)}); "
            "write one of the two"
        )
    return of_languages(languages)


class FoldersSource(Source):
    """Folders of source code on this machine, written as a parquet."""

    kind: Literal["folders"] = "folders"
    folders: Annotated[
        Mapping[str, str],
        must(
            lambda folders: all(
                name.strip() and "/" not in name and place.strip() and "\0" not in name + place
                for name, place in folders.items()
            ),
            "write a name without a slash, and the path of a folder",
        ),
    ] = Field(
        default_factory=dict, description="Folders by the name that their files get in the corpus."
    )
    headers_of: Annotated[
        list[str],
        must(
            lambda packages: all(map(_PACKAGE.fullmatch, packages)),
            "write the name by which Python imports a package, such as numpy",
        ),
    ] = Field(
        default_factory=list,
        description="Installed packages whose C and C++ headers are taken; missing ones are not.",
    )
    extensions: Extensions = Field(default=["c", "h"])
    languages: Languages = Field(default_factory=list)
    exclude: Exclude = Field(default_factory=list)
    gitignore: bool = Field(
        default=True,
        exclude_if=lambda is_honoured: is_honoured,
        description="Leave out what git would: by each .gitignore in the folders, and in those of "
        "the repository above them, and by its .git/info/exclude.",
    )

    @model_validator(mode="after")
    def _require_folders(self) -> "FoldersSource":
        if not self.folders and not self.headers_of:
            raise ValueError(
                "it has neither folders ({}) nor headers_of ([]); name at least one folder"
            )
        _ = self.places, self.taken
        return self

    @property
    def places(self) -> dict[str, Path]:
        """The folders by their names.

        Raises:
            CorpusError: one is no folder of this machine.
        """
        return {
            name: local_path(place, f"folder {name!r}", error=CorpusError)
            for name, place in self.folders.items()
        }

    @property
    def taken(self) -> Taken:
        """Which files are taken.

        Raises:
            CorpusError: there is no such language, or extensions are named too.
        """
        return taken_by(self, self.extensions, self.languages)

    def walk(self) -> Walk:
        """The files that are there now.

        Raises:
            CorpusError: a folder is gone, or something in one cannot be listed.
        """
        headers = header_folders(self.headers_of)
        own = self.places.keys() - headers.keys() if self.gitignore else ()
        return walk_folders(self.places | headers, self.taken, self.exclude, gitignore=own)

    def look(self, folder: Path) -> str:  # noqa: ARG002  (what was written tells nothing new)
        """Names, sizes and times of the files, as one hash."""
        return self.walk().fingerprint

    def is_current(self, corpus: Corpus) -> bool:
        """Whether the files have the names, sizes and times that they had."""
        return corpus.origin.get("walk") == self.walk().fingerprint

    def materialize(
        self,
        file: int,  # noqa: ARG002  (there is one)
        folder: Path,
        reporter: Reporter,
        *,
        update: bool,  # noqa: ARG002
    ) -> Corpus:
        """Write the files as a parquet, unless it is of the same ones already."""
        walk, parquet = self.walk(), folder / PARQUET_NAME
        with suppress(CorpusError):  # no record, or a damaged one: written again
            corpus = read_corpus(folder)
            unchanged = corpus.origin.get("walk") == walk.fingerprint
            is_here = parquet.exists() and parquet.stat().st_size == corpus.num_bytes
            if unchanged and (is_here or stored_part(corpus)):
                reporter.log(f"{len(walk.files)} files are unchanged: {corpus.path} is kept")
                return corpus
        remove_leftovers(folder)
        skipped: dict[str, int] = {}
        replace_atomically(parquet, lambda out: skipped.update(write_source_parquet(walk, out)))
        origin = {"kind": "folders", "walk": walk.fingerprint, "skipped": skipped}
        return record_corpus(folder, parquet, origin)
