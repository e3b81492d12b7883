"""Files on this machine and behind URLs, named, by pattern or by folder -> texts."""

import gzip
import json
from collections.abc import Iterator
from pathlib import Path

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.progress import SILENT, Reporter
from codedata.sources.kinds.local import LocalSource
from codedata.sources.kinds.url import UrlSource
from codedata.sources.record import Corpus
from codedata.sources.registry import read_source
from codedata_tests import scenario
from codedata_tests.said import Said

TEXTS = scenario.c_documents(12)
ROWS = [{"text": text, "path": f"{place}.c"} for place, text in enumerate(TEXTS)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """The same documents as parquet and as jsonl.gz, and what is no such file."""
    folder = tmp_path / "files"
    (folder / "b").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(ROWS), folder / "b" / "0.parquet", row_group_size=5)
    lines = "\n".join(map(json.dumps, ROWS))
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(lines.encode()))
    for name in ("_SUCCESS", ".hidden.parquet", "notes.docx"):
        (folder / name).touch()
    return folder


@pytest.fixture
def bucket(folder: Path) -> Iterator[str]:
    """The URL of the same files in a filesystem of fsspec."""
    memory = fsspec.filesystem("memory")
    for path in folder.rglob("*.*"):
        memory.pipe(f"/bucket/{path.relative_to(folder)}", path.read_bytes())
    yield "memory://bucket"
    memory.rm("/bucket", recursive=True)


def text_of(corpus: Corpus) -> str:
    text = corpus.open_text()
    return text.read(text.clip(CharRange(0, 10**9)))


def local(path: Path | str, **fields: object) -> LocalSource:
    return LocalSource.model_validate({"path": str(path), "text_column": "text"} | fields)


def test_a_pattern_or_a_folder_stands_for_the_files_that_are_there(folder: Path) -> None:
    both = (folder / "a.jsonl.gz", folder / "b" / "0.parquet")
    assert local(folder).paths == both
    assert local(folder / "**").paths == both
    assert local(folder / "?.jsonl*").paths == both[:1]
    source = local(folder / "*.jsonl.gz")
    before = source.stamp()
    (folder / "c.jsonl.gz").write_bytes(both[0].read_bytes())
    again = local(folder / "*.jsonl.gz")
    assert again.num_files == 2
    assert before != again.stamp()


def test_the_same_documents_are_the_same_text_wherever_they_lie(
    folder: Path, bucket: str, tmp_path: Path
) -> None:
    url = UrlSource.model_validate({"path": f"{bucket}/**", "text_column": "text"})
    url = url.refreshed(tmp_path, SILENT)
    expected = scenario.plain_text(TEXTS)
    for source in (local(folder), url):
        assert source.num_files == 2
        for file in range(2):
            corpus = source.materialize(file, tmp_path / str(file), SILENT, update=False)
            assert text_of(corpus) == expected
            kept = corpus.open_text().first_with_kept(2)
            if source is not url or file == 0:
                assert [found["path"] for _, found in kept] == ["0.c", "1.c"]


def test_a_file_that_was_read_once_is_read_again_only_when_it_is_another(
    folder: Path, tmp_path: Path, said: Said
) -> None:
    source = local(folder / "a.jsonl.gz")
    first = source.materialize(0, tmp_path / "c", said.reporter, update=False)
    said.clear()
    assert source.materialize(0, tmp_path / "c", said.reporter, update=False) == first
    assert said == [f"a.jsonl.gz is unchanged: its parts in {first.path} are kept"]
    (folder / "a.jsonl.gz").write_bytes(gzip.compress(json.dumps(ROWS[0]).encode()))
    second = source.materialize(0, tmp_path / "c", said.reporter, update=False)
    assert text_of(second) == TEXTS[0]
    assert [path.name for path in (tmp_path / "c" / "parts").iterdir()] == [Path(second.path).name]


def test_of_a_parquet_behind_a_url_come_the_row_groups_that_are_needed(
    bucket: str, tmp_path: Path
) -> None:
    fields = {"path": f"{bucket}/b/0.parquet", "text_column": "text", "first_chars": 100}
    corpus = UrlSource.model_validate(fields).materialize(0, tmp_path, SILENT, update=False)
    assert corpus.part is not None
    assert len(corpus.part.parts) == 1
    assert corpus.num_chars == 100
    other = UrlSource.model_validate(fields | {"text_column": "path", "first_chars": 10})
    assert other.materialize(0, tmp_path, SILENT, update=False).sha256 != corpus.sha256


def test_of_files_with_other_columns_each_keeps_its_own_and_lacks_none_that_is_named(
    tmp_path: Path,
) -> None:
    pq.write_table(pa.table({"text": ["a"], "lang": ["C"], "n": [1]}), tmp_path / "0.parquet")
    pq.write_table(pa.table({"text": ["b"], "n": ["x"]}), tmp_path / "1.parquet")
    files = [
        local(tmp_path / "*.parquet", id_column="n").materialize(n, tmp_path, SILENT, update=False)
        for n in range(2)
    ]
    assert [file.kept for file in files] == [{"n": "int64", "lang": "string"}, {"n": "string"}]
    named = local(tmp_path / "*.parquet", keep_columns=["lang"])
    assert named.materialize(0, tmp_path, SILENT, update=False).kept == {"lang": "string"}
    said = r"1\.parquet has no columns named 'lang'; its columns are text, n; .*keep_columns"
    with pytest.raises(CorpusError, match=said):
        named.materialize(1, tmp_path, SILENT, update=False)


