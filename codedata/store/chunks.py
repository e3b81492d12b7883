# pyright: standard
# (pyarrow has no types)
"""Token chunks where they are kept: one Arrow file a chunk, its fingerprint inside.

Ids (num_tokens,), or documents, -> a file, and back as views of it. A chunk appears under its name
only when it is whole, and one of another fingerprint is as good as missing. In a folder of this
machine the name is the range, `<start>-<stop>.arrow`, a later chunk of the range takes its place,
and what a stranger wrote or may write is refused. In an object store the name has all that is known
of the chunk, so that a listing says what there is, nothing is ever replaced by other bytes, and a
chunk that is made twice is the same object. Where it came out otherwise the second time, the one
that was written last counts.
"""

import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any, Protocol, TypeVar
from urllib.parse import quote, unquote

from codedata.errors import ChunkMismatchError, UntrustedError
from codedata.format.documents import ChunkDocuments
from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.packing import IdArray
from codedata.format.ranges import CharRange
from codedata.format.token_chunks import (
    UNREADABLE,
    count_tokens,
    documents_of,
    ids_of,
    open_chunk,
    sha256_of_documents,
    sha256_of_ids,
    write_documents,
    write_ids,
)
from codedata.store.local import LocalStore
from codedata.store.object_store import Found, ObjectStore, last_written

_Content = TypeVar("_Content", IdArray, ChunkDocuments)

_LISTINGS_AT_ONCE = 16
"""Each waits for its server most of the time; of 10,000 files there are a hundred."""

_FILES_A_LISTING = 100
"""Files whose numbers begin alike are listed together: some thousands of names."""


@dataclass(frozen=True, kw_only=True)
class TokenChunk:
    """A chunk that is stored.

    Attributes:
        fingerprint: what its ids depend on.
        num_tokens: how many they are.
        ids_sha256: of their bytes, little-endian; with documents, of all that it holds.
        engine: the engine that made them.
        compared_bytes: bytes of the text that the tokenizers library then tokenized again, and
            found to give the same ids.
        seconds: that it took; 0 where that is not kept.
        bounds: the smallest and the largest id, where its store says so without reading it.
        num_samples: that best fit makes of its documents; None where num_tokens and the switches
            say how many there are.
        store: where it is.
    """

    fingerprint: ChunkFingerprint
    num_tokens: int
    ids_sha256: str
    engine: str
    compared_bytes: int
    seconds: float = 0.0
    bounds: tuple[int, int] | None = field(default=None, compare=False)
    num_samples: int | None = None
    store: "ChunkStore" = field(compare=False, repr=False)

    @property
    def chars(self) -> CharRange:
        """The characters that the chunk covers."""
        return self.fingerprint.chars

    @property
    def where(self) -> str:
        """Its place, for messages."""
        return self.store.where(self.chars)

    def read_ids(self) -> IdArray:
        """The ids, with documents those of all pieces: see `ChunkStore.read`."""
        return self.read_documents().ids if _is_of_documents(self) else self.store.read(self)

    def read_documents(self) -> ChunkDocuments:
        """The documents: see `ChunkStore.read_documents`."""
        return self.store.read_documents(self)


class ChunkStore(Protocol):
    """Where chunks of a split are kept; picklable, and equal for the chunks that lie together."""

    def where(self, chars: CharRange) -> str:
        """The place of a range's chunk, for messages."""
        ...

    def find(self, fingerprints: Sequence[ChunkFingerprint]) -> list[TokenChunk]:
        """The chunks that are stored with exactly these fingerprints, in their order.

        Raises:
            UntrustedError: a stranger wrote one, or may.
        """
        ...

    def put(self, fingerprint: ChunkFingerprint, ids: IdArray, **record: Any) -> TokenChunk:
        """Store a chunk's ids durably.

        Args:
            fingerprint: of the chunk.
            ids: shape (num_tokens,), uint16 or int32.
            record: `engine`, `compared_bytes` and `seconds` of the `TokenChunk`.
        """
        ...

    def put_documents(
        self, fingerprint: ChunkFingerprint, documents: ChunkDocuments, **record: Any
    ) -> TokenChunk:
        """Store a chunk's documents durably.

        Args:
            fingerprint: of the chunk.
            documents: what they were made to.
            record: as of `put`, and `num_samples`.
        """
        ...

    def read(self, chunk: TokenChunk) -> IdArray:
        """The ids, shape (num_tokens,), uint16 or int32, a read-only view of what is stored.

        Raises:
            ChunkMismatchError: what is stored is gone, damaged, or was replaced meanwhile.
            UntrustedError: a stranger wrote it, or may.
        """
        ...

    def read_documents(self, chunk: TokenChunk) -> ChunkDocuments:
        """The documents, their ids a read-only view of what is stored; raises as `read` does."""
        ...


