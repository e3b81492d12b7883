"""The meta: what is written is read back, and everything else is one DatasetError with a reason."""

import hashlib
import json
import pickle
import re
import sys
import time
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from codedata.core.meta import (
    MAX_SHARDS,
    ShardEntry,
    dump_meta,
    parse_meta,
    shard_index,
    shard_name,
)
from codedata.core.settings import CharRange
from codedata.errors import DatasetError

UNHURRIED = settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
"""On a busy machine any example may be slow."""

SHA256 = hashlib.sha256(b"").hexdigest()
ENTRIES = [
    ShardEntry(num_samples=2, num_tokens=6, sha256=SHA256, chars=CharRange(0, 100)),
    ShardEntry(num_samples=5, num_tokens=15, sha256=SHA256[::-1], chars=CharRange(0, 100)),
    ShardEntry(
        num_samples=1, num_tokens=3, sha256=SHA256, chars=CharRange(100, 130), last_sample_tokens=2
    ),
]


def refusal(meta: object) -> str:
    """The reason with which a meta, bytes or what JSON is made of, is refused."""
    data = meta if isinstance(meta, bytes) else json.dumps(meta).encode()
    with pytest.raises(DatasetError) as error:
        parse_meta(data, "some/dump-meta_data.json")
    start = "some/dump-meta_data.json is damaged or no dataset's meta: "
    assert str(error.value).startswith(start)
    assert str(error.value).endswith("; make the dataset again")
    return str(error.value).removeprefix(start).removesuffix("; make the dataset again")


def one(**fields: Any) -> dict[str, dict[str, Any]]:
    """The meta of one shard of 2 samples of 3 tokens, with `fields` put in or over."""
    return {"dump-0.pkl": {"num_samples": 2, "num_tokens": 6, **fields}}


def test_a_meta_is_read_as_it_was_written() -> None:
    data = dump_meta(ENTRIES)
    assert parse_meta(data, "x") == ENTRIES
    assert dump_meta(parse_meta(data, "x")) == data
    assert all(type(entry.chars) is CharRange for entry in parse_meta(data, "x"))


def test_the_bytes_of_a_meta() -> None:
    fields = {"num_samples": 2, "num_tokens": 6, "sha256": SHA256}
    fields |= {"start_character": 0, "stop_character": 100}
    sealed = json.dumps({"dump-0.pkl": fields}).encode()
    text = (
        '{\n  "dump-0.pkl": {\n    "num_samples": 2,\n    "num_tokens": 6,\n'
        f'    "sha256": "{SHA256}",\n    "start_character": 0,\n    "stop_character": 100,\n'
        f'    "entry_sha256": "{hashlib.sha256(sealed).hexdigest()}"\n  }}\n}}\n'
    )
    assert dump_meta(ENTRIES[:1]).decode() == text


def test_the_tokens_of_a_padded_sample_stand_after_the_counts_and_are_sealed_with_them() -> None:
    [entry] = [ShardEntry(num_samples=2, num_tokens=6, last_sample_tokens=1)]
    sealed = b'{"dump-0.pkl": {"num_samples": 2, "num_tokens": 6, "last_sample_tokens": 1}}'
    meta = json.loads(dump_meta([entry]))
    seal = {"entry_sha256": hashlib.sha256(sealed).hexdigest()}
    assert meta == {"dump-0.pkl": json.loads(sealed)["dump-0.pkl"] | seal}
    meta["dump-0.pkl"]["last_sample_tokens"] = 2
    assert "does not have the sha256 that it states" in refusal(meta)


def test_readers_that_sum_over_all_values_find_counts_in_each() -> None:
    values = json.loads(dump_meta(ENTRIES)).values()
    assert sum(value["num_samples"] for value in values) == 8
    assert sum(value["num_tokens"] for value in values) == 24


@UNHURRIED
@given(
    st.integers(1, 1000).flatmap(
        lambda seq_length: st.lists(
            st.builds(
                lambda num_samples, sha256, chars, last: ShardEntry(
                    num_samples=num_samples,
                    num_tokens=num_samples * seq_length,
                    sha256=sha256,
                    chars=chars,
                    last_sample_tokens=last,
                ),
                st.integers(1, 2**40),
                st.none() | st.from_regex(r"[0-9a-f]{64}", fullmatch=True),
                st.none()
                | st.builds(
                    lambda start, length, file: CharRange(start, start + length, file),
                    st.integers(0, 2**61),
                    st.integers(0, 2**61),
                    st.integers(0, 2),
                ),
                st.none() | st.integers(1, seq_length),
            ),
            min_size=1,
            max_size=12,
        )
    )
)
def test_every_meta_comes_back_whole(entries: list[ShardEntry]) -> None:
    assert parse_meta(dump_meta(entries), "x") == entries


