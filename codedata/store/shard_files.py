"""The meta's entries and the files of a dataset -> the arrays of a shard, when they are asked for.

A file is mapped, and checked whole before anything of it is given: its structure, and the sha256
that the meta states; what was checked in the state that it is in is not checked again
(`store/checked.py`). Of all datasets of a process some files are mapped at a time, those that were
mapped last; an array that somebody holds stays. A dataset of few files has all of them from the
start, and so outlives its folder. Nothing is unpickled.

What `pickle.dump` wrote is no array as it lies: for training it is decoded at once, so that forked
processes share it (`decode`); otherwise, or where it has no room, when it is asked for.
"""

import errno
import hashlib
import multiprocessing
import os
import resource
from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from threading import RLock
from typing import Any, TypeVar, overload
from weakref import ReferenceType, WeakValueDictionary, ref

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.documents import Spans
from codedata.format.meta import META_NAME, ShardEntry, documents_name, shard_name, spans_name
from codedata.format.shards import Bytes, stored_dtype
from codedata.parallel import available_cores, map_in_order, memory_bytes, processes_here
from codedata.progress import logger, megabytes
from codedata.store.base import Snapshot
from codedata.store.checked import Checked
from codedata.store.files import OfOneOwner, mapping_of
from codedata.store.in_use import InUse
from codedata.store.shard_contents import (
    REMEDY,
    read_documents,
    read_shard,
    read_spans,
    with_remedy,
)

_Item = TypeVar("_Item")
_Result = TypeVar("_Result")

_MOST_MAPPED = 1 << 14
"""Files of a process at a time, with those that are held: a quarter of the mappings that Linux
gives one (vm.max_map_count). None has a descriptor."""

_SHARE_OF_MEMORY = 2
"""What is decoded, or lies on a filesystem that maps no files, takes memory that is not the file's:
so much of the machine's, by all processes."""

_DECODED_BYTES = 4
"""An id, at the most."""

_DECODING = 16
"""Shards side by side; each takes some five times its size meanwhile."""

_FEW_FILES = 1 << 10
"""A dataset of so many has them mapped at opening, in some 10 ms..."""

_MOST_HELD = 1 << 13
"""...as long as those of a process are no more than these, which leaves room for larger ones."""


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
        if isinstance(found, int):
            return self._get(found)
        return Each(len(found), lambda number: self._get(found[number]))

    def __iter__(self) -> Iterator[_Item]:
        return map(self._get, self._numbers)


class _Recent:
    """The arrays that were made last, of all datasets of this process; the others are let go.

    Not those that were asked for last: training has no favourites, and asks for each sample.

    Args:
        most: gives what all of them may cost, though the last one is kept in any case.
    """

    def __init__(self, most: Callable[[], int]) -> None:
        self._most, self._cost, self.lock = most, 0, RLock()
        self._kept: OrderedDict[tuple[int, int], tuple[ReferenceType[ShardFiles], int]]
        self._kept = OrderedDict()

    def add(self, files: "ShardFiles", key: tuple[int, int], cost: int) -> None:
        with self.lock:
            _, before = self._kept.pop(key, (None, 0))
            self._kept[key] = ref(files), cost
            self._cost += cost - before
            most = self._most()
            while self._cost > most and len(self._kept) > 1:
                self._let_go()

    def drop(self, key: tuple[int, int]) -> None:
        with self.lock:
            _, cost = self._kept.pop(key, (None, 0))
            self._cost -= cost

    def _let_go(self) -> None:
        (_, number), (of, cost) = self._kept.popitem(last=False)
        self._cost -= cost
        if (files := of()) is not None:
            files.let_go(number)


def _room_bytes() -> int:
    """What may lie in this process's memory beside what is decoded for good.

    The ranks of a machine share it, where their launcher says how many they are. A process that
    another one started (a loader's worker) is one of many, at the most one a core.
    """
    room = memory_bytes() // _SHARE_OF_MEMORY
    if multiprocessing.parent_process() is not None:
        room //= os.cpu_count() or 1
    else:
        room //= processes_here()
    return max(0, room - sum(files.decoded_bytes for files in _having()))


def _num_held() -> int:
    return sum(len(files.held) for files in _having())


_mapped = _Recent(lambda: _MOST_MAPPED - _num_held())
_in_memory = _Recent(_room_bytes)


