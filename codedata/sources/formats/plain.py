"""A file of plain text -> one document, as it is: byte order mark and line ends are kept."""

from collections.abc import Iterator
from io import BufferedReader

import pyarrow as pa

from codedata.errors import CorpusError
from codedata.sources.columns import COLUMN, MAX_DOCUMENT_BYTES, Columns
from codedata.sources.formats.rows import NOT_UTF8, TOO_LONG, BadRows, batches_of


def read_text(
    reader: BufferedReader, name: str, columns: Columns, bad: BadRows
) -> Iterator[pa.RecordBatch]:
    """The text of a file as one row: see `Format.read`."""
    if columns.id or columns.keep:
        raise CorpusError(
            f"{name} is read as plain text, which has no columns; leave out id_column and "
            "keep_columns"
        )
    data = reader.read(MAX_DOCUMENT_BYTES + 1)
    if len(data) > MAX_DOCUMENT_BYTES:
        bad.refuse_or_count(name, "the one document", TOO_LONG)
        return
    try:
        data.decode()
    except UnicodeDecodeError as error:
        bad.refuse_or_count(name, f"byte {error.start}", NOT_UTF8)
        return
    yield from batches_of([[data]], [])


def schema_of_text(reader: BufferedReader, name: str) -> pa.Schema:  # noqa: ARG001
    """The one column that a text is read as."""
    return pa.schema([pa.field(COLUMN, pa.large_string())])