def test_a_file_that_is_gone_since_the_definitions_were_loaded_is_said_to_be(folder: Path) -> None:
    assert local(folder).num_files == 2
    (folder / "a.jsonl.gz").unlink()
    with pytest.raises(CorpusError, match=r"for fewer files \(1\) than when .*; press Reload"):
        local(folder).materialize(1, folder, SILENT, update=False)


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("{folder}/*.nothing", "stands for no file of"),
        ("{folder}/none.jsonl", "none.jsonl does not exist; name a file"),
        ("{bucket}/none.parquet", "none.parquet does not exist; correct its path"),
        ("x" * 10_000, "File name too long"),
        ("x" * 10_000 + ".jsonl", "File name too long"),
        ("{bucket}/*.nothing", "has no files; name files that are there"),
        ("http://127.0.0.1:1/c.parquet", "c.parquet: ClientConnectorError: Cannot connect to host"),
        ("nothing://a/b.jsonl", "Protocol not known: nothing); correct the url"),
    ],
)
def test_what_is_not_there_is_refused_in_one_line(
    path: str, said: str, folder: Path, bucket: str, tmp_path: Path
) -> None:
    path = path.format(folder=folder, bucket=bucket)
    source = read_source({"kind": "url" if "://" in path else "local", "path": path}, "c")
    with pytest.raises(CorpusError) as refused:
        source.refreshed(tmp_path, SILENT).materialize(0, tmp_path, SILENT, update=False)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_file_behind_a_url_that_changes_while_it_is_read_is_refused(
    bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    memory = fsspec.filesystem("memory")
    monkeypatch.setattr(memory, "invalidate_cache", lambda: memory.pipe(inside, b"other"))
    for name in ("b/0.parquet", "a.jsonl.gz"):
        inside = f"/bucket/{name}"
        source = UrlSource(path=f"{bucket}/{name}", text_column="text")
        with pytest.raises(CorpusError, match="changed while it was being read; run again"):
            source.materialize(0, tmp_path / name, SILENT, update=False)
        assert not (tmp_path / name / "corpus.json").exists()


def test_of_an_address_of_the_web_what_follows_a_question_mark_is_no_pattern() -> None:
    source = UrlSource(path="https://example.org/a.jsonl?download=1")
    assert (source.num_files, source.asked) == (1, None)
    assert UrlSource(path="s3://b/?.jsonl").asked is not None


@pytest.mark.parametrize(
    ("path", "options"),
    [
        ("s3://b/c.parquet", {"secret": "hidden"}),
        ("s3://b/c.parquet", {"client_kwargs": {"aws_secret_access_key": "hidden"}}),
        ("https://b/c.parquet", {"client_kwargs": {"headers": {"Authorization": "hidden"}}}),
        ("https://user:hidden@b/c.parquet", {}),
        (["https://b/c.parquet?v=1&sig=hidden"], {}),
        ("s3://b/c.parquet?X-Amz-Signature=hidden", {}),
    ],
)
def test_a_yaml_with_a_secret_is_refused_without_it(
    path: str | list[str], options: dict[str, object]
) -> None:
    source = {"kind": "url", "path": path, "storage_options": options}
    with pytest.raises(CorpusError, match="leave secrets to the file system's own") as refused:
        read_source(source, "corpus 'c'")
    assert "hidden" not in str(refused.value)


def test_what_only_looks_like_a_secret_is_taken() -> None:
    options = {"token": "anon", "config_kwargs": {"signature_version": "s3v4"}}
    url = "https://b/c.parquet?download=true&at=a:b@c"
    source = UrlSource(path=url, storage_options=options)
    assert source.paths == (url,), "what follows the question mark is no pattern"


def test_a_file_that_changes_while_it_is_read_is_not_recorded(folder: Path, tmp_path: Path) -> None:
    path, record = folder / "a.jsonl.gz", tmp_path / "record"
    record.mkdir()

    def append(line: str) -> None:
        if "is read once" in line:
            path.write_bytes(gzip.compress(b"\n").join([path.read_bytes()] * 2))

    with pytest.raises(CorpusError, match="changed while it was being read; run again"):
        local(path).materialize(0, record, Reporter(append, in_terminal=False), update=False)
    assert not (record / "corpus.json").exists()
    assert local(path).materialize(0, record, SILENT, update=False).num_rows == 2 * len(ROWS)


@pytest.mark.parametrize("name", ["a.jsonl.gz", "b/0.parquet"])
def test_a_disk_that_takes_nothing_is_told_from_a_url_that_gives_nothing(
    name: str, bucket: str, tmp_path: Path
) -> None:
    url = UrlSource.model_validate({"path": f"{bucket}/{name}", "text_column": "text"})
    (tmp_path / "parts").touch()
    with pytest.raises(CorpusError, match=r"cannot be stored: .*parts.*CODEDATA_ROOT"):
        url.materialize(0, tmp_path, SILENT, update=False)
