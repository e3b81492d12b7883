"""What sources of files with columns have in common: which column is what, and what bad rows do."""

from typing import Literal

from pydantic import Field

from codedata.sources.base import Source
from codedata.sources.columns import COLUMN, Columns


class TabularSource(Source):
    """A source whose files have columns, or lines with fields.

    Fields that are at their default are not among those that make a corpus another one.
    """

    text_column: str = Field(
        default=COLUMN,
        exclude_if=lambda column: column == COLUMN,
        description="Column of the documents; a dotted path names one within another.",
    )
    id_column: str | None = Field(
        default=None,
        exclude_if=lambda column: column is None,
        description="Column that identifies each document.",
    )
    keep_columns: list[str] | None = Field(
        default=None,
        exclude_if=lambda columns: columns is None,
        description="Columns that travel with each document; left out, those of The Stack that "
        "are there: repository, path, licences and language.",
    )
    on_error: Literal["refuse", "skip"] = Field(
        default="refuse",
        exclude_if=lambda on_error: on_error == "refuse",
        description="What a line or row that cannot be read does: refuse the file, or be left out "
        "and counted. Of parquets, every row must be sound.",
    )

    @property
    def columns(self) -> Columns:
        """Which column is what."""
        keep = None if self.keep_columns is None else tuple(self.keep_columns)
        return Columns(text=self.text_column, id=self.id_column, keep=keep)
