"""JSON -> rows: an object a line (jsonl, ndjson), or one array of objects, read as it goes.

JSON is what `json.loads` reads: integers of any size, NaN, of equal keys the last one; a byte order
mark, CRLF and blank lines are none of the rows.

The first row decides which columns there are: the text, the id and the kept ones must be in it. In
a later row what is missing is null. Texts and ids stay strings; of the id and the kept columns what
is of another type is kept as its JSON, so that all files of a corpus have the same types. A
document is a string or null; another type is a bad row.
"""

import json
from collections.abc import Iterator, Sequence
from io import BufferedReader, TextIOBase, TextIOWrapper
from typing import Any

import pyarrow as pa

from codedata.errors import CorpusError
from codedata.sources.columns import MAX_DOCUMENT_BYTES, Columns, Place, find_text, kept_columns
from codedata.sources.formats.rows import NOT_UTF8, TOO_LONG, BadRows, Value, batches_of

_BOM = b"\xef\xbb\xbf"

_PIECE_BYTES = 1 << 20
"""Of a line at once."""

_BLOCK_CHARS = 1 << 20
"""Of an array at once, or more where a row is longer."""

_NEAR_CHARS = 32
"""An error this near to the end of what was read may be there because a value was cut."""

_DEPTH = 32
"""Of objects within objects: deeper ones are no columns."""

_BLANKS = (*" \t\r\n", "")
"""Between values; and what is read at the end of what is held."""

_DECODER = json.JSONDecoder()

_NOT_JSON = (ValueError, RecursionError)
"""Beside JSON's errors: integers of thousands of digits, brackets in thousands of brackets."""

Row = tuple[str, dict[str, Any]]
"""An object, and where it stands, such as `line 7`."""


def read_json(
    reader: BufferedReader, name: str, columns: Columns, bad: BadRows
) -> Iterator[pa.RecordBatch]:
    """The rows of a file in batches: see `Format.read`."""
    rows = _rows(reader, name, bad)
    first = next(rows, None)
    if first is None:
        return
    schema = _schema(first[1])
    kept = kept_columns(schema, columns, name)
    places = [find_text(schema, columns.text, name), *kept.values()]
    yield from batches_of(_values(first, rows, name, places, bad), [*kept])


def schema_of_json(reader: BufferedReader, name: str) -> pa.Schema | None:
    """The columns of the first row: see `Format.schema`."""
    first = next(_rows(reader, name, BadRows(on_error="skip")), None)
    return first and _schema(first[1])


def _rows(reader: BufferedReader, name: str, bad: BadRows) -> Iterator[Row]:
    is_array = reader.peek(_PIECE_BYTES).removeprefix(_BOM).lstrip(b" \t\r\n")[:1] == b"["
    return (_array if is_array else _lines)(reader, name, bad)


def _schema(row: dict[str, Any], depth: int = _DEPTH) -> pa.Schema:
    """The columns of a row, objects as structs."""
    names = (name for name in row if name.encode("utf-8", "ignore").decode() == name)
    return pa.schema([pa.field(name, _type(row[name], depth)) for name in names])


def _type(value: Any, depth: int) -> pa.DataType:
    if isinstance(value, dict):
        return pa.struct([*_schema(value, depth - 1)] if depth else [])
    return pa.large_string()


def _values(
    first: Row, rows: Iterator[Row], name: str, places: Sequence[Place], bad: BadRows
) -> Iterator[list[Value]]:
    """Of each good row the columns that are asked for."""
    row: Row | None = first
    while row is not None:
        place, found = row
        values = [_value(found, each.path) for each in places]
        if values[0] is not None and not isinstance(values[0], str):
            bad.refuse_or_count(name, place, f"{places[0].name!r} is {_kind(values[0])}, no text")
        else:
            try:
                yield [_encoded(value) for value in values]
            except UnicodeEncodeError:
                bad.refuse_or_count(name, place, "a lone surrogate, which no UTF-8 has")
        row = next(rows, None)


def _value(row: Any, path: Sequence[str]) -> Any:
    """The value of a column; None where there is none."""
    for name in path:
        row = row.get(name) if isinstance(row, dict) else None
    return row


def _encoded(value: Any) -> Value:
    if value is None:
        return None
    return (value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)).encode()


def _kind(value: Any) -> str:
    """What JSON calls a value."""
    kinds = {dict: "an object", list: "an array", bool: "true or false"}
    return kinds.get(type(value), "a number")