def test_entries_are_in_the_order_of_the_shards_numbers() -> None:
    entries = [ShardEntry(num_samples=n + 1, num_tokens=3 * n + 3) for n in range(12)]
    meta = json.loads(dump_meta(entries))
    by_name = dict(sorted(meta.items()))
    assert list(by_name)[:4] == ["dump-0.pkl", "dump-1.pkl", "dump-10.pkl", "dump-11.pkl"]
    for names in (list(by_name), sorted(meta, reverse=True)):
        shuffled = json.dumps({name: meta[name] for name in names}).encode()
        assert parse_meta(shuffled, "x") == entries


def test_a_meta_of_the_old_script_is_read() -> None:
    data = b'{"dump-0.pkl": {"num_samples": 2759, "num_tokens": 4237824}}'
    [entry] = parse_meta(data, "x")
    assert entry == ShardEntry(num_samples=2759, num_tokens=4237824, sha256=None, chars=None)
    assert entry.seq_length == 1536


def test_a_key_of_later_releases_is_passed_over() -> None:
    assert parse_meta(json.dumps(one(colour="red", more=[1.5, None])).encode(), "x") == [
        ShardEntry(num_samples=2, num_tokens=6)
    ]


# Names of shards


@pytest.mark.parametrize("index", [0, 1, 9, 10, 99, 12345, 10**18 - 1])
def test_a_shard_s_name_and_number_belong_together(index: int) -> None:
    assert shard_index(shard_name(index)) == index


BAD_NAMES = [
    "",
    "dump-.pkl",
    "dump-0",
    "dump-0.pkl ",
    " dump-0.pkl",
    "dump-0.pkl\n",
    "dump-0.pkl\0",
    "dump-0\0.pkl",
    "dump-0xpkl",
    "dump-0.PKL",
    "Dump-0.pkl",
    "dump-00.pkl",
    "dump-01.pkl",
    "dump--1.pkl",
    "dump-+1.pkl",
    "dump-1_0.pkl",
    "dump-1e1.pkl",
    "dump-0x1.pkl",
    "dump-1.0.pkl",
    "dump-٣.pkl",
    "dump-¹.pkl",
    "dump-１.pkl",  # noqa: RUF001  (a wide digit, which int() takes)
    "dump-1000000000000000000.pkl",
    "../dump-0.pkl",
    "./dump-0.pkl",
    "sub/dump-0.pkl",
    "/dump-0.pkl",
    "/etc/passwd",
    "..",
    "C:\\dump-0.pkl",
    "..\\dump-0.pkl",
    "dump-meta_data.json",
    "\ud800",
    "dump-\ud800.pkl",
]


@pytest.mark.parametrize("name", BAD_NAMES, ids=ascii)
def test_a_name_that_is_not_exactly_a_shard_s_is_refused(name: str) -> None:
    assert shard_index(name) is None
    entry = {"num_samples": 2, "num_tokens": 6}
    for meta in ({name: entry}, {"dump-0.pkl": entry, name: entry}):
        assert refusal(meta) == f"{name!r} is not the name of a shard (dump-0.pkl, ...)"


SHARD_NAMES = {f"dump-{index}.pkl" for index in range(1000)}


@UNHURRIED
@given(st.text(max_size=12) | st.from_regex(r"\S{0,3}dump-\d{0,3}\.pkl\s?", fullmatch=True))
def test_only_the_names_of_shards_have_a_number(name: str) -> None:
    index = shard_index(name)
    assert index is None or shard_name(index) == name
    assert (index is None) == (name not in SHARD_NAMES)


@pytest.mark.parametrize(
    ("indices", "missing"), [([1], 0), ([0, 2], 1), ([5, 0, 1], 2), ([0, 10**17], 1)]
)
def test_a_gap_in_the_numbers_is_refused(indices: list[int], missing: int) -> None:
    meta = {shard_name(index): {"num_samples": 2, "num_tokens": 6} for index in indices}
    assert refusal(meta) == f"it names {len(indices)} shards, but not dump-{missing}.pkl"


