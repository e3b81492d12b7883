"""What sources of files with columns have in common: what is what in a file, and its record.

A parquet is recorded where it is; what has no random access is read once, and written as parts.
"""

from abc import abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Annotated, Any, BinaryIO, Literal

from pydantic import Field

from codedata.errors import CorpusError
from codedata.format.ranges import MAX_CHARACTERS
from codedata.printable import shortened
from codedata.progress import Reporter
from codedata.sources.base import Source, must
from codedata.sources.columns import COLUMN, Columns
from codedata.sources.contents import Content
from codedata.sources.formats.registry import is_random_access
from codedata.sources.hashed import sha256_once
from codedata.sources.parquet.footer import FileIdentity
from codedata.sources.read_once import FileToRead, HowToRead, read_once
from codedata.sources.record import Corpus, record_corpus
from codedata.store.owners import explained

FirstChars = Annotated[
    int | None,
    must(
        lambda chars: chars is None or 1 <= chars <= MAX_CHARACTERS,
        f"it must be 1 to {MAX_CHARACTERS}, or left out for whole files",
    ),
]
"""A field `first_chars`: no more of each file than so many characters take; None is all."""


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

    content: Content | None = Field(
        default=None,
        exclude_if=lambda content: content is None,
        description="Where the documents are, if the rows only name them: url, with columns in "
        "braces, compression, encoding, storage_options, concurrency and retries.",
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
        if is_random_access(path.name) and self.content is None:
            return record_corpus(
                folder, path, origin, expected_sha256=expected_sha256, columns=self.columns
            )
        try:
            identity, sha256 = FileIdentity.of(path), sha256_once(path)
        except (FileNotFoundError, NotADirectoryError) as error:
            raise CorpusError(f"{path} does not exist; name a file of documents") from error
        except OSError as error:
            raise CorpusError(
                f"{shortened(str(path))} cannot be read: {error.strerror}; name another"
            ) from error
        if expected_sha256 not in (None, sha256):
            raise CorpusError(
                f"{path} has sha256 {sha256}, but {expected_sha256} was expected: it is damaged or "
                "another file; remove it and fetch it again"
            )
        file = FileToRead(
            opener=lambda: open(path, "rb"),  # noqa: SIM115  (who reads it closes it)
            name=path.name,
            etag=sha256,
            num_bytes=identity.num_bytes,
            first_chars=first_chars,
            is_still=lambda: path.exists() and FileIdentity.of(path) == identity,
        )
        return self.read_once(file, folder, {"path": str(path.absolute())} | origin, reporter)

    def read_once(
        self, file: FileToRead, folder: Path, origin: dict[str, Any], reporter: Reporter
    ) -> Corpus:
        """Read a file into parts: see `codedata.sources.read_once`."""
        how = HowToRead(columns=self.columns, content=self.content, on_error=self.on_error)
        with stored_in(folder, file.name):
            return read_once(file, how, folder, origin, reporter)


@contextmanager
def stored_in(folder: Path, name: str) -> Iterator[None]:
    """Tell what the disk does not take from what is not given to be read.

    Args:
        folder: of a record and its parts.
        name: what is stored there, for messages.

    Raises:
        CorpusError: a file below the folder cannot be written.
    """
    try:
        yield
    except OSError as error:
        if not Path(str(error.filename)).is_relative_to(folder):
            raise
        raise CorpusError(
            f"{name} cannot be stored: {explained(error)}; make room, or set CODEDATA_ROOT to a "
            "folder that can be written"
        ) from error
