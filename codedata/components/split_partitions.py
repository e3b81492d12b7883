"""Whether a partition of a split is a chunk or a file, and how many a run of a backfill takes.

    <root>/chunks/<split>/partitions.json      {"partitions": "file"}

Chosen when definitions load: as the YAML says; else as at the last run, which records it; else by
the number of files. So more files never change the partitions of a split that was made once. The
chunks that are stored are the same ones either way.
"""

import json
from typing import Literal, cast

import dagster as dg
from pydantic import Field, field_validator

from codedata.errors import SettingsError
from codedata.layout import Layout
from codedata.recipe.judging import no_truth
from codedata.store import state

Partitions = Literal["file", "chunk"]

RECORD_NAME = "partitions.json"


class Backfill(dg.Resolvable, dg.Model):
    """How a backfill of a split's chunks is divided into runs."""

    partitions_per_run: int = Field(description="Most partitions of a run.")

    @field_validator("partitions_per_run", mode="before")
    @classmethod
    def _is_no_truth(cls, value: object) -> object:
        return no_truth("partitions_per_run", value)

    @field_validator("partitions_per_run")
    @classmethod
    def _is_positive(cls, value: int) -> int:
        if value < 1:
            raise SettingsError(f"partitions_per_run of backfill is {value}; write 1 or more")
        return value


def recorded_partitions(layout: Layout, split: str) -> Partitions | None:
    """What the partitions of a split were at its last run; None where it has no chunks.

    Raises:
        SettingsError: the record says neither.
    """
    folder = layout.chunks(split)
    record = folder / RECORD_NAME
    state.pull(layout, record)
    try:
        found = json.loads(record.read_bytes())["partitions"]
    except FileNotFoundError:
        # Before there were records, each chunk was a partition.
        return "chunk" if any(folder.glob("*/*.arrow")) else None
    except (ValueError, LookupError, TypeError):
        found = None
    if found not in ("file", "chunk"):
        raise SettingsError(
            f"{record} does not say whether partitions are files or chunks; remove it, and write "
            f"partitions: file or partitions: chunk into the YAML of split {split!r}"
        )
    return cast("Partitions", found)


def record_partitions(layout: Layout, split: str, partitions: Partitions) -> None:
    """Keep what the partitions of a split are, for when its corpus has more files."""
    folder = layout.chunks(split)
    data = json.dumps({"partitions": partitions}).encode()
    record = folder / RECORD_NAME
    if not record.exists() or record.read_bytes() != data:
        state.put_state(layout, record, data)
