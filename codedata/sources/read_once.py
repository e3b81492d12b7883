"""A file that is read once, in order -> its documents as parts, and its record.

So it is with what has no random access, and with rows whose texts lie elsewhere. What is here of
the same file, read in the same way, is kept.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Literal

import pyarrow as pa

from codedata.errors import CorpusError
from codedata.progress import Reporter
from codedata.sources.columns import COLUMN, Columns, kept_columns
from codedata.sources.contents import Content, with_contents
from codedata.sources.formats.registry import format_of, is_random_access
from codedata.sources.formats.rows import BadRows
from codedata.sources.parts import parts_folder, remove_others, stored_texts, write_parts
from codedata.sources.record import PARQUET_NAME, Corpus, is_whole, read_corpus, record_corpus
from codedata.sources.stored_text import is_in, stored_part


@dataclass(frozen=True, kw_only=True)
class FileToRead:
    """A file, wherever it lies.

    Attributes:
        opener: opens it, at its start.
        name: by whose ending its format is known.
        etag: what it is known by: a hash, where there is one.
        num_bytes: its size.
        first_chars: read no more than has so many characters; None is all.
        is_still: whether it is the one that `etag` is of, asked once it was read.
    """

    opener: Callable[[], BinaryIO]
    name: str
    etag: str
    num_bytes: int
    first_chars: int | None = None
    is_still: Callable[[], bool] = lambda: True


@dataclass(frozen=True, kw_only=True)
class HowToRead:
    """What its source says of a file.

    Attributes:
        columns: which column is what.
        content: where the texts are that the rows name; None where the rows have them.
        on_error: what a bad row does.
    """

    columns: Columns
    content: Content | None
    on_error: Literal["refuse", "skip"]


def read_once(
    file: FileToRead, how: HowToRead, folder: Path, origin: dict[str, Any], reporter: Reporter
) -> Corpus:
    """Read a file into parts, and record what it is, unless that was done.

    Args:
        file: which.
        how: what is what in it.
        folder: of the record and the parts.
        origin: where the file came from.
        reporter: told what is done.

    Raises:
        CorpusError: it is no usable file of documents.
        OSError: the system does not give it, or the disk does not take it.
    """
    origin = origin | {"read": [file.etag, how.on_error, file.first_chars]}
    contents = how.content.identity if how.content is not None else None
    parts = parts_folder(folder, file.etag, how.columns, contents)
    with suppress(CorpusError):  # no record, or a damaged one: read again
        known = read_corpus(folder)
        here = known.part.parts if known.part is not None else ()
        is_same = known.origin.items() >= origin.items()
        is_here = known.path == str(parts.absolute()) and bool(here)
        is_here = is_here and all(is_whole(parts / each.name) for each in here)
        is_there = is_in(known, parts) and stored_part(known) is not None
        if is_same and (is_here or is_there):
            reporter.log(f"{file.name} is unchanged: its parts in {known.path} are kept")
            return known
    bad = BadRows(on_error=how.on_error)
    with ExitStack() as opened:
        source, documents = _documents(file, how, bad, parts, reporter, opened)
        part = write_parts(
            documents,
            parts,
            name=file.name,
            identity=file.etag,
            file_bytes=file.num_bytes,
            reporter=reporter,
            first_chars=file.first_chars,
            tell=int if how.content is not None else source.tell,
        )
    if not file.is_still():
        raise CorpusError(
            f"{file.name} changed while it was being read; run again once it is complete"
        )
    if bad.counts:
        origin["skipped"] = dict(bad.counts)
        why = ", ".join(f"{count:,} {reason}" for reason, count in bad.counts.most_common())
        reporter.say(f"{file.name}: rows left out: {why}")
    corpus = record_corpus(folder, parts, origin, part=part, columns=how.columns)
    remove_others(folder, parts, part, reporter)
    return corpus


def _documents(
    file: FileToRead,
    how: HowToRead,
    bad: BadRows,
    parts: Path,
    reporter: Reporter,
    opened: ExitStack,
) -> tuple[BinaryIO, Iterator[pa.RecordBatch]]:
    """A file, and its documents with what is kept of each; it is open as long as `opened`."""
    name, columns = file.name, how.columns
    form = format_of(PARQUET_NAME if is_random_access(name) else name)
    if how.content is None:
        source = opened.enter_context(file.opener())
        return source, form.read(source, name, columns, bad)
    with file.opener() as beginning:
        schema = form.schema(beginning, name)
    kept = [*kept_columns(schema, columns, name)]
    first, *others = dict.fromkeys([*how.content.places(schema, name), *kept])
    named = Columns(text=first, keep=tuple(others))
    source = opened.enter_context(file.opener())
    batches = form.read(source, name, named, bad)
    rows = (batch.rename_columns([first, *others]) for batch in batches)
    texts = with_contents(rows, how.content, bad, reporter, name=name, stored=stored_texts(parts))
    return source, (batch.select([COLUMN, *kept]) for batch in texts)
