"""A dataset -> a parquet a shard, which `datasets`, pandas, Spark, DuckDB and polars read.

Columns: `input_ids`, a list of seq_length int32, and `text_tokens`, int32, where the meta says how
many tokens are the text's. Of a dataset with documents: `input_ids`, a list of int32 without the
padding, and `seq_lengths`, a list of int32, how many of them are of each span, in order, as TRL
writes packed samples and its collator reads them (padding_free). The schema's metadata has the
digest under `codedata`. The names sort in the order of the shards, as readers of a folder take
them.
"""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from codedata.export.blocks import blocks, origin, text_tokens
from codedata.format.documents import Spans
from codedata.format.documents import text_tokens as tokens_of_documents
from codedata.format.packing import IdArray
from codedata.store.dataset_folder import Dataset

BOUNDARIES = "seq_lengths"


def write(dataset: Dataset, folder: Path) -> None:
    """Write `data-00000-of-0000N.parquet`, ...; each block of samples is a row group."""
    counts, num_shards = text_tokens(dataset), len(dataset.shards)
    if dataset.spans:
        fields = [pa.field(name, pa.list_(pa.int32())) for name in ("input_ids", BOUNDARIES)]
    else:
        fields = [pa.field("input_ids", pa.list_(pa.int32(), dataset.seq_length))]
        if counts is not None:
            fields.append(pa.field("text_tokens", pa.int32()))
    schema = pa.schema(fields, {"codedata": origin(dataset, BOUNDARIES)})
    row = 0
    for index, ids in enumerate(dataset.shards):
        path = folder / f"data-{index:05d}-of-{num_shards:05d}.parquet"
        of_shard = None if counts is None else counts[row : row + len(ids)]
        groups = (
            _with_documents(ids, dataset.spans[index])
            if dataset.spans
            else _with_text_tokens(ids, of_shard)
        )
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for columns in groups:
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
        row += len(ids)


def _with_text_tokens(ids: IdArray, counts: NDArray[np.int32] | None) -> Iterator[list[pa.Array]]:
    row = 0
    for block in blocks(ids, np.dtype(np.int32)):
        values = pa.array(block.reshape(-1))
        columns: list[pa.Array] = [pa.FixedSizeListArray.from_arrays(values, ids.shape[1])]
        if counts is not None:
            columns.append(pa.array(counts[row : row + len(block)]))
        yield columns
        row += len(block)


def _with_documents(ids: IdArray, spans: Spans) -> Iterator[list[pa.Array]]:
    counts, places = tokens_of_documents(spans, len(ids)), np.arange(ids.shape[1])
    samples, lengths = spans[:, 0], spans[:, 2] - spans[:, 1]
    row = 0
    for block in blocks(ids, np.dtype(np.int32)):
        stop = row + len(block)
        low, high = np.searchsorted(samples, [row, stop])
        num_spans = np.bincount(samples[low:high] - row, minlength=len(block))
        tokens = block[places < counts[row:stop, np.newaxis]]
        yield [_lists(tokens, counts[row:stop]), _lists(lengths[low:high], num_spans)]
        row = stop


def _lists(values: NDArray[np.int32], sizes: NDArray[np.integer]) -> pa.ListArray:
    offsets = np.concatenate([[0], np.cumsum(sizes)])
    return pa.ListArray.from_arrays(pa.array(offsets, pa.int32()), pa.array(values, pa.int32()))
