"""The meta's entries and the files of a dataset -> whether each can be what it is named for.

By one look at their names and sizes, before a byte of them is read: what is missing, left over, not
a plain file, empty or cut off is refused when a dataset is opened, not when training comes to it.
"""

from collections.abc import Callable, Sequence
from itertools import repeat
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.foreign_shards import foreign_bounds, require_foreign_size
from codedata.format.meta import ShardEntry, documents_name, file_index, shard_name, spans_name
from codedata.format.shards import Bytes, is_fixed_width, shard_bytes, view_shard
from codedata.format.spans import num_spans_in, view_spans
from codedata.store.shard_contents import empty

_MISSING = -2
_NO_FILE = -1


class Listed(Protocol):
    """What of a `Snapshot` is asked for."""

    @property
    def where(self) -> str: ...  # noqa: D102

    def sizes(self, prefix: str) -> dict[str, int | None]: ...  # noqa: D102

    def map(self, name: str) -> Bytes: ...  # noqa: D102


def require_files(snapshot: Listed, entries: Sequence[ShardEntry]) -> None:
    """Refuse a dataset of which a file is missing, or too many, or has a size that it cannot have.

    Raises:
        FileNotFoundError: one that the meta names is not there.
        DatasetError: one is there that it does not name, is no plain file, or was cut off.
    """
    sizes = snapshot.sizes("dump-")

    def found(name_of: Callable[[int], str]) -> NDArray[np.int64]:
        told = map(sizes.pop, map(name_of, range(len(entries))), repeat(_MISSING))
        return np.array([_NO_FILE if each is None else each for each in told])

    num_samples = np.array([entry.num_samples for entry in entries])
    is_right = _may_be_shards(found(shard_name), entries, num_samples)
    if entries[0].has_documents:
        spans = num_spans_in(found(spans_name))
        most = np.array([entry.num_text_tokens for entry in entries])
        is_right &= (num_samples <= spans) & (spans <= most)
        is_right &= found(documents_name) > 0
    for index in np.flatnonzero(~is_right).tolist():
        _require_right(snapshot, index, entries[index])
    if unnamed := [name for name in sizes if file_index(name) is not None]:
        raise DatasetError(
            f"{snapshot.where} holds {min(unnamed)}, which its meta does not name: it is left from "
            "another run; remove it, or make the dataset again"
        )


def _may_be_shards(
    sizes: NDArray[np.int64], entries: Sequence[ShardEntry], num_samples: NDArray[np.int64]
) -> NDArray[np.bool_]:
    seq_length = np.array([entries[0].seq_length])  # of all
    least, most = foreign_bounds(num_samples, seq_length)
    narrow, wide = (shard_bytes(num_samples, seq_length, id_bytes) for id_bytes in (2, 4))
    is_ours = np.array([entry.sha256 is not None for entry in entries])
    return np.where(
        is_ours, (sizes == narrow) | (sizes == wide), (least <= sizes) & (sizes <= most)
    )


def _require_right(snapshot: Listed, index: int, entry: ShardEntry) -> None:
    """Look at the files of a shard of which one has a size that is not the usual.

    Raises:
        FileNotFoundError: one is not there.
        DatasetError: one is not what it is named for.
    """
    num_samples, seq_length = entry.num_samples, entry.seq_length
    for name in entry.files(index):
        data, where = snapshot.map(name), f"{snapshot.where}/{name}"
        if not len(data):
            raise empty(where)
        if name == spans_name(index):
            view_spans(data, num_samples=num_samples, seq_length=seq_length, name=where)
        elif name == shard_name(index) and is_fixed_width(data):
            view_shard(data, num_samples=num_samples, seq_length=seq_length, name=where)
        elif name == shard_name(index):
            require_foreign_size(len(data), num_samples, seq_length, where)
