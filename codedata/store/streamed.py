"""A dataset that lies elsewhere -> an opened one whose files come here when they are asked for.

Here are its meta, facts and card; of its shards, and of what lies beside them, the sizes by one
listing. A file that is asked for is in the cache of this user (`store/cache.py`, `open_shard`), or
fetched, hashed, and put there: once for all processes of this machine. What the cache lets go of
while it is mapped stays as it is, until the process maps another.

Invariants: a stream is of one version for good, whatever is published later; nothing is given that
does not have the sha256 that the meta states; it pickles without entries and without credentials,
and another process asks for no listing.
"""

import hashlib
import threading
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Protocol

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.meta import (
    META_NAME,
    ShardEntry,
    file_index,
    file_names,
    parse_meta,
    shard_name,
    spans_name,
)
from codedata.format.shards import Bytes
from codedata.printable import printable
from codedata.progress import logger, megabytes
from codedata.store.cache import CACHE_VARIABLE, cache_place, max_cache_bytes
from codedata.store.cached_shards import (
    CacheFullError,
    ShardsHere,
    fetch_shard,
    find_shard,
    open_shard,
)
from codedata.store.dataset_folder import Dataset
from codedata.store.file_sizes import require_files
from codedata.store.files import map_file
from codedata.store.given_up import require_wanted
from codedata.store.shard_contents import empty
from codedata.store.shard_files import ShardFiles

PIECE_BYTES = 32 << 20
"""Of a file at once: three requests for a shard of 10,000 samples of 1,536 ids in three bytes each.
A connection of an object store gives some 50 MB/s."""

_ATTEMPTS = 2
"""At a file: a byte may have been changed on its way."""

_FULL_SECONDS = (0.0, 0.5, 1.0, 2.0)
"""For other processes to let go of what the cache gave up on a full disk, which they do at their
next shard; before each wait it gives up as much again."""

_SLOW_SECONDS = 10.0
"""After which who waits for a file is told: a shard of 60 MB comes in one or two."""


class Remote(Protocol):
    """A version of a dataset that lies elsewhere; picklable, without credentials.

    Attributes:
        where: the URL of exactly this version.
    """

    @property
    def where(self) -> str: ...  # noqa: D102

    def texts(self) -> tuple[bytes, bytes | None, bytes | None]:
        """The bytes of the meta, of codedata.yaml and of README.md; of this machine where they can.

        Raises:
            DatasetError: the version is gone.
        """
        ...

    def sizes(self, prefix: str) -> dict[str, int | None]:
        """See `Snapshot.sizes`: a listing."""
        ...

    def read(self, name: str, start: int, stop: int) -> bytes:
        """The bytes of a range of a file.

        Raises:
            FileNotFoundError: it is not there.
        """
        ...


@dataclass(frozen=True)
class Stream:
    """A dataset that is streamed, before its meta is read: what another process is given.

    Attributes:
        remote: where it lies.
        num_bytes: of each shard, and of the files beside it, shape (num_shards, 1 or 3); None
            before they were listed.
    """

    remote: Remote
    num_bytes: NDArray[np.int64] | None = None

    def open(self) -> Dataset:
        """Open it, without any of its shards.

        Raises:
            DatasetError: a file is missing, too many, or of a size that it cannot have; or the
                meta states no hashes, or a file is larger than the cache may be.
        """
        where = self.remote.where
        meta, *texts = self.remote.texts()
        entries = tuple(parse_meta(meta, f"{where}/{META_NAME}"))
        if not all(entry.sha256 for entry in entries):
            raise DatasetError(
                f"{where} has no sha256 in its meta, by which what is streamed is known; open it "
                "without stream=True, which copies it, or make it again"
            )
        num_bytes = self._listed(entries) if self.num_bytes is None else self.num_bytes
        snapshot, digest = (
            StreamSnapshot(self.remote, entries, num_bytes),
            hashlib.sha256(meta).hexdigest(),
        )
        return Dataset(
            folder=Path(where),
            digest=digest,
            entries=entries,
            files=StreamedFiles(snapshot, entries, digest),
            texts=(texts[0], texts[1]),
            url=where,
            stream=Stream(self.remote, num_bytes),
        )

    def _listed(self, entries: Sequence[ShardEntry]) -> NDArray[np.int64]:
        listing = _Listing(self.remote)
        require_files(listing, entries)
        sizes, most = listing.found, max_cache_bytes(cache_place("shards"))
        of_each = [[sizes[name] for name in entry.files(i)] for i, entry in enumerate(entries)]
        num_bytes = np.array(of_each, np.int64)
        if num_bytes.max() > most:
            raise DatasetError(
                f"{self.remote.where} has a file of {megabytes(num_bytes.max())}, more than the "
                f"{megabytes(most)} that the cache may have; raise {CACHE_VARIABLE}"
            )
        return num_bytes


