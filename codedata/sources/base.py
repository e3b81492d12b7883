"""What every kind of source of a corpus says: `kind` and its fields in a YAML -> parquets here.

A source is a frozen model of what a YAML says; it knows neither Dagster nor the corpus's name. A
new one is one module with a subclass, made known by `codedata.sources.registry.register`, or by
another package as an entry point of the group `codedata.sources`.
"""

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar, Protocol

from pydantic import BaseModel, ConfigDict

from codedata.progress import Reporter
from codedata.sources.record import RECORD_NAME, Corpus, read_corpus


class Repository(Protocol):
    """Where what a corpus is fetched from gets new commits."""

    @property
    def branch(self) -> str:
        """The branch or tag whose newest commit is asked for."""
        ...

    def newest_commit(self, reporter: Reporter) -> str:
        """Ask for it.

        Raises:
            CorpusError: it is not told.
        """
        ...


class Source(BaseModel, ABC):
    """Where the documents of a corpus come from: one parquet, or several.

    A subclass has `kind: Literal["its name"] = "its name"`, then fields with a description each,
    and `materialize`; the first line of its docstring is what the reference says of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shown_kinds: ClassVar[frozenset[str]] = frozenset({"parquet"})
    """What the UI shows the asset as: https://docs.dagster.io/api/dagster/assets#kinds"""

    @classmethod
    def kind_name(cls) -> str:
        """What a YAML calls it."""
        return cls.model_fields["kind"].default

    @property
    def num_files(self) -> int:
        """Parquets, each a text of its own."""
        return 1

    @property
    def num_chars(self) -> int | None:
        """Leading characters of each file that are to be had; None where all are."""
        return None

    @property
    def repository(self) -> Repository | None:
        """What may be asked for a newer commit; None where there are none."""
        return None

    def require_valid(self) -> None:
        """Refuse values that no corpus can have.

        Raises:
            CorpusError: naming the field, its value and the remedy.
        """

    def stamp(self) -> str:
        """What tells of a change beside the fields, at the cost of a stat a file.

        It is looked at whenever the code location loads.
        """
        return ""

    def look(self, folder: Path) -> str:  # noqa: ARG002  (a source may have its notes there)
        """What else tells, without reading any document, whether the corpus changed.

        Args:
            folder: the corpus's.

        Raises:
            CorpusError: a folder is gone.
        """
        return ""

    def num_bytes(self, file: int, folder: Path) -> int | None:  # noqa: ARG002
        """The size of a file; None where it is not known before it is here.

        Args:
            file: which.
            folder: the file's.
        """
        return read_corpus(folder).num_bytes if (folder / RECORD_NAME).exists() else None

    def bytes_to_fetch(self, file: int, folder: Path, reporter: Reporter) -> int:  # noqa: ARG002
        """About how much `materialize` would have to bring here.

        Args:
            file: which.
            folder: the file's, which need not exist.
            reporter: told what is waited for.

        Raises:
            CorpusError: where it comes from does not say.
        """
        return 0

    @abstractmethod
    def materialize(self, file: int, folder: Path, reporter: Reporter, *, update: bool) -> Corpus:
        """Bring a parquet here and record what it is; one process at a time for each folder.

        Args:
            file: which.
            folder: the file's, which is there: the corpus's own, or one in it where the corpus has
                several files.
            reporter: told how far it is.
            update: take the newest commit of a branch or tag.

        Raises:
            CorpusError: it cannot be had, or is no usable corpus.
        """
