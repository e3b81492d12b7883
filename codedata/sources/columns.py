"""A table's columns by the names that a corpus gives them: its text, its id, and what is kept.

`find_text` and `kept_columns` go by a schema, `column_of` and what follows by batches; where the
rows come from, a parquet or a stream, is all the same. A column within a struct is named by a
dotted path, and is null where the struct is.

Invariants: a name stands for one column, that whose own name has the dots before one within a
struct; a column that cannot be what it is named for is refused in one line with those there are.
"""

import hashlib
import json
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from typing import NamedTuple

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codedata.errors import CorpusError
from codedata.printable import did_you_mean, shortened

COLUMN = "content"
"""The column of the documents where nothing else is said, and in all that codedata writes."""

THE_STACK = (
    *("max_stars_repo_name", "max_stars_repo_path", "max_stars_repo_licenses", "lang"),
    *("repo_name", "path", "detected_licenses", "license_type", "language"),
    *("repository_name", "licenses", "license"),
)
"""Repository, path, licences and language, as version 1 of The Stack names them, then version 2,
then its small sample and, with version 2's other names, GitHub code and CodeParrot."""

MAX_DOCUMENT_BYTES = 1_000_000_000
"""A longer text is no source code, and takes several times its size while it is decoded; Arrow
itself holds no cell of 2 GiB."""

_SHOWN = 10
"""Names that a message lists before it counts."""

_COMPARED = 10_000
"""Names that a wrong one is compared with: a few milliseconds."""

TEXT_TYPES: tuple[Callable[[pa.DataType], bool], ...] = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
    pa.types.is_fixed_size_binary,
)
"""What holds text, or bytes that may be text."""

_JSON_EXTENSION = "arrow.json"
"""Parquet's logical type JSON: text whose form is promised."""


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a source says of the columns of its files.

    Attributes:
        text: the column of the documents.
        id: one that identifies each, where that is said.
        keep: those that travel with each document; None for those of `THE_STACK` that are there.
    """

    text: str = COLUMN
    id: str | None = None
    keep: tuple[str, ...] | None = None


USUAL = Columns()
"""What is meant where nothing is said."""


class Place(NamedTuple):
    """Where a column stands in a table.

    Attributes:
        name: the column's; of one within structs theirs before it, a dot between each two.
        path: the same, name by name.
        type: Arrow's.
        leaves: its numbers among the columns that a parquet's row groups have.
    """

    name: str
    path: tuple[str, ...]
    type: pa.DataType
    leaves: range

    @property
    def value_type(self) -> pa.DataType:
        """The type; of a dictionary, that of its values."""
        return self.type.value_type if pa.types.is_dictionary(self.type) else self.type


def find_column(
    schema: pa.Schema, column: str, name: str, *, setting: str = "text_column"
) -> Place:
    """The column that a name stands for.

    Args:
        schema: of the table.
        column: a column's own name, or a dotted path to one within structs.
        name: what the table is called in a message.
        setting: what names the column.

    Raises:
        CorpusError: there is none, or more than one.
    """
    names = column.split(".")
    path = next(_paths_of(schema, names), None)
    if path is None:
        raise CorpusError(_missing(schema, column, name, setting))
    parent, type_, first_leaf = schema, pa.null(), 0
    for depth, each in enumerate(path):
        place, *others = parent.get_all_field_indices(each)
        if others:
            raise CorpusError(
                f"{name} has {1 + len(others)} columns named {'.'.join(path[: depth + 1])!r}; its "
                f"columns are {listed(schema.names)}; {_remedy(column, setting)}"
            )
        first_leaf += sum(_num_leaves(parent.field(before).type) for before in range(place))
        parent = type_ = parent.field(place).type
    return Place(column, path, type_, range(first_leaf, first_leaf + _num_leaves(type_)))


def find_text(schema: pa.Schema, column: str, name: str) -> Place:
    """The column of the documents; arguments are those of `find_column`.

    Raises:
        CorpusError: there is none, or more than one, or it is no text.
    """
    place = find_column(schema, column, name)
    stored = type_ = place.value_type
    if getattr(type_, "extension_name", None) == _JSON_EXTENSION:
        stored = type_.storage_type
    if not any(is_text(stored) for is_text in TEXT_TYPES):
        remedy = _remedy(column, "text_column")
        if pa.types.is_struct(type_):
            remedy = f"name one within it: {listed(f'{column}.{each}' for each in type_.names)}"
        raise CorpusError(
            f"column {column!r} of {name} has type {shortened(str(type_))}; it must be text; "
            f"{remedy}"
        )
    return place


def kept_columns(schema: pa.Schema, columns: Columns, name: str) -> dict[str, Place]:
    """The columns that travel with the documents, by name, the id first.

    Args:
        schema: of the table.
        columns: which are asked for.
        name: what the table is called in a message.

    Raises:
        CorpusError: one that is asked for by name is not there once, or is the text itself, or the
            id is no text or number.
    """
    kept: dict[str, Place] = {}
    if columns.id is not None:
        place = find_column(schema, columns.id, name, setting="id_column")
        if pa.types.is_nested(place.value_type):
            raise CorpusError(
                f"column {columns.id!r} of {name} has type {shortened(str(place.type))}; an "
                "id_column must be text or a number"
            )
        kept[columns.id] = place
    for column in THE_STACK if columns.keep is None else columns.keep:
        if columns.keep is not None or len(schema.get_all_field_indices(column)) == 1:
            kept[column] = find_column(schema, column, name, setting="keep_columns")
    if columns.keep is None:
        kept.pop(columns.text, None)
    for column in sorted({columns.text, COLUMN} & {*kept}):
        raise CorpusError(
            f"column {column!r} of {name} cannot be kept beside the text, which corpora call "
            f"{COLUMN!r} (text_column is {columns.text!r}); leave it out of id_column and "
            "keep_columns"
        )
    return kept


def column_of(batch: pa.RecordBatch, place: Place) -> pa.Array:
    """A column's rows, of the type that they have; null where a struct around them is."""
    column = batch.column(place.path[0])
    for name in place.path[1:]:
        column = column.flatten()[column.type.get_field_index(name)]
    return column


