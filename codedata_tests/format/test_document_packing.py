"""Packing the documents of a chunk: samples worked out by hand, then against plain loops."""

import tracemalloc
from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from codedata.format.document_packing import (
    PackedDocuments,
    best_fit,
    count_best_fit,
    count_documents,
    pack_documents,
    places_in_ids,
)
from codedata.format.documents import (
    CONTROL_TOKENS,
    EMPTY,
    KEPT,
    ChunkDocuments,
    DocumentCounts,
    Form,
)
from codedata.format.order import permutation

PAD = 0
PLAIN, PSM, SPM, TOO_LONG, LEFT_PLAIN = Form

Piece = tuple[int, Form]
"""Its tokens and its form."""


def documents_of(*documents: int | list[Piece] | str) -> ChunkDocuments:
    """Of a number a plain document of so many tokens, of text one that was left out for that.

    Token t of document d is 1000 * (d + 1) + t.
    """
    rows: list[tuple[int, int, int]] = []
    ids: list[int] = []
    for number, each in enumerate(documents):
        pieces = [] if isinstance(each, str) else [(each, PLAIN)] if isinstance(each, int) else each
        rows += [(number, *piece) for piece in pieces]
        ids += [1000 * (number + 1) + token for token in range(sum(n for n, _ in pieces))]
    return ChunkDocuments(
        ids=np.array(ids, np.uint16),
        pieces=np.array(rows, np.int32).reshape(-1, 3),
        table=pa.table({"decision": [d if isinstance(d, str) else KEPT for d in documents]}),
    )


def pack(
    documents: ChunkDocuments,
    packing: str = "best_fit",
    *,
    seq_length: int = 8,
    min_sample_length: int = 0,
    order: Sequence[int] | None = None,
    pad_token: int = PAD,
) -> PackedDocuments:
    packed = pack_documents(
        documents,
        packing=packing,
        order=None if order is None else np.array(order),
        seq_length=seq_length,
        min_sample_length=min_sample_length,
        pad_token=pad_token,
    )
    assert packed.samples.shape == (len(packed.samples), seq_length)
    assert packed.spans.dtype == np.int32
    assert packed.spans.shape == (len(packed.spans), 6)
    return packed


# By hand


def test_best_fit_puts_the_longest_first_each_where_the_least_is_left() -> None:
    packed = pack(documents_of(3, 20, 5, 8, 1, 2))
    assert packed.spans.tolist() == [
        [0, 0, 3, 0, 0, PLAIN],
        [0, 3, 8, 2, 0, PLAIN],
        [1, 0, 8, 1, 0, PLAIN],
        [2, 0, 8, 1, 8, PLAIN],
        [3, 0, 4, 1, 16, PLAIN],
        [3, 4, 5, 4, 0, PLAIN],
        [3, 5, 7, 5, 0, PLAIN],
        [4, 0, 8, 3, 0, PLAIN],
    ]
    assert packed.samples.tolist() == [
        [1000, 1001, 1002, 3000, 3001, 3002, 3003, 3004],
        [*range(2000, 2008)],
        [*range(2008, 2016)],
        [2016, 2017, 2018, 2019, 5000, 6000, 6001, PAD],
        [*range(4000, 4008)],
    ]
    assert packed.counts == DocumentCounts(
        documents=6, tokens=39, tokens_packed=39, cut=1, pieces=6, padding=1
    )


def test_concat_cuts_documents_where_a_sample_ends() -> None:
    packed = pack(documents_of(3, 11, 4), "concat")
    assert packed.spans.tolist() == [
        [0, 0, 3, 0, 0, PLAIN],
        [0, 3, 8, 1, 0, PLAIN],
        [1, 0, 6, 1, 5, PLAIN],
        [1, 6, 8, 2, 0, PLAIN],
        [2, 0, 2, 2, 2, PLAIN],
    ]
    assert packed.samples.tolist() == [
        [1000, 1001, 1002, *range(2000, 2005)],
        [*range(2005, 2011), 3000, 3001],
        [3002, 3003, *[PAD] * 6],
    ]
    assert packed.counts == DocumentCounts(
        documents=3, tokens=18, tokens_packed=18, cut=2, cut_though_short=1, pieces=3, padding=6
    )


