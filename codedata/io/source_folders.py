"""Folders of source code -> a parquet with the columns of The Stack.

Files are walked in sorted order, so that the same files give the same rows. Links are not followed.
Left out and counted: files that are empty, over 1 MB (The Stack leaves those out too) or not UTF-8.
"""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import CorpusError

MAX_FILE_BYTES = 1_000_000
"""The Stack's own limit: https://huggingface.co/datasets/bigcode/the-stack"""

_ROW_GROUP_ROWS = 1_000
"""As in The Stack's files."""

_LANGUAGES = {"c": "C", "h": "C"}
_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")

SCHEMA = pa.schema(
    {
        "hexsha": pa.string(),
        "size": pa.int64(),
        "ext": pa.string(),
        "lang": pa.string(),
        "max_stars_repo_path": pa.string(),
        "content": pa.string(),
        "avg_line_length": pa.float64(),
        "max_line_length": pa.int64(),
        "alphanum_fraction": pa.float64(),
    }
)


@dataclass(frozen=True, kw_only=True)
class SourceFile:
    """A file that the walk found.

    Attributes:
        path: where it is.
        name: its path within the corpus: the folder's name and the path below it.
        num_bytes: its size.
        modified_ns: when it was last changed.
    """

    path: Path
    name: str
    num_bytes: int
    modified_ns: int


@dataclass(kw_only=True)
class SkippedFiles:
    """How many files were left out, and why."""

    empty: int = 0
    too_large: int = 0
    not_utf8: int = 0


@dataclass(frozen=True, kw_only=True)
class Walk:
    """The files of some folders in their order.

    Attributes:
        files: sorted by name.
        fingerprint: sha256 over names, sizes and times: the same files, unchanged.
    """

    files: Sequence[SourceFile]
    fingerprint: str = field(init=False)

    def __post_init__(self) -> None:
        digest = hashlib.sha256()
        for file in self.files:
            line = f"{file.name}\0{file.num_bytes}\0{file.modified_ns}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        object.__setattr__(self, "fingerprint", digest.hexdigest())


def walk_folders(folders: Mapping[str, Path], extensions: Sequence[str]) -> Walk:
    """Find the source files of folders.

    Args:
        folders: by the name that stands before each file's path in the corpus.
        extensions: without the dot.

    Raises:
        CorpusError: a folder does not exist, or none holds such a file.
    """
    files: list[SourceFile] = []
    for name, folder in sorted(folders.items()):
        if not folder.is_dir():
            raise CorpusError(
                f"the folder {folder} of the corpus does not exist; name a folder of source files"
            )
        for place, _, names in os.walk(folder):
            for file_name in names:
                path = Path(place, file_name)
                if path.suffix[1:] in extensions and path.is_file() and not path.is_symlink():
                    stat = path.stat()
                    files.append(
                        SourceFile(
                            path=path,
                            name=f"{name}/{path.relative_to(folder).as_posix()}",
                            num_bytes=stat.st_size,
                            modified_ns=stat.st_mtime_ns,
                        )
                    )
    if not files:
        raise CorpusError(
            f"no file ending in {', '.join(extensions)} lies in "
            f"{', '.join(str(folder) for folder in folders.values()) or 'no folder at all'}"
            "; name a folder that holds some, or other extensions"
        )
    return Walk(files=sorted(files, key=lambda file: file.name))


def write_source_parquet(walk: Walk, path: Path) -> SkippedFiles:
    """Write the files of a walk as a parquet, some thousand rows in memory at once.

    Returns:
        What was left out.
    """
    skipped = SkippedFiles()
    with pq.ParquetWriter(path, SCHEMA, compression="zstd") as writer:
        rows: list[dict[str, Any]] = []
        for row in _rows(walk.files, skipped):
            rows.append(row)
            if len(rows) == _ROW_GROUP_ROWS:
                writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
                rows.clear()
        if rows:
            writer.write_table(pa.Table.from_pylist(rows, SCHEMA))
    return skipped


def _git_hash(data: bytes) -> str:
    """The hash that git has for a file: of its kind, its size and its bytes."""
    blob = b"blob %d\0" % len(data) + data
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest()


def _rows(files: Sequence[SourceFile], skipped: SkippedFiles) -> Iterator[dict[str, Any]]:
    for file in files:
        data = file.path.read_bytes()
        if not data:
            skipped.empty += 1
            continue
        if len(data) > MAX_FILE_BYTES:
            skipped.too_large += 1
            continue
        try:
            text = data.decode("utf-8")
            file.name.encode("utf-8")
        except UnicodeError:
            skipped.not_utf8 += 1
            continue
        lines = text.split("\n")
        extension = file.path.suffix[1:]
        yield {
            "hexsha": _git_hash(data),
            "size": len(data),
            "ext": extension,
            "lang": _LANGUAGES.get(extension, "C++"),
            "max_stars_repo_path": file.name,
            "content": text,
            "avg_line_length": len(text) / len(lines),
            "max_line_length": max(map(len, lines)),
            "alphanum_fraction": len(_NOT_ALPHANUMERIC.sub("", text)) / len(text),
        }
