import bz2
import gzip
import lzma
import tracemalloc
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pytest
from pydantic import ValidationError

from codedata.errors import CorpusError
from codedata.progress import SILENT, Reporter
from codedata.sources import contents, objects
from codedata.sources.contents import (
    DAMAGED,
    NO_URL,
    NOT_BEFORE,
    NOT_THERE,
    OTHER_ENCODING,
    Content,
    with_contents,
)
from codedata.sources.formats.rows import TOO_LONG, BadRows
from codedata.sources.parts import stored_texts, write_part, write_parts
from codedata.sources.record import LeadingText

URL = "memory://blobs/{blob_id}"


@pytest.fixture
def blobs() -> Iterator[Any]:
    """A file system of this process, for texts by name."""
    system = fsspec.filesystem("memory")
    yield lambda texts: system.pipe({f"/blobs/{name}": data for name, data in texts.items()})
    system.rm("/blobs", recursive=True)


def rows(*names: object, **columns: list[Any]) -> pa.RecordBatch:
    return pa.record_batch({"blob_id": [*names], **columns})


def fetched(
    batches: list[pa.RecordBatch],
    content: Content,
    bad: BadRows | None = None,
    reporter: Reporter = SILENT,
    **options: Any,
) -> list[str | None]:
    bad = bad or BadRows()
    found = with_contents(batches, content, bad, reporter, name="rows.parquet", **options)
    return [text for batch in found for text in batch.column(0).to_pylist()]


PACKERS = {
    "none": bytes,
    "gzip": gzip.compress,
    "zstd": lambda data: pa.compress(data, codec="zstd", asbytes=True),
    "bz2": bz2.compress,
    "xz": lzma.compress,
}


@pytest.mark.parametrize("compression", PACKERS)
def test_texts_come_in_the_order_of_their_rows_each_in_its_encoding(
    blobs: Any, compression: str
) -> None:
    texts = {"a": "café", "b": "", "c": "Привет", "d": "日本語", "e": "\ufeffx\r\n"}
    encodings = ["ISO-8859-1", "UTF-8", "windows-1251", "Shift_JIS", None]
    pack = PACKERS[compression]
    blobs(
        {
            n: pack(t.encode(e or "utf-8"))
            for (n, t), e in zip(texts.items(), encodings, strict=True)
        }
    )
    batch = rows(*texts, src_encoding=encodings, path=[f"{name}.c" for name in texts])
    content = Content.model_validate(
        {"url": URL, "compression": compression, "encoding": "src_encoding", "concurrency": 2}
    )
    found = [*with_contents([batch[:2], batch[2:]], content, BadRows(), SILENT, name="rows")]
    table = pa.Table.from_batches(found)
    assert table.column_names == ["content", "blob_id", "src_encoding", "path"]
    assert table["content"].to_pylist() == [*texts.values()]
    assert table.drop_columns("content").to_batches()[0].schema == batch.schema
    assert table["path"].to_pylist() == batch["path"].to_pylist()


