"""The meta: what is written is read back, and everything else is one DatasetError with a reason."""

import gc
import hashlib
import json
import os
import pickle
import re
import sys
import time
import tracemalloc
from collections.abc import Iterator
from itertools import product
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codedata.errors import DatasetError
from codedata.format import meta as format_meta
from codedata.format.meta import (
    MAX_META_BYTES,
    MAX_SHARDS,
    ShardEntry,
    documents_name,
    dump_meta,
    file_index,
    file_names,
    parse_meta,
    shard_index,
    shard_name,
    spans_name,
)
from codedata.format.ranges import CharRange

SHA256 = hashlib.sha256(b"").hexdigest()
ENTRIES = [
    ShardEntry(num_samples=2, num_tokens=6, sha256=SHA256, chars=CharRange(0, 100)),
    ShardEntry(num_samples=5, num_tokens=15, sha256=SHA256[::-1], chars=CharRange(0, 100)),
    ShardEntry(
        num_samples=1, num_tokens=3, sha256=SHA256, chars=CharRange(100, 130), last_sample_tokens=2
    ),
]

OF_DOCUMENTS = ShardEntry(
    num_samples=2,
    num_tokens=6,
    sha256=SHA256,
    num_text_tokens=5,
    spans_sha256=SHA256[::-1],
    documents_sha256=SHA256,
)


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
    padded = dump_meta([ShardEntry(num_samples=2, num_tokens=6, last_sample_tokens=1)])
    assert b'"num_tokens": 6,\n    "last_sample_tokens": 1,\n' in padded


HASHES = st.binary(max_size=3).map(lambda data: hashlib.sha256(data).hexdigest())
ENTRY = st.builds(
    lambda num_samples, start, length, file, **fields: ShardEntry(
        num_samples=num_samples,
        num_tokens=num_samples * 9,
        chars=None if file is None else CharRange(start, start + length, file),
        **fields,
    ),
    num_samples=st.integers(1, 2**40),
    start=st.integers(0, 2**61),
    length=st.integers(0, 2**61),
    file=st.none() | st.integers(0, 3) | st.just(2**62),
    sha256=st.none() | HASHES,
    last_sample_tokens=st.none() | st.integers(1, 9),
)
WITH_DOCUMENTS = st.builds(
    lambda entry, padding, **hashes: entry._replace(
        num_text_tokens=entry.num_tokens - padding % (entry.num_tokens - entry.num_samples + 1),
        last_sample_tokens=None,
        **hashes,
    ),
    ENTRY,
    padding=st.integers(0, 2**40),
    spans_sha256=HASHES,
    documents_sha256=HASHES,
)


@given(st.lists(ENTRY, min_size=1, max_size=5) | st.lists(WITH_DOCUMENTS, min_size=1, max_size=5))
def test_every_meta_comes_back_whole(entries: list[ShardEntry]) -> None:
    data = dump_meta(entries)
    assert parse_meta(data, "x") == entries
    assert data.decode() == json.dumps(json.loads(data), indent=2) + "\n"
    for name, fields in json.loads(data).items():
        stated = fields.pop("entry_sha256")
        assert hashlib.sha256(json.dumps({name: fields}).encode()).hexdigest() == stated
    assert all(type(entry.chars) in (CharRange, type(None)) for entry in parse_meta(data, "x"))
    values = json.loads(data).values()  # readers of the old format sum over all values
    assert sum(value["num_tokens"] for value in values) == sum(e.num_tokens for e in entries)


def test_entries_are_in_the_order_of_the_shards_numbers() -> None:
    entries = [ShardEntry(num_samples=n + 1, num_tokens=3 * n + 3) for n in range(12)]
    meta = json.loads(dump_meta(entries))
    by_name = sorted(meta)
    assert by_name[:4] == ["dump-0.pkl", "dump-1.pkl", "dump-10.pkl", "dump-11.pkl"]
    shuffled = json.dumps({name: meta[name] for name in by_name}).encode()
    assert parse_meta(shuffled, "x") == entries


def test_a_meta_of_the_old_script_is_read() -> None:
    data = b'{"dump-0.pkl": {"num_samples": 2759, "num_tokens": 4237824}}'
    [entry] = parse_meta(data, "x")
    assert entry == ShardEntry(num_samples=2759, num_tokens=4237824, sha256=None, chars=None)
    assert entry.seq_length == 1536


