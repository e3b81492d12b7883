"""The bytes of a parquet -> the memory that its columns may take, before pyarrow sees them. Pure.

pyarrow believes what a page's header says: a kilobyte may say, and be, gigabytes of zeros, or one
long value a million times; and asked what a damaged footer says of a column, it may end the
process. So of files that strangers may have written the footer and the headers of all pages are
read here first. Only pages of plainly encoded values are taken, which hold no more than the bytes
that they unpack to.

FileMetaData, PageHeader: https://github.com/apache/parquet-format/blob/master/src/main/thrift/parquet.thrift
Their bytes: https://github.com/apache/thrift/blob/master/doc/specs/thrift-compact-protocol.md
"""

from typing import Any

_MAGIC = b"PAR1"
_FOOTER_END_BYTES = 4 + len(_MAGIC)

# Numbers of fields
_ROW_GROUPS = 4
_COLUMNS, _NUM_ROWS = 1, 3
_COLUMN_METADATA = 3
_PATH, _COLUMN_VALUES, _COLUMN_BYTES, _FIRST_PAGE, _DICTIONARY_PAGE = 3, 5, 7, 9, 11
_PAGE_TYPE, _UNPACKED_BYTES, _PACKED_BYTES, _DATA_PAGE_HEADER = 1, 2, 3, 5
_PAGE_VALUES, _ENCODING = 1, 2

_DATA_PAGE, _PLAIN = 0, 0

_TRUE, _FALSE, _BYTE, _I16, _I32, _I64, _BINARY, _LIST, _STRUCT = 1, 2, 3, 4, 5, 6, 8, 9, 12

_MOST_DEPTH = 10
"""A footer's deepest is 8: of a row group's column its statistics' lists."""

_VALUE_BYTES = 8
"""Of a value that is null, a place or a length, at the most: a page has a bit for a thousand."""


def memory_of(data: bytes) -> int:
    """The bytes of memory that all columns of a parquet may take.

    Raises:
        ValueError, LookupError, TypeError: it is none, or its pages are not plainly encoded values,
            as many as the footer says, behind each other.
    """
    end = len(data) - _FOOTER_END_BYTES
    if data[-len(_MAGIC) :] != _MAGIC or end < 0:
        raise ValueError("it is no parquet")
    footer, _ = _struct(data, end - int.from_bytes(data[end : end + 4], "little"))
    if footer[_NUM_ROWS] != sum(group[_NUM_ROWS] for group in footer[_ROW_GROUPS]):
        raise ValueError("its groups do not hold its rows")
    total = 0
    for group in footer[_ROW_GROUPS]:
        for column in group[_COLUMNS]:
            told = column[_COLUMN_METADATA]
            if _DICTIONARY_PAGE in told:
                raise ValueError("a column has a dictionary")
            start, num_values = told[_FIRST_PAGE], told[_COLUMN_VALUES]
            unpacked, of_pages = _pages(data, start, start + told[_COLUMN_BYTES])
            more, is_list = num_values - group[_NUM_ROWS], len(told[_PATH]) > 1
            if num_values != of_pages or more < 0 or (more and not is_list):
                raise ValueError("a column's pages do not hold its values")
            total += unpacked + _VALUE_BYTES * num_values
    return total


def _pages(data: bytes, at: int, stop: int) -> tuple[int, int]:
    """The bytes that the pages between two places unpack to, and the number of their values."""
    unpacked = num_values = 0
    while at < stop:
        page, at = _struct(data, at)
        values = page[_DATA_PAGE_HEADER]
        if page[_PAGE_TYPE] != _DATA_PAGE or values[_ENCODING] != _PLAIN:
            raise ValueError("a page is not plainly encoded")
        if min(page[_UNPACKED_BYTES], page[_PACKED_BYTES], values[_PAGE_VALUES]) < 0:
            raise ValueError("a page has a negative size")
        unpacked += page[_UNPACKED_BYTES]
        num_values += values[_PAGE_VALUES]
        at += page[_PACKED_BYTES]
    if at != stop:
        raise ValueError("a page does not end with its column")
    return unpacked, num_values


def _struct(data: bytes, at: int, depth: int = 0) -> tuple[dict[int, Any], int]:
    """The fields of a struct, by number, and the place behind it."""
    fields: dict[int, Any] = {}
    number = 0
    while head := data[at]:
        kind, step, at = head & 0xF, head >> 4, at + 1
        number += step
        if not step:
            number, at = _integer(data, at)
        if number in fields:  # of which another reader may take the other
            raise ValueError("a field stands there twice")
        if kind in (_TRUE, _FALSE):
            fields[number] = kind == _TRUE
        else:
            fields[number], at = _value(data, at, kind, depth + 1)
    return fields, at + 1


def _value(data: bytes, at: int, kind: int, depth: int) -> tuple[Any, int]:
    """A value of a type, and the place behind it."""
    if depth > _MOST_DEPTH:
        raise ValueError("its structs are nested too deeply")
    if kind in (_I16, _I32, _I64):
        return _integer(data, at)
    if kind == _BINARY:
        length, at = _varint(data, at)
        return data[at : at + length], at + length
    if kind == _STRUCT:
        return _struct(data, at, depth)
    if kind == _LIST:
        return _list(data, at, depth)
    if kind in (_TRUE, _FALSE, _BYTE):  # in a list each has a byte
        return data[at], at + 1
    raise ValueError(f"a value is of type {kind}, which parquets of documents do not have")


def _list(data: bytes, at: int, depth: int) -> tuple[list[Any], int]:
    length, kind, at = data[at] >> 4, data[at] & 0xF, at + 1
    if length == 0xF:
        length, at = _varint(data, at)
    values: list[Any] = []
    for _ in range(length):
        value, at = _value(data, at, kind, depth + 1)
        values.append(value)
    return values, at


def _integer(data: bytes, at: int) -> tuple[int, int]:
    value, at = _varint(data, at)
    return (value >> 1) ^ -(value & 1), at


def _varint(data: bytes, at: int) -> tuple[int, int]:
    value = 0
    for shift in range(0, 70, 7):
        byte, at = data[at], at + 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
    raise ValueError("a number has more than 64 bits")
