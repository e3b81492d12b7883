# pyright: standard
# (pyarrow has no types)
"""A chunk as an Arrow file <-> its ids, or its documents, and the record that is kept with them.

One record batch: a row a token in the reference mode, else a row a document, with its ids, with the
tokens and forms of its pieces, and with its row of the table. The record is JSON in the metadata.

Invariants: arrays that are read are views of the file's bytes. Of bytes that are damaged come other
arrays, whose hash tells, or one of `UNREADABLE`; offsets are found sound before they are followed.
"""

import json
from hashlib import sha256
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from codedata.format.documents import ChunkDocuments, Form
from codedata.format.packing import IdArray
from codedata.format.shards import Bytes
from codedata.format.sidecars import DOCUMENT_SCHEMA

UNREADABLE = (
    *(OSError, pa.ArrowException, ValueError, LookupError, TypeError, AttributeError),
    RecursionError,
)
"""What a file says that is absent, no chunk, or left incomplete by a crash of the machine."""

_METADATA_KEY = b"codedata.chunk"
_IDS, _PIECE_TOKENS, _PIECE_FORMS = "input_ids", "piece_tokens", "piece_forms"
_INT_LISTS = pa.large_list(pa.int32())


def write_ids(file: BinaryIO, ids: IdArray, record: dict[str, Any]) -> None:
    """Write a chunk of the reference mode into an opened file."""
    column = _array(ids)
    _write(file, [column], [pa.field(_IDS, column.type, nullable=False)], record)


def write_documents(file: BinaryIO, documents: ChunkDocuments, record: dict[str, Any]) -> None:
    """Write a chunk of documents into an opened file."""
    numbers, tokens, forms = documents.pieces.T
    borders = np.searchsorted(numbers, np.arange(documents.table.num_rows + 1))
    places = np.append(0, np.cumsum(tokens, dtype=np.int64))[borders]
    lists = [
        pa.LargeListArray.from_arrays(_array(offsets), _array(values))
        for offsets, values in ((places, documents.ids), (borders, tokens), (borders, forms))
    ]
    columns = [*lists, *(column.combine_chunks() for column in documents.table.columns)]
    _write(file, columns, _document_fields(lists[0].type), record)


def _array(values: Any) -> pa.Array:
    # `pa.array` would import pandas where it is installed.
    values = np.ascontiguousarray(values)
    buffers = [None, pa.py_buffer(values)]
    return pa.Array.from_buffers(pa.from_numpy_dtype(values.dtype), len(values), buffers)


def _document_fields(type_of_ids: pa.DataType) -> list[pa.Field]:
    types = {_IDS: type_of_ids, **dict.fromkeys((_PIECE_TOKENS, _PIECE_FORMS), _INT_LISTS)}
    fields = [pa.field(name, type_, nullable=False) for name, type_ in types.items()]
    return [*fields, *DOCUMENT_SCHEMA]


def _write(
    file: BinaryIO, columns: list[pa.Array], fields: list[pa.Field], record: dict[str, Any]
) -> None:
    schema = pa.schema(fields, metadata={_METADATA_KEY: json.dumps(record)})
    with pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.record_batch(columns, schema=schema))


def open_chunk(data: Bytes) -> tuple[dict[str, Any], pa.RecordBatch]:
    """The record of a chunk, and its batch, of which nothing was read yet.

    Raises:
        UNREADABLE: one of these; it is no chunk.
    """
    with pa.BufferReader(pa.py_buffer(data)) as source:
        reader = pa.ipc.open_file(source)
        record = json.loads((reader.schema.metadata or {})[_METADATA_KEY])
        if reader.num_record_batches != 1:
            raise ValueError("it is not a token chunk")
        return record, reader.get_batch(0)


def count_tokens(batch: pa.RecordBatch, *, documents: bool) -> int:
    """How many ids a chunk has.

    Args:
        batch: of the chunk.
        documents: whether it is to be one of documents.

    Raises:
        UNREADABLE: one of these; it is no chunk, or one of the other kind.
    """
    return len(_values(batch) if documents else ids_of(batch))