def test_concat_counts_what_it_drops_and_whose_rest_that_was() -> None:
    documents = documents_of(3, 11, 4, 1, CONTROL_TOKENS)
    packed = pack(documents, "concat", min_sample_length=3)
    assert packed.spans.tolist() == pack(documents_of(3, 11, 2), "concat").spans.tolist()
    assert packed.counts == DocumentCounts(
        documents=5,
        with_control_tokens=1,
        tokens=19,
        tokens_packed=16,
        tokens_dropped=3,
        cut=2,
        cut_though_short=1,
        pieces=3,
    ), "the document of one token is in no sample, and not cut"


def test_concat_drops_full_samples_where_min_sample_length_is_above_seq_length() -> None:
    for num_tokens, num_samples in ((1000, 0), (1001, 1), (1512, 1), (1513, 2), (2025, 3)):
        documents = documents_of(600, num_tokens - 600)
        packed = pack(documents, "concat", seq_length=512, min_sample_length=1000)
        assert len(packed.samples) == num_samples
        assert packed.samples.reshape(-1).tolist() == documents.ids[: num_samples * 512].tolist()
        assert packed.counts.tokens_dropped == num_tokens - num_samples * 512


@pytest.mark.parametrize("packing", ["best_fit", "concat"])
def test_a_chunk_without_a_piece_gives_no_sample(packing: str) -> None:
    for documents, empty, with_control_tokens in (
        (documents_of(), 0, 0),
        (documents_of(EMPTY, CONTROL_TOKENS, EMPTY), 2, 1),
    ):
        packed = pack(documents, packing)
        assert (len(packed.samples), len(packed.spans)) == (0, 0)
        assert [*packed.shards(3)] == []
        assert packed.counts == DocumentCounts(
            documents=empty + with_control_tokens,
            empty=empty,
            with_control_tokens=with_control_tokens,
        )
        assert count_best_fit(documents.pieces, 8) == 0


def test_documents_of_about_a_sample() -> None:
    for num_tokens, sizes in ((7, [7]), (8, [8]), (9, [8, 1]), (16, [8, 8]), (17, [8, 8, 1])):
        for packing in ("best_fit", "concat"):
            packed = pack(documents_of(num_tokens), packing)
            assert (packed.spans[:, 2] - packed.spans[:, 1]).tolist() == sizes
            assert packed.counts.padding == len(sizes) * 8 - num_tokens
            assert packed.counts.cut == (num_tokens > 8)
            assert packed.counts.cut_though_short == 0


def test_of_equal_rooms_the_one_that_has_had_it_the_longest_is_taken() -> None:
    # 6 and 6 leave 2 each, 5 leaves 3: 3 goes there; the 2s follow each other, then a new sample.
    assert best_fit(np.array([2, 6, 5, 2, 6, 2, 3]), 8).tolist() == [0, 0, 2, 1, 1, 3, 2]
    # 4 + 2 leaves 2 in sample 0 later than 6 did in sample 1 ... which comes first by length.
    assert best_fit(np.array([4, 6, 2, 2, 2]), 8).tolist() == [1, 0, 0, 1, 1]


def test_a_shuffled_order_decides_who_is_first_and_nothing_of_a_document() -> None:
    order = [2, 0, 1]
    packed = pack(documents_of(3, 9, 5), order=order)
    assert packed.spans.tolist() == [
        [0, 0, 5, 2, 0, PLAIN],
        [0, 5, 8, 0, 0, PLAIN],
        [1, 0, 8, 1, 0, PLAIN],
        [2, 0, 1, 1, 8, PLAIN],
    ]
    assert packed.samples[:2].tolist() == [
        [*range(3000, 3005), 1000, 1001, 1002],
        [*range(2000, 2008)],
    ]
    packed = pack(documents_of(3, 9, 5), "concat", order=order)
    assert packed.samples.reshape(-1)[:17].tolist() == [
        *(*range(3000, 3005), *range(1000, 1003), *range(2000, 2009)),
    ]


