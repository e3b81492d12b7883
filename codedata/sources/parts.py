"""Batches of documents -> parts: parquets of a few million characters, each named by its hash.

Whatever comes in a row, and cannot be read from its middle, is written as parts once, from which
chunks are then read (`LeadingText`). A row group is in memory at a time.

Invariants: the same documents give the same parts, however they came; a text is known by a hash of
its documents alone, whatever file they were in; a part is there whole under its name, or not at
all, and none counts before the record names it.
"""

import hashlib
import json
import operator
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import CorpusError
from codedata.format.ranges import MAX_CHARACTERS
from codedata.progress import Reporter, megabytes
from codedata.sources import record
from codedata.sources.columns import USUAL, Columns, offsets
from codedata.sources.hashed import sha256_once
from codedata.sources.parquet.decode import count_chars, decode
from codedata.sources.parquet.footer import Parquet, refusing
from codedata.sources.parquet.index import NOTHING, Counts, TextIndex, count_to
from codedata.store.files import name_atomically, remove_leftovers

GROUP_CHARS = 4_000_000
"""Of a part, which is in memory while it is written, and decoded whole later."""

_WRITERS = 4
"""Parts that are compressed, counted and forced to the disk while the next one is read."""

_LEFT_FREE_BYTES = 1_000_000_000
"""Of a disk, or a twentieth of a small one: other programs, and the rest of the run, write too."""


def parts_folder(
    folder: Path, etag: str, columns: Columns, contents: Sequence[str] | None = None
) -> Path:
    """Where the parts of a file are: those of other columns, or of other texts, are elsewhere.

    Args:
        folder: of the file's record.
        etag: what the file is known by.
        columns: which are asked for.
        contents: what decides the texts, where the file has none.
    """
    if columns != USUAL or contents is not None:
        asked = [etag, columns.text, columns.id, columns.keep, contents]
        etag = hashlib.sha256(json.dumps(asked).encode()).hexdigest()
    return folder / record.PARTS_NAME / etag[: record.DIGITS]