class StreamSnapshot:
    """The files of a stream; see `Snapshot`.

    Args:
        remote: where they lie.
        entries: what the meta says of them.
        num_bytes: see `Stream`.
    """

    def __init__(
        self, remote: Remote, entries: Sequence[ShardEntry], num_bytes: NDArray[np.int64]
    ) -> None:
        self._remote, self._entries, self._num_bytes = remote, entries, num_bytes

    @property
    def where(self) -> str:
        """The URL of the version."""
        return self._remote.where

    def sizes(self, prefix: str) -> dict[str, int | None]:
        """See `Snapshot.sizes`."""
        return self._remote.sizes(prefix)

    def keep(self) -> "StreamSnapshot":
        """See `Snapshot.keep`."""
        return self

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        """See `Snapshot.read`; of a file that is mapped otherwise."""
        return self.map(name)[start:stop].tobytes()

    def map(self, name: str) -> Bytes:
        """See `Snapshot.map`."""
        return self.map_file(name)[0]

    def map_file(self, name: str) -> tuple[Bytes, None]:
        """See `Snapshot.map_file`; nothing need be remembered of what was hashed on its way."""
        if (file := find_shard(self._of(name)[0])) is None:
            with _told_if_slow(f"{self.where}/{name}"):
                file = self._open(name)
        with file:
            return map_file(file), None

    def state_of(self, name: str) -> None:
        """See `Snapshot.state_of`."""

    def loosen(self) -> None:
        """See `Snapshot.loosen`."""

    def fetch(self, name: str) -> None:
        """Have a file in the cache, as far as it has room, unless another process sees to it."""
        sha256, num_bytes = self._of(name)
        fetch_shard(sha256, num_bytes, lambda file: self._write(name, sha256, num_bytes, file))

    def is_current(self) -> bool:
        """It is of its version for good."""
        return True

    def num_bytes_of(self, index: int) -> int:
        """Of a shard and its spans."""
        return int(self._num_bytes[index, :2].sum())

    def _of(self, name: str) -> tuple[str, int]:
        """The sha256 of a file, and its bytes."""
        index = file_index(name)
        assert index is not None, name
        files = self._entries[index].files(index)
        return str(files[name]), int(self._num_bytes[index, [*files].index(name)])

    def _open(self, name: str) -> BinaryIO:
        sha256, num_bytes = self._of(name)
        return open_shard(
            sha256, num_bytes, lambda file: self._write(name, sha256, num_bytes, file), logger.info
        )

    def _write(self, name: str, sha256: str, num_bytes: int, file: BinaryIO) -> None:
        def read(start: int, stop: int | None) -> bytes:
            try:
                return self._remote.read(name, start, num_bytes if stop is None else stop)
            except FileNotFoundError as error:
                raise DatasetError(_gone(self.where, name)) from error

        write_hashed(file, read, num_bytes, sha256, f"{self.where}/{name}")


class _Listing:
    """The names and sizes of a version, before any of its files is brought here.

    Args:
        remote: where they lie.
    """

    def __init__(self, remote: Remote) -> None:
        self.where, self.found = remote.where, remote.sizes("dump-")

    def sizes(self, prefix: str) -> dict[str, int | None]:
        """See `Snapshot.sizes`."""
        return {name: size for name, size in self.found.items() if name.startswith(prefix)}

    def map(self, name: str) -> Bytes:
        """Asked for a file that does not have the size that it should have.

        Raises:
            DatasetError: it is gone, or has another.
        """
        if (num_bytes := self.found.get(name)) is None:
            raise DatasetError(_gone(self.where, name))
        if not num_bytes:
            raise empty(f"{self.where}/{name}")
        raise DatasetError(
            f"{self.where}/{name} has {num_bytes} bytes, which are none of a file as its meta "
            "states it: it was cut off, or something wrote over it; make the dataset again"
        )