def _numbered(
    reader: BufferedReader, name: str, bad: BadRows
) -> Iterator[tuple[int, bytes | bytearray]]:
    """The lines of a file that are not blank, with their numbers from 1; long ones are bad rows."""
    number = 0
    while piece := reader.readline(_PIECE_BYTES):
        number += 1
        line: bytes | bytearray = piece
        if not piece.endswith(b"\n") and len(piece) == _PIECE_BYTES:
            line, is_long = bytearray(piece), False
            while not piece.endswith(b"\n") and (piece := reader.readline(_PIECE_BYTES)):
                if not is_long:
                    line += piece
                    if is_long := len(line) > MAX_DOCUMENT_BYTES:
                        line = bytearray()
                        bad.refuse_or_count(name, f"line {number}", TOO_LONG)
            if is_long:
                continue
        if number == 1 and line.startswith(_BOM):
            line = line[len(_BOM) :]
        if line and not line.isspace():
            yield number, line


def _lines(reader: BufferedReader, name: str, bad: BadRows) -> Iterator[Row]:
    for number, line in _numbered(reader, name, bad):
        place = f"line {number}"
        try:
            row = json.loads(line.decode())
        except UnicodeDecodeError as error:
            bad.refuse_or_count(name, place, NOT_UTF8, f"byte {error.start}")
        except _NOT_JSON as error:
            bad.refuse_or_count(name, place, "not valid JSON", _why(error))
        else:
            if isinstance(row, dict):
                yield place, row
            else:
                bad.refuse_or_count(name, place, "no JSON object")


def _why(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return f"{error.msg.removesuffix(' at')} at character {error.pos}"
    return str(error).partition(";")[0].partition(" while")[0]


class _Cursor:
    """A place in JSON that is read as it goes; what lies before it is forgotten."""

    def __init__(self, text: TextIOBase) -> None:
        self._text, self._held, self._place = text, "", 0

    def take(self) -> str:
        """The next character that is no blank, and go on; none at the end."""
        mark = self.look()
        self._place += len(mark)
        return mark

    def look(self) -> str:
        """The next character that is no blank, and stay there; none at the end."""
        while True:
            while self._held[self._place : self._place + 1] in _BLANKS:
                if self._place < len(self._held):
                    self._place += 1
                elif not self._read_on():
                    return ""
            return self._held[self._place]

    def value(self) -> Any:
        """The JSON that begins here, and go on behind it.

        Raises:
            ValueError, RecursionError: it is none, or too long.
        """
        while True:
            try:
                value, end = _DECODER.raw_decode(self._held, self._place)
            except json.JSONDecodeError as error:
                is_open = error.msg.startswith("Unterminated string")
                if not (is_open or error.pos > len(self._held) - _NEAR_CHARS):
                    raise
                if len(self._held) - self._place > MAX_DOCUMENT_BYTES:
                    raise ValueError(TOO_LONG) from error
                if not self._read_on():
                    raise
            else:
                if end < len(self._held) or not self._read_on():
                    self._place = end
                    return value

    def _read_on(self) -> bool:
        more = self._text.read(max(_BLOCK_CHARS, len(self._held) - self._place))
        self._held, self._place = self._held[self._place :] + more, 0
        return bool(more)


def _array(reader: BufferedReader, name: str, bad: BadRows) -> Iterator[Row]:
    """The objects of an array.

    Raises:
        CorpusError: what is no JSON; where the next object begins is then not known.
    """
    cursor = _Cursor(TextIOWrapper(reader, "utf-8-sig", newline=""))
    number = 0
    try:
        cursor.take()  # the bracket
        is_end = cursor.look() == "]" and cursor.take()
        while not is_end:
            number += 1
            cursor.look()
            row = cursor.value()
            mark = cursor.take()
            if mark not in {",", "]"}:
                raise ValueError(f"{mark or 'the end of the file'} follows it")
            is_end = mark == "]"
            place = f"row {number}"
            if isinstance(row, dict):
                yield place, row
            else:
                bad.refuse_or_count(name, place, "no JSON object")
        if cursor.look():
            raise ValueError("more follows after the array's end")
    except _NOT_JSON as error:
        if isinstance(error, CorpusError):
            raise
        where = f"row {number}"
        if isinstance(error, UnicodeDecodeError):
            where = f"in what follows row {number}"
        raise CorpusError(
            f"{name}, {where}: not valid JSON ({_why(error)}); of an array no row can be left out "
            "for that: mend it, or write an object a line (jsonl)"
        ) from error