def write_parts(
    batches: Iterable[pa.RecordBatch],
    folder: Path,
    *,
    name: str,
    identity: str,
    file_bytes: int,
    reporter: Reporter,
    first_chars: int | None = None,
    tell: Callable[[], int] = int,
) -> record.TextPart:
    """Write documents as parts; one process at a time for each folder.

    What lay in the folder stays, since a record may name it, until `remove_others`.

    Args:
        batches: of the same schema; the first column is `content`, large_string, valid UTF-8.
        folder: where the parts go; it need not exist.
        name: of the file that they are of, for messages.
        identity: what that file is known by, such as its hash.
        file_bytes: its size.
        reporter: told what is done, and how much disk there is for it.
        first_chars: stop behind the part that has so many characters.
        tell: how much of the file was read so far, for the progress; by default nothing.

    Raises:
        CorpusError: there is no text, or the disk is nearly full.
        OSError: the disk does not take it.
    """
    folder.mkdir(parents=True, exist_ok=True)
    remove_leftovers(folder)
    reporter.say(
        f"{name} ({megabytes(file_bytes)}) is read once, and its documents are written to "
        f"{folder}, compressed; {megabytes(shutil.disk_usage(folder).free)} are free there"
    )
    seen, all_here, columns = _Seen(), True, dict[str, str]()
    written: list[Future[record.Part]] = []
    groups = _groups(batches)
    transfer, was_at = reporter.transfer(name, "Reading", "read"), 0
    with transfer, ThreadPoolExecutor(_WRITERS) as threads:
        transfer.expect(file_bytes)
        for number, group in enumerate(groups):
            transfer.advance((is_at := tell()) - was_at)
            was_at = is_at
            if number >= _WRITERS:
                written[-_WRITERS].result()
            _require_disk(folder, name, seen.counts.num_chars)
            write = partial(write_part, folder, number, group.schema, [group], where=name)
            written.append(threads.submit(write))
            columns = {field.name: str(field.type) for field in group.schema}
            seen.add(group.column(0))
            if first_chars is not None and reaches(seen.counts, first_chars):
                all_here = _length(seen.counts) == first_chars and next(groups, None) is None
                break
        parts = tuple(each.result() for each in written)
    if _length(seen.counts) < max(1, num_documents := seen.counts.num_documents):
        raise CorpusError(
            f"{name} holds no text: {num_documents + seen.counts.num_nulls} rows, of which "
            f"{seen.counts.num_nulls} have none and {num_documents} an empty one; name a file with "
            "documents"
        )
    num_chars, ends_here = extent(seen.counts, first_chars, all_here=all_here)
    return record.TextPart(
        fingerprint=seen.fingerprint(),
        num_chars=num_chars,
        ends_here=ends_here,
        etag=identity,
        file_bytes=file_bytes,
        num_groups=len(parts) + (not all_here),  # nobody knows how many there would be
        columns=columns,
        parts=parts,
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


def total(parts: Iterable[record.Part]) -> Counts:
    """What parts hold together."""
    return Counts(*map(sum, zip(*map(_counts, parts), strict=True)))


def reaches(leading: Counts, num_chars: int) -> bool:
    """Whether a text whose first documents these are goes on beyond so many characters.

    One that is of spaces alone so far goes nowhere.
    """
    return leading.num_chars > max(num_chars, leading.num_documents)


def extent(leading: Counts, first_chars: int | None, *, all_here: bool) -> tuple[int, bool]:
    """How many characters of leading documents are used, and whether the text has no more.

    Args:
        leading: the documents.
        first_chars: how many characters are wanted; None for all.
        all_here: whether there are no other documents.
    """
    length = _length(leading)
    if all_here and (first_chars is None or length <= first_chars):
        return length, True
    return first_chars or length, False


def remove_others(
    folder: Path, parts: Path, part: record.TextPart | None, reporter: Reporter
) -> None:
    """Remove the parts of other texts, once the record names these.

    Args:
        folder: of the record.
        parts: the folder of the parts that it names.
        part: what they are; None where others that lie with them save fetching them again.
        reporter: told what goes.
    """
    others = {*parts.parent.iterdir(), *folder.glob("leading.parquet*")} - {parts}
    if part is not None:
        here = {each.name for each in part.parts}
        others |= {path for path in parts.iterdir() if path.name not in here}
    for other in sorted(others):
        reporter.say(f"{other} is removed: the text is in {parts}")
        _remove(other)


def _remove(path: Path) -> None:
    shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()


def _counts(part: record.Part) -> Counts:
    return Counts(part.num_chars, part.num_documents, part.num_nulls)


def _length(counts: Counts) -> int:
    """Characters of the text, which has no space after its last document."""
    return counts.num_chars - 1


def _require_disk(folder: Path, name: str, num_chars: int) -> None:
    disk = shutil.disk_usage(folder)
    if disk.free < min(_LEFT_FREE_BYTES, disk.total // 20):
        raise CorpusError(
            f"{folder} has only {megabytes(disk.free)} free after {num_chars:,} characters of "
            f"{name}, and there are more; make room, put CODEDATA_ROOT on another disk, or set "
            "first_chars"
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


class _Seen:
    """What is known of documents that have passed, however they were cut into batches."""

    def __init__(self) -> None:
        self.counts = NOTHING
        self._lengths, self._texts = hashlib.sha256(), hashlib.sha256()

    def add(self, contents: pa.LargeStringArray) -> None:
        """Some more of them."""
        num_chars, num_nulls = count_chars(contents), contents.null_count
        chars = int(num_chars.sum()) + len(contents)  # which is -1 for a null
        here = Counts(chars, len(contents) - num_nulls, num_nulls)
        self.counts = Counts(*map(operator.add, self.counts, here))
        self._lengths.update(num_chars.tobytes())
        texts = contents.drop_null()
        places = offsets(texts)
        if data := texts.buffers()[2]:
            self._texts.update(memoryview(data)[places[0] : places[-1]])

    def fingerprint(self) -> str:
        """A sha256 over the documents and nulls, and where each ends."""
        return hashlib.sha256(self._lengths.digest() + self._texts.digest()).hexdigest()


def stored_texts(folder: Path) -> Iterator[pa.LargeStringArray]:
    """The documents and nulls that an interrupted run has written, to go on behind them.

    They are those of its leading parts. What else lies in the folder is removed: parts follow each
    other only as one run wrote them.

    Args:
        folder: of parts of the same text; it need not exist.
    """
    found = sorted(folder.iterdir()) if folder.exists() else []
    numbers, leading = Counter(path.name[:5] for path in found), list[Path]()
    for path in found:
        number = f"{len(leading):05d}"
        if path.name[:5] == number and numbers[number] == 1 and record.is_whole(path):
            leading.append(path)
    for path in {*found} - {*leading}:
        _remove(path)
    parquets = [Parquet(path) for path in leading]
    return (
        batch.contents for parquet in parquets for batch in decode(parquet, parquet.footer.groups)
    )
