"""Corpora of local files, of folders and of commits."""

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import dagster as dg
import fsspec
import pytest

from codedata.components.raw_corpus import RawCorpus
from codedata.hub.source import HubSource
from codedata.layout import CORPUS_VARIABLE, Layout
from codedata.progress import SILENT, Reporter
from codedata.resources import DataRoot
from codedata.sources.record import Corpus, read_corpus
from codedata.store.locks import waiting_lock
from codedata_tests import scenario
from codedata_tests.sources.git_repositories import commit


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
    with HubSource.model_validate(source).opened(0) as (name, opened):
        assert (name, opened.read(4)) == (str(corpus), b"PAR1")
    assert any(str(corpus) in line for line in said)


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
    assert said[-1] == f"{len(documents)} files are unchanged: {folder}/corpus.parquet is kept"
    assert (folder / "corpus.parquet").stat().st_mtime_ns == written
    (sources / "new.c").write_text("int x;\n", encoding="utf-8")
    assert materialize(component, tmp_path).num_rows == len(documents) + 1


def test_a_run_waits_for_another_that_is_at_work_on_the_corpus(
    corpus: Path, tmp_path: Path
) -> None:
    component = RawCorpus(name="c", source={"kind": "local", "path": str(corpus)})
    folder = Layout(tmp_path).corpus("c")
    folder.mkdir(parents=True)
    waits, said = Event(), list[str]()

    def log(line: str) -> None:
        said.append(line)
        if line.startswith("waiting for "):
            waits.set()

    with ThreadPoolExecutor(1) as threads:
        with waiting_lock(folder / ".lock", print):
            running = threads.submit(materialize, component, tmp_path, log)
            assert waits.wait(300)
            assert not (folder / "corpus.json").exists()
        assert running.result(300) == read_corpus(folder)
    assert any(line.endswith(f", which is at work on {folder}") for line in said)


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


def test_a_branch_of_a_repository_that_moved_on_is_observed_and_warned_of(tmp_path: Path) -> None:
    copy, layout = tmp_path / "code", Layout(tmp_path / "root")
    first = commit(copy, {"a.c": "int a;\n"})
    source = {"kind": "git", "path": str(copy), "revision": "main"}
    component = RawCorpus(name="c", source=source)
    materialize(component, layout.root)
    definitions = dg.Definitions.merge(
        component.build_defs(dg.ComponentTree.for_test().load_context),
        dg.Definitions(
            executor=dg.in_process_executor, resources={"store": DataRoot(root=str(layout.root))}
        ),
    )
    looks = component.look(layout)
    for has_moved in (False, True):
        newest = commit(copy, {"b.c": "int b;\n"}) if has_moved else first
        run = definitions.resolve_job_def("c_freshness").execute_in_process()
        [observed] = run.asset_observations_for_node("c__repository_revision")
        [check] = run.get_asset_check_evaluations()
        assert observed.metadata["newest commit"].value == newest
        assert observed.metadata["commit here"].value == first
        assert check.passed is not has_moved
    assert "codedata materialize --update" in (check.description or "")
    assert component.look(layout) == looks, "nothing changes by itself"
    record = component.materialize(layout, Reporter(print, in_terminal=False), update=True)
    assert record.origin["commit"] == newest != first
    assert component.look(layout) != looks


def test_of_a_list_that_changed_all_files_say_so_once(tmp_path: Path) -> None:
    """It is asked for once, not again for each of the files."""
    memory = fsspec.filesystem("memory")
    data = b'{"content": "int a;"}\n'
    memory.pipe({f"/listed/{n}.jsonl": data for n in range(3)})
    layout = Layout(tmp_path)
    component = RawCorpus(name="c", source={"kind": "url", "path": "memory://listed/*"})
    listed = component.typed_source.refreshed(layout.corpus("c"), SILENT)
    object.__setattr__(component, "typed_source", listed)  # as if it was loaded by now
    resources = {"store": DataRoot(root=str(tmp_path))}
    definitions = dg.Definitions.merge(
        component.build_defs(dg.ComponentTree.for_test().load_context),
        dg.Definitions(executor=dg.in_process_executor, resources=resources),
    )
    job = definitions.resolve_job_def("c_files")
    config = {"ops": {"c__raw_parquet": {"config": {"update": True}}}}
    tags = {
        "dagster/asset_partition_range_start": "00000",
        "dagster/asset_partition_range_end": "00002",
    }
    assert job.execute_in_process(tags=tags, run_config=config).success
    assert [read_corpus(layout.corpus("c", file)).num_rows for file in range(3)] == [1] * 3
    memory.pipe("/listed/3.jsonl", data)
    run = job.execute_in_process(tags=tags, run_config=config, raise_on_error=False)
    [failed] = run.get_step_failure_events()
    assert "has 4 files, now listed in" in str(failed.step_failure_data.error)
    assert "could not be had" not in str(failed.step_failure_data.error)
    memory.rm("/listed", recursive=True)
