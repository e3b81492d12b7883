"""A parquet's documents as one text, addressed in characters.

The text is the file's non-null contents in file order, joined by one space. Only the column that
holds them is read, and of it only the row groups that hold the characters asked for, batch by
batch; what else is kept of documents, where it is asked for.

Invariants: documents of adjoining ranges join to the text; a row group before a range is never
decoded once its count is known, and none behind the range's end.
"""

from bisect import bisect_left, bisect_right
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from threading import BoundedSemaphore, Lock
from typing import Any, NamedTuple, Protocol

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codedata.errors import CorpusError
from codedata.format.ranges import MAX_CHARACTERS, CharRange, Utf8
from codedata.parallel import available_cores
from codedata.places import cache_folder
from codedata.sources.columns import USUAL, Columns, Place, kept_columns, text_identity
from codedata.sources.documents import Documents, cut, join
from codedata.sources.hashed import sha256_once
from codedata.sources.parquet.decode import Batch, count_chars, decode
from codedata.sources.parquet.footer import Parquet
from codedata.sources.parquet.index import count_to, read_sidecar, write_sidecar
from codedata.sources.parquet.rows import read_rows

_kept_chars = range(1_000_000, 32_000_000)
"""Row groups whose text is kept, one at a time, since neighbouring chunks need the same one:
smaller ones are soon decoded again, larger ones fill the memory."""

_MOST_KEPT = available_cores() + 1
"""Texts of row groups that a process keeps, of all its parquets together."""

