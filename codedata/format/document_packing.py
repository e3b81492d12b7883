"""Pieces of documents -> samples, and where in them they lie. Pure.

`best_fit`: pieces of at most seq_length tokens, the longest first, each into the sample with the
least room that has enough; none is dropped. `concat`: one after the other, cut every seq_length
tokens. Samples stand in the order of the earliest document that they hold.

Best-fit packing: H. Ding et al., Fewer Truncations Improve Language Modeling, arXiv 2404.10830.
"""

from bisect import bisect_left, insort
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codedata.format.documents import ChunkDocuments, DocumentCounts, Form, Pieces, Spans
from codedata.format.packing import IdArray, count_samples, id_dtype


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
        for start in range(0, len(self.samples), max_dump_size):
            stop = min(start + max_dump_size, len(self.samples))
            low, high = np.searchsorted(self.spans[:, 0], [start, stop])
            spans = self.spans[low:high].copy()
            spans[:, 0] -= start
            yield self.samples[start:stop], spans


def best_fit(lengths: NDArray[np.int32], seq_length: int) -> NDArray[np.int32]:
    """The sample of each piece, numbered as they are begun.

    Of pieces that are equally long the first comes first, and of samples with equal room the one
    that has it the longest.

    Args:
        lengths: of the pieces, shape (num_pieces,), 1 to seq_length.
        seq_length: tokens a sample.
    """
    samples = np.empty(len(lengths), np.int32)
    rooms: list[int] = []
    with_room: dict[int, deque[int]] = {}
    num_samples = 0
    for piece in np.argsort(-lengths, kind="stable").tolist():
        length = int(lengths[piece])
        place = bisect_left(rooms, length)
        if place < len(rooms):
            room = rooms[place]
            sample = with_room[room].popleft()
            if not with_room[room]:
                del with_room[room], rooms[place]
        else:
            room, sample = seq_length, num_samples
            num_samples += 1
        samples[piece] = sample
        if left := room - length:
            if left not in with_room:
                with_room[left] = deque()
                insort(rooms, left)
            with_room[left].append(sample)
    return samples


def count_best_fit(pieces: Pieces, seq_length: int) -> int:
    """How many samples best fit makes of the pieces of a chunk."""
    lengths = cut_pieces(pieces, seq_length)[:, 1]
    return int(best_fit(lengths, seq_length).max(initial=-1)) + 1


def cut_pieces(pieces: Pieces, seq_length: int) -> Pieces:
    """The same tokens in pieces of at most seq_length."""
    num_parts = -(-pieces[:, 1] // seq_length)
    parts = np.repeat(pieces, num_parts, axis=0)
    parts[:, 1] = seq_length
    lasts = np.cumsum(num_parts) - 1
    parts[lasts, 1] = pieces[:, 1] - (num_parts - 1) * seq_length
    return parts


def pack_documents(
    documents: ChunkDocuments,
    *,
    packing: str,
    order: NDArray[np.int64] | None,
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
    sources = np.cumsum(lengths) - lengths
    is_first = np.diff(pieces[:, 0], prepend=-1) != 0
    before = sources - np.maximum.accumulate(np.where(is_first, sources, 0))
    if order is not None:
        rank = np.empty(len(order), np.int64)
        rank[order] = np.arange(len(order))
        by_rank = np.argsort(rank[pieces[:, 0]], kind="stable")
        pieces, lengths, sources, before = (
            each[by_rank] for each in (pieces, lengths, sources, before)
        )
    if packing == "concat":
        total = int(lengths.sum())
        num_samples = count_samples(
            total, seq_length=seq_length, min_sample_length=min_sample_length
        )
        packed = min(total, num_samples * seq_length)
        borders = np.cumsum(lengths) - lengths
        places = np.union1d(borders, np.arange(0, packed, seq_length))
        places = places[places < packed]
        which = np.searchsorted(borders, places, "right") - 1
        offsets = places - borders[which]
        sizes = np.diff(places, append=packed)
        samples, starts = np.divmod(places, seq_length)
    else:
        num_parts = -(-lengths // seq_length)
        which = np.repeat(np.arange(len(pieces)), num_parts)
        first_parts = np.cumsum(num_parts) - num_parts
        offsets = (np.arange(len(which)) - first_parts[which]) * seq_length
        sizes = np.minimum(seq_length, lengths[which] - offsets)
        samples = in_order_of_first(best_fit(sizes.astype(np.int32), seq_length))
        by_sample = np.argsort(samples, kind="stable")
        which, offsets, sizes, samples = (
            each[by_sample] for each in (which, offsets, sizes, samples)
        )
        num_samples = int(samples[-1]) + 1 if len(samples) else 0
        starts = np.cumsum(sizes) - sizes
        row_starts = starts[np.searchsorted(samples, np.arange(num_samples))]
        starts = starts - row_starts[samples]
    dtype = np.promote_types(documents.ids.dtype, id_dtype(pad_token))
    packed_ids = np.full((num_samples, seq_length), pad_token, dtype)
    flat = packed_ids.reshape(-1)
    targets = samples * seq_length + starts
    from_ = sources[which] + offsets
    for target, source, size in zip(targets.tolist(), from_.tolist(), sizes.tolist(), strict=True):
        flat[target : target + size] = documents.ids[source : source + size]
    forms = pieces[which, 2]
    spans = np.stack(
        [
            samples,
            starts,
            starts + sizes,
            pieces[which, 0],
            before[which] + offsets,
            np.where(forms == Form.TOO_LONG, Form.PLAIN, forms),
        ],
        axis=1,
    ).astype(np.int32)
    return PackedDocuments(
        samples=packed_ids,
        spans=spans,
        counts=_counts(documents, spans, num_samples * seq_length),
    )


def in_order_of_first(samples: NDArray[np.int32]) -> NDArray[np.int64]:
    """Samples numbered anew, in the order in which they first occur."""
    _, firsts, inverse = np.unique(samples, return_index=True, return_inverse=True)
    rank = np.empty(len(firsts), np.int64)
    rank[np.argsort(firsts, kind="stable")] = np.arange(len(firsts))
    return rank[inverse]


def _counts(documents: ChunkDocuments, spans: Spans, num_cells: int) -> DocumentCounts:
    pieces = documents.pieces
    decisions = documents.table.column("decision").to_pylist()
    packed = int((spans[:, 2] - spans[:, 1]).sum())
    seq_length = num_cells // (int(spans[-1, 0]) + 1) if len(spans) else 1
    num_documents = documents.table.num_rows
    lengths = np.bincount(pieces[:, 0], weights=pieces[:, 1], minlength=num_documents)
    in_samples = np.bincount(spans[:, 3], minlength=num_documents)
    return DocumentCounts(
        documents=num_documents,
        empty=decisions.count("empty"),
        with_control_tokens=decisions.count("control tokens"),
        tokens=int(pieces[:, 1].sum()),
        tokens_packed=packed,
        tokens_dropped=int(pieces[:, 1].sum()) - packed,
        cut=int((in_samples > 1).sum()),
        cut_though_short=int(((in_samples > 1) & (lengths <= seq_length)).sum()),
        pieces=len(spans),
        psm=int((spans[:, 5] == Form.PSM).sum()),
        spm=int((spans[:, 5] == Form.SPM).sum()),
        fim_too_long=int((pieces[:, 2] == Form.TOO_LONG).sum()),
        padding=num_cells - packed,
    )
