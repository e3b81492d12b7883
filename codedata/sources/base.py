"""What every kind of source of a corpus says: `kind` and its fields in a YAML -> parquets here.

A source is a frozen model of what a YAML says; it knows neither Dagster nor the corpus's name. A
new one is one module with a subclass, which a package names as an entry point of the group
`codedata.sources`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, PrivateAttr, ValidationInfo

from codedata.progress import Reporter
from codedata.sources.listing import Listing, read_listing, write_listing
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


_SECRET = re.compile(
    r"key|secret|token|passw|credential|sas|connection_string|\bauth|signature$|^sig$",
    re.IGNORECASE,
)

_IN_URL = re.compile(r"^[^:/]+://[^/?#]*(:)[^/?#]*@|[?&]([^=&]+)=")
"""The colon before a password, or the name of what stands behind a question mark."""


def _secret_in(options: Any) -> str:
    """The first option that is called like a secret, at any depth; nothing where there is none."""
    if isinstance(options, dict):
        for name, value in options.items():
            is_none = name == "token" and value == "anon"  # gcsfs's word for no credentials
            if found := (_SECRET.search(str(name)) and not is_none and str(name)) or _secret_in(
                value
            ):
                return found
    elif isinstance(options, list | tuple):
        return next(filter(None, map(_secret_in, options)), "")
    return ""


def _require_no_secret(found: str, info: ValidationInfo) -> None:
    if found:  # whose value no message has
        raise ValueError(
            f"{info.field_name} has {found}; the UI shows what a YAML says: leave secrets to the "
            "file system's own variables and files, such as AWS_SECRET_ACCESS_KEY"
        )


def _no_secret_options(options: dict[str, Any], info: ValidationInfo) -> dict[str, Any]:
    """Refuse options that are secrets."""
    _require_no_secret(_secret_in(options), info)
    return options


def no_secret_urls(paths: str | list[str], info: ValidationInfo) -> str | list[str]:
    """Refuse URLs with a password or a signature."""
    for url in [paths] if isinstance(paths, str) else paths:
        for found in _IN_URL.finditer(url):
            name = "a password" if found[1] else found[2]
            _require_no_secret(name if found[1] or _SECRET.search(name) else "", info)
    return paths


StorageOptions = Annotated[dict[str, Any], AfterValidator(_no_secret_options)]
"""What a file system of fsspec is made with; no secrets."""


class Source(BaseModel, ABC):
    """Where the documents of a corpus come from: one file, or several.

    A subclass has `kind: Literal["its name"] = "its name"`, then fields with a description each,
    and `materialize`; the first line of its docstring is what the reference says of it.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    shown_kinds: ClassVar[frozenset[str]] = frozenset({"parquet"})
    """What the UI shows the asset as: https://docs.dagster.io/api/dagster/assets#kinds"""

    _listing: Listing | None = PrivateAttr(default=None)
    _comes_in_parts: bool = PrivateAttr(default=False)

    @property
    def comes_in_parts(self) -> bool:
        """Whether files come row group by row group where they can, and none is kept whole here."""
        return self._comes_in_parts

    def in_parts(self) -> Self:
        """The same source, for a root in an object store: see `comes_in_parts`."""
        same = self.model_copy()
        same._comes_in_parts = True  # noqa: SLF001  (of its own class)
        return same

    @property
    def num_files(self) -> int:
        """Its files, each a text of its own; 1 where there is no list of them yet."""
        return 1

    @property
    def asked(self) -> str | None:
        """What its files are asked for by; None where they are known without asking."""
        return None

    @property
    def listing(self) -> Listing | None:
        """The list of its files, where one was made."""
        return self._listing

    def ask(self, reporter: Reporter) -> Listing:
        """Ask for the list of its files as it is now; of a branch or tag, at its newest commit.

        Args:
            reporter: told what is waited for.

        Raises:
            CorpusError: it cannot be had, or there are no files.
        """
        raise NotImplementedError(f"a source of kind {self.__class__.__name__} asks for no files")

    def listed_in(self, folder: Path) -> Self:
        """The same source, which knows its files if there is a list of them.

        Args:
            folder: the corpus's.
        """
        if self.asked is None:
            return self
        known = type(self).model_validate(self.model_dump())
        known._listing = read_listing(folder, self.asked)  # noqa: SLF001  (of its own class)
        return known

    def refreshed(self, folder: Path, reporter: Reporter) -> Self:
        """The same source, which knows its files as they are now; the list is kept.

        Args:
            folder: the corpus's.
            reporter: told what is waited for, and what is another than before.

        Raises:
            CorpusError: see `ask`.
        """
        if self.asked is None:
            return self
        listing, old = self.ask(reporter), read_listing(folder, self.asked)
        changes = listing.changes_since(old) if old is not None else ""
        of_commit = f" of commit {listing.commit}" if listing.commit else ""
        reporter.say(
            f"corpus {folder.name}: {len(listing.files):,} files{of_commit}"
            + (f"; {changes} since it was listed before" if changes else "")
        )
        write_listing(folder, listing)
        return self.listed_in(folder)

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

    def num_bytes(self, file: int, folder: Path) -> int | None:
        """The size of a file, where it is listed or here; None where that is not known yet.

        Args:
            file: which.
            folder: the file's.
        """
        if self.listing is not None:
            return self.listing.files[file].num_bytes
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