_DECODING = BoundedSemaphore(max(1, available_cores() // 4))
"""Decoding a whole row group takes a tenth of the time that tokenizing it takes."""


class Text(Protocol):
    """A text, however it is read: see `ParquetText`."""

    @property
    def path(self) -> Path | str:
        """Where it is, for messages."""
        ...

    @property
    def sha256(self) -> str:
        """What identifies it."""
        ...

    def clip(self, window: CharRange) -> CharRange:
        """The part of a window that the text has."""
        ...

    def read(self, chars: CharRange) -> str:
        """The characters of a range that `clip` returned."""
        ...

    def read_utf8(self, chars: CharRange) -> Utf8:
        """The same as UTF-8."""
        ...

    def documents(self, chars: CharRange, *, to_end: bool = False) -> Iterator[Documents]:
        """The documents that such a range holds wholly or in part, batch by batch."""
        ...

    @property
    def kept_names(self) -> tuple[str, ...]:
        """The columns that are kept beside the text, known without reading it."""
        ...

    def kept(self, rows: NDArray[np.int64], names: Collection[str] | None = None) -> pa.Table:
        """Those of some rows, all or some."""
        ...


class _Contents(NamedTuple):
    """Contents that are not null, the rows that have them, and where each ends.

    `ends` counts characters from the first one's start, the space after each included. `rows` and
    `ends` have shape (num_documents,).
    """

    texts: pa.LargeStringArray
    rows: NDArray[np.int64]
    ends: NDArray[np.int64]


@dataclass
class _Kept:
    """The text of a row group, which the first who needs it decodes while the others wait."""

    group: int
    lock: Lock = field(default_factory=Lock)
    text: Utf8 | None = None


_kept: deque[_Kept] = deque()


def _keep(kept: _Kept) -> None:
    """Let go of what was kept first, where a corpus of many files would fill the memory."""
    _kept.append(kept)
    while len(_kept) > _MOST_KEPT:
        _kept.popleft().text = None


def keep_no_row_groups() -> None:
    """Decode of a row group what is asked for: the neighbours of a worker's chunk go elsewhere."""
    global _kept_chars  # noqa: PLW0603 - once a process
    _kept_chars = range(0)


class ParquetText:
    """The text of one parquet file.

    Args:
        path: the file.
        expected_sha256: refuse the file if its bytes hash to anything else.
        columns: which hold the documents and what is kept of them.
        hash_of: hashes the file: once a process, or once a user.

    Attributes:
        sha256: what identifies the text: the hash of the file's bytes, and its column if that is
            another than `content`.
        file_sha256: of the file's bytes.
        num_bytes: of the file.
        text_column: that of the documents.
        columns: type by column name.
        kept_places: the columns that are kept beside the text, by name.
        group_rows: rows of each row group.

    Raises:
        CorpusError: missing, not a whole parquet, a column that is not there or not usable, or
            another sha256.
    """

    def __init__(
        self,
        path: Path,
        *,
        expected_sha256: str | None = None,
        columns: Columns = USUAL,
        hash_of: Callable[[Path], str] = sha256_once,
    ) -> None:
        self.path: Path | str = path
        self._parquet = Parquet(path, columns.text)
        footer = self._parquet.footer
        self.num_bytes = self._parquet.identity.num_bytes
        self.text_column, self.columns = columns.text, footer.columns
        self.group_rows = footer.group_rows
        self.file_sha256 = hash_of(path)
        self.sha256 = text_identity(self.file_sha256, columns.text)
        if expected_sha256 not in (None, self.file_sha256):
            raise CorpusError(
                f"{path} has sha256 {self.file_sha256}, but {expected_sha256} was expected: it is "
                "damaged or another file; remove it and fetch it again"
            )
        self.kept_places = kept_columns(footer.schema, columns, str(path))
        self.index = read_sidecar(self._sidecar, self.group_rows)
        self._forget()

    def clip(self, window: CharRange) -> CharRange:
        """The part of a window that the text has; counts row groups as far as that needs.

        Raises:
            CorpusError: the text is empty, or ends before the window starts.
        """
        for stop in (window.stop, MAX_CHARACTERS):  # to the end where there are but empty ones
            self._count_to(stop)
            counted, num_documents, num_nulls = self.index.total()
            if counted > window.stop and counted > num_documents:
                return window
        if counted == num_documents:
            raise CorpusError(
                f"{self.path} holds no text: {sum(self.group_rows)} rows, of which {num_nulls} "
                f"have a null and {num_documents} an empty {self.text_column!r}; name a file with "
                "documents"
            )
        return clipped(window, counted - 1, self.path)

    def read(self, chars: CharRange) -> str:
        """The characters of a range as a string: see `read_utf8`."""
        return str(self.read_utf8(chars).data, "utf-8")

    def read_utf8(self, chars: CharRange) -> Utf8:
        """The characters of a range that `clip` returned, or of a part of it, as UTF-8.

        Returns:
            uint8, shape (num_bytes,).

        Raises:
            CorpusError: the file changed or is damaged, or the index is another file's.
        """
        parts = [self._part(*part) for part in self._parts(chars)]
        pa.default_memory_pool().release_unused()
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    def _parts(self, chars: CharRange) -> Iterator[tuple[int | None, CharRange]]:
        """A range in parts: of each row group that is kept, with its number, and between them."""
        starts = self.index.starts()
        first = bisect_right(starts, chars.start) - 1
        reached = chars.start
        for group in range(first, bisect_left(starts, chars.stop, hi=len(self.index.groups))):
            if self.index.groups[group].num_chars in _kept_chars:
                start, stop = max(reached, starts[group]), min(chars.stop, starts[group + 1])
                if reached < start:
                    yield None, chars._replace(start=reached, stop=start)
                yield group, chars._replace(start=start, stop=stop)
                reached = stop
        if reached < chars.stop:
            yield None, chars._replace(start=reached)

    def _part(self, group: int | None, chars: CharRange) -> Utf8:
        if group is None:
            return self._joined(chars)
        start, stop = self.index.starts()[group : group + 2]
        text = self._kept_text(group, CharRange(start, stop))
        return cut(text, stop - start, chars.start - start, chars.stop - start)

    def _joined(self, chars: CharRange) -> Utf8:
        utf8 = join(self.documents(chars), chars)
        if utf8 is None:
            raise CorpusError(
                f"characters {chars.start} to {chars.stop} of {self.path} are not as many: the "
                f"index {self._sidecar} does not agree with the file; remove it and run again"
            )
        return utf8

    def documents(self, chars: CharRange, *, to_end: bool = False) -> Iterator[Documents]:
        """The documents that a range holds wholly or in part, batch by batch.

        An empty one is held where it stands in the range.

        Args:
            chars: a range that `clip` returned.
            to_end: whether the text's last document, if it is empty and the range stops with the
                text, is held too: it stands behind the last character.
        """
        last: Documents | None = None
        for batch in self._addressed(chars):
            if last is not None:  # the text goes on, so that it is of the range behind this one
                return
            low = int(np.searchsorted(batch.stops, chars.start))
            if low < len(batch) and batch.starts[low] < batch.stops[low] == chars.start:
                low += 1  # of that one, only the space is in the range
            high = int(np.searchsorted(batch.starts, chars.stop))
            if low < high:
                yield batch.part(low, high)
            if to_end and high == len(batch) - 1 and batch.stops[high] == chars.stop:
                last = batch.part(high)
            elif batch.stops[-1] + (not to_end) >= chars.stop:
                return
        if last is not None and self._ends_here:
            yield last

    def _addressed(self, chars: CharRange) -> Iterator[Documents]:
        """All documents from those on that a range begins in the row group of."""
        group_starts = self.index.starts()
        first = bisect_right(group_starts, chars.start) - 1
        position = group_starts[first]
        for contents in self._contents(range(first, len(self.group_rows))):
            if not len(contents.texts):
                continue
            ends = contents.ends + position
            yield Documents(
                texts=contents.texts,
                file=chars.file,
                rows=contents.rows,
                starts=np.append(position, ends[:-1]),
                stops=ends - 1,
            )
            position = int(ends[-1])

    def first_documents(self, num_documents: int) -> list[str]:
        """The first documents, for a look at them."""
        return self._first(num_documents)[0]

    def first_with_kept(self, num_documents: int) -> list[tuple[str, dict[str, Any]]]:
        """The first documents, each with what is kept of it by the columns' names.

        What Python has no value for, such as a text that is no UTF-8, is told as why.
        """
        texts, rows = self._first(num_documents)
        kept = self.kept(rows)
        return [
            (text, {name: _value(kept[name][place]) for name in kept.column_names})
            for place, text in enumerate(texts)
        ]

    @property
    def kept_names(self) -> tuple[str, ...]:
        """The columns that are kept beside the text."""
        return tuple(self.kept_places)

    def kept(self, rows: NDArray[np.int64], names: Collection[str] | None = None) -> pa.Table:
        """The columns that are kept beside the text, of some rows, such as those of `Documents`.

        Args:
            rows: of the file, ascending, shape (num_rows,).
            names: of the columns; None for all.

        Returns:
            A row for each, in their order, a column for each of the names.

        Raises:
            CorpusError: the file changed or is damaged.
        """
        return read_rows(self._parquet, named_places(self.kept_places, names), rows)

    def _first(self, num_documents: int) -> tuple[list[str], NDArray[np.int64]]:
        """The first documents, and their rows."""
        texts, rows = list[str](), np.empty(0, np.int64)
        for contents in self._contents(range(len(self.group_rows))):
            missing = num_documents - len(texts)
            texts += contents.texts[:missing].to_pylist()
            rows = np.append(rows, contents.rows[:missing])
            if len(texts) == num_documents:
                break
        return texts, rows

    def _contents(self, groups: range) -> Iterator[_Contents]:
        for first_row, contents in self._decode(groups):
            num_chars = count_chars(contents)
            rows = np.flatnonzero(num_chars >= 0)
            texts = contents.drop_null() if contents.null_count else contents
            yield _Contents(texts, first_row + rows, np.cumsum(num_chars[rows] + 1))

    def _kept_text(self, group: int, chars: CharRange) -> Utf8:
        """The text of one row group, from memory if it was read just now."""
        with self._lock:
            if self._kept.group != group:
                self._kept = _Kept(group)
            kept = self._kept
        with kept.lock:
            text = kept.text
            if text is None:
                with _DECODING:
                    kept.text = text = self._joined(chars)
                    pa.default_memory_pool().release_unused()
                _keep(kept)
            return text

    def _decode(self, groups: range) -> Iterable[Batch]:
        """The rows of adjoining row groups."""
        return decode(self._parquet, groups)

    def _count_to(self, stop: int) -> None:
        known = len(self.index.groups)
        count_to(self._parquet, self.index, stop)
        if len(self.index.groups) > known:
            write_sidecar(self._sidecar, self.index)

    @property
    def _ends_here(self) -> bool:
        """Whether the rows that are here are all there are."""
        return True

    @property
    def _sidecar(self) -> Path | None:
        folder = cache_folder()
        return folder and folder / "text-index-2" / f"{self.sha256}.json"

    def _forget(self) -> None:
        self._kept, self._lock = _Kept(-1), Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_kept": None, "_lock": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()


def named_places(places: dict[str, Place], names: Collection[str] | None) -> dict[str, Place]:
    """Some columns by their names; None for all."""
    return {name: place for name, place in places.items() if names is None or name in names}


def clipped(window: CharRange, length: int, path: Path | str) -> CharRange:
    """The part of a window that a text has.

    Args:
        window: the characters.
        length: of the text, in characters.
        path: of the text, for the message.

    Raises:
        CorpusError: it ends before the window starts.
    """
    if window.start >= length:
        raise CorpusError(
            f"starting_character is {window.start}, but the text of {path} has only {length} "
            "characters; choose a smaller one"
        )
    return window.until(length)


def _value(scalar: pa.Scalar) -> Any:
    try:
        return scalar.as_py()
    except (ValueError, OverflowError, LookupError) as error:
        return f"({error})"


@dataclass(frozen=True, kw_only=True)
class Window:
    """A part of a text: `chars` as `text.clip` returned it, and which file of the corpus it is."""

    text: Text
    chars: CharRange

    @classmethod
    def of(cls, text: Text, chars: CharRange) -> "Window":
        """What a text has of some characters.

        Raises:
            CorpusError: see `ParquetText.clip`.
        """
        return cls(text=text, chars=text.clip(chars))

    def holds(self, text: Text, chars: CharRange) -> bool:
        """Whether a part of these characters of a text is in the window."""
        inside = chars.start < self.chars.stop and chars.stop > self.chars.start
        return inside and text.sha256 == self.text.sha256
