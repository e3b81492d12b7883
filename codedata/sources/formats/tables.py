"""Arrow (IPC files and streams) and parquet -> rows, with the columns that are asked for.

An IPC file is its stream between eight bytes and a footer, and is read as that, in order: one of
its record batches is held at a time, as large as its writer made it. Of a parquet a few hundred
rows are decoded at a time; it is the only format that has to be opened for random access.

The id and the kept columns keep their types. Rows are numbered from 0, as those of parquets are.
"""

from collections.abc import Iterable, Iterator
from io import BufferedReader
from typing import BinaryIO

import numpy as np
import pyarrow as pa

from codedata.sources.columns import (
    COLUMN,
    MAX_DOCUMENT_BYTES,
    Columns,
    column_of,
    faults,
    find_text,
    kept_columns,
    text_of,
)
from codedata.sources.formats.rows import NOT_UTF8, TOO_LONG, BadRows
from codedata.sources.parquet.footer import open_parquet

_ROWS = 256
"""At once: of a dictionary, each may be as long as the longest."""

_REQUEST_BYTES = 8 << 20
"""Of a column at once, where a parquet comes over a network."""

FILE_MAGIC = b"ARROW1\0\0"


def read_arrow(
    reader: BufferedReader, name: str, columns: Columns, bad: BadRows
) -> Iterator[pa.RecordBatch]:
    """The rows of a file in batches: see `Format.read`."""
    is_file = reader.peek(len(FILE_MAGIC)).startswith(FILE_MAGIC)
    if is_file:
        reader.read(len(FILE_MAGIC))
    with pa.ipc.open_stream(pa.PythonFile(reader, "r")) as stream:
        yield from _rows(stream, stream.schema, name, columns, bad)
        tail = b""
        while piece := reader.read(_REQUEST_BYTES):
            tail = piece[-len(FILE_MAGIC) :]
        if is_file and not tail.endswith(FILE_MAGIC.rstrip(b"\0")):
            raise pa.ArrowInvalid("it is cut off before its footer ends")


def schema_of_arrow(reader: BufferedReader, name: str) -> pa.Schema:  # noqa: ARG001
    """The columns of a file: see `Format.schema`."""
    if reader.peek(len(FILE_MAGIC)).startswith(FILE_MAGIC):
        reader.read(len(FILE_MAGIC))
    with pa.ipc.open_stream(pa.PythonFile(reader, "r")) as stream:
        return stream.schema


def schema_of_parquet(opened: BinaryIO, name: str) -> pa.Schema:
    """The columns of a file: see `Format.schema`."""
    with open_parquet(opened, name) as parquet:
        return parquet.schema_arrow


def read_parquet(
    opened: BinaryIO, name: str, columns: Columns, bad: BadRows
) -> Iterator[pa.RecordBatch]:
    """The rows of a file in batches: see `Format.read`."""
    with open_parquet(opened, name, buffer_size=_REQUEST_BYTES) as parquet:
        schema = parquet.schema_arrow
        wanted = [columns.text, *kept_columns(schema, columns, name)]
        batches = parquet.iter_batches(_ROWS, columns=wanted, use_threads=False)
        yield from _rows(batches, schema, name, columns, bad)


def _rows(
    batches: Iterable[pa.RecordBatch], schema: pa.Schema, name: str, columns: Columns, bad: BadRows
) -> Iterator[pa.RecordBatch]:
    text, kept = find_text(schema, columns.text, name), kept_columns(schema, columns, name)
    first_row = 0
    for whole in batches:
        for start in range(0, len(whole), _ROWS):
            batch = whole.slice(start, _ROWS)
            _require_sound(column_of(batch, text))
            contents = text_of(batch, text)
            others = [_decoded(column_of(batch, place)) for place in kept.values()]
            rows = pa.RecordBatch.from_arrays([contents, *others], names=[COLUMN, *kept])
            if found := faults(contents):
                for place in found:
                    is_long = contents[place].as_buffer().size > MAX_DOCUMENT_BYTES
                    reason = TOO_LONG if is_long else NOT_UTF8
                    bad.refuse_or_count(name, f"row {first_row + place}", reason)
                rows = _without(rows, [*found])
            yield rows
            first_row += len(batch)


def _require_sound(column: pa.Array) -> None:
    """Refuse places outside of an array's data, which would end the process."""
    try:
        column.validate(full=True)
    except pa.ArrowInvalid as error:
        if "UTF8" not in str(error):  # which is looked for after the places
            raise


def _decoded(column: pa.Array) -> pa.Array:
    """A kept column; of a dictionary its values, for each batch may have one of its own."""
    column.validate(full=True)
    return column.dictionary_decode() if isinstance(column, pa.DictionaryArray) else column


def _without(batch: pa.RecordBatch, places: list[int]) -> pa.RecordBatch:
    good = np.ones(len(batch), bool)
    good[places] = False
    bits = pa.py_buffer(np.packbits(good, bitorder="little"))
    return batch.filter(pa.Array.from_buffers(pa.bool_(), len(batch), [None, bits]))
