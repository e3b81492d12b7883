"""Shards -> counts of tokens; counts of two datasets -> how much they differ.

Pure numpy. Padding is counted apart and is no part of any share or distance. Where it begins is
stated by the meta, or of a dataset with documents by their spans; of a dataset of the old script,
which does not state it, the run of pad tokens that a shard ends with counts as padding.
"""

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.documents import text_tokens
from codedata.format.ranges import CharRange
from codedata.parallel import available_cores, map_in_order
from codedata.store.dataset_folder import Dataset
from codedata.store.files import release_pages

Counts = NDArray[np.int64]
"""How often each id occurs, shape (num_ids,)."""

MOST_PIECES, FEWEST_PIECES = 8, 4
"""Pieces of the larger dataset whose distance from its rest says what distance is usual."""


@dataclass(frozen=True, kw_only=True)
class ChunkTokens:
    """What the samples of one chunk hold.

    Attributes:
        chars: the chunk's characters; None in a dataset of the old script, where each shard counts
            as a chunk.
        num_tokens: of its samples, without padding.
        num_padding: pad tokens that fill them up.
    """

    chars: CharRange | None
    num_tokens: int
    num_padding: int


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenCounts:
    """What a dataset holds.

    Attributes:
        counts: of each id, without padding, shape (num_ids,).
        chunks: in the order of the shards.
    """

    counts: Counts
    chunks: Sequence[ChunkTokens]

    @property
    def num_padding(self) -> int:
        """Pad tokens that fill up samples."""
        return sum(chunk.num_padding for chunk in self.chunks)

    @property
    def num_tokens(self) -> int:
        """All tokens, without padding."""
        return sum(chunk.num_tokens for chunk in self.chunks)


def count_tokens(dataset: Dataset, num_ids: int, pad_token: int) -> TokenCounts:
    """Count a dataset's tokens, the shards side by side.

    Args:
        dataset: opened.
        num_ids: one more than the largest id that it may hold.
        pad_token: what fills up samples.

    Raises:
        DatasetError: it holds a larger id.
    """

    def count(index: int) -> tuple[Counts, int]:
        ids, num_padding = dataset.shards[index], int(_padding(dataset, index, pad_token).sum())
        counts = np.bincount(ids.reshape(-1), minlength=num_ids)
        if len(counts) > num_ids:
            raise DatasetError(
                f"{dataset.folder} holds the id {len(counts) - 1}, but its tokenizer has only ids "
                f"below {num_ids}; make the dataset again"
            )
        counts[pad_token] -= num_padding
        release_pages(ids)
        return counts, num_padding

    counts = np.zeros(num_ids, np.int64)
    paddings: list[int] = []
    with ThreadPoolExecutor(available_cores()) as threads:
        for shard_counts, num_padding in map_in_order(threads, count, range(dataset.num_shards)):
            counts += shard_counts
            paddings.append(num_padding)
    entries = dataset.entries
    chunks: list[ChunkTokens] = []
    for of_chunk in dataset.chunks():
        num_padding = sum(paddings[i] for i in of_chunk)
        num_tokens = sum(entries[i].num_tokens for i in of_chunk) - num_padding
        chars = entries[of_chunk[0]].chars
        chunks.append(ChunkTokens(chars=chars, num_tokens=num_tokens, num_padding=num_padding))
    return TokenCounts(counts=counts, chunks=chunks)


def documents_a_sample(dataset: Dataset) -> NDArray[np.int64]:
    """Of how many documents each sample of a dataset with documents has a part, (num_samples,)."""
    counts: list[NDArray[np.int64]] = []
    for entry, spans in zip(dataset.entries, dataset.spans, strict=True):
        # Those of a document in one sample follow each other.
        is_new = np.append(True, (spans[1:, [0, 3]] != spans[:-1, [0, 3]]).any(axis=1))
        counts.append(np.bincount(spans[is_new, 0], minlength=entry.num_samples))
    return np.concatenate(counts)


def _padding(dataset: Dataset, index: int, pad_token: int) -> NDArray[np.int64]:
    """How many pad tokens fill up each sample of a shard, shape (num_samples,)."""
    entry, ids = dataset.entries[index], dataset.shards[index]
    text = np.full(entry.num_samples, entry.seq_length)
    if dataset.spans:
        text[:] = text_tokens(dataset.spans[index], entry.num_samples)
    elif entry.last_sample_tokens is not None:
        text[-1] = entry.last_sample_tokens
    else:
        text[-1] = np.max(np.flatnonzero(ids[-1] != pad_token), initial=-1) + 1
    return entry.seq_length - text