class _Chunks(ABC):
    """What chunks of text and chunks of documents have in common, wherever they are kept."""

    def put(self, fingerprint: ChunkFingerprint, ids: IdArray, **record: Any) -> TokenChunk:
        """See `ChunkStore.put`."""
        record = {"ids_sha256": sha256_of_ids(ids), **record}
        return self._put(fingerprint, ids, record, partial(write_ids, ids=ids))

    def put_documents(
        self, fingerprint: ChunkFingerprint, documents: ChunkDocuments, **record: Any
    ) -> TokenChunk:
        """See `ChunkStore.put_documents`."""
        hashed = sha256_of_documents(documents, record.get("num_samples"))
        record = {"ids_sha256": hashed, **record}
        write = partial(write_documents, documents=documents)
        return self._put(fingerprint, documents.ids, record, write)

    def read(self, chunk: TokenChunk) -> IdArray:
        """See `ChunkStore.read`."""
        return self._read(chunk, ids_of, sha256_of_ids)

    def read_documents(self, chunk: TokenChunk) -> ChunkDocuments:
        """See `ChunkStore.read_documents`."""
        hashed = partial(sha256_of_documents, num_samples=chunk.num_samples)
        return self._read(chunk, documents_of, hashed)

    @abstractmethod
    def _put(
        self,
        fingerprint: ChunkFingerprint,
        ids: IdArray,
        record: dict[str, Any],
        write: Callable[..., None],
    ) -> TokenChunk:
        """Store what `write` writes into a file, given `record`."""

    @abstractmethod
    def _read(
        self,
        chunk: TokenChunk,
        parse: Callable[[Any], _Content],
        hashed: Callable[[_Content], str],
    ) -> _Content:
        """What a stored chunk's batch is parsed to, if it has the chunk's hash."""


@dataclass(frozen=True)
class LocalChunks(_Chunks):
    """Chunks in a folder of this machine, those of one file of a corpus.

    Attributes:
        folder: the folder, which need not exist yet.
        shared: the folder whose group may share files (`why_not_trusted`); None where none may.
    """

    folder: Path
    shared: Path | None = None

    def where(self, chars: CharRange) -> str:
        """The path of a range's file."""
        return str(self.folder / _file_name(chars))

    def find(self, fingerprints: Sequence[ChunkFingerprint]) -> list[TokenChunk]:
        """See `ChunkStore.find`; each file that is there is opened."""
        names = {*os.listdir(self.folder)} if self.folder.is_dir() else set[str]()
        there = (each for each in fingerprints if _file_name(each.chars) in names)
        return [chunk for each in there if (chunk := self._found(each)) is not None]

    def _put(
        self,
        fingerprint: ChunkFingerprint,
        ids: IdArray,
        record: dict[str, Any],
        write: Callable[..., None],
    ) -> TokenChunk:
        """See `_Chunks._put`; one of the same range is replaced."""
        chunk = TokenChunk(fingerprint=fingerprint, num_tokens=len(ids), store=self, **record)
        stored = {"fingerprint": fingerprint.as_dict(), **record}
        LocalStore(self.folder, self.shared).put(
            _file_name(fingerprint.chars), partial(write, record=stored)
        )
        return chunk

    def _read(
        self,
        chunk: TokenChunk,
        parse: Callable[[Any], _Content],
        hashed: Callable[[_Content], str],
    ) -> _Content:
        try:
            stored, batch = self._open(chunk.chars)
            content = parse(batch)
        except UntrustedError:
            raise
        except UNREADABLE as error:
            raise ChunkMismatchError(f"chunk {chunk.where} cannot be read: {error}") from error
        if stored != chunk or hashed(content) != chunk.ids_sha256:
            raise _damaged(chunk.where)
        return content

    def _found(self, fingerprint: ChunkFingerprint) -> TokenChunk | None:
        try:
            chunk, _ = self._open(fingerprint.chars)
        except UntrustedError:
            raise
        except UNREADABLE:
            return None
        return chunk if chunk.fingerprint == fingerprint else None

    def _open(self, chars: CharRange) -> tuple[TokenChunk, Any]:
        """What a file says that it is, and its batch."""
        record, batch = open_chunk(LocalStore(self.folder, self.shared).map(_file_name(chars)))
        fingerprint = ChunkFingerprint.from_dict(record.pop("fingerprint"))
        num_tokens = count_tokens(batch, documents=fingerprint.recipe_sha256 is not None)
        chunk = TokenChunk(fingerprint=fingerprint, num_tokens=num_tokens, store=self, **record)
        return chunk, batch