# Documents


def of_documents(**fields: Any) -> dict[str, Any]:
    """The fields of an entry with documents, with `fields` put in or over; None takes one out."""
    entry = {"num_samples": 2, "num_tokens": 6, "num_text_tokens": 5}
    entry |= {"spans_sha256": SHA256, "documents_sha256": SHA256, **fields}
    return {name: value for name, value in entry.items() if value is not None}


def test_an_entry_with_documents_is_flat_and_names_the_files_beside_its_shard() -> None:
    files = {shard_name(7): SHA256, spans_name(7): SHA256[::-1], documents_name(7): SHA256}
    assert OF_DOCUMENTS.files(7) == files
    assert [*files] == file_names(7, documents=True)
    assert [*files] == ["dump-7.pkl", "dump-7.documents.npy", "dump-7.documents.parquet"]
    assert ENTRIES[0].files(7) == {"dump-7.pkl": SHA256}
    assert (OF_DOCUMENTS.has_documents, ENTRIES[0].has_documents) == (True, False)
    data = dump_meta([OF_DOCUMENTS])
    text = (
        f'    "sha256": "{SHA256}",\n    "num_text_tokens": 5,\n'
        f'    "spans_sha256": "{SHA256[::-1]}",\n    "documents_sha256": "{SHA256}",\n    "entry_'
    )
    assert text in data.decode()
    assert parse_meta(data, "x") == [OF_DOCUMENTS]


def test_an_entry_whose_documents_are_said_in_part_or_contradict_its_counts_is_refused() -> None:
    for change, reason in (
        (
            {"spans_sha256": None},
            "the entry of dump-0.pkl names documents, and has no spans_sha256",
        ),
        (
            {"documents_sha256": None},
            "the entry of dump-0.pkl names documents, and has no documents_sha256",
        ),
        (
            {"documents_sha256": None, "spans_sha256": None},
            "the entry of dump-0.pkl names documents, and has no spans_sha256",
        ),
        ({"num_text_tokens": None}, "num_text_tokens of dump-0.pkl is None, not a whole number"),
        ({"num_text_tokens": True}, "num_text_tokens of dump-0.pkl is True, not a whole number"),
        ({"num_text_tokens": 1}, "num_text_tokens of dump-0.pkl is 1, outside 2 to 6"),
        ({"num_text_tokens": 7}, "num_text_tokens of dump-0.pkl is 7, outside 2 to 6"),
        ({"spans_sha256": "0"}, "spans_sha256 of dump-0.pkl is '0', not 64 hexadecimal digits"),
        ({"documents_sha256": 5}, "documents_sha256 of dump-0.pkl is 5, not 64 hexadecimal digits"),
        (
            {"last_sample_tokens": 1},
            (
                "5 tokens of dump-0.pkl are text (num_text_tokens), where its samples are full, "
                "and its last has 1 (last_sample_tokens)"
            ),
        ),
    ):
        assert refusal({"dump-0.pkl": of_documents(**change)}) == reason
    for last in (None, 2):
        fields = of_documents(last_sample_tokens=last)
        [entry] = parse_meta(json.dumps({"dump-0.pkl": fields}).encode(), "x")
        assert (entry.num_text_tokens, entry.last_sample_tokens) == (5, last)


def test_either_all_shards_have_documents_packed_in_one_way_or_none_has_any() -> None:
    meta = {"dump-0.pkl": of_documents(), "dump-1.pkl": one()["dump-0.pkl"]}
    assert refusal(meta) == "it names sidecars of dump-0.pkl, and none of dump-1.pkl"
    meta = {"dump-0.pkl": of_documents(last_sample_tokens=2), "dump-1.pkl": of_documents()}
    assert refusal(meta).startswith("last_sample_tokens stands in some entries only")


def test_the_longest_meta_fits() -> None:
    digits = 10**15
    entry = ShardEntry(
        num_samples=digits,
        num_tokens=digits * 8192,
        sha256=SHA256,
        chars=CharRange(digits, 2 * digits, digits),
        last_sample_tokens=8192,
        num_text_tokens=digits * 8192,
        spans_sha256=SHA256,
        documents_sha256=SHA256,
    )
    longest = len(dump_meta([entry] * 100)) / 100 + len(str(MAX_SHARDS)) - 1
    assert longest * MAX_SHARDS < MAX_META_BYTES