def test_pieces_that_ask_for_their_middle_are_counted_by_form_and_are_spans_of_their_own() -> None:
    documents = documents_of([(8, PSM), (7, SPM), (2, LEFT_PLAIN)], [(3, TOO_LONG)], 2)
    packed = pack(documents)
    assert packed.spans.tolist() == [
        [0, 0, 8, 0, 0, PSM],
        [1, 0, 7, 0, 8, SPM],
        [2, 0, 2, 0, 15, PLAIN],
        [2, 2, 5, 1, 0, PLAIN],
        [2, 5, 7, 2, 0, PLAIN],
    ]
    assert packed.counts == DocumentCounts(
        documents=3,
        tokens=22,
        tokens_packed=22,
        cut=1,
        pieces=5,
        psm=1,
        spm=1,
        fim_too_long=1,
        fim_left_plain=1,
        padding=2,
    )


def test_plain_pieces_that_go_on_in_their_sample_are_one_span() -> None:
    documents = documents_of([(5, PLAIN), (6, TOO_LONG), (3, PSM), (1, PSM), (4, PLAIN)], 2)
    packed = pack(documents, "concat")
    assert packed.spans.tolist() == [
        [0, 0, 8, 0, 0, PLAIN],
        [1, 0, 3, 0, 8, PLAIN],
        [1, 3, 6, 0, 11, PSM],
        [1, 6, 7, 0, 14, PSM],
        [1, 7, 8, 0, 15, PLAIN],
        [2, 0, 3, 0, 16, PLAIN],
        [2, 3, 5, 1, 0, PLAIN],
    ]
    assert packed.samples.reshape(-1)[:21].tolist() == [*range(1000, 1019), 2000, 2001]
    counts = packed.counts
    assert (counts.pieces, counts.psm, counts.fim_too_long) == (6, 2, 1)


def test_a_pad_token_wider_than_the_ids_keeps_its_value() -> None:
    packed = pack(documents_of(3), pad_token=70_000)
    assert packed.samples.tolist() == [[1000, 1001, 1002, *[70_000] * 5]]
    assert pack(documents_of(3), pad_token=65_535).samples.dtype == np.uint16


@pytest.mark.parametrize("max_dump_size", [1, 2, 3, 5, 6, 2**62])
def test_shards_take_max_dump_size_samples_with_their_spans(max_dump_size: int) -> None:
    packed = pack(documents_of(3, 20, 5, 8, 1, 2))
    shards = [*packed.shards(max_dump_size)]
    assert [len(samples) for samples, _ in shards] == [
        min(max_dump_size, 5 - start) for start in range(0, 5, max_dump_size)
    ]
    assert np.concatenate([samples for samples, _ in shards]).tolist() == packed.samples.tolist()
    assert all(np.shares_memory(samples, packed.samples) for samples, _ in shards)
    again = [
        [row[0] + number * max_dump_size, *row[1:]]
        for number, (_, spans) in enumerate(shards)
        for row in spans.tolist()
    ]
    assert again == packed.spans.tolist()


# As large as it may be


def test_places_beyond_2_31_tokens_are_right() -> None:
    longest = 2**31 - 1
    pieces = np.array([[0, longest, 0], [1, longest, 0], [1, 5, 1], [2, 7, 0]], np.int32)
    spans = np.array([[0, 0, 1, 1, longest - 1, 0], [0, 1, 2, 2, 6, 0]], np.int32)
    assert places_in_ids(pieces, spans).tolist() == [2 * longest - 1, 2 * longest + 5 + 6]
    num_tokens = 2 * longest + 12
    documents = ChunkDocuments(
        ids=np.broadcast_to(np.uint16(7), (num_tokens,)),
        pieces=pieces,
        table=pa.table({"decision": [KEPT] * 3}),
    )
    packed = pack(documents, "concat", order=[2, 1, 0], min_sample_length=num_tokens - 9)
    assert packed.spans.tolist() == [
        [0, 0, 7, 2, 0, 0],
        [0, 7, 8, 1, 0, 0],
        [1, 0, 8, 1, 1, 0],
    ]
    assert packed.counts.tokens_dropped == num_tokens - 16
    assert count_best_fit(pieces, 2**24) == 2 * 128 + 1


