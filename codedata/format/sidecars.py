# pyright: standard
# (pyarrow has no types)
"""What the documents of a shard are <-> the bytes of `dump-N.documents.parquet`.

A table of `DOCUMENT_SCHEMA`, a row a document that the shard has a span of, ascending; those of the
chunk that no shard has stand in the chunk's first shard. The same table gives the same bytes, by
the same release of pyarrow; any release reads them.
"""

from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from codedata.errors import DatasetError
from codedata.format.documents import CONTROL_TOKENS, EMPTY, KEPT
from codedata.format.parquet_pages import memory_of

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

_FORMAT = {
    "version": "2.6",
    "data_page_version": "1.0",
    "compression": "zstd",
    "compression_level": 3,
    "row_group_size": 1 << 20,
    "use_dictionary": False,
    "write_statistics": False,
    "store_schema": False,
    "write_page_checksum": True,
}
"""43 bytes a document of 174, of which the hash has 34; with dictionaries, statistics and Arrow's
own schema 51. Without a dictionary no value is said once and meant a million times."""

_SURE_BYTES, _MOST_TIMES = 1 << 24, 1000
"""What a file may unpack to: so much, or so many times its size, which long paths that hardly
differ come near to."""

_PATTERNS = {
    "sha256": "^[0-9a-f]{64}$",
    "decision": f"^({KEPT}|{EMPTY}|{CONTROL_TOKENS})$",
}


def encode_documents(table: Any) -> bytes:
    """The bytes of `dump-N.documents.parquet`.

    Args:
        table: of `DOCUMENT_SCHEMA`, in any chunks.
    """
    sink = pa.BufferOutputStream()
    pq.write_table(table.combine_chunks().cast(DOCUMENT_SCHEMA), sink, **_FORMAT)
    return sink.getvalue().to_pybytes()


def parse_documents(data: bytes, name: str) -> Any:
    """The table of a `dump-N.documents.parquet`.

    Args:
        data: its bytes.
        name: the file, for messages.

    Raises:
        DatasetError: it is no such file, or would take far more memory than it has bytes.
    """
    try:
        return _read(data)
    except (pa.ArrowException, OSError, ValueError, LookupError, TypeError) as error:
        raise DatasetError(
            f"{name} is damaged or was not written as documents: {error}; make the dataset again"
        ) from error


def _read(data: bytes) -> pa.Table:
    """The table; raises what pyarrow raises, and ValueError."""
    memory = memory_of(data)
    if memory > max(_SURE_BYTES, _MOST_TIMES * len(data)):
        raise ValueError(f"its {len(data)} bytes would take {memory} bytes of memory")
    with pq.ParquetFile(pa.BufferReader(data), page_checksum_verification=True) as file:
        if not file.schema_arrow.equals(DOCUMENT_SCHEMA):
            raise ValueError("its columns are others")
        table = file.read(use_threads=False)
    table.validate(full=True)
    # np.asarray would import pandas where it is installed.
    numbers = np.concatenate([[-1], *map(np.from_dlpack, table.column("document").chunks)])
    if (np.diff(numbers) <= 0).any():
        raise ValueError("its documents do not ascend")
    for column, pattern in _PATTERNS.items():
        matches = pc.call_function(
            "match_substring_regex", [table.column(column)], pc.MatchSubstringOptions(pattern)
        )
        if False in matches.unique().to_pylist():
            raise ValueError(f"{column} of a document is something else")
    return table
