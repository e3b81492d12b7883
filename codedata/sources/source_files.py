"""Files of source code, one after the other -> a parquet with the columns of The Stack.

Where they lie, in a folder or in a commit, makes no difference to a byte of it. Left out and
counted: files that are empty, over 1 MB (The Stack leaves those out too), pointers of Git LFS,
binary (as git judges), or not UTF-8 in name or text.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from codedata.sources.languages import ending_of

MAX_FILE_BYTES = 1_000_000
"""The Stack's own limit: https://huggingface.co/datasets/bigcode/the-stack"""

_ROW_GROUP_ROWS = 1_000
"""As in The Stack's files."""

_BINARY_BYTES = 8_000
"""What git looks at for a NUL: buffer_is_binary in its xdiff-interface.c."""

_POINTER, _POINTER_BYTES = b"version https://git-lfs.github.com/spec/", 1_024
"""How pointers begin, and how long one may be: https://github.com/git-lfs/git-lfs/blob/main/docs/spec.md"""

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")

SCHEMA = pa.schema({
    "hexsha": pa.string(), "size": pa.int64(), "ext": pa.string(), "lang": pa.string(),
    "max_stars_repo_path": pa.string(), "content": pa.string(), "avg_line_length": pa.float64(),
    "max_line_length": pa.int64(), "alphanum_fraction": pa.float64(),
})  # fmt: skip


class SourceFile(NamedTuple):
    """A file that was read.

    Attributes:
        name: its path within the corpus.
        language: that it is of, as far as that is known.
        num_bytes: its size.
        data: its bytes; none of one that is too large.
    """

    name: str
    language: str | None
    num_bytes: int
    data: bytes


def write_source_files(files: Iterable[SourceFile], where: Path | BinaryIO) -> dict[str, int]:
    """Write files as a parquet, some thousand rows in memory at once.

    Returns:
        How many were left out, and why.
    """
    skipped = {"empty": 0, "too_large": 0, "lfs_pointer": 0, "binary": 0, "not_utf8": 0}
    rows = _rows(files, skipped)
    with pq.ParquetWriter(where, SCHEMA, compression="zstd") as writer:
        while group := [*islice(rows, _ROW_GROUP_ROWS)]:
            writer.write_table(pa.Table.from_pylist(group, SCHEMA))
    return skipped


def git_hash(data: bytes) -> str:
    """The hash that git has for a file: of its kind, its size and its bytes."""
    blob = b"blob %d\0" % len(data) + data
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest()


def _rows(files: Iterable[SourceFile], skipped: dict[str, int]) -> Iterator[dict[str, Any]]:
    for file in files:
        if (why := _why_left_out(file)) is not None:
            skipped[why] += 1
            continue
        try:
            text = file.data.decode("utf-8")
            file.name.encode("utf-8")
        except UnicodeError:
            skipped["not_utf8"] += 1
            continue
        lines = text.split("\n")
        yield {
            "hexsha": git_hash(file.data),
            "size": len(file.data),
            "ext": ending_of(file.name.rpartition("/")[2]),
            "lang": file.language,
            "max_stars_repo_path": file.name,
            "content": text,
            "avg_line_length": len(text) / len(lines),
            "max_line_length": max(map(len, lines)),
            "alphanum_fraction": len(_NOT_ALPHANUMERIC.sub("", text)) / len(text),
        }


def _why_left_out(file: SourceFile) -> str | None:
    if not file.num_bytes:
        return "empty"
    if file.num_bytes > MAX_FILE_BYTES:
        return "too_large"
    if file.num_bytes < _POINTER_BYTES and file.data.startswith(_POINTER):
        return "lfs_pointer"
    return "binary" if b"\0" in file.data[:_BINARY_BYTES] else None