class ShardFiles(OfOneOwner):
    """The shards of a dataset and what lies beside them; any thread, and processes that are forked.

    A signal's handler may ask for what is under way.

    Args:
        snapshot: of the dataset, kept open.
        entries: what the meta says of each shard.
        digest: sha256 of the meta.

    Attributes:
        remedy: of damage, where that is not to make the dataset again.
        in_use: what keeps the folder, where it is the cache's.
    """

    def __init__(self, snapshot: Snapshot, entries: Sequence[ShardEntry], digest: str) -> None:
        self._snapshot, self._entries, self._digest = snapshot, entries, digest
        self._checked = Checked(f"{digest} {Path(snapshot.where).absolute()}", 2 * len(entries))
        self._arrays: dict[int, NDArray[Any]] = {}
        self.held: dict[int, tuple[Bytes, os.stat_result | None]] = {}
        self.remedy: str | None = None
        self.in_use: InUse | None = None
        self.decoded_bytes = 0
        self._own, self.locks = next(_numbers), dict[int, RLock]()
        _opened[self._own] = self

    def hold(self) -> None:
        """Map all files now, if they are few, and none is on a filesystem that maps no files.

        Raises:
            FileNotFoundError: one is not there.
            DatasetError: one cannot be opened.
        """
        with_spans = self._entries[0].has_documents
        numbers = range(0, 2 * len(self._entries), 1 if with_spans else 2)
        if len(numbers) > _FEW_FILES or _num_held() + len(numbers) > _MOST_HELD:
            return
        held = dict[int, tuple[Bytes, os.stat_result | None]]()
        for number in numbers:
            held[number] = self._snapshot.map_file(_name_of(number))
            if mapping_of(held[number][0]) is None:  # it was read: `_in_memory` bounds those
                return
        self.held = held
        if not with_spans:  # beside which lie tables that are not held
            self._snapshot.loosen()
        _holding[self._own] = self

    def decode(self) -> None:
        """Decode what `pickle.dump` wrote, and keep it, if the memory for it is there.

        A process that is forked has it, too, and need not decode it for itself.

        Raises:
            DatasetError: a shard is gone or damaged, or the dataset was replaced since.
        """
        if self.decoded_bytes:
            return
        unhashed = (i for i, entry in enumerate(self._entries) if entry.sha256 is None)
        foreign = [index for index in unhashed if self._stored_dtype(index) is None]
        num_bytes = sum(_DECODED_BYTES * self._entries[index].num_tokens for index in foreign)
        if num_bytes > (room := _room_bytes()):
            logger.warning(
                "%s was written by pickle.dump and would take %s of memory, where this process "
                "may have %s: each shard is decoded when it is asked for, and again, which is slow "
                "to train on; make the dataset again, and its shards are mapped",
                self._snapshot.where,
                megabytes(num_bytes),
                megabytes(room),
            )
        elif foreign:
            with ThreadPoolExecutor(min(available_cores(), _DECODING)) as threads:
                arrays = [*map_in_order(threads, self.ids, foreign)]
            for number, ids in zip([2 * index for index in foreign], arrays, strict=True):
                _in_memory.drop((self._own, number))
                self._arrays[number] = ids
                self.held.pop(number, None)
            self.decoded_bytes = sum(ids.nbytes for ids in arrays)
            _holding[self._own] = self

    def ids(self, index: int) -> NDArray[Any]:
        """The ids of a shard, uint16 or int32, shape (num_samples, seq_length), read-only.

        Raises:
            DatasetError: it is gone or damaged, or the dataset was replaced since it was opened.
        """
        found = self._arrays.get(2 * index)  # for each sample
        return self._get(2 * index) if found is None else found

    def dtype(self, index: int) -> np.dtype[Any]:
        """The dtype of a shard's ids, of which nothing else is looked at; errors as of `ids`."""
        if (ids := self._arrays.get(2 * index)) is not None:
            return ids.dtype
        found = self._stored_dtype(index)
        return self.ids(index).dtype if found is None else found

    def _stored_dtype(self, index: int) -> np.dtype[Any] | None:
        """The dtype of a shard's ids, None where it is to be decoded."""
        return stored_dtype(self._tell(shard_name(index), lambda: self._map(2 * index))[0])

    def spans(self, index: int) -> Spans:
        """Where documents lie in a shard, shape (num_spans, 6), read-only; errors as of `ids`."""
        found = self._arrays.get(2 * index + 1)
        return self._get(2 * index + 1) if found is None else found

    def fetch(self, index: int) -> None:
        """Have a shard here, and its spans; those of a folder are."""

    def num_bytes(self, index: int) -> int:  # noqa: ARG002  (of a stream)
        """Of what `fetch` fetches."""
        return 0

    def documents(self, index: int) -> Any:
        """Which documents a shard has, as `Dataset.documents` gives them; errors as of `ids`."""
        name = documents_name(index)
        return self._tell(name, lambda: read_documents(self._snapshot, index, self._entries[index]))

    def verify(self, index: int) -> Spans | None:
        """Read a shard whatever was checked of it before; its spans, if it has any.

        Raises:
            FileNotFoundError: a file is not there.
            DatasetError: it is damaged.
        """
        self._verify(2 * index)
        return self._verify(2 * index + 1) if self._entries[index].has_documents else None

    def let_go(self, number: int) -> None:
        """Keep the array of a file no longer."""
        self._arrays.pop(number, None)

    def _drop(self, number: int) -> None:
        """Let go of an array that others would be let go of for."""
        _mapped.drop((self._own, number))
        self.let_go(number)

    def _get(self, number: int) -> NDArray[Any]:
        with self.locks.setdefault(number, RLock()):
            if (array := self._arrays.get(number)) is None:
                array = self._tell(_name_of(number), lambda: self._take(number))
                self._arrays[number] = array
                if array.flags.owndata or number not in self.held:
                    is_mapped = mapping_of(array) is not None
                    recent, cost = (_mapped, 1) if is_mapped else (_in_memory, _memory_of(array))
                    recent.add(self, (self._own, number), cost)
        self.locks.pop(number, None)
        return array

    def _tell(self, name: str, read: Callable[[], _Result]) -> _Result:
        """What is read of a file, or why it is not there as it was when it was opened."""

        def opening() -> _Result:
            try:
                return read()
            except (FileNotFoundError, DatasetError) as error:
                raise self._why_not(name, error) from error

        return with_enough_files(f"{self._snapshot.where}/{name}", opening)

    def _why_not(self, name: str, error: Exception) -> DatasetError:
        where = self._snapshot.where
        if self._was_replaced():
            return DatasetError(f"{where} was replaced since it was opened; open it again")
        if not isinstance(error, DatasetError):
            error = DatasetError(
                f"{where} lacks {name}, which its meta names: it was removed since it was opened; "
                f"{REMEDY}"
            )
        return with_remedy(error, self.remedy) if self.remedy else error

    def _was_replaced(self) -> bool:
        try:
            meta = self._snapshot.read(META_NAME)
        except FileNotFoundError:
            return Path(self._snapshot.where).exists() and not self._snapshot.is_current()
        return hashlib.sha256(meta).hexdigest() != self._digest

    def _take(self, number: int) -> NDArray[Any]:
        data, status = self._map(number)
        if (sha256 := self._sha256(number)) is None:
            return self._read(number, data, is_checked=False)
        with self._checked.once(number, sha256, status) as is_checked:
            return self._read(number, data, is_checked=is_checked)

    def _verify(self, number: int) -> NDArray[Any]:
        data, status = self._map(number)
        found = self._read(number, data, is_checked=False)
        if (sha256 := self._sha256(number)) is not None:
            self._checked.note(number, sha256, status)
        return found

    def _map(self, number: int) -> tuple[Bytes, os.stat_result | None]:
        """A file, and what says in which state it is: of one that is held, as it is by now."""
        name = _name_of(number)
        if self.in_use is not None:
            self.in_use.ask()
        if (held := self.held.get(number)) is None:
            return self._snapshot.map_file(name)
        data, opened = held
        now = self._snapshot.state_of(name)
        if now is None or opened is None or not os.path.samestat(now, opened):
            return data, None
        if _written(now) != _written(opened):
            held = self.held[number] = self._snapshot.map_file(name)
        return held

    def _read(
        self, number: int, data: Bytes, *, is_checked: bool, is_hashed: bool = False
    ) -> NDArray[Any]:
        index, is_spans = divmod(number, 2)
        where = f"{self._snapshot.where}/{_name_of(number)}"
        read = read_spans if is_spans else read_shard
        entry = self._entries[index]
        return read(data, where, entry, is_checked=is_checked, is_hashed=is_hashed)

    def _sha256(self, number: int) -> str | None:
        entry = self._entries[number // 2]
        return entry.spans_sha256 if number % 2 else entry.sha256


_numbers = count()
_opened: WeakValueDictionary[int, ShardFiles] = WeakValueDictionary()
_holding: WeakValueDictionary[int, ShardFiles] = WeakValueDictionary()


def _having() -> list[ShardFiles]:
    """Those that hold files, or what they decoded; others may come meanwhile."""
    return [files for each in _holding.valuerefs() if (files := each()) is not None]


def _memory_of(array: NDArray[Any]) -> int:
    """The bytes that an array keeps, of which it may be a view that leaves some out."""
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array.nbytes


def _written(status: os.stat_result) -> tuple[int, int, int]:
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns


def _after_fork() -> None:
    """Locks of the parent's threads are nobody's here, and what it decoded takes no memory."""
    _mapped.lock, _in_memory.lock = RLock(), RLock()
    for each in _opened.valuerefs():
        if (files := each()) is not None:
            files.locks, files.decoded_bytes = {}, 0


os.register_at_fork(after_in_child=_after_fork)


def with_enough_files(where: str, opening: Callable[[], _Result]) -> _Result:
    """What a function opens.

    Raises:
        DatasetError: the process has as many files open, or mapped, as it may.
    """
    try:
        return opening()
    except OSError as error:
        if error.errno == errno.ENOMEM:
            raise DatasetError(
                f"{where} cannot be mapped: there is no memory for it, or the process has as many "
                "mappings as it may; raise vm.max_map_count (sysctl), or close what is open"
            ) from error
        if error.errno != errno.EMFILE:
            raise
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        raise DatasetError(
            f"{where} cannot be opened: the process may have {most} files open, and has as many; "
            "raise the limit (ulimit -n), or close what is open"
        ) from error


def _name_of(number: int) -> str:
    """The name of a file by its number: the shard's, then that of its spans."""
    return spans_name(number // 2) if number % 2 else shard_name(number // 2)