def ids_of(batch: pa.RecordBatch) -> IdArray:
    """The ids of a chunk of the reference mode, a view.

    Raises:
        UNREADABLE: one of these.
    """
    return _ids(batch.column(0))


def _values(batch: pa.RecordBatch) -> IdArray:
    """The ids of a chunk of documents, whose offsets may still be any."""
    column = batch.column(0)
    if [*batch.schema] != _document_fields(column.type):
        raise ValueError("its columns are not those of documents")
    return _ids(column.values)


def _ids(column: pa.Array) -> IdArray:
    if column.type not in (pa.uint16(), pa.int32()):
        raise ValueError("its column does not hold token ids")
    return _view(column)


def _view(column: pa.Array) -> Any:
    if column.null_count:
        raise ValueError("values are missing")
    return np.from_dlpack(column)


def documents_of(batch: pa.RecordBatch) -> ChunkDocuments:
    """What is in a chunk of documents; the ids are a view.

    Raises:
        UNREADABLE: one of these.
    """
    ids = _values(batch)
    batch.validate(full=True)
    if any(
        column.null_count
        for field, column in zip(batch.schema, batch.columns, strict=True)
        if not field.nullable
    ):
        raise ValueError("values are missing")
    numbers = np.arange(batch.num_rows, dtype=np.int32)
    lists = batch.columns[:3]
    places, borders, of_forms = (_view(each.offsets) for each in lists)
    tokens, forms = (_view(each.values) for each in lists[1:])
    pieces = np.stack([np.repeat(numbers, np.diff(borders)), tokens, forms], 1, dtype=np.int32)
    ends = np.append(0, np.cumsum(tokens, dtype=np.int64))[borders]
    if (
        not np.array_equal(borders, of_forms)
        or not np.array_equal(ends, places)
        or ends[-1] != len(ids)
        or tokens.min(initial=1) < 1
        or not np.isin(forms, [*Form]).all()
    ):
        raise ValueError("its pieces are not those of its ids")
    if not np.array_equal(_view(batch.column("document")), numbers):
        raise ValueError("its documents are not numbered")
    table = pa.Table.from_arrays(batch.columns[3:], schema=DOCUMENT_SCHEMA)
    return ChunkDocuments(ids=ids, pieces=pieces, table=table)


def sha256_of_ids(ids: IdArray) -> str:
    """Of their bytes, little-endian."""
    return sha256(np.ascontiguousarray(ids, ids.dtype.newbyteorder("<")).data).hexdigest()


def sha256_of_documents(documents: ChunkDocuments, num_samples: int | None) -> str:
    """Of what decides shards: the ids, the pieces and the table, however Arrow lays them out.

    Args:
        documents: of the chunk.
        num_samples: that best fit makes of them, or None.
    """
    digest = sha256(f"{num_samples} samples ".encode())
    for array in (documents.ids, documents.pieces):
        digest.update(f"{array.dtype.name} {array.shape} ".encode())
        digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
    for column in documents.table.columns:
        _update(digest, column.combine_chunks())
    return digest.hexdigest()


def _update(digest: Any, column: pa.Array) -> None:
    """Hash the values of a column; those that are missing have the length -1."""
    if pa.types.is_list(column.type):
        digest.update(_lengths(pc.call_function("list_value_length", [column])))
        _update(digest, column.flatten())
    elif pa.types.is_string(column.type):
        digest.update(_lengths(pc.call_function("binary_length", [column])))
        if len(there := column.drop_null()):
            _, offsets, characters = there.buffers()
            first, *_, last = np.frombuffer(offsets, np.int32)[
                [there.offset, there.offset + len(there)]
            ]
            digest.update(memoryview(characters or b"")[first:last])
    else:
        digest.update(np.ascontiguousarray(column).data)


def _lengths(lengths: pa.Array) -> memoryview:
    return np.ascontiguousarray(lengths.fill_null(-1)).data
