"""The documents of two windows -> which of the one are in the other too, the same or nearly so.

Exact duplicates are equal to the last byte. Near duplicates share at least `THRESHOLD` of their
shingles (`codedata.reporting.shingles`): the Jaccard index of the two sets, intersection over
union, which Broder calls resemblance (On the resemblance and containment of documents, 1997). It is
computed, not estimated: no pair is missed, and none is invented but by equal 64-bit hashes.

What MinHash would do, finding the pairs worth comparing, prefix filtering does without misses: two
sets of Jaccard index t or more, sorted by one and the same order, share an element within the first
|x| - ceil(t |x|) + 1 of each (Bayardo et al., Scaling Up All Pairs Similarity Search, WWW 2007).
The order is rarest first, so licence headers, which hundreds of documents have, are not looked up.
The smaller window is indexed; the larger one streams by and is never in memory as a whole.

It takes a fifteenth of the time that datasketch's MinHash does (benchmarks/duplicates.py), whose
shingles as strings of Python alone take longer than all of this.
"""

import hashlib
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence, Sized
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil
from typing import Generic, TypeVar

import numpy as np
from numpy.typing import NDArray

from codedata.format.ranges import CharRange
from codedata.parallel import available_cores
from codedata.reporting.shingles import CLASSES, hash_shingles
from codedata.sources.documents import Documents
from codedata.sources.parquet.text import Window

T = TypeVar("T")
R = TypeVar("R", bound=Sized)

THRESHOLD = 0.8
"""Jaccard index of near duplicates, as for Lee et al., Deduplicating Training Data Makes Language
Models Better (ACL 2022), and Allamanis, The Adverse Effects of Code Duplication in Machine Learning
Models of Code (Onward! 2019)."""

_ROUNDING = 1e-9
"""0.8 * 15 is 12.000000000000002, and its ceiling must be 12."""

_LEADING_BITS = 22
"""Of a hash. A table of these bits, 4 MB, rules out most shingles that an index does not have."""

_TRAILING = np.uint64(64 - _LEADING_BITS)

_SHOWN_CHARS = 300
"""Of a document, enough to see what it is."""

Shingles = NDArray[np.uint64]
"""Hashes of a document's shingles, sorted, each once."""


@dataclass(frozen=True, kw_only=True)
class Twin:
    """A document and the document of the reference that is most like it.

    Attributes:
        chars: the document's characters in its text.
        reference_chars: the other's in the text of the reference.
        similarity: Jaccard index of their shingles; 1.0 also where only white space differs.
        exact: whether the two are equal to the last byte.
        beginning: the document's leading characters.
    """

    chars: CharRange
    reference_chars: CharRange
    similarity: float
    exact: bool
    beginning: str


@dataclass(frozen=True, kw_only=True)
class Duplicates:
    """What a window shares with the reference. Documents of white space alone are left out.

    Attributes:
        num_documents: of the window, but those in both.
        num_in_both: documents of which each window has a part: where they adjoin, the one that
            their border cuts. They are no twins.
        twins: one for each document that has any; the exact ones first, then by similarity and in
            the order of the text.
    """

    num_documents: int
    num_in_both: int
    twins: tuple[Twin, ...]

    @property
    def num_exact(self) -> int:
        """Documents that the reference has too."""
        return sum(twin.exact for twin in self.twins)

    @property
    def num_near(self) -> int:
        """Documents that the reference has nearly, but not exactly."""
        return len(self.twins) - self.num_exact


def find_duplicates(reference: Sequence[Window], other: Sequence[Window]) -> Duplicates:
    """Which documents of some windows are, the same or nearly so, in the reference too.

    Args:
        reference: what a model is trained on, say: a window a file.
        other: what is held out from it; of the same texts or of others.
    """
    sizes = [sum(window.chars.num_chars for window in each) for each in (other, reference)]
    other_is_indexed = sizes[0] <= sizes[1]
    indexed, streamed = (other, reference) if other_is_indexed else (reference, other)
    small, *of_small = _scan(indexed, streamed, lambda shingles: shingles)
    index = _Index(small)
    large, *of_large = _scan(streamed, indexed, index.similar)
    twins: dict[CharRange, Twin] = {}
    for passing in large:
        for content, similarity in passing.result:
            for held in index.documents[content]:
                document, original = (held, passing) if other_is_indexed else (passing, held)
                twin = Twin(
                    chars=document.chars,
                    reference_chars=original.chars,
                    similarity=similarity,
                    exact=document.digest == original.digest,
                    beginning=document.beginning,
                )
                best = twins.setdefault(document.chars, twin)
                if (twin.exact, twin.similarity) > (best.exact, best.similarity):
                    twins[document.chars] = twin
    num_documents, num_in_both = of_small if other_is_indexed else of_large
    ordered = sorted(
        twins.values(), key=lambda t: (not t.exact, -t.similarity, t.chars.file, t.chars)
    )
    return Duplicates(num_documents=num_documents, num_in_both=num_in_both, twins=tuple(ordered))


@dataclass(frozen=True, kw_only=True, eq=False)
class _Document(Generic[R]):
    """A document and what was found out about it."""

    chars: CharRange
    digest: bytes
    beginning: str
    result: R