def divergence_terms(first: Counts, second: Counts) -> NDArray[np.float64]:
    """What each id contributes to the Jensen-Shannon divergence of two distributions.

    With p and q the shares of an id and m = (p + q) / 2, the terms are
    (p log2(p/m) + q log2(q/m)) / 2: none is negative, and their sum is 0 where the distributions
    are equal and 1 bit where they share no id. Its square root is a metric.

    J. Lin, Divergence measures based on the Shannon entropy, IEEE Transactions on Information
    Theory 37 (1991); D. M. Endres and J. E. Schindelin, A new metric for probability
    distributions, ibid. 49 (2003).

    Args:
        first: counts, shape (num_ids,), not all zero.
        second: likewise.

    Returns:
        Bits, shape (num_ids,).
    """
    p, q = first / first.sum(), second / second.sum()
    middle = (p + q) / 2
    terms = np.zeros(len(p))
    for share in (p, q):
        there = share > 0
        terms[there] += share[there] * np.log2(share[there] / middle[there]) / 2
    return np.maximum(terms, 0)  # rounding may leave -1e-20


@dataclass(frozen=True, kw_only=True, eq=False)
class TokenComparison:
    """How the tokens of a dataset compare with those of another, the reference.

    Attributes:
        num_tokens: of the other, without padding.
        num_unseen: those of them whose id the reference never uses.
        terms: what each id contributes to the divergence, shape (num_ids,).
        usual: the divergence of pieces of the reference, as large as the other, from the rest of
            the reference: what the choice of the text alone brings about. Empty where the
            reference is too small to have such pieces.
    """

    num_tokens: int
    num_unseen: int
    terms: NDArray[np.float64]
    usual: Sequence[float] = ()

    @property
    def divergence(self) -> float:
        """Jensen-Shannon divergence, bits."""
        return min(1.0, float(self.terms.sum()))


def compare_tokens(
    reference: Counts, other: Counts, usual: Sequence[float] = ()
) -> TokenComparison:
    """Compare counts, shape (num_ids,) each, of ids of one tokenizer.

    Args:
        reference: counts of what a model is trained on, say.
        other: counts of what is held out from it.
        usual: of `usual_divergences`.
    """
    return TokenComparison(
        num_tokens=int(other.sum()),
        num_unseen=int(other[reference == 0].sum()),
        terms=divergence_terms(reference, other),
        usual=usual,
    )


def usual_divergences(
    dataset: Dataset, counts: Counts, num_tokens: int, pad_token: int
) -> list[float]:
    """How far pieces of a dataset are from the rest of it.

    A small dataset differs from a large one of the same kind by chance, and because neighbouring
    text belongs together. Pieces as large as the small one, which share nothing and are evenly
    spread over the large one, show how much.

    Args:
        dataset: the large one.
        counts: of its tokens, padding left out, shape (num_ids,).
        num_tokens: of the small one.
        pad_token: of the large one.

    Returns:
        The divergence of each of up to `MOST_PIECES` pieces, bits; none where the dataset has
        fewer than `FEWEST_PIECES`.
    """
    num_samples = -(-num_tokens // dataset.seq_length)
    num_pieces = min(MOST_PIECES, dataset.num_samples // num_samples)
    if num_pieces < FEWEST_PIECES:
        return []
    found: list[float] = []
    for start in np.linspace(0, dataset.num_samples - num_samples, num_pieces).astype(int):
        piece = np.zeros(len(counts), np.int64)
        from_, to = int(start), int(start) + num_samples  # rows of the shard that is at hand
        for index, entry in enumerate(dataset.entries):
            rows = slice(max(0, from_), max(0, to))
            if rows.start < min(rows.stop, entry.num_samples):
                ids = dataset.shards[index][rows]
                piece += np.bincount(ids.reshape(-1), minlength=len(counts))
                piece[pad_token] -= _padding(dataset, index, pad_token)[rows].sum()
            from_, to = from_ - entry.num_samples, to - entry.num_samples
        found.append(compare_tokens(counts - piece, piece).divergence)
    return found
