"""Repositories of many shapes -> the files of a path, or of a configuration and split."""

import json
from pathlib import Path
from typing import Any

import pytest

from codedata.errors import CorpusError
from codedata.hub.source import HubSource
from codedata.progress import SILENT
from codedata.sources.listing import (
    LISTING_NAME,
    ListedFile,
    Listing,
    read_listing,
    write_listing,
)
from codedata_tests.hub.server import Hub
from codedata_tests.said import Said

REPO = "owner/texts"


def card(*configs: dict[str, Any]) -> dict[str, bytes]:
    """A dataset card that names configurations; JSON is YAML."""
    return {"README.md": f"---\n{json.dumps({'configs': configs})}\n---\n# Texts\n".encode()}


def empty(*names: str) -> dict[str, bytes]:
    return {name: name.encode() for name in names}


def paths_of(hub: Hub, files: dict[str, bytes], **source: Any) -> list[str]:
    hub.add_repo(REPO, files)
    return [file.path for file in HubSource(repo=REPO, **source).ask(SILENT).files]


SHARDED = empty(*(f"data/{split}-{n:05d}-of-00002.parquet" for split in ("a", "b") for n in (0, 1)))

BILLION_LAUGHS = "\n".join(
    ["---", f"a0: &a0 [{'ha,' * 9}]"]
    + [f"a{n}: &a{n} [{f'*a{n - 1},' * 9}]" for n in range(1, 10)]
    + ["configs: [{config_name: *a9, data_files: x}]", "---"]
)
"""A list of lists of lists, a few hundred bytes, that would take gigabytes once written out."""

BY_CARD = card(
    {"config_name": "small", "data_files": "small/*.parquet"},
    {
        "config_name": "whole",
        "data_dir": "whole",
        "default": True,
        "data_files": [
            {"split": "train", "path": ["**/1.parquet", "x/*.parquet"]},
            {"split": "test", "path": "t.jsonl.gz"},
        ],
    },
) | empty("small/s.parquet", "whole/x/1.parquet", "whole/x/0.parquet", "whole/y/1.parquet",
          "whole/t.jsonl.gz", "whole/.hidden/1.parquet", "1.parquet")  # fmt: skip


@pytest.mark.parametrize(
    ("files", "asked", "expected"),
    [
        pytest.param(SHARDED, {"split": "b"}, [*SHARDED][2:], id="shards of a split"),
        pytest.param(
            SHARDED, {"path": "data/*-00001-of-*"}, [[*SHARDED][1], [*SHARDED][3]], id="a pattern"
        ),
        pytest.param(
            BY_CARD,
            {"config": "small"},
            ["small/s.parquet"],
            id="the only split of a configuration",
        ),
        pytest.param(
            BY_CARD,
            {"split": "train"},
            ["whole/x/1.parquet", "whole/y/1.parquet", "whole/x/0.parquet"],
            id="the default configuration, pattern by pattern, each file once",
        ),
        pytest.param(
            BY_CARD, {"config": "whole", "split": "test"}, ["whole/t.jsonl.gz"], id="below data_dir"
        ),
        pytest.param(
            empty("train/b.jsonl", "train/a.jsonl", "dev/c.jsonl"),
            {"split": "train"},
            ["train/a.jsonl", "train/b.jsonl"],
            id="folders",
        ),
        pytest.param(
            empty("train/dev/train_1/a.jsonl", "b.jsonl"),
            {"split": "train"},
            ["train/dev/train_1/a.jsonl"],
            id="a file once, whatever its folders",
        ),
        pytest.param(
            empty("c_valid.csv", "c_train.csv", "x.py", "trains.csv"),
            {"split": "validation"},
            ["c_valid.csv"],
            id="names",
        ),
        pytest.param(
            empty("b/c.parquet", "a.parquet", "dataset_info.json", ".x.parquet", "a.py"),
            {},
            ["a.parquet", "b/c.parquet"],
            id="everything",
        ),
    ],
)
def test_the_files_are_those_that_the_hub_shows_for_it(
    hub: Hub, files: dict[str, bytes], asked: dict[str, Any], expected: list[str]
) -> None:
    assert paths_of(hub, files, **asked) == expected


