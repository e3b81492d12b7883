"""Columns by their names: which one a name stands for, and what is refused, whoever wrote it."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.sources.columns import (
    Columns,
    as_text,
    column_of,
    corpus_batch,
    corpus_schema,
    faults,
    find_column,
    find_text,
    kept_columns,
    text_of,
)
from codedata.sources.parquet.text import ParquetText
from codedata_tests import scenario

FILES = Path(__file__).parent / "parquet" / "files"
WIDE = CharRange(0, 10**9)

DOCUMENTS = ["int a;\n", None, "🙂 beyond twelve bytes", "", "int a;\n"]
LICENCES = [["mit", "isc"], [], None, ["bsd"], ["mit"]]
"""Of the files that other programs wrote: see the README beside them."""


def write_with_pandas(path: Path) -> None:
    frame = pd.DataFrame(
        {
            "id": range(5),
            "text": DOCUMENTS,
            "licences": LICENCES,
            "category": pd.Categorical(DOCUMENTS),
            "object": np.array(DOCUMENTS, dtype=object),
            "bytes": [None if each is None else each.encode() for each in DOCUMENTS],
            "meta": [None if each is None else {"deep": {"text": each}} for each in DOCUMENTS],
        },
        index=pd.Index(list("vwxyz"), name="key"),
    )
    frame.to_parquet(path)


def read(path: Path, column: str, **others: Any) -> ParquetText:
    return ParquetText(path, columns=Columns(text=column, **others))


def whole(text: ParquetText) -> str:
    return text.read(text.clip(WIDE))


# What others write


def test_what_pandas_polars_and_duckdb_write_is_the_same_text_in_every_type(tmp_path: Path) -> None:
    write_with_pandas(tmp_path / "pandas.parquet")
    files = {
        tmp_path / "pandas.parquet": ["text", "category", "object", "bytes", "meta.deep.text"],
        FILES / "polars.parquet": ["text", "category", "enum", "bytes", "meta.deep.text"],
        FILES / "duckdb.parquet": ["text", "enum", "bytes", "meta.deep.text"],
    }
    types: set[str] = set()
    for path, columns in files.items():
        for column in columns:
            text = read(path, column, id="id", keep=("licences",))
            assert whole(text) == scenario.plain_text(DOCUMENTS), (path.name, column)
            assert text.index.total().num_nulls == 1
            assert text.kept(np.array([0, 2, 3])).to_pylist() == [
                {"id": row, "licences": LICENCES[row]} for row in (0, 2, 3)
            ]
            types.add(str(text.columns[column.partition(".")[0]]).partition("<")[0])
    assert types >= {"string", "large_string", "binary", "large_binary", "dictionary", "struct"}
    as_json = [each if each is None else json.dumps(each, ensure_ascii=False) for each in DOCUMENTS]
    assert whole(read(FILES / "duckdb.parquet", "json")) == scenario.plain_text(as_json)


# Which column it is


def test_a_column_whose_own_name_has_the_dot_comes_before_one_within_a_struct(
    tmp_path: Path,
) -> None:
    path = tmp_path / "c.parquet"
    every = {
        "m": pa.array([[("k", 1)]], pa.map_(pa.string(), pa.int64())),
        "l": pa.array([[{"a": 1, "b": [2]}]]),
        "a": pa.array([{"b": "within", "b.c": "half", "d": {"e": "deep"}}]),
        "a.b": pa.array(["own"]),
        "a.": pa.array([{"x": "of a name that ends with a dot"}]),
    }
    texts = {"a.b": "own", "a.b.c": "half", "a.d.e": "deep", "a..x": every["a."][0]["x"].as_py()}
    columns = [*texts, "a", "a.d", "l", "m"]
    leaves = {
        True: [[7], [5], [6], [8], [4, 5, 6], [6], [2, 3], [0, 1]],
        False: [[1], [3], [4], [0], [2, 3, 4], [4], [5, 6], [7, 8]],
    }
    for is_in_order, expected in leaves.items():
        names = list(every) if is_in_order else list(reversed(every))
        pq.write_table(pa.table({name: every[name] for name in names}), path)
        assert {column: whole(read(path, column)) for column in texts} == texts
        schema = pq.read_schema(path)
        assert [[*find_column(schema, column, "F").leaves] for column in columns] == expected
        own = pq.read_metadata(path).schema
        assert [own.column(leaf).path for [leaf, *_] in expected[:4]] == list(texts)


def test_two_columns_of_a_file_are_two_texts_each_with_counts_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    path = tmp_path / "c.parquet"
    columns = {"content": ["a", "b"], "other": ["äää", "bbbbb"], "x": [{"y": "1"}, {"y": "22"}]}
    pq.write_table(pa.table(columns), path)
    texts = {column: read(path, column) for column in ("other", "content", "x.y")}
    for _ in range(2):
        assert [whole(text) for text in texts.values()] == ["äää bbbbb", "a b", "1 22"]
        texts = {column: read(path, column) for column in texts}
    hashes = {text.sha256 for text in texts.values()}
    assert len(hashes) == 3
    assert {text.file_sha256 for text in texts.values()} == {texts["content"].sha256}
    sidecars = (tmp_path / "cache" / "codedata" / "text-index-2").iterdir()
    assert {each.stem for each in sidecars} == hashes
    with pytest.raises(CorpusError, match=f"has sha256 {texts['content'].sha256}, but 0 was"):
        ParquetText(path, expected_sha256="0", columns=Columns(text="other"))


# What is refused


def table(**columns: Any) -> pa.Table:
    return pa.table(columns)


def named(*names: str) -> pa.Table:
    return pa.Table.from_arrays([pa.array(["x"]) for _ in names], names=list(names))


TWINS = pa.StructArray.from_arrays([pa.array(["x"]), pa.array(["y"])], names=["a", "a"])
FILE = table(
    id=[1], text=["x"], tags=[["x"]], meta=[{"text": "x", "n": 1, "list": ["x"]}], path=["p"]
)
THERE = "its columns are id, text, tags, meta, path"
AS_TEXT = "name the one that holds the documents as text_column"
STRUCT = "struct<text: string, n: int64, list: list<element: string>>"
BAD: dict[str, tuple[pa.Table, Columns, str]] = {
    "a wrong name": (
        FILE,
        Columns(text="txt"),
        f"F has no columns named 'txt'; {THERE}; {AS_TEXT}; did you mean text?",
    ),
    "the usual name": (
        named("a", "b"),
        Columns(),
        (
            "F has no columns named 'content'; its columns are a, b; rename the one that holds the "
            "documents, or name it as text_column of the corpus"
        ),
    ),
    "a wrong name within": (
        FILE,
        Columns(text="meta.txt"),
        (
            f"F has no columns named 'meta.txt'; 'meta' has type {STRUCT}; {AS_TEXT}; did you mean "
            "meta.text?"
        ),
    ),
    "two of the name": (
        named("text", "y", "text"),
        Columns(text="text"),
        f"F has 2 columns named 'text'; its columns are text, y, text; {AS_TEXT}",
    ),
    "two of the name within": (
        table(meta=TWINS),
        Columns(text="meta.a"),
        f"F has 2 columns named 'meta.a'; its columns are meta; {AS_TEXT}",
    ),
    "a list": (
        FILE,
        Columns(text="tags"),
        f"column 'tags' of F has type list<element: string>; it must be text; {AS_TEXT}",
    ),
    "a list within": (
        FILE,
        Columns(text="meta.list"),
        f"column 'meta.list' of F has type list<element: string>; it must be text; {AS_TEXT}",
    ),
    "a struct": (
        FILE,
        Columns(text="meta"),
        (
            f"column 'meta' of F has type {STRUCT}; it must be text; name one within it: "
            "meta.text, meta.n, meta.list"
        ),
    ),
    "numbers": (
        FILE,
        Columns(text="id"),
        f"column 'id' of F has type int64; it must be text; {AS_TEXT}",
    ),
    "numbers within": (
        FILE,
        Columns(text="meta.n"),
        f"column 'meta.n' of F has type int64; it must be text; {AS_TEXT}",
    ),
    "through a text": (
        FILE,
        Columns(text="path.x"),
        (
            "F has no columns named 'path.x'; 'path' has type string, and only structs have "
            f"columns within; {AS_TEXT}"
        ),
    ),
    "through a list": (
        FILE,
        Columns(text="tags.element"),
        (
            "F has no columns named 'tags.element'; 'tags' has type list<element: string>, and "
            f"only structs have columns within; {AS_TEXT}"
        ),
    ),
    "no name": (FILE, Columns(text=""), f"F has no columns named ''; {THERE}; {AS_TEXT}"),
    "a wrong id": (
        FILE,
        Columns(text="text", id="ids"),
        (
            f"F has no columns named 'ids'; {THERE}; name one that is there once as id_column; did "
            "you mean id?"
        ),
    ),
    "an id of several": (
        FILE,
        Columns(text="text", id="tags"),
        "column 'tags' of F has type list<element: string>; an id_column must be text or a number",
    ),
    "a wrong kept one": (
        FILE,
        Columns(text="text", keep=("path", "licence")),
        f"F has no columns named 'licence'; {THERE}; name one that is there once as keep_columns",
    ),
    "the text kept": (
        FILE,
        Columns(text="text", keep=("text",)),
        (
            "column 'text' of F cannot be kept beside the text, which corpora call 'content' "
            "(text_column is 'text'); leave it out of id_column and keep_columns"
        ),
    ),
    "another content kept": (
        named("text", "content"),
        Columns(text="text", id="content"),
        (
            "column 'content' of F cannot be kept beside the text, which corpora call 'content' "
            "(text_column is 'text'); leave it out of id_column and keep_columns"
        ),
    ),
}


@pytest.mark.parametrize(("content", "columns", "said"), BAD.values(), ids=BAD)
def test_a_column_that_cannot_be_what_it_is_named_for_is_refused_in_one_line(
    content: pa.Table, columns: Columns, said: str, tmp_path: Path
) -> None:
    path = tmp_path / "c.parquet"
    pq.write_table(content, path)
    with pytest.raises(CorpusError) as refusal:
        ParquetText(path, columns=columns)
    assert str(refusal.value).replace(str(path), "F") == said


# What is kept


def test_the_stack_s_columns_are_kept_where_they_are_and_nothing_is_said(tmp_path: Path) -> None:
    rows = {
        "the-stack": ("hexsha", "max_stars_repo_name", "max_stars_repo_path", "lang", "content"),
        "the-stack-v2": ("blob_id", "repo_name", "path", "license_type", "language", "content"),
        "twice": ("content", "path", "path", "lang"),
        "neither": ("content", "size"),
    }
    kept = {
        "the-stack": ["max_stars_repo_name", "max_stars_repo_path", "lang"],
        "the-stack-v2": ["repo_name", "path", "license_type", "language"],
        "twice": ["lang"],
        "neither": [],
    }
    for name, columns in rows.items():
        schema = named(*columns).schema
        assert list(kept_columns(schema, Columns(), name)) == kept[name]
    assert list(kept_columns(named("lang", "path").schema, Columns(text="lang"), "F")) == ["path"]
    assert list(kept_columns(named("content", "lang").schema, Columns(keep=()), "F")) == []
    schema = named(*rows["the-stack"]).schema
    columns = Columns(id="hexsha", keep=("lang", "hexsha"))
    assert list(kept_columns(schema, columns, "F")) == ["hexsha", "lang"]


def test_the_batches_of_a_corpus_have_content_and_what_is_kept_by_the_same_names() -> None:
    """Names that led through structs are then the columns' own."""
    deep = [{"text": "a", "path": "p", "size": {"n": 1}}, None, {"text": None, "path": "r"}]
    batch = pa.RecordBatch.from_pylist(
        [{"meta": each, "tags": tags} for each, tags in zip(deep, [["x"], None, []], strict=True)]
    )
    columns = Columns(text="meta.text", id="meta.path", keep=("tags", "meta.size"))
    text = find_text(batch.schema, columns.text, "F")
    kept = kept_columns(batch.schema, columns, "F")
    made = corpus_batch(batch, text, kept)
    assert made.to_pylist() == [
        {"content": "a", "meta.path": "p", "tags": ["x"], "meta.size": {"n": 1}},
        {"content": None, "meta.path": None, "tags": None, "meta.size": None},
        {"content": None, "meta.path": "r", "tags": [], "meta.size": None},
    ]
    again = Columns(id=columns.id, keep=columns.keep)
    there = kept_columns(made.schema, again, "F")
    assert corpus_batch(made, find_text(made.schema, "content", "F"), there).equals(made)
    whole = made.slice(1)
    assert column_of(whole, there["meta.path"]).to_pylist() == [None, "r"]
    texts = pa.array(["a", "a", None]).dictionary_encode()
    batch = pa.record_batch([texts], ["t"])
    assert corpus_batch(batch, find_text(batch.schema, "t", "F"), {}).schema == pa.schema(
        [("content", pa.string())]
    )


