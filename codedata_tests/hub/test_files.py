"""Fetching files: refusals, waiting, resuming, hashes, the cache, and how many bytes it takes."""

import hashlib
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub import constants

from codedata.hub import cache, client
from codedata.hub.cache import HubFile
from codedata.hub.client import HubError, NoSuchFileError, UnreachableError
from codedata.hub.files import fetch_file
from codedata_tests.hub.said import Said
from codedata_tests.hub.server import Hub, Repo, git_hash

DATA = bytes(range(256)) * 4000
"""A large file of 1 MB: four blocks of the client, 63 of the server."""

NAME = "data/c/a.parquet"


@pytest.fixture
def repo(hub: Hub) -> Repo:
    return hub.add_repo("owner/data", {NAME: DATA, "small.json": b"{}"})


def fetch(said: Said, path: str = NAME, revision: str = "main") -> HubFile:
    return fetch_file("owner/data", path, kind="dataset", revision=revision, reporter=said.reporter)


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


def test_a_small_file_has_gits_hash(hub: Hub, repo: Repo, said: Said) -> None:
    fetched = fetch(said, "small.json")
    assert fetched.path.read_bytes() == b"{}"
    assert (fetched.etag, fetched.sha256) == (git_hash(b"{}"), None)


def test_the_token_goes_to_the_hub_and_never_to_the_host_of_the_blobs(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens["hf_secret"] = set()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetch(said)
    given = {(each.blobs, each.headers.get("authorization")) for each in hub.requests}
    assert given == {(False, "Bearer hf_secret"), (True, None)}


def test_a_file_that_is_here_and_right_costs_no_request(hub: Hub, repo: Repo, said: Said) -> None:
    commit = fetch(said).commit
    hub.clear()
    assert fetch(said, revision=commit).path.read_bytes() == DATA
    assert not hub.requests
    fetch(said)
    assert [each.method for each in hub.requests] == ["HEAD"], "a branch may have moved on"


def test_the_clients_own_functions_find_what_was_fetched(hub: Hub, repo: Repo, said: Said) -> None:
    fetched = fetch(said)
    hub.clear()
    found = huggingface_hub.hf_hub_download(
        "owner/data", NAME, repo_type="dataset", local_files_only=True
    )
    assert Path(found) == fetched.path
    assert not hub.requests


def test_what_the_client_fetched_is_taken_over(hub: Hub, repo: Repo, said: Said) -> None:
    found = huggingface_hub.hf_hub_download("owner/data", NAME, repo_type="dataset")
    hub.clear()
    assert fetch(said, revision=repo.refs["main"]).path == Path(found)
    assert not hub.requests


def test_the_same_bytes_in_another_commit_are_not_fetched_again(
    hub: Hub, repo: Repo, said: Said
) -> None:
    first = fetch(said).commit
    second = repo.commit({NAME: DATA, "more.txt": b"more"})
    hub.clear()
    assert fetch(said).commit == second != first
    assert [each.method for each in hub.requests] == ["HEAD"]


def test_a_tag_and_a_commit_name_what_a_branch_has_left_behind(
    hub: Hub, repo: Repo, said: Said
) -> None:
    first = repo.refs["main"]
    repo.refs["v1"] = first
    repo.commit({NAME: b"PAR1 newer"})
    assert fetch(said, revision="v1").path.read_bytes() == DATA
    assert fetch(said, revision=first).path.read_bytes() == DATA
    assert fetch(said).path.read_bytes() == b"PAR1 newer"


# Refusals


def test_a_gated_file_without_a_token_names_the_page_and_the_ways_to_give_one(
    hub: Hub, repo: Repo, said: Said
) -> None:
    repo.gated = True
    with pytest.raises(HubError) as refusal:
        fetch(said)
    assert str(refusal.value) == (
        f"its terms must be accepted first: log in and accept them on "
        f"{hub.address}/datasets/owner/data; make a token on {hub.address}/settings/tokens, then "
        "set HF_TOKEN to it or run `hf auth login`"
    )
    assert not said, "nothing is waited for"


def test_a_gated_file_with_a_token_that_was_not_let_in_says_so(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.gated = True
    hub.tokens["hf_secret"] = set()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    with pytest.raises(HubError, match="the account of your token has no access: accept the terms"):
        fetch(said)
    hub.tokens["hf_secret"].add("owner/data")
    assert fetch(said).path.read_bytes() == DATA


def test_a_token_on_the_disk_is_used(hub: Hub, repo: Repo, said: Said, tmp_path: Path) -> None:
    repo.gated = True
    hub.tokens["hf_kept"] = {"owner/data"}
    (tmp_path / "hf").mkdir()
    (tmp_path / "hf" / "token").write_text("hf_kept\n", encoding="utf-8")
    assert fetch(said).path.read_bytes() == DATA


def test_a_token_that_the_hub_does_not_know_is_said(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(HubError, match="the hub does not know your token; make a token on http"):
        fetch(said)


def test_an_unknown_repository_revision_and_file_are_told_apart(
    hub: Hub, repo: Repo, said: Said
) -> None:
    with pytest.raises(HubError, match="there is no dataset repository owner/none, or it is priva"):
        fetch_file("owner/none", NAME, kind="dataset", revision="main", reporter=said.reporter)
    with pytest.raises(HubError, match="the repository has no revision 'v9'; name a branch, a tag"):
        fetch(said, revision="v9")
    with pytest.raises(NoSuchFileError, match=r"has no data/none.parquet at 'main'; http.*/tree/"):
        fetch(said, "data/none.parquet")
    with pytest.raises(HubError, match="no model repository owner/data"):
        fetch_file("owner/data", NAME, kind="model", revision="main", reporter=said.reporter)
    assert not said


def test_a_missing_file_of_a_commit_is_asked_for_once(hub: Hub, repo: Repo, said: Said) -> None:
    commit = repo.refs["main"]
    for _ in range(2):
        with pytest.raises(NoSuchFileError):
            fetch(said, "tokenizer_config.json", revision=commit)
    assert len(hub.requests) == 1


def test_a_server_that_is_no_hub_is_said(hub: Hub, repo: Repo, said: Said) -> None:
    hub.fail(method="HEAD", status=200)
    with pytest.raises(HubError, match=r"does not say commit, hash and size .* HF_ENDPOINT"):
        fetch(said)


def test_what_the_hub_says_in_its_own_words_is_passed_on(hub: Hub, repo: Repo, said: Said) -> None:
    message = "Access to this resource is disabled."
    hub.fail(method="HEAD", status=403, headers={"X-Error-Message": message})
    with pytest.raises(HubError, match="Access to this resource is disabled"):
        fetch(said)


# Waiting


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
@pytest.mark.parametrize(("method", "blobs"), [("HEAD", False), ("GET", False), ("GET", True)])
def test_what_passes_is_waited_for_and_said(
    status: int, method: str, blobs: bool, hub: Hub, repo: Repo, said: Said
) -> None:
    hub.fail(method=method, blobs=blobs, status=status, times=2)
    assert fetch(said).path.read_bytes() == DATA
    waits = [line for line in said if "trying again" in line]
    assert [line.rsplit("(", 1)[1] for line in waits] == ["1 of 6)", "2 of 6)"]
    assert all(f"{NAME}: the hub answers {status} " in line for line in waits)


def test_the_time_that_the_hub_asks_for_is_waited(hub: Hub, repo: Repo, said: Said) -> None:
    hub.fail(blobs=True, status=429, headers={"Retry-After": "1"})
    started = time.monotonic()
    assert fetch(said).path.read_bytes() == DATA
    assert time.monotonic() - started >= 1
    assert any("answers 429 Too Many Requests; trying again in 1 s" in line for line in said)


def test_the_hubs_own_rate_limit_header_is_understood(hub: Hub, repo: Repo, said: Said) -> None:
    hub.fail(method="HEAD", status=429, headers={"RateLimit": '"resolvers";r=0;t=1'})
    assert fetch(said).path.read_bytes() == DATA
    assert any("trying again in 1 s" in line for line in said)


def test_a_wait_of_an_hour_is_not_waited(hub: Hub, repo: Repo, said: Said) -> None:
    hub.fail(method="HEAD", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(UnreachableError, match="asks to wait 3600 s; given up at once; run again"):
        fetch(said)


def test_waiting_is_bounded(hub: Hub, repo: Repo, said: Said) -> None:
    hub.fail(method="HEAD", status=503, times=1000)
    with pytest.raises(UnreachableError, match=r"503 .*given up after 7 tries in a row; run again"):
        fetch(said)
    assert len(hub.requests) == 7
    assert len([line for line in said if "trying again" in line]) == 6


def test_the_waits_of_a_real_run_take_a_minute_in_all() -> None:
    source = Path(client.__file__).read_text(encoding="utf-8")
    assert "\nWAITS = (1, 2, 4, 8, 16, 32)\n" in source


def test_a_hub_that_is_not_there_is_said(
    said: Said, monkeypatch: pytest.MonkeyPatch, hub: Hub
) -> None:
    monkeypatch.setattr(client, "url_of", lambda *_, **__: "http://127.0.0.1:9/a")
    with pytest.raises(
        UnreachableError, match=r"http://127.0.0.1:9 cannot be reached \(.*given up"
    ):
        fetch(said)


def test_a_hub_that_is_down_is_no_obstacle_to_what_is_here(
    hub: Hub, repo: Repo, said: Said
) -> None:
    commit = fetch(said).commit
    hub.fail(method="HEAD", status=503, times=1000)
    hub.clear()
    assert fetch(said).commit == commit
    assert len(hub.requests) == 1, "nothing is waited for"
    assert any(f"the cache's copy of commit {commit} is taken" in line for line in said)


def test_offline_nothing_is_asked(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(
        UnreachableError,
        match=r"HF_HUB_OFFLINE is set, and not all that is asked for is in the cache ",
    ):
        fetch(said)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", False)
    fetch(said)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.clear()
    assert fetch(said).path.read_bytes() == DATA
    assert not hub.requests


# Broken transfers


def test_a_broken_transfer_goes_on_where_it_ended(hub: Hub, repo: Repo, said: Said) -> None:
    hub.fail(blobs=True, cut_after=300_000, times=3)
    assert fetch(said).path.read_bytes() == DATA
    assert any("the connection broke" in line for line in said)
    starts = [int(each.headers["range"][6:].split("-")[0]) for each in hub.requests if each.blobs]
    assert starts[0] == 0
    assert starts == sorted(set(starts)), "each try begins further on"
    assert len(starts) == 4
    assert hub.bytes_sent < 1.7 * len(DATA)


def test_a_transfer_that_breaks_again_and_again_is_finished_as_long_as_bytes_arrive(
    hub: Hub, repo: Repo, said: Said
) -> None:
    hub.fail(blobs=True, cut_after=100_000, times=10)
    assert fetch(said).path.read_bytes() == DATA
    assert not any("(2 of 6)" in line for line in said), "counting starts anew"


def test_a_transfer_that_stalls_is_broken_off_and_goes_on(hub: Hub, repo: Repo, said: Said) -> None:
    hub.fail(blobs=True, stall_after=500_000)
    assert fetch(said).path.read_bytes() == DATA
    assert any("the hub sends nothing" in line for line in said)


def test_a_signed_address_that_ran_out_is_asked_for_again(hub: Hub, repo: Repo, said: Said) -> None:
    hub.fail(blobs=True, status=403)
    assert fetch(said).path.read_bytes() == DATA


def test_a_server_that_ignores_ranges_costs_bytes_but_no_error(
    hub: Hub, repo: Repo, said: Said
) -> None:
    hub.fail(blobs=True, cut_after=300_000)
    hub.fail(blobs=True, ignore_range=True)
    assert fetch(said).path.read_bytes() == DATA


def test_bytes_of_the_right_size_that_are_wrong_are_fetched_once_more(
    hub: Hub, repo: Repo, said: Said
) -> None:
    hub.fail(blobs=True, flip_at=0.5)
    assert fetch(said).path.read_bytes() == DATA
    assert any("but the hub states" in line and "once more" in line for line in said)


def test_bytes_that_are_wrong_twice_are_refused_and_nothing_of_them_stays(
    hub: Hub, repo: Repo, said: Said, tmp_path: Path
) -> None:
    hub.fail(blobs=True, flip_at=0.5, times=1000)
    with pytest.raises(HubError, match=r"arrived with hash .* the hub states .*, twice: "):
        fetch(said)
    assert not list((tmp_path / "hf").rglob("blobs/*"))
    assert not list((tmp_path / "hf").rglob("*.parquet"))


def test_a_damaged_copy_in_the_cache_is_removed_and_fetched_again(
    hub: Hub, repo: Repo, said: Said
) -> None:
    fetched = fetch(said)
    blob = fetched.path.resolve()
    blob.write_bytes(DATA[:-1] + b"x")
    hub.clear()
    assert fetch(said, revision=fetched.commit).path.read_bytes() == DATA
    assert any("is damaged, and is fetched again" in line for line in said)


def test_a_file_larger_than_the_disk_is_refused_before_it_is_fetched(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = type("Usage", (), {"free": 100_000})
    monkeypatch.setattr(cache.shutil, "disk_usage", lambda _: usage)
    with pytest.raises(HubError, match=r"needs 1.0 MB on .* has 0.1 MB free; make room"):
        fetch(said)
    assert [each.method for each in hub.requests] == ["HEAD"]


FETCH = f"""
from codedata.hub.files import fetch_file
from codedata.progress import TERMINAL
print(fetch_file("owner/data", {NAME!r}, kind="dataset", revision="main", reporter=TERMINAL).path)
"""


def process(hub: Hub, home: Path) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", FETCH],
        env={**os.environ, **hub.environment(home)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_the_next_process_goes_on_after_a_kill(hub: Hub, repo: Repo, tmp_path: Path) -> None:
    hub.fail(blobs=True, block_seconds=0.05)
    killed = process(hub, tmp_path / "hf")
    while hub.bytes_sent < 600_000:
        assert killed.poll() is None, killed.communicate()
        time.sleep(0.01)
    killed.send_signal(signal.SIGKILL)
    killed.communicate()
    [incomplete] = (tmp_path / "hf").rglob("*.incomplete")
    arrived = incomplete.stat().st_size
    assert arrived > 200_000
    hub.clear()
    done = process(hub, tmp_path / "hf")
    out, err = done.communicate()
    assert done.returncode == 0, err
    assert Path(out.strip()).read_bytes() == DATA
    [resumed] = [each for each in hub.requests if each.blobs]
    assert resumed.headers["range"] == f"bytes={arrived}-{len(DATA) - 1}"
    assert "Fetching a.parquet" in err, "a terminal has a bar"
    assert not list((tmp_path / "hf").rglob("*.incomplete"))


def test_of_two_processes_at_once_one_fetches(hub: Hub, repo: Repo, tmp_path: Path) -> None:
    hub.fail(blobs=True, block_seconds=0.01, times=2)
    runs = [process(hub, tmp_path / "hf") for _ in range(2)]
    found = {run.communicate()[0] for run in runs}
    assert [run.returncode for run in runs] == [0, 0]
    assert len(found) == 1
    assert hub.bytes_sent < len(DATA) + 2000


# What others put into the cache, and what no hub says


def test_a_file_that_somebody_linked_into_the_cache_is_theirs(
    hub: Hub, repo: Repo, said: Said, tmp_path: Path
) -> None:
    fetched = fetch(said)
    own = tmp_path / "my-only-copy.parquet"
    own.write_bytes(DATA)
    fetched.path.unlink()
    fetched.path.symlink_to(own)
    hub.clear()
    assert fetch(said, revision=fetched.commit).sha256 == fetched.sha256
    assert not hub.requests
    own.write_bytes(b"changed")
    assert fetch(said).path.read_bytes() == DATA
    assert own.read_bytes() == b"changed"


def test_a_damaged_copy_stays_until_a_right_one_takes_its_place(
    hub: Hub, repo: Repo, said: Said
) -> None:
    blob = fetch(said).path.resolve()
    blob.write_bytes(b"damaged")
    hub.fail(blobs=True, status=404, times=1000)
    with pytest.raises(HubError):
        fetch(said)
    assert blob.read_bytes() == b"damaged"
    hub.faults.clear()
    assert fetch(said).path.resolve() == blob
    assert blob.read_bytes() == DATA


def test_where_links_cannot_be_made_files_are_copies(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted", str(self))

    monkeypatch.setattr(Path, "symlink_to", refuse)
    fetched = fetch(said)
    assert not fetched.path.is_symlink()
    hub.clear()
    assert fetch(said, revision=fetched.commit) == fetched
    assert fetch(said) == fetched
    assert hub.bytes_sent == 0
    fetched.path.write_bytes(b"damaged")
    assert fetch(said).path.read_bytes() == DATA


def test_a_folder_of_the_repository_may_be_named_like_a_commit(hub: Hub, said: Said) -> None:
    name = f"runs/{'ab' * 20}/a.parquet"
    repo = hub.add_repo("owner/data", {name: DATA})
    assert fetch(said, name).commit == fetch(said, name).commit == repo.refs["main"]


def test_a_file_that_is_here_is_found_though_it_was_noted_as_missing(
    hub: Hub, repo: Repo, said: Said
) -> None:
    commit = repo.refs["main"]
    hub.fail(method="HEAD", status=404, headers={"X-Error-Code": "EntryNotFound"})
    with pytest.raises(NoSuchFileError):
        fetch(said, revision=commit)
    with pytest.raises(
        NoSuchFileError, match=r"as it said before; to ask again, remove .*no_exist"
    ):
        fetch(said, revision=commit)
    huggingface_hub.hf_hub_download("owner/data", NAME, repo_type="dataset")
    assert fetch(said, revision=commit).path.read_bytes() == DATA


@pytest.mark.parametrize(
    "headers",
    [
        {"X-Repo-Commit": "../" * 9 + "evil", "ETag": f'"{"0" * 40}"'},
        {"X-Repo-Commit": "0" * 40, "ETag": '"../../../evil"'},
    ],
    ids=["commit", "etag"],
)
def test_names_that_would_leave_the_cache_are_refused(
    hub: Hub, repo: Repo, said: Said, headers: dict[str, str]
) -> None:
    hub.fail(method="HEAD", status=200, headers=headers, times=10)
    with pytest.raises(
        HubError, match=r"does not say commit, hash and size .* correct HF_ENDPOINT"
    ):
        fetch(said)


@pytest.mark.parametrize(
    ("fault", "why"),
    [
        ({"shift": 1000}, "Content-Range 'bytes 1000-"),
        ({"encoding": "gzip"}, "Content-Encoding gzip"),
    ],
    ids=["shifted", "compressed"],
)
def test_bytes_that_were_not_asked_for_are_not_taken(
    hub: Hub, repo: Repo, said: Said, fault: dict[str, object], why: str
) -> None:
    hub.fail(blobs=True, **fault)
    assert fetch(said).path.read_bytes() == DATA
    assert any(f"asked for bytes from 0 of {len(DATA)} on" in line and why in line for line in said)
    hub.fail(blobs=True, times=1000, **fault)
    hub.repos.clear()
    hub.add_repo("owner/data", {NAME: DATA[::-1]})
    with pytest.raises(UnreachableError, match="given up after 7 tries"):
        fetch(said)


def test_a_signed_address_is_in_no_message(hub: Hub, repo: Repo, said: Said) -> None:
    hub.fail(blobs=True, status=416)
    with pytest.raises(HubError, match="416") as error:
        fetch(said)
    assert "signature" not in str(error.value)
    assert not any("signature" in line for line in said)


def test_terms_that_must_be_accepted_are_said_at_once_whoever_says_so(
    hub: Hub, repo: Repo, said: Said
) -> None:
    hub.fail(blobs=True, status=403, headers={"X-Error-Code": "GatedRepo"})
    with pytest.raises(HubError, match="its terms must be accepted first"):
        fetch(said)
    assert not any("trying again" in line for line in said)


def test_the_time_that_the_hub_asks_for_may_be_a_date(hub: Hub, repo: Repo, said: Said) -> None:
    later = format_datetime(datetime.now(UTC) + timedelta(seconds=3), usegmt=True)
    hub.fail(blobs=True, status=429, headers={"Retry-After": later})
    started = time.monotonic()
    fetch(said)
    assert time.monotonic() - started >= 1


def test_what_no_request_can_be_made_of_is_refused_in_one_line(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fail(status=302, headers={"Location": f"{hub.address}/again"}, path="/again", times=100)
    hub.fail(status=302, headers={"Location": f"{hub.address}/again"}, times=100)
    with pytest.raises(HubError, match="redirects"):
        fetch(said)
    monkeypatch.setenv("HF_TOKEN", "hf_ä")
    with pytest.raises(HubError, match="can't encode"):
        fetch(said)
    monkeypatch.delenv("HF_TOKEN")
    monkeypatch.setattr(client, "url_of", lambda *_, **__: "mirror.example/a")
    with pytest.raises(HubError, match=r"HF_ENDPOINT is .*; write it as https://"):
        fetch(said)
    assert not any("trying again" in line for line in said)
