"""`codedata clean`: what no split uses goes, what one uses or wrote lately stays."""

import os
from pathlib import Path

import pytest

from codedata.cli import main
from codedata.format.ranges import CharRange
from codedata.layout import ROOT_VARIABLE, Layout
from codedata.store.publishing import Staging, open_staging
from codedata_tests import scenario

LONG_AGO = 1_000_000_000


def put(path: Path, *, is_old: bool = True) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(1_000_000))
    if is_old:
        age(path)
    return path


def age(path: Path) -> None:
    for each in (path, path.parent):
        os.utime(each, (LONG_AGO, LONG_AGO))


@pytest.fixture
def layout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Layout:
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path / "root"))
    monkeypatch.chdir(tmp_path)
    return Layout.from_environment()


def test_chunks_of_other_ranges_and_splits_and_parts_of_no_record_go(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    used = put(
        layout.chunks("demo_train") / "00000" / f"{CharRange(4_000_000, 8_000_000).key}.arrow"
    )
    kept = [
        used,
        put(layout.chunks("demo_train") / "notes.txt"),
        put(layout.chunks("gone") / "00001" / "0-4.arrow", is_old=False),
        put(layout.dataset("gone") / "dump-0.pkl"),
        put(layout.corpus("the_stack_c") / "corpus.json"),
    ]
    going = [
        put(layout.chunks("demo_train") / "00000" / "0-7000000.arrow"),
        put(layout.chunks("gone") / "00000" / "0-4.arrow"),
        put(layout.corpus("the_stack_c") / "parts" / "0a" / "00000-aa.parquet"),
        put(layout.corpus("many", 3) / "parts" / "0a" / "00000-aa.parquet"),
    ]
    unknown = "--unknown-splits"
    assert main(["clean", "--dry-run", unknown]) == 0
    planned = capsys.readouterr().out
    assert all(path.exists() for path in (*kept, *going))
    assert main(["clean", unknown]) == 0
    said = capsys.readouterr().out
    assert [path for path in (*kept, *going) if path.exists()] == kept
    assert not going[1].parent.exists()
    assert not going[2].parent.parent.exists()
    assert planned.splitlines()[:-1] == said.splitlines()[:-1]
    assert said.splitlines()[-1] == "4.0 MB removed; 1.0 MB more are newer than 7 days"
    assert "root/chunks/gone/00000: there is no split gone" in said

    assert main(["clean", unknown]) == 0
    assert capsys.readouterr().out == "nothing is older than 7 days; 1.0 MB are newer\n"
    assert main(["clean", unknown, "--older-than", "0"]) == 0
    assert not layout.chunks("gone").exists()
    capsys.readouterr()
    assert main(["clean"]) == 0
    assert capsys.readouterr().out == "nothing is unused\n"


def test_chunks_of_splits_that_another_project_may_have_stay_unless_they_are_named(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    theirs = put(layout.chunks("theirs") / "00000" / "0-4.arrow")
    assert main(["clean"]) == 0
    assert theirs.exists()
    assert capsys.readouterr().out == (
        "nothing is unused\n"
        "1.0 MB are chunks of splits that codedata.definitions does not define (theirs); "
        "--unknown-splits takes them, too\n"
    )
    with pytest.raises(SystemExit):
        main(["clean", "--older-than", "-1"])
    assert "-1 is in the future" in capsys.readouterr().err


def test_a_root_that_is_a_file_is_refused_by_those_that_look_below_it(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    layout.root.touch()
    for command in ("list", "clean"):
        assert main([command]) == 1
        assert f"CODEDATA_ROOT is {layout.root}, a file; " in capsys.readouterr().err


def test_an_unfinished_run_s_folder_goes_unless_the_run_is_at_work(
    layout: Layout, capsys: pytest.CaptureFixture[str]
) -> None:
    dataset = scenario.write_dataset(layout.dataset("demo_train"), [[[1, 2, 3, 4]]])
    before = scenario.dataset_bytes(dataset)
    killed = Staging(dataset)
    killed.folder.mkdir()
    killed.put("dump-0.pkl", bytes(1_000_000))
    for path in (killed.stage / "dump-0.pkl", killed.stage):
        age(path)
    with open_staging(layout.dataset("other")) as running:
        running.put("dump-0.pkl", bytes(10))
        assert main(["clean", "--older-than", "0"]) == 0
        said = capsys.readouterr().out
        assert (running.stage / "dump-0.pkl").exists()
        assert "kept: " in said
    assert f"{killed.folder.name}: a run of demo_train did not finish" in said
    assert not killed.folder.exists()
    assert scenario.dataset_bytes(dataset) == before


def test_what_a_planted_link_leads_to_stays(layout: Layout, tmp_path: Path) -> None:
    foreign = put(tmp_path / "foreign" / "00000" / "0-4.arrow")
    layout.chunks("x").parent.mkdir(parents=True)
    layout.chunks("x").symlink_to(foreign.parent.parent)
    assert main(["clean", "--unknown-splits", "--older-than", "0"]) == 0
    assert foreign.exists()
