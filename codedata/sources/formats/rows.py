"""What all formats share: the batches that they give, and what becomes of a bad row.

Of a batch the first column is the text, `content` (large_string, valid UTF-8; a null is a document
that is none), then the id and the kept columns by the names that they have in the file.

Invariant: a bad row is refused by its file and number, or left out and counted by its reason.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import accumulate
from typing import Literal

import numpy as np
import pyarrow as pa

from codedata.errors import CorpusError
from codedata.sources.columns import COLUMN, MAX_DOCUMENT_BYTES
from codedata.sources.parquet.decode import SLICE_BYTES

MAX_BATCH_ROWS = 16_384
"""However short the texts are."""

TOO_LONG = f"has more than {MAX_DOCUMENT_BYTES:,} bytes"

NOT_UTF8 = "not valid UTF-8"

Value = bytes | None
"""Of a row and column: a text as UTF-8."""


@dataclass(kw_only=True)
class BadRows:
    """What becomes of bad rows, and how many there were.

    Attributes:
        on_error: whether the first one ends it all.
        counts: of those that were left out, by reason.
    """

    on_error: Literal["refuse", "skip"] = "refuse"
    counts: Counter[str] = field(default_factory=Counter)

    def refuse_or_count(self, file: str, place: str, reason: str, detail: str = "") -> None:
        """Deal with a bad row.

        Args:
            file: its name.
            place: which row or line, such as `line 7`.
            reason: why it is bad, for all rows that are so.
            detail: what is so of this one alone.

        Raises:
            CorpusError: bad rows are refused.
        """
        if self.on_error == "refuse":
            raise CorpusError(
                f"{file}, {place}: {reason}{detail and f' ({detail})'}; mend or remove it, or leave"
                " all such out with `on_error: skip`"
            )
        self.counts[reason] += 1


def batches_of(rows: Iterable[Sequence[Value]], names: Sequence[str]) -> Iterator[pa.RecordBatch]:
    """Rows of texts in batches of about a megabyte.

    Args:
        rows: the text, then the id and the kept columns.
        names: those of the id and the kept columns.
    """
    held: list[Sequence[Value]] = []
    num_bytes = 0
    for row in rows:
        held.append(row)
        num_bytes += sum(len(value or b"") for value in row)
        if num_bytes >= SLICE_BYTES or len(held) == MAX_BATCH_ROWS:
            yield _batch(held, names)
            held, num_bytes = [], 0
    if held:
        yield _batch(held, names)


def _batch(rows: Sequence[Sequence[Value]], names: Sequence[str]) -> pa.RecordBatch:
    columns = [texts_of(column) for column in zip(*rows, strict=True)]
    return pa.RecordBatch.from_arrays(columns, names=[COLUMN, *names])


def texts_of(values: Sequence[Value]) -> pa.LargeStringArray:
    """Texts as Arrow has them, from buffers: `pa.array` imports pandas where there is one."""
    lengths = (len(value or b"") for value in values)
    offsets = np.fromiter(accumulate(lengths, initial=0), np.int64, len(values) + 1)
    valid = np.packbits([value is not None for value in values], bitorder="little")
    data = b"".join(value or b"" for value in values)
    buffers = [pa.py_buffer(each) for each in (valid, offsets, data)]
    return pa.Array.from_buffers(pa.large_string(), len(values), buffers)
