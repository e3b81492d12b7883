"""What a dataset was made of as a file: typed, bounded, tied to its dataset, without paths."""

import hashlib
import re
import time
import tracemalloc
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from codedata.errors import CorpusError
from codedata.format.documents import DocumentCounts
from codedata.format.facts import (
    MAX_FACTS_BYTES,
    Counts,
    Facts,
    Origin,
    Probe,
    TokenizerFacts,
    dump_facts,
    facts_of,
    parse_facts,
    seal_of,
)
from codedata.format.meta import ShardEntry, dump_meta
from codedata.format.without_paths import without_paths
from codedata.recipe.documents import DocumentRecipe

ENTRIES = [
    ShardEntry(num_samples=3, num_tokens=3 * 64, sha256="a" * 64),
    ShardEntry(num_samples=1, num_tokens=64, sha256="b" * 64),
]
DIGEST = hashlib.sha256(dump_meta(ENTRIES)).hexdigest()
PROBE = Probe(text_sha256="e" * 64, ids=(32013, 2, 0, 2**31 - 1))
ORIGIN = Origin(
    corpus={"repo": "bigcode/the-stack", "path": "data/c/x.parquet", "sha256": "c" * 64},
    tokenizer=TokenizerFacts(source="mine", sha256="d" * 64, probe=PROBE),
    engine="pretokens",
    versions={"codedata": "0.1.0", "ids": "1"},
    command="python -m codedata.tokenize_data --data_file 'my code.parquet' --seq_length 64",
)
SWITCHES: Mapping[str, int | str] = {"tokenizer_base": "elsewhere/mine", "seq_length": 64}
FACTS = facts_of(ORIGIN, name="train", switches=SWITCHES, entries=ENTRIES)
CARD = b"# The card\n"
HERE = replace(
    FACTS,
    corpus={"path": "/home/ada/secret project/c.parquet", "sha256": "c" * 64},
    tokenizer=TokenizerFacts(source="/home/ada/tokenizers/mine", sha256="d" * 64),
    command="CODEDATA_CORPUS='/home/ada/my c.parquet' CODEDATA_TRAIN_TOKENIZER_BASE=/home/ada/t "
    "CODEDATA_TRAIN_SEQ_LENGTH=64 codedata materialize train",
)
"""As a run knows them."""


def sealed(data: bytes) -> bytes:
    """Facts that somebody changed, as whole as if codedata had written them."""
    body = data[: data.rindex(b"facts_sha256")]
    return body + f'facts_sha256: "{hashlib.sha256(body).hexdigest()}"\n'.encode()


def test_the_facts_are_the_yaml_that_everybody_reads() -> None:
    data = dump_facts(FACTS, CARD)
    assert list(yaml.safe_load(data).items()) == [
        ("format", 1),
        ("name", "train"),
        ("corpus", ORIGIN.corpus),
        (
            "tokenizer",
            {
                "source": "mine",
                "sha256": "d" * 64,
                "probe": {"text_sha256": "e" * 64, "ids": [32013, 2, 0, 2**31 - 1]},
            },
        ),
        ("engine", "pretokens"),
        ("versions", {"codedata": "0.1.0", "ids": "1"}),
        ("command", ORIGIN.command),
        ("switches", {"tokenizer_base": "mine", "seq_length": 64}),
        ("counts", {"shards": 2, "samples": 4, "tokens": 256, "seq_length": 64}),
        ("digest", DIGEST),
        ("card_sha256", hashlib.sha256(CARD).hexdigest()),
        ("facts_sha256", hashlib.sha256(data[: data.rindex(b"facts_sha256")]).hexdigest()),
    ]
    assert seal_of(data) == (DIGEST, hashlib.sha256(CARD).hexdigest())
    assert dump_facts(FACTS, CARD) == data
    assert b"\n    ids: [32013, 2, 0, 2147483647]\n" in data


names = st.from_regex(r"[A-Za-z_][A-Za-z0-9_]{0,20}", fullmatch=True).filter(
    lambda name: yaml.safe_load(name) == name  # not NO, which is false
)
texts = st.text(max_size=50)
sha256s = st.from_regex(r"[0-9a-f]{64}", fullmatch=True)
numbers = st.integers(0, 2**63 - 1)
FACTS_OF_ANY_KIND = st.builds(
    Facts,
    corpus=st.dictionaries(names, texts, max_size=4),
    files=st.dictionaries(
        st.integers(0, 99_999), st.dictionaries(names, texts, min_size=1, max_size=3), max_size=4
    ),
    tokenizer=st.builds(
        TokenizerFacts,
        source=texts,
        sha256=sha256s,
        revision=st.none() | texts,
        probe=st.none()
        | st.builds(
            Probe,
            text_sha256=sha256s,
            ids=st.lists(st.integers(0, 2**31 - 1), min_size=1, max_size=5).map(tuple),
        ),
    ),
    engine=texts,
    versions=st.dictionaries(names, texts, min_size=1, max_size=3),
    command=texts,
    name=texts,
    switches=st.dictionaries(names, texts | numbers, min_size=1, max_size=4),
    counts=st.builds(
        Counts, shards=numbers, samples=numbers, tokens=numbers, seq_length=numbers
    ),
    digest=sha256s,
)  # fmt: skip


