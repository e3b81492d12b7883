"""Fetching files: refusals, waiting, hashes, the library's cache, and how many bytes it takes."""

import hashlib
import os
import subprocess
import sys
import time
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from codedata.hub import files, waiting
from codedata.hub.files import HubFile, fetch_file
from codedata.hub.refusals import HubError, NoSuchFileError, UnreachableError
from codedata_tests.hub.said import Said
from codedata_tests.hub.server import Hub, Repo, git_hash

DATA = bytes(range(256)) * 4000
"""A large file of 1 MB: 63 blocks of the server."""

NAME = "data/c/a.parquet"


@pytest.fixture
def repo(hub: Hub) -> Repo:
    return hub.add_repo("owner/data", {NAME: DATA, "small.json": b"{}"})


def fetch(said: Said, path: str = NAME, revision: str = "main") -> HubFile:
    return fetch_file("owner/data", path, kind="dataset", revision=revision, reporter=said.reporter)


def waits(said: Said) -> list[str]:
    return [line for line in said if "trying again" in line]


def test_a_large_file_is_fetched_once_whole_and_with_its_commit(
    hub: Hub, repo: Repo, said: Said
) -> None:
    fetched = fetch(said)
    assert fetched.path.read_bytes() == DATA
    assert fetched.commit == repo.refs["main"]
    assert fetched.sha256 == hashlib.sha256(DATA).hexdigest()
    assert hub.asked("GET", blobs=True), "large files come from the other host"
    assert len(DATA) <= hub.bytes_sent < len(DATA) + 1000
    assert any(f"{NAME}: 1.0 MB fetched in" in line and "MB/s" in line for line in said)
    small = fetch(said, "small.json")
    assert small.path.read_bytes() == b"{}"
    assert (small.etag, small.sha256) == (git_hash(b"{}"), None)