def test_a_text_in_many_pieces_is_whole_and_one_that_ends_with_a_piece_too(
    blobs: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (objects, contents):
        monkeypatch.setattr(module, "PIECE_BYTES", 100)
    texts = {f"{n}": "x" * n for n in (0, 1, 99, 100, 101, 200, 1234)}
    blobs({name: text.encode() for name, text in texts.items()})
    assert fetched([rows(*map(int, texts))], Content(url=URL)) == [*texts.values()]


def test_texts_of_files_are_read_and_nothing_above_their_folder(tmp_path: Path) -> None:
    (tmp_path / "data/sub").mkdir(parents=True)
    (tmp_path / "data/sub/a b#.c").write_text("int a;")
    (tmp_path / "secret").write_text("mine")
    batch = pa.record_batch({"path": ["sub/a b#.c", "../secret", "sub"]})
    bad = BadRows(on_error="skip")
    assert fetched([batch], Content(url=f"{tmp_path}/data/{{path}}"), bad) == ["int a;", None, None]
    assert bad.counts == {NO_URL: 1, NOT_THERE: 1}


def test_what_is_missing_is_null_counted_and_said_in_the_end(blobs: Any) -> None:
    blobs({"a": b"A", "c": b"C"})
    bad, said = BadRows(), list[str]()
    reporter = Reporter(said.append, in_terminal=False)
    assert fetched([rows("a", "b", "c", "d")], Content(url=URL), bad, reporter) == [
        "A",
        None,
        "C",
        None,
    ]
    assert bad.counts == {NOT_THERE: 2}
    assert said[-2] == (
        "rows.parquet: 2 of 4 rows have a text (text is not there: 2; the first is row 1, "
        "memory:///blobs/b)"
    )


def test_where_no_text_is_there_the_first_thousand_rows_say_so(blobs: Any) -> None:
    blobs({"a": b"A"})
    taken = 0

    def many() -> Iterator[pa.RecordBatch]:
        nonlocal taken
        for start in range(0, 100_000, 100):
            taken = start
            yield rows(*range(start, start + 100))

    with pytest.raises(CorpusError, match="none of its first 1,000 rows has a text") as caught:
        fetched(many(), Content(url=URL))  # pyright: ignore[reportArgumentType]
    assert "text is not there: 1,000; the first is row 0, memory:///blobs/0" in str(caught.value)
    assert taken < 2_000
    with pytest.raises(CorpusError, match="none of its first 3 rows"):
        fetched([rows("x", "y", "z")], Content(url=URL))


BAD = {
    "cut": (gzip.compress(b"x" * 1000)[:-9], "utf-8", DAMAGED),
    "other": (b"no gzip at all", "utf-8", DAMAGED),
    "latin": (gzip.compress("café".encode("latin-1")), "utf-8", OTHER_ENCODING),
    "unknown": (gzip.compress(b"x"), "utf-9", OTHER_ENCODING),
    "bytes": (gzip.compress(b"x"), "hex", OTHER_ENCODING),
    "nul": (gzip.compress(b"x"), "utf\0", OTHER_ENCODING),
    "surrogate": (gzip.compress(rb"\ud800"), "unicode_escape", OTHER_ENCODING),
    "bomb": (gzip.compress(b"\0" * 60_000_000), "utf-8", TOO_LONG),
    "grows": (gzip.compress("é".encode("latin-1") * 40_000), "latin-1", TOO_LONG),
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_text_is_refused_by_its_row_or_null_and_counted(
    blobs: Any, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(contents, "MAX_DOCUMENT_BYTES", 50_000)
    data, encoding, reason = BAD[name]
    blobs({"good": gzip.compress(b"good"), name: data})
    batch = rows("good", name, "good", enc=["utf-8", encoding, "utf-8"])
    content = Content(url=URL, compression="gzip", encoding="enc")
    with pytest.raises(CorpusError) as caught:
        fetched([batch], content)
    assert f"rows.parquet, row 1: {reason} (memory:///blobs/{name}" in str(caught.value)
    assert "\n" not in str(caught.value)
    bad = BadRows(on_error="skip")
    tracemalloc.start()
    assert fetched([batch], content, bad) == ["good", None, "good"]
    assert tracemalloc.get_traced_memory()[1] < 10_000_000
    tracemalloc.stop()
    assert bad.counts == {reason: 1}


REFUSED = {
    "rows.parquet has no columns named 'sha'; its columns are blob_id, n, parts": {
        "url": "memory://blobs/{sha}"
    },
    "column 'parts' of rows.parquet has type list<item: int64>": {"url": "memory://blobs/{parts}"},
    "encoding 'utf-9' of content is no column of rows.parquet, and no encoding": {
        "encoding": "utf-9"
    },
    "encoding 'hex' of content is no column": {"encoding": "hex"},
    "column 'parts' of rows.parquet has type list": {"encoding": "parts"},
    "nope://blobs/{blob_id} cannot be opened: Protocol not known: nope": {
        "url": "nope://blobs/{blob_id}"
    },
    "abfs:// cannot be read here: Install adlfs": {"url": "abfs://blobs/{blob_id}"},
}


@pytest.mark.parametrize("message", REFUSED)
def test_what_cannot_be_asked_for_is_refused_in_one_line(message: str) -> None:
    batch = rows("a", n=[1], parts=[[1]])
    with pytest.raises(CorpusError) as caught:
        fetched([batch], Content.model_validate({"url": URL, **REFUSED[message]}))
    assert str(caught.value).startswith(message)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("field", "value", "remedy"),
    [
        ("url", "s3://{bucket}/x", "up to a slash, then columns in braces"),
        ("concurrency", 0, "it must be 1 to 100"),
        ("concurrency", 1000, "it must be 1 to 100"),
        ("retries", -1, "it must be 0 to 100"),
        ("compression", "lzw", "'none', 'gzip', 'zstd', 'bz2' or 'xz'"),
        ("compresion", "gzip", "Extra inputs"),
    ],
)
def test_a_wrong_value_of_the_yaml_is_named(field: str, value: object, remedy: str) -> None:
    with pytest.raises(ValidationError, match=field) as caught:
        Content.model_validate({"url": URL, field: value})
    assert remedy in str(caught.value)


def test_no_more_is_asked_for_than_is_soon_needed(blobs: Any) -> None:
    blobs({f"{n}": b"x" * 1_000_000 for n in range(40)})
    taken = 0

    def one_by_one() -> Iterator[pa.RecordBatch]:
        nonlocal taken
        for taken in range(40):
            yield rows(taken)

    content = Content(url=URL, concurrency=4)
    found = with_contents(one_by_one(), content, BadRows(), SILENT, name="rows.parquet")
    for n, batch in enumerate(found):
        assert taken <= n + 2 * 4, "texts that wait are bounded"
        assert len(batch) == 1


def test_an_interrupted_run_goes_on_behind_the_parts_that_it_stored(
    blobs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codedata.sources.parts.GROUP_CHARS", 10_000)
    texts = {f"{n}": f"{n} é ".encode() * 100 for n in range(250)}
    missing = {"7", "123", "240"}
    blobs({name: text for name, text in texts.items() if name not in missing})
    batches = [
        rows(*range(n, n + 50), path=[f"{m}.c" for m in range(n, n + 50)])
        for n in range(0, 250, 50)
    ]

    def write(folder: Path, content: Content, bad: BadRows) -> Any:
        found = with_contents(
            batches, content, bad, SILENT, name="rows", stored=stored_texts(folder)
        )
        return write_parts(
            found, folder, name="rows", identity="0" * 64, file_bytes=0, reporter=SILENT
        )

    whole = write(tmp_path / "whole", Content(url=URL), BadRows())
    again = tmp_path / "again"
    blobs({"200": b"\xff"})
    with pytest.raises(CorpusError, match="row 200"):
        write(again, Content(url=URL, concurrency=1), BadRows())
    here = {path.name for path in again.iterdir()}
    assert 2 < len(here) < len(whole.parts), "some parts are stored"
    assert here <= {part.name for part in whole.parts}

    blobs({"200": texts["200"]} | {f"{n}": b"another text" for n in range(100)})  # not asked again
    bad = BadRows(on_error="skip")
    assert write(again, Content(url=URL), bad) == whole
    assert {path.name for path in again.iterdir()} == {part.name for part in whole.parts}
    assert bad.counts == {NOT_BEFORE: 2, NOT_THERE: 1}
    assert LeadingText(again, whole).part == whole


def test_a_text_that_was_left_out_is_refused_once_bad_rows_are(blobs: Any, tmp_path: Path) -> None:
    blobs({"0": b"a", "1": b"\xff", "2": b"c"})

    def write(bad: BadRows) -> None:
        stored = stored_texts(tmp_path)
        found = with_contents(
            [rows(*range(3))], Content(url=URL), bad, SILENT, name="rows", stored=stored
        )
        options: Any = {"identity": "0" * 64, "file_bytes": 0, "reporter": SILENT}
        write_parts(found, tmp_path, name="rows", **options)

    bad = BadRows(on_error="skip")
    write(bad)
    assert bad.counts == {OTHER_ENCODING: 1}
    blobs({"0": b"not asked for again"})
    with pytest.raises(CorpusError, match="row 1: text is not of the encoding"):
        write(BadRows())


def test_parts_go_on_only_where_one_run_wrote_them(tmp_path: Path) -> None:
    def part(group: int, text: str) -> Path:
        batch = pa.record_batch({"content": pa.array([text], pa.large_string())})
        return tmp_path / write_part(tmp_path, group, batch.schema, [batch], where="rows").name

    first, second, twice, other, last = (
        part(*each) for each in [(0, "a"), (1, "b"), (2, "c"), (2, "d"), (3, "e")]
    )
    (tmp_path / "folder").mkdir()
    assert [t.as_py() for texts in stored_texts(tmp_path) for t in texts] == ["a", "b"]
    assert not any(path.exists() for path in (twice, other, last))
    first.write_bytes(second.read_bytes())
    assert [*stored_texts(tmp_path)] == []
    assert [*tmp_path.iterdir()] == []
