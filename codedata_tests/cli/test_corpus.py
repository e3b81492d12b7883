"""`codedata corpus`: what a corpus would hold, and a YAML that makes it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import yaml

from codedata.cli import main
from codedata.components.raw_corpus import RawCorpus
from codedata.format.ranges import CharRange
from codedata.layout import ROOT_VARIABLE, Layout
from codedata.progress import SILENT
from codedata_tests import scenario
from codedata_tests.sources.git_repositories import commit

TEXTS = ["int f(void);\n", "int g(void)\n{\n    return 1;\n}\n"]
ROWS = [
    {"text": text, "lang": "C", "meta": {"n": str(n)}, "stars": n} for n, text in enumerate(TEXTS)
]
Look = Callable[..., str]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder: the same documents as files, and as a folder of source code."""
    (folder := tmp_path / "here").mkdir()
    monkeypatch.chdir(folder)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "root"))
    pq.write_table(pa.Table.from_pylist(ROWS), "c.parquet")
    Path("c.jsonl").write_text("".join(json.dumps(row) + "\n" for row in ROWS), encoding="utf-8")
    (code := folder / "code" / "src").mkdir(parents=True)
    for name, text in zip(("a.rs", "b.rs"), TEXTS, strict=True):
        (code / name).write_text(text, encoding="utf-8")
    (code / "empty.rs").touch()
    return folder


@pytest.fixture
def bucket() -> Iterator[str]:
    """The URL of a parquet in a filesystem of fsspec."""
    memory = fsspec.filesystem("memory")
    with memory.open("/looked/c-0.parquet", "wb") as opened:
        pq.write_table(pa.Table.from_pylist(ROWS), opened)
    yield "memory://looked/c-*.parquet"
    memory.rm("/looked", recursive=True)


@pytest.fixture
def look(capsys: pytest.CaptureFixture[str]) -> Look:
    """What the command prints."""

    def run(*arguments: str) -> str:
        code = main(["corpus", *arguments])
        out, err = capsys.readouterr()
        assert (code, err) == (0, "")
        return out

    return run


@pytest.fixture
def refused(capsys: pytest.CaptureFixture[str]) -> Look:
    """The line with which the command refuses something."""

    def run(*arguments: str) -> str:
        assert main(["corpus", *arguments]) == 1
        out, err = capsys.readouterr()
        assert out == ""
        [line] = err.splitlines()
        return line.removeprefix("codedata: error: ")

    return run


def yaml_of(printed: str) -> dict[str, Any]:
    component = yaml.safe_load(printed[printed.index("type: ") :])
    assert component["type"] == "codedata.components.RawCorpus"
    return component["attributes"]


def made_by(attributes: dict[str, Any], root: Path) -> str:
    """The text of the corpus that a YAML makes."""
    layout, name = Layout(root), attributes["name"]
    if (source := RawCorpus(**attributes).typed_source).asked is not None:
        source.refreshed(layout.corpus(name), SILENT)
    text = RawCorpus(**attributes).materialize(layout, SILENT).open_text()
    return text.read(text.clip(CharRange(0, 10**9)))


def test_it_says_what_it_looked_at_what_is_there_and_the_yaml(folder: Path, look: Look) -> None:
    num_bytes = (folder / "c.jsonl").stat().st_size
    assert look("c.jsonl", "--documents", "1").splitlines() == [
        f"looked at   c.jsonl: kind local, 1 file, {num_bytes} bytes",
        "columns     text: large_string  (the documents)",
        "            lang: large_string  (kept)",
        "            meta: struct<n: large_string>",
        "            stars: large_string",
        f"documents   2, {sum(map(len, TEXTS))} characters",
        "",
        "--- lang: C",
        "    int f(void);",
        "",
        "type: codedata.components.RawCorpus",
        "attributes:",
        "  name: c",
        "  source:",
        "    kind: local",
        "    path: c.jsonl",
        "    text_column: text",
    ]