@pytest.mark.parametrize(
    ("files", "asked", "said"),
    [
        (SHARDED, {}, "owner/texts has 2 splits: a, b; say which (split)"),
        (SHARDED, {"split": "c"}, "split is 'c', which owner/texts does not have;"),
        (SHARDED, {"config": "c"}, "config is 'c', but the card of owner/texts names none"),
        (BY_CARD, {"config": "hole"}, "did you mean whole? there are small, whole"),
        (SHARDED, {"path": "data/*.jsonl"}, "data/*.jsonl of owner/texts at 'main' has no files"),
        (SHARDED, {"path": ["a-*", "data/c.parquet"]}, "has no file data/c.parquet;"),
        (empty("a.py"), {}, "has no files that can be read, and the hub has no conversion of it"),
        (card({"config_name": ["x"], "data_files": 3}), {}, "has no readable configs"),
        ({"README.md": b"---\n{x\n---\n"}, {}, "has no readable configs"),
        (
            {"README.md": b"---\nconfigs: " + b"[" * 1_000 + b"\n---\n"},
            {},
            "has no readable configs",
        ),
        (card({"config_name": "x", "data_files": "a*" * 20}), {}, "has more than 4 of *"),
        ({"README.md": BILLION_LAUGHS.encode()}, {}, "has no readable configs (a list where a"),
    ],
)
def test_what_does_not_say_which_files_is_refused_in_one_line(
    hub: Hub, files: dict[str, bytes], asked: dict[str, Any], said: str
) -> None:
    with pytest.raises(CorpusError) as refused:
        paths_of(hub, files, **asked)
    assert said in str(refused.value)
    assert "\n" not in str(refused.value)


def test_a_gated_repository_is_refused_in_one_line(hub: Hub) -> None:
    hub.add_repo(REPO, SHARDED, private=True)
    with pytest.raises(CorpusError, match="does not list the files of owner/texts at 'main'"):
        HubSource(repo=REPO, path="data/*").ask(SILENT)


def test_a_folder_of_too_many_files_is_not_looked_through(
    hub: Hub, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("codedata.hub.listing._MAX_FOUND", 3)
    with pytest.raises(CorpusError, match="data of owner/texts at 'main' has more than 3 files"):
        paths_of(hub, SHARDED, path="data/*")
    assert len(paths_of(hub, SHARDED | empty("x/a.parquet"), path="x/*")) == 1


def test_of_a_repository_with_a_script_the_hubs_conversion_is_taken(hub: Hub, said: Said) -> None:
    repo = hub.add_repo(REPO, empty("texts.py", "texts.zip"))
    converted = empty(
        ".gitattributes",
        "a/train/0000.parquet",
        "a/train/0001.parquet",
        "a/partial-test/0000.parquet",
    )
    commit = repo.commit(converted, branch="refs/convert/parquet")
    with pytest.raises(CorpusError, match="converted only the beginning of test"):
        HubSource(repo=REPO, split="test").ask(said.reporter)
    repo.commit(dict([*converted.items()][:3]), branch="refs/convert/parquet")
    listing = HubSource(repo=REPO, config="a", split="train").ask(said.reporter)
    assert listing.paths == ("a/train/0000.parquet", "a/train/0001.parquet")
    assert listing.revision == "refs/convert/parquet"
    assert listing.commit != commit
    assert "the hub's conversion to parquet is taken" in said[0]


def test_a_list_is_of_one_commit_and_kept_until_it_is_asked_for_anew(
    hub: Hub, tmp_path: Path, said: Said
) -> None:
    repo = hub.add_repo(REPO, SHARDED)
    source = HubSource(repo=REPO, split="a")
    assert source.listed_in(tmp_path).num_files == 1
    source = source.refreshed(tmp_path, said.reporter)
    first = source.listing
    assert source.num_files == 2
    assert said == [f"corpus {tmp_path.name}: 2 files of commit {repo.refs['main']}"]
    repo.commit(
        SHARDED | {"data/a-00001-of-00002.parquet": b"new", "data/a-00002-of-00002.parquet": b""}
    )
    assert source.listed_in(tmp_path).listing == first
    now = source.refreshed(tmp_path, said.reporter)
    assert now.num_files == 3
    assert said[1].endswith("; 1 new, 1 changed since it was listed before")
    assert HubSource(repo=REPO, split="b").listed_in(tmp_path).listing is None


@pytest.mark.parametrize(
    "damaged",
    [
        b"",
        b"[]",
        b"[" * 99_999,
        b'{"asked": "x", "files": []}',
        b'{"asked": "x", "files": [{"path": 1, "num_bytes": "a", "etag": null}]}',
    ],
)
def test_a_damaged_list_is_none(damaged: bytes, tmp_path: Path) -> None:
    file = ListedFile(path="a", num_bytes=1, etag="b")
    write_listing(tmp_path, Listing(asked="x", files=(file,)))
    found = read_listing(tmp_path, "x")
    assert found is not None
    assert found.files == (file,)
    (tmp_path / LISTING_NAME).write_bytes(damaged)
    assert read_listing(tmp_path, "x") is None


def test_a_list_that_cannot_be_read_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / LISTING_NAME).mkdir()
    with pytest.raises(CorpusError, match=r"Is a directory.*remove .*listing\.json"):
        read_listing(tmp_path, "x")