@pytest.mark.parametrize(
    "text",
    [
        '{"dump-0.pkl": {"num_samples": 2, "num_tokens": 6}, "dump-0.pkl": {}}',
        '{"dump-0.pkl": {}, "dump-0.pkl": {"num_samples": 2, "num_tokens": 6}}',
        '{"dump-0.pkl": {"num_samples": 2, "num_tokens": 6}, "dump-\\u0030.pkl": {}}',
        '{"dump-0.pkl": {"num_samples": 2, "num_samples": 2, "num_tokens": 6}}',
        '{"dump-0.pkl": {"num_samples": 2, "num_tokens": 6, "x": {"y": 1, "y": 1}}}',
    ],
)
def test_a_name_that_stands_twice_is_refused(text: str) -> None:
    assert re.fullmatch(
        r"the name '(dump-0\.pkl|num_samples|y)' stands in it twice", refusal(text.encode())
    )


# Values

NO_WHOLE_NUMBERS = [2.0, 2.5, True, False, "2", "", None, [2], [], {}, {"a": 2}]


@pytest.mark.parametrize("value", NO_WHOLE_NUMBERS, ids=repr)
@pytest.mark.parametrize(
    "key",
    ["num_samples", "num_tokens", "start_character", "stop_character", "last_sample_tokens"],
)
def test_what_is_no_whole_number_is_refused_by_name(key: str, value: Any) -> None:
    fields = {"start_character": 0, "stop_character": 5, key: value}
    assert refusal(one(**fields)) == f"{key} of dump-0.pkl is {value!r}, not a whole number"


@pytest.mark.parametrize(
    ("number", "shown"),
    [("NaN", "nan"), ("Infinity", "inf"), ("-Infinity", "-inf"), ("1e400", "inf"), ("2e0", "2.0")],
)
def test_json_s_odd_numbers_are_refused(number: str, shown: str) -> None:
    text = f'{{"dump-0.pkl": {{"num_samples": {number}, "num_tokens": 6}}}}'
    assert refusal(text.encode()) == f"num_samples of dump-0.pkl is {shown}, not a whole number"


@pytest.mark.parametrize("value", [0, -1, -6, 2**62 + 1, 10**30, -(10**30)])
@pytest.mark.parametrize("key", ["num_samples", "num_tokens"])
def test_a_count_below_one_or_beyond_all_bounds_is_refused(key: str, value: int) -> None:
    expected = f"{key} of dump-0.pkl is {value}, outside 1 to {2**62}"
    assert refusal(one(**{key: value})) == expected


@pytest.mark.parametrize("value", [0, -1, 4, 2**62])
def test_a_last_sample_has_one_token_at_least_and_seq_length_at_most(value: int) -> None:
    expected = f"last_sample_tokens of dump-0.pkl is {value}, outside 1 to 3"
    assert refusal(one(last_sample_tokens=value)) == expected
    for good in (1, 3):
        [entry] = parse_meta(json.dumps(one(last_sample_tokens=good)).encode(), "x")
        assert entry.last_sample_tokens == good


@pytest.mark.parametrize("value", [-1, 2**62 + 1])
@pytest.mark.parametrize("key", ["start_character", "stop_character"])
def test_a_character_before_the_text_or_beyond_all_bounds_is_refused(key: str, value: int) -> None:
    fields = {"start_character": 0, "stop_character": 5, key: value}
    assert refusal(one(**fields)) == f"{key} of dump-0.pkl is {value}, outside 0 to {2**62}"


@pytest.mark.parametrize("key", ["num_samples", "num_tokens"])
def test_a_missing_count_is_refused(key: str) -> None:
    meta = one()
    del meta["dump-0.pkl"][key]
    assert refusal(meta) == f"{key} of dump-0.pkl is None, not a whole number"


@pytest.mark.parametrize(
    ("given_key", "missing"),
    [("start_character", "stop_character"), ("stop_character", "start_character")],
)
def test_half_a_character_range_is_refused(given_key: str, missing: str) -> None:
    expected = f"{missing} of dump-0.pkl is None, not a whole number"
    assert refusal(one(**{given_key: 5})) == expected


def test_a_character_range_that_ends_before_it_starts_is_refused() -> None:
    reason = refusal(one(start_character=5, stop_character=3))
    assert "dump-0.pkl" in reason
    assert "5" in reason
    assert "3" in reason


@pytest.mark.parametrize(("num_samples", "num_tokens"), [(2, 5), (2, 1), (7, 6), (4, 6)])
def test_tokens_that_are_no_equal_samples_are_refused(num_samples: int, num_tokens: int) -> None:
    assert refusal(one(num_samples=num_samples, num_tokens=num_tokens)) == (
        f"{num_tokens} tokens of dump-0.pkl are not {num_samples} equal samples"
    )


def test_shards_of_different_sequence_lengths_are_refused() -> None:
    meta = {**one(), "dump-1.pkl": {"num_samples": 2, "num_tokens": 8}}
    assert refusal(meta) == "its shards have samples of different lengths: [3, 4]"


