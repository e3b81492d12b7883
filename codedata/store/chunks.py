"""Token chunks on disk: one Arrow file a chunk, its fingerprint inside.

Ids (num_tokens,) -> `<start>-<stop>.arrow`, and back as a view of the mapped file. A chunk appears
under its name only when it is whole; one whose fingerprint is another's is as good as missing, and
one that a stranger wrote or may write is refused.
"""

import hashlib
import json
import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from typing import BinaryIO, cast

import numpy as np
import pyarrow as pa

from codedata.errors import ChunkMismatchError
from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.packing import IdArray
from codedata.format.ranges import CharRange
from codedata.store.files import open_no_link, replace_atomically
from codedata.store.mapping import map_file
from codedata.store.trust import why_not_trusted

_METADATA_KEY = b"codedata.chunk"
_COLUMN = "input_ids"
_MODE = 0o644
"""Whatever the umask: what others may write is not taken again, and none needs to."""


@dataclass(frozen=True, kw_only=True)
class TokenChunk:
    """A chunk that is on disk.

    Attributes:
        path: its file.
        fingerprint: what its ids depend on.
        num_tokens: how many they are.
        ids_sha256: of their bytes, little-endian.
        engine: the engine that made them.
        compared_bytes: bytes of the text that the tokenizers library then tokenized again, and
            found to give the same ids.
        seconds: that it took.
        root: the folder that a group may share; None where only this user's file is taken.
    """

    path: Path
    fingerprint: ChunkFingerprint
    num_tokens: int
    ids_sha256: str
    engine: str
    compared_bytes: int
    seconds: float
    root: Path | None = field(default=None, compare=False, repr=False)

    @property
    def chars(self) -> CharRange:
        """The characters that the chunk covers."""
        return self.fingerprint.chars

    def read_ids(self) -> IdArray:
        """The ids, shape (num_tokens,), uint16 or int32, a read-only view of the mapped file.

        Raises:
            ChunkMismatchError: the file is gone, damaged, or was replaced meanwhile.
        """
        try:
            stored, ids = _open_chunk(self.path, root=self.root)
        except ChunkMismatchError:
            raise
        except (OSError, pa.ArrowException, ValueError, LookupError) as error:
            raise ChunkMismatchError(f"chunk {self.path} cannot be read: {error}") from error
        if stored != self or _sha256(ids) != self.ids_sha256:
            raise ChunkMismatchError(
                f"chunk {self.path} is damaged or was replaced; remove it and run again"
            )
        return ids


def chunk_path(folder: Path, chars: CharRange) -> Path:
    """Where the chunk of a character range lies."""
    return folder / f"{chars.key}.arrow"


def write_chunk(
    folder: Path,
    fingerprint: ChunkFingerprint,
    ids: IdArray,
    *,
    engine: str,
    compared_bytes: int,
    seconds: float = 0.0,
) -> TokenChunk:
    """Store a chunk's ids durably; a file of the same range is replaced."""
    chunk = TokenChunk(
        path=chunk_path(folder, fingerprint.chars),
        fingerprint=fingerprint,
        num_tokens=len(ids),
        ids_sha256=_sha256(ids),
        engine=engine,
        compared_bytes=compared_bytes,
        seconds=seconds,
    )
    stored = {
        "fingerprint": fingerprint.as_dict(),
        "ids_sha256": chunk.ids_sha256,
        "engine": engine,
        "compared_bytes": compared_bytes,
        "seconds": seconds,
    }
    column = _as_arrow(ids)
    schema = pa.schema(
        [pa.field(_COLUMN, column.type, nullable=False)],
        metadata={_METADATA_KEY: json.dumps(stored)},
    )

    def write(file: BinaryIO) -> None:
        with pa.ipc.new_file(file, schema) as writer:
            writer.write_batch(pa.record_batch([column], schema=schema))

    folder.mkdir(mode=0o775, parents=True, exist_ok=True)
    replace_atomically(chunk.path, write, mode=_MODE)
    return chunk


def find_chunk(folder: Path, fingerprint: ChunkFingerprint, *, root: Path) -> TokenChunk | None:
    """The stored chunk with exactly this fingerprint; None where it has to be made.

    Args:
        folder: of the chunks.
        fingerprint: of the one that is looked for.
        root: under which the folder lies; its group may share chunks (`why_not_trusted`).

    Raises:
        ChunkMismatchError: it is a stranger's.
    """
    path = chunk_path(folder, fingerprint.chars)
    try:
        chunk, _ = _open_chunk(path, root=root)
    except ChunkMismatchError:
        raise
    except (OSError, pa.ArrowException, ValueError, LookupError):
        return None  # absent, or left incomplete by a crash of the machine: made again
    return chunk if chunk.fingerprint == fingerprint else None


def _open_chunk(path: Path, *, root: Path | None) -> tuple[TokenChunk, IdArray]:
    """A chunk and its ids; refused if it is a stranger's."""
    with open(path, "rb", opener=open_no_link) as file:
        status = os.fstat(file.fileno())
        if not stat.S_ISREG(status.st_mode) or not status.st_size:
            raise ValueError("it is no file, or empty")
        if why := why_not_trusted(path, status, root):
            raise ChunkMismatchError(
                f"chunk {path} is not taken: {why}, so it may hold what another one put there; "
                f"remove the folder {path.parent} and run again, or, if a group shares "
                f"{root or path.parent}, make all of it the group's (chgrp -R, chmod g+rwXs, umask "
                "002)"
            )
        content = map_file(file.fileno())
    with pa.BufferReader(pa.py_buffer(content)) as source:
        reader = pa.ipc.open_file(source)
        stored = json.loads((reader.schema.metadata or {}).get(_METADATA_KEY, b"null"))
        if not isinstance(stored, dict) or reader.num_record_batches != 1:
            raise ValueError("it is not a token chunk")
        column = reader.get_batch(0).column(0)
        if column.type not in (pa.uint16(), pa.int32()) or column.null_count:
            raise ValueError("its column does not hold token ids")
        ids = cast("IdArray", np.from_dlpack(column))
    try:
        fingerprint = ChunkFingerprint.from_dict(stored["fingerprint"])
        chunk = TokenChunk(
            path=path,
            fingerprint=fingerprint,
            num_tokens=len(ids),
            ids_sha256=stored["ids_sha256"],
            engine=stored["engine"],
            compared_bytes=stored["compared_bytes"],
            seconds=stored["seconds"],
            root=root,
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("its description is not a token chunk's") from error
    return chunk, ids


def _as_arrow(ids: IdArray) -> pa.Array:
    """The same memory as an Arrow array; `pa.array` would import pandas where it is installed."""
    buffer = pa.py_buffer(np.ascontiguousarray(ids))
    return pa.Array.from_buffers(pa.from_numpy_dtype(ids.dtype), len(ids), [None, buffer])


def _sha256(ids: IdArray) -> str:
    little_endian = ids.astype(ids.dtype.newbyteorder("<"), copy=False)
    return hashlib.sha256(np.ascontiguousarray(little_endian).data).hexdigest()
