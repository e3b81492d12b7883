"""Parquets on this machine: pointed at, not copied."""

from collections.abc import Iterable
from functools import cached_property
from pathlib import Path
from typing import Literal

from pydantic import Field, model_validator

from codedata.errors import CorpusError
from codedata.places import local_path
from codedata.progress import Reporter
from codedata.sources.base import Source
from codedata.sources.parquet.footer import FileIdentity
from codedata.sources.paths import MANY, Paths, expand_paths
from codedata.sources.record import Corpus, record_corpus


class LocalSource(Source):
    """Parquet files on this machine."""

    kind: Literal["local"] = "local"
    path: Paths = Field(description=f"{MANY} Relative to the working folder.")

    @model_validator(mode="after")
    def _require_local(self) -> "LocalSource":
        _ = self.paths
        return self

    @cached_property
    def paths(self) -> tuple[Path, ...]:
        """The files, in their order.

        Raises:
            CorpusError: one is no path of this machine.
        """
        named = expand_paths(self.path)
        return tuple(local_path(path, "path", error=CorpusError) for path in named)

    @property
    def num_files(self) -> int:
        """Parquets, each a text of its own."""
        return len(self.paths)

    def stamp(self) -> str:
        """Of the files, sizes and times."""
        return stamp_of(self.paths)

    def num_bytes(self, file: int, folder: Path) -> int | None:  # noqa: ARG002
        """The size of a file, where it is there."""
        path = self.paths[file]
        return path.stat().st_size if path.is_file() else None

    def materialize(
        self,
        file: int,
        folder: Path,
        reporter: Reporter,  # noqa: ARG002  (nothing has to be waited for)
        *,
        update: bool,  # noqa: ARG002
    ) -> Corpus:
        """Record what a file is."""
        return record_corpus(folder, self.paths[file], {"kind": "local"})


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