@pytest.mark.parametrize("name", ["polars", "duckdb"])
def test_what_others_write_is_the_same_once_it_is_written_as_a_corpus(
    name: str, tmp_path: Path
) -> None:
    columns = Columns(text="meta.deep.text", id="id", keep=("licences", "enum", "meta"))
    file = pq.ParquetFile(FILES / f"{name}.parquet")
    text = find_text(file.schema_arrow, columns.text, name)
    kept = kept_columns(file.schema_arrow, columns, name)
    path = tmp_path / "c.parquet"
    with pq.ParquetWriter(path, corpus_schema(text, kept)) as writer:
        names = [text.name, *(place.name for place in kept.values())]
        for batch in file.iter_batches(2, columns=names):
            writer.write_batch(corpus_batch(batch, text, kept))
    assert pq.read_schema(path).names == ["content", "id", "licences", "enum", "meta"]
    made = ParquetText(path, columns=Columns(id=columns.id, keep=columns.keep))
    source = ParquetText(FILES / f"{name}.parquet", columns=columns)
    assert whole(made) == whole(source) == scenario.plain_text(DOCUMENTS)
    rows = np.arange(len(DOCUMENTS))
    assert made.kept(rows).to_pylist() == source.kept(rows).to_pylist()


def test_what_stands_within_a_struct_that_is_null_is_null_even_where_values_lie_there() -> None:
    is_null = pa.array([True, False, False])
    within = pa.StructArray.from_arrays([pa.array(["a", "b", None])], ["t"], mask=is_null)
    batch = pa.record_batch([within], ["s"])
    assert within.field("t").to_pylist() == ["a", "b", None]
    assert text_of(batch, find_text(batch.schema, "s.t", "F")).to_pylist() == [None, "b", None]