def test_beside_the_samples_packing_takes_little_memory() -> None:
    lengths = np.full(50, 40_000, np.int32)
    pieces = np.stack([np.arange(50), lengths, np.zeros(50)], axis=1).astype(np.int32)
    ids = np.zeros(int(lengths.sum()), np.uint16)
    documents = ChunkDocuments(
        ids=ids, pieces=pieces, table=pa.table({"decision": [KEPT] * len(pieces)})
    )
    for packing in ("best_fit", "concat"):
        tracemalloc.start()
        packed = pack(documents, packing, seq_length=2048, order=[*range(49, -1, -1)])
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 1.2 * packed.samples.nbytes


# Against plain loops


def plain_best_fit(lengths: list[int], seq_length: int) -> list[int]:
    """The rule as the format states it: look at all samples, each time."""
    rooms: list[tuple[int, int]] = []  # of each sample, and since when
    chosen = [0] * len(lengths)
    for time, part in enumerate(sorted(range(len(lengths)), key=lambda part: -lengths[part])):
        able = [(room, sample) for sample, room in enumerate(rooms) if room[0] >= lengths[part]]
        if not able:
            able = [((seq_length, time), len(rooms))]
            rooms.append(able[0][0])
        (room, _), sample = min(able)
        rooms[sample] = (room - lengths[part], time)
        chosen[part] = sample
    return chosen


@given(data=st.data(), seq_length=st.sampled_from([1, 2, 5, 16, 100, 2**24]))
def test_best_fit_is_that_of_a_plain_loop(data: st.DataObject, seq_length: int) -> None:
    some = st.integers(1, min(seq_length, 40)) | st.integers(1, seq_length)
    lengths = data.draw(st.lists(some, max_size=60))
    samples = best_fit(np.array(lengths, np.int32), seq_length).tolist()
    assert samples == plain_best_fit(lengths, seq_length)


PIECES = st.one_of(
    st.integers(1, 40),
    st.lists(st.tuples(st.integers(1, 9), st.sampled_from(Form)), min_size=1, max_size=4),
    st.sampled_from([EMPTY, CONTROL_TOKENS]),
)


@given(
    documents=st.lists(PIECES, max_size=20),
    packing=st.sampled_from(["best_fit", "concat"]),
    seq_length=st.integers(1, 20),
    min_sample_length=st.integers(0, 30),
    seed=st.none() | st.integers(0, 9),
)
@example(documents=[20, 20], packing="concat", seq_length=8, min_sample_length=30, seed=None)
@example(documents=[[(3, PLAIN), (2, PLAIN)]], packing="best_fit", seq_length=8,
         min_sample_length=0, seed=None)  # fmt: skip
