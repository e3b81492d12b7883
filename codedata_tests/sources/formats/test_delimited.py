"""csv and tsv as people write them by hand, and each bad row by its line."""

import csv
from pathlib import Path

import pytest

from codedata.errors import CorpusError
from codedata.sources.formats import delimited
from codedata.sources.formats.rows import BadRows
from codedata_tests.sources.formats.reading import contents, read


def written(path: Path, data: bytes) -> Path:
    path.write_bytes(data)
    return path


def test_line_ends_blank_lines_and_a_mark_are_no_rows_and_empty_fields_are_null(
    tmp_path: Path,
) -> None:
    for end in (b"\n", b"\r\n", b"\r"):
        data = b'\xef\xbb\xbfn,content\n\n1,"a\r\nb"\n2,\n3,""\n\n"4"," c"'
        path = written(tmp_path / "c.csv", data.replace(b"\n", end).replace(b"\r" + end, b"\r\n"))
        assert [text and text.split() for text in contents(path)] == [["a", "b"], None, None, ["c"]]
    tabs = written(tmp_path / "c.tsv", b'content\tn\n"a\tb, c"\t1\nd\'e\t2\n')
    assert contents(tabs) == ["a\tb, c", "d'e"]
    assert contents(written(tmp_path / "d.csv", b"content\n")) == []


WRONG_COLUMNS = {
    b"n;content\n1;a\n": r"no columns named 'content'; its columns are n;content; ",
    b"content,n,content\na,1,b\n": r"2 columns named 'content'",
    b"1,a\n2,b\n": r"no columns named 'content'; its columns are 1, a; ",
    b'"content\n': r"line 1: no names of columns \(unexpected end of data\)",
}


@pytest.mark.parametrize("data", WRONG_COLUMNS)
def test_a_header_without_the_column_is_refused_with_the_columns_it_has(
    data: bytes, tmp_path: Path
) -> None:
    with pytest.raises(CorpusError, match=f"c.csv(,| has) {WRONG_COLUMNS[data]}"):
        read(written(tmp_path / "c.csv", data))


BAD_ROWS = {
    b"1,a,b\n": r"line 4: not as many fields as there are columns \(3 of 2\)",
    b"1\n": r"line 4: not as many fields as there are columns \(1 of 2\)",
    b'1,"a" b\n': r"line 4: not valid csv \(',' expected after '\"'\)",
    b"1,\xe4\n": r"line 4: not valid UTF-8",
}


@pytest.mark.parametrize("row", BAD_ROWS)
def test_a_bad_row_is_refused_by_its_line_or_left_out_and_counted(
    row: bytes, tmp_path: Path
) -> None:
    path = written(tmp_path / "c.csv", b'n,content\n0,"x\ny"\n' + row + b"2,z\n")
    with pytest.raises(CorpusError, match=f"c.csv, {BAD_ROWS[row]}; mend or"):
        read(path)
    bad = BadRows(on_error="skip")
    assert [row["content"] for row in read(path, bad)] == ["x\ny", "z"]
    assert bad.counts.total() == 1


def test_bytes_that_are_no_utf8_matter_in_what_is_kept_alone(tmp_path: Path) -> None:
    path = written(tmp_path / "c.csv", b"content,n\na,\xe4\n")
    assert contents(path) == ["a"]
    with pytest.raises(CorpusError, match="line 2: not valid UTF-8"):
        read(path, keep=("n",))


def test_a_quote_that_nothing_ends_and_lines_without_end_are_bounded(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(delimited, "_MOST_CHARS", 1_000)
    try:
        path = written(tmp_path / "c.csv", b'content\na\n"' + b"b\n" * 2_000)
        with pytest.raises(CorpusError, match=r"field larger than field limit \(1000\)"):
            read(path)
        path = written(tmp_path / "c.csv", b"content\na\n" + b"b" * 2_000)
        with pytest.raises(CorpusError, match=r"line 3: more than 1,000 characters; write a file"):
            read(path, BadRows(on_error="skip"))
    finally:
        csv.field_size_limit(100_000_000)
