"""Some rows of a parquet -> other columns than the text of them: what is kept of documents.

Only those columns of the row groups concerned are read, from each one's start to the last row that
is wanted of it.
"""

from collections.abc import Iterator, Mapping

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codedata.errors import CorpusError
from codedata.sources.columns import Place, column_of, kept_schema
from codedata.sources.parquet.footer import Parquet, refusing

_BATCH_ROWS = 1024
"""Decoded at a time: of a dictionary, all may be as long as the longest."""


def read_rows(parquet: Parquet, places: Mapping[str, Place], rows: NDArray[np.int64]) -> pa.Table:
    """Columns of some rows.

    Args:
        parquet: the file.
        places: the columns, by the names that they get.
        rows: of the file, ascending, shape (num_rows,).

    Raises:
        CorpusError: the file changed or is damaged.
    """
    first_rows = np.array(parquet.footer.first_rows, np.int64)
    groups = np.searchsorted(first_rows, rows, "right") - 1
    found: list[pa.RecordBatch] = []
    with parquet.open() as file:
        for group in np.unique(groups).tolist() if places else ():
            wanted = rows[groups == group] - first_rows[group]
            with refusing(f"{parquet.path} is damaged in row group {group}"):
                found += _rows_of_group(parquet, file, group, places, wanted)
    return pa.Table.from_batches(found, kept_schema(places))


def _rows_of_group(
    parquet: Parquet,
    file: pq.ParquetFile,
    group: int,
    places: Mapping[str, Place],
    wanted: NDArray[np.int64],
) -> Iterator[pa.RecordBatch]:
    """Rows that adjoin in one slice: of some types, Arrow takes no single ones."""
    first_row, columns = 0, [place.name for place in places.values()]
    for batch in file.iter_batches(
        _BATCH_ROWS, row_groups=[group], columns=columns, use_threads=False
    ):
        arrays = [column_of(batch, place) for place in places.values()]
        kept = pa.record_batch(arrays, schema=kept_schema(places))
        low, high = np.searchsorted(wanted, [first_row, first_row + len(batch)])
        some = wanted[low:high] - first_row
        for run in np.split(some, np.flatnonzero(np.diff(some) != 1) + 1):
            if len(run):
                yield kept.slice(run[0], len(run))
        first_row += len(batch)
        if high == len(wanted):
            return
    raise CorpusError(
        f"{parquet.path} is damaged in row group {group}: its footer says "
        f"{parquet.footer.group_rows[group]} rows, and {first_row} are there; fetch it again"
    )
