"""Files written in a test, and read as a source reads them."""

from pathlib import Path
from typing import Any

from codedata.sources.columns import Columns
from codedata.sources.formats.registry import format_of
from codedata.sources.formats.rows import BadRows


def read(path: Path, bad: BadRows | None = None, **columns: Any) -> list[dict[str, Any]]:
    """The rows of a file; by default bad ones are refused."""
    with path.open("rb") as opened:
        batches = format_of(path.name).read(opened, path.name, Columns(**columns), bad or BadRows())
        return [row for batch in batches for row in batch.to_pylist()]


def contents(path: Path, **columns: Any) -> list[str | None]:
    """The documents of a file."""
    return [row["content"] for row in read(path, **columns)]