@pytest.mark.parametrize(
    ("arguments", "kind"),
    [
        (("c.parquet", "--id-column", "stars"), "local"),
        (("c.*l",), "local"),
        (("code",), "folders"),
        (("repository",), "git"),
        (("{bucket}", "--anon"), "url"),
    ],
)
def test_the_yaml_that_it_ends_with_makes_the_corpus(
    arguments: tuple[str, ...], kind: str, folder: Path, bucket: str, look: Look, tmp_path: Path
) -> None:
    if kind == "git":
        commit(folder / "repository", {f"{n}.rs": text for n, text in enumerate(TEXTS)})
    attributes = yaml_of(look(*(each.format(bucket=bucket) for each in arguments)))
    assert attributes["source"]["kind"] == kind
    assert ("--anon" in arguments) == ("storage_options" in attributes["source"])
    assert made_by(attributes, tmp_path / "root") == scenario.plain_text(TEXTS)


def test_a_folder_of_code_names_its_languages_and_counts_what_is_left_out(
    folder: Path, look: Look
) -> None:
    printed = look("code")
    assert "looked at   code: kind folders, 2 files\nfirst file  code/src/a.rs\n" in printed
    assert "left out    1: empty\n" in printed
    assert yaml_of(printed)["source"]["languages"] == ["Rust"]
    (folder / "code" / "rows.jsonl").write_bytes((folder / "c.jsonl").read_bytes())
    assert yaml_of(look("code"))["source"]["kind"] == "folders", "most of it is code"


def test_json_has_all_that_is_said(folder: Path, look: Look) -> None:
    said = json.loads(look("c.parquet", "--text-column", "meta.n", "--json"))
    assert said == {
        "attributes": {"kind": "local", "path": "c.parquet", "text_column": "meta.n"},
        "num_files": 1,
        "num_bytes": (folder / "c.parquet").stat().st_size,
        "first_file": "c.parquet",
        "columns": {
            "text": "string", "lang": "string", "meta": "struct<n: string>", "stars": "int64",
        },
        "text_column": "meta.n",
        "num_documents": 2,
        "num_chars": 2,
        "is_whole": True,
        "skipped": {},
        "documents": [["0", {"lang": "C"}], ["1", {"lang": "C"}]],
    }  # fmt: skip


def test_bad_rows_are_counted_with_what_a_run_does_with_them(folder: Path, look: Look) -> None:
    with open(folder / "c.jsonl", "a", encoding="utf-8") as lines:
        lines.write('{"text": 1}\n{"text": \n')
    printed = look("c.jsonl")
    assert (
        "left out    1: 'text' is a number, no text; a run refuses it, unless the YAML has "
        "on_error: skip\n"
    ) in printed
    assert "left out    1: not valid JSON; a run refuses it" in printed


def test_what_cannot_be_looked_at_is_refused_in_one_line(folder: Path, refused: Look) -> None:
    Path("empty").mkdir()
    Path("none.jsonl").touch()
    Path("notes").write_text("x", encoding="utf-8")
    usual = "no text in a column of a usual name (content, text, code, source, body, document"
    pq.write_table(pa.table({"id": ["a"], "meta": [{"body": "b", "n": 1}], "n": [1]}), "a.parquet")
    pq.write_table(pa.table({"n": [1], "content": [[1]]}), "n.parquet")
    expected = {
        ("nowhere",): "there is no file or folder nowhere; name one, a pattern in quotes, a URL",
        ("x-*.parquet",): f"path x-*.parquet stands for no file of {folder}",
        ("empty",): "empty holds neither files of documents, such as .parquet and .jsonl.gz, nor",
        ("none.jsonl",): "none.jsonl is empty; fetch it again",
        ("notes",): "notes has no ending by which it could be read; there are parquet, jsonl",
        ("a.parquet",): f"a.parquet has {usual}",
        ("n.parquet",): "none of its columns is text: n (int64), content (list<",
        ("c.parquet", "--text-column", "txt"): "c.parquet has no columns named 'txt'; its columns",
        ("c.parquet", "--text-column", "stars"): "column 'stars' of c.parquet has type int64",
        ("c.parquet", "--split", "train"): "there is no field 'split'",
        ("c.parquet", "--anon"): "there is no field 'storage_options'",
        ("memory://none/c.parquet",): "none/c.parquet does not exist",
    }
    for arguments, said in expected.items():
        assert said in refused(*arguments)
    assert "of its columns these are text: id, meta.body; say which" in refused("a.parquet")
    assert "did you mean text?" in refused("c.parquet", "--text-column", "txt")