@settings(deadline=None, max_examples=40)  # the first imports what reads
@given(facts=FACTS_OF_ANY_KIND)
def test_whatever_the_facts_are_they_are_read_as_written_and_by_any_yaml_reader(
    facts: Facts,
) -> None:
    data = dump_facts(facts, CARD)
    again = parse_facts(data)
    assert dump_facts(again, CARD) == data
    assert all(character.isprintable() or character == "\n" for character in data.decode())
    if all(text.isprintable() for text in (facts.name, facts.engine, facts.command)):
        assert (again.name, again.engine, again.command) == (
            facts.name, facts.engine, facts.command,
        )  # fmt: skip
    assert (again.counts, again.digest) == (facts.counts, facts.digest)
    assert (again.tokenizer.probe, [*again.files]) == (facts.tokenizer.probe, [*facts.files])
    plain = yaml.safe_load(data)
    assert plain["command"] == again.command
    assert plain.get("files", {}) == again.files


def test_flipped_bits_and_every_prefix_of_facts_are_noticed() -> None:
    """Every fifth bit: five and eight share no divisor, so each byte and place has its turn."""
    data = dump_facts(FACTS, CARD)
    assert seal_of(data)
    for bit in range(0, len(data) * 8, 5):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert seal_of(bytes(damaged)) is None, bit
    assert not any(seal_of(data[:stop]) for stop in range(len(data)))
    for other in (b"", b"# mine\n", data + b"\n", b"\xff" + data, data + data):
        assert seal_of(other) is None
        with pytest.raises(ValueError, match="is not as it was written"):
            parse_facts(other)


ALIASES = "\n".join(
    ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
)
ENGINE = 'engine: "pretokens"'
WRONG: dict[str, tuple[str, str, str]] = {
    "aliases": (ENGINE, f"{ALIASES}\n{ENGINE}", "the line 'a0: &a0"),
    "a tag": (ENGINE, "engine: !!python/object:x.y {}", "the line 'engine: !!"),
    "a comment": (ENGINE, f"# mine\n{ENGINE}", "the line '# mine'"),
    "a name twice": (ENGINE, f"{ENGINE}\n{ENGINE}", "the line 'engine"),
    "deep": (ENGINE, f"        a: 1\n{ENGINE}", "the line '        a"),
    "nested without end": (ENGINE, f"engine: {'[' * 100_000}", "the line 'engine: [[["),
    "a number": (ENGINE, "engine: 7", "engine: Input should be a valid string"),
    "a mapping": (ENGINE, 'engine:\n  a: "b"', "engine: Input should be a valid string"),
    "a count as text": ("  shards: 2", '  shards: "2"', "counts.shards: Input should be a valid"),
    "a list as a text": ('"mine"\n  sha', '["a"]\n  sha', "the line '  source: "),
    "no tokenizer": ("tokenizer:", "tokeniser:", "tokenizer: Field required"),
    "a tokenizer's sha256": ("d" * 64, "../" + "d" * 61, "tokenizer: Value error, '../ddd"),
    "an id too large": ("2147483647]", "2147483648]", "ids are not those of a short text"),
    "ids without end": ("[32013,", "[" + "1, " * 30_000, "ids are not those of a short text"),
    "a number without end": ("[32013,", f"[{'9' * 100_000},", "integer string conversion"),
    "lines without end": (ENGINE, "\n".join(f"a{i}:" for i in range(20_000)), "engine: Field"),
    "bytes without end": (ENGINE, f"{ENGINE}{' ' * MAX_FACTS_BYTES}", "is not as it was written"),
    "no UTF-8": (ENGINE, 'engine: "\udcff"', "can't decode"),
    "a newer format": ("format: 1", "format: 2", "is of format 2, of which this codedata knows 1"),
    "no format": ("format: 1\n", "", "is of format None"),
}  # fmt: skip


def test_what_no_facts_say_is_refused_at_once_and_in_little_memory() -> None:
    data = dump_facts(FACTS, CARD)
    parse_facts(data)  # imports what reads
    for old, new, said in WRONG.values():
        changed = sealed(data.replace(old.encode(), new.encode("utf-8", "surrogateescape"), 1))
        assert changed != data
        tracemalloc.start()
        started = time.process_time()
        with pytest.raises(ValueError, match=re.escape(said)) as refusal:
            parse_facts(changed)
        assert len(str(refusal.value)) < 300
        assert time.process_time() - started < 5
        assert tracemalloc.get_traced_memory()[1] < 1_000_000 + 60 * len(changed)
        tracemalloc.stop()