def text_of(batch: pa.RecordBatch, place: Place) -> pa.LargeStringArray:
    """The rows of a column that `find_text` found, as text; `faults` says which are none."""
    return as_text(column_of(batch, place))


def as_text(column: pa.Array) -> pa.LargeStringArray:
    """Texts or bytes as text, not validated; their data is not copied if it can be."""
    if isinstance(column, pa.DictionaryArray):
        return as_text(column.dictionary).take(column.indices)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_large_string(column.type):
        return column
    if pa.types.is_string(column.type) or pa.types.is_string_view(column.type):
        return column.cast(pa.large_string())
    return column.cast(pa.large_binary()).view(pa.large_string())


def faults(texts: pa.LargeStringArray) -> dict[int, str]:
    """What of texts is no document: what is wrong with it and what to do, by its place.

    Args:
        texts: as `as_text` gives them.

    Raises:
        pa.ArrowInvalid: the array itself is damaged.
    """
    if np.diff(offsets(texts)).max(initial=0) <= MAX_DOCUMENT_BYTES and _are_valid(texts):
        return {}
    values = texts.view(pa.large_binary())
    values.validate(full=True)
    found = {place: fault for place, value in enumerate(values) if (fault := _fault(value))}
    assert found, "Arrow and Python judge UTF-8 alike"
    return found


def _are_valid(texts: pa.LargeStringArray) -> bool:
    try:
        texts.validate(full=True)
    except pa.ArrowInvalid:
        return False
    return True


def offsets(array: pa.LargeStringArray) -> NDArray[np.int64]:
    """Where each value begins in the array's data, and last where the last one ends."""
    if not len(array):
        return np.zeros(1, np.int64)
    return np.frombuffer(array.buffers()[1], np.int64)[array.offset :][: len(array) + 1]


def corpus_batch(batch: pa.RecordBatch, text: Place, kept: Mapping[str, Place]) -> pa.RecordBatch:
    """Rows as corpora keep them: `content`, then what is kept, each column by its name.

    The texts are of their own type, but no dictionary, and as they are.
    """
    texts = column_of(batch, text)
    if isinstance(texts, pa.DictionaryArray):
        texts = texts.dictionary_decode()
    columns = [texts, *(column_of(batch, place) for place in kept.values())]
    return pa.record_batch(columns, schema=corpus_schema(text, kept))


