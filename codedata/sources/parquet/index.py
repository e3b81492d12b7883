"""Row groups -> where the characters of each begin, counted as far as a window reaches.

The counts of whole row groups are kept in a small sidecar named by the file's sha256, so that the
next run counts none of them again. A row group that is larger than what was asked for is counted
up to there only: it is remembered in this process and is no part of the sidecar.
"""

import json
import logging
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codedata.parallel import available_cores
from codedata.sources.parquet.columns import count_chars, num_bytes_of, present
from codedata.sources.parquet.decode import decode
from codedata.sources.parquet.footer import Parquet
from codedata.store.files import replace_atomically

logger = logging.getLogger(__name__)

_LISTS = ("num_chars", "num_documents", "num_nulls")

_MOST_DECODERS = 8
"""Runs of row groups counted at once."""

_RUN_BYTES = 8_000_000
"""Encoded bytes of the row groups that are counted in one piece of work: a tenth of a second."""

_BEYOND_BYTES = 16_000_000
"""Decoded bytes for which a row group is counted on behind a window's end, so that most are whole:
some hundredths of a second."""


class Counts(NamedTuple):
    """Of some rows: characters, a space after each document included; documents; null contents."""

    num_chars: int = 0
    num_documents: int = 0
    num_nulls: int = 0

    def plus(self, other: "Counts") -> "Counts":
        """The counts of both."""
        return Counts(*(mine + its for mine, its in zip(self, other, strict=True)))


NOTHING = Counts()


@dataclass(kw_only=True)
class TextIndex:
    """Counts of the leading row groups, lists of equal length that grow as windows reach on.

    Attributes:
        num_chars: characters of the contents, a space after each included.
        num_documents: contents that are not null.
        num_nulls: null contents.
        begun: of the row group after them what was counted, if that is not all of it.
    """

    num_chars: list[int] = field(default_factory=list)
    num_documents: list[int] = field(default_factory=list)
    num_nulls: list[int] = field(default_factory=list)
    begun: Counts = NOTHING

    @classmethod
    def from_json(cls, data: bytes, group_rows: Sequence[int]) -> "TextIndex":
        """Read a sidecar.

        Args:
            data: the file's bytes.
            group_rows: rows of each row group, which the counts must add up to.

        Raises:
            ValueError: it does not hold three lists of counts for these row groups.
        """
        try:
            fields = json.loads(data)
            counts = list(zip(*(list(fields[name]) for name in _LISTS), strict=True))
        except (KeyError, TypeError, RecursionError) as error:
            raise ValueError(f"it does not hold the lists {', '.join(_LISTS)}") from error
        are_counts = all(type(count) is int and count >= 0 for each in counts for count in each)
        if not are_counts or len(counts) > len(group_rows):
            raise ValueError("its counts are not those of the file's row groups")
        index = cls()
        for each, rows in zip(counts, group_rows, strict=False):
            index.add(Counts(*each))
            if each[1] + each[2] != rows or each[0] < each[1]:
                raise ValueError("its counts do not add up to the file's rows")
        return index

    def to_json(self) -> bytes:
        """The sidecar: counts of whole row groups alone."""
        return json.dumps({name: getattr(self, name) for name in _LISTS}).encode()

    def starts(self) -> list[int]:
        """Where each counted row group starts, and last where the counted part ends.

        The space after the text's very last document is counted, but not of the text.
        """
        return list(accumulate(self.num_chars, initial=0))

    def total(self) -> Counts:
        """What was counted, the begun row group included."""
        whole = Counts(sum(self.num_chars), sum(self.num_documents), sum(self.num_nulls))
        return whole.plus(self.begun)

    def add(self, counts: Counts) -> None:
        """Another row group, counted whole."""
        self.num_chars.append(counts.num_chars)
        self.num_documents.append(counts.num_documents)
        self.num_nulls.append(counts.num_nulls)
        self.begun = NOTHING


def _density(index: TextIndex, group_bytes: Sequence[int]) -> float:
    """Characters a byte, going by what was counted; over 1 where equal texts are stored once.

    Less is taken for 1: a row group may hold as many characters as it has bytes.
    """
    num_chars = index.num_chars
    return max(1.0, sum(num_chars) / max(1, sum(group_bytes[: len(num_chars)])))


