"""Dagster's SQLite history with batches that are one transaction each, for `codedata materialize`.

Dagster 1.13 hands the events of a run's partitions over in batches (DAGSTER_EVENT_BATCH_SIZE), and
its SQLite storage then stores them one by one: two databases opened, committed and closed for each,
10 ms of a core and two waits for the disk. Here the connections of a process stay open, and a batch
is committed once. The files are the same ones, which any other process of Dagster reads.
"""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from threading import RLock
from typing import Any

import sqlalchemy
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage
from dagster._core.storage.sqlite import SQLITE_BUSY_TIMEOUT_SECONDS
from sqlalchemy.pool import StaticPool


class BatchedEventLog(SqliteEventLogStorage):
    """See the module; `dagster>=1.13,<1.14` is what its parts below the interface are of."""

    def __init__(self, base_dir: str, inst_data: Any = None) -> None:
        self._engines: dict[str, sqlalchemy.Engine] = {}
        self._batch: dict[str, sqlalchemy.Connection] | None = None
        self._of_batch = ExitStack()
        self._lock = RLock()
        super().__init__(base_dir, inst_data)

    @classmethod
    def from_config_value(cls, inst_data: Any, config_value: Any) -> "BatchedEventLog":
        """As Dagster makes it."""
        return cls(inst_data=inst_data, **config_value)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events in one transaction of each database: all of them, or none."""
        with self._lock, ExitStack() as self._of_batch:
            self._batch = {}
            try:
                super().store_event_batch(events)
            finally:
                self._batch = None

    def dispose(self) -> None:
        """Close what stayed open."""
        with self._lock:
            for engine in self._engines.values():
                engine.dispose()
            self._engines.clear()
        super().dispose()

    @contextmanager
    def _connect(self, shard: str) -> Iterator[sqlalchemy.Connection]:
        with self._lock:
            if self._batch is None:
                with self._engine(shard).begin() as connection:
                    yield connection
                return
            if shard not in self._batch:
                begun = self._engine(shard).begin()
                self._batch[shard] = self._of_batch.enter_context(begun)
            yield self._batch[shard]

    def _engine(self, shard: str) -> sqlalchemy.Engine:
        if shard not in self._engines:
            engine = sqlalchemy.create_engine(
                self.conn_string_for_shard(shard),
                poolclass=StaticPool,  # one connection, that threads take in turn
                connect_args={"timeout": SQLITE_BUSY_TIMEOUT_SECONDS, "check_same_thread": False},
            )
            if shard not in self._initialized_dbs:
                self._initdb(engine)
                self._initialized_dbs.add(shard)
            self._engines[shard] = engine
        return self._engines[shard]
