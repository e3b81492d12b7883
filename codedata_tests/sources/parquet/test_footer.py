"""What a parquet says of itself: parsed once, refused in one line where it is of no use."""

import errno
import pickle
import resource
import time
from contextlib import suppress
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedata.sources.parquet.footer import Parquet, said
from codedata.sources.parquet.text import ParquetText
from codedata_tests import scenario
from codedata_tests.sources.parquet.test_text import WIDE, refusal, whole_text


def replace_byte(path: Path, place: int, value: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] = value
    path.write_bytes(data)


# Row groups


def cpu_seconds(path: Path) -> float:
    started = time.process_time()
    text = ParquetText(path)
    window = text.clip(WIDE)
    assert sum(len(text.read_utf8(chars)) for chars in window.cut(100_000)) == window.num_chars
    return time.process_time() - started


def test_thousands_of_row_groups_take_hardly_longer_than_one(tmp_path: Path) -> None:
    """The footer parsed once a row group grew as a square: to 60 s of processor time for 3,000."""
    rows = {"content": ["int f(int a) { return a + 1; }\n" * 8] * 1_500}
    table = pa.table({**rows, **{f"c{place}": ["x"] * 1_500 for place in range(8)}})
    pq.write_table(table, tmp_path / "one.parquet")
    pq.write_table(table, tmp_path / "many.parquet", row_group_size=1)
    assert pq.read_metadata(tmp_path / "many.parquet").num_row_groups == 1_500
    assert cpu_seconds(tmp_path / "many.parquet") < cpu_seconds(tmp_path / "one.parquet") + 1.5


def test_a_file_of_empty_row_groups_is_refused_at_once(tmp_path: Path) -> None:
    empty = pa.table({"content": pa.array([], pa.string())})
    with pq.ParquetWriter(tmp_path / "c.parquet", empty.schema) as writer:
        for _ in range(3_000):
            writer.write_table(empty)
    started = time.process_time()
    assert "holds no text: 0 rows" in refusal(tmp_path / "c.parquet")
    assert time.process_time() - started < 3


def test_the_footer_does_not_travel_with_the_file_and_is_parsed_again_there(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    scenario.write_parquet(path, ["a"] * 500, row_group_size=1)
    parquet = Parquet(path)
    copy: Parquet = pickle.loads(pickle.dumps(parquet))
    assert len(pickle.dumps(parquet)) < 1_000
    assert copy.footer.first_rows == parquet.footer.first_rows == list(range(501))


COUNTS = {
    "of the row group": lambda metadata: metadata.row_group(0).num_rows,
    "of the values": lambda metadata: metadata.row_group(0).column(0).num_values,
}


@pytest.mark.parametrize("num_others", [0, 2])
def test_a_footer_that_claims_more_rows_than_there_are_is_refused(
    num_others: int, tmp_path: Path
) -> None:
    """Each way that it can: a number that is 3, in Thrift's zigzag 6, says one more."""
    path = tmp_path / "c.parquet"
    documents = ["a", "b", "c"] * (1 + num_others)
    pq.write_table(pa.table({"content": documents}), path, row_group_size=3, write_statistics=False)
    data = path.read_bytes()
    before = {name: count(pq.read_metadata(path)) for name, count in COUNTS.items()}
    footer = len(data) - 8 - int.from_bytes(data[-8:-4], "little")
    places: dict[str, int] = {}
    for place in range(footer, len(data) - 8):
        path.write_bytes(data)
        replace_byte(path, place, data[place] + 2 & 0xFF)
        with suppress(OSError, pa.ArrowException):
            metadata = pq.read_metadata(path)
            for name, count in COUNTS.items():
                if data[place] == 6 and count(metadata) == before[name] + 1:
                    places[name] = place
    assert sorted(places) == sorted(COUNTS)
    for wrong in (["of the row group"], ["of the values"], [*COUNTS]):
        path.write_bytes(data)
        for name in wrong:
            replace_byte(path, places[name], data[places[name]] + 2)
        found = refusal(path)
        assert f"{path} is damaged in row group 0: its footer says " in found, wrong
        assert "and 3 are there; fetch it again" in found


def test_what_the_system_does_not_give_is_no_damage(tmp_path: Path) -> None:
    parquet = Parquet(scenario.write_parquet(tmp_path / "c.parquet", ["ab"]))
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        with pytest.raises(OSError, match="Too many open files") as error:
            parquet.open()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert error.value.errno == errno.EMFILE


# Columns


def test_text_that_parquet_calls_json_is_text(tmp_path: Path) -> None:
    """As DuckDB and the hub's viewer write it; also without Arrow's own schema in the file."""
    documents = ['{"a": 1}', None, "[]"]
    column = pa.array(documents).cast(pa.json_(pa.string()))
    for store_schema in (True, False):
        path = tmp_path / f"{store_schema}.parquet"
        pq.write_table(pa.table({"content": column}), path, store_schema=store_schema)
        assert whole_text(path) == '{"a": 1} []'
        assert ParquetText(path).first_documents(2) == ['{"a": 1}', "[]"]


def test_a_column_whose_name_goes_on_after_a_dot_is_another(tmp_path: Path) -> None:
    for names in (("content", "content.size"), ("content.size", "content")):
        values = {"content": ["ab", "c"], "content.size": ["2", "1"]}
        pq.write_table(pa.table({name: values[name] for name in names}), tmp_path / "c.parquet")
        assert whole_text(tmp_path / "c.parquet") == "ab c"


def test_of_thousands_of_columns_ten_are_named(tmp_path: Path) -> None:
    path = tmp_path / "c.parquet"
    names = ["x" * 1_000, *(f"c{place}" for place in range(2_999))]
    pq.write_table(pa.table({name: [1] for name in names}), path)
    found = refusal(path)
    assert f"its columns are {'x' * 200}..., c0, c1, " in found
    assert "c8 and 2,990 more; rename the one that holds the documents" in found
    assert len(found) < 1_000


# Files that are no parquet of documents


def test_a_folder_is_refused_with_what_could_be_named(tmp_path: Path) -> None:
    folder = tmp_path / "corpus"
    folder.mkdir()
    assert "(those in it: (none))" in refusal(folder)
    for place in range(12):
        (folder / f"{place:02}.parquet").touch()
    (folder / "notes.txt").touch()
    found = refusal(folder)
    assert f"{folder} is a folder; name one parquet file (those in it: 00.parquet, 01." in found
    assert "09.parquet and 2 more), or read a folder of source code as a corpus of `kind: " in found


def test_an_error_of_several_lines_becomes_one_and_is_shortened() -> None:
    assert (
        said(OSError("Couldn't\n  deserialize\tthrift:\n\n no"))
        == "Couldn't deserialize thrift: no"
    )
    assert len(said(OSError("x" * 100_000))) < 300
