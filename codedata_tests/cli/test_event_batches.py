"""Batches of events in Dagster's SQLite history: whole or not at all, and read by Dagster."""

import sqlite3
import time
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.events import DagsterEvent, StepMaterializationData
from dagster._core.events.log import EventLogEntry
from dagster._core.storage.event_log import SqliteEventLogStorage

from codedata.cli.event_batches import BatchedEventLog
from codedata.cli.instance import make_instance, open_instance

KEY = dg.AssetKey(["s", "token_chunks"])
NUM_EVENTS = 30


def materialized(partition: int) -> EventLogEntry:
    made = dg.AssetMaterialization(
        KEY, partition=f"{partition:05d}", metadata={"tokens": partition}
    )
    event = DagsterEvent(
        event_type_value="ASSET_MATERIALIZATION",
        job_name="s",
        step_key="s",
        event_specific_data=StepMaterializationData(made),
    )
    return EventLogEntry(
        error_info=None,
        user_message="",
        level=10,
        run_id="run",
        timestamp=time.time(),
        job_name="s",
        step_key="s",
        dagster_event=event,
    )


def partitions(home: Path) -> set[str]:
    """As Dagster's own storage reads them."""
    with dg.DagsterInstance.local_temp(str(home)) as instance:
        assert type(instance.event_log_storage) is SqliteEventLogStorage
        return instance.get_materialized_partitions(KEY)


@pytest.fixture
def home(tmp_path: Path) -> Path:
    make_instance(tmp_path / ".dagster")
    return tmp_path / ".dagster"


def test_a_batch_is_committed_once_and_what_dagster_reads_is_the_same(home: Path) -> None:
    with open_instance(home) as instance:
        log = instance.event_log_storage
        log.store_event(materialized(0))
        index = home / "history" / "runs" / "index.db"
        with sqlite3.connect(index) as watching:
            version = watching.execute("PRAGMA data_version").fetchone()
            log.store_event_batch([materialized(number) for number in range(1, NUM_EVENTS)])
            assert watching.execute("PRAGMA data_version").fetchone()[0] == version[0] + 1
        watching.close()
    assert partitions(home) == {f"{number:05d}" for number in range(NUM_EVENTS)}


def test_a_batch_that_fails_stores_nothing(home: Path) -> None:
    with open_instance(home) as instance:
        log = BatchedEventLog(str(home / "history" / "runs"))
        log.store_event(materialized(0))
        with pytest.raises(Exception, match="is not a EventLogEntry"):
            log.store_event_batch([materialized(1), None])  # pyright: ignore[reportArgumentType]
        log.store_event(materialized(2))
        log.dispose()
        assert instance.get_materialized_partitions(KEY) == {"00000", "00002"}


def test_a_history_that_the_user_keeps_elsewhere_is_left_to_dagster(home: Path) -> None:
    config = home / "dagster.yaml"
    storage = f"storage: {{sqlite: {{base_dir: {home / 'own'}}}}}\n"
    config.write_text(config.read_text() + storage, encoding="utf-8")
    with open_instance(home) as instance:
        instance.event_log_storage.store_event(materialized(0))
    assert (home / "own" / "history" / "runs" / "index.db").exists()
    assert not (home / "history").exists()
