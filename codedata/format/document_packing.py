"""Pieces of documents -> samples, and where in them they lie. Pure.

`best_fit`: parts of at most seq_length tokens, the longest first, each into the sample with the
least room that has enough; none is dropped. `concat`: one piece after the other, cut every
seq_length tokens. Samples stand in the order of their earliest part, and so do the parts of each.

Best-fit packing: H. Ding et al., Fewer Truncations Improve Language Modeling, arXiv 2404.10830.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.format.documents import (
    CONTROL_TOKENS,
    EMPTY,
    ChunkDocuments,
    DocumentCounts,
    Form,
    Pieces,
    Spans,
)
from codedata.format.packing import IdArray, count_samples, id_dtype

Numbers = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class PackedDocuments:
    """The samples of a chunk.

    Attributes:
        samples: shape (num_samples, seq_length).
        spans: shape (num_spans, 6), the sample its row in `samples`.
        counts: what became of the documents.
    """

    samples: IdArray
    spans: Spans
    counts: DocumentCounts

    def shards(self, max_dump_size: int) -> Iterator[tuple[IdArray, Spans]]:
        """The samples `max_dump_size` at a time, each with its spans, numbered from 0."""
        starts = range(0, len(self.samples), max_dump_size)
        borders = np.array([*starts, len(self.samples)], np.int32)
        lows = np.searchsorted(self.spans[:, 0], borders).tolist()
        for start, (low, high) in zip(starts, pairwise(lows), strict=True):
            spans = self.spans[low:high].copy()
            spans[:, 0] -= start
            yield self.samples[start : start + max_dump_size], spans


@dataclass(frozen=True, kw_only=True, eq=False)
class _Parts:
    """Parts of pieces, one sample after the other; each array of shape (num_parts,).

    Attributes:
        piece: which each is a part of.
        offset: tokens of the piece before it.
        num_tokens: of it.
        sample: that holds it.
    """

    piece: Numbers
    offset: Numbers
    num_tokens: Numbers
    sample: Numbers


def best_fit(lengths: NDArray[np.integer[Any]], seq_length: int) -> Numbers:
    """The sample of each part, numbered as they are begun, in O(n log n).

    Of parts that are equally long the first comes first, and of samples with equal room the one
    that has had it the longest.

    Args:
        lengths: of the parts, shape (num_parts,), 1 to seq_length.
        seq_length: tokens a sample.
    """
    order = np.argsort(-lengths, kind="stable")
    num_parts = len(order)
    chosen: list[int] = []  # the sample of each part, in that order
    # A sample with room is -(room * num_parts + place), place that of the part that left the room.
    # Lengths fall, so a sample with enough room for one part has it for all after it, and what
    # comes to have enough has less room than all that had it before: `enough` is a stack, the least
    # room on top. The others wait in a heap, the most room on top.
    enough: list[int] = []
    waiting: list[int] = []
    num_samples = 0
    for place, length in enumerate(lengths[order].tolist()):
        while waiting and waiting[0] <= -length * num_parts:
            enough.append(heappop(waiting))
        if enough:
            room, left_by = divmod(-enough.pop(), num_parts)
            chosen.append(chosen[left_by])
        else:
            room = seq_length
            chosen.append(num_samples)
            num_samples += 1
        room -= length
        if room:
            sample_with_room = -(room * num_parts + place)
            if room >= length:
                enough.append(sample_with_room)
            else:
                heappush(waiting, sample_with_room)
    samples = np.empty(num_parts, np.int64)
    samples[order] = chosen
    return samples


def count_best_fit(pieces: Pieces, seq_length: int) -> int:
    """How many samples best fit makes of the pieces of a chunk, in whatever order they come."""
    _, _, num_tokens = _cut(pieces[:, 1].astype(np.int64), seq_length)
    return int(best_fit(num_tokens, seq_length).max(initial=-1)) + 1


def pack_documents(
    documents: ChunkDocuments,
    *,
    packing: str,
    order: Numbers | None,
    seq_length: int,
    min_sample_length: int,
    pad_token: int,
) -> PackedDocuments:
    """Pack the pieces of a chunk.

    Args:
        documents: of the chunk.
        packing: best_fit or concat.
        order: in which its documents come, shape (num_documents,); None is that of the corpus.
        seq_length: tokens a sample.
        min_sample_length: for concat: a rest of this many tokens or fewer is dropped.
        pad_token: fills up samples.
    """
    pieces = documents.pieces
    lengths = pieces[:, 1].astype(np.int64)
    assert lengths.min(initial=1) > 0, "each piece has a token"
    coming = np.arange(len(pieces))
    if order is not None:
        coming = np.argsort(np.argsort(order)[pieces[:, 0]], kind="stable")
    if packing == "concat":
        parts = _concatenated(lengths[coming], seq_length, min_sample_length)
    else:
        parts = _best_fitted(lengths[coming], seq_length)
    spans = _spans_of(pieces, coming[parts.piece], parts)
    samples = _filled(documents, spans, seq_length, pad_token)
    counts = count_documents(documents, spans, num_samples=len(samples), seq_length=seq_length)
    return PackedDocuments(samples=samples, spans=spans, counts=counts)


def places_in_ids(pieces: Pieces, spans: Spans) -> Numbers:
    """Where in the ids of a chunk's pieces the first token of each span stands."""
    places = np.cumsum(pieces[:, 1], dtype=np.int64) - pieces[:, 1]
    return places[np.searchsorted(pieces[:, 0], spans[:, 3])] + spans[:, 4]