def test_the_token_goes_to_the_hub_and_never_to_the_host_of_the_blobs(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens["hf_secret"] = set()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(said)
    given = {(each.blobs, each.headers.get("authorization")) for each in hub.requests}
    assert given == {(False, "Bearer hf_secret"), (True, None)}


def test_a_file_that_is_here_and_right_costs_no_request_whoever_fetched_it(
    hub: Hub, repo: Repo, said: Said
) -> None:
    found = huggingface_hub.hf_hub_download("owner/data", NAME, repo_type="dataset")
    hub.clear()
    assert fetch(said, revision=repo.refs["main"]).path == Path(found)
    assert not hub.requests
    fetch(said)
    assert [each.method for each in hub.requests] == ["HEAD"], "a branch may have moved on"
    second = repo.commit({NAME: DATA, "more.txt": b"more"})
    hub.clear()
    assert fetch(said).commit == second
    assert [each.method for each in hub.requests] == ["HEAD"], "the same bytes in another commit"


def test_a_tag_and_a_commit_name_what_a_branch_has_left_behind(
    hub: Hub, repo: Repo, said: Said
) -> None:
    first = repo.refs["main"]
    repo.refs["v1"] = first
    repo.commit({NAME: b"PAR1 newer"})
    assert fetch(said, revision="v1").path.read_bytes() == DATA
    assert fetch(said, revision=first).path.read_bytes() == DATA
    assert fetch(said).path.read_bytes() == b"PAR1 newer"


def test_a_missing_file_of_a_commit_is_asked_for_once(hub: Hub, repo: Repo, said: Said) -> None:
    commit = repo.refs["main"]
    with pytest.raises(NoSuchFileError):
        fetch(said, "tokenizer_config.json", revision=commit)
    with pytest.raises(NoSuchFileError, match=r"as it said before; to ask again, remove .*no_ex"):
        fetch(said, "tokenizer_config.json", revision=commit)
    assert len(hub.requests) == 1


# Refusals


PAGE = "HUB/datasets/owner/data"
GIVE = "make a token on HUB/settings/tokens, then set HF_TOKEN to it or run `hf auth login`"
NO_TOKEN = f"its terms must be accepted first: log in and accept them on {PAGE}; {GIVE}"
NOT_LET_IN = (
    f"the account of your token has no access: accept the terms on {PAGE} (some owners decide by "
    "hand); a fine-grained token also needs the permission to read gated repositories "
    "(HUB/settings/tokens)"
)
UNKNOWN_TOKEN = f"the hub does not know your token; {GIVE}"
NO_REVISION = (
    f"the repository has no revision 'v9'; name a branch, a tag or a commit that {PAGE}/commits "
    "shows, or take the newest commit with --update"
)
NO_FILE = f"the repository has no none.parquet at 'main'; {PAGE}/tree/main shows what it has"


@pytest.mark.parametrize(
    ("gated", "token", "file", "revision", "message"),
    [
        (True, None, NAME, "main", NO_TOKEN),
        (True, "hf_known", NAME, "main", NOT_LET_IN),
        (False, "hf_wrong", NAME, "main", UNKNOWN_TOKEN),
        (False, None, NAME, "v9", NO_REVISION),
        (False, None, "none.parquet", "main", NO_FILE),
    ],
    ids=["no token", "not let in", "unknown token", "no revision", "no file"],
)
def test_what_the_hub_refuses_is_said_at_once_with_the_remedy(
    hub: Hub,
    repo: Repo,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
    *,
    gated: bool,
    token: str | None,
    file: str,
    revision: str,
    message: str,
) -> None:
    repo.gated = gated
    hub.tokens["hf_known"] = set()
    if token:
        monkeypatch.setenv("HF_TOKEN", token)
    with pytest.raises(HubError) as refusal:
        fetch(said, file, revision)
    assert str(refusal.value) == message.replace("HUB", hub.address)
    assert isinstance(refusal.value, NoSuchFileError) == (file != NAME)
    assert not waits(said)


def test_an_unknown_repository_is_said(hub: Hub, repo: Repo, said: Said) -> None:
    with pytest.raises(HubError, match="there is no dataset repository owner/none, or it is priva"):
        fetch_file("owner/none", NAME, kind="dataset", revision="main", reporter=said.reporter)
    with pytest.raises(HubError, match="no model repository owner/data"):
        fetch_file("owner/data", NAME, kind="model", revision="main", reporter=said.reporter)


def test_a_token_on_the_disk_is_used(hub: Hub, repo: Repo, said: Said, tmp_path: Path) -> None:
    repo.gated = True
    hub.tokens["hf_kept"] = {"owner/data"}
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("hf_kept\n", encoding="utf-8")
    assert fetch(said).path.read_bytes() == DATA


def test_what_the_hub_says_in_its_own_words_is_passed_on(hub: Hub, repo: Repo, said: Said) -> None:
    message = "Access to this resource is disabled."
    hub.fail(method="HEAD", status=403, headers={"X-Error-Message": message})
    with pytest.raises(HubError, match="Access to this resource is disabled"):
        fetch(said)


def test_what_no_request_can_be_made_of_is_refused_in_one_line(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_ä")
    with pytest.raises(HubError, match="can't encode"):
        fetch(said)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "mirror.example/a")
    with pytest.raises(HubError, match=r"HF_ENDPOINT is .*; write it as https://"):
        fetch(said)
    assert not waits(said)


# Waiting


@pytest.mark.parametrize("status", [429, 500, 503])
@pytest.mark.parametrize(("method", "blobs"), [("HEAD", False), ("GET", True)])
def test_what_passes_is_waited_for_and_said(
    status: int, method: str, blobs: bool, hub: Hub, repo: Repo, said: Said
) -> None:
    hub.fail(method=method, blobs=blobs, status=status, times=2)
    assert fetch(said).path.read_bytes() == DATA
    assert [line.rsplit("(", 1)[1] for line in waits(said)] == ["1 of 6)", "2 of 6)"]
    assert all(f"{NAME}: the hub answers {status} " in line for line in waits(said))


@pytest.mark.parametrize(
    ("header", "value"),
    [("Retry-After", "1"), ("RateLimit", '"resolvers";r=0;t=1')],
)
def test_the_time_that_the_hub_asks_for_is_waited(
    header: str, value: str, hub: Hub, repo: Repo, said: Said
) -> None:
    hub.fail(method="HEAD", status=429, headers={header: value})
    started = time.monotonic()
    assert fetch(said).path.read_bytes() == DATA
    assert time.monotonic() - started >= 1
    assert "answers 429 Too Many Requests; trying again in " in waits(said)[0]


def test_waiting_is_bounded(hub: Hub, repo: Repo, said: Said) -> None:
    assert waiting.WAITS != (1, 2, 4, 8, 16, 32), "which the tests have no time for"
    hub.fail(method="HEAD", status=503, times=1000)
    with pytest.raises(UnreachableError, match=r"503 .*given up after 7 tries in a row; run again"):
        fetch(said)
    assert len(hub.requests) == 7
    assert len(waits(said)) == 6
    hub.faults.clear()
    hub.fail(method="HEAD", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(UnreachableError, match="asks to wait 3600 s; given up at once; run again"):
        fetch(said)


def test_a_hub_that_is_not_there_is_said(
    said: Said, monkeypatch: pytest.MonkeyPatch, hub: Hub
) -> None:
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/a")
    with pytest.raises(
        UnreachableError, match=r"http://127.0.0.1:9 cannot be reached \(.*given up"
    ):
        fetch(said)


def test_a_hub_that_is_down_or_must_not_be_asked_is_no_obstacle_to_what_is_here(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(UnreachableError, match=r"HF_HUB_OFFLINE is set, and not all that is asked"):
        fetch(said)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    commit = fetch(said).commit
    hub.fail(method="HEAD", status=503, times=1000)
    hub.clear()
    assert fetch(said).commit == commit
    assert len(hub.requests) == 1, "nothing is waited for"
    assert any(f"the cache's copy of commit {commit} is taken" in line for line in said)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.clear()
    assert fetch(said).path.read_bytes() == DATA
    assert not hub.requests


# Broken transfers, wrong bytes


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"cut_after": 300_000, "times": 3}, "the connection broke"),
        ({"stall_after": 500_000}, "the hub sends nothing"),
        ({"shift": 1000, "times": 0}, ""),
    ],
    ids=["cut", "stalled", "whole"],
)
def test_a_broken_transfer_goes_on(
    fault: dict[str, int], why: str, hub: Hub, repo: Repo, said: Said
) -> None:
    hub.fail(blobs=True, **fault)
    assert fetch(said).path.read_bytes() == DATA
    assert bool(why) == any(f"{NAME}: {why}" in line and "going on" in line for line in said)
    assert not any("signature" in line for line in said)


