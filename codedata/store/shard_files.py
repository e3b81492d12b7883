"""The meta's entries and the files of a dataset -> the arrays of a shard, when they are asked for.

A file is mapped, and checked whole before anything of it is given: its structure, and the sha256
that the meta states. Of all datasets of a process some files are mapped at a time, those that were
asked for last; an array that somebody holds stays mapped. Nothing is unpickled.
"""

import hashlib
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from threading import Lock
from typing import Any, TypeVar, overload

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.documents import Spans
from codedata.format.foreign_shards import decode_foreign_shard
from codedata.format.meta import ShardEntry, documents_name, shard_name, spans_name
from codedata.format.shards import Bytes, is_fixed_width, view_shard
from codedata.format.spans import view_spans
from codedata.store.base import Snapshot
from codedata.store.files import release_pages

_Item = TypeVar("_Item")

_MOST_MAPPED = 192
"""Files of a process at a time: before Python 3.13 each mapping holds a descriptor, of which a
process has 1,024 by default."""


class Each(Sequence[_Item]):
    """What a function gives of each number, asked for anew each time.

    Args:
        number: how many there are.
        get: of a number, 0 and up.
    """

    def __init__(self, number: int, get: Callable[[int], _Item]) -> None:
        self._numbers, self._get = range(number), get

    def __len__(self) -> int:
        return len(self._numbers)

    @overload
    def __getitem__(self, index: int) -> _Item: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[_Item]: ...
    def __getitem__(self, index: int | slice) -> _Item | Sequence[_Item]:
        found = self._numbers[index]
        return self._get(found) if isinstance(found, int) else [self._get(each) for each in found]

    def __iter__(self) -> Iterator[_Item]:
        return map(self._get, self._numbers)


class _Mapped:
    """The arrays that were asked for last, of all datasets of this process."""

    def __init__(self, most: int) -> None:
        self._most, self._lock = most, Lock()
        self._arrays: OrderedDict[tuple[int, str], NDArray[Any]] = OrderedDict()

    def get(self, owner: object, name: str, make: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        key = id(owner), name
        with self._lock:
            if (found := self._arrays.get(key)) is not None:
                self._arrays.move_to_end(key)
                return found
        made = make()
        with self._lock:
            self._arrays[key] = made
            if len(self._arrays) > self._most:
                self._arrays.popitem(last=False)
        return made

    def forget(self, owner: int, is_gone: Callable[[str], bool] = lambda _: True) -> None:
        with self._lock:
            for key in [key for key in self._arrays if key[0] == owner and is_gone(key[1])]:
                del self._arrays[key]


MAPPED = _Mapped(_MOST_MAPPED)


class ShardFiles:
    """The shards of a dataset and what lies beside them.

    Args:
        snapshot: of the dataset, kept open.
        entries: what the meta says of each shard.
    """

    def __init__(self, snapshot: Snapshot, entries: Sequence[ShardEntry]) -> None:
        self._snapshot, self._entries = snapshot, entries
        self._checked: set[str] = set()

    def __del__(self) -> None:
        MAPPED.forget(id(self))

    def ids(self, index: int) -> NDArray[Any]:
        """The ids of a shard, uint16 or int32, shape (num_samples, seq_length), read-only.

        Raises:
            DatasetError: it is gone or damaged.
        """
        return self._get(shard_name(index), lambda: self._read(read_shard, shard_name, index))

    def spans(self, index: int) -> Spans:
        """Where documents lie in a shard, shape (num_spans, 6), read-only; errors as of `ids`."""
        return self._get(spans_name(index), lambda: self._read(read_spans, spans_name, index))

    def fetch(self, index: int) -> None:
        """Have a shard here, and its spans; those of a folder are."""

    def num_bytes(self, index: int) -> int:  # noqa: ARG002  (of a stream)
        """Of what `fetch` fetches."""
        return 0

    def documents(self, index: int) -> Any:
        """Which documents a shard has, as `Dataset.documents` gives them; errors as of `ids`."""
        return read_documents(self._snapshot, index, self._entries[index])

    def _get(self, name: str, read: Callable[[], NDArray[Any]]) -> NDArray[Any]:
        return MAPPED.get(self, name, read)

    def _is_hashed(self, name: str) -> bool:
        return name in self._checked

    def _read(
        self, read: Callable[..., NDArray[Any]], name_of: Callable[[int], str], index: int
    ) -> NDArray[Any]:
        name, entry = name_of(index), self._entries[index]
        verify = not self._is_hashed(name) and entry.sha256 is not None
        try:
            found = read(self._snapshot, index, entry, verify=verify)
        except FileNotFoundError as error:
            raise DatasetError(
                f"{self._snapshot.where} lacks {name}, which its meta names: it was removed since "
                "it was opened; open it again, or make the dataset again"
            ) from error
        self._checked.add(name)
        return found


def read_shard(snapshot: Snapshot, index: int, entry: ShardEntry, *, verify: bool) -> NDArray[Any]:
    """The ids of one shard, checked; shape (num_samples, seq_length).

    Args:
        snapshot: of the dataset, or of what is staged.
        index: the shard's number.
        entry: what the meta says of it.
        verify: also recompute its hash.

    Raises:
        FileNotFoundError: it is not there.
        DatasetError: it is damaged or of another shape.
    """
    data = snapshot.map(shard_name(index))
    where = f"{snapshot.where}/{shard_name(index)}"
    if not len(data):
        raise DatasetError(f"{where} is empty; make the dataset again")
    if verify:
        _require_sha256(data, entry.sha256, where)
    read = view_shard if is_fixed_width(data) else decode_foreign_shard
    ids = read(data, num_samples=entry.num_samples, seq_length=entry.seq_length, name=where)
    if verify:
        release_pages(data)
    return ids


def read_spans(snapshot: Snapshot, index: int, entry: ShardEntry, *, verify: bool) -> Spans:
    """Where documents lie in a shard, checked; arguments and errors as of `read_shard`."""
    where = f"{snapshot.where}/{spans_name(index)}"
    data = snapshot.map(spans_name(index))
    if verify:
        _require_sha256(data, entry.spans_sha256, where)
    spans = view_spans(data, num_samples=entry.num_samples, seq_length=entry.seq_length, name=where)
    found = int((spans[:, 2] - spans[:, 1]).sum(dtype=np.int64)), int(spans[-1, 2])
    if found != (entry.num_text_tokens, entry.last_sample_tokens or found[1]):
        raise DatasetError(
            f"{where} has spans of {found[0]} tokens, of the last sample up to {found[1]}, where "
            f"its meta states {entry.num_text_tokens} (num_text_tokens) and "
            f"{entry.last_sample_tokens} (last_sample_tokens); make the dataset again"
        )
    if verify:
        release_pages(spans)
    return spans


def read_documents(snapshot: Snapshot, index: int, entry: ShardEntry) -> Any:
    """Which documents a shard has, as `Dataset.documents` gives them; hashed in any case.

    Raises:
        FileNotFoundError: it is not there.
        DatasetError: it is damaged.
    """
    # A tenth of a second of pyarrow, which training does without.
    from codedata.format.sidecars import parse_documents

    where = f"{snapshot.where}/{documents_name(index)}"
    data = snapshot.map(documents_name(index))
    _require_sha256(data, entry.documents_sha256, where)
    return parse_documents(data.tobytes(), where)


def _require_sha256(data: Bytes, sha256: str | None, where: str) -> None:
    if hashlib.sha256(data.data).hexdigest() != sha256:
        raise DatasetError(
            f"{where} does not have the sha256 that its meta states; make the dataset again"
        )
