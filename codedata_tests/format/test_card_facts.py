"""A card's facts read again, typed and bounded, and what of them others may see."""

import dataclasses
import time
import tracemalloc
from contextlib import suppress
from typing import Any

import pytest

from codedata.format.card import Origin, dump_card, is_untouched_card, sign_card
from codedata.format.card_facts import read_facts, without_paths
from codedata.recipe.settings import Settings
from codedata_tests.format.test_card import DIGEST, ENTRIES, SETTINGS, card

HERE = Origin(
    corpus={"path": "/home/ada/secret project/c.parquet", "sha256": "c" * 64},
    tokenizer={"source": "/home/ada/tokenizers/mine", "sha256": "d" * 64},
    engine="pretokens",
    versions={"codedata": "0.1.0", "ids": "1"},
    command="CODEDATA_CORPUS='/home/ada/my c.parquet' CODEDATA_TRAIN_TOKENIZER_BASE=/home/ada/t "
    "CODEDATA_TRAIN_SEQ_LENGTH=64 codedata materialize train",
)
"""As an older codedata recorded it."""


def test_the_facts_of_a_card_are_those_that_it_was_made_of() -> None:
    facts = read_facts(card("über"))
    assert facts.name == "über"
    assert facts.digest == DIGEST
    assert facts.settings == SETTINGS
    assert facts.origin.corpus["repo"] == "bigcode/the-stack"
    assert dump_card("über", facts.origin, facts.settings, ENTRIES, DIGEST) == card("über")


def test_the_facts_of_a_corpus_of_several_files_are_read_too() -> None:
    corpus = {"repo": "o/d", "files": {"00003": {"path": "a.parquet", "sha256": "e" * 64}}}
    assert read_facts(card(corpus=corpus)).origin.corpus == corpus


def test_names_take_the_place_of_paths_and_what_is_of_the_hub_stays() -> None:
    shown = without_paths(HERE)
    assert shown.corpus == {"file": "c.parquet", "sha256": "c" * 64}
    assert shown.tokenizer == {"source": "mine", "sha256": "d" * 64}
    assert shown.command == (
        "CODEDATA_CORPUS='my c.parquet' CODEDATA_TRAIN_TOKENIZER_BASE=t "
        "CODEDATA_TRAIN_SEQ_LENGTH=64 codedata materialize train"
    )
    hub = dataclasses.replace(
        HERE,
        corpus={"repo": "o/d", "path": "data/c/a.parquet", "sha256": "c" * 64},
        tokenizer={"source": "owner/name@v2", "sha256": "d" * 64, "revision": "f" * 40},
        command="python -m codedata.tokenize_data --data_file /a/b/c.parquet "
        "--tokenization_folder ../data/set --tokenizer_base owner/name@v2",
    )
    shown = without_paths(hub)
    assert (shown.corpus, shown.tokenizer) == (hub.corpus, hub.tokenizer)
    assert shown.command == (
        "python -m codedata.tokenize_data --data_file c.parquet --tokenization_folder set "
        "--tokenizer_base owner/name@v2"
    )
    assert without_paths(shown) == shown


@pytest.mark.parametrize("repo", [{}, {"repo": "o/d"}], ids=["of this machine", "of the hub"])
def test_of_several_files_each_has_its_name(repo: dict[str, str]) -> None:
    files = {f"{n:05d}": {"path": f"/a/{n}.parquet", "sha256": "c" * 64} for n in (0, 7)}
    corpus = without_paths(dataclasses.replace(HERE, corpus={**repo, "files": files})).corpus
    name = {} if repo else {"file": "7.parquet"}
    assert corpus["files"]["00007"] == ({**name, "sha256": "c" * 64} if name else files["00007"])
    assert [*corpus] == [*repo, "files"]


ALIASES = "\n".join(
    ["  a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    + [f"  a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, 12)]
)
WRONG: dict[str, tuple[str, str]] = {
    "aliases": ("  engine: ", f"{ALIASES}\n  engine: "),
    "a tag": ('  engine: "pretokens"', "  engine: !!python/object:x.y {}"),
    "a date": ('  engine: "pretokens"', "  engine: 2026-01-01"),
    "a number": ('  engine: "pretokens"', "  engine: 7"),
    "a list": ('    sha256: "d', '    revision: ["a"]\n    sha256: "d'),
    "no tokenizer": ("  tokenizer:", "  tokeniser:"),
    "a switch that is none": ("    seq_length: 64\n    max", "    seq_len: 64\n    max"),
    "a name twice": ("  engine: ", '  engine: "a"\n  engine: '),
    "deep": ("  engine: ", "          a: 1\n  engine: "),
    "nested without end": ('  engine: "pretokens"', f"  engine: {'[' * 100_000}"),
    "a digest that is none": (f'"{DIGEST}"', "null"),
}


@pytest.mark.parametrize(("old", "new"), WRONG.values(), ids=WRONG)
def test_what_no_card_says_is_refused_at_once_and_in_little_memory(old: str, new: str) -> None:
    data = sign_card(card().replace(old.encode(), new.encode(), 1))
    assert data != card()
    assert is_untouched_card(data)
    tracemalloc.start()
    started = time.monotonic()
    with pytest.raises(ValueError, match=r"lacks or misstates|has no head"):
        read_facts(data)
    assert time.monotonic() - started < 1
    assert tracemalloc.get_traced_memory()[1] < 100_000 + 10 * len(data)
    tracemalloc.stop()


def test_of_every_prefix_and_flipped_bit_of_a_card_nothing_but_a_refusal_comes() -> None:
    data = card()
    damaged: list[Any] = [data[:stop] for stop in range(0, len(data), 7)]
    for bit in range(0, len(data) * 8, 11):
        flipped = bytearray(data)
        flipped[bit // 8] ^= 1 << bit % 8
        damaged.append(bytes(flipped))
    for each in damaged:
        with suppress(ValueError):
            read_facts(each)
    assert len(damaged) > 1000


def test_a_card_names_the_tokenizer_by_the_name_that_others_may_know() -> None:
    data = dump_card(
        "train", without_paths(HERE), Settings(tokenizer_base="/home/ada/t"), ENTRIES, DIGEST
    )
    assert b"/home" not in data
    assert read_facts(data).settings.tokenizer_base == "mine"