@dataclass(frozen=True)
class ObjectChunks(_Chunks):
    """Chunks of a split in an object store.

    A chunk is the object `<file>/<start>-<stop>.<fingerprint>.<num_tokens>.<sha256 of the ids>.
    <engine>.<compared bytes>.<smallest id>-<largest id>.arrow`; the fingerprint is its digest. Of
    documents that best fit packs the counts are `<num_tokens>-<num_samples>`.
    """

    store: ObjectStore

    def where(self, chars: CharRange) -> str:
        """What the URLs of a range's chunks begin with."""
        return self.store.where(f"{_folder_name(chars)}/{chars.key}")

    def find(self, fingerprints: Sequence[ChunkFingerprint]) -> list[TokenChunk]:
        """See `ChunkStore.find`; a request for each thousand chunks of their files."""
        wanted = {_begin(each): each for each in fingerprints}
        found: dict[str, tuple[str, Found]] = {}
        with ThreadPoolExecutor(_LISTINGS_AT_ONCE) as threads:
            prefixes = self.store.listings(_prefixes(fingerprints))
            for listed in threads.map(self.store.found, prefixes):
                for each in listed.items():
                    begin = ".".join(each[0].split(".", 2)[:2])
                    if begin in wanted:
                        found[begin] = max(found.get(begin, each), each, key=last_written)
        return [
            self._named(fingerprint, found[begin][0])
            for begin, fingerprint in wanted.items()
            if begin in found
        ]

    def _put(
        self,
        fingerprint: ChunkFingerprint,
        ids: IdArray,
        record: dict[str, Any],
        write: Callable[..., None],
    ) -> TokenChunk:
        chunk = TokenChunk(
            fingerprint=fingerprint,
            num_tokens=len(ids),
            bounds=(int(ids.min()), int(ids.max())) if ids.size else (0, 0),
            store=self,
            **record,
        )
        # Not the seconds: who makes it again makes the same bytes.
        stored = {"fingerprint": fingerprint.as_dict(), "ids_sha256": chunk.ids_sha256}
        self.store.put(_object_name(chunk), partial(write, record=stored))
        return chunk

    def _read(
        self,
        chunk: TokenChunk,
        parse: Callable[[Any], _Content],
        hashed: Callable[[_Content], str],
    ) -> _Content:
        name = _object_name(chunk)
        where = self.store.where(name)
        try:
            data = self.store.map(name)
        except FileNotFoundError as error:
            raise ChunkMismatchError(f"chunk {where} is gone; run again") from error
        try:
            record, batch = open_chunk(data)
            fingerprint = ChunkFingerprint.from_dict(record["fingerprint"])
            content = parse(batch)
        except UNREADABLE as error:
            raise ChunkMismatchError(f"chunk {where} cannot be read: {error}") from error
        if fingerprint != chunk.fingerprint or hashed(content) != chunk.ids_sha256:
            raise _damaged(where)
        return content

    def _named(self, fingerprint: ChunkFingerprint, name: str) -> TokenChunk:
        """The chunk that an object's name tells of."""
        counts, ids_sha256, rest = name[len(_begin(fingerprint)) + 1 :].split(".", 2)
        num_tokens, _, num_samples = counts.partition("-")
        engine, compared_bytes, bounds, _ = rest.rsplit(".", 3)
        low, high = bounds.split("-")
        return TokenChunk(
            fingerprint=fingerprint,
            num_tokens=int(num_tokens),
            ids_sha256=ids_sha256,
            engine=unquote(engine),
            compared_bytes=int(compared_bytes),
            bounds=(int(low), int(high)),
            num_samples=int(num_samples) if num_samples else None,
            store=self,
        )


def _is_of_documents(chunk: TokenChunk) -> bool:
    return chunk.fingerprint.recipe_sha256 is not None


def _prefixes(fingerprints: Iterable[ChunkFingerprint]) -> list[str]:
    """What to list for the chunks of some files: a file's folder, or what many begin with."""
    files = {each.chars.file for each in fingerprints}
    groups: dict[int, set[str]] = {}
    for file in files:
        groups.setdefault(file // _FILES_A_LISTING, set()).add(f"{file:05d}/")
    return [
        folders.pop() if len(folders) == 1 else f"{group:03d}"
        for group, folders in sorted(groups.items())
    ]


def _folder_name(chars: CharRange) -> str:
    return f"{chars.file:05d}"


def _begin(fingerprint: ChunkFingerprint) -> str:
    """What the name of a fingerprint's object begins with."""
    chars = fingerprint.chars
    return f"{_folder_name(chars)}/{chars.key}.{fingerprint.digest}"


def _object_name(chunk: TokenChunk) -> str:
    assert chunk.bounds is not None, "an object's name has them"
    low, high = chunk.bounds
    engine = quote(chunk.engine, safe="")
    counts = str(chunk.num_tokens)
    if chunk.num_samples is not None:
        counts += f"-{chunk.num_samples}"
    told = f"{counts}.{chunk.ids_sha256}.{engine}.{chunk.compared_bytes}.{low}-{high}"
    return f"{_begin(chunk.fingerprint)}.{told}.arrow"


def _file_name(chars: CharRange) -> str:
    return f"{chars.key}.arrow"


def _damaged(where: str) -> ChunkMismatchError:
    return ChunkMismatchError(f"chunk {where} is damaged or was replaced; remove it and run again")
