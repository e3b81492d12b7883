"""Dagster's history on Postgres, an event or a batch one transaction, for `codedata materialize`.

Dagster 1.13 connects and commits several times for an event, and takes planned events, of which a
run has one a partition, one by one from a batch: 4 ms of a core each, and waits for the disk. Here
connections stay open, and what is stored together is committed once. The tables are the same ones,
which any other process of Dagster reads.
"""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from threading import local
from typing import Any

from dagster._core.events.log import EventLogEntry
from dagster_postgres import PostgresEventLogStorage
from dagster_postgres.storage import DagsterPostgresStorage
from dagster_postgres.utils import (
    create_pg_connection,
    create_pg_engine,
    get_token_provider_from_config,
    pg_url_from_config,
)
from sqlalchemy import Connection

_KEPT_CONNECTIONS = 2
"""Dagster asks for a second one within the first."""


class BatchedPostgresLog(PostgresEventLogStorage):
    """See the module; `dagster>=1.13,<1.14` is what its parts below the interface are of."""

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self._begun = local()
        self._tables: set[str] = set()
        self._engine = create_pg_engine(
            self.postgres_url,
            self._token_provider,
            isolation_level="AUTOCOMMIT",
            pool_size=_KEPT_CONNECTIONS,
            pool_pre_ping=True,  # a server that was started again meanwhile
        )

    def store_event(self, event: EventLogEntry) -> None:
        """Store an event in one transaction."""
        with self._one_transaction():
            super().store_event(event)

    def store_event_batch(self, events: Sequence[EventLogEntry]) -> None:
        """Store events in one transaction: all of them, or none."""
        with self._one_transaction():
            super().store_event_batch(events)

    def has_table(self, table_name: str) -> bool:
        """See Dagster's; what was there once is not asked for again."""
        if table_name not in self._tables and super().has_table(table_name):
            self._tables.add(table_name)
        return table_name in self._tables

    @contextmanager
    def _one_transaction(self) -> Iterator[None]:
        if getattr(self._begun, "connection", None) is not None:  # of the batch that it is in
            yield
            return
        with create_pg_connection(self._engine) as connection:
            connection.execution_options(isolation_level="READ COMMITTED")
            with connection.begin():
                self._begun.connection = connection
                try:
                    yield
                finally:
                    self._begun.connection = None

    def _connect(self) -> AbstractContextManager[Connection]:
        begun: Connection | None = getattr(self._begun, "connection", None)
        return super()._connect() if begun is None else nullcontext(begun)


class BatchedPostgres(DagsterPostgresStorage):
    """Dagster's storage on Postgres with such a history."""

    def __init__(self, postgres_url: str, **named: Any) -> None:
        super().__init__(postgres_url, **named)
        named.pop("inst_data", None)
        self._event_log_storage = BatchedPostgresLog(postgres_url, **named)

    @classmethod
    def from_config_value(
        cls, inst_data: Any, config_value: Mapping[str, Any]
    ) -> "BatchedPostgres":
        """As Dagster makes it."""
        return cls(
            pg_url_from_config(config_value),
            inst_data=inst_data,
            should_autocreate_tables=config_value.get("should_autocreate_tables", True),
            token_provider=get_token_provider_from_config(config_value),
        )
