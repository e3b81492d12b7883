"""What a path holds, if it is no parquet of documents: said in one line, with what to do."""

import os
import stat
from collections.abc import Iterable
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import CorpusError
from codedata.printable import shortened, why_no_path

COLUMN = "content"

MAGIC = b"PAR1"
"""The first and the last bytes of a parquet."""

_SHOWN = 10
"""Names that a message lists before it counts."""

_TEXT_TYPES = (
    pa.types.is_string,
    pa.types.is_large_string,
    pa.types.is_string_view,
    pa.types.is_binary,
    pa.types.is_large_binary,
    pa.types.is_binary_view,
)

_JSON_EXTENSION = "arrow.json"
"""Parquet's logical type JSON: text whose form is promised. pyarrow before 20 gives the text."""

_SUMMARIES = ("_metadata", "_common_metadata")
"""Files that Spark and Dask write beside a data set's: a footer, and no rows of their own."""


def said(error: BaseException) -> str:
    """An error of Arrow's, which may have several lines, as part of a message of one."""
    return shortened(" ".join(str(error).split()))


def listed(names: Iterable[str]) -> str:
    """Some names for a message, and how many more there are."""
    every = list(names)
    shown = ", ".join(shortened(name) for name in every[:_SHOWN])
    left = len(every) - _SHOWN
    return f"{shown} and {left:,} more" if left > 0 else shown or "(none)"


def require_parquet(path: Path) -> None:
    """Refuse, by its first and last bytes, what is not a whole parquet file."""
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            found = (
                f"is a folder; name one parquet file (those in it: {listed(_parquets_in(path))}), "
                "or read a folder of source code as a corpus of `kind: folders`"
            )
        elif not stat.S_ISREG(mode):
            found = "is a pipe or device; save what it gives and name that file"
        else:
            found = _fault_of(path)
    except (OSError, ValueError) as error:  # a NUL in a path is a ValueError
        raise CorpusError(
            f"{shortened(str(path))} cannot be read: {why_no_path(error)}; name a parquet file "
            "that exists"
        ) from error
    if found:
        raise CorpusError(f"{path} {found}")


def require_documents(path: Path, metadata: pq.FileMetaData) -> None:
    """Refuse a summary of other files: a footer alone, which may count rows that are in those."""
    is_alone = metadata.serialized_size + 3 * len(MAGIC) == path.stat().st_size
    if is_alone and (metadata.num_rows or path.name in _SUMMARIES):
        raise CorpusError(
            f"{path} describes other parquet files and holds no rows; name one of those in its "
            f"folder: {listed(_parquets_in(path.parent))}"
        )


def require_text_column(path: Path, schema: pa.Schema) -> None:
    """Refuse a file without one column `content`, or one that is no text."""
    places = schema.get_all_field_indices(COLUMN)
    if len(places) != 1:
        raise CorpusError(
            f"{path} has {len(places) or 'no'} columns named {COLUMN!r}; its columns are "
            f"{listed(schema.names)}; rename the one that holds the documents"
        )
    column_type = schema.field(places[0]).type
    if pa.types.is_dictionary(column_type):
        column_type = column_type.value_type
    stored = column_type
    if getattr(column_type, "extension_name", None) == _JSON_EXTENSION:
        stored = column_type.storage_type
    if not any(is_text(stored) for is_text in _TEXT_TYPES):
        raise CorpusError(
            f"column {COLUMN!r} of {path} has type {shortened(str(column_type))}; it must be text"
        )


def _parquets_in(folder: Path) -> list[str]:
    return sorted(
        entry.name
        for entry in os.scandir(folder)
        if entry.name.endswith(".parquet") and entry.is_file()
    )


def _fault_of(path: Path) -> str:
    """What a file is, going by its ends, if it is no whole parquet."""
    with open(path, "rb") as file:
        head = file.read(64)
        num_bytes = file.seek(0, os.SEEK_END)
        file.seek(max(0, num_bytes - len(MAGIC)))
        tail = file.read()
    if head.startswith(MAGIC) and tail == MAGIC and num_bytes > 2 * len(MAGIC):
        return ""
    if not num_bytes:
        return "is empty; fetch it again"
    if head.startswith(b"version https://git-lfs"):
        return "is a Git LFS pointer, not the file it stands for; run `git lfs pull`"
    if head.lstrip()[:1] == b"<":
        return "is a web page, not a parquet file; a download that needs a login saves one"
    if head.startswith(MAGIC):
        return f"is a parquet file cut off after {num_bytes} bytes; fetch it again"
    return f"is not a parquet file: it starts with {head[:8]!r}; name one"
