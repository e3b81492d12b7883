# pyright: standard
# (pyarrow has no types)
"""A text and a range of it -> the documents that begin there, each with where it is from.

Repositories, paths and licences come from the columns that are kept beside the text, by the names
that The Stack has for them. Which columns those are decides what is said of a document, and is
known from the record alone.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codedata.format.ranges import CharRange
from codedata.sources.columns import TEXT_TYPES
from codedata.sources.documents import ChosenDocuments, choose
from codedata.sources.parquet.text import Text

_COLUMNS = {
    "repository": ("max_stars_repo_name", "repo_name", "repository_name"),
    "path": ("max_stars_repo_path", "path"),
    "licences": ("max_stars_repo_licenses", "detected_licenses", "licenses", "license"),
}
"""Of `codedata.sources.columns.THE_STACK`; where several are kept, the first."""

_Texts = str | list[str] | None


def origin_columns(kept: Collection[str]) -> dict[str, str]:
    """The columns that say where documents are from, by what they say.

    Args:
        kept: names of those that are kept beside the text.
    """
    found = {what: next((n for n in names if n in kept), None) for what, names in _COLUMNS.items()}
    return {what: name for what, name in found.items() if name is not None}


def documents_of(text: Text, chars: CharRange) -> ChosenDocuments:
    """The documents whose first character stands in a range, each whole, with its origin.

    Where the range stops with the text, an empty document behind its last character is one too.

    Raises:
        CorpusError: the text cannot be read.
    """
    chosen = choose(text.documents(chars, to_end=True), chars)
    pa.default_memory_pool().release_unused()
    return with_origins(chosen, text)


def with_origins(documents: ChosenDocuments, text: Text) -> ChosenDocuments:
    """Documents of a text with where they are from, as far as that is kept.

    Raises:
        CorpusError: the text cannot be read.
    """
    columns = origin_columns(text.kept_names)
    return replace(documents, origins={**documents.origins, **_read(text, columns, documents.rows)})


def _read(
    text: Text, columns: Mapping[str, str], rows: NDArray[np.int64]
) -> dict[str, Sequence[Any]]:
    if not columns or not len(rows):
        return {}
    table = text.kept(rows, {*columns.values()})
    found = {what: _texts(table.column(name)) for what, name in columns.items()}
    return {
        what: [_as_list(each) if what == "licences" else _as_one(each) for each in texts]
        for what, texts in found.items()
    }


def _as_list(texts: _Texts) -> list[str] | None:
    return [texts] if isinstance(texts, str) else texts


def _as_one(texts: _Texts) -> str | None:
    return texts if isinstance(texts, str) else None


def _texts(column: pa.ChunkedArray) -> list[_Texts]:
    """A column of texts, or of lists of them; of another type, nothing of each."""
    type_ = _as_bytes(column.type)
    if type_ is None:
        return [None] * len(column)
    return [_text(each) for each in column.cast(type_).to_pylist()]


def _as_bytes(type_: pa.DataType) -> pa.DataType | None:
    """The type of texts, or of lists of them, as bytes, which need not be UTF-8; None of others."""
    if pa.types.is_dictionary(type_):
        return _as_bytes(type_.value_type)
    if pa.types.is_list(type_) or pa.types.is_large_list(type_):
        of = _as_bytes(type_.value_type)
        return pa.large_list(of) if of == pa.large_binary() else None
    return pa.large_binary() if any(is_text(type_) for is_text in TEXT_TYPES) else None


def _text(value: Any) -> _Texts:
    if isinstance(value, list):
        return [each.decode(errors="replace") for each in value if each is not None]
    return None if value is None else value.decode(errors="replace")
