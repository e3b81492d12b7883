"""What a store promises, kept by real servers, and behind a gate that is at fault in every way."""

import hashlib
import logging
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import product

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

LEFT: dict[Kind, list[str]] = {"PUT": ["put", "there"], "CREATE": ["create", "there"], "DELETE": []}


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(requests, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(requests, "LONGEST_WAIT_SECONDS", 0.02)
    monkeypatch.setattr(clients, "_LINE_SECONDS", 0.0)


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


@pytest.mark.parametrize(
    "answers",
    [
        [SLOW_DOWN, LOST],
        pytest.param([UNAVAILABLE, BROKEN, 429, 502, RESET, CUT, STALL], marks=long),
    ],
)
def test_what_fails_in_passing_is_done_and_said(
    store: ObjectStore,
    served: GatedBucket,
    answers: Sequence[Answer],
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(requests, "TRY_SECONDS", 2.0)
    for kind, answer in product(OPERATIONS, answers):
        store.remove(["put", "create"])
        store.put("there", b"bytes" * 100)
        caplog.clear()
        served.gate.fault = for_kinds(kind, answer=answer, times=1 if answer == STALL else 2)
        with caplog.at_level(logging.WARNING, "codedata"):
            assert OPERATIONS[kind](store) == DONE[kind], (kind, answer)
        served.gate.fault = lambda _: 0
        # aiohttp asks again by itself where a connection that was used before is closed.
        assert caplog.messages or answer in (RESET, LOST, CUT), (kind, answer)
        assert store.list() == LEFT.get(kind, ["there"])


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        pytest.param(SLOW_DOWN, "SlowDown.* run again", marks=long),
        pytest.param(RESET, " run again", marks=long),
        (DENIED, "AccessDenied.*s3:ListBucket"),
        pytest.param(EXPIRED, "ExpiredToken.*renew them", marks=long),
        (NO_QUOTA, "no room .*QuotaExceeded.*codedata prune"),
        (NO_ROOM, "no room .*InsufficientStorage.*codedata prune"),
    ],
)
def test_what_does_not_pass_ends_it_in_one_line_with_the_remedy_and_no_secret(
    store: ObjectStore,
    served: GatedBucket,
    answer: Answer,
    why: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for kind, ask in OPERATIONS.items():
        served.gate.requests.clear()
        caplog.clear()
        served.gate.fault = for_kinds(kind, answer=answer, times=1000)
        with caplog.at_level(logging.WARNING, "codedata"), pytest.raises(StoreError) as e:
            ask(store)
        lines = [str(e.value), *caplog.messages]
        assert re.search(why, lines[0]), (kind, lines)
        assert len(served.gate.requests) <= 2 * 2 * 8
        assert all("\n" not in line for line in lines)
        assert store.url in lines[0]
        assert not [line for line in lines if SECRET in line or KEY in line]
        served.gate.fault = lambda _: 0
        store.put("there", b"bytes" * 100)
        store.remove(["create"])
        assert ask(store) == DONE[kind]


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