def test_the_names_of_sidecars_are_exactly_those() -> None:
    for index in (0, 7, 10**18 - 1):
        assert [file_index(name) for name in file_names(index, documents=True)] == [index] * 3
        assert shard_index(spans_name(index)) is shard_index(documents_name(index)) is None
    for name in BAD_NAMES:
        assert file_index(name) is None, ascii(name)
        for ending in (".documents.npy", ".documents.parquet"):
            sidecar = name.replace(".pkl", ending)
            assert file_index(sidecar) is None, ascii(sidecar)
    for name in ("dump-0.documents", "dump-0.npy", "dump-0.documents.pkl", "dump-0.documentsxnpy"):
        assert file_index(name) is None


# Names of shards


BAD_NAMES = [
    *("", "dump-.pkl", "dump-0", "dump-0.pkl ", " dump-0.pkl", "dump-0.pkl\n", "dump-0.pkl\0"),
    *("dump-0\0.pkl", "dump-0xpkl", "dump-0.PKL", "Dump-0.pkl", "dump-00.pkl", "dump-01.pkl"),
    *("dump--1.pkl", "dump-+1.pkl", "dump-1_0.pkl", "dump-1e1.pkl", "dump-0x1.pkl"),
    *("dump-1.0.pkl", "dump-٣.pkl", "dump-¹.pkl", "dump-1000000000000000000.pkl"),
    "dump-１.pkl",  # noqa: RUF001  (a wide digit, which int() takes)
    *("../dump-0.pkl", "./dump-0.pkl", "sub/dump-0.pkl", "/dump-0.pkl", "/etc/passwd", ".."),
    *("C:\\dump-0.pkl", "..\\dump-0.pkl", "dump-meta_data.json", "\ud800", "dump-\ud800.pkl"),
]


def test_a_name_that_is_not_exactly_a_shard_s_is_refused() -> None:
    entry = {"num_samples": 2, "num_tokens": 6}
    for name in BAD_NAMES:
        assert shard_index(name) is None, ascii(name)
        for meta in ({name: entry}, {"dump-0.pkl": entry, name: entry}):
            assert refusal(meta) == f"{name!r} is not the name of a shard (dump-0.pkl, ...)"


@given(st.text(max_size=12) | st.from_regex(r"\S{0,3}dump-\d{0,3}\.pkl\s?", fullmatch=True))
def test_only_the_names_of_shards_have_a_number(name: str) -> None:
    index = shard_index(name)
    assert index is None or shard_name(index) == name
    assert (index is None) == (name not in {shard_name(n) for n in range(1000)})
    assert shard_index(shard_name(10**18 - 1)) == 10**18 - 1


def test_a_gap_in_the_numbers_is_refused() -> None:
    for indices, missing in (([1], 0), ([0, 2], 1), ([5, 0, 1], 2), ([0, 10**17], 1)):
        meta = {shard_name(index): {"num_samples": 2, "num_tokens": 6} for index in indices}
        assert refusal(meta) == f"it names {len(indices)} shards, but not dump-{missing}.pkl"


def test_a_name_that_stands_twice_is_refused() -> None:
    for text, name in (
        ('{"dump-0.pkl": {"num_samples": 2, "num_tokens": 6}, "dump-0.pkl": {}}', "dump-0.pkl"),
        ('{"dump-0.pkl": {}, "dump-0.pkl": {"num_samples": 2, "num_tokens": 6}}', "dump-0.pkl"),
        ('{"dump-0.pkl": {"num_samples": 2}, "dump-\\u0030.pkl": {}}', "dump-0.pkl"),
        ('{"dump-0.pkl": {"num_samples": 2, "num_samples": 2}}', "num_samples"),
        ('{"dump-0.pkl": {"num_samples": 2, "x": {"y": 1, "y": 1}}}', "y"),
    ):
        assert refusal(text.encode()) == f"the name {name!r} stands in it twice"


# Values

COUNTED = ["num_samples", "num_tokens", "start_character", "stop_character", "file"]
COUNTED += ["last_sample_tokens"]


