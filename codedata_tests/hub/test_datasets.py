"""Datasets to the hub and back: private, whole, in one commit, refused where they would mislead."""

import os
import pickle
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from huggingface_hub import constants

from codedata import PickledTrainerDataset, cli
from codedata.errors import DatasetError
from codedata.format.card import CARD_NAME
from codedata.format.facts import FACTS_NAME
from codedata.format.meta import META_NAME
from codedata.format.without_paths import without_paths
from codedata.store.dataset_folder import open_dataset, read_facts
from codedata_tests import scenario
from codedata_tests.format.test_old_cards import OLD_DIGEST, old_card
from codedata_tests.hub.server import Hub
from codedata_tests.script_runs import run_here

REPO = "me/c-train"
COMMIT_DIGITS = 40


@pytest.fixture
def account(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> Hub:
    """The hub, and a token of somebody who may write."""
    hub.tokens["hf_me"] = set()
    monkeypatch.setenv("HF_TOKEN", "hf_me")
    return hub


@pytest.fixture
def dataset(switches: list[str]) -> Path:
    """A dataset of several shards."""
    more = ["--seq_length", "64", "--max_dump_size", "100", "--chunk_size", "60000"]
    assert run_here([*switches, *more]) == 0
    return Path(switches[3])


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def push(dataset: Path, *options: str) -> int:
    return cli.main(["push", str(dataset), REPO, *options])


def test_a_dataset_comes_back_as_it_was_pushed(
    account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(dataset) == 0
    repo = account.repos["dataset", REPO]
    assert repo.private
    commit = repo.refs["main"]
    assert f"/datasets/{REPO}/commit/{commit}" in capsys.readouterr().out
    pushed = {name: data for name, data in repo.files().items() if name != ".gitattributes"}
    assert pushed == contents(dataset)
    assert len(pushed) > 5
    assert len(repo.commits) == 2, "the repository's first, and one of ours"

    fetched = PickledTrainerDataset.from_hub(REPO, quiet=True)
    here = PickledTrainerDataset(dataset, quiet=True)
    assert len(fetched) == len(here)
    assert all((a["input_ids"] == b["input_ids"]).all() for a, b in zip(fetched, here, strict=True))
    folder = fetched.datasets[0].folder
    assert folder.name == commit
    assert scenario.dataset_bytes(folder) == scenario.dataset_bytes(dataset)
    for name in (CARD_NAME, FACTS_NAME):
        assert (folder / name).read_bytes() == (dataset / name).read_bytes()
    assert cli.main(["verify", str(folder)]) == 0


def test_what_is_here_of_a_commit_costs_no_request_and_another_process_opens_it(
    account: Hub, dataset: Path
) -> None:
    push(dataset)
    commit = account.repos["dataset", REPO].refs["main"]
    first = PickledTrainerDataset.from_hub(REPO, commit, quiet=True)
    account.clear()
    again = PickledTrainerDataset.from_hub(REPO, commit, quiet=True, verify=True)
    assert len(again) == len(first)
    assert not account.requests
    assert len(pickle.loads(pickle.dumps(again))) == len(first)
    assert [each.status is None for each in account.faults] == []
    PickledTrainerDataset.from_hub(REPO, quiet=True)
    assert len(account.requests) == 1, "a branch is asked for"


def test_a_branch_that_cannot_be_asked_for_is_what_it_was(
    account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(dataset)
    samples = len(PickledTrainerDataset.from_hub(REPO, quiet=True))
    account.fail(method="HEAD", path=META_NAME, status=503, times=1000)
    capsys.readouterr()
    assert len(PickledTrainerDataset.from_hub(REPO)) == samples
    assert "the cache's copy of commit" in capsys.readouterr().err


def test_a_smaller_dataset_takes_the_place_of_a_larger_one_in_one_commit(
    account: Hub, dataset: Path, switches: list[str]
) -> None:
    push(dataset)
    repo = account.repos["dataset", REPO]
    before = len(repo.files())
    assert run_here([*switches, "--seq_length", "64", "--chars_to_tokenize", "60000"]) == 0
    assert push(dataset) == 0
    assert len(repo.commits) == 3
    assert len(repo.files()) < before
    fetched = PickledTrainerDataset.from_hub(REPO, quiet=True)
    assert scenario.dataset_bytes(fetched.datasets[0].folder) == scenario.dataset_bytes(dataset)


def test_pushing_again_changes_nothing(account: Hub, dataset: Path) -> None:
    push(dataset)
    assert push(dataset) == 0
    assert len(account.repos["dataset", REPO].commits) == 2


def test_a_branch_is_made_where_there_is_none(account: Hub, dataset: Path) -> None:
    assert push(dataset, "--branch", "v2", "--message", "Second") == 0
    repo = account.repos["dataset", REPO]
    assert META_NAME in repo.files("v2")
    assert META_NAME not in repo.files("main")
    assert len(PickledTrainerDataset.from_hub(REPO, "v2", quiet=True)) > 0


def refused(dataset: Path, capsys: pytest.CaptureFixture[str], *options: str) -> str:
    capsys.readouterr()
    assert push(dataset, *options) == 1
    said = capsys.readouterr().err
    assert said.count("codedata: error: ") == 1
    return said


def test_a_public_repository_is_refused_unless_it_is_meant(
    account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    repo = account.add_repo(REPO, {})
    assert f"{REPO} is public, but a dataset holds" in refused(dataset, capsys)
    assert not repo.files()
    assert push(dataset, "--public") == 0
    assert META_NAME in repo.files()


def test_public_is_public(account: Hub, dataset: Path) -> None:
    assert push(dataset, "--public") == 0
    assert not account.repos["dataset", REPO].private


def test_a_private_repository_is_not_made_public_by_a_push(
    account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert push(dataset) == 0
    assert push(dataset, "--public") == 1
    assert f"{REPO} exists and is private; make it public on " in capsys.readouterr().err
    assert account.repos["dataset", REPO].private


def test_a_branch_whose_new_commit_cannot_be_had_still_stands_for_the_old_one(
    account: Hub, dataset: Path, switches: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    push(dataset)
    samples = len(PickledTrainerDataset.from_hub(REPO, quiet=True))
    assert run_here([*switches, "--seq_length", "64", "--chars_to_tokenize", "60000"]) == 0
    push(dataset)
    account.fail(path="dump-0.pkl", method="*", status=503, times=1000)
    with pytest.raises(DatasetError, match="503"):
        PickledTrainerDataset.from_hub(REPO, quiet=True)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    assert len(PickledTrainerDataset.from_hub(REPO, quiet=True)) == samples


@pytest.mark.parametrize("name", ["../x", "a/b/c", "", "me"])
def test_what_is_no_name_of_a_repository_is_a_dataset_error(account: Hub, name: str) -> None:
    with pytest.raises(DatasetError, match="a repository is written as owner/name"):
        PickledTrainerDataset.from_hub(name)
    assert not account.requests


def test_a_home_that_cannot_be_written_is_said(account: Hub, dataset: Path, tmp_path: Path) -> None:
    push(dataset)
    (tmp_path / "hf").mkdir(exist_ok=True)
    (tmp_path / "hf" / "codedata").write_bytes(b"a file where the folder should be")
    with pytest.raises(DatasetError, match=r"cannot be written: .*; set HF_HOME to a folder"):
        PickledTrainerDataset.from_hub(REPO, quiet=True)


@pytest.mark.parametrize("name", [CARD_NAME, FACTS_NAME])
def test_what_the_user_wrote_there_is_not_replaced(
    name: str, account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    push(dataset)
    repo = account.repos["dataset", REPO]
    repo.commit({**repo.files(), name: repo.files()[name] + b"\nMy notes.\n"})
    head = repo.refs["main"]
    assert f"{name} of {REPO} was not written by codedata, or was" in refused(dataset, capsys)
    assert repo.refs["main"] == head


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
    assert cli.main(["verify", str(dataset)]) == 0
    assert push(dataset) == 0
    assert f"{dataset / CARD_NAME} is of an older codedata; " in capsys.readouterr().err
    assert contents(dataset).keys() & {CARD_NAME, FACTS_NAME} == {CARD_NAME}
    assert (dataset / CARD_NAME).read_bytes() == card, "it stays as it is"
    pushed = account.repos["dataset", REPO].files()
    assert b"/home" not in pushed[CARD_NAME] + pushed[FACTS_NAME]
    folder = PickledTrainerDataset.from_hub(REPO).datasets[0].folder
    assert cli.main(["verify", str(folder)]) == 0
    facts, here = read_facts(folder), read_facts(dataset)
    assert facts is not None
    assert here is not None
    assert facts == without_paths(here)
    assert push(dataset) == 0, "again"
    assert len(account.repos["dataset", REPO].commits) == 2


def test_what_an_older_codedata_pushed_is_fetched_and_replaced(account: Hub, dataset: Path) -> None:
    now = contents(dataset)
    as_before_the_facts(dataset)
    repo = account.add_repo(REPO, contents(dataset), private=True)
    fetched = PickledTrainerDataset.from_hub(REPO, quiet=True).datasets[0]
    assert fetched.facts == read_facts(dataset) is not None
    for name, data in now.items():
        (dataset / name).write_bytes(data)
    assert push(dataset) == 0
    assert repo.files() == now


def test_a_dataset_whose_card_was_removed_takes_the_place_of_one_that_has_one(
    account: Hub, dataset: Path
) -> None:
    push(dataset)
    repo = account.repos["dataset", REPO]
    (dataset / CARD_NAME).unlink()
    assert push(dataset) == 0
    assert CARD_NAME not in repo.files()
    assert repo.files()[FACTS_NAME] == (dataset / FACTS_NAME).read_bytes()
    assert PickledTrainerDataset.from_hub(REPO, quiet=True).datasets[0].facts is not None


def test_without_a_token_the_ways_to_give_one_are_said(
    hub: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    said = refused(dataset, capsys)
    assert "the hub does not take" in said
    assert "make a token on" in said
    assert not hub.repos


def test_a_damaged_dataset_is_not_pushed(
    account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    shard = dataset / "dump-0.pkl"
    data = bytearray(shard.read_bytes())
    data[100] ^= 1
    shard.write_bytes(data)
    assert "dump-0.pkl does not have the sha256" in refused(dataset, capsys)
    assert not account.repos


def test_a_dataset_that_does_not_say_what_it_is_of_is_not_pushed(
    account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (dataset / CARD_NAME).unlink()
    (dataset / FACTS_NAME).unlink()
    assert f"does not say what it was made of: it holds no {FACTS_NAME}" in refused(dataset, capsys)
    assert not account.repos


def test_what_is_no_repository_is_refused(
    dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("", "train", "a/b/c", "https://x/y"):
        assert cli.main(["push", str(dataset), name]) == 1
        assert "write it as owner/name" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("method", "path"), [("PUT", "/blob/"), ("POST", "/commit/"), ("POST", "/preupload/")]
)
def test_an_upload_is_tried_again(
    method: str, path: str, account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    account.fail(method=method, path=path, status=503)
    assert push(dataset) == 0
    fetched = PickledTrainerDataset.from_hub(REPO, quiet=True)
    assert scenario.dataset_bytes(fetched.datasets[0].folder) == scenario.dataset_bytes(dataset)


def test_an_upload_that_the_hub_refuses_is_said_and_leaves_no_commit(
    account: Hub, dataset: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    account.fail(method="POST", path="/commit/", status=403, headers={"X-Error-Message": "Quota"})
    assert "Quota" in refused(dataset, capsys)
    assert META_NAME not in account.repos["dataset", REPO].files()


def fetch_error(revision: str = "main") -> str:
    with pytest.raises(DatasetError) as refusal:
        PickledTrainerDataset.from_hub(REPO, revision, quiet=True)
    return str(refusal.value)


def test_what_is_no_dataset_on_the_hub_is_said(account: Hub, dataset: Path) -> None:
    assert (
        f"dataset {REPO} at 'main': the hub does not give it: there is no dataset" in fetch_error()
    )
    repo = account.add_repo(REPO, {"a.txt": b"a"})
    assert f"holds no {META_NAME} at main, the mark of a whole" in fetch_error()
    assert "has no revision 'v3'" in fetch_error("v3")
    whole = contents(dataset)
    repo.commit({name: data for name, data in whole.items() if name != "dump-1.pkl"})
    assert "the repository has no dump-1.pkl" in fetch_error()
    repo.commit({**whole, "dump-1.pkl": whole["dump-0.pkl"]})
    assert "dump-1.pkl does not have the sha256 that its meta states" in fetch_error()
    repo.commit(whole)
    assert len(PickledTrainerDataset.from_hub(REPO, quiet=True)) > 0


def test_a_hostile_shard_of_the_hub_runs_nothing(
    account: Hub, dataset: Path, tmp_path: Path
) -> None:
    proof = tmp_path / "proof"
    hostile = b"cos\nmkdir\n(V" + str(proof).encode() + b"\ntR."
    pickle.loads(hostile)
    assert proof.is_dir(), "plain pickle runs it"
    proof.rmdir()
    whole = contents(dataset)
    account.add_repo(REPO, {**whole, "dump-0.pkl": hostile})
    assert "dump-0.pkl" in fetch_error()
    assert not proof.exists()


def test_a_dataset_of_the_old_script_is_loaded_too(account: Hub, tmp_path: Path) -> None:
    files = {
        "dump-0.pkl": pickle.dumps([[1, 2], [3, 4]]),
        META_NAME: b'{"dump-0.pkl": {"num_samples": 2, "num_tokens": 4}}',
    }
    account.add_repo(REPO, files)
    assert PickledTrainerDataset.from_hub(REPO, quiet=True)[1]["labels"].tolist() == [3, 4]


def test_a_transfer_that_was_killed_is_not_taken_for_a_dataset(
    account: Hub, dataset: Path, tmp_path: Path
) -> None:
    push(dataset)
    account.fail(path="dump-1.pkl", status=404, headers={"X-Error-Code": "RevisionNotFound"})
    assert "has no revision" in fetch_error()
    folders = tmp_path / "hf" / "codedata" / "datasets--me--c-train"
    assert not any(len(name) == COMMIT_DIGITS for name in os.listdir(folders))
    shutil.copytree(dataset, folders / f".{account.repos['dataset', REPO].refs['main']}.stage")
    assert len(PickledTrainerDataset.from_hub(REPO, quiet=True)) > 0


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


def test_neither_an_import_nor_opening_a_dataset_changes_the_librarys_client(
    hub: Hub, tmp_path: Path
) -> None:
    subprocess.run(
        [sys.executable, "-c", IMPORTS], env=hub.environment(tmp_path / "hf"), check=True
    )
