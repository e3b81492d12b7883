"""The checks of a dataset: a right one passes them all, and each of them can fail."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.ranges import CharRange
from codedata.recipe.settings import Settings
from codedata.run.checks import (
    KNOWN_COUNTS,
    KNOWN_PATH,
    KNOWN_REPO,
    CheckOutcome,
    check_dataset,
    check_ids,
    check_known_counts,
)
from codedata.sources.record import Corpus
from codedata.store.chunks import LocalChunks, TokenChunk
from codedata.store.dataset_folder import open_dataset
from codedata_tests import scenario

SMAPS = Path("/proc/self/smaps")

PAD = 9
SETTINGS = Settings(seq_length=4, min_sample_length=2, max_dump_size=2, pad_token=PAD)
CHARS = [CharRange(0, 100), CharRange(100, 200), CharRange(200, 250)]
CHUNK_IDS = [[1, 2, 3, 4, 5, 6, 7, 8, 0, 1, 2], [7, 6, 5, 4, 3, 2, 1], [3, 3]]
"""11 tokens give ceil((11 - 2) / 4) = 3 samples, 7 give 2, and 2 are dropped."""

SHARDS = [[[1, 2, 3, 4], [5, 6, 7, 8]], [[0, 1, 2, PAD]], [[7, 6, 5, 4], [3, 2, 1, PAD]]]
SHARD_CHARS = [CHARS[0], CHARS[0], CHARS[1]]


@pytest.fixture
def chunks(tmp_path: Path) -> list[TokenChunk]:
    return [stored(tmp_path / "chunks", *each) for each in zip(CHARS, CHUNK_IDS, strict=True)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return scenario.write_dataset(tmp_path / "d", SHARDS, chars=SHARD_CHARS)


def stored(folder: Path, chars: CharRange, ids: list[int]) -> TokenChunk:
    fingerprint = ChunkFingerprint(corpus_sha256="c", tokenizer_sha256="t", chars=chars)
    stored = np.array(ids, np.uint16)
    return LocalChunks(folder).put(fingerprint, stored, engine="whole", compared_bytes=0)


def mapped_kib(folder: Path) -> int:
    """What of a folder's files is in this process's memory."""
    found, is_inside = 0, False
    for line in SMAPS.read_text().splitlines():
        if "-" in line.split()[0]:
            is_inside = f"{folder}/" in line
        found += int(line.split()[1]) if is_inside and line.startswith("Rss:") else 0
    return found


def outcomes(
    folder: Path, chunks: list[TokenChunk], settings: Settings = SETTINGS, vocab_size: int = 10
) -> dict[str, CheckOutcome]:
    return check_dataset(folder, chunks, settings, vocab_size)[1]


def assert_only_fails(found: dict[str, CheckOutcome], name: str) -> CheckOutcome:
    assert [each for each, outcome in found.items() if not outcome.passed] == [name]
    assert list(found) == ["integrity", "sample_counts", "sequence_lengths", "token_ids"]
    return found[name]


def test_a_right_dataset_passes_all_four_checks(folder: Path, chunks: list[TokenChunk]) -> None:
    found = outcomes(folder, chunks)
    assert all(outcome.passed for outcome in found.values())
    assert {name: outcome.numbers for name, outcome in found.items()} == {
        "integrity": {"shards": 3, "samples": 5, "tokens": 20},
        "sample_counts": {"samples": 5, "expected": 5, "chunks": 3},
        "sequence_lengths": {"shortest": 4, "longest": 4, "seq_length": 4},
        "token_ids": {"smallest id": 0, "largest id": 9, "vocabulary": 10},
    }


def change_meta(folder: Path, *, keep: bool) -> None:
    """Other totals of a shard, its hashes kept or left out."""
    path = folder / "dump-meta_data.json"
    meta = json.loads(path.read_bytes())
    kept = meta["dump-1.pkl"] if keep else {}
    meta["dump-1.pkl"] = kept | {"num_samples": 2, "num_tokens": 8}
    path.write_text(json.dumps(meta, indent=2) + "\n")


DAMAGE: dict[str, tuple[Callable[[Path], None], str]] = {
    "other totals": (
        lambda folder: change_meta(folder, keep=True),
        "entry of dump-1.pkl does not have the sha256",
    ),
    "totals without hashes": (
        lambda folder: change_meta(folder, keep=False),
        "is not as it was written",
    ),
    "a lost shard": (lambda folder: (folder / "dump-2.pkl").unlink(), "lacks dump-2.pkl"),
}


@pytest.mark.skipif(not SMAPS.exists(), reason="only Linux tells what of a file is in memory")
def test_a_dataset_that_was_verified_or_checked_takes_no_memory_until_it_is_read(
    tmp_path: Path,
) -> None:
    ids = np.random.default_rng(0).integers(0, 60_000, (400, 1_024))
    chars = CHARS[:2]
    chunks = [stored(tmp_path / "chunks", each, ids.ravel().tolist()) for each in chars]
    settings = Settings(seq_length=1_024, min_sample_length=2, pad_token=PAD)
    folder = scenario.write_dataset(tmp_path / "d", [ids, ids], chars=chars)
    num_kib = sum(path.stat().st_size for path in folder.glob("*.pkl")) // 1024
    verified = open_dataset(folder, verify=True)
    assert mapped_kib(folder) < num_kib // 8
    checked, found = check_dataset(folder, chunks, settings, 60_000)
    assert all(outcome.passed for outcome in found.values())
    assert mapped_kib(folder) < num_kib // 8
    assert checked is not None
    assert all((shard == ids).all() for shard in (*verified.shards, *checked.shards))
    assert mapped_kib(folder) > num_kib


@pytest.mark.parametrize(("damage", "said"), DAMAGE.values(), ids=DAMAGE)
def test_damage_fails_integrity_and_nothing_else_is_looked_at(
    damage: Callable[[Path], None], said: str, folder: Path, chunks: list[TokenChunk]
) -> None:
    damage(folder)
    dataset, found = check_dataset(folder, chunks, SETTINGS, 10)
    [(name, outcome)] = found.items()
    assert dataset is None
    assert name == "integrity"
    assert not outcome.passed
    assert said in outcome.description
    assert str(folder) in outcome.description


MISCOUNTED: dict[str, tuple[Callable[[list[TokenChunk]], list[TokenChunk]], str, int]] = {
    "other token counts": (
        lambda chunks: [
            chunks[0],
            dataclasses.replace(chunks[1], num_tokens=11),
            dataclasses.replace(chunks[2], num_tokens=3),
        ],
        "0000000100-0000000200 has 2 of 3; 0000000200-0000000250 has 0 of 1",
        7,
    ),
    "shards of no chunk": (lambda chunks: chunks[:1], "2 are of no chunk", 3),
}


@pytest.mark.parametrize(("change", "said", "expected"), MISCOUNTED.values(), ids=MISCOUNTED)
def test_other_counts_than_the_chunks_give_fail_sample_counts(
    change: Callable[[list[TokenChunk]], list[TokenChunk]],
    said: str,
    expected: int,
    folder: Path,
    chunks: list[TokenChunk],
) -> None:
    outcome = assert_only_fails(outcomes(folder, change(chunks)), "sample_counts")
    assert outcome.description == f"samples are missing or too many: {said}"
    assert (outcome.numbers["samples"], outcome.numbers["expected"]) == (5, expected)


def test_samples_that_moved_between_chunks_fail_though_the_sum_is_right(
    tmp_path: Path, chunks: list[TokenChunk]
) -> None:
    moved = scenario.write_dataset(tmp_path / "moved", SHARDS, chars=[CHARS[0], CHARS[1], CHARS[1]])
    outcome = assert_only_fails(outcomes(moved, chunks), "sample_counts")
    assert "0000000000-0000000100 has 2 of 3; 0000000100-0000000200 has 3 of 2" in (
        outcome.description
    )


def test_another_seq_length_fails_sequence_lengths(folder: Path, chunks: list[TokenChunk]) -> None:
    """Of 5: ceil(9 / 5) = 2 and ceil(5 / 5) = 1 samples, so the counts fail too."""
    found = outcomes(folder, chunks, dataclasses.replace(SETTINGS, seq_length=5))
    assert [name for name, outcome in found.items() if not outcome.passed] == [
        "sample_counts",
        "sequence_lengths",
    ]
    assert found["sequence_lengths"].description == "samples have 4 tokens, seq_length is 5"


@pytest.mark.parametrize(("vocab_size", "passed"), [(10, True), (9, False), (1, False)])
def test_an_id_outside_the_vocabulary_fails_token_ids(
    vocab_size: int, passed: bool, folder: Path, chunks: list[TokenChunk]
) -> None:
    found = outcomes(folder, chunks, vocab_size=vocab_size)
    assert found["token_ids"].passed is passed
    assert found["token_ids"].description == f"ids are 0 to 9, the vocabulary has {vocab_size}"
    if not passed:
        assert_only_fails(found, "token_ids")


@pytest.mark.parametrize(
    ("smallest", "largest", "passed"), [(0, 9, True), (0, 10, False), (-1, 9, False)]
)
def test_ids_are_right_from_zero_to_below_the_vocabulary_s_size(
    smallest: int, largest: int, passed: bool
) -> None:
    assert check_ids(smallest, largest, 10).passed is passed


COMMIT = "0123456789abcdef0123456789abcdef01234567"
KNOWN = {"kind": "hub", "repo": KNOWN_REPO, "path": KNOWN_PATH, "commit": COMMIT}
DEFAULTS = Settings()


def known_counts(origin: dict[str, Any], settings: Settings, counts: Sequence[int]) -> CheckOutcome:
    numbers = dict.fromkeys(("num_bytes", "num_rows", "num_chars", "num_row_groups"), 1)
    columns = {"content": "string"}
    corpus = Corpus(
        path="/c", sha256="0", num_null_rows=0, columns=columns, origin=origin, **numbers
    )
    return check_known_counts([corpus], settings, counts)


def test_the_known_file_with_the_published_counts_passes() -> None:
    assert sum(KNOWN_COUNTS) * DEFAULTS.seq_length == 41_917_440
    outcome = known_counts(KNOWN, DEFAULTS, KNOWN_COUNTS)
    assert outcome.passed
    assert outcome.description == (
        f"the published counts, with revision {COMMIT}, tokenizer {DEFAULTS.tokenizer_base}"
    )
    assert outcome.numbers == {"samples": 27_290, "published": 27_290}


@pytest.mark.parametrize(
    "counts", [[2758, *KNOWN_COUNTS[1:]], [*KNOWN_COUNTS[::-1]], KNOWN_COUNTS[:-1]]
)
def test_other_counts_of_the_known_file_fail_and_name_commit_and_tokenizer(
    counts: list[int],
) -> None:
    outcome = known_counts(KNOWN, Settings(tokenizer_base="/a/local/copy"), counts)
    assert not outcome.passed
    assert f"revision {COMMIT}, tokenizer /a/local/copy" in outcome.description
    assert f"{list(counts)} are not the published counts [2759, 2922, " in outcome.description


UNPUBLISHED = {
    "a local corpus": ({"kind": "local"}, DEFAULTS),
    "another repository": ({**KNOWN, "repo": "someone/the-stack"}, DEFAULTS),
    "another file": ({**KNOWN, "path": "data/c/train-00001-of-00257.parquet"}, DEFAULTS),
    "another seq_length": (KNOWN, Settings(seq_length=512)),
    "the window of validation": (
        KNOWN,
        Settings(starting_character=100_000_000, chars_to_tokenize=2_000_000, seq_length=512),
    ),
}


@pytest.mark.parametrize(("origin", "settings"), UNPUBLISHED.values(), ids=UNPUBLISHED)
def test_what_nobody_published_passes_and_is_said(
    origin: dict[str, Any], settings: Settings
) -> None:
    outcome = known_counts(origin, settings, [1, 2])
    assert outcome.passed
    assert outcome.description == "another corpus or other switches: no counts are published"
    assert outcome.numbers == {"samples": 3}