class StreamedFiles(ShardFiles):
    """The shards of a stream; each was hashed when it arrived.

    What the cache let go of is held only until another file is mapped: a disk has room for the
    cache, not for all that processes ever mapped.
    """

    _snapshot: StreamSnapshot

    def __init__(
        self, snapshot: StreamSnapshot, entries: Sequence[ShardEntry], digest: str
    ) -> None:
        super().__init__(snapshot, entries, digest)
        self._seen, self._here = set[int](), ShardsHere()

    def fetch(self, index: int) -> None:
        """Have a shard here, and its spans, before they are asked for.

        Raises:
            DatasetError: they are gone or damaged.
            StoreError: the store does not give them.
        """
        for name in file_names(index, documents=self._entries[index].has_documents)[:2]:
            self._snapshot.fetch(name)

    def num_bytes(self, index: int) -> int:
        """Of what `fetch` fetches."""
        return self._snapshot.num_bytes_of(index)

    def _take(self, number: int) -> NDArray[Any]:
        index, is_spans = divmod(number, 2)
        name = (spans_name if is_spans else shard_name)(index)
        data, is_seen = self._brought(name), number in self._seen
        found = self._read(number, data, is_checked=is_seen, is_hashed=True)
        self._seen.add(number)
        self._drop_what_went()
        return found

    def _brought(self, name: str) -> Bytes:
        """A file, where the cache's disk is full once what is mapped left it."""
        self._drop_what_went()
        for seconds in _FULL_SECONDS:
            try:
                return self._snapshot.map(name)
            except CacheFullError:
                for held in [*self._arrays]:
                    self._drop(held)
                time.sleep(seconds)
        return self._snapshot.map(name)

    def _drop_what_went(self) -> None:
        if (here := self._here.changed()) is not None:
            for held in [*self._arrays]:
                if self._sha256(held) not in here:
                    self._drop(held)

    def _was_replaced(self) -> bool:
        return False


def write_hashed(
    file: BinaryIO,
    read: Callable[[int, int | None], bytes],
    num_bytes: int | None,
    sha256: str | None,
    where: str,
) -> None:
    """Write what lies elsewhere, hashed as it arrives; what has another hash is asked for again.

    Args:
        file: opened, where it goes.
        read: gives the bytes of a range, in pieces where the size is known.
        num_bytes: in all; None where it is not known.
        sha256: that they must have; None where it is not known.
        where: they lie.

    Raises:
        DatasetError: they have another, twice.
    """
    for _ in range(_ATTEMPTS):
        hashed = hashlib.sha256()
        file.seek(0)
        for start in range(0, 1 if num_bytes is None else num_bytes, PIECE_BYTES):
            require_wanted()
            piece = read(start, None if num_bytes is None else min(num_bytes, start + PIECE_BYTES))
            hashed.update(piece)
            file.write(piece)
        file.truncate()
        if sha256 in (None, hashed.hexdigest()):
            return
    raise DatasetError(
        f"{where} does not have the sha256 that its meta states; make the dataset again"
    )


def _gone(where: str, name: str) -> str:
    return (
        f"{where} lacks {name}, which its meta names: it was pruned, or something removed it; name "
        "another version, or make the dataset again"
    )


def require_unverified(where: str, *, verify: bool) -> None:
    """Refuse to verify all of what is streamed.

    Raises:
        DatasetError: it is asked for.
    """
    if verify:
        raise DatasetError(
            f"{where}: verify=True would bring all of what stream=True brings as it is needed, "
            "hashed as it arrives; leave one of them out"
        )


@contextmanager
def _told_if_slow(what: str) -> Generator[None]:
    """Say that a file is waited for, once that takes long."""
    line = f"{what}: waited for since {_SLOW_SECONDS:.0f} s"
    timer = threading.Timer(_SLOW_SECONDS, logger.warning, [printable(line)])
    timer.daemon = True
    with suppress(RuntimeError):  # there may be no more threads
        timer.start()
    try:
        yield
    finally:
        timer.cancel()
