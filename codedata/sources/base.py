"""What every kind of source of a corpus says: `kind` and its fields in a YAML -> parquets here.

A source is a frozen model of what a YAML says; it knows neither Dagster nor the corpus's name. A
new one is one module with a subclass, which a package names as an entry point of the group
`codedata.sources`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from pydantic import AfterValidator, BaseModel, ConfigDict, ValidationInfo

from codedata.progress import Reporter
from codedata.sources.record import RECORD_NAME, Corpus, read_corpus


@dataclass(frozen=True, kw_only=True)
class Repository:
    """Where what a corpus is fetched from gets new commits.

    Attributes:
        branch: the branch or tag whose newest commit is asked for.
        newest_commit: asks for it; raises a CorpusError where it is not told.
        place: what is asked, in one word.
    """

    branch: str
    newest_commit: Callable[[Reporter], str]
    place: str = "hub"


def must(holds: Callable[[Any], object], remedy: str) -> AfterValidator:
    """What a field refuses, to be said with its name, its value and the remedy."""

    def check(value: Any, info: ValidationInfo) -> Any:
        if not holds(value):
            raise ValueError(f"{info.field_name} is {value!r}; {remedy}")
        return value

    return AfterValidator(check)


class Source(BaseModel, ABC):
    """Where the documents of a corpus come from: one parquet, or several.

    A subclass has `kind: Literal["its name"] = "its name"`, then fields with a description each,
    and `materialize`; the first line of its docstring is what the reference says of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shown_kinds: ClassVar[frozenset[str]] = frozenset({"parquet"})
    """What the UI shows the asset as: https://docs.dagster.io/api/dagster/assets#kinds"""

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

    def is_current(self, corpus: Corpus) -> bool:  # noqa: ARG002
        """Whether what is there now is what a corpus was made of, as far as its record tells.

        No document is read.

        Raises:
            CorpusError: a folder is gone.
        """
        return True

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
