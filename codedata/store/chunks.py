# pyright: standard
# (pyarrow has no types)
"""Token chunks where they are kept: one Arrow file a chunk, its fingerprint inside.

Ids (num_tokens,) -> a file, and back as a view of it. A chunk appears under its name only when it
is whole, and one of another fingerprint is as good as missing. In a folder of this machine the name
is the range, `<start>-<stop>.arrow`, a later chunk of the range takes its place, and what a
stranger wrote or may write is refused. In an object store the name has all that is known of the
chunk, so that a listing says what there is, nothing is ever replaced by other bytes, and a chunk
that is made twice is the same object. Where it came out otherwise the second time, the one that was
written last counts.
"""

import hashlib
import json
import os
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Protocol, cast
from urllib.parse import quote, unquote

import numpy as np
import pyarrow as pa

from codedata.errors import ChunkMismatchError, UntrustedError
from codedata.format.documents import ChunkDocuments
from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.packing import IdArray
from codedata.format.ranges import CharRange
from codedata.format.shards import Bytes
from codedata.format.sidecars import DOCUMENT_SCHEMA
from codedata.store.local import LocalStore
from codedata.store.object_store import Found, ObjectStore, last_written

_METADATA_KEY = b"codedata.chunk"
_COLUMN = "input_ids"
_UNREADABLE = (OSError, pa.ArrowException, ValueError, LookupError, TypeError, AttributeError)
"""What a file says that is absent, no chunk, or left incomplete by a crash of the machine."""

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
        ids_sha256: of their bytes, little-endian.
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
        """The ids: see `ChunkStore.read`."""
        return self.store.read(self)

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

    def read_documents(self, chunk: TokenChunk) -> ChunkDocuments:
        """The documents, their ids a read-only view of what is stored; raises as `read` does."""
        ...

    def read(self, chunk: TokenChunk) -> IdArray:
        """The ids, shape (num_tokens,), uint16 or int32, a read-only view of what is stored.

        Raises:
            ChunkMismatchError: what is stored is gone, damaged, or was replaced meanwhile.
            UntrustedError: a stranger wrote it, or may.
        """
        ...


@dataclass(frozen=True)
class LocalChunks:
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

    def put(self, fingerprint: ChunkFingerprint, ids: IdArray, **record: Any) -> TokenChunk:
        """See `ChunkStore.put`; one of the same range is replaced."""
        record = {"ids_sha256": _sha256(ids), **record}
        stored = {"fingerprint": fingerprint.as_dict(), **record}
        store = LocalStore(self.folder, self.shared)
        store.put(_file_name(fingerprint.chars), lambda file: _write(file, ids, stored))
        return TokenChunk(fingerprint=fingerprint, num_tokens=len(ids), store=self, **record)

    def put_documents(
        self, fingerprint: ChunkFingerprint, documents: ChunkDocuments, **record: Any
    ) -> TokenChunk:
        """See `ChunkStore.put_documents`; one of the same range is replaced."""
        record = {"ids_sha256": _sha256_of(documents), **record}
        stored = {"fingerprint": fingerprint.as_dict(), **record}
        store = LocalStore(self.folder, self.shared)
        store.put(
            _file_name(fingerprint.chars), lambda file: _write_documents(file, documents, stored)
        )
        return TokenChunk(
            fingerprint=fingerprint, num_tokens=len(documents.ids), store=self, **record
        )

    def read_documents(self, chunk: TokenChunk) -> ChunkDocuments:
        """See `ChunkStore.read_documents`; a view of the mapped file."""
        try:
            data = LocalStore(self.folder, self.shared).map(_file_name(chunk.chars))
            documents = _parse_documents(data)
        except UntrustedError:
            raise
        except _UNREADABLE as error:
            raise ChunkMismatchError(f"chunk {chunk.where} cannot be read: {error}") from error
        if _sha256_of(documents) != chunk.ids_sha256:
            raise _damaged(chunk.where)
        return documents

    def read(self, chunk: TokenChunk) -> IdArray:
        """See `ChunkStore.read`; a view of the mapped file."""
        try:
            stored, ids = self._open(chunk.chars)
        except UntrustedError:
            raise
        except _UNREADABLE as error:
            raise ChunkMismatchError(f"chunk {chunk.where} cannot be read: {error}") from error
        if stored != chunk or _sha256(ids) != chunk.ids_sha256:
            raise _damaged(chunk.where)
        return ids

    def _found(self, fingerprint: ChunkFingerprint) -> TokenChunk | None:
        try:
            chunk, _ = self._open(fingerprint.chars)
        except UntrustedError:
            raise
        except _UNREADABLE:
            return None
        return chunk if chunk.fingerprint == fingerprint else None

    def _open(self, chars: CharRange) -> tuple[TokenChunk, IdArray]:
        stored, ids = _parse(LocalStore(self.folder, self.shared).map(_file_name(chars)))
        fingerprint = ChunkFingerprint.from_dict(stored.pop("fingerprint"))
        return TokenChunk(fingerprint=fingerprint, num_tokens=len(ids), store=self, **stored), ids


