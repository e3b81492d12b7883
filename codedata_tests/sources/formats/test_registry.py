"""The same documents in every format and compression, and what files are refused for."""

import bz2
import csv
import gzip
import json
import lzma
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import pytest
from pyarrow import feather

from codedata.errors import CorpusError
from codedata.sources.formats.registry import format_of, is_readable
from codedata_tests.sources.formats.reading import contents, read

DOCUMENTS = ["int x;\n", None, "ü\u2028🙂", 'say "hi",\r\n\tnow\\n', "\0\x7f", "z" * 200_000]
"""With a null, and one that csv refuses by itself for its length."""

ROWS = [{"content": text, "path": f"src/{n}.c", "n": n} for n, text in enumerate(DOCUMENTS)]
FRAME = pd.DataFrame(ROWS)
TABLE = pa.Table.from_pylist(ROWS)


def lines(*rows: Any, **options: Any) -> bytes:
    return "".join(json.dumps(row, **options) + "\n" for row in rows).encode()


def write_with_csv(path: Path, **options: Any) -> None:
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, [*ROWS[0]], **options)
        writer.writeheader()
        writer.writerows(ROWS)


def write_ipc(path: Path, table: pa.Table, new: Callable[..., Any] = pa.ipc.new_stream) -> None:
    with new(path, table.schema) as writer:
        writer.write_table(table, max_chunksize=2)


def retyped(text: pa.DataType) -> pa.Table:
    column = TABLE["content"].combine_chunks()
    column = column.dictionary_encode() if pa.types.is_dictionary(text) else column.cast(text)
    return TABLE.set_column(0, "content", column)


WRITERS: dict[str, Callable[[Path], object]] = {
    "json.jsonl": lambda path: path.write_bytes(lines(*ROWS)),
    "unescaped.ndjson": lambda path: path.write_bytes(lines(*ROWS, ensure_ascii=False)),
    "crlf.jsonl": lambda path: path.write_bytes(
        b"\xef\xbb\xbf\r\n" + lines(*ROWS).replace(b"\n", b"\r\n \r\n")[:-5]
    ),
    "indented.json": lambda path: path.write_text(json.dumps(ROWS, indent=2) + "\n"),
    "dense.json": lambda path: path.write_text("\ufeff\n" + json.dumps(ROWS)),
    "lines.json": lambda path: path.write_bytes(lines(*ROWS)),
    "pandas.jsonl": lambda path: FRAME.to_json(path, orient="records", lines=True),
    "pandas.json": lambda path: FRAME.to_json(path, orient="records"),
    "pandas.csv": FRAME.to_csv,
    "pandas.tsv": lambda path: FRAME.to_csv(path, sep="\t", encoding="utf-8-sig"),
    "pandas.feather": FRAME.to_feather,
    "pandas.parquet": FRAME.to_parquet,
    "csv.csv": write_with_csv,
    "quoted.csv": lambda path: write_with_csv(path, quoting=csv.QUOTE_ALL, lineterminator="\n"),
    "excel.tsv": lambda path: write_with_csv(path, dialect="excel-tab"),
    "pyarrow.csv": lambda path: pa_csv.write_csv(TABLE, path),
    "stream.arrow": lambda path: write_ipc(path, TABLE),
    "file.arrow": lambda path: write_ipc(path, TABLE, pa.ipc.new_file),
    "zstd.feather": lambda path: feather.write_feather(TABLE, str(path), compression="zstd"),
    "plain.ipc": lambda path: feather.write_feather(TABLE, str(path), compression="uncompressed"),
    "dictionary.arrow": lambda path: write_ipc(
        path, retyped(pa.dictionary(pa.int32(), pa.string()))
    ),
    "binary.arrow": lambda path: write_ipc(path, retyped(pa.binary())),
    "view.arrow": lambda path: write_ipc(path, retyped(pa.string_view())),
    "groups.parquet": lambda path: pq.write_table(TABLE, path, row_group_size=2),
}


@pytest.mark.parametrize("name", WRITERS)
def test_every_format_gives_the_same_documents(name: str, tmp_path: Path) -> None:
    WRITERS[name](tmp_path / name)
    rows = read(tmp_path / name, keep=("path", "n"))
    assert [row["content"] for row in rows] == DOCUMENTS
    assert [row["path"] for row in rows] == [row["path"] for row in ROWS]
    assert [int(row["n"]) for row in rows] == [*range(len(ROWS))]
    assert [*rows[0]] == ["content", "path", "n"]


def test_plain_text_and_source_files_are_a_document_each_as_they_are(tmp_path: Path) -> None:
    for name in ("a.txt", "b.md", "c.c", "d.R", "e.tar.py"):
        (tmp_path / name).write_bytes("\ufeffüx\r\n\n".encode())
        assert contents(tmp_path / name) == ["\ufeffüx\r\n\n"]
    (tmp_path / "a.html").write_text("<p>")
    assert contents(tmp_path / "a.html") == ["<p>"]
    with pytest.raises(CorpusError, match="plain text, which has no columns"):
        read(tmp_path / "a.txt", id="path")