@pytest.mark.parametrize(
    "value",
    [
        "",
        SHA256[:-1],
        SHA256 + "0",
        SHA256 + "\n",
        SHA256.upper(),
        "g" * 64,
        "٣" * 64,
        5,
        True,
        [SHA256],
        {},
    ],
    ids=ascii,
)
def test_a_hash_of_another_form_is_refused(value: Any) -> None:
    expected = f"sha256 of dump-0.pkl is {value!r}, not 64 hexadecimal digits"
    assert refusal(one(sha256=value)) == expected


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("num_samples", 1),
        ("num_tokens", 8),
        ("sha256", "0" * 64),
        ("sha256", None),
        ("start_character", 1),
        ("stop_character", 99),
        ("entry_sha256", "0" * 64),
        ("entry_sha256", 5),
        ("entry_sha256", [SHA256]),
    ],
)
def test_a_tampered_entry_is_refused(key: str, value: Any) -> None:
    meta = json.loads(dump_meta(ENTRIES[:1]))
    assert meta["dump-0.pkl"][key] != value
    meta["dump-0.pkl"][key] = value
    stated = meta["dump-0.pkl"]["entry_sha256"]
    assert refusal(meta) == (
        f"the entry of dump-0.pkl does not have the sha256 that it states, {stated!r}"
    )


def test_fields_of_a_newer_codedata_are_passed_over_and_sealed_too() -> None:
    fields: dict[str, object] = {"num_samples": 2, "num_tokens": 6, "colour": ["red", 1.5, None]}
    sealed = json.dumps({"dump-0.pkl": fields}).encode()
    fields["entry_sha256"] = hashlib.sha256(sealed).hexdigest()
    [entry] = parse_meta(json.dumps({"dump-0.pkl": fields}).encode(), "x")
    assert entry == ShardEntry(num_samples=2, num_tokens=6)
    fields["colour"] = ["red", 1.5, 0]
    assert "does not have the sha256 that it states" in refusal({"dump-0.pkl": fields})


def test_the_entry_of_another_shard_is_refused() -> None:
    meta = json.loads(dump_meta(ENTRIES))
    meta["dump-0.pkl"], meta["dump-2.pkl"] = meta["dump-2.pkl"], meta["dump-0.pkl"]
    stated = meta["dump-0.pkl"]["entry_sha256"]
    assert refusal(meta) == (
        f"the entry of dump-0.pkl does not have the sha256 that it states, {stated!r}"
    )


# What is no meta at all


@pytest.mark.parametrize("meta", [{}, [], [one()], "", "dump-0.pkl", 5, None, True], ids=repr)
def test_json_that_names_no_shards_is_refused(meta: object) -> None:
    found = "{} and names no shards" if meta == {} else f"{meta!r}, not an object of shards"
    assert refusal(meta) == f"it is {found}"


@pytest.mark.parametrize("fields", [None, 5, "", [], [1, 2], True], ids=repr)
def test_an_entry_that_is_no_object_is_refused(fields: object) -> None:
    found = f"the entry of dump-0.pkl is {fields!r}, not an object"
    assert refusal({"dump-0.pkl": fields}) == found


GOOD = b'{"dump-0.pkl": {"num_samples": 2, "num_tokens": 6}}'

NO_JSON = {
    "empty": b"",
    "a line end": b"\n",
    "NULs": bytes(100),
    "HTML": b"<!DOCTYPE html><html></html>",
    "a pickle": pickle.dumps(one()),
    "cut off": GOOD[:-1],
    "two of them": GOOD * 2,
    "a byte order mark": b"\xef\xbb\xbf" + GOOD,
    "single quotes": GOOD.replace(b'"', b"'"),
    "a comma too many": GOOD.replace(b"6", b"6,"),
    "a leading zero": GOOD.replace(b"6", b"06"),
    "a NUL in a name": GOOD.replace(b"-0", b"-\x000"),
    "UTF-16": GOOD.decode().encode("utf-16"),
    "UTF-16 without a mark": GOOD.decode().encode("utf-16-le"),
    "Latin-1": GOOD.replace(b"0.pkl", b"0.pkl\xe9"),
    "an encoded surrogate": GOOD.replace(b"0.pkl", b"0\xed\xa0\x80.pkl"),
    "an overlong form": GOOD.replace(b"-", b"\xc0\xad"),
    "an integer of 5,000 digits": GOOD.replace(b"6", b"6" * 5000),
}


def test_the_control_of_what_is_no_json_is_read() -> None:
    assert parse_meta(GOOD, "x") == [ShardEntry(num_samples=2, num_tokens=6)]