@dataclass(frozen=True)
class ObjectChunks:
    """Chunks of a split in an object store.

    A chunk is the object `<file>/<start>-<stop>.<fingerprint>.<num_tokens>.<sha256 of the ids>.
    <engine>.<compared bytes>.<smallest id>-<largest id>.arrow`; the fingerprint is its digest.
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

    def put(self, fingerprint: ChunkFingerprint, ids: IdArray, **record: Any) -> TokenChunk:
        """See `ChunkStore.put`; one request."""
        chunk = TokenChunk(
            fingerprint=fingerprint,
            num_tokens=len(ids),
            ids_sha256=_sha256(ids),
            bounds=(int(ids.min()), int(ids.max())) if ids.size else (0, 0),
            store=self,
            **record,
        )
        # Not the seconds: who makes it again makes the same bytes.
        stored = {"fingerprint": fingerprint.as_dict(), "ids_sha256": chunk.ids_sha256}
        self.store.put(_object_name(chunk), lambda file: _write(file, ids, stored))
        return chunk

    def put_documents(
        self, fingerprint: ChunkFingerprint, documents: ChunkDocuments, **record: Any
    ) -> TokenChunk:
        """See `ChunkStore.put_documents`."""
        raise NotImplementedError(fingerprint, documents, record)

    def read_documents(self, chunk: TokenChunk) -> ChunkDocuments:
        """See `ChunkStore.read_documents`."""
        raise NotImplementedError(chunk)

    def read(self, chunk: TokenChunk) -> IdArray:
        """See `ChunkStore.read`; in memory."""
        name = _object_name(chunk)
        where = self.store.where(name)
        try:
            stored, ids = _parse(self.store.map(name))
            fingerprint = ChunkFingerprint.from_dict(stored["fingerprint"])
        except FileNotFoundError as error:
            raise ChunkMismatchError(f"chunk {where} is gone; run again") from error
        except (pa.ArrowException, ValueError, LookupError, TypeError, AttributeError) as error:
            raise ChunkMismatchError(f"chunk {where} cannot be read: {error}") from error
        if fingerprint != chunk.fingerprint or _sha256(ids) != chunk.ids_sha256:
            raise _damaged(where)
        return ids

    def _named(self, fingerprint: ChunkFingerprint, name: str) -> TokenChunk:
        """The chunk that an object's name tells of."""
        num_tokens, ids_sha256, rest = name[len(_begin(fingerprint)) + 1 :].split(".", 2)
        engine, compared_bytes, bounds, _ = rest.rsplit(".", 3)
        low, high = bounds.split("-")
        return TokenChunk(
            fingerprint=fingerprint,
            num_tokens=int(num_tokens),
            ids_sha256=ids_sha256,
            engine=unquote(engine),
            compared_bytes=int(compared_bytes),
            bounds=(int(low), int(high)),
            store=self,
        )


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
    told = f"{chunk.num_tokens}.{chunk.ids_sha256}.{engine}.{chunk.compared_bytes}.{low}-{high}"
    return f"{_begin(chunk.fingerprint)}.{told}.arrow"


