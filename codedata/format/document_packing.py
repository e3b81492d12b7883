"""Pieces of documents -> samples, and where in them they lie. Pure.

`best_fit`: parts of at most seq_length tokens, the longest first, each into the sample with the
least room that has enough; none is dropped. `concat`: one piece after the other, cut every
seq_length tokens. Samples stand in the order of their earliest part, and so do the parts of each.

Best-fit packing: H. Ding et al., Fewer Truncations Improve Language Modeling, arXiv 2404.10830.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from heapq import heappop, heappush
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.format.documents import (
    CONTROL_TOKENS,
    EMPTY,
    SPAN_COLUMNS,
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
        lows = np.searchsorted(self.spans[:, 0], np.array(starts, np.int32)).tolist()
        for start, low, high in zip(starts, lows, [*lows[1:], None], strict=True):
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
    # Lengths fall, so what once has enough always has: `enough` is a stack, the least room on top;
    # the others wait in a heap, the most room on top.
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
    piece = coming[parts.piece]
    places = np.cumsum(lengths) - lengths  # in the ids, of each piece
    places_of_documents = places[np.searchsorted(pieces[:, 0], pieces[:, 0])]
    firsts = places[piece] + parts.offset
    starts = _before_each(parts.num_tokens, parts.sample)
    spans = np.empty((len(piece), len(SPAN_COLUMNS)), np.int32)
    spans[:, 0] = parts.sample
    spans[:, 1] = starts
    spans[:, 2] = starts + parts.num_tokens
    spans[:, 3] = pieces[piece, 0]
    spans[:, 4] = firsts - places_of_documents[piece]
    spans[:, 5] = np.where(pieces[piece, 2] == Form.TOO_LONG, Form.PLAIN, pieces[piece, 2])
    samples = _filled(documents.ids, firsts, spans, seq_length, pad_token)
    return PackedDocuments(
        samples=samples, spans=spans, counts=_counts(documents, piece, spans, samples)
    )


def _filled(
    ids: IdArray, firsts: Numbers, spans: Spans, seq_length: int, pad_token: int
) -> IdArray:
    """The samples, of the ids from `firsts` on for each span; shape (num_samples, seq_length)."""
    num_samples = int(spans[:, 0].max(initial=-1)) + 1
    dtype = np.promote_types(ids.dtype, id_dtype(pad_token))
    samples = np.full((num_samples, seq_length), pad_token, dtype)
    of_spans = zip(firsts.tolist(), *spans[:, :3].T.tolist(), strict=True)
    for first, sample, start, stop in of_spans:
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


def _counts(
    documents: ChunkDocuments, piece: Numbers, spans: Spans, samples: IdArray
) -> DocumentCounts:
    """What became of the documents.

    Args:
        documents: of the chunk.
        piece: of each span.
        spans: of the samples.
        samples: shape (num_samples, seq_length).
    """
    pieces, num_documents = documents.pieces, documents.table.num_rows
    decisions = documents.table.column("decision").to_pylist()

    def tokens_of(numbers: NDArray[Any], tokens: NDArray[Any]) -> NDArray[Any]:
        return np.bincount(numbers, weights=tokens, minlength=num_documents)

    made = tokens_of(pieces[:, 0], pieces[:, 1])
    packed = tokens_of(spans[:, 3], spans[:, 2] - spans[:, 1])
    # Parts of a document may share a sample.
    in_samples = np.unique(spans[:, 3].astype(np.int64) * len(samples) + spans[:, 0])
    lies_in = np.bincount(in_samples // max(1, len(samples)), minlength=num_documents)
    is_cut = (lies_in > 0) & ((lies_in > 1) | (packed < made))
    forms = np.bincount(pieces[np.unique(piece), 2], minlength=len(Form))
    num_tokens, num_packed = int(made.sum()), int(packed.sum())
    return DocumentCounts(
        documents=num_documents,
        empty=decisions.count(EMPTY),
        with_control_tokens=decisions.count(CONTROL_TOKENS),
        tokens=num_tokens,
        tokens_packed=num_packed,
        tokens_dropped=num_tokens - num_packed,
        cut=int(is_cut.sum()),
        cut_though_short=int((is_cut & (made <= samples.shape[1])).sum()),
        pieces=int(forms.sum()),
        psm=int(forms[Form.PSM]),
        spm=int(forms[Form.SPM]),
        fim_too_long=int(forms[Form.TOO_LONG]),
        padding=samples.size - num_packed,
    )
