"""An object store: names below a URL; a gate before moto is at fault when it is told to."""

import os
import pickle
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fsspec.config import conf
from fsspec.registry import _registry

from codedata.errors import StoreError
from codedata.store import clients, object_store, requests
from codedata.store.object_store import PROBE_NAME, ObjectStore
from codedata_tests.object_roots import SECRET, GatedBucket
from codedata_tests.sources.loopback_s3 import CUT, LOST, RESET, STALL, Answer

A_CHILD = """
import os, pickle, sys
store = pickle.loads(bytes.fromhex(sys.argv[1]))
store.put("c", store.read("a/b"))
if os.fork() == 0:
    store.put("d", store.read("c"))
    os._exit(0)
os._exit(os.waitstatus_to_exitcode(os.wait()[1]))
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is asked for again is so at once, and everything that is said of it is."""
    monkeypatch.setattr(requests, "FIRST_WAIT_SECONDS", 0.001)
    monkeypatch.setattr(clients, "_LINE_SECONDS", 0)


def asked(gated: GatedBucket, method: str) -> list[str]:
    """The names that a method was used of."""
    prefix = "/" + gated.url.partition("://")[2] + "/"
    return [path.removeprefix(prefix) for each, path in gated.gate.requests if each == method]


def answer(gated: GatedBucket, method: str, *answers: Answer, name: str = "name") -> None:
    """Have the gate answer so to the next requests that use a method of a name."""
    gated.gate.answers[f"{method} /{gated.url.partition('://')[2]}/{name}"] = [*answers]


def test_a_range_that_is_known_to_be_there_is_asked_for_again_where_it_comes_short(
    gated: GatedBucket, caplog: pytest.LogCaptureFixture
) -> None:
    store = ObjectStore(gated.url)
    store.put("name", b"12345")
    assert (store.read("name", 2, 9), store.read("name", 7, 9)) == (b"345", b"")
    assert store.read("name", 2, 5, exactly=True) == b"345"
    for start in (2, 7):
        with pytest.raises(StoreError, match=rf"name: .* of {9 - start} bytes came; given up aft"):
            store.read("name", start, 9, exactly=True)
    assert asked(gated, "GET") == ["name"] * 19
    assert "ConnectionError: 3 of 7 bytes came; asked again in 0.0 s, after try 1 of" in caplog.text