COMPRESS = {
    "gz": ("gzip", gzip.compress),
    "bz2": ("bzip2", bz2.compress),
    "xz": ("xz", lzma.compress),
    "zst": ("zstd", lambda data: pa.compress(data, "zstd", asbytes=True)),
}


def compressed(data: bytes, ending: str) -> bytes:
    """As the system's program does it, where there is one."""
    program, compress = COMPRESS[ending]
    if shutil.which(program):
        return subprocess.run([program, "-c"], input=data, capture_output=True, check=True).stdout
    return compress(data)


@pytest.mark.parametrize("ending", COMPRESS)
def test_members_and_frames_of_compressed_files_are_all_read(ending: str, tmp_path: Path) -> None:
    rows = lines(*ROWS)
    path = tmp_path / f"c.jsonl.{ending}"
    both = compressed(rows[:99], ending) + COMPRESS[ending][1](rows[99:])
    path.write_bytes(both)
    assert contents(path) == DOCUMENTS
    for name in ("pandas.csv", "stream.arrow", "file.arrow", "indented.json"):
        WRITERS[name](tmp_path / name)
        path = tmp_path / f"{name}.{ending.upper()}"
        path.write_bytes(compressed((tmp_path / name).read_bytes(), ending))
        assert contents(path) == DOCUMENTS

    for damaged in (both[:-9], both[: len(both) // 2], both + b"more", both + both[:20]):
        path = tmp_path / f"d.jsonl.{ending}"
        path.write_bytes(damaged)
        with pytest.raises(CorpusError, match=rf"d.jsonl.{ending} is damaged: .*; fetch it again"):
            read(path)


def test_padding_between_xz_streams_is_no_damage(tmp_path: Path) -> None:
    path, rows = tmp_path / "c.jsonl.xz", lines(*ROWS)
    path.write_bytes(b"\0\0\0\0".join([lzma.compress(rows[:99]), lzma.compress(rows[99:]), b""]))
    assert contents(path) == DOCUMENTS


def test_a_name_tells_whether_a_file_is_read() -> None:
    names = [
        "a/b.jsonl",
        "B.JSON.ZST",
        "x.y.csv.gz",
        "hf://d/c.parquet",
        "n.ipc.xz",
        "m.rs.bz2",
    ]
    assert [name for name in names if not is_readable(name)] == []
    names = ["jsonl", "a.gz", "a", "c.parquet.gz", "a.pkl", ".gitattributes", "x.gz.jsonl.part", ""]
    assert [name for name in names if is_readable(name)] == []
    with pytest.raises(CorpusError, match=r"a\.pkl has no ending by which it could be read; there"):
        format_of("a.pkl")


A, B = lines({"content": "a"}), lines({"content": "b"})
NOT_ITS_NAME = {
    "c.jsonl": (gzip.compress(A), r"c.jsonl is no json: it begins as gz does; name it c.jsonl.gz"),
    "c.csv": (lzma.compress(A), r"is no csv: it begins as xz does; name it c.csv.xz"),
    "c.json.gz": (A, r"c.json.gz is damaged: zlib inflate failed"),
    "d.json.gz": (COMPRESS["zst"][1](A), r"is no gz: it begins as zst does; name it by what it is"),
    "c.parquet": (A, r"c.parquet is not a readable parquet file"),
    "d.parquet": (gzip.compress(A), r"d.parquet is no parquet: it begins as gz does"),
    "c.arrow": (A, r"c.arrow is damaged: "),
    "d.jsonl": (b"PAR1....PAR1", r"is no json: it begins as parquet does"),
    "e.jsonl": (b"ARROW1\0\0", r"is no json: it begins as arrow does"),
    "f.jsonl": (b"version https://git-lfs.github.com/spec/v1\n", r"as a pointer of Git LFS does"),
    "g.jsonl": (b"<!DOCTYPE html>", r"is no json: it begins as a web page does"),
    "h.csv": ("content\nü".encode("utf-16"), r"is no csv: it begins as UTF-16 does"),
    "i.jsonl": (b"", r"i.jsonl is empty; fetch it again"),
    "i.csv.bz2": (b"", r"i.csv.bz2 is empty"),
    "j.csv.gz": (gzip.compress(b""), r"j.csv.gz is empty"),
    "k.txt": (gzip.compress(A), r"is no text: it begins as gz does; name it k.txt.gz"),
    "l.txt": (b"\xe4", r"l.txt, byte 0: not valid UTF-8"),
    "m.zip.txt": (b"PK\x03\x04\xff", r"byte 4: not valid UTF-8"),
}


@pytest.mark.parametrize("name", NOT_ITS_NAME)
def test_a_file_that_is_not_what_its_name_says_is_refused_by_what_it_is(
    name: str, tmp_path: Path
) -> None:
    data, message = NOT_ITS_NAME[name]
    (tmp_path / name).write_bytes(data)
    with pytest.raises(CorpusError, match=message) as refusal:
        read(tmp_path / name)
    assert "\n" not in str(refusal.value)
