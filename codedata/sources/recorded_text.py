"""A text by its record: planned without a byte of it, opened by whoever reads it first.

Invariants: a text is known by its record's sha256 as long as its file is the one that was hashed,
by its size and times and this user's note of them. One that may be another is hashed before a run
goes on, and refused; one of which nothing is known is hashed by whoever reads it first. Nothing
else of a file is read, and no footer parsed, before some of its characters are asked for, and a
process holds no more than `_MOST_OPEN` files opened, so that a plan of ten thousand is small.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from threading import Lock

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange, Utf8
from codedata.sources.documents import Documents
from codedata.sources.hashed import seems_same
from codedata.sources.parquet.text import ParquetText, clipped
from codedata.sources.record import Corpus, fetched, read_corpus, require_parts

_MOST_OPEN = 64
"""Files whose footers and counts a process keeps: of a thousand row groups they are a megabyte."""


@dataclass(frozen=True, kw_only=True, slots=True)
class KnownText(ABC):
    """A text of which a record says enough to plan; small, and picklable.

    Attributes:
        path: of the parquet, or the folder of its parts; of one in an object store, its URL.
        sha256: what identifies the text.
        num_chars: characters that may be used.
        ends_here: whether the text has no more than those.
        kept_names: the columns that are kept beside the text.
    """

    path: Path | str
    sha256: str
    num_chars: int
    ends_here: bool = True
    kept_names: tuple[str, ...] = ()

    @abstractmethod
    def open(self) -> ParquetText:
        """The text, to be read."""

    def clip(self, window: CharRange) -> CharRange:
        """The part of a window that the text has, going by its record.

        Raises:
            CorpusError: it ends before the window starts, or not as much of it was fetched.
        """
        if not self.ends_here:
            window = fetched(window, self.num_chars, self.path)
        return clipped(window, self.num_chars, self.path)

    def read(self, chars: CharRange) -> str:
        """See `ParquetText.read`."""
        return self._reaching(chars).read(chars)

    def read_utf8(self, chars: CharRange) -> Utf8:
        """See `ParquetText.read_utf8`."""
        return self._reaching(chars).read_utf8(chars)

    def documents(self, chars: CharRange, *, to_end: bool = False) -> Iterator[Documents]:
        """See `ParquetText.documents`."""
        return self._reaching(chars).documents(chars, to_end=to_end)

    def kept(self, rows: NDArray[np.int64], names: Collection[str] | None = None) -> pa.Table:
        """See `ParquetText.kept`."""
        return self._reaching(None).kept(rows, self.kept_names if names is None else names)

    def _reaching(self, chars: CharRange | None) -> ParquetText:
        """The opened text, its row groups counted as far as some characters reach."""
        with _LOCK:  # or two that come at once would both open it
            opening = _opening(self)
        with opening.lock:
            text = opening.text or self.open()
            opening.text = text
            if chars is not None and text.clip(chars) != chars:
                raise CorpusError(
                    f"{self.path} is recorded with {self.num_chars} characters, but it has fewer; "
                    "materialize its corpus again"
                )
        return text


@dataclass(frozen=True, kw_only=True, slots=True)
class RecordedText(KnownText):
    """A text of this machine, and the folder of its record."""

    record: Path

    @classmethod
    def of(cls, record: Path, corpus: Corpus) -> "RecordedText":
        """The text of a corpus whose record lies in a folder.

        Raises:
            CorpusError: it is gone, or is another than the one that was recorded.
        """
        path, part = Path(corpus.path), corpus.part
        if part is not None:
            require_parts(path, part)
        elif not seems_same(path, corpus.file_sha256 or corpus.sha256, corpus.num_bytes):
            corpus.open_text()
        return cls(
            record=record,
            path=path,
            sha256=corpus.sha256,
            num_chars=corpus.num_chars,
            ends_here=part is None or part.ends_here,
            kept_names=tuple(corpus.kept),
        )

    def open(self) -> ParquetText:
        """See `KnownText.open`; refused where the record is of another by now."""
        corpus = read_corpus(self.record)
        if corpus.sha256 != self.sha256:
            raise CorpusError(
                f"{self.record} was recorded anew while it was being read, and is another text; "
                "run again"
            )
        return corpus.open_text()


class _Opening:
    """A text that the first who reads it opens, while the others wait."""

    def __init__(self) -> None:
        self.lock = Lock()
        self.text: ParquetText | None = None


_LOCK = Lock()


@lru_cache(_MOST_OPEN)
def _opening(_: KnownText) -> _Opening:
    return _Opening()