def _scan(
    windows: Sequence[Window], apart_from: Sequence[Window], work: Callable[[Shingles], R]
) -> tuple[list[_Document[R]], int, int]:
    """Do some work on the shingles of each document that the other windows have no part of.

    Returns:
        The documents for which something was found; how many there are; and how many others, of
        which the other windows have a part.
    """
    known: dict[bytes, R] = {}

    def scan(window: Window, documents: Documents) -> list[_Document[R] | None]:
        """Each document but those of white space; None for one of which others have a part."""
        scanned: list[_Document[R] | None] = []
        buffer = np.empty(0, np.uint64)
        texts = documents.utf8(np.arange(len(documents)))
        for start, stop, data in zip(documents.starts, documents.stops, texts, strict=True):
            if len(buffer) < len(data):
                buffer = np.empty(len(data), np.uint64)
            num_shingles = hash_shingles(data, CLASSES, buffer)
            chars = CharRange(int(start), int(stop), documents.file)
            if not num_shingles:
                continue
            if any(other.holds(window.text, chars) for other in apart_from):
                scanned.append(None)
                continue
            digest = hashlib.sha256(data.data).digest()
            if digest not in known:  # copies of one document are looked at once
                known[digest] = work(_distinct(buffer[:num_shingles]))
            beginning = str(data[: 4 * _SHOWN_CHARS].data, "utf-8", "ignore")[:_SHOWN_CHARS]
            scanned.append(
                _Document(chars=chars, digest=digest, beginning=beginning, result=known[digest])
            )
        return scanned

    found: list[_Document[R]] = []
    num_documents = num_in_both = 0
    batches = ((each, some) for each in windows for some in each.text.documents(each.chars))
    for scanned in _in_order(scan, batches):
        documents = [each for each in scanned if each is not None]
        found += [each for each in documents if len(each.result)]
        num_documents += len(documents)
        num_in_both += len(scanned) - len(documents)
    return found, num_documents, num_in_both


def _in_order(
    work: Callable[[Window, Documents], T], batches: Iterable[tuple[Window, Documents]]
) -> Iterator[T]:
    """The results of batch after batch; only a few batches are in memory at once."""
    pending: deque[Future[T]] = deque()
    with ThreadPoolExecutor(available_cores()) as threads:
        for batch in batches:
            pending.append(threads.submit(work, *batch))
            if len(pending) > 2 * available_cores():
                yield pending.popleft().result()
        while pending:
            yield pending.popleft().result()


def _distinct(hashes: Shingles) -> Shingles:
    """Sorted, each once; `np.unique` takes seven times as long, since numpy sorts by SIMD."""
    ordered = np.sort(hashes)
    return ordered[np.append(True, ordered[1:] != ordered[:-1])]


def _least_common(num_shingles: int) -> int:
    """Shingles that a near duplicate shares with a document of so many, at the least."""
    return ceil(THRESHOLD * num_shingles - _ROUNDING)


class _Index:
    """Distinct contents of documents, to be found by similarity.

    Attributes:
        documents: of each content those that have it, in the order of the text.
    """

    def __init__(self, documents: list[_Document[Shingles]]) -> None:
        by_digest: dict[bytes, list[_Document[Shingles]]] = {}
        for document in documents:
            by_digest.setdefault(document.digest, []).append(document)
        self.documents = list(by_digest.values())
        contents = [same[0].result for same in self.documents]
        self._shingles, inverse, frequency = np.unique(
            np.concatenate([np.empty(0, np.uint64), *contents]),
            return_inverse=True,
            return_counts=True,
        )
        self._leading = np.zeros(1 << _LEADING_BITS, bool)
        self._leading[self._shingles >> _TRAILING] = True
        self._rarity = np.empty(len(frequency), np.int64)
        self._rarity[np.argsort(frequency, kind="stable")] = np.arange(len(frequency))
        ends = np.cumsum([len(content) for content in contents])
        self._contents = [np.sort(self._rarity[own]) for own in np.split(inverse, ends[:-1])]
        prefixes = [own[: len(own) - _least_common(len(own)) + 1] for own in self._contents]
        owners = np.repeat(np.arange(len(prefixes)), [len(prefix) for prefix in prefixes])
        places = np.concatenate([np.empty(0, np.int64), *prefixes])
        order = np.argsort(places, kind="stable")
        self._owners = owners[order]
        self._first = np.searchsorted(places[order], np.arange(len(frequency) + 1))

    def similar(self, shingles: Shingles) -> list[tuple[int, float]]:
        """The contents whose Jaccard index with these shingles reaches the threshold, with it."""
        if not len(self._shingles):
            return []
        likely = shingles[self._leading[shingles >> _TRAILING]]
        places = np.minimum(np.searchsorted(self._shingles, likely), len(self._shingles) - 1)
        own = np.sort(self._rarity[places[self._shingles[places] == likely]])
        least = _least_common(len(shingles))
        # Those that the index does not have are the rarest of all, and lead the prefix.
        prefix = own[: max(0, len(own) - least + 1)]
        candidates = [self._owners[self._first[at] : self._first[at + 1]] for at in prefix]
        found: list[tuple[int, float]] = []
        for content in np.unique(np.concatenate(candidates)) if candidates else ():
            held = self._contents[content]
            num_common = len(np.intersect1d(own, held, assume_unique=True))
            similarity = num_common / (len(shingles) + len(held) - num_common)
            if similarity >= THRESHOLD:
                found.append((int(content), similarity))
        return found
