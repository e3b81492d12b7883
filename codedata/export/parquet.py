"""A dataset -> a parquet a shard, which `datasets`, pandas, Spark, DuckDB and polars read.

Columns: `input_ids`, a list of seq_length int32, and `text_tokens`, int32, where the meta says how
many tokens are the text's. The schema's metadata has the digest under `codedata`. The names sort in
the order of the shards, as readers of a folder take them.
"""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codedata.export.blocks import blocks, origin, text_tokens
from codedata.store.dataset_folder import Dataset


def write(dataset: Dataset, folder: Path) -> None:
    """Write `data-00000-of-0000N.parquet`, ...; each block of samples is a row group."""
    counts, num_shards = text_tokens(dataset), len(dataset.shards)
    fields = [pa.field("input_ids", pa.list_(pa.int32(), dataset.seq_length))]
    if counts is not None:
        fields.append(pa.field("text_tokens", pa.int32()))
    schema = pa.schema(fields, {"codedata": origin(dataset)})
    row = 0
    for index, ids in enumerate(dataset.shards):
        path = folder / f"data-{index:05d}-of-{num_shards:05d}.parquet"
        with pq.ParquetWriter(path, schema, compression="zstd") as writer:
            for block in blocks(ids, np.dtype(np.int32)):
                values = pa.array(block.reshape(-1))
                columns: list[pa.Array] = [
                    pa.FixedSizeListArray.from_arrays(values, dataset.seq_length)
                ]
                if counts is not None:
                    columns.append(pa.array(counts[row : row + len(block)]))
                writer.write_table(pa.Table.from_arrays(columns, schema=schema))
                row += len(block)
