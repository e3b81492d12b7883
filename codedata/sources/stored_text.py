"""A corpus under a root in an object store: its text as parts there, read wherever there is work.

    <root>/parts/<etag>/<group>-<sha256>.parquet      a part, as `codedata.sources.record` has it
    <root>/parts/<etag>/text-<sha256>.json            which parts a text has: a `TextPart`
    <root>/state/corpora/<name>/corpus.json           the record

Corpus -> the same, as parts in the store (`store_corpus`); a text is then its address
(`StoredText`).

Invariants: parts and texts are named by what they hold and never replaced, so a run reads on in
those that it began with; the record, which names them, comes last; whatever has a text's identity
under a folder has it here.
"""

import json
import shutil
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from hashlib import sha256
from pathlib import Path

from pydantic import TypeAdapter

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange, Utf8
from codedata.layout import Layout
from codedata.places import is_object_url
from codedata.progress import SILENT, Reporter
from codedata.sources import record
from codedata.sources.columns import Columns
from codedata.sources.documents import Documents
from codedata.sources.formats.registry import format_of
from codedata.sources.formats.rows import BadRows
from codedata.sources.hashed import sha256_once
from codedata.sources.parquet.footer import Parquet
from codedata.sources.parquet.text import ParquetText
from codedata.sources.parts import parts_folder, write_parts
from codedata.sources.recorded_text import KnownText, RecordedText
from codedata.store.cache import cached
from codedata.store.object_store import ObjectStore
from codedata.store.roots import objects_of
from codedata.store.state import put_state, state_name

_AT_ONCE, _MOST_BYTES_AT_ONCE = 8, 128_000_000
"""Parts that are brought or put side by side: some megabytes each, but a row group of somebody's
parquet may be any size, and each is in memory on its way."""


@dataclass(frozen=True, kw_only=True, slots=True)
class StoredText(KnownText):
    """A text of parts in a store, by the URL of what says which; nothing else travels."""

    path: str

    @classmethod
    def of(cls, corpus: record.Corpus) -> "StoredText":
        """The text of a corpus that is in a store."""
        return cls(
            path=corpus.path,
            sha256=corpus.sha256,
            num_chars=corpus.num_chars,
            ends_here=corpus.part is None or corpus.part.ends_here,
            kept_names=tuple(corpus.kept),
        )

    def open(self) -> ParquetText:
        """See `KnownText.open`."""
        return open_stored(self.path)


def text_of(folder: Path, corpus: record.Corpus) -> KnownText:
    """The text of a corpus whose record lies in a folder, to be planned with.

    Raises:
        CorpusError: it is gone, or is another than the one that was recorded.
    """
    if is_object_url(corpus.path):
        return StoredText.of(corpus)
    return RecordedText.of(folder, corpus)


def open_stored(url: str) -> record.LeadingText:
    """The text of parts in a store, by the URL of what says which.

    Raises:
        CorpusError: there is no such text.
    """
    return _OpenedText(url, _read_part(url))


class _OpenedText(record.LeadingText):
    """The text of parts in a store: see `LeadingText`. They come when they are read."""

    def __init__(self, url: str, part: record.TextPart) -> None:
        self._store, _ = _place_of(url)
        self._be(url, part)

    def read_utf8(self, chars: CharRange) -> Utf8:
        """See `ParquetText.read_utf8`; the parts come side by side."""
        self._bring(chars)
        return super().read_utf8(chars)

    def documents(self, chars: CharRange, *, to_end: bool = False) -> Iterator[Documents]:
        """See `ParquetText.documents`; the parts come side by side."""
        self._bring(chars)
        return super().documents(chars, to_end=to_end)

    def _bring(self, chars: CharRange) -> None:
        """Have the parts here that hold a range."""
        starts = self.index.starts()
        first, stop = bisect_right(starts, chars.start) - 1, bisect_left(starts, chars.stop)
        groups = range(first, min(stop, len(self.part.parts)))
        with _threads(self.part.parts[group] for group in groups) as threads:
            for _ in threads.map(self._file_of, groups):
                pass

    def _parquet_of(self, group: int) -> Parquet:
        return Parquet(self._file_of(group))

    def _file_of(self, group: int) -> Path:
        name = self.part.parts[group].name
        return _brought(self._store, name, name[6:].removesuffix(".parquet"))


def stored_part(corpus: record.Corpus | None) -> record.TextPart | None:
    """What a corpus's text in a store consists of; None where it is not there, or not whole.

    Raises:
        StoreError: the store does not say.
    """
    if corpus is None or not is_object_url(corpus.path):
        return None
    try:
        part = _read_part(corpus.path)
    except CorpusError:
        return None
    store, _ = _place_of(corpus.path)
    return part if {each.name for each in part.parts} <= {*store.list()} else None


def _read_part(url: str) -> record.TextPart:
    store, name = _place_of(url)
    path = _brought(store, name, name.removeprefix("text-").removesuffix(".json"))
    return TypeAdapter(record.TextPart).validate_json(path.read_bytes())


def _place_of(url: str) -> tuple[ObjectStore, str]:
    """The folder of parts that a text has, and the name of what says which."""
    folder, _, name = url.rpartition("/")
    return ObjectStore(folder), name


def _brought(store: ObjectStore, name: str, sha256: str) -> Path:
    try:
        return cached(store, name, sha256)
    except FileNotFoundError as error:
        raise CorpusError(
            f"{store.where(name)} is gone; materialize its corpus again, which puts it there anew"
        ) from error


