"""What is published under a name -> its meta, and its shards as arrays when they are asked for.

All files are of one snapshot; where a run replaces the dataset meanwhile, reading starts again with
the new one. Only `dump-meta_data.json`, the shards and sidecars it names, codedata.yaml and
README.md are read, and nothing is unpickled. What says which documents a shard has is hashed
whenever it is read: when somebody asks, or all is verified.
"""

import hashlib
import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from functools import cached_property, partial
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.card import CARD_NAME, own_digest
from codedata.format.documents import Spans, text_tokens
from codedata.format.facts import FACTS_NAME, MAX_FACTS_BYTES, Facts, parse_facts
from codedata.format.meta import (
    MAX_META_BYTES,
    META_NAME,
    ShardEntry,
    documents_name,
    dump_meta,
    parse_meta,
    shard_name,
    spans_name,
)
from codedata.format.old_cards import parse_old_card
from codedata.parallel import available_cores, map_in_order
from codedata.store.base import Snapshot
from codedata.store.file_sizes import require_files
from codedata.store.shard_contents import read_documents
from codedata.store.shard_files import Each, ShardFiles, with_enough_files
from codedata.store.snapshot import NAME_IT, FolderSnapshot

if TYPE_CHECKING:
    from codedata.store.streamed import Stream

_MOST_THREADS = 16
"""Shards checked side by side; a few threads already read as fast as memory does."""

_WORTH_THREADS = 1 << 20
"""Tokens from which on threads are started: a millisecond of checking."""

_HASHED_SAMPLES = 1024
"""Samples copied at a time for a hash."""

_ATTEMPTS = 1000
"""A reader that finds the folder replaced this often in a row reports it."""


