"""csv and tsv -> rows: fields in double quotes may hold commas, line ends and doubled quotes.

The first row has the columns' names. csv has no nulls: an empty field is null, of the texts as of
the others, which is how pandas reads it. The id and the kept columns stay the strings that they
are. A row is known by the line on which it ends.
"""

import csv
from collections.abc import Iterator
from functools import partial
from io import BufferedReader, TextIOWrapper
from typing import Any

import pyarrow as pa

from codedata.errors import CorpusError
from codedata.sources.columns import Columns, find_text, kept_columns
from codedata.sources.formats.rows import NOT_UTF8, BadRows, Value, batches_of

_MOST_CHARS = 100_000_000
"""Of a field and of a line: csv takes four bytes for a character. By itself it refuses fields of
131,073, which files of code have."""


def read_csv(
    reader: BufferedReader, name: str, columns: Columns, bad: BadRows, *, delimiter: str = ","
) -> Iterator[pa.RecordBatch]:
    """The rows of a file in batches: see `Format.read`."""
    rows = _begun(reader, name, delimiter)
    schema = _header(rows, name)
    if schema is None:
        return
    kept = kept_columns(schema, columns, name)
    wanted = [find_text(schema, columns.text, name), *kept.values()]
    places = [schema.get_field_index(place.name) for place in wanted]
    yield from batches_of(_rows(rows, len(schema), places, name, bad), [*kept])


def schema_of_csv(
    reader: BufferedReader,
    name: str,
    *,
    delimiter: str = ",",
) -> pa.Schema | None:
    """The columns of the first line: see `Format.schema`."""
    return _header(_begun(reader, name, delimiter), name)


def _begun(reader: BufferedReader, name: str, delimiter: str) -> Any:
    csv.field_size_limit(_MOST_CHARS)  # of the process
    text = TextIOWrapper(reader, "utf-8-sig", "surrogateescape", newline="")
    return csv.reader(_lines(text, name), delimiter=delimiter, strict=True)


def _header(rows: Any, name: str) -> pa.Schema | None:
    try:
        header = next(rows, None)
    except csv.Error as error:
        raise CorpusError(f"{name}, line 1: no names of columns ({error}); write them") from error
    return header and pa.schema([pa.field(column, pa.large_string()) for column in header])


def _rows(
    rows: Any, num_columns: int, places: list[int], name: str, bad: BadRows
) -> Iterator[list[Value]]:
    """Of each good row the fields that are asked for."""
    while True:
        reason = detail = ""
        try:
            row = next(rows)
            if len(row) == num_columns:
                yield [row[place].encode() or None for place in places]
            elif row:  # no blank line
                reason = "not as many fields as there are columns"
                detail = f"{len(row)} of {num_columns}"
        except StopIteration:
            return
        except csv.Error as error:
            reason, detail = "not valid csv", str(error)
        except UnicodeEncodeError:
            reason = NOT_UTF8
        if reason:
            bad.refuse_or_count(name, f"line {rows.line_num}", reason, detail)


def _lines(text: TextIOWrapper, name: str) -> Iterator[str]:
    number = 0
    while line := text.readline(_MOST_CHARS):
        number += 1
        if len(line) == _MOST_CHARS:
            raise CorpusError(
                f"{name}, line {number}: more than {_MOST_CHARS:,} characters; write a file of "
                "another format, such as jsonl"
            )
        yield line


read_tsv = partial(read_csv, delimiter="\t")
schema_of_tsv = partial(schema_of_csv, delimiter="\t")
