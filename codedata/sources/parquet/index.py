"""Row groups -> where the characters of each begin, counted as far as a window reaches.

The counts of whole row groups are kept in a small sidecar named by the file's sha256, so that the
next run counts none of them again. A row group that has more than what was asked for is counted up
to there only: it is remembered in this process and is no part of the sidecar.
"""

import json
import logging
import operator
from bisect import bisect_right
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codedata.parallel import available_cores
from codedata.sources.parquet.decode import count_chars, decode
from codedata.sources.parquet.footer import Parquet
from codedata.store.files import replace_atomically

logger = logging.getLogger(__name__)

_MOST_DECODERS = 8
"""Runs of row groups counted at once. One core is left to the tokenizer, loaded meanwhile: each run
takes four times its text."""

_RUN_BYTES = 8_000_000
"""Encoded bytes of the row groups that are counted in one piece of work: a tenth of a second."""


class Counts(NamedTuple):
    """Of some rows: characters, a space after each document included; documents; null contents."""

    num_chars: int = 0
    num_documents: int = 0
    num_nulls: int = 0


NOTHING = Counts()


@dataclass(kw_only=True)
class TextIndex:
    """Counts of the leading row groups, more of them as windows reach on.

    Attributes:
        groups: of each row group that was counted whole.
        begun: of the row group after them what was counted, if that is not all of it.
    """

    groups: list[Counts] = field(default_factory=list)
    begun: Counts = NOTHING

    def starts(self) -> list[int]:
        """Where each counted row group starts, and last where the counted part ends.

        The space after the text's very last document is counted, but not of the text.
        """
        return list(accumulate((each.num_chars for each in self.groups), initial=0))

    def total(self) -> Counts:
        """What was counted, the begun row group included."""
        return Counts(*map(sum, zip(*self.groups, self.begun, strict=True)))


def count_to(parquet: Parquet, index: TextIndex, stop: int) -> None:
    """Count row groups until the text reaches beyond `stop`.

    Those that are needed by their size, for none has more characters than bytes but where equal
    texts are stored once, are decoded side by side.

    Args:
        parquet: the file.
        index: what was counted before; it grows.
        stop: a place in the text, in characters.

    Raises:
        CorpusError: a row group that is needed is damaged, or one of its documents is refused.
    """
    footer = parquet.footer
    total = index.total()
    with ThreadPoolExecutor(max(1, min(available_cores() - 1, _MOST_DECODERS))) as threads:
        try:
            while (done := len(index.groups)) < len(footer.groups) and total.num_chars <= stop:
                whole = index.starts()[-1]
                starts = list(accumulate(footer.group_bytes[done:], initial=whole))[:-1]
                needed = range(done, done + bisect_right(starts, stop))
                for future in [
                    threads.submit(_count, parquet, run, stop - whole)
                    for run in footer.runs(needed, _RUN_BYTES)
                ]:
                    counts, index.begun = future.result()
                    index.groups += counts
                    total = index.total()
                    if total.num_chars > stop:
                        break
                pa.default_memory_pool().release_unused()
        finally:
            threads.shutdown(cancel_futures=True)


def read_sidecar(path: Path | None, group_rows: Sequence[int]) -> TextIndex:
    """What an earlier run counted, if there is a sidecar of it.

    Args:
        path: the sidecar, where there is a place for one.
        group_rows: rows of each row group, which the counts must add up to.
    """
    try:
        return TextIndex(groups=_parsed(path.read_bytes(), group_rows) if path else [])
    except FileNotFoundError:
        pass
    except (OSError, ValueError, TypeError, RecursionError) as error:
        logger.info("counting again: the sidecar %s is unusable (%s)", path, error)
    return TextIndex()


def _parsed(sidecar: bytes, group_rows: Sequence[int]) -> list[Counts]:
    groups = [Counts(*map(operator.index, each)) for each in json.loads(sidecar)]
    agree = (
        each.num_documents + each.num_nulls == num_rows
        and each.num_chars >= each.num_documents >= 0 <= each.num_nulls
        for each, num_rows in zip(groups, group_rows, strict=False)
    )
    if len(groups) > len(group_rows) or not all(agree):
        raise ValueError("its counts are not those of the file's row groups")
    return groups


def write_sidecar(path: Path | None, index: TextIndex) -> None:
    """Keep the counts of whole row groups for the next run, where there is a place for them."""
    try:
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            replace_atomically(path, json.dumps(index.groups).encode())
    except OSError as error:
        logger.info("the next run counts characters again: %s", error)


def _count(parquet: Parquet, run: range, enough: int) -> tuple[list[Counts], Counts]:
    """The counts of a run's row groups, until they have more than `enough` characters.

    Returns:
        Those of whole row groups, and of the one after them where it was not counted to its end.
    """
    first_rows = np.array(parquet.footer.first_rows[run.start : run.stop + 1], np.int64)
    counts, num_whole = np.zeros((len(run) + 1, 3), np.int64), len(run)
    for batch in decode(parquet, run):
        borders = np.clip(first_rows - batch.first_row, 0, len(batch.contents))
        counts[:-1] += np.diff(_running_counts(batch.contents)[borders], axis=0)
        if counts[:, 0].sum() > enough:
            num_whole = int(np.searchsorted(first_rows, batch.stop_row, "right")) - 1
            break
    listed = [Counts(*each) for each in counts.tolist()]
    return listed[:num_whole], listed[num_whole]


def _running_counts(contents: pa.LargeStringArray) -> NDArray[np.int64]:
    """Characters, documents and nulls of the first 0, 1, ... rows, shape (num_rows + 1, 3)."""
    num_chars = count_chars(contents)
    running = np.zeros((len(contents) + 1, 3), np.int64)
    np.cumsum(num_chars + 1, out=running[1:, 0])
    np.cumsum(num_chars >= 0, out=running[1:, 1])
    np.cumsum(num_chars < 0, out=running[1:, 2])
    return running