def test_spans_hold_every_token_once_and_in_order(
    documents: list[int | list[Piece] | str],
    packing: str,
    seq_length: int,
    min_sample_length: int,
    seed: int | None,
) -> None:
    chunk = documents_of(*documents)
    order = [*range(len(documents))]
    if seed is not None:
        order = permutation(len(documents), seed, 3, 1000).tolist()
    packed = pack(
        chunk, packing, seq_length=seq_length, min_sample_length=min_sample_length, order=order
    )
    counts, spans = packed.counts, packed.spans.tolist()
    whole = {number: chunk.ids[chunk.ids // 1000 == number + 1].tolist() for number in order}
    lengths = {number: len(tokens) for number, tokens in whole.items()}

    # Spans tile their samples from 0 on; behind them is padding.
    by_sample = [[s for s in spans if s[0] == number] for number in range(len(packed.samples))]
    for rows, sample in zip(by_sample, packed.samples.tolist(), strict=True):
        assert [0, *(row[2] for row in rows)][:-1] == [row[1] for row in rows]
        assert all(row[1] < row[2] <= seq_length for row in rows)
        assert set(sample[rows[-1][2] :]) <= {PAD}
        for _, start, stop, document, first, _ in rows:
            assert sample[start:stop] == whole[document][first : first + stop - start]
    assert [row[0] for row in spans] == sorted(row[0] for row in spans)

    # Every token once, or at the end of concat not at all.
    held = sorted(int(t) for row in packed.samples for t in row if t != PAD)
    in_order = [token for number in order for token in whole[number]]
    assert held == sorted(in_order[: counts.tokens_packed])
    assert counts.tokens_packed + counts.padding == packed.samples.size
    assert counts.tokens == counts.tokens_packed + counts.tokens_dropped == len(in_order)
    if packing == "best_fit":
        assert counts.tokens_dropped == 0
        assert len(packed.samples) == count_best_fit(chunk.pieces, seq_length)
        one_piece = {n for n, each in enumerate(documents) if isinstance(each, int)}
        for number in one_piece:
            wanted = -(-lengths[number] // seq_length)
            assert sum(row[3] == number for row in spans) == wanted, "cut no more than it must be"
    else:
        flat = packed.samples.reshape(-1)[: counts.tokens_packed].tolist()
        assert flat == in_order[: counts.tokens_packed]
        assert counts.tokens_dropped <= min_sample_length

    # Rows by their earliest part, parts of a row likewise.
    rank = {number: place for place, number in enumerate(order)}
    places = [(rank[row[3]], row[4]) for row in spans]
    firsts = [places[spans.index(rows[0])] for rows in by_sample]
    assert firsts == sorted(firsts)
    for rows in by_sample:
        of_row = [(rank[row[3]], row[4]) for row in rows]
        assert of_row == sorted(of_row)

    # No two spans of a sample are one plain piece cut apart.
    for before, after in pairwise(spans):
        same = [before[0], before[3], before[5]] == [after[0], after[3], after[5]]
        joins = before[4] + before[2] - before[1] == after[4]
        assert not (same and joins and after[5] == PLAIN)

    # Counts
    lies_in = {number: {row[0] for row in spans if row[3] == number} for number in order}
    kept = {n: sum(r[2] - r[1] for r in spans if r[3] == n) for n in order}
    cut = [n for n in order if len(lies_in[n]) > 1 or 0 < kept[n] < lengths[n]]
    assert counts.cut == len(cut)
    assert counts.cut_though_short == sum(lengths[n] <= seq_length for n in cut)
    assert counts.documents == len(documents)
    assert counts.empty == documents.count(EMPTY)
    assert counts.with_control_tokens == documents.count(CONTROL_TOKENS)
    again = count_documents(
        chunk, packed.spans, num_samples=len(packed.samples), seq_length=seq_length
    )
    assert again == counts
    forms = [
        form
        for number, each in enumerate(documents)
        if not isinstance(each, str)
        for pieces in ([(each, PLAIN)] if isinstance(each, int) else each,)
        for place, (_, form) in enumerate(pieces)
        if any(
            first < sum(n for n, _ in pieces[: place + 1])
            and first + stop - start > sum(n for n, _ in pieces[:place])
            for _, start, stop, document, first, _ in spans
            if document == number
        )
    ]
    assert counts.pieces == len(forms)
    assert counts.psm == forms.count(PSM)
    assert counts.spm == forms.count(SPM)
    assert counts.fim_too_long == forms.count(TOO_LONG)
    assert counts.fim_left_plain == forms.count(LEFT_PLAIN)


@settings(max_examples=25)
@given(
    lengths=st.lists(st.integers(1, 60), max_size=40),
    seq_length=st.integers(1, 50),
    seed=st.integers(0, 99),
)
def test_an_order_changes_no_number_of_samples(
    lengths: list[int], seq_length: int, seed: int
) -> None:
    order = permutation(len(lengths), seed).tolist()
    chunk = documents_of(*lengths)
    for packing in ("best_fit", "concat"):
        sizes = {
            len(pack(chunk, packing, seq_length=seq_length, order=each).samples)
            for each in (None, order)
        }
        assert len(sizes) == 1
