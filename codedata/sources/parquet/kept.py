"""Row groups -> their documents; the last one of middling size is kept, for the next chunk."""

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from itertools import accumulate
from threading import BoundedSemaphore, Lock
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codedata.parallel import available_cores
from codedata.sources.parquet.columns import count_chars, present
from codedata.sources.parquet.decode import Batch, decode
from codedata.sources.parquet.footer import Parquet

_KEPT_CHARS = range(1_000_000, 32_000_000)
"""Row groups that are kept decoded, one at a time, since neighbouring chunks need the same one:
smaller ones are soon decoded again, larger ones fill the memory."""

_DECODING = BoundedSemaphore(max(1, available_cores() // 4))
"""Decoding a whole row group takes a tenth of the time that tokenizing it takes."""


class Contents(NamedTuple):
    """Contents that are not null, the rows that have them, and where each ends.

    `ends` counts characters from the first one's start, the space after each included. `rows` and
    `ends` have shape (num_documents,).
    """

    texts: pa.LargeStringArray
    rows: NDArray[np.int64]
    ends: NDArray[np.int64]


class GroupReader:
    """Reads row groups as documents, and keeps the last one of middling size.

    Args:
        parquets: the one file of a text, or of each of its row groups one.
    """

    def __init__(self, parquets: Sequence[Parquet]) -> None:
        self._parquets = parquets
        self._forget()

    def decode(self, groups: Sequence[int]) -> Iterator[Batch]:
        """The rows of adjoining row groups."""
        if len(self._parquets) == 1:
            yield from decode(self._parquets[0], groups)
            return
        first_rows = [*accumulate((sum(p.footer.group_rows) for p in self._parquets), initial=0)]
        for group in groups:
            parquet = self._parquets[group]
            for batch in decode(parquet, range(len(parquet.footer.group_rows))):
                yield batch._replace(first_row=first_rows[group] + batch.first_row)

    def read(self, groups: Sequence[int]) -> Iterator[Contents]:
        """The documents of adjoining row groups, batch by batch."""
        for batch in self.decode(groups):
            texts = batch.contents.drop_null() if batch.contents.null_count else batch.contents
            rows = batch.first_row + np.flatnonzero(present(batch.contents))
            yield Contents(texts, rows, np.cumsum(count_chars(texts) + 1))

    def read_kept(self, group: int) -> list[Contents]:
        """The documents of one row group, from memory if it was read just now."""
        with self._lock:
            kept = self._kept.get(group)
            future = kept or Future()
            self._kept = {group: future}
        if kept is None:
            try:
                with _DECODING:
                    future.set_result(list(self.read([group])))
                    pa.default_memory_pool().release_unused()
            except BaseException as error:
                self._kept.pop(group, None)
                future.set_exception(error)
                raise
        return future.result()

    def _forget(self) -> None:
        self._kept: dict[int, Future[list[Contents]]] = {}
        self._lock = Lock()

    def __getstate__(self) -> dict[str, Any]:
        return {"parquets": self._parquets}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self._parquets = state["parquets"]
        self._forget()


def is_kept(num_chars: int) -> bool:
    """Whether a row group of so many characters is worth keeping, and small enough."""
    return num_chars in _KEPT_CHARS
