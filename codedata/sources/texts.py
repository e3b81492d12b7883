"""Any iterable of texts -> a parquet of them, which is then a corpus like any other."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import CorpusError
from codedata.sources.parquet.footer import COLUMN
from codedata.store.files import replace_atomically

_SCHEMA = pa.schema([pa.field(COLUMN, pa.string())])

_GROUP_CHARS = 4_000_000
"""Of a row group, which is held in memory while it is written, and decoded at once later."""


def write_texts(texts: Iterable[str], parquet: Path) -> None:
    """Write texts as the documents of a parquet, in their order, a row group in memory at once.

    Args:
        texts: the documents; what gives them is asked once.
        parquet: where they go; an old file is replaced.

    Raises:
        CorpusError: one is no text, or there are none.
    """
    if isinstance(texts, str):
        raise CorpusError("texts are one str, whose letters would be documents; put it in a list")
    parquet.parent.mkdir(parents=True, exist_ok=True)
    replace_atomically(parquet, lambda file: _write(texts, file))


def _write(texts: Iterable[str], file: BinaryIO) -> None:
    with pq.ParquetWriter(file, _SCHEMA, compression="zstd") as writer:
        for group in _groups(texts):
            writer.write_table(pa.table([pa.array(group, pa.string())], schema=_SCHEMA))


def _groups(texts: Iterable[str]) -> Iterator[list[str]]:
    group: list[str] = []
    num_chars = number = 0
    for number, text in enumerate(texts, 1):
        if not isinstance(text, str):
            raise CorpusError(f"text {number - 1} is of type {type(text).__name__}; give str")
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise CorpusError(
                f"text {number - 1} holds a lone surrogate at character {error.start}, which no "
                "UTF-8 has; decode its bytes with errors='replace', or leave it out"
            ) from error
        group.append(text)
        num_chars += len(text)
        if num_chars >= _GROUP_CHARS:
            yield group
            group, num_chars = [], 0
    if group:
        yield group
    if not number:
        raise CorpusError("there are no texts; give at least one")
