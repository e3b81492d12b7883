"""The card of a dataset: what it says, and how an edited one is told from a written one."""

import hashlib
from typing import Any

import pytest
import yaml

from codedata.format.card import (
    Origin,
    Probe,
    card_digest,
    card_probe,
    dump_card,
    is_untouched_card,
)
from codedata.format.meta import ShardEntry, dump_meta
from codedata.recipe.settings import Settings

ENTRIES = [
    ShardEntry(num_samples=3, num_tokens=3 * 64, sha256="a" * 64),
    ShardEntry(num_samples=1, num_tokens=64, sha256="b" * 64),
]
DIGEST = hashlib.sha256(dump_meta(ENTRIES)).hexdigest()
SETTINGS = Settings(tokenizer_base="tokenizers/mine", seq_length=64, pad_token=7)
COMMAND = "python -m codedata.tokenize_data --data_file 'my code.parquet' --seq_length 64"


def card(name: str = "train", **changes: Any) -> bytes:
    facts: dict[str, Any] = {
        "corpus": {"repo": "bigcode/the-stack", "path": "data/c/x.parquet", "sha256": "c" * 64},
        "tokenizer": {"source": "tokenizers/mine", "sha256": "d" * 64},
        "engine": "pretokens",
        "versions": {"codedata": "0.1.0", "ids": "1"},
        "command": COMMAND,
    }
    return dump_card(name, Origin(**(facts | changes)), SETTINGS, ENTRIES, DIGEST)


def head(data: bytes) -> dict[str, Any]:
    _, front, _ = data.decode().split("---\n", 2)
    return yaml.safe_load(front)


def test_the_head_is_yaml_and_says_what_the_dataset_was_made_of() -> None:
    front = head(card())
    assert front["license"] == "other"
    assert front["pretty_name"] == "train"
    facts = front["codedata"]
    assert facts["digest"] == DIGEST
    assert facts["corpus"]["repo"] == "bigcode/the-stack"
    assert facts["corpus"]["sha256"] == "c" * 64
    assert facts["tokenizer"] == {"source": "tokenizers/mine", "sha256": "d" * 64}
    assert facts["switches"] == SETTINGS.as_dict()
    assert facts["switches"]["tokenizer_base"] == "tokenizers/mine"
    assert facts["counts"] == {"shards": 2, "samples": 4, "tokens": 256, "seq_length": 64}
    assert facts["versions"] == {"codedata": "0.1.0", "ids": "1"}
    assert facts["engine"] == "pretokens"
    assert facts["command"] == COMMAND


def test_the_body_names_counts_command_and_licence() -> None:
    body = card().decode().split("---\n", 2)[2]
    assert "4 samples of 64 tokens" in body
    assert COMMAND in body
    assert "own licence" in body
    assert "https://huggingface.co/datasets/bigcode/the-stack" in body
    assert "huggingface" not in card(corpus={"path": "a.parquet", "sha256": "e"}).decode()


PROBE = Probe(text_sha256="e" * 64, ids=(32013, 2, 0, 2**31 - 1))


def test_the_probe_stands_under_the_tokenizer_as_one_line_and_is_read_back() -> None:
    data = card(probe=PROBE)
    assert b"\n    probe_ids: [32013, 2, 0, 2147483647]\n" in data
    tokenizer = head(data)["codedata"]["tokenizer"]
    assert (tokenizer["probe_sha256"], tokenizer["probe_ids"]) == ("e" * 64, [*PROBE.ids])
    assert card_probe(data) == PROBE
    assert is_untouched_card(data)
    assert card_probe(card()) is None, "an older one says nothing"


@pytest.mark.parametrize(
    "ids",
    [
        "[]",
        "[1,2]",
        "[-1]",
        "[1.5]",
        "[1e9]",
        "[*a]",
        "[[1]]",
        "[12345678901]",
        "[1, 2",
        "[" + ", ".join(["1"] * 4097) + "]",
        "[1, " * 100_000,
    ],
    ids=lambda ids: ids[:12],
)
def test_ids_of_a_probe_that_codedata_would_not_have_written_are_none(ids: str) -> None:
    data = card(probe=PROBE).replace(b"[32013, 2, 0, 2147483647]", ids.encode())
    assert card_probe(data) is None


def test_the_same_facts_give_the_same_card() -> None:
    assert card() == card()


NAMES = [
    "plain",
    'a "quoted" one',
    "über 数据 🙂",
    "with\nnewline",
    "---",
    "a: b",
    "\x00\x1b[31m",
    "\u2028",
]


@pytest.mark.parametrize("name", NAMES)
def test_whatever_the_folder_is_called_the_card_is_whole(name: str) -> None:
    data = card(name, command=f"python -m codedata.tokenize_data --tokenization_folder {name}")
    assert is_untouched_card(data)
    assert card_digest(data) == DIGEST
    assert head(data)["codedata"]["digest"] == DIGEST
    assert all(character.isprintable() or character == "\n" for character in data.decode())


def test_flipped_bits_and_every_prefix_of_a_card_are_noticed() -> None:
    """Every fifth bit: five and eight share no divisor, so each byte and place has its turn."""
    data = card()
    assert is_untouched_card(data)
    for bit in range(0, len(data) * 8, 5):
        damaged = bytearray(data)
        damaged[bit // 8] ^= 1 << bit % 8
        assert not is_untouched_card(bytes(damaged)), bit
    assert not any(is_untouched_card(data[:stop]) for stop in range(len(data)))


@pytest.mark.parametrize(
    "data", [b"", b"# My own notes\n", b'  card_sha256: "' + b"0" * 64 + b'"', b"\xff\xfe"]
)
def test_what_someone_else_wrote_is_no_card(data: bytes) -> None:
    assert not is_untouched_card(data)
    assert card_digest(data) is None
