# pyright: standard
# (pyarrow has no types)
"""Token chunks in a store: one Arrow file a chunk, its fingerprint inside.

Ids (num_tokens,) -> `<start>-<stop>.arrow`, and back as a view of the mapped file. A chunk appears
under its name only when it is whole; one whose fingerprint is another's is as good as missing, and
one that a stranger wrote or may write is refused.
"""

import hashlib
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, cast

import numpy as np
import pyarrow as pa

from codedata.errors import ChunkMismatchError, UntrustedError
from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.packing import IdArray
from codedata.format.ranges import CharRange
from codedata.store.base import Store

_METADATA_KEY = b"codedata.chunk"
_COLUMN = "input_ids"
_UNREADABLE = (OSError, pa.ArrowException, ValueError, LookupError, TypeError, AttributeError)
"""What a file says that is absent, no chunk, or left incomplete by a crash of the machine."""


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
        seconds: that it took.
        store: where it is.
    """

    fingerprint: ChunkFingerprint
    num_tokens: int
    ids_sha256: str
    engine: str
    compared_bytes: int
    seconds: float = 0.0
    store: Store = field(compare=False, repr=False)

    @property
    def chars(self) -> CharRange:
        """The characters that the chunk covers."""
        return self.fingerprint.chars

    @property
    def path(self) -> Path:
        """Its file, or what its store calls its place."""
        return Path(self.store.where(_name(self.chars)))

    def read_ids(self) -> IdArray:
        """The ids, shape (num_tokens,), uint16 or int32, a read-only view of the mapped file.

        Raises:
            ChunkMismatchError: the file is gone, damaged, or was replaced meanwhile.
            UntrustedError: a stranger wrote it, or may.
        """
        try:
            stored, ids = _open_chunk(self.store, self.chars)
        except UntrustedError:
            raise
        except _UNREADABLE as error:
            raise ChunkMismatchError(f"chunk {self.path} cannot be read: {error}") from error
        if stored != self or _sha256(ids) != self.ids_sha256:
            raise ChunkMismatchError(
                f"chunk {self.path} is damaged or was replaced; remove it and run again"
            )
        return ids


def put_chunk(
    store: Store, fingerprint: ChunkFingerprint, ids: IdArray, **record: Any
) -> TokenChunk:
    """Store a chunk's ids durably; one of the same range is replaced.

    Args:
        store: where.
        fingerprint: of the chunk.
        ids: shape (num_tokens,), uint16 or int32.
        record: `engine`, `compared_bytes` and `seconds` of the `TokenChunk`.
    """
    record = {"ids_sha256": _sha256(ids), **record}
    stored = {"fingerprint": asdict(fingerprint), **record}
    # `pa.array` would import pandas where it is installed.
    buffer = pa.py_buffer(np.ascontiguousarray(ids))
    column = pa.Array.from_buffers(pa.from_numpy_dtype(ids.dtype), len(ids), [None, buffer])
    field = pa.field(_COLUMN, column.type, nullable=False)
    schema = pa.schema([field], metadata={_METADATA_KEY: json.dumps(stored)})

    def write(file: BinaryIO) -> None:
        with pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(pa.record_batch([column], schema=schema))

    store.put(_name(fingerprint.chars), write)
    return TokenChunk(fingerprint=fingerprint, num_tokens=len(ids), store=store, **record)


def get_chunk(store: Store, fingerprint: ChunkFingerprint) -> TokenChunk | None:
    """The stored chunk with exactly this fingerprint; None where it has to be made.

    Raises:
        UntrustedError: a stranger wrote it, or may.
    """
    try:
        chunk, _ = _open_chunk(store, fingerprint.chars)
    except UntrustedError:
        raise
    except _UNREADABLE:
        return None
    return chunk if chunk.fingerprint == fingerprint else None


def _open_chunk(store: Store, chars: CharRange) -> tuple[TokenChunk, IdArray]:
    with pa.BufferReader(pa.py_buffer(store.map(_name(chars)))) as source:
        reader = pa.ipc.open_file(source)
        stored = json.loads((reader.schema.metadata or {})[_METADATA_KEY])
        if reader.num_record_batches != 1:
            raise ValueError("it is not a token chunk")
        column = reader.get_batch(0).column(0)
        if column.type not in (pa.uint16(), pa.int32()) or column.null_count:
            raise ValueError("its column does not hold token ids")
        ids = cast("IdArray", np.from_dlpack(column))
    fingerprint = ChunkFingerprint.from_dict(stored.pop("fingerprint"))
    return TokenChunk(fingerprint=fingerprint, num_tokens=len(ids), store=store, **stored), ids


def _name(chars: CharRange) -> str:
    return f"{chars.key}.arrow"


def _sha256(ids: IdArray) -> str:
    little_endian = ids.astype(ids.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(np.ascontiguousarray(little_endian).data).hexdigest()
