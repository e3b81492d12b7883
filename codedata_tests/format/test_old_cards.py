"""A card as codedata wrote it before codedata.yaml, byte for byte, is read as it was then."""

import hashlib
from pathlib import Path

import pytest

from codedata.format.facts import Counts, Facts, Probe, TokenizerFacts
from codedata.format.old_cards import old_card_digest, parse_old_card
from codedata.format.without_paths import without_paths
from codedata_tests.format.test_facts import DIGEST

OLD_CARD = Path(__file__).with_name("old_card.md").read_bytes()
"""Of a still older one, which recorded paths."""

OLD_DIGEST = DIGEST


def old_card(*changes: tuple[str, str]) -> bytes:
    """That card with other words in it, as whole as if codedata had written them."""
    text = OLD_CARD.decode()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new, 1)
    before, rest = text.split('card_sha256: "', 1)
    blank = f'{before}card_sha256: "{"0" * 64}{rest[64:]}'.encode()
    return blank.replace(b"0" * 64, hashlib.sha256(blank).hexdigest().encode(), 1)


def test_the_facts_of_an_old_card() -> None:
    assert old_card() == OLD_CARD
    assert old_card_digest(OLD_CARD) == OLD_DIGEST
    assert parse_old_card(OLD_CARD) == Facts(
        name="über",
        digest=OLD_DIGEST,
        corpus={"repo": "owner/data"},
        files={
            0: {"path": "data/a.parquet", "commit": "1" * 40, "sha256": "c" * 64},
            2: {"path": "data/c.parquet", "commit": "2" * 40, "sha256": "e" * 64},
        },
        tokenizer=TokenizerFacts(
            source="/home/ada/tokenizers/mine",
            sha256="d" * 64,
            probe=Probe(text_sha256="f" * 64, ids=(32013, 2, 0, 2147483647)),
        ),
        engine="pretokens",
        versions={"codedata": "0.1.0", "ids": "1", "tokenizers": "0.23.3"},
        command="CODEDATA_CORPUS='/home/ada/my c.parquet' CODEDATA_TRAIN_TOKENIZER_BASE=/home/ada/t"
        " codedata materialize train",
        switches={
            "tokenizer_base": "/home/ada/tokenizers/mine",
            "min_sample_length": 1000,
            "seq_length": 64,
            "max_dump_size": 10000,
            "pad_token": 7,
            "starting_character": 0,
            "chars_to_tokenize": 100000000,
            "chunk_size": 10000000,
        },
        counts=Counts(shards=2, samples=4, tokens=256, seq_length=64),
    )
    assert "/home" not in str(without_paths(parse_old_card(OLD_CARD)))


def test_a_still_older_card_has_no_probe() -> None:
    lines = [line for line in OLD_CARD.decode().splitlines() if line.startswith("    probe_")]
    assert len(lines) == 2
    older = parse_old_card(old_card(*((f"{line}\n", "") for line in lines)))
    assert older.tokenizer.probe is None


def test_flipped_bits_and_prefixes_of_an_old_card_are_noticed() -> None:
    for bit in range(0, len(OLD_CARD) * 8, 11):
        damaged = bytearray(OLD_CARD)
        damaged[bit // 8] ^= 1 << bit % 8
        assert old_card_digest(bytes(damaged)) is None, bit
    assert not any(old_card_digest(OLD_CARD[:stop]) for stop in range(0, len(OLD_CARD), 3))


WRONG = [
    (("codedata:\n", "codedata: 1\n"), "has no head of facts"),
    (("pretty_name", "ugly_name"), "has no head of facts"),
    (('engine: "pretokens"', "engine: *a"), "misstates the line 'engine: "),
    (("  tokenizer:", "  tokeniser:"), "misstates 'tokenizer'"),
    (('corpus:\n    repo: "owner/data"\n    files:', 'corpus: "a"\n  files:\n    x:'), "misstates"),
    (("00002:", "two:"), "invalid literal"),
    (('engine: "pretokens"', "engine: 7"), "engine: Input should be"),
    (('sha256: "d', 'sha256: "/'), "is no sha256"),
]


def test_what_no_card_says_is_refused() -> None:
    for change, said in WRONG:
        with pytest.raises(ValueError, match=said):
            parse_old_card(old_card(change))