@pytest.mark.parametrize("key", COUNTED)
def test_what_is_no_whole_number_is_refused_by_name(key: str) -> None:
    for value in (2.0, 2.5, True, False, "2", "", None, [2], [], {}, {"a": 2}):
        fields = {"start_character": 0, "stop_character": 5, key: value}
        assert refusal(one(**fields)) == f"{key} of dump-0.pkl is {value!r}, not a whole number"
    odd = {"NaN": "nan", "Infinity": "inf", "-Infinity": "-inf", "1e400": "inf", "2e0": "2.0"}
    for number, shown in odd.items():
        text = json.dumps(one(**{"start_character": 0, "stop_character": 5, key: "X"}))
        reason = refusal(text.replace('"X"', number).encode())
        assert reason == f"{key} of dump-0.pkl is {shown}, not a whole number"


@pytest.mark.parametrize("key", COUNTED)
def test_a_number_out_of_its_range_is_refused(key: str) -> None:
    least = 0 if key.endswith("character") else 1
    most = 3 if key == "last_sample_tokens" else 2**62
    for value in (least - 1, -6, most + 1, 10**30, -(10**30)):
        fields = {"start_character": 0, "stop_character": 5, key: value}
        expected = f"{key} of dump-0.pkl is {value}, outside {least} to {most}"
        assert refusal(one(**fields)) == expected
    for value in (least, most) if key == "last_sample_tokens" else ():
        [entry] = parse_meta(json.dumps(one(last_sample_tokens=value)).encode(), "x")
        assert entry.last_sample_tokens == value


def test_counts_and_characters_that_contradict_each_other_are_refused() -> None:
    for num_samples, num_tokens in ((2, 5), (2, 1), (7, 6), (4, 6)):
        assert refusal(one(num_samples=num_samples, num_tokens=num_tokens)) == (
            f"{num_tokens} tokens of dump-0.pkl are not {num_samples} equal samples"
        )
    reversed_ = one(start_character=5, stop_character=3)
    assert refusal(reversed_) == "dump-0.pkl covers characters 5 to 3"
    meta = {**one(), "dump-1.pkl": {"num_samples": 2, "num_tokens": 8}}
    assert refusal(meta) == "its shards have samples of different lengths: [3, 4]"


def test_a_hash_of_another_form_is_refused() -> None:
    long = (SHA256[:-1], SHA256 + "0", SHA256 + "\n", SHA256.upper(), "g" * 64, "٣" * 64)
    for value in ("", *long, 5, True, [SHA256], {}):
        reason = refusal(one(sha256=value))
        assert reason == f"sha256 of dump-0.pkl is {value!r}, not 64 hexadecimal digits"


def test_a_tampered_entry_is_refused() -> None:
    changes = {"num_samples": 1, "num_tokens": 8, "last_sample_tokens": 2, "sha256": "0" * 64}
    changes |= {"start_character": 1, "stop_character": 99}
    for key, value in [*changes.items(), ("entry_sha256", 5), ("sha256", None)]:
        meta = json.loads(dump_meta(ENTRIES[:1]))
        assert meta["dump-0.pkl"].get(key) != value
        meta["dump-0.pkl"][key] = value
        stated = meta["dump-0.pkl"]["entry_sha256"]
        reason = f"the entry of dump-0.pkl does not have the sha256 that it states, {stated!r}"
        assert refusal(meta) == reason
    meta = json.loads(dump_meta(ENTRIES))
    meta["dump-0.pkl"], meta["dump-2.pkl"] = meta["dump-2.pkl"], meta["dump-0.pkl"]
    assert "the entry of dump-0.pkl does not have the sha256 that it states" in refusal(meta)


def test_fields_of_a_newer_codedata_are_passed_over_and_sealed_too() -> None:
    fields: dict[str, object] = {"num_samples": 2, "num_tokens": 6, "colour": ["red", 1.5, None]}
    sealed = json.dumps({"dump-0.pkl": fields}).encode()
    fields["entry_sha256"] = hashlib.sha256(sealed).hexdigest()
    [entry] = parse_meta(json.dumps({"dump-0.pkl": fields}).encode(), "x")
    assert entry == ShardEntry(num_samples=2, num_tokens=6)
    fields["colour"] = ["red", 1.5, 0]
    assert "does not have the sha256 that it states" in refusal({"dump-0.pkl": fields})


# What is no meta at all