def count_documents(
    documents: ChunkDocuments, spans: Spans, *, num_samples: int, seq_length: int
) -> DocumentCounts:
    """What became of the documents of a chunk.

    Args:
        documents: of the chunk.
        spans: in all its samples, which are numbered within the chunk.
        num_samples: of the chunk.
        seq_length: tokens a sample.
    """
    pieces, num_documents = documents.pieces, documents.table.num_rows
    decisions = documents.table.column("decision").to_pylist()

    def tokens_of(numbers: NDArray[Any], tokens: NDArray[Any]) -> NDArray[Any]:
        return np.bincount(numbers, weights=tokens, minlength=num_documents)

    lengths = spans[:, 2] - spans[:, 1]
    made, packed = tokens_of(pieces[:, 0], pieces[:, 1]), tokens_of(spans[:, 3], lengths)
    # Spans of a document may share a sample.
    in_samples = np.unique(spans[:, 3].astype(np.int64) * num_samples + spans[:, 0])
    lies_in = np.bincount(in_samples // max(1, num_samples), minlength=num_documents)
    is_cut = (lies_in > 0) & ((lies_in > 1) | (packed < made))
    forms = np.bincount(pieces[_held(pieces, spans), 2], minlength=len(Form))
    num_tokens, num_packed = int(made.sum()), int(packed.sum())
    return DocumentCounts(
        documents=num_documents,
        empty=decisions.count(EMPTY),
        with_control_tokens=decisions.count(CONTROL_TOKENS),
        tokens=num_tokens,
        tokens_packed=num_packed,
        tokens_dropped=num_tokens - num_packed,
        cut=int(is_cut.sum()),
        cut_though_short=int((is_cut & (made <= seq_length)).sum()),
        pieces=int(forms.sum()),
        psm=int(forms[Form.PSM]),
        spm=int(forms[Form.SPM]),
        fim_too_long=int(forms[Form.TOO_LONG]),
        fim_left_plain=int(forms[Form.LEFT_PLAIN]),
        padding=num_samples * seq_length - num_packed,
    )


def _held(pieces: Pieces, spans: Spans) -> NDArray[np.bool_]:
    """Which pieces samples hold at least a part of, shape (num_pieces,)."""
    places = np.cumsum(pieces[:, 1], dtype=np.int64) - pieces[:, 1]
    firsts = places_in_ids(pieces, spans)
    lasts = firsts + spans[:, 2] - spans[:, 1] - 1
    begin = np.searchsorted(places, firsts, "right") - 1
    end = np.searchsorted(places, lasts, "right")
    size = len(pieces) + 1
    held = np.cumsum(np.bincount(begin, minlength=size) - np.bincount(end, minlength=size)) > 0
    return held[:-1]


def _spans_of(pieces: Pieces, piece: Numbers, parts: _Parts) -> Spans:
    """The spans of parts: one each, or of several plain ones that go on in their sample.

    Args:
        pieces: of the chunk.
        piece: which of those each part is of.
        parts: one sample after the other.
    """
    tokens_before = _before_each(pieces[:, 1].astype(np.int64), pieces[:, 0])
    document, form = pieces[piece, 0], pieces[piece, 2] * (pieces[piece, 2] < Form.TOO_LONG)
    first_token = tokens_before[piece] + parts.offset
    start = _before_each(parts.num_tokens, parts.sample)
    columns = (parts.sample, start, start + parts.num_tokens, document, first_token, form)
    spans = np.stack(columns, axis=1).astype(np.int32)
    before, after = spans[:-1], spans[1:]
    goes_on = (before[:, [0, 3, 5]] == after[:, [0, 3, 5]]).all(axis=1)
    goes_on &= after[:, 5] == Form.PLAIN
    goes_on &= np.diff(first_token) == parts.num_tokens[:-1]
    begins, ends = np.ones((2, len(spans)), np.bool_)
    begins[1:], ends[:-1] = ~goes_on, ~goes_on
    merged = spans[begins]
    merged[:, 2] = spans[ends, 2]
    return merged


def _filled(documents: ChunkDocuments, spans: Spans, seq_length: int, pad_token: int) -> IdArray:
    """The samples, shape (num_samples, seq_length)."""
    ids, num_samples = documents.ids, int(spans[:, 0].max(initial=-1)) + 1
    dtype = np.promote_types(id_dtype(pad_token), ids.dtype)
    samples = np.full((num_samples, seq_length), pad_token, dtype)
    firsts = places_in_ids(documents.pieces, spans).tolist()
    for first, sample, start, stop in zip(firsts, *spans[:, :3].T.tolist(), strict=True):
        samples[sample, start:stop] = ids[first : first + stop - start]
    return samples


def _concatenated(lengths: Numbers, seq_length: int, min_sample_length: int) -> _Parts:
    """Pieces one after the other, cut every seq_length tokens; a short rest is left out."""
    num_tokens = int(lengths.sum())
    num_samples = count_samples(
        num_tokens, seq_length=seq_length, min_sample_length=min_sample_length
    )
    num_packed = min(num_tokens, num_samples * seq_length)
    borders = np.cumsum(lengths) - lengths
    starts = np.union1d(borders, np.arange(0, num_packed, seq_length))
    starts = starts[starts < num_packed]
    piece = np.searchsorted(borders, starts, "right") - 1
    return _Parts(
        piece=piece,
        offset=starts - borders[piece],
        num_tokens=np.diff(starts, append=num_packed),
        sample=starts // seq_length,
    )


def _best_fitted(lengths: Numbers, seq_length: int) -> _Parts:
    """Pieces cut every seq_length tokens, by best fit, the samples in the order of their first."""
    piece, offset, num_tokens = _cut(lengths, seq_length)
    _, firsts, numbers = np.unique(
        best_fit(num_tokens, seq_length), return_index=True, return_inverse=True
    )
    samples = np.argsort(np.argsort(firsts))[numbers]
    by_sample = np.argsort(samples, kind="stable")
    return _Parts(
        piece=piece[by_sample],
        offset=offset[by_sample],
        num_tokens=num_tokens[by_sample],
        sample=samples[by_sample],
    )


def _cut(lengths: Numbers, seq_length: int) -> tuple[Numbers, Numbers, Numbers]:
    """Of each part of at most seq_length tokens: its piece, the tokens before it, and its own."""
    piece = np.repeat(np.arange(len(lengths)), -(-lengths // seq_length))
    offset = _before_each(np.full(len(piece), seq_length), piece)
    return piece, offset, np.minimum(seq_length, lengths[piece] - offset)


def _before_each(lengths: Numbers, groups: NDArray[np.integer[Any]]) -> Numbers:
    """The sum of the lengths before each in its group; groups ascend."""
    before = np.cumsum(lengths) - lengths
    return before - before[np.searchsorted(groups, groups)]
