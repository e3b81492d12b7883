"""JSON of every shape: which columns there are, what is kept, and each bad row by its number."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from codedata.errors import CorpusError
from codedata.sources.formats import json_rows
from codedata.sources.formats.rows import BadRows
from codedata_tests.sources.formats.reading import contents, read

GOOD = '{"content": "good"}\n'


def written(path: Path, text: str | bytes) -> Path:
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return path


def test_the_first_row_says_which_columns_there_are_and_later_ones_may_lack_them(
    tmp_path: Path,
) -> None:
    rows: list[Any] = [
        {
            "text": None,
            "a.b": 1,
            "a": {"b": 2, "c": {"d": "x"}},
            "lang": "C",
            "n": [1, {"ü": None}],
        },
        {"text": "t", "a": {"c": None}, "path": "not in the first", "n": float("nan")},
        {"lang": 7, "a": 5, "n": 2**70},
        {"text": "u", "a": {"c": {"d": True}}},
    ]
    path = written(tmp_path / "c.jsonl", "".join(json.dumps(row) + "\n" for row in rows))
    assert read(path, text="text") == [
        {"content": None, "lang": "C"},
        {"content": "t", "lang": None},
        {"content": None, "lang": "7"},
        {"content": "u", "lang": None},
    ], "of those of The Stack, what the first row has"
    kept = read(path, text="text", id="a.b", keep=("a.c.d", "n", "a"))
    assert [[*row.values()] for row in kept] == [
        [None, "1", "x", '[1, {"ü": null}]', '{"b": 2, "c": {"d": "x"}}'],
        ["t", None, None, "NaN", '{"c": null}'],
        [None, None, None, str(2**70), "5"],
        ["u", None, "true", None, '{"c": {"d": true}}'],
    ], "strings as they are, anything else as its JSON"


WRONG_COLUMNS = {
    "txet": r"c.jsonl has no columns named 'txet'; its columns are text, a; .*text_column",
    "a": r"column 'a' of c.jsonl has type struct.*must be text; name one within it: a.b",
    "a.c": r"'a' has type struct",
}


@pytest.mark.parametrize("column", WRONG_COLUMNS)
def test_a_column_that_the_first_row_has_not_is_refused_with_those_it_has(
    column: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "c.jsonl", '{"text": "t", "a": {"b": "c", "\\ud800": 1}}\n')
    with pytest.raises(CorpusError, match=WRONG_COLUMNS[column]):
        read(path, text=column)
    with pytest.raises(CorpusError, match=r"no columns named 'd'.*id_column"):
        read(path, text="text", id="d")
    with pytest.raises(CorpusError, match=r"no columns named 'd'.*keep_columns"):
        read(path, text="text", keep=("a", "d"))


def test_of_equal_keys_the_last_one_counts_and_deep_nesting_beside_the_text_is_no_matter(
    tmp_path: Path,
) -> None:
    deep = '{"a":' * 300 + "1" + "}" * 300
    path = written(tmp_path / "c.jsonl", f'{{"content": 1, "deep": {deep}, "content": "b"}}\n')
    assert contents(path) == ["b"]


BAD_LINES: dict[str, tuple[str | bytes, str]] = {
    "cut off": ('{"content": "x', r"not valid JSON \(Invalid control character at character 14\)"),
    "two on a line": ('{"content": "x"} {}', r"not valid JSON \(Extra data at character 17\)"),
    "control character": ('{"content": "a\tb"}', r"not valid JSON \(Invalid control character"),
    "python": ("{'content': None}", r"not valid JSON \(Expecting property name"),
    "a number of 5,000 digits": (
        '{"n": %s}' % ("1" * 5_000),
        r"not valid JSON \(Exceeds the limit",
    ),
    "brackets": ("[" * 200_000, r"not valid JSON \("),
    "latin-1": (b'{"content": "\xe4"}', r"not valid UTF-8 \(byte 13\)"),
    "surrogate as UTF-8": (b'{"content": "\xed\xa0\x80"}', r"not valid UTF-8 \(byte 13\)"),
    "lone surrogate": (r'{"content": "a\ud800b"}', r"a lone surrogate, which no UTF-8 has"),
    "one in what is kept": (r'{"content": "", "lang": ["\udfff"]}', r"a lone surrogate"),
    "an array": ('["content"]', r"no JSON object"),
    "a string": ('"content"', r"no JSON object"),
    "a text that is a number": ('{"content": 1.5}', r"'content' is a number, no text"),
    "one that is true": ('{"content": true}', r"'content' is true or false, no text"),
    "one that is a list": ('{"content": ["a"]}', r"'content' is an array, no text"),
    "one that is an object": ('{"content": {}}', r"'content' is an object, no text"),
}


@pytest.mark.parametrize("what", BAD_LINES)
def test_a_bad_line_is_refused_by_its_number_or_left_out_and_counted(
    what: str, tmp_path: Path
) -> None:
    line, message = BAD_LINES[what]
    line = line if isinstance(line, bytes) else line.encode()
    first = b'\n{"content": "good", "lang": "C"}\r\n'
    path = written(tmp_path / "c.jsonl", first + line + b"\n" + GOOD.encode() + line)
    with pytest.raises(
        CorpusError, match=f"c.jsonl, line 3: {message}.*`on_error: skip`"
    ) as refusal:
        read(path)
    assert "\n" not in str(refusal.value)
    bad = BadRows(on_error="skip")
    assert [row["content"] for row in read(path, bad)] == ["good", "good"]
    assert [*bad.counts.values()] == [2]


def test_what_is_left_out_is_counted_by_its_reason(tmp_path: Path) -> None:
    lines = [line if isinstance(line, bytes) else line.encode() for line, _ in BAD_LINES.values()]
    path = written(tmp_path / "c.jsonl", b"\n".join([b'{"content": "", "lang": ""}', *lines]))
    bad = BadRows(on_error="skip")
    assert len(read(path, bad)) == 1
    assert bad.counts == Counter(
        {
            "not valid JSON": 6,
            "not valid UTF-8": 2,
            "a lone surrogate, which no UTF-8 has": 2,
            "no JSON object": 2,
            "'content' is a number, no text": 1,
            "'content' is true or false, no text": 1,
            "'content' is an array, no text": 1,
            "'content' is an object, no text": 1,
        }
    )


def test_a_line_that_is_too_long_is_a_bad_one_like_others(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(json_rows, "MAX_DOCUMENT_BYTES", 2_500_000)
    long = json.dumps({"content": "x" * 2_400_000}) + "\n"
    longer = json.dumps({"content": "x" * 9_000_000}) + "\n"
    path = written(tmp_path / "c.jsonl", GOOD + long + longer + GOOD + longer[:-1])
    with pytest.raises(CorpusError, match=r"c\.jsonl, line 3: has more than 1,000,000,000 bytes"):
        read(path)
    bad = BadRows(on_error="skip")
    assert [len(row["content"]) for row in read(path, bad)] == [4, 2_400_000, 4]
    assert bad.counts == {"has more than 1,000,000,000 bytes": 2}
    array = written(tmp_path / "c.json", f"[{GOOD},{long},{longer}]")
    with pytest.raises(CorpusError, match=r"c\.json, row 3: .*more than 1,000,000,000 bytes"):
        read(array)


def test_an_array_is_read_wherever_its_pieces_are_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [{"content": 'a"\\ü\n', "n": -1.5e3}, {"content": None}, {"content": "]},{[", "b": True}]
    for size in range(1, 12):
        monkeypatch.setattr(json_rows, "_BLOCK_CHARS", size)
        for indent in (None, 3):
            for ascii_ in (True, False):
                text = json.dumps(rows, indent=indent, ensure_ascii=ascii_)
                path = written(tmp_path / "c.json", f" \n{text}\n")
                assert contents(path) == [row["content"] for row in rows]
        assert contents(written(tmp_path / "c.json", "[ ]\n")) == []


BAD_ARRAYS = {
    '[{"content": "a"}, {"content": "b"': r"row 2: not valid JSON \(Expecting ',' delimiter",
    '[{"content": "a"}, {"content": "b"}': r"row 2: not valid JSON \(the end of the file follows",
    '[{"content": "a"}, ': r"row 2: not valid JSON \(Expecting value",
    '[{"content": "a"}, ]': r"row 2: not valid JSON \(Expecting value",
    '[{"content": "a"} {"content": "b"}]': r"row 1: not valid JSON \({ follows it",
    '[{"content": "a"}, {content: 1}%s]' % (" " * 99): r"row 2: .*Expecting property name",
    '[{"content": "a"}]\n[{"content": "b"}]': r"row 1: .*more follows after the array's end",
    '[{"content": "a"}, {"content": "\udcff"}]': r"in what follows row 0: .*byte 0xff",
}


@pytest.mark.parametrize("text", BAD_ARRAYS)
def test_an_array_that_is_no_json_is_refused_whatever_is_to_be_skipped(
    text: str, tmp_path: Path
) -> None:
    path = written(tmp_path / "c.json", text.encode("utf-8", "surrogateescape"))
    for bad in (BadRows(), BadRows(on_error="skip")):
        with pytest.raises(CorpusError, match=f"c.json, {BAD_ARRAYS[text]}.*jsonl"):
            read(path, bad)


def test_bad_rows_of_an_array_are_left_out_and_counted(tmp_path: Path) -> None:
    path = written(
        tmp_path / "c.json", '[1, {"content": "a"}, {"content": 2}, "b", {"content": "c"}]'
    )
    with pytest.raises(CorpusError, match=r"c\.json, row 1: no JSON object"):
        read(path)
    bad = BadRows(on_error="skip")
    assert [row["content"] for row in read(path, bad)] == ["a", "c"]
    assert bad.counts == {"no JSON object": 2, "'content' is a number, no text": 1}


def test_what_pandas_writes_by_default_is_refused_by_its_shape(tmp_path: Path) -> None:
    path = written(tmp_path / "c.json", '{"content": {"0": "a", "1": "b"}}')
    with pytest.raises(CorpusError, match=r"column 'content' of c\.json has type struct"):
        read(path)
    indented = written(tmp_path / "d.json", json.dumps({"content": "a"}, indent=1))
    with pytest.raises(CorpusError, match=r"d\.json, line 1: not valid JSON"):
        read(indented)
