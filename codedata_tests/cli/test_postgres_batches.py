"""Batches of events on Postgres: one transaction, all or nothing, and read by Dagster's own."""

from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent
from dagster._core.events.log import EventLogEntry
from sqlalchemy import text

from codedata.cli.instance import make_instance, open_instance
from codedata_tests.cli.test_event_batches import KEY, NUM_EVENTS, materialized
from codedata_tests.components.postgres_server import needs_postgres, postgres

__all__ = ["postgres"]  # a fixture

pytest.importorskip("dagster_postgres")
from dagster_postgres import PostgresEventLogStorage

from codedata.cli.postgres_batches import BatchedPostgresLog

pytestmark = [pytest.mark.campaign, *needs_postgres]

STORAGE = """
storage:
  postgres:
    postgres_db:
      {{scheme: postgresql+psycopg2, hostname: 127.0.0.1, port: {port}, db_name: postgres,
      username: postgres, password: none}}
"""


@pytest.fixture
def home(postgres: int, tmp_path: Path) -> Path:
    make_instance(tmp_path)
    config = tmp_path / "dagster.yaml"
    storage = STORAGE.format(port=postgres)
    config.write_text(config.read_text(encoding="utf-8") + storage, encoding="utf-8")
    return tmp_path


def planned(partition: str) -> EventLogEntry:
    """One of those that Dagster's own storage takes one by one from a batch."""
    data = AssetMaterializationPlannedData(KEY, partition=partition, partitions_subset=None)
    event = DagsterEvent.build_asset_materialization_planned_event("s", "s", data)
    return materialized(0)._replace(dagster_event=event)


def test_what_is_stored_together_is_one_transaction_all_or_nothing(home: Path) -> None:
    materializations = [materialized(number) for number in range(NUM_EVENTS)]
    with open_instance(home) as instance:
        log = instance.event_log_storage
        assert isinstance(log, BatchedPostgresLog)
        log.store_event(planned("00000"))
        log.store_event_batch([planned(f"{number:05d}") for number in range(1, NUM_EVENTS)])
        with pytest.raises(ValueError, match="NUL"):
            log.store_event_batch([planned("refused"), planned("\0")])
        log.store_event_batch(materializations)
        log.store_event(materialized(NUM_EVENTS))
        with log.index_connection() as connection:
            stored = connection.execute(text("select xmin::text, partition from event_logs"))
            by_transaction: dict[str, list[str]] = {}
            for transaction, partition in stored:
                by_transaction.setdefault(transaction, []).append(partition)
    of_each = sorted(map(len, by_transaction.values()))
    assert of_each == [1, 1, NUM_EVENTS - 1, NUM_EVENTS], by_transaction
    assert "refused" not in {partition for each in by_transaction.values() for partition in each}
    with dg.DagsterInstance.from_config(str(home)) as as_dagster_reads_it:
        assert type(as_dagster_reads_it.event_log_storage) is PostgresEventLogStorage
        made = as_dagster_reads_it.get_materialized_partitions(KEY)
        assert made == {f"{number:05d}" for number in range(NUM_EVENTS + 1)}
        latest = as_dagster_reads_it.get_latest_materialization_event(KEY)
        assert latest is not None
        assert latest.get_dagster_event().partition == f"{NUM_EVENTS:05d}"
