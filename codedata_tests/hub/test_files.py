"""Fetching files: refusals, waiting, hashes, the library's cache, and how many bytes it takes."""

import hashlib
import time
import tracemalloc
from pathlib import Path

import httpx2
import huggingface_hub
import pytest
from huggingface_hub import constants

from codedata.hub import client, files
from codedata.hub.files import HubFile, fetch_file
from codedata.hub.refusals import HubError, NoSuchFileError, UnreachableError
from codedata_tests.hub.server import Hub, Repo, git_hash
from codedata_tests.said import Said

DATA = bytes(range(256)) * 4000
"""A large file of 1 MB: 63 blocks of the server."""

NAME = "data/c/a.parquet"


@pytest.fixture
def repo(hub: Hub) -> Repo:
    return hub.add_repo("owner/data", {NAME: DATA, "small.json": b"{}"})


def fetch(
    said: Said, path: str = NAME, revision: str = "main", repo: str = "owner/data"
) -> HubFile:
    return fetch_file(repo, path, kind="dataset", revision=revision, reporter=said.reporter)


def waits(said: Said) -> list[str]:
    return [line for line in said if "trying again" in line]


def test_a_large_file_is_fetched_once_whole_and_the_token_goes_to_the_hub_alone(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.tokens["hf_secret"] = set()
    monkeypatch.setenv("HF_TOKEN", "hf_secret")
    fetched = fetch(said)
    assert fetched.path.read_bytes() == DATA
    assert fetched.commit == repo.refs["main"]
    assert fetched.sha256 == hashlib.sha256(DATA).hexdigest()
    given = {(each.blobs, each.headers.get("authorization")) for each in hub.requests}
    assert given == {(False, "Bearer hf_secret"), (True, None)}, "large files have another host"
    assert len(DATA) <= hub.bytes_sent < len(DATA) + 1000
    assert any(f"{NAME}: 1.0 MB fetched in" in line and "MB/s" in line for line in said)
    small = fetch(said, "small.json")
    assert small.path.read_bytes() == b"{}"
    assert (small.etag, small.sha256) == (git_hash(b"{}"), None)


def test_a_file_that_is_here_and_right_costs_no_request_whoever_fetched_it(
    hub: Hub, repo: Repo, said: Said
) -> None:
    first = repo.refs["main"]
    found = huggingface_hub.hf_hub_download("owner/data", NAME, repo_type="dataset")
    hub.clear()
    assert fetch(said, revision=first).path == Path(found)
    assert not hub.requests
    second = repo.commit({NAME: DATA, "more.txt": b"more"})
    assert fetch(said).commit == second
    assert [each.method for each in hub.requests] == ["HEAD"], "the same bytes in another commit"
    repo.refs["v1"] = second
    repo.commit({NAME: b"PAR1 newer"})
    assert fetch(said).path.read_bytes() == b"PAR1 newer"
    assert fetch(said, revision="v1").commit == second
    assert fetch(said, revision=first).path.read_bytes() == DATA
    files.note_revision("owner/data", "v2", kind="dataset", commit=second)
    options = {"repo_type": "dataset", "revision": "v2", "local_files_only": True}
    assert Path(huggingface_hub.hf_hub_download("owner/data", NAME, **options)).is_file()


def test_a_missing_file_of_a_commit_is_asked_for_once(hub: Hub, repo: Repo, said: Said) -> None:
    for why in ("the repository has no t.json", r"as it said before; to ask again, remove .*no_ex"):
        with pytest.raises(NoSuchFileError, match=why):
            fetch(said, "t.json", revision=repo.refs["main"])
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
NO_REVISION = (
    f"the repository has no revision 'v9'; name a branch, a tag or a commit that {PAGE}/commits "
    "shows, or take the newest commit with --update"
)
NO_FILE = f"the repository has no none.parquet at 'main'; {PAGE}/tree/main shows what it has"
NO_REPO = (
    "there is no dataset repository owner/none, or it is private and not yours; correct its name; "
    f"if it is private, {GIVE}"
)
NO_ASCII = "'ascii' codec can't encode character '\\xe4' in position 10: ordinal not in range(128)"
REFUSALS = {
    "no token": ({"gated": True}, NO_TOKEN),
    "not let in": ({"gated": True, "token": "hf_known"}, NOT_LET_IN),
    "unknown token": ({"token": "hf_wrong"}, f"the hub does not know your token; {GIVE}"),
    "odd token": ({"token": "hf_ä"}, NO_ASCII),
    "no revision": ({"revision": "v9"}, NO_REVISION),
    "no file": ({"path": "none.parquet"}, NO_FILE),
    "no repository": ({"repo": "owner/none"}, NO_REPO),
    "its own words": ({"status": 403}, "Access is disabled."),
}


@pytest.mark.parametrize(("given", "message"), REFUSALS.values(), ids=REFUSALS)
def test_what_the_hub_refuses_is_said_at_once_with_the_remedy(
    given: dict[str, str | bool | int],
    message: str,
    hub: Hub,
    repo: Repo,
    said: Said,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    asked = dict(given)
    repo.gated = bool(asked.pop("gated", False))
    hub.tokens["hf_known"] = set()
    if token := asked.pop("token", None):
        monkeypatch.setenv("HF_TOKEN", str(token))
    if status := asked.pop("status", None):
        headers = {"X-Error-Message": "Access is disabled."}
        hub.fail(method="HEAD", status=status, headers=headers)
    with pytest.raises(HubError) as refusal:
        fetch(said, **asked)  # pyright: ignore[reportArgumentType]
    assert str(refusal.value) == message.replace("HUB", hub.address)
    assert isinstance(refusal.value, NoSuchFileError) == ("path" in given)
    assert not waits(said)


# Waiting


@pytest.mark.parametrize(
    ("method", "blobs", "status"), [("HEAD", False, 429), ("GET", True, 500), ("GET", True, 503)]
)
def test_what_passes_is_waited_for_and_said(
    method: str, blobs: bool, status: int, hub: Hub, repo: Repo, said: Said
) -> None:
    hub.fail(method=method, blobs=blobs, status=status, times=2)
    assert fetch(said).path.read_bytes() == DATA
    assert [line.rsplit("(", 1)[1] for line in waits(said)] == ["1 of 6)", "2 of 6)"]
    assert all(f"{NAME}: the hub answers {status} " in line for line in waits(said))


def test_the_time_that_the_hub_asks_for_is_waited(hub: Hub, repo: Repo, said: Said) -> None:
    for header, value, seconds in (
        ("Retry-After", "42", 42),
        ("Retry-After", "9" * 400, 0),
        ("Retry-After", "9" * 5000, 0),
        ("RateLimit", '"resolvers";r=0;t=42', 42),
        ("RateLimit", '"resolvers";r=7;t=42', 0),
        ("RateLimit", f'"resolvers";r=0;t={"9" * 5000}', 0),
    ):
        assert client.asked_wait(httpx2.Headers({header: value})) == seconds, (header, value[:30])
    hub.fail(method="HEAD", status=429, headers={"Retry-After": "1"})
    started = time.monotonic()
    assert fetch(said).path.read_bytes() == DATA
    assert time.monotonic() - started >= 1
    assert "answers 429 Too Many Requests; trying again in 1 s" in waits(said)[0]


def test_waiting_is_bounded(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    hub.fail(method="HEAD", status=503, times=7)
    with pytest.raises(UnreachableError, match=r"503 .*given up after 7 tries in a row; run again"):
        fetch(said)
    assert len(hub.requests) == 7
    assert len(waits(said)) == 6
    hub.fail(method="HEAD", status=429, headers={"Retry-After": "3600"})
    with pytest.raises(UnreachableError, match="asks to wait 3600 s; given up at once; run again"):
        fetch(said)
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "http://127.0.0.1:9/a")
    with pytest.raises(UnreachableError, match=r"//127.0.0.1:9 cannot be reached \(.*given up"):
        fetch(said)
    said.clear()
    monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", "mirror.example/a")
    with pytest.raises(HubError, match=r"HF_ENDPOINT is .*; write it as https://"):
        fetch(said)
    assert not waits(said)


def test_a_hub_that_is_down_or_must_not_be_asked_is_no_obstacle_to_what_is_here(
    hub: Hub, repo: Repo, said: Said, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as offline:
        offline.setattr(constants, "HF_HUB_OFFLINE", True)
        with pytest.raises(UnreachableError, match=r"HF_HUB_OFFLINE is set, and not all that is "):
            fetch(said)
    commit = fetch(said).commit
    hub.fail(method="HEAD", status=503)
    hub.clear()
    assert fetch(said).commit == commit
    assert len(hub.requests) == 1, "nothing is waited for"
    assert any(f"the cache's copy of commit {commit} is taken" in line for line in said)
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    hub.clear()
    assert fetch(said).path.read_bytes() == DATA
    assert not hub.requests


# Broken transfers, wrong bytes


def test_a_broken_transfer_goes_on(hub: Hub, repo: Repo, said: Said) -> None:
    hub.fail(blobs=True, cut_after=300_000)
    hub.fail(blobs=True, stall_after=200_000)
    assert fetch(said).path.read_bytes() == DATA
    going_on = [line for line in said if "going on" in line]
    for why, line in zip(("the connection broke", "the hub sends nothing"), going_on, strict=True):
        assert f"{NAME}: {why}" in line
    assert not any("signature" in line for line in said)


def test_bytes_of_the_right_size_that_are_wrong_are_refused_and_fetched_anew(
    hub: Hub, repo: Repo, said: Said, tmp_path: Path
) -> None:
    hub.fail(blobs=True, flip_at=0.5)
    with pytest.raises(HubError, match=r"arrived with another hash than the hub states: .*run aga"):
        fetch(said)
    assert not [each for each in (tmp_path / "hf").rglob("blobs/*") if each.is_file()]
    assert fetch(said).path.read_bytes() == DATA


def test_a_damaged_copy_stays_until_a_right_one_takes_its_place(
    hub: Hub, repo: Repo, said: Said
) -> None:
    fetched = fetch(said)
    blob = fetched.path.resolve()
    blob.write_bytes(b"damaged")
    hub.fail(blobs=True, status=404)
    with pytest.raises(HubError):
        fetch(said, revision=fetched.commit)
    assert blob.read_bytes() == b"damaged"
    assert fetch(said, revision=fetched.commit).path.resolve() == blob
    assert blob.read_bytes() == DATA
    assert any("is damaged, and is fetched again" in line for line in said)


def test_a_file_that_somebody_linked_into_the_cache_is_theirs(
    hub: Hub, repo: Repo, said: Said, tmp_path: Path
) -> None:
    fetched = fetch(said)
    own = tmp_path / "my-only-copy.parquet"
    content = b"my own" * 10_000_000
    own.write_bytes(content)
    fetched.path.unlink()
    fetched.path.symlink_to(own)
    hub.clear()
    tracemalloc.start()
    try:
        assert fetch(said, revision=fetched.commit).sha256 is None
        _, most_bytes = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert most_bytes < len(content) // 10, "it has no hash to be read for"
    assert not hub.requests
    assert own.read_bytes() == content


def test_a_folder_of_the_repository_may_be_named_like_a_commit(hub: Hub, said: Said) -> None:
    name = f"runs/{'ab' * 20}/a.parquet"
    repo = hub.add_repo("owner/data", {name: DATA})
    assert fetch(said, name).commit == fetch(said, name).commit == repo.refs["main"]