def test_a_process_that_knows_what_is_there_waits_for_a_store_that_never_answered_it(
    gated: GatedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As a loader's worker does, whose shards another process fetched until now."""
    store = ObjectStore(gated.url)
    store.put("name", b"12345")
    for exactly in (True, False):
        monkeypatch.setattr(clients, "_CLIENTS", {})
        answer(gated, "GET", *[RESET] * 7)
        if exactly:
            assert store.read("name", 0, 5, exactly=True) == b"12345"
        else:
            with pytest.raises(StoreError, match=r"cannot be reached .*after 3 tries in a row"):
                store.read("name", 0, 5)


def test_a_child_and_one_that_was_forked_see_the_store_that_was_pickled_without_any_key(
    bucket: str,
) -> None:
    store = ObjectStore(bucket)
    store.put("a/b", b"first")
    pickled = pickle.dumps(store)
    assert SECRET.encode() not in pickled
    assert len(pickled) < 200
    subprocess.run([sys.executable, "-c", A_CHILD, pickled.hex()], check=True)
    assert store.read_many([*store.list(), "none"]) == dict.fromkeys(["a/b", "c", "d"], b"first")


def test_each_is_one_request_and_a_list_is_one_for_a_page_of_names(
    gated: GatedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MOTO_S3_DEFAULT_MAX_KEYS", "4")
    store, names = ObjectStore(gated.url), [f"of/{n}" for n in range(9)]
    for name in names:
        store.put(name, name.encode())
    assert asked(gated, "PUT") == names
    assert store.read_many(reversed(names)) == {name: name.encode() for name in names}
    assert [store.read("of/3", *limits) for limits in ((1, 3), (4,), (5, 9), (2, 2))] == [
        b"f/", b"", b"", b"",
    ]  # fmt: skip
    assert sorted(asked(gated, "GET")) == sorted([*names, *["of/3"] * 4])
    gated.gate.requests.clear()
    assert store.sizes(names) == dict.fromkeys(names, 4)
    assert sorted(asked(gated, "HEAD")) == names
    assert len(gated.gate.requests) == len(names)
    assert store.sizes(["none", "of"]) == {}
    gated.gate.requests.clear()
    now = time.time()
    found = store.below("of").found()
    assert [*found] == [str(n) for n in range(9)]
    assert all(each.num_bytes == 4 and abs(each.modified - now) < 60 for each in found.values())
    assert len(gated.gate.requests) == 3
    gated.gate.requests.clear()
    assert (store.folders(), store.below("of").folders()) == (["of"], [])
    assert len(gated.gate.requests) == 4
    gated.gate.requests.clear()
    store.remove([*names[1:], "of/none"])
    assert sorted(asked(gated, "DELETE")) == sorted([*names[1:], "of/none"])
    assert store.list("o") == names[:1]


FAULTS: list[list[Answer]] = [
    [503, 503, (500, "InternalError")],
    [RESET, (400, "RequestTimeout"), 429],
    [STALL],
]


@pytest.mark.parametrize("faults", FAULTS)
def test_what_passes_is_asked_for_again_and_said_in_a_line(
    gated: GatedBucket,
    faults: list[Answer],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    if faults == [STALL]:
        monkeypatch.setattr(requests, "TRY_SECONDS", 0.3)
        monkeypatch.setattr(object_store, "_UNKNOWN_BYTES", 0)
    store = ObjectStore(gated.url)
    store.put("other", b"")
    todo: dict[str, Callable[[], object]] = {
        "PUT": lambda: store.put("name", b"data"),
        "GET": lambda: store.read("name"),
        "DELETE": lambda: store.remove(["name"]),
    }
    for method, do in todo.items():
        caplog.clear()
        answer(gated, method, *faults)
        assert do() in (None, b"data")
        lines = [record.getMessage() for record in caplog.records if record.name == "codedata"]
        assert all(f"{gated.url}/name: " in line and "\n" not in line for line in lines)
        assert all("; asked again in 0.0 s, after try" in line for line in lines)
        assert len(lines) >= len(faults) - 1, "a lost connection is mended below us"
        assert len(lines) <= len(faults) or faults == [STALL], "any answer may take too long then"
    assert store.list() == ["other"]


@pytest.mark.parametrize("before", [b"", b"another's", b"ours"])
def test_who_gets_no_answer_still_knows_whether_its_bytes_are_there(
    gated: GatedBucket, before: bytes
) -> None:
    store = ObjectStore(gated.url)
    if before:
        store.put("name", before)
    answer(gated, "PUT", LOST)
    assert store.put_if_absent("name", b"ours") == (before != b"another's")
    assert store.read("name") == before or b"ours"
    assert not store.put_if_absent("name", b"another")


def test_half_of_an_answer_is_asked_for_again(gated: GatedBucket) -> None:
    store = ObjectStore(gated.url)
    store.put("name", bytes(1000))
    answer(gated, "GET", CUT, CUT)
    assert store.read("name") == bytes(1000)


def test_what_stays_at_fault_ends_after_some_tries_and_what_was_there_stays(
    gated: GatedBucket,
) -> None:
    store = ObjectStore(gated.url)
    store.put("name", b"old")
    answer(gated, "PUT", *[503] * 20)
    with pytest.raises(StoreError, match=r"/name: .*gate.*given up after 8 tries in a row; run ag"):
        store.put("name", b"new")
    assert asked(gated, "PUT").count("name") == 1 + 8
    assert store.read("name") == b"old"
    answer(gated, "GET", (403, "AccessDenied"), name="9")
    with pytest.raises(StoreError, match="prefix/9 is not given"):
        store.read_many(str(n) for n in range(999))
    assert len(asked(gated, "GET")) < 500


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ((403, "AccessDenied"), r"is not given to whoever asks here .*AWS_PROFILE.*s3:PutObject"),
        ((403, "QuotaExceeded"), "there is no room .*`codedata prune`.*or raise the quota"),
        (507, "there is no room"),
        ((404, "NoSuchBucket"), r"s3://bucket-\d+ does not exist: make the bucket"),
        ((400, "AuthorizationHeaderMalformed"), "cannot be reached .*AWS_ENDPOINT_URL"),
    ],
)
def test_what_is_answered_for_good_is_asked_for_once_and_the_remedy_is_said(
    gated: GatedBucket, fault: Answer, said: str
) -> None:
    answer(gated, "PUT", fault)
    with pytest.raises(StoreError, match=said) as error:
        ObjectStore(gated.url).put("name", b"data")
    assert "\n" not in str(error.value)
    assert str(pickle.loads(pickle.dumps(error.value))) == str(error.value)
    assert asked(gated, "PUT") == ["name"]


def test_keys_that_expire_are_read_anew_once_and_then_it_is_said(
    gated: GatedBucket,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def sign_in(key: str) -> None:
        keys = f"aws_access_key_id = {key}\naws_secret_access_key = {SECRET}\n"
        (tmp_path / "keys").write_text(f"[default]\n{keys}", encoding="utf-8")

    monkeypatch.setattr(clients, "_CLIENTS", {})
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "keys"))
    monkeypatch.delenv("AWS_ACCESS_KEY_ID")
    sign_in("first")
    store, expired = ObjectStore(gated.url), (400, "ExpiredToken")
    store.put("name", b"old")
    sign_in("second")
    answer(gated, "PUT", expired)
    store.put("name", b"new")
    assert gated.gate.signed_by == ["first", "first", "second"]
    assert caplog.text.count("the credentials are no longer taken (Perm") == 1
    answer(gated, "PUT", expired, expired)
    with pytest.raises(StoreError, match="no longer taken, nor are those that were read anew"):
        store.put("name", b"newer")
    assert store.read("name") == b"new"
    assert SECRET not in caplog.text


