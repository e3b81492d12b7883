"""Folders of source code on this machine: walked, and written as a parquet."""

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Literal

from pydantic import Field

from codedata.errors import CorpusError
from codedata.places import local_path
from codedata.progress import Reporter
from codedata.sources.base import Source
from codedata.sources.folders import Walk, walk_folders
from codedata.sources.installed_headers import header_folders
from codedata.sources.record import Corpus, write_source_corpus

_EXTENSION = re.compile(r"[^./\\\s\0]+")
_PACKAGE = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*")


class FoldersSource(Source):
    """Folders of source code on this machine, written as a parquet."""

    kind: Literal["folders"] = "folders"
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
        """Refuse values that no corpus can have."""
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

    def walk(self) -> Walk:
        """The files that are there now.

        Raises:
            CorpusError: a folder is gone, or something in one cannot be listed.
        """
        return walk_folders(self.places | header_folders(self.headers_of), self.extensions)

    def look(self, folder: Path) -> str:  # noqa: ARG002  (what was written tells nothing new)
        """Names, sizes and times of the files, as one hash."""
        return self.walk().fingerprint

    def materialize(
        self,
        file: int,  # noqa: ARG002  (there is one)
        folder: Path,
        reporter: Reporter,
        *,
        update: bool,  # noqa: ARG002
    ) -> Corpus:
        """Write the files as a parquet, unless it is of the same ones already."""
        return write_source_corpus(folder, self.walk(), reporter.log)
