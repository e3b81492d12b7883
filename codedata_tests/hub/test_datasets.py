"""Datasets to the hub and back: private, whole, in one commit, refused where they would mislead."""

import gzip
import os
import pickle
import shutil
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from huggingface_hub import constants

from codedata import Mixture, PickledTrainerDataset, ResumableLoader, cli, load_dataset
from codedata.errors import DatasetError
from codedata.format.card import CARD_NAME
from codedata.format.facts import FACTS_NAME
from codedata.format.meta import META_NAME
from codedata.format.without_paths import without_paths
from codedata.store import requests, streamed
from codedata.store.dataset_folder import Dataset, open_dataset, read_facts
from codedata.store.object_store import ObjectStore
from codedata_tests import scenario
from codedata_tests.format.test_old_cards import OLD_DIGEST, old_card
from codedata_tests.hub.server import Fault, Hub, Repo
from codedata_tests.script_runs import PAD_ID, contents, run_here
from codedata_tests.sources.loopback_s3 import wait_until

REPO = "me/c-train"
COMMIT_DIGITS = 40


@pytest.fixture
def account(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub, and a token of somebody who may write."""
    hub.tokens["hf_me"] = set()
    monkeypatch.setenv("HF_TOKEN", "hf_me")
    return hub


@pytest.fixture(scope="session")
def sets(corpus: Path, tokenizer_folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset of several shards, `large`, and one of fewer, `small`."""
    folder = tmp_path_factory.mktemp("made")
    for name, num_chars in (("large", 200_000), ("small", 60_000)):
        switches = {
            "data_file": corpus, "tokenization_folder": folder / name, "max_dump_size": 100,
            "tokenizer_base": tokenizer_folder, "pad_token": PAD_ID, "min_sample_length": 0,
            "seq_length": 64, "chunk_size": 60_000, "chars_to_tokenize": num_chars,
        }  # fmt: skip
        words = [word for name, value in switches.items() for word in (f"--{name}", str(value))]
        assert run_here(words) == 0
    return folder


@pytest.fixture
def dataset(sets: Path, tmp_path: Path) -> Path:
    return shutil.copytree(sets / "large", tmp_path / "set")


def push(dataset: Path, *options: str) -> int:
    return cli.main(["push", str(dataset), REPO, *options])


@pytest.fixture
def pushed(account: Hub, dataset: Path) -> Repo:
    """The repository of the dataset."""
    assert push(dataset) == 0
    return account.repos["dataset", REPO]


def fetched(revision: str = "main") -> Dataset:
    return PickledTrainerDataset.from_hub(REPO, revision, quiet=True).datasets[0]


def fetch_error(revision: str = "main") -> str:
    with pytest.raises(DatasetError) as refusal:
        fetched(revision)
    return str(refusal.value)


def refused(dataset: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    assert push(dataset, *options) == 1
    said = capsys.readouterr().err
    assert said.count("codedata: error: ") == 1
    return said


def test_a_dataset_comes_back_as_it_was_pushed(
    account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(dataset) == 0
    repo = account.repos["dataset", REPO]
    assert repo.private
    commit = repo.refs["main"]
    assert f"/datasets/{REPO}/commit/{commit}" in capsys.readouterr().out
    files = {name: data for name, data in repo.files().items() if name != ".gitattributes"}
    assert files == contents(dataset)
    assert len(files) > 5
    assert push(dataset) == 0
    assert len(repo.commits) == 2, "the repository's first, and one of ours; none that is the same"

    back = PickledTrainerDataset.from_hub(REPO, quiet=True)
    here = PickledTrainerDataset(dataset, quiet=True)
    assert all((a["input_ids"] == b["input_ids"]).all() for a, b in zip(back, here, strict=True))
    folder = back.datasets[0].folder
    assert folder.name == commit
    assert contents(folder) == files
    assert cli.main(["verify", str(folder)]) == 0


def test_what_is_here_of_a_commit_costs_no_request_and_of_a_branch_one_that_may_fail(
    account: Hub, pushed: Repo, sets: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    commit = pushed.refs["main"]
    first = PickledTrainerDataset.from_hub(REPO, commit, quiet=True)
    account.clear()
    again = PickledTrainerDataset.from_hub(REPO, commit, quiet=True, verify=True)
    assert len(pickle.loads(pickle.dumps(again))) == len(first)
    assert load_dataset(REPO, commit, mask_padding=False).digest == first.digest
    assert not account.requests
    assert fetched().digest == first.datasets[0].digest
    assert len(account.requests) == 1, "a branch is asked for"
    account.fail(method="HEAD", path=META_NAME, status=503)
    capsys.readouterr()
    assert len(PickledTrainerDataset.from_hub(REPO)) == len(first)
    assert "the cache's copy of commit" in capsys.readouterr().err
    assert push(sets / "small") == 0
    account.fail(path="dump-0.pkl", method="*", status=503, times=1000)
    assert "503" in fetch_error()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(constants, "HF_HUB_OFFLINE", True)
        assert fetched().digest == first.datasets[0].digest, "it still stands for the old one"


def test_a_smaller_dataset_takes_the_place_of_a_larger_one_in_one_commit(
    pushed: Repo, sets: Path
) -> None:
    before = len(pushed.files())
    assert push(sets / "small") == 0
    assert len(pushed.commits) == 3
    assert len(pushed.files()) < before
    assert scenario.dataset_bytes(fetched().folder) == scenario.dataset_bytes(sets / "small")


def test_sidecars_go_and_come_with_their_shards_and_none_is_left_of_an_older_dataset(
    account: Hub, sets: Path, tmp_path: Path
) -> None:
    many, few = (
        scenario.write_facts(scenario.write_document_dataset(tmp_path / name, chunks))
        for name, chunks in (("many", [[5, 3, 20], [4, 8]]), ("few", [[7, 2]]))
    )
    for folder in (many, few, sets / "small"):
        assert push(folder) == 0
        files = account.repos["dataset", REPO].files()
        files.pop(".gitattributes", None)
        assert files == contents(folder)
        back = fetched()
        assert contents(back.folder) == files
        own = open_dataset(folder)
        assert open_dataset(back.folder, verify=True).digest == own.digest
        assert len(back.spans) == len(own.spans) == sum(name.endswith(".npy") for name in files)
        for index, spans in enumerate(own.spans):
            assert back.spans[index].tolist() == spans.tolist()
            assert back.documents(index).equals(own.documents(index))


@pytest.mark.parametrize("name", ["dump-0.documents.npy", "dump-1.documents.parquet"])
def test_a_sidecar_that_is_gone_or_damaged_is_neither_pushed_nor_fetched(
    name: str, account: Hub, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scenario.write_facts(scenario.write_document_dataset(tmp_path / "set"))
    assert push(folder) == 0
    repo = account.repos["dataset", REPO]
    files = repo.files()
    without = {each: data for each, data in files.items() if each != name}
    repo.commit(without)
    assert name in fetch_error()
    repo.commit({**without, name: files[name][:-1] + b"x"})
    assert f"{name} does not have the sha256" in fetch_error()
    head = repo.refs["main"]
    (folder / name).unlink()
    assert f"lacks {name}, which its meta names" in refused(folder, capsys)
    assert repo.refs["main"] == head


def test_a_branch_is_made_where_there_is_none(account: Hub, dataset: Path) -> None:
    assert push(dataset, "--branch", "v2", "--message", "Second") == 0
    repo = account.repos["dataset", REPO]
    assert META_NAME in repo.files("v2")
    assert META_NAME not in repo.files("main")
    assert fetched("v2").digest == open_dataset(dataset).digest


def test_a_repository_is_public_where_it_is_meant_and_only_there(
    account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(dataset, "--public") == 0
    repo = account.repos["dataset", REPO]
    assert not repo.private
    head = repo.refs["main"]
    assert f"{REPO} is public, but a dataset holds" in refused(dataset, capsys)
    repo.private = True
    exists = f"{REPO} exists and is private; make it public on "
    assert exists in refused(dataset, capsys, "--public")
    assert (repo.private, repo.refs["main"]) == (True, head)


@pytest.mark.parametrize("name", ["../x", "a/b/c", "", "me", "https://x/y"])
def test_what_is_no_name_of_a_repository_is_refused(
    name: str, account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with pytest.raises(DatasetError, match="a repository is written as owner/name"):
        PickledTrainerDataset.from_hub(name)
    assert cli.main(["push", str(dataset), name]) == 1
    assert "write it as owner/name" in capsys.readouterr().err
    assert not account.requests


def test_a_home_that_cannot_be_written_is_said(pushed: Repo, tmp_path: Path) -> None:
    (tmp_path / "hf").mkdir(exist_ok=True)
    (tmp_path / "hf" / "codedata").write_bytes(b"a file where the folder should be")
    assert "cannot be written: " in fetch_error()
    assert "; set HF_HOME to a folder" in fetch_error()


@pytest.mark.parametrize("name", [CARD_NAME, FACTS_NAME])
def test_what_the_user_wrote_there_is_not_replaced(
    name: str, pushed: Repo, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pushed.commit({**pushed.files(), name: pushed.files()[name] + b"\nMy notes.\n"})
    head = pushed.refs["main"]
    assert f"{name} of {REPO} was not written by codedata, or was" in refused(dataset, capsys)
    assert pushed.refs["main"] == head


def as_before_the_facts(folder: Path) -> bytes:
    """The dataset as an older codedata would have left it, its card naming folders of a machine."""
    (folder / FACTS_NAME).unlink()
    (folder / CARD_NAME).write_bytes(old_card((OLD_DIGEST, open_dataset(folder).digest)))
    return (folder / CARD_NAME).read_bytes()


def test_a_dataset_of_an_older_codedata_is_pushed_with_facts_without_folders_and_said(
    account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    card = as_before_the_facts(dataset)
    assert card.count(b"/home/ada") == 6
    assert push(dataset) == 0
    assert f"{dataset / CARD_NAME} is of an older codedata; " in capsys.readouterr().err
    assert contents(dataset).keys() & {CARD_NAME, FACTS_NAME} == {CARD_NAME}
    assert (dataset / CARD_NAME).read_bytes() == card, "it stays as it is"
    files = account.repos["dataset", REPO].files()
    assert b"/home" not in files[CARD_NAME] + files[FACTS_NAME]
    folder = fetched().folder
    assert cli.main(["verify", str(folder)]) == 0
    here = read_facts(dataset)
    assert here is not None
    assert read_facts(folder) == without_paths(here)
    assert push(dataset) == 0, "again"
    assert len(account.repos["dataset", REPO].commits) == 2


def test_what_an_older_codedata_pushed_is_fetched_and_replaced(
    account: Hub, dataset: Path, sets: Path
) -> None:
    as_before_the_facts(dataset)
    repo = account.add_repo(REPO, contents(dataset), private=True)
    assert fetched().facts == read_facts(dataset) is not None
    assert push(sets / "large") == 0
    assert repo.files() == contents(sets / "large")


def test_a_dataset_whose_card_was_removed_takes_the_place_of_one_that_has_one(
    pushed: Repo, dataset: Path
) -> None:
    (dataset / CARD_NAME).unlink()
    assert push(dataset) == 0
    assert CARD_NAME not in pushed.files()
    assert pushed.files()[FACTS_NAME] == (dataset / FACTS_NAME).read_bytes()
    assert fetched().facts is not None


def test_what_cannot_be_pushed_is_said_and_makes_no_repository(
    account: Hub, dataset: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("HF_TOKEN")
    said = refused(dataset, capsys)
    assert "the hub does not take" in said
    assert "make a token on" in said
    shard = dataset / "dump-0.pkl"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    assert "dump-0.pkl does not have the sha256" in refused(dataset, capsys)
    data[100] ^= 1
    shard.write_bytes(data)
    (dataset / CARD_NAME).unlink()
    (dataset / FACTS_NAME).unlink()
    assert f"does not say what it was made of: it holds no {FACTS_NAME}" in refused(dataset, capsys)
    assert not account.repos


def test_an_upload_is_tried_again_where_it_fails_for_a_reason_that_passes(
    account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    account.fail(
        method="POST", path="/commit/", status=403, headers={"X-Error-Message": "Quota"}, skip=1
    )
    faults = [("PUT", "/blob/"), ("POST", "/commit/"), ("POST", "/preupload/")]
    for method, path in faults:
        account.fail(method=method, path=path, status=503)
    assert "Quota" in refused(dataset, capsys)
    assert META_NAME not in account.repos["dataset", REPO].files(), "no commit is left"
    assert push(dataset) == 0
    assert not any(fault.times for fault in account.faults)
    assert scenario.dataset_bytes(fetched().folder) == scenario.dataset_bytes(dataset)


def test_what_is_no_dataset_on_the_hub_is_said(account: Hub, dataset: Path) -> None:
    no_repo = f"dataset {REPO} at 'main': the hub does not give it: there is no dataset"
    assert no_repo in fetch_error()
    repo = account.add_repo(REPO, {"a.txt": b"a"})
    assert f"holds no {META_NAME} at main, the mark of a whole" in fetch_error()
    assert "has no revision 'v3'" in fetch_error("v3")
    whole = contents(dataset)
    repo.commit({name: data for name, data in whole.items() if name != "dump-1.pkl"})
    assert "the repository has no dump-1.pkl" in fetch_error()
    repo.commit({**whole, "dump-1.pkl": whole["dump-0.pkl"]})
    assert "dump-1.pkl does not have the sha256 that its meta states" in fetch_error()
    repo.commit(whole)
    assert fetched().digest == open_dataset(dataset).digest


def test_a_dataset_of_the_old_script_is_loaded_too_and_a_hostile_shard_runs_nothing(
    account: Hub, tmp_path: Path
) -> None:
    hostile = b"cos\nmkdir\n(V" + str(tmp_path / "proof").encode() + b"\ntR."
    pickle.loads(hostile)
    (tmp_path / "proof").rmdir()  # which plain pickle made
    meta = {META_NAME: b'{"dump-0.pkl": {"num_samples": 2, "num_tokens": 4}}'}
    repo = account.add_repo(REPO, {**meta, "dump-0.pkl": hostile})
    assert "dump-0.pkl" in fetch_error()
    assert not (tmp_path / "proof").exists()
    repo.commit({**meta, "dump-0.pkl": pickle.dumps([[1, 2], [3, 4]])})
    assert PickledTrainerDataset.from_hub(REPO, quiet=True)[1]["labels"].tolist() == [3, 4]


def test_a_transfer_that_was_killed_is_not_taken_for_a_dataset(
    account: Hub, pushed: Repo, dataset: Path, tmp_path: Path
) -> None:
    account.fail(path="dump-1.pkl", status=404, headers={"X-Error-Code": "RevisionNotFound"})
    assert "has no revision" in fetch_error()
    folders = tmp_path / "hf" / "codedata" / "datasets--me--c-train"
    assert not any(len(name) == COMMIT_DIGITS for name in os.listdir(folders))
    shutil.copytree(dataset, folders / f".{pushed.refs['main']}.stage")
    assert fetched().digest == open_dataset(dataset).digest


IMPORTS = """
import codedata
from codedata import PickledTrainerDataset
import codedata.hub.datasets
import httpx2, huggingface_hub
try:
    PickledTrainerDataset.from_hub("owner/none", quiet=True)
except codedata.errors.DatasetError as error:
    assert "there is no dataset repository" in str(error), error
assert type(huggingface_hub.get_session()) is httpx2.Client
"""


def test_neither_an_import_nor_opening_a_dataset_changes_the_library_s_client(
    hub: Hub, tmp_path: Path
) -> None:
    environment = hub.environment(tmp_path / "hf")
    subprocess.run([sys.executable, "-c", IMPORTS], env=environment, check=True)


def test_a_dataset_is_streamed_at_the_commit_that_a_branch_was_when_it_was_opened(
    account: Hub, pushed: Repo, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    commit, here = pushed.refs["main"], PickledTrainerDataset(dataset, quiet=True)
    account.clear()
    streamed = PickledTrainerDataset.from_hub(REPO, quiet=True, stream=True)
    assert not account.asked("GET", blobs=True)
    assert streamed.datasets[0].where == f"hf://datasets/{REPO}@{commit}"
    assert (streamed.digest, streamed.is_streamed) == (here.digest, True)
    pushed.commit({"README.md": b"another"})
    again = pickle.loads(pickle.dumps(streamed))
    assert len([*again]) == len(here)
    assert all((a["labels"] == b["labels"]).all() for a, b in zip(streamed, here, strict=True))
    num_shards = streamed.datasets[0].num_shards
    assert len(account.asked("GET", blobs=True)) == num_shards, "each comes once"
    here = os.listdir(tmp_path / "cache" / "codedata" / "shards")
    assert len([name for name in here if not name.startswith(".")]) == num_shards
    assert not [*Path(constants.HF_HUB_CACHE).rglob("*.pkl")], "none is in the hub's cache"


def test_a_loop_over_a_stream_ends_at_once_though_the_hub_is_slow_and_leaves_nothing(
    account: Hub, pushed: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    folder = tmp_path / "cache" / "codedata" / "shards"
    monkeypatch.setattr(constants, "HF_HUB_DOWNLOAD_TIMEOUT", 20)
    ways: list[dict[str, Any]] = [{"stall_after": 100}, {"drip_seconds": 0.05}]
    for way in ways:
        streamed = PickledTrainerDataset.from_hub(REPO, quiet=True, stream=True)
        others = range(1, streamed.datasets[0].num_shards)
        account.faults[:] = [
            Fault(path=f"name=dump-{i}.pkl", blobs=True, times=9, **way) for i in others
        ]
        account.clear()
        batches = iter(ResumableLoader(streamed, global_batch_size=8, shuffle=False))
        next(batches)
        wait_until(lambda: len(account.asked("GET", blobs=True)) > 1)
        started = time.monotonic()
        batches.close()  # pyright: ignore[reportAttributeAccessIssue]
        assert time.monotonic() - started < 10, "a stalled read lasts 20 s"
        names = [each.name for each in threading.enumerate()]
        assert not [name for name in names if name.startswith("codedata-ahead")]
        left = [n for n in os.listdir(folder) if not n.endswith(".mark") and n != ".left"]
        assert len(left) == 1, "the shard that was needed"
        (folder / left[0]).unlink()


def test_of_a_stream_s_answers_no_more_is_taken_than_was_asked_for_and_less_is_asked_for_again(
    account: Hub, pushed: Repo, dataset: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:  # fmt: skip
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(requests, "FIRST_WAIT_SECONDS", 0.01)
    num_bytes = (dataset / "dump-0.pkl").stat().st_size
    monkeypatch.setattr(streamed, "PIECE_BYTES", num_bytes - 7)
    whole = PickledTrainerDataset(dataset, quiet=True)
    packed = {"body": gzip.compress(bytes(1 << 20)), "headers": {"Content-Encoding": "gzip"}}
    ways: list[tuple[str, dict[str, Any]]] = [
        ("5 of 7 bytes came", {"status": 206, "body": bytes(5)}),
        ("more of 7 bytes came", {"status": 206, **packed}),
        ("more of 7 bytes came", {"status": 206, "endless": bytes(1 << 16)}),
        ("the hub answers 503 Service Unavailable", {"status": 503}),
        ("", {"ignore_range": True}),
    ]
    for said, way in ways:
        here = PickledTrainerDataset.from_hub(REPO, quiet=True, stream=True)
        path = "name=dump-0.pkl"
        account.faults[:] = [Fault(path=path, blobs=True, skip=1, **way)]
        account.clear()
        caplog.clear()
        assert (here[0]["labels"] == whole[0]["labels"]).all()
        asked = [each.headers for each in account.requests if each.blobs]
        assert {each["accept-encoding"] for each in asked} == {"identity"}
        assert len(asked) == (3 if said else 2)
        assert [said in each.getMessage() for each in caplog.records] == [True] * bool(said)
        assert account.bytes_sent < 20 << 20
        shutil.rmtree(tmp_path / "cache")


@pytest.mark.usefixtures("account")
def test_what_the_hub_does_not_give_of_a_stream_is_said_when_it_is_asked_for(
    pushed: Repo, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    streamed = PickledTrainerDataset.from_hub(REPO, quiet=True, stream=True)
    files = pushed.files()
    files["dump-0.pkl"] = files["dump-0.pkl"][:-1] + b"x"
    with pytest.raises(DatasetError, match=r"dump-0.pkl does not have the sha256 that its meta"):
        _ = streamed[0]
    monkeypatch.delenv("HF_TOKEN")
    with pytest.raises(
        DatasetError, match=rf"hf://datasets/{REPO}@.*: the hub does not give it: .* private"
    ):
        _ = streamed[-1]
    with pytest.raises(DatasetError, match=r"the hub does not give it: .* HF_TOKEN"):
        PickledTrainerDataset.from_hub(REPO, quiet=True, stream=True)
    with pytest.raises(DatasetError, match="verify=True would bring all"):
        PickledTrainerDataset.from_hub(REPO, quiet=True, stream=True, verify=True)


@pytest.mark.usefixtures("account")
@pytest.mark.parametrize("stream", [False, True])
def test_a_mixture_is_of_a_commit_of_the_hub_and_a_url_in_the_order_of_folders(
    stream: bool, pushed: Repo, sets: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = ObjectStore(f"memory://hub/{stream}/datasets/small")
    for path in (sets / "small").iterdir():
        store.put(path.name, path.read_bytes())
    small = {"dataset": store.url, "weight": 1, "max_epochs": 3}
    here = Mixture([{"dataset": sets / "large", "weight": 3}, {**small, "dataset": sets / "small"}])
    commit = pushed.refs["main"]
    pushed.commit({"README.md": b"another"})
    source = {"dataset": REPO, "revision": commit, "weight": 3}
    mixed = Mixture([source, small], stream=stream)
    assert [each.name for each in mixed.sources] == ["c-train", "small"]
    assert commit in mixed.datasets[0].where
    assert (mixed.digest, mixed.is_streamed) == (here.digest, stream)
    indices = range(0, len(here), 7)
    assert all(mixed[i]["input_ids"].equal(here[i]["input_ids"]) for i in indices)
    again = pickle.loads(pickle.dumps(mixed))
    assert again[-1]["labels"].equal(here[-1]["labels"])
    with pytest.raises(DatasetError, match=r"dataset me/none at 'main': the hub does not give it"):
        Mixture([{**source, "dataset": "me/none", "revision": "main"}], stream=stream)