@dataclass(frozen=True, kw_only=True)
class Dataset:
    """An opened dataset.

    Attributes:
        folder: its path, or what its store calls its place.
        digest: sha256 of the meta's bytes, which names the dataset's content.
        entries: what the meta says of each shard.
        files: its shards, mapped and checked when they are asked for.
        texts: the bytes of codedata.yaml and of README.md; None for one that cannot be read.
        url: of the version that the folder is a copy of, or that is streamed; None of any other
            folder.
        stream: what is streamed, in place of a folder.
    """

    folder: Path
    digest: str
    entries: tuple[ShardEntry, ...]
    files: ShardFiles = field(repr=False)
    texts: tuple[bytes | None, bytes | None] = field(default=(None, None), repr=False)
    url: str | None = None
    stream: "Stream | None" = field(default=None, repr=False)

    @property
    def shards(self) -> Sequence[NDArray[Any]]:
        """For each shard the ids, uint16 or int32, shape (num_samples, seq_length), read-only.

        Views of the mapped files, or decoded arrays where `pickle.dump` wrote them; in memory where
        the filesystem maps no files. Each is checked when it is first asked for.
        """
        return Each(self.num_shards, self.files.ids)

    @property
    def spans(self) -> Sequence[Spans]:
        """For each shard where documents lie in it, shape (num_spans, 6): see `Spans`.

        None of a dataset without documents.
        """
        return Each(self.num_shards if self.has_documents else 0, self.files.spans)

    @property
    def has_documents(self) -> bool:
        """Whether it says where documents lie in its samples."""
        return self.entries[0].has_documents

    @property
    def where(self) -> str:
        """Where it was read from, for people."""
        return self.url or str(self.folder)

    @property
    def place(self) -> str:
        """Where its files are: a folder of this machine, or the URL of what is streamed."""
        return self.where if self.stream else str(self.folder)

    @property
    def seq_length(self) -> int:
        """Tokens a sample."""
        return self.entries[0].seq_length

    @property
    def num_shards(self) -> int:
        """Shards that the meta names."""
        return len(self.entries)

    @property
    def num_samples(self) -> int:
        """Samples of all shards."""
        return sum(entry.num_samples for entry in self.entries)

    @property
    def num_tokens(self) -> int:
        """Tokens of all samples, padding included."""
        return sum(entry.num_tokens for entry in self.entries)

    @cached_property
    def content_digest(self) -> str:
        """The digest where the meta has the sha256 of every shard; else one of the ids as well.

        The meta of the old script has counts only, which other ids may have too. Its ids are read
        once, for the sha256 of JSON `[digest, sha256 of the ids as little-endian int32]`.
        """
        if all(entry.sha256 for entry in self.entries):
            return self.digest
        of_ids = hashlib.sha256()
        for ids in self.shards:
            for start in range(0, len(ids), _HASHED_SAMPLES):
                block = ids[start : start + _HASHED_SAMPLES]
                of_ids.update(np.ascontiguousarray(block, "<i4").data)
        return hashlib.sha256(json.dumps([self.digest, of_ids.hexdigest()]).encode()).hexdigest()

    @cached_property
    def facts(self) -> Facts | None:
        """What the dataset was made of; None where the folder does not say so of this dataset.

        Samples are read without any facts, so what is wrong with them is no error here.
        """
        try:
            return self.checked_facts()
        except DatasetError:
            return None

    def checked_facts(self) -> Facts | None:
        """What the dataset was made of; None where nothing says so.

        Raises:
            DatasetError: what stands there is not as it was written, or is another dataset's.
        """
        return parse_texts(str(self.folder), *self.texts, self.digest)

    def chunks(self) -> list[list[int]]:
        """The numbers of each chunk's shards; where nothing says which those are, each shard's own.

        Documents are numbered within their chunk.
        """
        chars = [entry.chars for entry in self.entries]
        shards = groupby(range(self.num_shards), lambda index: chars[index] or index)
        return [[*of_chunk] for _, of_chunk in shards]

    @property
    def num_padding(self) -> int | None:
        """Tokens that only fill up samples; None where the meta does not say."""
        padding = [entry.num_padding for entry in self.entries]
        return None if None in padding else sum(filter(None, padding))

    def padded_samples(self) -> dict[int, int]:
        """Rows of the samples that are padded, each with how many of its tokens are the text's.

        Raises:
            DatasetError: the meta does not say; it is of the old script, or an older codedata.
        """
        padded: dict[int, int] = {}
        last: list[int] = [] if self.has_documents else self.last_sample_tokens().tolist()
        row = 0
        for index, entry in enumerate(self.entries):
            if self.has_documents:
                counts = text_tokens(self.spans[index], entry.num_samples)
                rows = np.flatnonzero(counts < entry.seq_length)
                padded |= zip((row + rows).tolist(), counts[rows].tolist(), strict=True)
            elif last[index] < entry.seq_length:
                padded[row + entry.num_samples - 1] = last[index]
            row += entry.num_samples
        return padded

    def last_sample_tokens(self) -> NDArray[np.int32]:
        """For each shard how many tokens of its last sample are the text's, shape (num_shards,).

        Of a dataset without documents no other sample is padded.

        Raises:
            DatasetError: the meta does not say; it is of the old script, or an older codedata.
        """
        last = [entry.last_sample_tokens for entry in self.entries]
        if None in last:
            raise DatasetError(
                f"{self.place}/{META_NAME} does not say how many tokens of "
                f"{shard_name(last.index(None))}'s last sample are padding (last_sample_tokens), "
                "and by its id padding cannot be told from text; make the dataset again to mask "
                "it, with the same switches"
            )
        return np.array(last, np.int32)

    def check_unhashed(self) -> None:
        """Decode the shards of which no hash says that they are right: those of the old script.

        Raises:
            DatasetError: one is damaged, or no shard.
        """
        for index, entry in enumerate(self.entries):
            if entry.sha256 is None:
                self.files.ids(index)

    def documents(self, index: int) -> Any:
        """The documents that shard `index` has spans of, and in a chunk's first those of no shard.

        Returns:
            An Arrow table, see `DOCUMENT_SCHEMA`: a row a document, in the order of their numbers.

        Raises:
            DatasetError: the dataset has none, or was replaced or damaged since it was opened.
        """
        index = range(self.num_shards)[index]
        if not self.has_documents:
            raise DatasetError(
                f"{self.folder} does not say which documents it has: it was made without a recipe"
            )
        return self.files.documents(index)


def open_dataset(folder: Path, *, verify: bool = False) -> Dataset:
    """Open a dataset folder; see `open_snapshot`.

    Args:
        folder: as `tokenize_data` or the old script wrote it.
        verify: recompute every hash, too.
    """
    return with_enough_files(
        str(folder), lambda: open_snapshot(lambda: FolderSnapshot(folder), verify=verify)
    )


def open_snapshot(
    take: Callable[[], AbstractContextManager[Snapshot]], *, verify: bool = False
) -> Dataset:
    """Open what is published under a name, all files of one moment.

    Args:
        take: gives the newest snapshot of what is published.
        verify: also recompute every hash that the meta states, and refuse meta, facts or a card
            that are not byte for byte as this package wrote them (so a dataset of the old script,
            which states no hashes, does not verify; one without facts and card does).

    Raises:
        DatasetError: the dataset, its meta or a shard is missing, damaged or of another shape.
    """
    where = ""
    for _ in range(_ATTEMPTS):
        with take() as snapshot:
            where = snapshot.where
            try:
                return read_dataset(snapshot, verify=verify)
            except FileNotFoundError as error:
                if snapshot.is_current():
                    raise DatasetError(_missing(where, str(error.filename))) from error
    raise DatasetError(
        f"{where} was replaced {_ATTEMPTS} times while it was being opened; try again later"
    )


