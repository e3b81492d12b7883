"""Corpora from the hub (the real client against loopback), a local file, and folders."""

import hashlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from codedata.components.raw_corpus import FoldersSource, HubSource, LocalSource, RawCorpus
from codedata.io.corpus import read_corpus
from codedata.layout import CORPUS_VARIABLE
from codedata_tests import scenario
from codedata_tests.loopback_hub import COMMIT, Hub, serve

MATERIALIZE = """
import sys
from pathlib import Path
from codedata.components.raw_corpus import HubSource, RawCorpus
from codedata.errors import CodedataError
source = HubSource(kind="hub", repo="owner/data", path="data/c/c.parquet")
try:
    RawCorpus(name="c", source=source).materialize(Path(sys.argv[1]), print)
except CodedataError as error:
    sys.exit(f"refused: {error}")
"""


@pytest.fixture
def hub(corpus: Path) -> Iterator[type[Hub]]:
    with serve({"c.parquet": corpus.read_bytes()}) as server:
        yield server


def materialize(
    hub: type[Hub], folder: Path, **environment: str
) -> subprocess.CompletedProcess[str]:
    settings = {"HF_ENDPOINT": hub.address, "HF_HOME": str(folder / "hf"), "HF_HUB_OFFLINE": "0"}
    return subprocess.run(
        [sys.executable, "-W", "ignore", "-c", MATERIALIZE, str(folder / "c")],
        env={**os.environ, **settings, **environment},
        capture_output=True,
        text=True,
        check=False,
    )


def test_a_file_of_the_hub_is_fetched_once_and_recorded_with_its_commit(
    hub: type[Hub], corpus: Path, tmp_path: Path
) -> None:
    done = materialize(hub, tmp_path)
    assert done.returncode == 0, done.stderr
    record = read_corpus(tmp_path / "c")
    assert record.origin == {
        "kind": "hub", "repo": "owner/data", "path": "data/c/c.parquet", "commit": COMMIT,
    }  # fmt: skip
    assert record.sha256 == hashlib.sha256(corpus.read_bytes()).hexdigest()
    fetched = [path for path in hub.requests if "/resolve/" in path]
    assert fetched
    assert set(fetched) == {"/datasets/owner/data/resolve/main/data/c/c.parquet"}
    hub.requests.clear()
    assert materialize(hub, tmp_path, HF_HUB_OFFLINE="1").returncode == 0
    assert not hub.requests


def test_what_the_hub_refuses_names_the_corpus_and_the_way_out(
    hub: type[Hub], tmp_path: Path
) -> None:
    hub.error = (403, "GatedRepo")
    done = materialize(hub, tmp_path)
    assert done.returncode == 1
    assert "corpus 'c': the hub does not give data/c/c.parquet of owner/data" in done.stderr
    assert "terms must be accepted first" in done.stderr
    assert CORPUS_VARIABLE in done.stderr
    assert not (tmp_path / "c" / "corpus.json").exists()


def test_a_local_file_in_the_environment_takes_the_place_of_the_hub_s(
    corpus: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(CORPUS_VARIABLE, str(corpus))
    said: list[str] = []
    source = HubSource(kind="hub", repo="owner/data", path="c.parquet")
    record = RawCorpus(name="c", source=source).materialize(tmp_path / "c", said.append)
    assert record.path == str(corpus)
    assert record.origin == {"kind": "local"}
    assert str(corpus) in said[0]


def test_a_local_parquet_is_pointed_at_not_copied(corpus: Path, tmp_path: Path) -> None:
    source = LocalSource(kind="local", path=str(corpus))
    record = RawCorpus(name="c", source=source).materialize(tmp_path / "c", print)
    assert record.path == str(corpus)
    assert sorted(os.listdir(tmp_path / "c")) == [".lock", "corpus.json"]


def test_folders_are_written_once_and_kept_while_they_are_unchanged(
    documents: list[str], tmp_path: Path
) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for index, document in enumerate(documents):
        (sources / f"{index:03d}.c").write_text(document, encoding="utf-8", newline="")
    source = FoldersSource(kind="folders", folders={"p": str(sources)}, extensions=["c"])
    component, folder = RawCorpus(name="c", source=source), tmp_path / "c"
    record = component.materialize(folder, print)
    assert record.num_chars == len(scenario.plain_text(documents))
    written = (folder / "corpus.parquet").stat().st_mtime_ns
    said: list[str] = []
    component.materialize(folder, said.append)
    assert said == [f"{len(documents)} files are unchanged: {folder}/corpus.parquet is kept"]
    assert (folder / "corpus.parquet").stat().st_mtime_ns == written
    (sources / "new.c").write_text("int x;\n", encoding="utf-8")
    assert component.materialize(folder, print).num_rows == len(documents) + 1


FOLDERS = """
import json, sys
from pathlib import Path
from codedata.components.raw_corpus import FoldersSource, RawCorpus
source = FoldersSource(kind="folders", folders={"p": sys.argv[2]}, extensions=["c"])
said = []
RawCorpus(name="c", source=source).materialize(Path(sys.argv[1]), said.append)
print(json.dumps(said))
"""


def test_of_two_runs_at_once_one_writes_and_the_other_waits(
    documents: list[str], tmp_path: Path
) -> None:
    sources = tmp_path / "sources"
    sources.mkdir()
    for index in range(1500):
        (sources / f"{index:04d}.c").write_text(documents[index % 60], encoding="utf-8")
    command = [sys.executable, "-W", "ignore", "-c", FOLDERS, str(tmp_path / "c"), str(sources)]
    runs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = sorted((json.loads(run.communicate()[0]) for run in runs), key=len)
    assert [run.returncode for run in runs] == [0, 0]
    assert said[0] == [], "one wrote"
    assert "files are unchanged" in said[1][-1], "the other found it done"
    assert read_corpus(tmp_path / "c").num_rows == 1500
