"""What a store promises, kept by real servers, and behind a gate that is at fault in every way."""

import hashlib
import logging
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from codedata.errors import StoreError
from codedata.store import clients, requests
from codedata.store.object_store import Found, ObjectStore
from codedata_tests.object_roots import KEY, SECRET, GatedBucket
from codedata_tests.sources.loopback_s3 import (
    BROKEN,
    CUT,
    DENIED,
    EXPIRED,
    LOST,
    NO_QUOTA,
    NO_ROOM,
    RESET,
    SLOW_DOWN,
    STALL,
    UNAVAILABLE,
    Answer,
    Kind,
    for_kinds,
)

pytestmark = pytest.mark.campaign

long = [pytest.mark.long, pytest.mark.timeout(900)]

OPERATIONS: dict[Kind, Callable[[ObjectStore], object]] = {
    "PUT": lambda store: store.put("put", b"bytes"),
    "CREATE": lambda store: store.put_if_absent("create", b"bytes"),
    "GET": lambda store: store.read("there"),
    "LIST": lambda store: store.list("th"),
    "DELETE": lambda store: store.remove(["there", "gone"]),
}
DONE: dict[Kind, object] = {
    "PUT": None, "CREATE": True, "GET": b"bytes" * 100, "LIST": ["there"], "DELETE": None,
}  # fmt: skip


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(requests, "LONGEST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(requests, "TRY_SECONDS", 1.0)


@pytest.fixture
def store(served: GatedBucket) -> ObjectStore:
    """One that has answered before, with an object."""
    store = ObjectStore(served.url)
    store.put("there", b"bytes" * 100)
    return store


@pytest.mark.parametrize("num_races", [5, pytest.param(200, marks=long)])
def test_of_eight_that_write_a_name_at_once_one_is_first(
    store: ObjectStore, num_races: int
) -> None:
    with ThreadPoolExecutor(8) as threads:
        for race in range(num_races):
            written = [b"%d" % number * 1000 for number in range(8)]
            name = f"race-{race}"
            won = [*threads.map(store.put_if_absent, [name] * 8, written)]
            assert won.count(True) == 1
            assert store.read(name) == written[won.index(True)]


@pytest.mark.parametrize("kind", OPERATIONS)
def test_what_fails_in_passing_is_done_and_said(
    store: ObjectStore, served: GatedBucket, kind: Kind, caplog: pytest.LogCaptureFixture
) -> None:
    answers = [SLOW_DOWN, UNAVAILABLE, BROKEN, 429, 502, RESET, LOST, STALL]
    if kind in ("GET", "LIST"):
        answers.append(CUT)
    for answer in answers:
        store.remove(["put", "create"])
        store.put("there", b"bytes" * 100)
        caplog.clear()
        clients._CLIENTS.clear()  # each is to say so, not only the first within some seconds
        store.list()
        served.gate.fault = for_kinds(kind, answer=answer, times=1 if answer == STALL else 2)
        with caplog.at_level(logging.WARNING, "codedata"):
            assert OPERATIONS[kind](store) == DONE[kind], answer
        served.gate.fault = lambda _: 0
        assert caplog.messages, answer
        assert store.list() == {
            "PUT": ["put", "there"], "CREATE": ["create", "there"], "DELETE": [],
        }.get(kind, ["there"])  # fmt: skip


@pytest.mark.parametrize("kind", OPERATIONS)
@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (SLOW_DOWN, "SlowDown.* run again"),
        (RESET, " run again"),
        (DENIED, r"AccessDenied|is not given .*s3:ListBucket"),
        (EXPIRED, "ExpiredToken.*renew them"),
        (NO_QUOTA, "no room .*QuotaExceeded.*codedata prune"),
        (NO_ROOM, "no room .*507|InsufficientStorage"),
    ],
)
def test_what_does_not_pass_ends_it_in_one_line_with_the_remedy_and_no_secret(
    store: ObjectStore,
    served: GatedBucket,
    kind: Kind,
    answer: Answer,
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    served.gate.requests.clear()
    served.gate.fault = lambda request: answer if request.kind == kind else 0
    with caplog.at_level(logging.WARNING, "codedata"), pytest.raises(StoreError, match=why) as e:
        OPERATIONS[kind](store)
    assert len(served.gate.requests) <= 2 * 8
    lines = [str(e.value), *caplog.messages]
    assert all("\n" not in line for line in lines)
    assert store.url in lines[0]
    assert not [line for line in lines if SECRET in line or KEY in line]
    served.gate.fault = lambda _: 0
    assert OPERATIONS[kind](store) == DONE[kind]


@pytest.mark.long
@pytest.mark.timeout(900)
def test_a_large_object_is_one_request(store: ObjectStore, served: GatedBucket) -> None:
    data = bytes(range(256)) * (300 << 12)
    served.gate.kinds.clear()
    assert store.put_if_absent("large", data)
    assert not store.put_if_absent("large", data[1:])
    store.put("large", data)
    assert store.read("large") == data
    assert store.read("large", 1 << 28, (1 << 28) + 5) == data[:5]
    assert served.gate.kinds == {"CREATE": 2, "PUT": 1, "GET": 3}


@pytest.mark.long
@pytest.mark.timeout(900)
def test_thousands_of_names_are_listed_as_they_are(store: ObjectStore, served: GatedBucket) -> None:
    odd = ["a b", "a+b", "a%20b", "é/ü", "a&b<c>", "'q'", "x=y/z", "a//b", "#1?2"]
    names = [*odd, *(f"many/{number:05d}.arrow" for number in range(2500))]
    with ThreadPoolExecutor(32) as threads:
        assert all(threads.map(store.put_if_absent, names, map(str.encode, names)))
    served.gate.kinds.clear()
    found = store.found()
    assert served.gate.kinds == {"LIST": 3}
    assert found.keys() == {"there", *names}
    assert store.list("many/024") == [f"many/{number:05d}.arrow" for number in range(2400, 2500)]
    about = found["é/ü"]
    etag = hashlib.md5("é/ü".encode(), usedforsecurity=False).hexdigest()
    assert about == Found(len("é/ü".encode()), about.modified, etag)
    assert store.read_many(names) == {name: name.encode() for name in names}
    store.remove(names)
    assert store.list() == ["there"]