def is_in(corpus: record.Corpus, parts: Path) -> bool:
    """Whether a corpus's text in a store is of parts that lay in a folder, by its name."""
    return is_object_url(corpus.path) and corpus.path.split("/")[-2] == parts.name


def store_corpus(
    layout: Layout, folder: Path, corpus: record.Corpus, reporter: Reporter = SILENT
) -> record.Corpus:
    """Have a corpus in the store of its root; nothing where that is a folder.

    What lay here for that is removed: parts, and a parquet that codedata wrote.

    Args:
        layout: the root.
        folder: of the record.
        corpus: as its source recorded it.
        reporter: told what is done.

    Returns:
        The same text, as parts in the store.

    Raises:
        CorpusError: the parquet cannot be read.
        StoreError: the store does not take it.
    """
    if (store := objects_of(layout)) is None:
        return corpus
    if not is_object_url(corpus.path):
        if corpus.part is None:
            corpus = replace(
                corpus, origin={"path": _named(layout, folder, corpus)} | corpus.origin
            )
        known = _recorded(store, layout, folder)
        corpus = _as_known(corpus, known) or _put(store, folder, corpus, reporter)
    put_state(layout, folder / record.RECORD_NAME, record.dump_corpus(corpus))
    for path in (folder / record.PARTS_NAME, folder / record.PARQUET_NAME):
        with suppress(FileNotFoundError, NotADirectoryError):
            shutil.rmtree(path) if path.is_dir() else path.unlink()
    return corpus


def _recorded(store: ObjectStore, layout: Layout, folder: Path) -> record.Corpus | None:
    """What the store has recorded of a corpus, or of one of its files."""
    with suppress(FileNotFoundError, ValueError):  # none, or a damaged one
        return record.parse_corpus(store.read(state_name(layout, folder / record.RECORD_NAME)))
    return None


def _as_known(corpus: record.Corpus, known: record.Corpus | None) -> record.Corpus | None:
    """A corpus as the store has it already; None where it does not."""
    if known is None or known.sha256 != corpus.sha256 or not is_object_url(known.path):
        return None
    here = _cut_into(Path(), corpus) if corpus.part is None else Path(corpus.path)
    part = stored_part(known) if is_in(known, here) else None
    if part is None or (corpus.part is not None and corpus.part != part):
        return None
    return _stored(corpus, known.path, part)


def _put(
    store: ObjectStore, folder: Path, corpus: record.Corpus, reporter: Reporter
) -> record.Corpus:
    part, here = corpus.part, Path(corpus.path)
    if part is None:
        here = _cut_into(folder, corpus)
        part = _cut(corpus, here, reporter)
    there = store.below(f"{record.PARTS_NAME}/{here.name}")
    names = {*there.list()}
    missing = [each for each in part.parts if each.name not in names]
    with (
        reporter.transfer(there.url, "Storing", "stored") as transfer,
        _threads(missing) as threads,
    ):
        transfer.expect(sum(each.num_bytes for each in missing))

        def put(each: record.Part) -> int:
            there.put(each.name, (here / each.name).read_bytes())
            return each.num_bytes

        for num_bytes in threads.map(put, missing):
            transfer.advance(num_bytes)
    text = json.dumps(asdict(part)).encode()
    name = f"text-{sha256(text).hexdigest()[: record.DIGITS]}.json"
    there.put(name, text)
    return _stored(corpus, there.where(name), part)


def _threads(parts: Iterable[record.Part]) -> ThreadPoolExecutor:
    """Threads by which parts are brought or put, as many as there is memory for."""
    largest = max((part.num_bytes for part in parts), default=1)
    return ThreadPoolExecutor(max(1, min(_AT_ONCE, _MOST_BYTES_AT_ONCE // largest)))


def _cut_into(folder: Path, corpus: record.Corpus) -> Path:
    """Where the parts of a whole parquet are written: never beside those of its row groups."""
    return parts_folder(folder, corpus.file_sha256 or corpus.sha256, _columns_of(corpus), ["cut"])


def _cut(corpus: record.Corpus, parts: Path, reporter: Reporter) -> record.TextPart:
    """Write a whole parquet as parts; its text keeps its identity."""
    path, file_sha256 = Path(corpus.path), corpus.file_sha256 or corpus.sha256
    with open(path, "rb") as opened:
        batches = format_of(record.PARQUET_NAME).read(
            opened, str(path), _columns_of(corpus), BadRows(on_error="refuse")
        )
        part = write_parts(
            batches,
            parts,
            name=path.name,
            identity=file_sha256,
            file_bytes=corpus.num_bytes,
            reporter=reporter,
        )
    if sha256_once(path) != file_sha256:
        raise CorpusError(f"{path} changed while it was being read; run again once it is complete")
    assert part.num_chars == corpus.num_chars, "the same rows, counted twice"
    return replace(part, fingerprint=corpus.sha256, columns=corpus.columns)


def _columns_of(corpus: record.Corpus) -> Columns:
    return Columns(text=corpus.text_column, id=corpus.id_column, keep=tuple(corpus.kept))


def _stored(corpus: record.Corpus, url: str, part: record.TextPart) -> record.Corpus:
    return replace(corpus, path=url, part=replace(part, parts=()))


def _named(layout: Layout, folder: Path, corpus: record.Corpus) -> str:
    """The file that a text is of, for facts: one of its own is named as if it were in the root."""
    parquet = folder / record.PARQUET_NAME
    if corpus.path != str(parquet.absolute()):
        return corpus.path
    return f"{layout.url}/{parquet.relative_to(layout.root).as_posix()}"
