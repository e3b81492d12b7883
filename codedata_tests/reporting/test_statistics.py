"""Counts and distances of tiny datasets, worked out by hand, and what always holds of distances."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedata.errors import DatasetError
from codedata.format.ranges import CharRange
from codedata.reporting.statistics import (
    ChunkTokens,
    Counts,
    compare_tokens,
    count_tokens,
    divergence_terms,
    documents_a_sample,
    usual_divergences,
)
from codedata.store.dataset_folder import Dataset, open_dataset
from codedata_tests import scenario

PAD = 0
SHARDS = [[[1, 2, 0, 3], [1, 2, 3, 0]], [[2, 0, 0, 0]], [[3, 3, 3, 3]]]
CHARS = [CharRange(0, 10), CharRange(0, 10), CharRange(10, 20)]


def dataset_of(
    folder: Path, shards: list[list[list[int]]], chars: list[CharRange] | None
) -> Dataset:
    return open_dataset(scenario.write_dataset(folder, shards, chars=chars))


def test_padding_is_counted_apart_and_shards_of_one_chunk_together(tmp_path: Path) -> None:
    tokens = count_tokens(dataset_of(tmp_path / "d", SHARDS, CHARS), 5, PAD)
    # Of the five pad ids one is followed by another token, so it is no padding.
    assert tokens.counts.tolist() == [1, 2, 3, 6, 0]
    assert tokens.chunks == [
        ChunkTokens(chars=CHARS[0], num_tokens=8, num_padding=4),
        ChunkTokens(chars=CHARS[2], num_tokens=4, num_padding=0),
    ]
    assert (tokens.num_tokens, tokens.num_padding) == (12, 4)


def test_the_meta_says_what_is_padding_where_ids_do_not(tmp_path: Path) -> None:
    shards = [[[1, 2, 0, 0]], [[1, 2, 3, 3], [0, 0, 0, 0]]]
    folder = scenario.write_dataset(tmp_path / "d", shards, last_sample_tokens=[3, 4])
    tokens = count_tokens(open_dataset(folder), 5, PAD)
    assert [chunk.num_padding for chunk in tokens.chunks] == [1, 0]
    assert tokens.counts[PAD] == 5


PADDINGS: list[tuple[list[list[int]], int]] = [
    *(([[1, 2, 3, 3]], 0), ([[1, 0, 0, 3]], 0), ([[0, 0, 0, 3]], 0), ([[1, 0, 3, 0]], 1)),
    *(([[1, 0, 0, 0]], 3), ([[0, 0, 0, 0]], 4)),
    ([[1, 2, 3, 0], [1, 2, 0, 0], [1, 0, 0, 0]], 3),  # only the last sample can be padded
]


def test_where_the_meta_does_not_say_padding_is_the_run_of_pad_ids_that_a_shard_ends_with(
    tmp_path: Path,
) -> None:
    for number, (samples, num_padding) in enumerate(PADDINGS):
        tokens = count_tokens(dataset_of(tmp_path / str(number), [samples], None), 5, PAD)
        assert tokens.num_padding == num_padding


def test_ids_above_65535_are_counted_too(tmp_path: Path) -> None:
    tokens = count_tokens(
        dataset_of(tmp_path / "d", [[[70_000, 1], [70_000, 0]]], None), 70_001, PAD
    )
    assert np.flatnonzero(tokens.counts).tolist() == [1, 70_000]
    assert tokens.counts[70_000] == 2


def test_shards_of_unknown_chunks_count_as_a_chunk_each(tmp_path: Path) -> None:
    tokens = count_tokens(dataset_of(tmp_path / "d", SHARDS, None), 5, PAD)
    assert [(chunk.chars, chunk.num_tokens) for chunk in tokens.chunks] == [
        (None, 7),
        (None, 1),
        (None, 4),
    ]


def test_the_same_characters_of_two_files_are_two_chunks(tmp_path: Path) -> None:
    chars = [CharRange(0, 10, 0), CharRange(0, 10, 1), CharRange(0, 10, 1)]
    tokens = count_tokens(dataset_of(tmp_path / "d", SHARDS, chars), 5, PAD)
    assert [chunk.num_tokens for chunk in tokens.chunks] == [7, 5]


def test_an_id_beyond_the_vocabulary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        DatasetError, match="holds the id 3, but its tokenizer has only ids below 3"
    ):
        count_tokens(dataset_of(tmp_path / "d", SHARDS, CHARS), 3, PAD)


def divergence(first: Counts, second: Counts) -> float:
    return compare_tokens(first, second).divergence


BY_HAND = {
    "the same": ([1, 3], [2, 6], 0.0),
    "nothing in common": ([5, 0], [0, 2], 1.0),
    # p = (1/2, 1/2), q = (1, 0), m = (3/4, 1/4):
    # (1/2 log2(2/3) + 1/2 log2 2) / 2 + log2(4/3) / 2
    "half in common": ([4, 4], [3, 0], (np.log2(2 / 3) + 1) / 4 + np.log2(4 / 3) / 2),
}


@pytest.mark.parametrize(("first", "second", "bits"), BY_HAND.values(), ids=BY_HAND)
def test_the_divergence_is_the_one_worked_out_by_hand(
    first: list[int], second: list[int], bits: float
) -> None:
    assert divergence(np.array(first), np.array(second)) == pytest.approx(bits, abs=1e-12)


COUNTS = st.lists(st.integers(0, 1000), min_size=3, max_size=12).filter(any)


@given(COUNTS, COUNTS)
def test_the_divergence_is_symmetric_within_its_bounds_and_a_sum_of_parts(
    first: list[int], second: list[int]
) -> None:
    num_ids = max(len(first), len(second))
    p, q = (np.array(each + [0] * (num_ids - len(each))) for each in (first, second))
    bits = divergence(p, q)
    assert 0 <= bits <= 1
    assert bits == pytest.approx(divergence(q, p), abs=1e-12)
    assert divergence(p, 7 * p) == pytest.approx(0, abs=1e-12)
    terms = divergence_terms(p, q)
    assert (terms >= 0).all()
    assert bits == pytest.approx(terms.sum(), abs=1e-12)


@given(COUNTS, COUNTS, COUNTS)
def test_the_distance_obeys_the_triangle_inequality(
    first: list[int], second: list[int], third: list[int]
) -> None:
    num_ids = max(map(len, (first, second, third)))
    a, b, c = (np.array(each + [0] * (num_ids - len(each))) for each in (first, second, third))

    def distance(x: Counts, y: Counts) -> float:
        return float(np.sqrt(divergence(x, y)))

    assert distance(a, c) <= distance(a, b) + distance(b, c) + 1e-7


def test_tokens_that_the_reference_never_has_are_counted() -> None:
    compared = compare_tokens(np.array([5, 0, 2, 0, 1]), np.array([3, 4, 1, 0, 0]))
    assert (compared.num_unseen, compared.num_tokens) == (4, 8)


def test_pieces_of_a_dataset_are_compared_with_its_rest(tmp_path: Path) -> None:
    """Four samples of ids 1 and 2, then four of 3 and 4, in shards of three, three and two."""
    samples = [[1, 2]] * 4 + [[3, 4]] * 4
    dataset = dataset_of(tmp_path / "d", [samples[:3], samples[3:6], samples[6:]], None)
    counts = count_tokens(dataset, 5, PAD).counts
    halves = divergence(np.array([0, 2, 2, 0, 0]), np.array([0, 2, 2, 4, 4]))
    assert usual_divergences(dataset, counts, 4, PAD) == pytest.approx([halves] * 4)
    assert len(usual_divergences(dataset, counts, 2, PAD)) == 8


def test_a_dataset_of_too_few_pieces_has_no_usual_divergence(tmp_path: Path) -> None:
    dataset = dataset_of(tmp_path / "d", SHARDS, None)
    counts = count_tokens(dataset, 5, PAD).counts
    assert usual_divergences(dataset, counts, 8, PAD) == []


def test_every_sample_of_documents_may_be_padded(tmp_path: Path) -> None:
    """Of the pads of `scenario.write_document_dataset` four end no shard."""
    documents = [(3, 5), (6,), (7,), (5,)]
    folder = scenario.write_document_dataset(tmp_path / "d", [sum(documents, ())], max_dump_size=4)
    dataset = open_dataset(folder)
    tokens = count_tokens(dataset, 600, PAD)
    assert dataset.num_shards == 1
    assert tokens.chunks == [
        ChunkTokens(chars=CharRange(0, 100), num_tokens=26, num_padding=2 + 1 + 3)
    ]
    assert tokens.counts[PAD] == 0
    assert tokens.counts[scenario.DOCUMENT_EOS] == 5


def test_the_padding_of_a_piece_of_documents_is_no_part_of_its_distance(tmp_path: Path) -> None:
    """Eight samples of one document each, half of each padding: all pieces are alike."""
    folder = scenario.write_document_dataset(tmp_path / "d", [(4,)] * 8, seq_length=8)
    dataset = open_dataset(folder)
    counts = count_tokens(dataset, 600, PAD).counts
    assert usual_divergences(dataset, counts, 8, PAD) == [0.0] * 8


def test_parts_of_a_document_in_one_sample_are_one_document(tmp_path: Path) -> None:
    dataset = open_dataset(scenario.write_document_dataset(tmp_path / "d"))
    assert documents_a_sample(dataset).tolist() == [2, 1, 1, 1, 1, 2, 1]
    spans = (np.array([(0, 0, 3, 5, 0, 1), (0, 3, 6, 5, 3, 0), (0, 6, 8, 6, 0, 0)], np.int32),)
    one: Any = SimpleNamespace(entries=dataset.entries[2:3], spans=spans)
    assert documents_a_sample(one).tolist() == [2]
