"""Which columns of a file are its texts, their ids, and what travels with them."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import pyarrow as pa
import pyarrow.compute as pc

from codedata.errors import CorpusError
from codedata.sources.parquet.footer import _listed

THE_STACK = (
    "max_stars_repo_name", "max_stars_repo_path", "max_stars_repo_licenses", "repo_name", "path",
    "detected_licenses", "license_type", "lang", "language",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Columns:
    """What a source says of the columns of its files."""

    text: str = "content"
    id: str | None = None
    keep: tuple[str, ...] | None = None


class Place(NamedTuple):
    """Names from a column down to the field that is meant."""

    names: tuple[str, ...]


def find_column(schema: pa.Schema, column: str, name: str) -> Place:
    """Where a column is: by its own name, or by a dotted path."""
    if schema.get_all_field_indices(column):
        return Place((column,))
    names = column.split(".")
    fields = schema
    for each in names:
        if isinstance(fields, pa.DataType) and not pa.types.is_struct(fields):
            break
        if fields.get_field_index(each) < 0:
            break
        fields = fields.field(each).type
    else:
        return Place(tuple(names))
    raise CorpusError(
        f"{name} has no column {column!r}; its columns are {_listed(schema.names)}; name the one "
        "that is meant"
    )


def values_of(batch: pa.RecordBatch, place: Place) -> pa.Array:
    """The values of a column, whatever their type."""
    array = batch.column(place.names[0])
    for each in place.names[1:]:
        array = pc.call_function("struct_field", [array], pc.StructFieldOptions(each))
    return array


def text_of(batch: pa.RecordBatch, place: Place) -> pa.Array:
    """The texts of a column, large_string, not validated."""
    column = values_of(batch, place)
    if isinstance(column, pa.DictionaryArray):
        column = column.dictionary.take(column.indices)
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    return column.cast(pa.large_binary()).view(pa.large_string())


def kept_columns(schema: pa.Schema, columns: Columns, name: str) -> dict[str, Place]:
    """Names and places of the id and of the kept columns."""
    wanted: Iterable[str] = columns.keep or ()
    if columns.keep is None:
        wanted = (each for each in THE_STACK if schema.get_field_index(each) >= 0)
    ids = () if columns.id is None else (columns.id,)
    names = dict.fromkeys((*ids, *wanted))
    return {each: find_column(schema, each, name) for each in names}
