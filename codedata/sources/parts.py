"""Batches of documents -> parts: parquets of a few million characters, each named by its hash.

Whatever comes in a row, and cannot be read from its middle, is written as parts once, from which
chunks are then read (`LeadingText`). A row group is in memory at a time.

Invariants: the same documents give the same parts, however they came; a text is known by a hash of
its documents alone, whatever file they were in; a part is there whole under its name, or not at
all, and none counts before the record names it.
"""

import hashlib
import shutil
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import CorpusError
from codedata.format.ranges import MAX_CHARACTERS
from codedata.progress import Reporter, megabytes
from codedata.sources import record
from codedata.sources.columns import offsets
from codedata.sources.parquet.decode import count_chars
from codedata.sources.parquet.footer import Parquet, refusing
from codedata.sources.parquet.index import TextIndex, count_to
from codedata.sources.parquet.text import sha256_once
from codedata.store.files import name_atomically, remove_leftovers

GROUP_CHARS = 4_000_000
"""Of a part, which is in memory while it is written, and decoded whole later."""

_LEFT_FREE_BYTES = 1_000_000_000
"""Of a disk, or a twentieth of a small one: other programs, and the rest of the run, write too."""


def write_parts(
    batches: Iterable[pa.RecordBatch],
    folder: Path,
    *,
    name: str,
    identity: Callable[[], str],
    file_bytes: int,
    reporter: Reporter,
    first_chars: int | None = None,
) -> record.TextPart:
    """Write documents as parts; one process at a time for each folder.

    What lay in the folder stays, since a record may name it, until `remove_others`.

    Args:
        batches: of the same schema; the first column is `content`, large_string, valid UTF-8.
        folder: where the parts go; it need not exist.
        name: of the file that they are of, for messages.
        identity: tells what that file is known by, such as its hash, once it was read as far as is
            needed.
        file_bytes: its size.
        reporter: told what is done, and how much disk there is for it.
        first_chars: stop behind the part that has so many characters.

    Raises:
        CorpusError: there is no text, or the disk is nearly full.
        OSError: the disk does not take it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    reporter.say(
        f"{name} ({megabytes(file_bytes)}) has no random access: it is written to {folder} once, "
        f"compressed; {megabytes(shutil.disk_usage(folder).free)} are free there"
    )
    parts, digest, all_here = list[record.Part](), _Digest(), True
    columns: dict[str, str] = {}
    with reporter.step(f"Reading {name}"):
        groups = _groups(batches)
        for group in groups:
            _require_disk(folder, name, parts)
            parts.append(write_part(folder, len(parts), group.schema, [group], where=name))
            digest.update(group.column(0))
            columns = {field.name: str(field.type) for field in group.schema}
            if first_chars is not None and reaches(parts, first_chars):
                all_here = _length(parts) == first_chars and next(groups, None) is None
                break
    num_rows = sum(part.num_documents + part.num_nulls for part in parts)
    if not _length(parts) >= sum(part.num_documents for part in parts) > 0:
        raise CorpusError(
            f"{name} holds no text: {num_rows} rows, of which {sum(p.num_nulls for p in parts)} "
            "have none, and the others an empty one; name a file with documents"
        )
    num_chars, ends_here = extent(parts, first_chars, all_here=all_here)
    return record.TextPart(
        fingerprint=digest.hexdigest(),
        num_chars=num_chars,
        ends_here=ends_here,
        etag=identity(),
        file_bytes=file_bytes,
        num_groups=len(parts) + (not all_here),  # nobody knows how many there would be
        columns=columns,
        parts=tuple(parts),
    )


def write_part(
    folder: Path, group: int, schema: pa.Schema, batches: Iterable[pa.RecordBatch], *, where: str
) -> record.Part:
    """Write a row group as a part, which counts once it was decoded.

    Args:
        folder: where.
        group: its number.
        schema: of the batches.
        batches: its rows; what they raise leaves nothing behind.
        where: what it is of, for messages.

    Raises:
        CorpusError: its columns are none that a parquet has, or what was written cannot be read.
    """
    found: list[record.Part] = []

    def write(out: BinaryIO) -> None:
        options = {"compression": "zstd", "write_statistics": False}
        with refusing(f"{where} has a column that no parquet has", "leave it out of keep_columns"):
            writer = pq.ParquetWriter(out, schema, **options)
        with writer:
            for batch in batches:
                writer.write_batch(batch)

    def name(written: Path) -> str:
        found.append(count_part(written, group, where))  # which refuses what is damaged
        return found[-1].name

    name_atomically(folder, write, name)
    return found[-1]


def count_part(path: Path, group: int, where: str) -> record.Part:
    """What a part holds, decoded for that.

    Raises:
        CorpusError: it is damaged, or has a document that is refused.
    """
    index = TextIndex()
    try:
        count_to(Parquet(path), index, MAX_CHARACTERS)
    except CorpusError as error:
        raise CorpusError(f"row group {group} of {where}: {error}") from error
    name, num_bytes = record.part_name(group, sha256_once(path)), path.stat().st_size
    return record.Part(name=name, num_bytes=num_bytes, **index.total()._asdict())


def reaches(parts: Sequence[record.Part], num_chars: int) -> bool:
    """Whether the text of parts goes on beyond so many characters, and is not of spaces alone."""
    num_documents = sum(part.num_documents for part in parts)
    return _length(parts) >= max(num_chars, num_documents)


def extent(
    parts: Sequence[record.Part], first_chars: int | None, *, all_here: bool
) -> tuple[int, bool]:
    """How many characters of parts are used, and whether the text has no more than those.

    Args:
        parts: leading ones.
        first_chars: how many are wanted; None for all.
        all_here: whether there are no other parts.
    """
    length = _length(parts)
    if all_here and (first_chars is None or length <= first_chars):
        return length, True
    return first_chars or length, False


def remove_others(folder: Path, parts: Path, part: record.TextPart, reporter: Reporter) -> None:
    """Remove the parts of other texts, once the record names these.

    Args:
        folder: of the record.
        parts: the folder of the parts that it names.
        part: what they are.
        reporter: told what goes.
    """
    here = {each.name for each in part.parts}
    others = {*parts.parent.iterdir(), *folder.glob("leading.parquet*")} - {parts}
    for other in sorted(others | {path for path in parts.iterdir() if path.name not in here}):
        reporter.say(f"{other} is removed: the text is in {parts}")
        shutil.rmtree(other) if other.is_dir() else other.unlink()


def _length(parts: Sequence[record.Part]) -> int:
    """Characters of the text of parts, without the space after the last document."""
    return sum(part.num_chars for part in parts) - 1


def _require_disk(folder: Path, name: str, parts: Sequence[record.Part]) -> None:
    disk = shutil.disk_usage(folder)
    if disk.free < min(_LEFT_FREE_BYTES, disk.total // 20):
        raise CorpusError(
            f"{folder} has only {megabytes(disk.free)} free, and {name} is not read to its end: "
            f"{_length(parts) + 1:,} characters took {megabytes(sum(p.num_bytes for p in parts))}; "
            "make room, put CODEDATA_ROOT on another disk, or set first_chars"
        )


def _groups(batches: Iterable[pa.RecordBatch]) -> Iterator[pa.RecordBatch]:
    """The rows of a part each: up to the first document with which there are enough characters.

    A row counts as one character at least, and with the bytes of its kept columns.
    """
    held, size = list[pa.RecordBatch](), 0
    for each in batches:
        batch = each
        while len(batch):
            sizes = np.maximum(count_chars(batch.column(0)) + 1, 1)
            sizes += (batch.nbytes - batch.column(0).nbytes) // len(batch)
            reached = np.cumsum(sizes) + size
            stop = int(np.searchsorted(reached, GROUP_CHARS)) + 1
            held.append(batch.slice(0, stop))
            size = int(reached[min(stop, len(batch)) - 1])
            if stop <= len(batch):
                yield pa.concat_batches(held)
                held, size = [], 0
            batch = batch.slice(stop)
    if held:
        yield pa.concat_batches(held)


class _Digest:
    """A hash over documents, wherever they are cut into batches."""

    def __init__(self) -> None:
        self._lengths, self._texts = hashlib.sha256(), hashlib.sha256()

    def update(self, contents: pa.LargeStringArray) -> None:
        """Go on with some documents and nulls."""
        self._lengths.update(count_chars(contents).tobytes())
        texts = contents.drop_null()
        places = offsets(texts)
        if data := texts.buffers()[2]:
            self._texts.update(memoryview(data)[places[0] : places[-1]])

    def hexdigest(self) -> str:
        return hashlib.sha256(self._lengths.digest() + self._texts.digest()).hexdigest()