def test_a_store_that_is_not_there_is_said_soon(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_CLIENTS", {})
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    with pytest.raises(StoreError, match=r"cannot be reached .*after 3 tries.*AWS_ENDPOINT_URL"):
        ObjectStore(bucket).list()


@pytest.mark.parametrize(
    ("url", "module", "said"),
    [
        ("s3://bucket", "s3fs", r"s3:// needs a package .*pip install 'codedata\[s3\]'"),
        ("gs://bucket", "gcsfs", r"gs:// needs a package .*pip install 'codedata\[gcs\]'"),
        ("az://bucket", "adlfs", r"az:// needs a package .*pip install 'codedata\[azure\]'"),
        ("sftp://me:secret@host/x", "paramiko", "has a ':' before an '@'"),
        ("s3://me:se/secret/cret@bucket/x", "s3fs", "s3:// has a ':' before an '@'"),
        ("strange://x", "strange", "cannot be opened .*Protocol not known"),
    ],
)
def test_a_store_whose_client_is_not_here_is_refused_with_the_remedy(
    url: str, module: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_CLIENTS", {})
    monkeypatch.setitem(sys.modules, module, None)
    monkeypatch.delitem(_registry, url.partition(":")[0], raising=False)
    with pytest.raises(StoreError, match=said) as error:
        ObjectStore(url).read("name")
    assert "secret" not in str(error.value)


def test_a_store_that_writes_over_what_it_was_told_not_to_is_refused(gated: GatedBucket) -> None:
    store = ObjectStore(gated.url)
    store.require_conditional_writes()
    [(name, num_writers)] = Counter(asked(gated, "PUT")).items()
    assert name.startswith(f"{PROBE_NAME}/")
    assert num_writers == 4 + 1, "at once, and after them"
    num_requests = len(gated.gate.requests)
    store.require_conditional_writes()
    assert len(gated.gate.requests) == num_requests, "it is asked once a process"
    object_store._try_conditional_writes(store, pid=-1)
    [of_another] = {*asked(gated, "PUT")} - {name}
    assert asked(gated, "DELETE") == [name, of_another], "each process has a race of its own"
    assert store.list() == []
    ObjectStore("memory://conditional").require_conditional_writes()
    gated.gate.removed = {"if-none-match"}
    elsewhere = ObjectStore(gated.url).below("elsewhere")
    for _ in range(2):
        with pytest.raises(StoreError, match="elsewhere does not honour conditional writes"):
            elsewhere.require_conditional_writes()
    assert elsewhere.list() == []
    for url in ("hf://datasets/me/it", "ftp://host/folder", "oss://bucket"):
        with pytest.raises(StoreError, match=f"{url[:2]}.*is not known to honour.*write to s3"):
            ObjectStore(url).require_conditional_writes()


def test_options_are_those_of_fsspec_with_ours_beside_them(
    bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "_CLIENTS", {})
    monkeypatch.setitem(conf, "s3", {"config_kwargs": {"read_timeout": 7}, "key": "of-fsspec"})
    client, path = clients.connect(bucket)
    system: Any = client._system
    assert path == bucket.removeprefix("s3://")
    assert (system.key, system.retries, system.dircache.use_listings_cache) == ("of-fsspec", 1, 0)
    assert system.config_kwargs["read_timeout"] == 7
    assert system.config_kwargs["retries"] == {"total_max_attempts": 1}


@pytest.mark.campaign
def test_what_is_larger_than_the_parts_of_an_upload_is_one_request_too(gated: GatedBucket) -> None:
    store, data = ObjectStore(gated.url), os.urandom(1 << 20) * 101
    store.put("name", data)
    assert not store.put_if_absent("name", data[1:])
    assert store.put_if_absent("other", data)
    assert store.read("name") == data
    assert [each for each, _ in gated.gate.requests] == ["PUT", "PUT", "GET", "PUT", "GET"]