def test_names_that_a_newer_codedata_adds_are_passed_over() -> None:
    data = dump_facts(FACTS, CARD)
    newer = data.replace(b"engine:", b'mixture:\n  by: "tokens"\nengine:')
    newer = sealed(newer.replace(b"  probe:", b"  vocabulary: 32022\n  probe:"))
    assert newer.count(b"\n") == data.count(b"\n") + 3
    assert parse_facts(newer) == FACTS


def test_a_recipe_and_what_became_of_documents_are_facts_of_plain_values() -> None:
    recipe = DocumentRecipe.of(
        {
            "documents": {"eos": "<\uff5cend of sentence>"},
            "fim": {"rate": 0.5, "tokens": {"prefix": "<p>", "suffix": "<s>", "middle": "<m>"}},
        }
    )
    counts = DocumentCounts(documents=12, empty=1, tokens=99, tokens_packed=99, psm=3)
    facts = facts_of(
        ORIGIN,
        name="train",
        switches=SWITCHES,
        entries=ENTRIES,
        recipe=recipe.as_dict(),
        documents=counts,
    )
    data = dump_facts(facts, CARD)
    assert parse_facts(data) == facts
    assert facts.documents == counts
    assert b'recipe:\n  documents:\n    eos: "<\xef\xbd\x9cend' in data
    assert b'  fim:\n    rate: "0.5"\n' in data
    assert facts.recipe is not None
    assert DocumentRecipe.of(facts.recipe) == recipe
    with pytest.raises(ValueError, match=r"lacks or misstates documents\.empty"):
        parse_facts(sealed(data.replace(b"  empty: 1", b'  empty: "1"')))


def test_a_corpus_of_more_files_than_facts_can_name_is_refused() -> None:
    def named(num_chars: int) -> Facts:
        known = {"path": "c" * num_chars, "sha256": "c" * 64}
        return replace(FACTS, files=dict.fromkeys(range(10_000), known))

    assert len(dump_facts(named(250), CARD)) < MAX_FACTS_BYTES
    with pytest.raises(CorpusError, match=r"10000 files .* takes \d+ bytes, more than the 4194304"):
        dump_facts(named(400), CARD)


def test_names_take_the_place_of_paths_and_what_is_of_the_hub_stays() -> None:
    shown = without_paths(HERE)
    assert shown.corpus == {"file": "c.parquet", "sha256": "c" * 64}
    assert shown.tokenizer == TokenizerFacts(source="mine", sha256="d" * 64)
    assert shown.switches["tokenizer_base"] == "mine"
    assert shown.command == (
        "CODEDATA_CORPUS='my c.parquet' CODEDATA_TRAIN_TOKENIZER_BASE=t "
        "CODEDATA_TRAIN_SEQ_LENGTH=64 codedata materialize train"
    )
    hub = replace(
        HERE,
        corpus={"repo": "o/d", "path": "data/c/a.parquet", "sha256": "c" * 64},
        tokenizer=TokenizerFacts(source="owner/name@v2", sha256="d" * 64, revision="f" * 40),
        command="python -m codedata.tokenize_data --data_file /a/b/c.parquet "
        "--tokenization_folder ../data/set --tokenizer_base owner/name@v2",
    )
    shown = without_paths(hub)
    assert (shown.corpus, shown.tokenizer) == (hub.corpus, hub.tokenizer)
    assert shown.switches["tokenizer_base"] == "owner/name@v2"
    assert shown.command == (
        "python -m codedata.tokenize_data --data_file c.parquet --tokenization_folder set "
        "--tokenizer_base owner/name@v2"
    )
    assert without_paths(shown) == shown
    here = replace(hub, tokenizer=HERE.tokenizer, command="x --tokenizer_base /home/ada/t")
    assert without_paths(here).command == "x --tokenizer_base t"


def test_of_several_files_each_has_its_name() -> None:
    files = {n: {"path": f"/a/{n}.parquet", "sha256": "c" * 64} for n in (0, 7)}
    for repo, named in (
        ({}, {"file": "7.parquet", "sha256": "c" * 64}),
        ({"repo": "o/d"}, files[7]),
    ):
        shown = without_paths(replace(HERE, corpus=repo, files=files))
        assert (shown.corpus, [*shown.files], shown.files[7]) == (repo, [0, 7], named)


CORPORA: list[tuple[dict[str, Any], str]] = [
    ({"corpus": {"file": "c.parquet", "sha256": "c"}}, "c.parquet"),
    ({"files": {2: {}}, "corpus": {"repo": "o/d", "commit": "f"}}, "o/d, f, file 2"),
    ({"files": {0: {}, 2: {}}, "corpus": {"repo": "o/d"}}, "o/d, 2 files (0, 2)"),
    (
        {"files": {number: {} for number in range(12)}, "corpus": {}},
        "12 files (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ...)",
    ),
]


def test_a_corpus_is_named_in_a_line() -> None:
    for known, shown in CORPORA:
        assert replace(FACTS, **known).shown_corpus == shown
