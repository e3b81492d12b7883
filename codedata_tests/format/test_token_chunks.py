"""Chunks as Arrow files: what is written is read, a hash tells every change, damage is refused."""

import json
from collections.abc import Callable
from dataclasses import replace
from io import BytesIO
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codedata.format.documents import ChunkDocuments, Form
from codedata.format.sidecars import DOCUMENT_SCHEMA
from codedata.format.token_chunks import (
    UNREADABLE,
    count_tokens,
    documents_of,
    ids_of,
    open_chunk,
    sha256_of_documents,
    write_documents,
    write_ids,
)
from codedata_tests.scenario import DOCUMENT_LENGTHS, chunk_documents

DOCUMENTS = chunk_documents(DOCUMENT_LENGTHS[0], {1: Form.PSM})
RECORD = {"engine": "whole"}


def written(documents: ChunkDocuments) -> Any:
    file = BytesIO()
    write_documents(file, documents, RECORD)
    return np.frombuffer(file.getvalue(), np.uint8)


def read(data: Any) -> ChunkDocuments:
    record, batch = open_chunk(data)
    assert record == RECORD
    return documents_of(batch)


def same(one: ChunkDocuments, other: ChunkDocuments) -> bool:
    arrays = [(one.ids, other.ids), (one.pieces, other.pieces)]
    return one.table.equals(other.table) and all(
        a.dtype == b.dtype and a.tolist() == b.tolist() for a, b in arrays
    )


