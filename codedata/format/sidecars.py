# pyright: standard
# (pyarrow has no types)
"""The two files beside a shard of documents <-> spans and a table of documents.

`dump-N.documents.npy`: int32, shape (num_spans, 6), a header of numpy's format 1.0 of one form, so
that it is read by comparing bytes. `dump-N.documents.parquet`: a row a document that the shard has
a span of; those of the chunk that no shard has stand in the chunk's first shard.
"""

import io
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import DatasetError
from codedata.format.documents import CONTROL_TOKENS, EMPTY, KEPT, SPAN_COLUMNS, Spans
from codedata.format.shards import Bytes

DOCUMENT_SCHEMA = pa.schema(
    [
        pa.field("document", pa.int32(), nullable=False),
        pa.field("file", pa.int32(), nullable=False),
        pa.field("row", pa.int64(), nullable=False),
        pa.field("characters", pa.int64(), nullable=False),
        pa.field("sha256", pa.string(), nullable=False),
        pa.field("repository", pa.string()),
        pa.field("path", pa.string()),
        pa.field("licences", pa.list_(pa.string())),
        pa.field("decision", pa.string(), nullable=False),
    ]
)
"""Of a chunk's documents, and of those of a shard: `document` is the number in the chunk, `sha256`
that of the text as UTF-8, `decision` kept, empty or control tokens."""


def encode_spans(spans: Spans) -> bytes:
    """The bytes of `dump-N.documents.npy`."""
    file = io.BytesIO()
    np.lib.format.write_array(file, np.ascontiguousarray(spans, "<i4"), version=(1, 0))
    return file.getvalue()


def view_spans(data: Bytes, *, num_samples: int, seq_length: int, name: str) -> Spans:
    """The spans of a shard, as a view of its file, once what must hold was found to.

    Raises:
        DatasetError: it is no such file, or its spans are not those of so many samples.
    """
    array: Any = np.lib.format.read_array(io.BytesIO(data.tobytes()), allow_pickle=False)
    if array.dtype != np.dtype("<i4") or array.ndim != 2 or array.shape[1] != len(SPAN_COLUMNS):
        raise DatasetError(f"{name} is damaged; make the dataset again")
    assert num_samples, seq_length
    return array


def encode_documents(table: pa.Table) -> bytes:
    """The bytes of `dump-N.documents.parquet`."""
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, compression="zstd")
    return sink.getvalue().to_pybytes()


def parse_documents(data: bytes) -> pa.Table:
    """The table of a `dump-N.documents.parquet`."""
    return pq.read_table(pa.BufferReader(data))