def read_dataset(snapshot: Snapshot, *, verify: bool) -> Dataset:
    """The dataset of a snapshot; see `open_snapshot`.

    Raises:
        FileNotFoundError: the meta, or a file that it names, is not there.
    """
    where = f"{snapshot.where}/{META_NAME}"
    meta = snapshot.read(META_NAME, 0, MAX_META_BYTES + 1)
    entries = parse_meta(meta, where)
    if verify and dump_meta(entries) != meta:
        raise DatasetError(
            f"{where} is not as it was written: this package writes each entry with its hashes, in "
            "order; a dataset of the old script has none to verify; make the dataset again to have "
            "them"
        )
    digest = hashlib.sha256(meta).hexdigest()
    facts, card = (_read_text(snapshot, each, verify=verify) for each in (FACTS_NAME, CARD_NAME))
    if verify and (facts, card) != (None, None):
        _require_own(snapshot.where, facts, card, digest)
    require_files(snapshot, entries)
    files = ShardFiles(snapshot.keep(), entries, digest)
    files.hold()
    if verify:
        _verify_shards(files, snapshot, entries)
    return Dataset(
        folder=Path(snapshot.where),
        digest=digest,
        entries=tuple(entries),
        files=files,
        texts=(facts, card),
    )


def _missing(where: str, name: str) -> str:
    if name == META_NAME:
        return f"{where} holds no {META_NAME}, the mark of a whole dataset; {NAME_IT}"
    return f"{where} lacks {name}, which its meta names; make the dataset again"


def read_facts(folder: Path) -> Facts | None:
    """What a dataset was made of; None where nothing says so, as of one of the old script.

    Args:
        folder: of the dataset.

    Raises:
        DatasetError: it is no dataset folder, or what stands there is not as it was written, or is
            another dataset's.
    """
    with FolderSnapshot(folder) as snapshot:
        try:
            digest = hashlib.sha256(snapshot.read(META_NAME)).hexdigest()
        except FileNotFoundError as error:
            raise DatasetError(_missing(snapshot.where, META_NAME)) from error
        facts = _read_text(snapshot, FACTS_NAME, verify=True)
        card = _read_text(snapshot, CARD_NAME, verify=True) if facts is None else None
    return parse_texts(snapshot.where, facts, card, digest)


def parse_texts(where: str, facts: bytes | None, card: bytes | None, digest: str) -> Facts | None:
    """What facts say, with or without their card, or what a card of before the facts does.

    Args:
        where: of the dataset, for messages.
        facts: the bytes of codedata.yaml; None where there is none.
        card: the bytes of README.md, likewise.
        digest: of the dataset.

    Raises:
        DatasetError: they are not as they were written, or are another dataset's.
    """
    if facts is None and card is None:
        return None
    name = _require_own(where, facts, card if facts is None else None, digest)
    try:
        return parse_facts(facts) if facts is not None else parse_old_card(card or b"")
    except ValueError as error:
        raise DatasetError(f"{where}/{name} {error}; make the dataset again") from error


def _require_own(where: str, facts: bytes | None, card: bytes | None, digest: str) -> str:
    """Refuse facts or a card that were changed, or that are another dataset's; the facts' name."""
    name, named = own_digest(facts, card)
    if named == digest:
        return name
    wrong = (
        "is not as it was written"
        if named is None
        else f"is of another dataset (digest {named}, not {digest})"
    )
    raise DatasetError(f"{where}/{name} {wrong}; move it elsewhere, or make the dataset again")


def _read_text(snapshot: Snapshot, name: str, *, verify: bool) -> bytes | None:
    """The bytes of facts or of a card, no more than they may have and one; None where none are."""
    try:
        return snapshot.read(name, 0, MAX_FACTS_BYTES + 1)
    except FileNotFoundError:
        return None
    except DatasetError:  # a link, say: samples are read without any
        if verify:
            raise
        return None


def _verify_shards(files: ShardFiles, snapshot: Snapshot, entries: Sequence[ShardEntry]) -> None:
    """Check every shard and what lies beside it, side by side where that is worth the threads."""
    verify, numbers = partial(_verify_one, files, snapshot, entries), range(len(entries))
    if len(entries) == 1 or sum(entry.num_tokens for entry in entries) < _WORTH_THREADS:
        for index in numbers:
            verify(index)
        return
    with ThreadPoolExecutor(min(available_cores(), len(entries), _MOST_THREADS)) as threads:
        for _ in map_in_order(threads, verify, numbers):
            pass


def _verify_one(
    files: ShardFiles, snapshot: Snapshot, entries: Sequence[ShardEntry], index: int
) -> None:
    entry = entries[index]
    if entry.sha256 is None:
        raise DatasetError(
            f"{snapshot.where}/{shard_name(index)} has no sha256 in its meta; make the dataset "
            "again to have it verified"
        )
    if (spans := files.verify(index)) is None:
        return
    known = read_documents(snapshot, index, entry).column("document").to_numpy()
    if (unknown := np.setdiff1d(spans[:, 3], known)).size:
        raise DatasetError(
            f"{snapshot.where}/{documents_name(index)} lacks document {unknown[0]}, of which "
            f"{spans_name(index)} has a span; make the dataset again"
        )