# Texts


def views(values: Sequence[bytes | None]) -> pa.DictionaryArray:
    unique = pa.array(sorted({each for each in values if each is not None}), pa.binary_view())
    places = [None if each is None else unique.to_pylist().index(each) for each in values]
    return pa.DictionaryArray.from_arrays(pa.array(places, pa.int32()), unique)


def test_rows_that_are_no_documents_are_told_with_all_that_is_wrong() -> None:
    """As a stream needs it that skips them: not the first alone."""
    values = [b"ab", None, b"c\xff", "é🙂".encode(), b"", b"\xed\xa0\x80x"]
    for column in (
        pa.array(values, pa.binary()),
        pa.array(values, pa.binary_view()),
        views(values),
    ):
        batch = pa.record_batch([column], ["t"]).slice(1)
        texts = text_of(batch, find_text(batch.schema, "t", "F"))
        assert texts.type == pa.large_string()
        assert faults(texts) == {
            1: "is not valid UTF-8 (byte 1: invalid start byte); repair or remove that row",
            4: "is not valid UTF-8 (byte 0: invalid continuation byte); repair or remove that row",
        }
    assert faults(as_text(pa.array(["é", None, ""]))) == {}
    fixed = as_text(pa.array([b"ab", None, "é".encode()], pa.binary(2)).slice(1))
    assert fixed.to_pylist() == [None, "é"]
    damaged = pa.LargeStringArray.from_buffers(
        2, pa.py_buffer(np.array([0, 9, 4], np.int64)), pa.py_buffer(b"abcd")
    )
    with pytest.raises(pa.ArrowInvalid):
        faults(damaged)