def test_json_that_names_no_shards_is_refused() -> None:
    assert refusal({}) == "it is {} and names no shards"
    for meta in ([], [one()], "", "dump-0.pkl", 5, None, True):
        assert refusal(meta) == f"it is {meta!r}, not an object of shards"
    for fields in (None, 5, "", [], [1, 2], True):
        expected = f"the entry of dump-0.pkl is {fields!r}, not an object"
        assert refusal({"dump-0.pkl": fields}) == expected


GOOD = b'{"dump-0.pkl": {"num_samples": 2, "num_tokens": 6}}'

NO_JSON = [
    *(b"", b"\n", bytes(100), b"<!DOCTYPE html><html></html>", pickle.dumps(one()), GOOD[:-1]),
    *(GOOD * 2, b"\xef\xbb\xbf" + GOOD, GOOD.replace(b'"', b"'"), GOOD.replace(b"6", b"6,")),
    *(GOOD.replace(b"6", b"06"), GOOD.replace(b"-0", b"-\x000"), GOOD.replace(b"6", b"6" * 5000)),
    *(GOOD.decode().encode("utf-16"), GOOD.decode().encode("utf-16-le")),
    *(GOOD.replace(b"0.pkl", b"0" + odd) for odd in (b".pkl\xe9", b"\xed\xa0\x80.pkl")),
    GOOD.replace(b"-", b"\xc0\xad"),  # an overlong form
]


def test_what_is_no_json_is_refused() -> None:
    assert parse_meta(GOOD, "x") == [ShardEntry(num_samples=2, num_tokens=6)]
    for data in NO_JSON:
        assert refusal(data)
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}"), (b'{"dump-0.pkl":', b"}")):
        for depth in (sys.getrecursionlimit() * 10, 500_000):
            for end in (b"", b"1" + closing * depth):
                assert refusal(opening * depth + end)


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
            "num_text_tokens": COUNTS,
            "spans_sha256": st.just(SHA256) | JSON,
            "documents_sha256": st.just(SHA256) | JSON,
        },
    )
    | JSON,
    max_size=3,
)


DUMPED = dump_meta(ENTRIES)
ONE_BYTE_CHANGED = st.builds(
    lambda place, byte: DUMPED[:place] + bytes([byte]) + DUMPED[place + 1 :],
    st.integers(0, len(DUMPED) - 1),
    st.integers(0, 255),
)


@settings(max_examples=250)
@given(
    (JSON | NEARLY_METAS).map(lambda meta: json.dumps(meta).encode())
    | st.binary(max_size=100)
    | ONE_BYTE_CHANGED
)
@example(GOOD)
def test_any_bytes_are_refused_or_read_soundly(data: bytes) -> None:
    try:
        entries = parse_meta(data, "x")
    except DatasetError:
        return
    assert entries
    assert len({entry.seq_length for entry in entries}) == 1
    for entry in entries:
        assert {type(entry.num_samples), type(entry.num_tokens)} == {int}
        assert 1 <= entry.num_samples <= entry.num_tokens <= 2**62
        assert entry.num_tokens == entry.num_samples * entry.seq_length
        assert entry.sha256 is None or len(bytes.fromhex(entry.sha256)) == 32
    assert parse_meta(dump_meta(entries), "x") == entries


ONE = b'{"dump-0.pkl": {"num_samples": 1, "num_tokens": 3, "more": '
HUGE: dict[str, tuple[bytes, str]] = {
    "more entries than a dataset may have shards": (
        b'"dump-0.pkl": {"num_samples": 1}' * (MAX_SHARDS + 2),
        "it has 1048577 entries, more than the 1048576 shards that a dataset may have",
    ),
    "lists of lists": (ONE + b"[" + b"[]," * 10**6 + b"[]]}}", "values in [0-9]+ bytes"),
    "nothing but commas": (b"[" + b"," * 10**6, "values in [0-9]+ bytes"),
    "brackets": (b"[" * 10**6, "values in [0-9]+ bytes"),
}


@pytest.mark.parametrize(("data", "why"), HUGE.values(), ids=HUGE)
def test_what_is_too_much_to_parse_is_refused_before_it_is_parsed(data: bytes, why: str) -> None:
    tracemalloc.start()
    started = time.process_time()
    reason = refusal(data)
    assert time.process_time() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 1_000_000
    tracemalloc.stop()
    assert re.search(why, reason)


