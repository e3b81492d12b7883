"""A store in memory that renames and overwrites nothing of a dataset, as an object store does not.

A dataset's files lie under `<name>/<version>/`; `<name>/_versions/<number>` is put last, if absent,
and says which version that is. The highest number is the dataset.
"""

import errno
import io
import os
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import numpy as np

from codedata.errors import DatasetError, TargetError
from codedata.format.shards import Bytes
from codedata.store.base import Data, Stage


def missing(name: str) -> FileNotFoundError:
    return FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), name)


def whole(data: Data) -> bytes:
    if not callable(data):
        return bytes(data)
    file = io.BytesIO()
    data(file)
    return file.getvalue()


@dataclass
class MemoryStore:
    """Objects by name."""

    objects: dict[str, bytes] = field(default_factory=dict)
    held: set[str] = field(default_factory=set)
    mutex: threading.Lock = field(default_factory=threading.Lock)

    def where(self, name: str) -> str:
        return f"memory:{name}"

    def put(self, name: str, data: Data) -> None:
        self.objects[name] = whole(data)

    def put_if_absent(self, name: str, data: Data) -> bool:
        with self.mutex:
            if name in self.objects:
                return False
            self.objects[name] = whole(data)
            return True

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        if name not in self.objects:
            raise missing(name)
        return self.objects[name][start:stop]

    def map(self, name: str) -> Bytes:
        return np.frombuffer(self.read(name), np.uint8)

    def list(self, prefix: str = "") -> Sequence[str]:
        return sorted(name for name in self.objects if name.startswith(prefix))

    @contextmanager
    def snapshot(self, name: str) -> Iterator["MemorySnapshot"]:
        heads = self.list(f"{name}/_versions/")
        if not heads:
            raise DatasetError(f"{self.where(name)} is no dataset folder: it has no version")
        yield MemorySnapshot(self, name, self.objects[heads[-1]].decode(), heads[-1])

    @contextmanager
    def stage(self, name: str) -> Iterator["MemoryStage"]:
        with self.mutex:
            if name in self.held:
                raise TargetError(f"the dataset {name} is being written by another run")
            self.held.add(name)
        stage = MemoryStage(self, name, f"v{len(self.list(f'{name}/_versions/'))}")
        try:
            yield stage
        finally:
            if not stage.is_published:
                for each in self.list(f"{name}/{stage.version}/"):
                    del self.objects[each]
            self.held.remove(name)


@dataclass
class MemorySnapshot:
    store: MemoryStore
    name: str
    version: str
    head: str

    @property
    def where(self) -> str:
        return self.store.where(self.name)

    @property
    def folder(self) -> str:
        return f"{self.name}/{self.version}/"

    def list(self) -> Sequence[str]:
        return [name.removeprefix(self.folder) for name in self.store.list(self.folder)]

    def read(self, name: str, start: int = 0, stop: int | None = None) -> bytes:
        with suppress(FileNotFoundError):
            return self.store.read(self.folder + name, start, stop)
        raise missing(name)

    def map(self, name: str) -> Bytes:
        return np.frombuffer(self.read(name), np.uint8)

    def is_current(self) -> bool:
        return self.head == self.store.list(f"{self.name}/_versions/")[-1]


class MemoryStage(Stage):
    def __init__(self, store: MemoryStore, name: str, version: str) -> None:
        self.store, self.name, self.version = store, name, version
        self.is_published = False

    def put(self, name: str, data: Data) -> None:
        self.store.put(f"{self.name}/{self.version}/{name}", data)

    def publish(self) -> None:
        number = len(self.store.list(f"{self.name}/_versions/"))
        head = f"{self.name}/_versions/{number:010d}"
        assert self.store.put_if_absent(head, self.version.encode()), "the lock is held"
        self.is_published = True
        for old in self.store.list(f"{self.name}/"):
            if not old.startswith((f"{self.name}/{self.version}/", f"{self.name}/_versions/")):
                del self.store.objects[old]
