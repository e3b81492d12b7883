"""dump-N.documents.parquet: its schema, its bytes, and every damage."""

import struct
from collections.abc import Callable
from itertools import product
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedata.errors import DatasetError
from codedata.format.parquet_pages import memory_of
from codedata.format.sidecars import DOCUMENT_SCHEMA, encode_documents, parse_documents

ROWS: dict[str, list[Any]] = {
    "document": [0, 1, 5],
    "file": [0, 0, 7],
    "row": [2**40, 1, 2],
    "characters": [3, 0, 2**33],
    "sha256": ["0123456789abcdef" * 4, "e3b0" * 16, "f" * 64],
    "repository": ["torvalds/linux", None, "ü/õ"],
    "path": ["a/b.c", None, ""],
    "licences": [["GPL-2.0", "MIT"], None, []],
    "decision": ["kept", "empty", "control tokens"],
}


def table(**columns: list[Any]) -> pa.Table:
    return pa.table({**ROWS, **columns}, DOCUMENT_SCHEMA)


DATA = encode_documents(table())


def written(any_table: pa.Table, **how: Any) -> bytes:
    sink = pa.BufferOutputStream()
    pq.write_table(any_table, sink, **how)
    return sink.getvalue().to_pybytes()


def refusal(data: bytes) -> str:
    with pytest.raises(DatasetError) as error:
        parse_documents(data, "dump-7.documents.parquet")
    message = str(error.value)
    assert message.startswith("dump-7.documents.parquet is damaged or was not written as documents")
    assert "\n" not in message
    return message


def test_the_columns_are_these() -> None:
    """docs/format.md has them, too: they are the contract."""
    assert str(DOCUMENT_SCHEMA).replace("\n  child 0, item: string", "").splitlines() == [
        "document: int32 not null",
        "file: int32 not null",
        "row: int64 not null",
        "characters: int64 not null",
        "sha256: string not null",
        "repository: string",
        "path: string",
        "licences: list<item: string>",
        "decision: string not null",
    ]


def test_what_is_read_is_what_was_written() -> None:
    read = parse_documents(DATA, "x")
    assert read.to_pydict() == ROWS
    assert read.schema.equals(DOCUMENT_SCHEMA)
    assert read.schema.metadata is None
    assert pq.read_table(pa.BufferReader(DATA)).to_pydict() == ROWS, "anybody reads it"


def test_the_same_table_gives_the_same_bytes_in_whatever_chunks_and_with_whatever_metadata() -> (
    None
):
    rows = table()
    pieces = pa.concat_tables([rows.slice(0, 1), rows.slice(1)])
    told = rows.replace_schema_metadata({"pandas": "{}"})
    taken = pa.concat_tables([rows, rows]).take([3, 4, 5])
    for same in (pieces, told, taken, parse_documents(DATA, "x")):
        assert encode_documents(same) == DATA


def test_a_file_of_other_columns_is_refused() -> None:
    rows = table()
    for other in (
        rows.drop_columns("decision"),
        rows.append_column("more", pa.array([1, 2, 3])),
        rows.select([*reversed(DOCUMENT_SCHEMA.names)]),
        rows.rename_columns([name.upper() for name in DOCUMENT_SCHEMA.names]),
        rows.set_column(0, "document", rows.column("document").cast(pa.int64())),
        rows.cast(pa.schema([field.with_nullable(True) for field in DOCUMENT_SCHEMA])),
        rows.set_column(4, pa.field("sha256", pa.large_string(), nullable=False),
                        rows.column("sha256").cast(pa.large_string())),
    ):  # fmt: skip
        assert "its columns are others" in refusal(written(other, use_dictionary=False))


@pytest.mark.parametrize(
    ("columns", "what"),
    [
        ({"document": [0, 5, 1]}, "its documents do not ascend"),
        ({"document": [1, 1, 2]}, "its documents do not ascend"),
        ({"document": [-1, 1, 2]}, "its documents do not ascend"),
        ({"document": [2**31 - 1, -(2**31), 0]}, "its documents do not ascend"),
        ({"sha256": ["F" * 64] * 3}, "sha256 of a document is something else"),
        ({"sha256": ["f" * 64, "f" * 64, "f" * 64 + "\n"]}, "sha256 of a document"),
        ({"decision": ["kept", "empty", "kept "]}, "decision of a document is something else"),
    ],
)
def test_what_no_table_of_documents_says_is_refused(
    columns: dict[str, list[Any]], what: str
) -> None:
    assert what in refusal(encode_documents(table(**columns)))


