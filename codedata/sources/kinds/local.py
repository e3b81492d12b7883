"""Files on this machine: what can be read anywhere is pointed at, the others are read once.

A pattern or a folder stands for what is found when definitions load, so that a new file shows as a
change; files that are named may come later.
"""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from functools import cached_property
from glob import glob
from pathlib import Path
from typing import BinaryIO, Literal

from pydantic import Field, model_validator

from codedata.errors import CorpusError
from codedata.places import local_path
from codedata.progress import Reporter
from codedata.sources.formats.registry import is_found
from codedata.sources.listing import why_not_these
from codedata.sources.parquet.footer import FileIdentity
from codedata.sources.paths import MANY, Paths, expand_paths, is_pattern, without_pattern
from codedata.sources.record import Corpus
from codedata.sources.tabular import TabularSource


class LocalSource(TabularSource):
    """Files of documents on this machine."""

    kind: Literal["local"] = "local"
    path: Paths = Field(
        description=f"{MANY} A folder stands for the files in it, and below, that can be read. "
        "Relative to the working folder."
    )

    @model_validator(mode="after")
    def _require_local(self) -> "LocalSource":
        _ = self._places
        return self

    @property
    def _places(self) -> tuple[Path, ...]:
        """What is named.

        Raises:
            CorpusError: something is no path of this machine.
        """
        named = expand_paths(self.path)
        return tuple(local_path(path, "path", error=CorpusError) for path in named)

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """The files, in the order in which they are named, those of a pattern or folder sorted.

        Raises:
            CorpusError: they are too many.
        """
        found = dict.fromkeys(path for place in self._places for path in _files_of(place))
        if found and (why := why_not_these([*found], f"path {self.path}")):
            raise CorpusError(why)
        return tuple(found)

    @property
    def num_files(self) -> int:
        """Its files, each a text of its own; 1 where none is found."""
        return max(1, len(self.paths))

    def _file(self, file: int) -> Path:
        """One of the files.

        Raises:
            CorpusError: nothing is found, or fewer than there were.
        """
        if not self.paths:
            raise CorpusError(
                f"path {self.path} stands for no file of {Path.cwd()}; name files that are there, "
                "or a folder of some that can be read (a folder of source code is of kind: folders)"
            )
        if file >= len(self.paths):
            raise CorpusError(
                f"path {self.path} stands for fewer files ({len(self.paths)}) than when the "
                "definitions were loaded; press Reload in the UI, and launch again"
            )
        return self.paths[file]

    def stamp(self) -> str:
        """Of the files, sizes and times."""
        return stamp_of(self.paths)

    def num_bytes(self, file: int, folder: Path) -> int | None:  # noqa: ARG002
        """The size of a file, where it is there."""
        path = next(iter(self.paths[file:]), None)
        return path.stat().st_size if path is not None and os.path.isfile(path) else None  # noqa: PTH113

    @contextmanager
    def opened(self, file: int) -> Iterator[tuple[str, BinaryIO]]:
        """A file, and its path."""
        path = self._file(file)
        try:
            opened = open(path, "rb")  # noqa: SIM115  (closed below)
        except OSError as error:
            raise CorpusError(f"{path} cannot be read: {error.strerror}; name another") from error
        with opened:
            yield str(path), opened

    def materialize(
        self,
        file: int,
        folder: Path,
        reporter: Reporter,
        *,
        update: bool,  # noqa: ARG002
    ) -> Corpus:
        """Record what a file is; one without random access is read once."""
        return self.record(self._file(file), folder, {"kind": "local"}, reporter)


def _files_of(place: Path) -> Iterator[Path]:
    """The files that a path stands for: itself, or those found that can be read."""
    if is_pattern(str(place)):
        pattern = str(place)
        root = without_pattern(pattern)
        found = glob(str(place), recursive=True)  # noqa: PTH207  (of which `**` is one folder)
    elif os.path.isdir(place):  # noqa: PTH112  (a name that no file can have is none)
        found, root, pattern = map(str, place.rglob("*")), str(place), ""
    else:
        yield place
        return
    for path in map(Path, sorted(found)):
        if is_found(str(path)[len(root) :].lstrip("/"), pattern) and path.is_file():
            yield path


def stamp_of(paths: Iterable[Path]) -> str:
    """Sizes and times of files; of those that are not there nothing.

    Of one that cannot be looked at, why: whoever then materializes it is told so.
    """
    found: list[str] = []
    for path in paths:
        try:
            identity = FileIdentity.of(path)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            found.append(f"{path} {error.strerror}")
        else:
            found.append(f"{path} {identity.num_bytes} {identity.modified_ns}")
    return "\n".join(found)