@pytest.mark.parametrize("data", NO_JSON.values(), ids=NO_JSON)
def test_what_is_no_json_is_refused(data: bytes) -> None:
    assert refusal(data)


@pytest.mark.parametrize("depth", [10_000, 500_000])
@pytest.mark.parametrize(
    ("opening", "closing"), [(b"[", b"]"), (b'{"a":', b"}"), (b'{"dump-0.pkl":', b"}")]
)
def test_deep_nesting_is_refused(opening: bytes, closing: bytes, depth: int) -> None:
    for end in (b"", b"1" + closing * depth):
        assert refusal(opening * depth + end)
    assert sys.getrecursionlimit() < depth


# Whatever it is, one error or sound entries

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner),
    max_leaves=8,
)
COUNTS = st.integers(-1, 6) | st.sampled_from([2**62, 2**62 + 1, 10**400]) | JSON
NEARLY_METAS = st.dictionaries(
    st.sampled_from(["dump-0.pkl", "dump-1.pkl", "dump-2.pkl"]) | st.text(max_size=3),
    st.fixed_dictionaries(
        {"num_samples": COUNTS, "num_tokens": COUNTS},
        optional={
            "sha256": st.just(SHA256) | JSON,
            "start_character": COUNTS,
            "stop_character": COUNTS,
            "entry_sha256": JSON,
        },
    )
    | JSON,
    max_size=3,
)


def assert_sound_or_refused(data: bytes) -> None:
    try:
        entries = parse_meta(data, "x")
    except DatasetError:
        return
    assert entries
    assert len({entry.seq_length for entry in entries}) == 1
    for entry in entries:
        assert type(entry.num_samples) is int
        assert type(entry.num_tokens) is int
        assert 1 <= entry.num_samples <= entry.num_tokens <= 2**62
        assert entry.num_tokens == entry.num_samples * entry.seq_length
        assert entry.sha256 is None or len(bytes.fromhex(entry.sha256)) == 32
    assert parse_meta(dump_meta(entries), "x") == entries


@UNHURRIED
@given(JSON | NEARLY_METAS)
@example(json.loads(GOOD))
def test_any_json_is_refused_or_read_soundly(meta: object) -> None:
    assert_sound_or_refused(json.dumps(meta).encode())


@UNHURRIED
@given(st.binary(max_size=100))
def test_any_bytes_are_refused_or_read_soundly(data: bytes) -> None:
    assert_sound_or_refused(data)


@UNHURRIED
@given(st.integers(0, 255), st.data())
def test_a_meta_with_one_byte_changed_is_refused_or_read_soundly(
    byte: int, data: st.DataObject
) -> None:
    meta = bytearray(dump_meta(ENTRIES))
    meta[data.draw(st.integers(0, len(meta) - 1))] = byte
    assert_sound_or_refused(bytes(meta))


def test_a_dataset_of_twenty_thousand_shards_is_read() -> None:
    entries = [ENTRIES[0]] * 20_000
    assert len(parse_meta(dump_meta(entries), "meta")) == 20_000
    old = {shard_name(i): {"num_samples": 1, "num_tokens": 3} for i in range(20_000)}
    assert len(parse_meta(json.dumps(old, separators=(",", ":")).encode(), "meta")) == 20_000


ONE = b'{"dump-0.pkl": {"num_samples": 1, "num_tokens": 3, "more": '
HUGE: dict[str, tuple[bytes, str]] = {
    "more entries than shards can be mapped": (
        b"{" + b",".join(b'"dump-%d.pkl":{}' % i for i in range(MAX_SHARDS + 1)) + b"}",
        "it has 65537 entries, more than the 65536 shards that a process can map",
    ),
    "a million entries": (
        b"{" + b",".join(b'"dump-%d.pkl": {"num_samples": 1}' % i for i in range(10**6)) + b"}",
        "bytes, more than 33554432",
    ),
    "lists of lists": (
        ONE + b"[" + b"[]," * 10**6 + b"[]]}}",
        "values in [0-9]+ bytes",
    ),
    "nothing but commas": (b"[" + b"," * 10**6, "values in [0-9]+ bytes"),
    "brackets": (b"[" * 10**6, "values in [0-9]+ bytes"),
}


@pytest.mark.parametrize(("data", "why"), HUGE.values(), ids=HUGE)
def test_what_is_too_much_to_parse_is_refused_before_it_is_parsed(data: bytes, why: str) -> None:
    tracemalloc.start()
    started = time.monotonic()
    reason = refusal(data)
    assert time.monotonic() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert re.search(why, reason)
