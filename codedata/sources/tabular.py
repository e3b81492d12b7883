"""What sources of files with columns have in common: what is what in a file, and its record.

A parquet is recorded where it is; what has no random access is read once, and written as parts.
"""

from abc import abstractmethod
from collections.abc import Callable
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from typing import Any, BinaryIO, Literal

from pydantic import Field

from codedata.errors import CorpusError
from codedata.progress import Reporter
from codedata.sources.base import Source
from codedata.sources.columns import COLUMN, Columns
from codedata.sources.formats.registry import format_of, is_random_access
from codedata.sources.formats.rows import BadRows
from codedata.sources.leading import parts_folder
from codedata.sources.parquet.text import sha256_once
from codedata.sources.parts import remove_others, write_parts
from codedata.sources.record import (
    Corpus,
    is_whole,
    read_corpus,
    record_corpus,
)


class TabularSource(Source):
    """A source whose files have columns, or lines with fields.

    Fields that are at their default are not among those that make a corpus another one.
    """

    text_column: str = Field(
        default=COLUMN,
        exclude_if=lambda column: column == COLUMN,
        description="Column of the documents; a dotted path names one within another.",
    )
    id_column: str | None = Field(
        default=None,
        exclude_if=lambda column: column is None,
        description="Column that identifies each document.",
    )
    keep_columns: list[str] | None = Field(
        default=None,
        exclude_if=lambda columns: columns is None,
        description="Columns that travel with each document; left out, those of The Stack that "
        "are there: repository, path, licences and language.",
    )
    on_error: Literal["refuse", "skip"] = Field(
        default="refuse",
        exclude_if=lambda on_error: on_error == "refuse",
        description="What a line or row that cannot be read does: refuse the file, or be left out "
        "and counted. Of parquets, every row must be sound.",
    )

    @property
    def columns(self) -> Columns:
        """Which column is what."""
        keep = None if self.keep_columns is None else tuple(self.keep_columns)
        return Columns(text=self.text_column, id=self.id_column, keep=keep)

    @abstractmethod
    def opened(self, file: int) -> AbstractContextManager[tuple[str, BinaryIO]]:
        """A file where it is, at its start, and its name; no more of it comes than is read.

        Raises:
            CorpusError: it cannot be had.
        """

    def record(
        self,
        path: Path,
        folder: Path,
        origin: dict[str, Any],
        reporter: Reporter,
        *,
        expected_sha256: str | None = None,
        first_chars: int | None = None,
    ) -> Corpus:
        """Record what a file of this machine is.

        Args:
            path: the file.
            folder: of the record, and of parts.
            origin: where the file came from.
            reporter: told what is done.
            expected_sha256: of its bytes, where that is known.
            first_chars: read no more of it than has so many; of a parquet all is here.

        Raises:
            CorpusError: it is no usable file of documents.
        """
        if is_random_access(path.name):
            return record_corpus(
                folder, path, origin, expected_sha256=expected_sha256, columns=self.columns
            )
        try:
            sha256, num_bytes = sha256_once(path), path.stat().st_size
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CorpusError(f"{path} does not exist; name a file of documents") from error
        if expected_sha256 not in (None, sha256):
            raise CorpusError(
                f"{path} has sha256 {sha256}, but {expected_sha256} was expected: it is damaged or "
                "another file; remove it and fetch it again"
            )
        return self.record_read(
            lambda: open(path, "rb"),
            path.name,
            folder,
            {"path": str(path.absolute())} | origin,
            reporter,
            etag=sha256,
            num_bytes=num_bytes,
            first_chars=first_chars,
        )

    def record_read(
        self,
        opener: Callable[[], BinaryIO],
        name: str,
        folder: Path,
        origin: dict[str, Any],
        reporter: Reporter,
        *,
        etag: str,
        num_bytes: int,
        first_chars: int | None = None,
    ) -> Corpus:
        """Read a file once, in order, into parts, unless that was done; arguments as of `record`.

        Args:
            opener: opens the file.
            name: of the file.
            folder: of the record, and of parts.
            origin: where the file came from.
            reporter: told what is done.
            etag: what the file is known by.
            num_bytes: its size.
            first_chars: read no more of it than has so many.

        Raises:
            CorpusError: it is no usable file of documents.
        """
        origin = origin | {"read": [etag, self.on_error, first_chars]}
        parts = parts_folder(folder, etag, self.columns)
        with suppress(CorpusError):  # no record, or a damaged one: read again
            known = read_corpus(folder)
            is_same = known.path == str(parts.absolute()) and known.origin.items() >= origin.items()
            if (
                is_same
                and known.part
                and all(is_whole(parts / each.name) for each in known.part.parts)
            ):
                reporter.log(f"{name} is unchanged: its parts in {parts} are kept")
                return known
        bad = BadRows(on_error=self.on_error)
        with opener() as opened:
            part = write_parts(
                format_of(name).read(opened, name, self.columns, bad),
                parts,
                name=name,
                identity=etag,
                file_bytes=num_bytes,
                reporter=reporter,
                first_chars=first_chars,
                tell=opened.tell,
            )
        if bad.counts:
            origin["skipped"] = dict(bad.counts)
            why = ", ".join(f"{count:,} {reason}" for reason, count in bad.counts.most_common())
            reporter.say(f"{name}: rows left out: {why}")
        corpus = record_corpus(folder, parts, origin, part=part, columns=self.columns)
        remove_others(folder, parts, part, reporter)
        return corpus
