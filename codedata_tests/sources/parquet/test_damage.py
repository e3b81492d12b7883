"""Flipped bits: whatever is damaged, the text is right or the file is refused in one line.

The files are read in another process: pyarrow ends it on some damage, and the tests with it. Pages
carry checksums, so that no flip in them goes unseen; their headers have none in this format.
"""

import random
import re
from collections import Counter
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.sources.parquet.text import ParquetText
from codedata_tests import scenario

DOCUMENTS = ["int a;\n", None, "é🙂 b", "", "int a;\n", "x" * 300, "long c;" * 20, None, "d"] * 3

FILES: dict[str, dict[str, Any]] = {
    "dictionary": {},
    "plain": {"use_dictionary": False},
    "second version": {"data_page_version": "2.0", "compression": "zstd"},
    "prefixes": {"use_dictionary": False, "column_encoding": {"content": "DELTA_BYTE_ARRAY"}},
}

Flip = tuple[int, int]
"""A byte's place in the file, and a bit's in it."""


def outcomes(path: Path, flips: Sequence[Flip]) -> dict[str, int]:
    """What came of each flip, counted: in another process, for it may end there."""
    data, plain = path.read_bytes(), scenario.plain_text(DOCUMENTS)
    found: Counter[str] = Counter()
    for place, bit in flips:
        damaged = bytearray(data)
        damaged[place] ^= 1 << bit
        path.write_bytes(damaged)
        try:
            text = ParquetText(path)
            is_right = text.read(text.clip(CharRange(0, 10**9))) == plain
            found["right" if is_right else f"wrong: {place}, {bit}"] += 1
        except CorpusError as error:
            message = str(error)
            is_short = "\n" not in message and len(message) < 1_000 and path.name in message
            found["refused" if is_short else message] += 1
    return dict(found)


def write(path: Path, options: dict[str, Any]) -> int:
    """The documents as a parquet; its size."""
    table = pa.table({"content": DOCUMENTS})
    pq.write_table(table, path, row_group_size=7, write_page_checksum=True, **options)
    return path.stat().st_size


def test_a_flipped_bit_gives_the_right_text_or_one_line(tmp_path: Path) -> None:
    drawn = random.Random(0)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        for name, options in FILES.items():
            path = tmp_path / f"{name}.parquet"
            num_bytes = write(path, options)
            flips = [(drawn.randrange(num_bytes), drawn.randrange(8)) for _ in range(150)]
            found = process.submit(outcomes, path, flips).result()
            assert sorted(found) == ["refused", "right"], name
            assert min(found.values()) > 25


@pytest.mark.long
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("options", FILES.values(), ids=FILES)
def test_every_flipped_bit_gives_the_right_text_or_one_line(
    options: dict[str, Any], tmp_path: Path
) -> None:
    path = tmp_path / "c.parquet"
    flips = [(place, bit) for place in range(write(path, options)) for bit in range(8)]
    metadata = pq.read_metadata(path)
    with ProcessPoolExecutor(1, get_context("spawn")) as process:
        found = process.submit(outcomes, path, flips).result()
    unseen = {int(place) for place in re.findall(r"wrong: (\d+), ", "\n".join(found))}
    assert unseen <= in_page_headers(metadata)
    assert {each.partition(":")[0] for each in found} <= {"refused", "right", "wrong"}
    assert found["right"] + found["refused"] > 0.995 * len(flips)


def in_page_headers(metadata: pq.FileMetaData) -> set[int]:
    """The places in the headers of the first pages: some forty bytes where pages begin."""
    columns = [metadata.row_group(group).column(0) for group in range(metadata.num_row_groups)]
    offsets = [(each.dictionary_page_offset, each.data_page_offset) for each in columns]
    starts = [start for pair in offsets for start in pair if start is not None]
    return {place for start in starts for place in range(start, start + 40)}