def corpus_schema(text: Place, kept: Mapping[str, Place]) -> pa.Schema:
    """Of the batches that `corpus_batch` gives."""
    return pa.schema([pa.field(COLUMN, text.value_type), *kept_schema(kept)])


def kept_schema(kept: Mapping[str, Place]) -> pa.Schema:
    """Of what is kept alone."""
    return pa.schema([pa.field(name, place.type) for name, place in kept.items()])


def text_identity(identity: str, column: str) -> str:
    """What identifies a text of a file: the file's own identity, and its column if another.

    Counts, stored chunks and facts hang on it: those of one column are none of another's.
    """
    if column == COLUMN:
        return identity
    return hashlib.sha256(json.dumps([identity, column]).encode()).hexdigest()


def listed(names: Iterable[str]) -> str:
    """Some names for a message, and how many more there are."""
    every = list(names)
    shown = ", ".join(shortened(name) for name in every[:_SHOWN])
    left = len(every) - _SHOWN
    return f"{shown} and {left:,} more" if left > 0 else shown or "(none)"


def every_column(parent: pa.Schema | pa.StructType) -> Iterator[str]:
    """The names of all columns, those within structs by their paths."""
    for place, name in enumerate(parent.names):
        yield name
        if pa.types.is_struct(type_ := parent.field(place).type):
            yield from (f"{name}.{path}" for path in every_column(type_))


def _paths_of(parent: pa.Schema | pa.StructType, names: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """The paths that dotted names may stand for, those of few steps first."""
    for stop in range(len(names), 0, -1):
        name = ".".join(names[:stop])
        for place in parent.get_all_field_indices(name)[:1]:
            type_ = parent.field(place).type
            if stop == len(names):
                yield (name,)
            elif pa.types.is_struct(type_):
                yield from ((name, *path) for path in _paths_of(type_, names[stop:]))


def _missing(schema: pa.Schema, column: str, name: str, setting: str) -> str:
    """A message that there is no such column, as near to it as the path leads."""
    known, what = (
        [*islice(every_column(schema), _COMPARED)],
        f"its columns are {listed(schema.names)}",
    )
    names = column.split(".")
    for stop in range(len(names) - 1, 0, -1):
        if next(_paths_of(schema, names[:stop]), None):
            within = ".".join(names[:stop])
            type_ = find_column(schema, within, name, setting=setting).type
            what = f"{within!r} has type {shortened(str(type_))}"
            if not pa.types.is_struct(type_):
                known, what = [], f"{what}, and only structs have columns within"
            break
    meant = did_you_mean(column, known)
    said = f"{name} has no columns named {column!r}; {what}; {_remedy(column, setting)}"
    return f"{said}; {meant}" if meant else said


def _remedy(column: str, setting: str) -> str:
    if setting != "text_column":
        return f"name one that is there once as {setting}"
    if column == COLUMN:
        return "rename the one that holds the documents, or name it as text_column of the corpus"
    return "name the one that holds the documents as text_column"


def _num_leaves(type_: pa.DataType) -> int:
    """Columns that a type takes in the row groups of a parquet."""
    if isinstance(type_, pa.BaseExtensionType):
        type_ = type_.storage_type
    if not pa.types.is_nested(type_):
        return 1
    return sum(_num_leaves(type_.field(place).type) for place in range(type_.num_fields))


def _fault(value: pa.LargeBinaryScalar) -> str:
    if not value.is_valid:
        return ""
    if (num_bytes := value.as_buffer().size) > MAX_DOCUMENT_BYTES:
        return (
            f"has {num_bytes:,} bytes, more than the {MAX_DOCUMENT_BYTES:,} that a document may "
            "have; split or remove that row"
        )
    try:
        value.as_py().decode("utf-8")
    except UnicodeDecodeError as error:
        return f"is not valid UTF-8 (byte {error.start}: {error.reason}); repair or remove that row"
    return ""
