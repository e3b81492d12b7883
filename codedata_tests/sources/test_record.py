"""The record of a corpus: its counts, its refusals, its reuse, and two processes that write it."""

import dataclasses
import hashlib
import json
import os
import subprocess
import sys
import sysconfig
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.progress import Reporter
from codedata.sources.columns import Columns
from codedata.sources.kinds.folders import FoldersSource
from codedata.sources.record import (
    Corpus,
    Part,
    TextPart,
    part_name,
    read_corpus,
    record_corpus,
)
from codedata_tests import scenario

DOCUMENTS = ["int x;\n", None, "ü", "", None, "z" * 5, "🙂"]
"""Characters: 7 + 1 + 0 + 5 + 1 and 4 joining spaces, 18."""


def recorded(folder: Path) -> Corpus:
    parquet = scenario.write_parquet(folder / "c.parquet", DOCUMENTS, row_group_size=3)
    return record_corpus(folder / "c", parquet, {"kind": "local"})


def write_sources(folder: Path, **contents: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, content in contents.items():
        (folder / f"{name}.c").write_text(content, encoding="utf-8")
    return folder


def test_the_record_counts_rows_nulls_characters_and_row_groups_and_opens_the_text(
    tmp_path: Path,
) -> None:
    corpus = recorded(tmp_path)
    parquet = tmp_path / "c.parquet"
    assert corpus == Corpus(
        path=str(parquet),
        sha256=hashlib.sha256(parquet.read_bytes()).hexdigest(),
        num_bytes=parquet.stat().st_size,
        num_rows=7,
        num_null_rows=2,
        num_chars=18,
        num_row_groups=3,
        columns={"hexsha": "string", "content": "string", "size": "int64"},
        origin={"kind": "local"},
    )
    assert os.listdir(tmp_path / "c") == ["corpus.json"]
    assert read_corpus(tmp_path / "c") == corpus
    text = corpus.open_text()
    assert text.read(text.clip(CharRange(0, 100))) == scenario.plain_text(DOCUMENTS)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(tmp_path)
        assert recorded(Path()).path == str(parquet), "a relative path as an absolute one"


def test_a_parquet_of_another_sha256_than_expected_is_not_recorded(tmp_path: Path) -> None:
    parquet = scenario.write_parquet(tmp_path / "c.parquet", DOCUMENTS)
    with pytest.raises(CorpusError, match=f"but {'0' * 64} was expected"):
        record_corpus(tmp_path / "c", parquet, {}, expected_sha256="0" * 64)
    assert not (tmp_path / "c").exists()


def test_another_column_and_what_is_kept_are_recorded_and_opened_again(tmp_path: Path) -> None:
    parquet = tmp_path / "c.parquet"
    meta = [{"code": each, "path": f"{row}.c"} for row, each in enumerate(DOCUMENTS)]
    table = pa.table({"id": range(7), "meta": meta, "lang": ["C"] * 7, "tags": [["a"]] * 7})
    pq.write_table(table, parquet, row_group_size=3)
    columns = Columns(text="meta.code", id="id", keep=("meta.path", "tags"))
    corpus = record_corpus(tmp_path / "c", parquet, {}, columns=columns)
    assert read_corpus(tmp_path / "c") == corpus
    assert corpus.kept == {"id": "int64", "meta.path": "string", "tags": "list<element: string>"}
    assert (corpus.text_column, corpus.id_column) == ("meta.code", "id")
    assert corpus.file_sha256 == hashlib.sha256(parquet.read_bytes()).hexdigest()
    assert (corpus.num_rows, corpus.num_null_rows, corpus.num_chars) == (7, 2, 18)
    text = corpus.open_text()
    assert text.sha256 == corpus.sha256 != corpus.file_sha256
    assert text.read(text.clip(CharRange(0, 100))) == scenario.plain_text(DOCUMENTS)
    assert text.kept(np.array([0, 6])).to_pylist() == [
        {"id": row, "meta.path": f"{row}.c", "tags": ["a"]} for row in (0, 6)
    ]
    usual = record_corpus(tmp_path / "d", parquet, {}, columns=Columns(text="meta.code"))
    assert (usual.sha256, usual.kept) == (corpus.sha256, {"lang": "string"})
    pq.write_table(table.drop_columns("tags"), parquet)
    with pytest.raises(CorpusError, match=f"but {corpus.file_sha256} was expected"):
        corpus.open_text()


def test_a_record_that_knows_of_no_columns_is_of_content_alone(tmp_path: Path) -> None:
    """As it was written before there were any."""
    parquet = tmp_path / "c.parquet"
    pq.write_table(pa.table({"lang": ["C"], "content": ["int a;"]}), parquet)
    corpus = record_corpus(tmp_path / "c", parquet, {})
    assert corpus.kept == {"lang": "string"}
    path = tmp_path / "c" / "corpus.json"
    known = json.loads(path.read_bytes())
    for name in ("file_sha256", "text_column", "id_column", "kept"):
        del known[name]
    path.write_text(json.dumps(known))
    old = read_corpus(tmp_path / "c")
    assert old == dataclasses.replace(corpus, kept={})
    assert old.open_text().first_with_kept(9) == [("int a;", {})]
    assert old.open_text().sha256 == corpus.sha256


def test_parts_have_what_is_kept_by_their_own_columns(tmp_path: Path) -> None:
    """Row groups of three: rows count through all of them, those without a document too."""
    parts: list[Part] = []
    for group, first in enumerate(range(0, 7, 3)):
        rows = range(first, min(7, first + 3))
        contents = [DOCUMENTS[row] for row in rows]
        table = pa.table({"content": contents, "meta.path": [f"{row}.c" for row in rows]})
        path = tmp_path / "part"
        pq.write_table(table, path)
        name = part_name(group, hashlib.sha256(path.read_bytes()).hexdigest())
        num_bytes = path.rename(tmp_path / name).stat().st_size
        documents = [each for each in contents if each is not None]
        num_chars = sum(len(each) + 1 for each in documents)
        nulls = len(contents) - len(documents)
        parts.append(
            Part(
                name=name,
                num_bytes=num_bytes,
                num_chars=num_chars,
                num_documents=len(documents),
                num_nulls=nulls,
            )
        )
    part = TextPart(
        fingerprint="f" * 64,
        num_chars=18,
        ends_here=True,
        etag="e",
        file_bytes=1,
        num_groups=3,
        columns={"meta": "struct<code: string, path: string>"},
        parts=tuple(parts),
    )
    columns = Columns(text="meta.code", keep=("meta.path",))
    corpus = record_corpus(tmp_path / "c", tmp_path, {}, part=part, columns=columns)
    assert (corpus.sha256, corpus.file_sha256, corpus.text_column) == ("f" * 64, None, "meta.code")
    assert corpus.kept == {"meta.path": "string"}
    text = read_corpus(tmp_path / "c").open_text()
    for rows in ([], [6], [0, 2, 3], [1, 4, 5, 6]):
        found = text.kept(np.array(rows, np.int64))
        assert found.column_names == ["meta.path"]
        assert found.to_pylist() == [{"meta.path": f"{row}.c"} for row in rows]
    places = [row for row, each in enumerate(DOCUMENTS) if each is not None]
    assert text.first_with_kept(9) == [
        (DOCUMENTS[row], {"meta.path": f"{row}.c"}) for row in places
    ]


def test_a_missing_record_names_the_asset_that_makes_it(tmp_path: Path) -> None:
    with pytest.raises(CorpusError) as refusal:
        read_corpus(tmp_path / "headers")
    assert str(refusal.value) == (
        f"corpus 'headers' is not materialized: {tmp_path}/headers/corpus.json does not exist; "
        "materialize headers/raw_parquet"
    )


DAMAGED = [
    b"",
    b'{"path": "/a',
    b"\xff\xfe\xff",
    b"null",
    b"[1]",
    b"{}",
    b'{"a": 1}',
    b"[" * 100_000,
]


def test_a_damaged_record_is_refused_by_its_path(tmp_path: Path) -> None:
    for data in DAMAGED:
        (tmp_path / "corpus.json").write_bytes(data)
        with pytest.raises(CorpusError) as refusal:
            read_corpus(tmp_path)
        assert str(refusal.value) == f"{tmp_path}/corpus.json is damaged; materialize it again"


def test_a_parquet_that_changed_since_it_was_recorded_is_refused(tmp_path: Path) -> None:
    corpus = recorded(tmp_path)
    scenario.write_parquet(tmp_path / "c.parquet", [*DOCUMENTS, "one more"])
    with pytest.raises(CorpusError, match=f"but {corpus.sha256} was expected"):
        corpus.open_text()
    (tmp_path / "c.parquet").unlink()
    with pytest.raises(CorpusError, match=r"c\.parquet cannot be read: No such file"):
        corpus.open_text()


def write(folder: Path, sources: Path, said: list[str]) -> Corpus:
    source = FoldersSource(folders={"p": str(sources)}, extensions=["c"])
    folder.mkdir(exist_ok=True)
    return source.materialize(0, folder, Reporter(said.append, in_terminal=False), update=False)


def test_a_source_that_says_nothing_of_newer_fields_is_dumped_as_before_there_were_any() -> None:
    """Its dump decides code versions, and these which stored chunks are stale."""
    source = FoldersSource(folders={"p": "q"}, extensions=["c"])
    assert source.model_dump_json() == (
        '{"kind":"folders","folders":{"p":"q"},"headers_of":[],"extensions":["c"]}'
    )
    other = FoldersSource(folders={"p": "q"}, languages=["C"], exclude=["build"], gitignore=False)
    dumped = '"languages":["C"],"exclude":["build"],"gitignore":false}'
    assert other.model_dump_json().endswith(dumped)


def test_folders_are_written_again_only_where_a_file_changed(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", a="int a;\n", b="int b;\n", empty="")
    folder, said = tmp_path / "c", list[str]()
    first = write(folder, sources, said)
    assert said == []
    assert first == read_corpus(folder)
    assert (first.num_rows, first.num_chars) == (2, 15)
    assert first.origin == {
        "kind": "folders",
        "walk": FoldersSource(folders={"p": str(sources)}, extensions=["c"]).look(folder),
        "skipped": {
            "empty": 1, "too_large": 0, "lfs_pointer": 0, "binary": 0, "not_utf8": 0, "link": 0,
            "ignored": 0,
        },
    }  # fmt: skip
    times = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert sorted(times) == ["corpus.json", "corpus.parquet"]
    assert write(folder, sources, said) == first
    assert said == [f"3 files are unchanged: {folder}/corpus.parquet is kept"]
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == times
    write_sources(sources, b="long b;\n")
    text = write(folder, sources, said).open_text()
    assert len(said) == 1
    assert text.read(text.clip(CharRange(0, 100))) == "int a;\n long b;\n"
    with pytest.raises(CorpusError, match="was expected"):
        first.open_text()


def test_what_cannot_be_reused_is_written_again(tmp_path: Path) -> None:
    sources, folder = write_sources(tmp_path / "sources", a="int a;\n"), tmp_path / "c"
    first = write(folder, sources, [])
    for name, data in (("corpus.parquet", b"PAR1"), ("corpus.json", b"{"), ("corpus.json", None)):
        (folder / name).unlink()
        if data is not None:
            (folder / name).write_bytes(data)
        assert write(folder, sources, []) == first
        assert read_corpus(folder).open_text().first_documents(9) == ["int a;\n"]


def test_folders_whose_every_file_is_left_out_are_refused(tmp_path: Path) -> None:
    sources = write_sources(tmp_path / "sources", a="", b="")
    with pytest.raises(CorpusError, match="holds no text: 0 rows"):
        write(tmp_path / "c", sources, [])
    assert not (tmp_path / "c" / "corpus.json").exists()


FIND_HEADERS = """
import json, sys
from codedata.sources.folders import header_folders
found = header_folders(["torch", "no_such_package", "python", "pyarrow", "numpy", "json"])
folders = {name: str(folder) for name, folder in found.items()}
print(json.dumps([folders, "torch" in sys.modules]))
"""

HEADERS = {"torch": "torch/extension.h", "pyarrow": "arrow/api.h", "numpy": "numpy/arrayobject.h"}


def test_header_folders_of_packages_are_found_without_importing_them() -> None:
    done = subprocess.run(
        [sys.executable, "-c", FIND_HEADERS], capture_output=True, text=True, check=True
    )
    folders, imported = json.loads(done.stdout)
    assert not imported
    assert {"no_such_package", "json"}.isdisjoint(folders), "missing, and without headers"
    for package, header in HEADERS.items():
        assert list(Path(folders[package]).rglob(header)), package
    includes = sysconfig.get_paths()["include"]
    assert folders.get("python", includes) == includes