def test_bytes_of_the_right_size_that_are_wrong_are_fetched_once_more_then_refused(
    hub: Hub, repo: Repo, said: Said, tmp_path: Path
) -> None:
    fault = hub.fail(blobs=True, flip_at=0.5, times=1000)
    with pytest.raises(HubError, match=r"arrived with another hash than the hub states, twice: "):
        fetch(said)
    assert not [each for each in (tmp_path / "hf").rglob("blobs/*") if each.is_file()]
    fault.times = 1
    said.clear()
    assert fetch(said).path.read_bytes() == DATA
    assert any("than the hub states; once more" in line for line in said)


def test_a_damaged_copy_stays_until_a_right_one_takes_its_place(
    hub: Hub, repo: Repo, said: Said
) -> None:
    fetched = fetch(said)
    blob = fetched.path.resolve()
    blob.write_bytes(b"damaged")
    hub.fail(blobs=True, status=404, times=1000)
    with pytest.raises(HubError):
        fetch(said, revision=fetched.commit)
    assert blob.read_bytes() == b"damaged"
    hub.faults.clear()
    assert fetch(said, revision=fetched.commit).path.resolve() == blob
    assert blob.read_bytes() == DATA
    assert any("is damaged, and is fetched again" in line for line in said)


def test_a_file_that_somebody_linked_into_the_cache_is_theirs(
    hub: Hub, repo: Repo, said: Said, tmp_path: Path
) -> None:
    fetched = fetch(said)
    own = tmp_path / "my-only-copy.parquet"
    own.write_bytes(b"my own")
    fetched.path.unlink()
    fetched.path.symlink_to(own)
    hub.clear()
    assert fetch(said, revision=fetched.commit).sha256 is None
    assert not hub.requests
    assert own.read_bytes() == b"my own"


def test_a_folder_of_the_repository_may_be_named_like_a_commit(hub: Hub, said: Said) -> None:
    name = f"runs/{'ab' * 20}/a.parquet"
    repo = hub.add_repo("owner/data", {name: DATA})
    assert fetch(said, name).commit == fetch(said, name).commit == repo.refs["main"]


FETCH = f"""
from codedata.hub.files import fetch_file
from codedata.progress import TERMINAL
print(fetch_file("owner/data", {NAME!r}, kind="dataset", revision="main", reporter=TERMINAL).path)
"""


def test_of_two_processes_at_once_one_fetches(hub: Hub, repo: Repo, tmp_path: Path) -> None:
    hub.fail(blobs=True, block_seconds=0.01, times=2)
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", FETCH],
            env={**os.environ, **hub.environment(tmp_path / "hf")},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for _ in range(2)
    ]
    found = [run.communicate() for run in runs]
    assert [run.returncode for run in runs] == [0, 0]
    assert len({out for out, _ in found}) == 1
    assert any("Fetching a.parquet" in err for _, err in found), "a terminal has a bar"
    assert hub.bytes_sent < len(DATA) + 2000


def test_a_revision_is_remembered_as_the_library_does(hub: Hub, repo: Repo, said: Said) -> None:
    files.note_revision("owner/data", "v2", kind="dataset", commit=fetch(said).commit)
    found = huggingface_hub.hf_hub_download(
        "owner/data", NAME, repo_type="dataset", revision="v2", local_files_only=True
    )
    assert Path(found).read_bytes() == DATA
