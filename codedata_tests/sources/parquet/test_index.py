"""Counting: as far as a window reaches, whole row groups kept, none of them more than once."""

import json
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from codedata.format.ranges import CharRange
from codedata.places import cache_folder
from codedata.sources.parquet import index as module
from codedata.sources.parquet.decode import Batch, decode
from codedata.sources.parquet.footer import Parquet
from codedata.sources.parquet.text import ParquetText
from codedata_tests import scenario

DOCUMENTS = st.lists(st.one_of(st.none(), st.text(max_size=9)), min_size=1, max_size=25)


def sidecar_of(text: ParquetText) -> Path:
    assert text._sidecar is not None
    return text._sidecar


@settings(max_examples=60, deadline=None)
@given(
    documents=DOCUMENTS,
    row_group_size=st.integers(1, 30),
    run_bytes=st.sampled_from([0, 200, 10**6]),
    stops=st.lists(st.integers(1, 250), min_size=1, max_size=5),
)
def test_windows_in_any_order_are_clipped_to_the_text_and_leave_the_counts_of_whole_row_groups(
    documents: list[str | None],
    row_group_size: int,
    run_bytes: int,
    stops: list[int],
) -> None:
    assume(any(documents))
    plain = scenario.plain_text(documents)
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", folder)
        patch.setattr(module, "_RUN_BYTES", run_bytes)
        path = Path(folder) / "c.parquet"
        scenario.write_parquet(path, documents, row_group_size=row_group_size)
        text = ParquetText(path)
        for stop in stops:
            window = text.clip(CharRange(0, stop))
            assert window == CharRange(0, min(stop, len(plain)))
            assert text.read(window) == plain[:stop]
        groups = [
            documents[at:][:row_group_size] for at in range(0, len(documents), row_group_size)
        ]
        present = [[each for each in group if each is not None] for group in groups]
        counts = [
            (sum(map(len, has)) + len(has), len(has), len(group) - len(has))
            for group, has in zip(groups, present, strict=True)
        ]
        assert text.index.groups == counts[: len(text.index.groups)]
        assert ParquetText(path).index.groups == text.index.groups


def test_a_row_group_that_is_counted_in_part_is_no_part_of_the_sidecar(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    documents = ["ab", *["x" * 1_000_000] * 40]
    path = tmp_path / "c.parquet"
    pq.write_table(pa.table({"content": documents}), path, store_schema=False)
    text = ParquetText(path)
    window = text.clip(CharRange(0, 1_000))
    assert text.read(window) == scenario.plain_text(documents)[:1_000]
    assert text.index.groups == []
    assert 1_000 < text.index.begun.num_chars < 30_000_000, "not to the row group's end"
    assert not sidecar_of(text).exists()
    assert text.clip(CharRange(0, 10**9)).stop == 40_000_042
    assert json.loads(sidecar_of(text).read_bytes()) == [[40_000_043, 41, 0]]
    assert text.index.begun.num_chars == 0


@pytest.fixture
def decoded(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """Row groups that are decoded to be counted."""
    found: list[int] = []

    def recording(parquet: Parquet, groups: range) -> Iterator[Batch]:
        found.extend(groups)
        return decode(parquet, groups)

    monkeypatch.setattr(module, "decode", recording)
    return found


def test_row_groups_that_are_needed_are_counted_once(
    documents: list[str], tmp_path: Path, decoded: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = scenario.write_parquet(tmp_path / "c.parquet", documents, row_group_size=4)
    text = ParquetText(path)
    text.clip(CharRange(0, 10**9))
    assert sorted(decoded) == list(range(len(text.group_rows)))
    ParquetText(path).clip(CharRange(0, 10**9))
    assert len(decoded) == len(text.group_rows), "the sidecar knows them"


def test_without_a_home_folder_there_is_no_sidecar_and_nothing_else_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("XDG_CACHE_HOME")
    monkeypatch.setenv("HOME", "no/absolute/path")
    assert cache_folder() is None
    text = ParquetText(scenario.write_parquet(tmp_path / "c.parquet", ["ab", "cd"]))
    assert text.read(text.clip(CharRange(0, 9))) == "ab cd"
