"""Folders of source code -> a parquet with the columns of The Stack.

Files are walked in sorted order, so that the same files give the same rows. Links are not followed.
Left out and counted: files that are empty, over 1 MB (The Stack leaves those out too) or not UTF-8.
Nothing else is: what cannot be listed or read, or changes between walk and reading, is refused by
its path, for a corpus without it would be another one.
"""

import hashlib
import os
import re
import stat
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import CorpusError
from codedata.sources.folder_places import is_folder, refusing_unreadable
from codedata.sources.languages import language_of
from codedata.store.files import open_no_link

MAX_FILE_BYTES = 1_000_000
"""The Stack's own limit: https://huggingface.co/datasets/bigcode/the-stack"""

_ROW_GROUP_ROWS = 1_000
"""As in The Stack's files."""

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
        CorpusError: a folder does not exist, none holds such a file, or one below them cannot be
            listed.
    """
    files: list[SourceFile] = []
    for name, folder in sorted(folders.items()):
        if not is_folder(folder):
            raise CorpusError(
                f"the folder {folder} of the corpus does not exist; name a folder of source files"
            )
        files += (
            SourceFile(
                path=path,
                name=f"{name}/{path.relative_to(folder).as_posix()}",
                num_bytes=found.st_size,
                modified_ns=found.st_mtime_ns,
            )
            for path, found in _files_below(folder, extensions)
        )
    if not files:
        raise CorpusError(
            f"no file ending in {', '.join(extensions)} lies in "
            f"{', '.join(str(folder) for folder in folders.values()) or 'no folder at all'}"
            "; name a folder that holds some, or other extensions"
        )
    return Walk(files=sorted(files, key=lambda file: file.name))


def _files_below(folder: Path, extensions: Sequence[str]) -> Iterator[tuple[Path, os.stat_result]]:
    """The plain files with such an ending, in any order; `os.walk` passes over what it cannot list.

    Raises:
        CorpusError: naming the folder or the file that cannot be looked at.
    """
    waiting = [folder]
    while waiting:
        place = waiting.pop()
        with refusing_unreadable(place), os.scandir(place) as entries:
            for entry in entries:
                path = Path(place, entry.name)
                with refusing_unreadable(path):
                    if entry.is_dir(follow_symlinks=False):
                        waiting.append(path)
                    elif PurePath(entry.name).suffix[1:] in extensions:
                        found = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(found.st_mode):
                            yield path, found


def write_source_parquet(walk: Walk, where: Path | BinaryIO) -> SkippedFiles:
    """Write the files of a walk as a parquet, some thousand rows in memory at once.

    Returns:
        What was left out.

    Raises:
        CorpusError: a file cannot be read, or is not what the walk found.
    """
    skipped = SkippedFiles()
    with pq.ParquetWriter(where, SCHEMA, compression="zstd") as writer:
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


def _read(file: SourceFile) -> bytes | None:
    """The bytes of a file; None, and none of them read, where it is too large.

    Raises:
        CorpusError: it cannot be read, or is no longer what the walk found.
    """
    with refusing_unreadable(file.path), open(file.path, "rb", opener=open_no_link) as opened:
        found = os.fstat(opened.fileno())
        seen = (file.num_bytes, file.modified_ns)
        is_same = stat.S_ISREG(found.st_mode) and (found.st_size, found.st_mtime_ns) == seen
        if is_same and found.st_size > MAX_FILE_BYTES:
            return None
        data = opened.read(MAX_FILE_BYTES + 1) if is_same else b""
    if not is_same or len(data) != found.st_size:
        raise CorpusError(
            f"{file.path} changed while the corpus was written; run again once nothing writes there"
        )
    return data


def _rows(files: Sequence[SourceFile], skipped: SkippedFiles) -> Iterator[dict[str, Any]]:
    for file in files:
        data = _read(file)
        if data is None:
            skipped.too_large += 1
            continue
        if not data:
            skipped.empty += 1
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
            "lang": language_of(extension),
            "max_stars_repo_path": file.name,
            "content": text,
            "avg_line_length": len(text) / len(lines),
            "max_line_length": max(map(len, lines)),
            "alphanum_fraction": len(_NOT_ALPHANUMERIC.sub("", text)) / len(text),
        }