# As it was written, which a pattern takes; anything else is read as JSON


def verdict(data: bytes) -> list[ShardEntry] | str:
    """The entries of a meta, or why it is refused."""
    try:
        return parse_meta(data, "x")
    except DatasetError as error:
        return str(error)


def changed(data: bytes) -> Iterator[bytes]:
    """What may come of a meta: a bit flipped, a byte gone, cut off, and resealed other values."""
    for place in range(len(data)):
        yield data[:place] + bytes([data[place] ^ 1 << place % 7]) + data[place + 1 :]
        yield data[:place] + data[place + 1 :]
        yield data[:place]
    yield from (
        data + b"\n",
        data[:-1],
        b" " + data,
        data + data,
        data[:-3] + b",",
        b"x" + data[1:],
        (json.dumps(dict(reversed(json.loads(data).items())), indent=2) + "\n").encode(),
    )
    for name, key in product(json.loads(data), OF_A_META):
        for value in (0, 1, 3, 4, 2**62, 2**62 + 1, SHA256, SHA256.upper(), True, None):
            meta: dict[str, Any] = json.loads(data)
            meta[name].pop("entry_sha256")
            meta[name][key] = value
            one_line = json.dumps({name: meta[name]}).encode()
            meta[name]["entry_sha256"] = hashlib.sha256(one_line).hexdigest()
            yield (json.dumps(meta, indent=2) + "\n").encode()


OF_A_META = [*COUNTED, "sha256", "num_text_tokens", "spans_sha256", "documents_sha256"]


@pytest.mark.parametrize("entries", [ENTRIES[1:], [OF_DOCUMENTS, OF_DOCUMENTS]])
def test_what_the_pattern_of_a_meta_takes_is_what_its_json_says(
    entries: list[ShardEntry], monkeypatch: pytest.MonkeyPatch
) -> None:
    data = dump_meta(entries)
    metas = [data, *changed(data)]
    found = [verdict(meta) for meta in metas]
    monkeypatch.setattr(format_meta, "_entries_as_written", lambda _: None)
    assert [verdict(meta) for meta in metas] == found
    monkeypatch.undo()
    monkeypatch.setattr(format_meta, "_entries_of_json", lambda _: None)
    assert parse_meta(data, "x") == entries


@pytest.mark.parametrize("kind", ["plain", "with documents", "of the old script"])
def test_a_meta_of_many_shards_takes_a_few_times_its_size_of_memory(kind: str) -> None:
    number = 4_000
    entry = ENTRIES[2] if kind == "plain" else OF_DOCUMENTS
    meta = {shard_name(index): {"num_samples": 2, "num_tokens": 6} for index in range(number)}
    of_old = json.dumps(meta, indent=2).encode()
    data = of_old if kind == "of the old script" else dump_meta([entry] * number)
    tracemalloc.start()
    assert len(parse_meta(data, "x")) == number
    assert tracemalloc.get_traced_memory()[1] < 10 * len(data)
    tracemalloc.stop()


def test_a_meta_is_read_without_searches_for_garbage_and_leaves_the_collector_as_others_set_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual, entries, meanwhile = gc.get_threshold(), ENTRIES[1:], list[tuple[int, int]]()
    read = format_meta._entries_as_written

    def look(data: bytes) -> list[ShardEntry] | None:
        if (pid := os.fork()) == 0:
            os._exit(gc.get_threshold() != usual)
        meanwhile.append((gc.get_threshold()[0], os.waitpid(pid, 0)[1]))
        gc.disable()
        return read(data)

    monkeypatch.setattr(format_meta, "_entries_as_written", look)
    try:
        assert parse_meta(dump_meta(entries), "x") == entries
        assert meanwhile == [(format_meta._NEVER, 0)], "a forked process has searches"
        assert (gc.isenabled(), gc.get_threshold()) == (False, usual)
        with format_meta._unsearched():
            assert parse_meta(dump_meta(entries), "x") == entries
            assert gc.get_threshold()[0] == format_meta._NEVER, "who set it sets it back"
            gc.set_threshold(1234)
        assert gc.get_threshold()[0] == 1234, "which somebody chose meanwhile"
    finally:
        gc.set_threshold(*usual)
        gc.enable()