@settings(max_examples=50, deadline=None)
@given(st.lists(st.integers(0, 9), max_size=12), st.data())
def test_documents_come_back_as_they_were_written(lengths: list[int], data: st.DataObject) -> None:
    forms = data.draw(st.dictionaries(st.integers(0, 12), st.sampled_from(Form)))
    documents = chunk_documents(lengths, forms)
    cut = np.repeat(documents.pieces, np.maximum(1, documents.pieces[:, 1] // 2), axis=0)
    firsts = np.flatnonzero(np.diff(cut[:, 0], prepend=-1))
    cut[:, 1] = 1
    cut[firsts, 1] += documents.pieces[:, 1] - np.maximum(1, documents.pieces[:, 1] // 2)
    for each in (
        documents,
        replace(documents, pieces=cut),
        replace(documents, ids=documents.ids.astype(np.int32) << 16),
    ):
        stored = written(each)
        found = read(stored)
        assert same(found, each)
        assert found.pieces.dtype == np.int32
        assert np.shares_memory(found.ids, stored) or not len(each.ids), "no copy of the ids"
        assert count_tokens(open_chunk(stored)[1], documents=True) == len(each.ids)
        assert sha256_of_documents(found, 5) == sha256_of_documents(each, 5)


def test_a_chunk_without_a_recipe_is_written_as_ever() -> None:
    file, ids = BytesIO(), np.array([5, 0, 65535], np.uint16)
    write_ids(file, ids, RECORD)
    data = np.frombuffer(file.getvalue(), np.uint8)
    schema = pa.ipc.open_file(pa.py_buffer(data)).schema
    assert schema.metadata == {b"codedata.chunk": json.dumps(RECORD).encode()}
    assert [(field.name, field.type, field.nullable) for field in schema] == [
        ("input_ids", pa.uint16(), False)
    ]
    batch = open_chunk(data)[1]
    assert ids_of(batch).tolist() == ids.tolist()
    assert count_tokens(batch, documents=False) == 3


def test_a_chunk_of_the_other_kind_is_none() -> None:
    file = BytesIO()
    write_ids(file, np.array([5], np.uint16), RECORD)
    batch = open_chunk(np.frombuffer(file.getvalue(), np.uint8))[1]
    for refused in (documents_of, lambda batch: count_tokens(batch, documents=True)):
        with pytest.raises(UNREADABLE):
            refused(batch)
    batch = open_chunk(written(DOCUMENTS))[1]
    for refused in (ids_of, lambda batch: count_tokens(batch, documents=False)):
        with pytest.raises(ValueError, match="does not hold token ids"):
            refused(batch)


# The hash


def with_column(name: str, values: list[Any]) -> ChunkDocuments:
    place = DOCUMENT_SCHEMA.get_field_index(name)
    field = DOCUMENT_SCHEMA.field(place)
    table = DOCUMENTS.table.set_column(place, field, pa.array(values, field.type))
    return replace(DOCUMENTS, table=table)


def with_pieces(*rows: tuple[int, int, int]) -> ChunkDocuments:
    return replace(DOCUMENTS, pieces=np.array(rows, np.int32))


PIECES = [tuple(row) for row in DOCUMENTS.pieces.tolist()]
OTHERS = {
    "another id": replace(DOCUMENTS, ids=DOCUMENTS.ids[::-1].copy()),
    "wider ids": replace(DOCUMENTS, ids=DOCUMENTS.ids.astype(np.int32)),
    "a piece cut": with_pieces((0, 2, 0), (0, 3, 0), *PIECES[1:]),
    "another form": with_pieces(PIECES[0], (1, 3, 2), *PIECES[2:]),
    "a token of the next": with_pieces((0, 4, 0), (1, 4, 1), *PIECES[2:]),
    "numbers": with_column("row", [10, 11, 12, 13, 15]),
    "hashes": with_column("sha256", ["0" * 64] * 5),
    "an empty path": with_column("path", ["", *(f"src/{n}.c" for n in range(1, 5))]),
    "letters moved": with_column("decision", ["keptk", "ept", "kept", "empty", "kept"]),
    "a null moved": with_column("repository", [f"owner/{n}" for n in range(1, 5)] + [None]),
    "licences moved": with_column("licences", [None, ["MIT", "ISC"], ["MIT"], ["MIT"], ["ISC"]]),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_the_hash_tells_every_change_of_what_a_chunk_holds(other: ChunkDocuments) -> None:
    assert not same(DOCUMENTS, other)
    assert sha256_of_documents(other, 5) != sha256_of_documents(DOCUMENTS, 5)


def test_the_hash_tells_the_number_of_samples_and_not_how_arrow_lays_a_table_out() -> None:
    expected = sha256_of_documents(DOCUMENTS, 5)
    assert expected != sha256_of_documents(DOCUMENTS, 6)
    assert expected != sha256_of_documents(DOCUMENTS, None)
    table = DOCUMENTS.table
    longer = pa.concat_tables([table.slice(3), table, table])
    for same_table in (
        longer.slice(2, 5),
        longer.combine_chunks().slice(2, 5),
        table.take(list(range(5))),
        pa.concat_tables([table.slice(0, 1), table.slice(1)]),
    ):
        assert same_table.equals(table)
        assert sha256_of_documents(replace(DOCUMENTS, table=same_table), 5) == expected
        assert same(read(written(replace(DOCUMENTS, table=same_table))), DOCUMENTS)


# What contradicts itself


def column_of(name: str, change: Callable[[pa.Array], pa.Array]) -> Callable[[Any], Any]:
    """A batch with another column."""

    def changed(batch: Any) -> Any:
        place = batch.schema.get_field_index(name)
        column = change(batch.column(place))
        field = batch.schema.field(place).with_type(column.type)
        return batch.set_column(place, field, column)

    return changed


def lists(offsets: list[int], values: list[Any]) -> pa.Array:
    return pa.LargeListArray.from_arrays(
        pa.array(offsets, pa.int64()), pa.array(values, pa.int32())
    )


WRONG = {
    "pieces of fewer tokens": column_of(
        "piece_tokens", lambda _: lists([0, 1, 2, 3, 3, 4], [4, 3, 20, 6])
    ),
    "pieces of another document's tokens": column_of(
        "piece_tokens", lambda _: lists([0, 1, 2, 3, 3, 4], [4, 4, 20, 6])
    ),
    "a piece of no token": column_of(
        "piece_tokens", lambda _: lists([0, 1, 2, 3, 4, 5], [5, 3, 20, 0, 6])
    ),
    "a piece that goes back": column_of(
        "piece_tokens", lambda _: lists([0, 1, 2, 4, 4, 5], [5, 3, 21, -1, 6])
    ),
    "a form that there is not": column_of(
        "piece_forms", lambda _: lists([0, 1, 2, 3, 3, 4], [0, 5, 0, 0])
    ),
    "fewer forms than pieces": column_of(
        "piece_forms", lambda _: lists([0, 1, 2, 3, 3, 3], [0, 1, 0])
    ),
    "forms of another document": column_of(
        "piece_forms", lambda _: lists([0, 1, 2, 2, 3, 4], [0, 1, 0, 0])
    ),
    "a form that is missing": column_of(
        "piece_forms", lambda _: lists([0, 1, 2, 3, 3, 4], [0, 1, None, 0])
    ),
    "documents in another order": column_of("document", lambda each: each.take([1, 0, 2, 3, 4])),
    "no decision": column_of("decision", lambda _: pa.nulls(5, pa.string())),
    "another type": column_of("row", lambda each: each.cast(pa.int32())),
    "a column lost": lambda batch: batch.drop_columns(["path"]),
    "two batches": lambda batch: [batch, batch],
}


@pytest.mark.parametrize("change", WRONG.values(), ids=WRONG)
def test_a_chunk_that_contradicts_itself_is_refused(change: Callable[[Any], Any]) -> None:
    batches = change(open_chunk(written(DOCUMENTS))[1])
    batches = batches if isinstance(batches, list) else [batches]
    file = BytesIO()
    metadata = {"codedata.chunk": json.dumps(RECORD)}
    with pa.ipc.new_file(file, batches[0].schema.with_metadata(metadata)) as writer:
        for batch in batches:
            writer.write_batch(batch.replace_schema_metadata(metadata))
    with pytest.raises(UNREADABLE):
        read(np.frombuffer(file.getvalue(), np.uint8))