def _file_name(chars: CharRange) -> str:
    return f"{chars.key}.arrow"


def _write(file: BinaryIO, ids: IdArray, stored: dict[str, Any]) -> None:
    # `pa.array` would import pandas where it is installed.
    buffer = pa.py_buffer(np.ascontiguousarray(ids))
    column = pa.Array.from_buffers(pa.from_numpy_dtype(ids.dtype), len(ids), [None, buffer])
    schema = pa.schema(
        [pa.field(_COLUMN, column.type, nullable=False)],
        metadata={_METADATA_KEY: json.dumps(stored)},
    )
    with pa.ipc.new_file(file, schema) as writer:
        writer.write_batch(pa.record_batch([column], schema=schema))


def _parse(data: Bytes) -> tuple[dict[str, Any], IdArray]:
    """What is stored beside the ids, and the ids."""
    with pa.BufferReader(pa.py_buffer(data)) as source:
        reader = pa.ipc.open_file(source)
        stored = json.loads((reader.schema.metadata or {})[_METADATA_KEY])
        if reader.num_record_batches != 1:
            raise ValueError("it is not a token chunk")
        column = reader.get_batch(0).column(0)
        if pa.types.is_large_list(column.type):
            column = column.values
        if column.type not in (pa.uint16(), pa.int32()) or column.null_count:
            raise ValueError("its column does not hold token ids")
        return stored, cast("IdArray", np.from_dlpack(column))


def _write_documents(file: BinaryIO, documents: ChunkDocuments, stored: dict[str, Any]) -> None:
    num_documents, pieces = documents.table.num_rows, documents.pieces
    lengths = np.bincount(pieces[:, 0], weights=pieces[:, 1], minlength=num_documents)
    ends = np.append(0, np.cumsum(lengths)).astype(np.int64)
    counts = np.append(0, np.cumsum(np.bincount(pieces[:, 0], minlength=num_documents)))
    ids = pa.LargeListArray.from_arrays(pa.array(ends), pa.array(documents.ids))
    columns = [ids]
    for column in (1, 2):
        values = pa.array(np.ascontiguousarray(pieces[:, column]))
        columns.append(pa.LargeListArray.from_arrays(pa.array(counts), values))
    table = documents.table.combine_chunks()
    names = [_COLUMN, "piece_tokens", "piece_forms", *table.column_names]
    columns += [column.combine_chunks() for column in table.columns]
    batch = pa.RecordBatch.from_arrays(columns, names)
    batch = batch.replace_schema_metadata({_METADATA_KEY: json.dumps(stored)})
    with pa.ipc.new_file(file, batch.schema) as writer:
        writer.write_batch(batch)


def _parse_documents(data: Bytes) -> ChunkDocuments:
    with pa.BufferReader(pa.py_buffer(data)) as source:
        batch = pa.ipc.open_file(source).get_batch(0)
        lists = [batch.column(place) for place in range(3)]
        ids, tokens, forms = (np.from_dlpack(each.values) for each in lists)
        counts = np.diff(np.from_dlpack(lists[1].offsets))
        numbers = np.repeat(np.arange(len(counts)), counts)
        pieces = np.stack([numbers, tokens, forms], axis=1).astype(np.int32)
        names = DOCUMENT_SCHEMA.names
        table = pa.Table.from_batches([batch.select(names)]).cast(DOCUMENT_SCHEMA)
        return ChunkDocuments(ids=cast("IdArray", ids), pieces=pieces, table=table)


def _sha256_of(documents: ChunkDocuments) -> str:
    rows = json.dumps(documents.table.to_pydict(), sort_keys=True)
    told = [_sha256(documents.ids), documents.pieces.tolist(), rows]
    return hashlib.sha256(json.dumps(told).encode()).hexdigest()


def _damaged(where: str) -> ChunkMismatchError:
    return ChunkMismatchError(f"chunk {where} is damaged or was replaced; remove it and run again")


def _sha256(ids: IdArray) -> str:
    little_endian = ids.astype(ids.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(np.ascontiguousarray(little_endian).data).hexdigest()