def count_to(parquet: Parquet, index: TextIndex, num_groups: int, stop: int) -> None:
    """Count row groups until the text reaches beyond `stop`, and beyond empty documents.

    Those that are needed by their size, if they are as dense as those before, are decoded side by
    side.

    Args:
        parquet: the file.
        index: what was counted before; it grows.
        num_groups: leading row groups that may be read.
        stop: a place in the text, in characters.

    Raises:
        CorpusError: a row group that is needed is damaged, or one of its documents is refused.
    """
    group_bytes = parquet.footer.group_bytes[:num_groups]
    total = index.total()
    with ThreadPoolExecutor(min(available_cores(), _MOST_DECODERS)) as threads:
        try:
            while (done := len(index.num_chars)) < num_groups and not _reaches(total, stop):
                whole = sum(index.num_chars)
                rate = _density(index, group_bytes)
                sizes = (int(each * rate) for each in group_bytes[done:])
                starts = list(accumulate(sizes, initial=whole))[:-1]
                num_sure = bisect_right(starts, stop) if index.num_chars else 0
                runs = list(_runs(parquet, done, done + num_sure))
                runs = runs or [next(_runs(parquet, done, num_groups))]
                has_text = whole > sum(index.num_documents)
                futures = [
                    threads.submit(_count, parquet, run, stop - whole, has_text) for run in runs
                ]
                for future in futures:
                    counts, begun = future.result()
                    for each in counts:
                        index.add(each)
                    index.begun = begun
                    total = index.total()
                    if _reaches(total, stop):
                        break
                pa.default_memory_pool().release_unused()
        finally:
            threads.shutdown(cancel_futures=True)


def read_sidecar(path: Path | None, group_rows: Sequence[int]) -> TextIndex:
    """What an earlier run counted, if there is a sidecar of it."""
    if path is None:
        return TextIndex()
    try:
        return TextIndex.from_json(path.read_bytes(), group_rows)
    except FileNotFoundError:
        return TextIndex()
    except (OSError, ValueError) as error:
        logger.info("counting again: the sidecar %s is unusable (%s)", path, error)
        return TextIndex()


def write_sidecar(path: Path | None, index: TextIndex) -> None:
    """Keep what was counted for the next run, where there is a place for it."""
    if path is None:
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        replace_atomically(path, index.to_json())
    except OSError as error:
        logger.info("the next run counts characters again: %s", error)


def _reaches(counts: Counts, stop: int) -> bool:
    return counts.num_chars > stop and counts.num_chars > counts.num_documents


def _runs(parquet: Parquet, start: int, stop: int) -> Iterator[range]:
    """Row groups `start` to `stop`, neighbours of few bytes together."""
    while start < stop:
        end, num_bytes = start, 0
        while end == start or (end < stop and num_bytes <= _RUN_BYTES):
            num_bytes += parquet.footer.group_bytes[end]
            end += 1
        yield range(start, end)
        start = end


def _count(
    parquet: Parquet, run: range, enough: int, has_text: bool
) -> tuple[list[Counts], Counts]:
    """The counts of a run's row groups, up to the one that gives more than `enough` characters.

    Returns:
        Those of whole row groups, and of the one after them where it was not counted to its end.
    """
    first_rows = np.array(parquet.footer.first_rows[run.start : run.stop + 1], np.int64)
    counts = np.zeros((3, len(run)), np.int64)  # characters, documents, nulls
    beyond_bytes = 0
    for batch in decode(parquet, run):
        borders = np.clip(first_rows - batch.first_row, 0, len(batch.contents))
        counts += np.diff(_running_counts(batch.contents)[:, borders])
        num_chars = counts[0].cumsum()
        has_enough = (num_chars > enough) & (has_text | (num_chars > counts[1].cumsum()))
        if has_enough[-1]:
            last = int(np.argmax(has_enough))
            if batch.first_row + len(batch.contents) >= first_rows[last + 1]:
                return _listed(counts[:, : last + 1]), NOTHING
            beyond_bytes += num_bytes_of(batch.contents)
            if beyond_bytes > _BEYOND_BYTES:
                return _listed(counts[:, :last]), _listed(counts[:, [last]])[0]
    return _listed(counts), NOTHING


def _listed(counts: NDArray[np.int64]) -> list[Counts]:
    return [Counts(*each) for each in counts.T.tolist()]


def _running_counts(contents: pa.LargeStringArray) -> NDArray[np.int64]:
    """Characters, documents and nulls of the first 0, 1, ... rows, shape (3, num_rows + 1)."""
    is_present = present(contents)
    running = np.zeros((3, len(contents) + 1), np.int64)
    num_chars = np.zeros(len(contents), np.int64)
    num_chars[is_present] = count_chars(contents.drop_null()) + 1
    np.cumsum(num_chars, out=running[0, 1:])
    np.cumsum(is_present, out=running[1, 1:])
    np.cumsum(~is_present, out=running[2, 1:])
    return running