def test_text_that_is_no_utf8_is_refused() -> None:
    path = pa.Array.from_buffers(
        pa.string(), 3, [None, pa.py_buffer(struct.pack("4i", 0, 1, 1, 1)), pa.py_buffer(b"\xff")]
    )
    assert "UTF8" in refusal(encode_documents(table().set_column(6, "path", path)))


def test_a_small_file_that_would_take_gigabytes_is_refused_before_it_is_unpacked() -> None:
    long = "x" * 20_000_000
    nulls = pa.ListArray.from_arrays([0, 2_500_000, 2_500_000, 2_500_000],
                                     pa.nulls(2_500_000, pa.string()))  # fmt: skip
    for bomb in (
        encode_documents(table(path=[long, "", ""])),
        encode_documents(table().set_column(7, "licences", nulls)),
    ):
        assert len(bomb) < 10_000
        before = pa.total_allocated_bytes()
        assert "bytes of memory" in refusal(bomb)
        assert pa.total_allocated_bytes() < before + 1_000_000
    many = table().take([0] * 1000)
    assert "a column has a dictionary" in refusal(written(many, store_schema=False))
    column_encoding = {"row": "DELTA_BINARY_PACKED"}
    delta = written(many, use_dictionary=False, column_encoding=column_encoding)
    assert "a page is not plainly encoded" in refusal(delta)


def test_a_page_is_taken_at_its_own_word_not_at_the_footers() -> None:
    """Page and footer both say 20 MB; the footer is made to say less."""
    bomb = encode_documents(table(path=["x" * 20_000_000, "", ""]))
    column = pq.ParquetFile(pa.BufferReader(bomb)).metadata.row_group(0).column(6)
    told = _varint(2 * column.total_uncompressed_size)
    assert bomb.count(told) == 1
    lying = bomb.replace(told, b"\x80" * (len(told) - 1) + b"\x00")
    assert (
        pq.ParquetFile(pa.BufferReader(lying))
        .metadata.row_group(0)
        .column(6)
        .total_uncompressed_size
        == 0
    )
    assert "bytes of memory" in refusal(lying)


def _varint(value: int) -> bytes:
    data = bytearray()
    while value >= 0x80:
        data.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*data, value])


def damaged(change: Callable[[bytearray], None]) -> None:
    data = bytearray(DATA)
    change(data)
    try:
        read = parse_documents(bytes(data), "dump-7.documents.parquet")
    except DatasetError:
        refusal(bytes(data))
    else:
        assert read.to_pydict() == ROWS


@pytest.mark.parametrize("step", [61, pytest.param(1, marks=pytest.mark.long)])
def test_a_flipped_bit_is_refused_or_changes_nothing(step: int) -> None:
    for bit in range(0, 8 * len(DATA), step):
        damaged(lambda data, bit=bit: data.__setitem__(bit // 8, data[bit // 8] ^ (1 << bit % 8)))


def test_a_footer_that_says_fewer_rows_is_refused() -> None:
    """Three, a number of 64 bits, stands there for the file, its group, and the columns."""
    places = [at + 1 for at in range(len(DATA)) if DATA[at : at + 2] == b"\x16\x06"]
    assert len(places) >= 2 + 8
    for one, other in product(places, places):
        data = bytearray(DATA)
        data[one] = data[other] = 4
        refusal(bytes(data))


@given(place=st.integers(0, len(DATA) - 1), some=st.binary(min_size=1, max_size=12))
def test_bytes_written_over_others_are_refused_or_change_nothing(place: int, some: bytes) -> None:
    damaged(lambda data: data.__setitem__(slice(place, place + len(some)), some))


def test_every_prefix_and_any_bytes_are_refused() -> None:
    for length in range(0, len(DATA), 5):
        refusal(DATA[:length])
    for other in (
        b"PAR1",
        b"PAR1PAR1",
        b"PAR1" + b"\xff" * 4 + b"PAR1",
        DATA + b"\0",
        b"\0" + DATA,
    ):
        refusal(other)


@given(data=st.binary(max_size=80))
def test_any_footer_is_refused_in_a_line(data: bytes) -> None:
    refusal(b"PAR1" + data + struct.pack("<I", len(data)) + b"PAR1")


def test_memory_is_that_of_the_pages_and_of_their_values() -> None:
    columns = pq.ParquetFile(pa.BufferReader(DATA)).metadata.row_group(0)
    told = [columns.column(number) for number in range(9)]
    values = sum(column.num_values for column in told)
    assert values == 9 * 3 + 1
    headers = sum(column.total_uncompressed_size for column in told) + 8 * values - memory_of(DATA)
    assert 9 * 15 < headers < 9 * 40
