"""Arrow and parquet in order: columns, types, bad rows by their number, and what is damaged."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from codedata.errors import CorpusError
from codedata.sources.formats.rows import BadRows
from codedata_tests.sources.formats.reading import contents, read

NUMBERS = [*range(600)]


def write(path: Path, table: pa.Table) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path, row_group_size=400)
    else:
        feather.write_feather(table, str(path), chunksize=500)
    return path


@pytest.mark.parametrize("name", ["c.arrow", "c.parquet"])
def test_kept_columns_keep_their_types_and_a_column_in_a_struct_is_null_where_that_is(
    name: str, tmp_path: Path
) -> None:
    rows = [{"d": {"text": f"t{n}", "x": n}, "lang": "C", "t": [n]} for n in NUMBERS]
    rows[550]["d"] = None  # type: ignore[assignment]
    table = pa.Table.from_pylist(rows)
    lang = table["lang"].combine_chunks().dictionary_encode()
    path = write(tmp_path / name, table.set_column(1, "lang", lang))
    assert read(path, text="d.text", id="d.x", keep=("lang", "t")) == [
        {
            "content": None if n == 550 else f"t{n}",
            "d.x": None if n == 550 else n,
            "lang": "C",
            "t": [n],
        }
        for n in NUMBERS
    ]


@pytest.mark.parametrize("name", ["c.arrow", "c.parquet"])
def test_a_row_that_is_no_utf8_is_refused_by_its_number_or_left_out_and_counted(
    name: str, tmp_path: Path
) -> None:
    values = [b"x%d" % n for n in NUMBERS]
    values[3] = values[555] = b"\xff"
    path = write(tmp_path / name, pa.table({"content": pa.array(values), "n": NUMBERS}))
    with pytest.raises(CorpusError, match=rf"{name}, row 3: not valid UTF-8; mend or"):
        read(path)
    bad = BadRows(on_error="skip")
    rows = read(path, bad, keep=("n",))
    assert [row["n"] for row in rows] == [n for n in NUMBERS if n not in {3, 555}]
    assert bad.counts == {"not valid UTF-8": 2}


@pytest.mark.parametrize("name", ["c.arrow", "c.parquet"])
def test_a_file_without_the_column_or_with_one_that_is_no_text_is_refused(
    name: str, tmp_path: Path
) -> None:
    path = write(tmp_path / name, pa.table({"content": NUMBERS, "text": ["x"] * 600}))
    with pytest.raises(CorpusError, match=rf"column 'content' of {name} has type int64"):
        read(path)
    with pytest.raises(CorpusError, match=rf"{name} has no columns named 'txt'; .*text"):
        read(path, text="txt")
    assert contents(write(tmp_path / name, pa.table({"content": pa.array([], pa.string())}))) == []


def test_a_cut_or_damaged_arrow_file_is_refused_wherever_that_is(tmp_path: Path) -> None:
    path = write(tmp_path / "c.arrow", pa.table({"content": [f"x{n}" for n in NUMBERS]}))
    whole = path.read_bytes()
    for size in range(0, len(whole), 97):
        path.write_bytes(whole[:size])
        with pytest.raises(CorpusError, match=r"c\.arrow is (damaged: .*; fetch|empty)"):
            read(path)
    stream = tmp_path / "s.arrow"
    texts = pa.table({"content": ["abc", "def"]})
    with pa.ipc.new_stream(stream, texts.schema) as writer:
        writer.write_table(texts)
    data = stream.read_bytes()
    places = pa.py_buffer(pa.array([0, 3, 6], pa.int32()).buffers()[1]).to_pybytes()[:12]
    assert data.count(places) == 1
    stream.write_bytes(data.replace(places, b"\0\0\0\0\xff\xff\xff\x7f\6\0\0\0"))
    with pytest.raises(CorpusError, match=r"s\.arrow is damaged: .*[Oo]ffset"):
        read(stream)
