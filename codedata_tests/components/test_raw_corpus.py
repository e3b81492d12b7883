"""Corpora of local files and of folders."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from codedata.components.raw_corpus import RawCorpus
from codedata.layout import CORPUS_VARIABLE, Layout
from codedata.progress import Reporter
from codedata.sources.paths import expand_paths
from codedata.sources.record import Corpus, read_corpus
from codedata_tests import scenario


def materialize(corpus: RawCorpus, root: Path, log: Callable[[str], None] = print) -> Corpus:
    return corpus.materialize(Layout(root), Reporter(log, in_terminal=False))


def test_a_local_file_in_the_environment_takes_the_place_of_the_hub_s(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CORPUS_VARIABLE, str(corpus))
    said: list[str] = []
    source = {"kind": "hub", "repo": "owner/data", "path": "c.parquet"}
    record = materialize(RawCorpus(name="c", source=source), tmp_path, said.append)
    assert record.path == str(corpus)
    assert record.origin == {"kind": "local"}
    assert str(corpus) in said[0]


def test_a_local_parquet_is_pointed_at_not_copied(corpus: Path, tmp_path: Path) -> None:
    source = {"kind": "local", "path": str(corpus)}
    record = materialize(RawCorpus(name="c", source=source), tmp_path)
    assert record.path == str(corpus)
    assert sorted(os.listdir(Layout(tmp_path).corpus("c"))) == ["corpus.json"]


def test_folders_are_written_once_and_kept_while_they_are_unchanged(
    documents: list[str], tmp_path: Path
) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for index, document in enumerate(documents):
        (sources / f"{index:03d}.c").write_text(document, encoding="utf-8", newline="")
    source = {"kind": "folders", "folders": {"p": str(sources)}, "extensions": ["c"]}
    component, folder = RawCorpus(name="c", source=source), Layout(tmp_path).corpus("c")
    record = materialize(component, tmp_path)
    assert record.num_chars == len(scenario.plain_text(documents))
    written = (folder / "corpus.parquet").stat().st_mtime_ns
    said: list[str] = []
    materialize(component, tmp_path, said.append)
    assert said == [f"{len(documents)} files are unchanged: {folder}/corpus.parquet is kept"]
    assert (folder / "corpus.parquet").stat().st_mtime_ns == written
    (sources / "new.c").write_text("int x;\n", encoding="utf-8")
    assert materialize(component, tmp_path).num_rows == len(documents) + 1


FOLDERS = """
import json, sys
from pathlib import Path
from codedata.components.raw_corpus import RawCorpus
from codedata.layout import Layout
from codedata.progress import Reporter
source = {"kind": "folders", "folders": {"p": sys.argv[2]}, "extensions": ["c"]}
said = []
reporter = Reporter(said.append, in_terminal=False)
RawCorpus(name="c", source=source).materialize(Layout(Path(sys.argv[1])), reporter)
print(json.dumps(said))
"""


def test_of_two_runs_at_once_one_writes_and_the_other_waits(
    documents: list[str], tmp_path: Path
) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for index in range(1500):
        (sources / f"{index:04d}.c").write_text(documents[index % 60], encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "-c", FOLDERS, str(tmp_path), str(sources)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted((json.loads(run.communicate()[0]) for run in runs), key=len)
    assert [run.returncode for run in runs] == [0, 0]
    assert said[0] == [], "one wrote"
    assert "files are unchanged" in said[1][-1], "the other found it done"
    assert read_corpus(Layout(tmp_path).corpus("c")).num_rows == 1500


def test_several_local_files_are_pointed_at_by_their_partitions(
    corpus: Path, tmp_path: Path
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.parquet").symlink_to(corpus)
    source = {"kind": "local", "path": str(tmp_path / "{0..2}.parquet")}
    component = RawCorpus(name="c", source=source)
    assert component.num_files == 3
    layout = Layout(tmp_path / "root")
    record = component.materialize(layout, Reporter(print, in_terminal=False), file=2)
    assert record.path == str(tmp_path / "2.parquet")
    assert read_corpus(layout.corpus("c", 2)) == record


def test_ranges_in_paths_are_expanded_as_a_shell_does() -> None:
    assert expand_paths(["b", "a-{08..10}", "{1..2}/{0..1}"], "it") == (
        "b", "a-08", "a-09", "a-10", "1/0", "1/1", "2/0", "2/1",
    )  # fmt: skip
    assert expand_paths("c-{9..11}.parquet", "it") == tuple(f"c-{n}.parquet" for n in (9, 10, 11))
    assert expand_paths("{x}..{y}", "it") == ("{x}..{y}",)
