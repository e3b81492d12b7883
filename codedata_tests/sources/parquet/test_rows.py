"""What is kept of documents: of any rows it is theirs, and only what it needs is read."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.sources.columns import Columns
from codedata.sources.parquet import rows as module
from codedata.sources.parquet.text import ParquetText
from codedata_tests.sources.parquet.test_text import overwrite_pages

NUM_ROWS = 40
KEPT: dict[str, pa.Array] = {
    "path": pa.array([f"p{row}" for row in range(NUM_ROWS)]),
    "stars": pa.array([row if row % 3 else None for row in range(NUM_ROWS)], pa.int32()),
    "licences": pa.array([["mit"] * (row % 3) for row in range(NUM_ROWS)]),
    "meta": pa.array([{"a": row, "b": [{"c": str(row)}]} for row in range(NUM_ROWS)]),
    "lang": pa.array(["C", "Go"] * (NUM_ROWS // 2)).dictionary_encode(),
    "view": pa.array([f"beyond twelve bytes {row}" for row in range(NUM_ROWS)], pa.string_view()),
    "json": pa.array(["{}"] * NUM_ROWS).cast(pa.json_(pa.string())),
}
CONTENTS = [None if row % 7 == 3 else f"text {row}" for row in range(NUM_ROWS)]
EXPECTED = pa.table({**KEPT, "meta.a": list(range(NUM_ROWS))}).to_pylist()


@pytest.fixture(scope="module")
def parquet(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Row groups of nine rows; the pages of a column that is not kept are garbage."""
    path = tmp_path_factory.mktemp("rows") / "c.parquet"
    unused = pa.array(range(NUM_ROWS))
    pq.write_table(pa.table({"content": CONTENTS, "unused": unused, **KEPT}), path, 9)
    overwrite_pages(path, column="unused", row_groups=range(5))
    return path


def text_of(path: Path, *keep: str) -> ParquetText:
    return ParquetText(path, columns=Columns(keep=keep))


@settings(max_examples=60, deadline=None)
@given(
    rows=st.lists(st.integers(0, NUM_ROWS - 1), unique=True),
    keep=st.lists(st.sampled_from(list(EXPECTED[0])), unique=True, min_size=1),
    batch_rows=st.sampled_from([1, 4, 1024]),
)
def test_of_any_rows_it_is_theirs_in_their_order_and_of_its_own_type(
    rows: list[int], keep: list[str], batch_rows: int, parquet: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_BATCH_ROWS", batch_rows)
        found = text_of(parquet, *keep).kept(np.array(sorted(rows), np.int64))
    assert found.to_pylist() == [
        {name: EXPECTED[row][name] for name in keep} for row in sorted(rows)
    ]
    schema = pq.read_schema(parquet).append(pa.field("meta.a", pa.int64()))
    assert found.schema.types == [schema.field(name).type for name in keep]


def test_documents_of_a_range_come_with_what_is_kept_of_them(parquet: Path) -> None:
    text = text_of(parquet, "path", "stars")
    text.clip(CharRange(0, 10**9))
    rows: list[int] = []
    for batch in text.documents(CharRange(70, 200)):
        kept = text.kept(batch.rows).to_pylist()
        assert [int(each["path"][1:]) for each in kept] == batch.rows.tolist()
        assert [f"text {row}" for row in batch.rows] == batch.texts.to_pylist()
        rows += batch.rows.tolist()
    assert rows == [row for row in range(rows[0], rows[-1] + 1) if row % 7 != 3]
    assert len(rows) > 10


def test_the_first_documents_are_shown_with_what_is_kept_even_where_that_is_no_text(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.parquet"
    names = pa.array([b"a", b"b", b"caf\xe9", b"d"]).view(pa.string())
    pq.write_table(pa.table({"path": names, "content": ["x", None, "y", "z"]}), path)
    text = ParquetText(path)
    assert text.first_documents(2) == ["x", "y"]
    [first, second] = text.first_with_kept(2)
    assert first == ("x", {"path": "a"})
    assert second[0] == "y"
    assert "can't decode byte 0xe9 in position 3" in second[1]["path"]
    assert [kept for _, kept in text_of(path).first_with_kept(9)] == [{}, {}, {}]


def test_damage_in_what_is_kept_is_named_and_leaves_the_text_alone(parquet: Path) -> None:
    text = text_of(parquet, "unused")
    assert text.read(text.clip(CharRange(0, 6))) == "text 0"
    with pytest.raises(CorpusError) as refusal:
        text.kept(np.array([20]))
    assert f"{parquet} is damaged in row group 2: " in str(refusal.value)
    assert str(refusal.value).endswith("; fetch it again")


def test_rows_that_the_footer_claims_and_are_not_there_are_damage(parquet: Path) -> None:
    text = text_of(parquet, "path")
    text._parquet.footer.first_rows[5] = 99
    with pytest.raises(
        CorpusError, match="in row group 4: its footer says 4 rows, and 4 are there"
    ):
        text.kept(np.array([38, 60]))
