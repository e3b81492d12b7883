"""A chunk of documents, and its shards with their sidecars as they lie -> what is found of them.

Every token of every sample is compared with the chunk's own, every row beside a shard with the
chunk's, and some documents are put together again of what training gets. Pure.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.format.document_packing import count_documents
from codedata.format.documents import SPAN_COLUMNS, ChunkDocuments, DocumentCounts, Form, Spans
from codedata.format.packing import IdArray
from codedata.format.ranges import CharRange
from codedata.tokenize.undo_fim import PieceOfDocument

_MOST_UNDONE = 8
"""Documents of a chunk whose text is made of their ids, half of them permuted ones: some
milliseconds."""

_MOST_UNDONE_TOKENS = 1_000_000
"""Of one of them: it is put together in memory."""

GivesBack = Callable[[int, Sequence[PieceOfDocument]], bool]
"""Whether pieces of the document with a number give its text back."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ShardOfDocuments:
    """A shard and its sidecars as they lie.

    Attributes:
        name: of the shard, for messages.
        ids: shape (num_samples, seq_length).
        spans: where documents lie in them.
        table: which documents they are: rows of `DOCUMENT_SCHEMA`.
    """

    name: str
    ids: IdArray
    spans: Spans
    table: Any


@dataclass(frozen=True, kw_only=True)
class FoundDocuments:
    """What was found of a chunk's documents in its shards.

    Attributes:
        chars: of the chunk.
        counts: what became of its documents, by the spans as they lie.
        num_spans: of all shards.
        wrong: the first span or row that is not as it must be, in a sentence; empty where none is.
        num_undone: documents whose text was made of their ids.
        not_given_back: of them those that have another text: their numbers in the chunk.
    """

    chars: CharRange
    counts: DocumentCounts
    num_spans: int = 0
    wrong: str = ""
    num_undone: int = 0
    not_given_back: tuple[int, ...] = ()


class _WrongError(Exception):
    """What is not as it must be."""


def find_documents(
    chars: CharRange,
    documents: ChunkDocuments,
    shards: Iterable[ShardOfDocuments],
    *,
    seq_length: int,
    pad_id: int,
    gives_back: GivesBack,
) -> FoundDocuments:
    """Compare all of a chunk's shards with the chunk; they are looked at one by one.

    Args:
        chars: of the chunk.
        documents: of the chunk, as they are stored.
        shards: its shards, in order.
        seq_length: tokens a sample.
        pad_id: what fills up samples.
        gives_back: judges what was put together of some documents.
    """
    lies, wrong = _Lies(documents), list[str]()
    spans, num_samples = [np.empty((0, len(SPAN_COLUMNS)), np.int32)], 0
    for number, shard in enumerate(shards):
        try:
            lies.compare(shard, pad_id, is_first=not number)
        except _WrongError as error:
            wrong.append(str(error))
        spans.append(shard.spans + np.array([num_samples, *[0] * 5], np.int32))
        num_samples += len(shard.ids)
    wrong += lies.in_all()
    every = np.concatenate(spans)
    if wrong:
        return FoundDocuments(
            chars=chars, counts=DocumentCounts(), num_spans=len(every), wrong=wrong[0]
        )
    counts = count_documents(documents, every, num_samples=num_samples, seq_length=seq_length)
    taken = lies.taken()
    not_given_back = [number for number, pieces in taken if not gives_back(number, pieces)]
    return FoundDocuments(
        chars=chars,
        counts=counts,
        num_spans=len(every),
        num_undone=len(taken),
        not_given_back=tuple(not_given_back),
    )


class _Lies:
    """Where the tokens of a chunk lie, as shard after shard is looked at."""

    def __init__(self, documents: ChunkDocuments) -> None:
        self._ids, self._pieces, self._table = documents.ids, documents.pieces, documents.table
        self._num_documents = int(documents.table.num_rows)
        numbers, lengths = self._pieces[:, 0], self._pieces[:, 1].astype(np.int64)
        self._piece_starts = np.append(0, np.cumsum(lengths))
        of_each = np.bincount(numbers, weights=lengths, minlength=self._num_documents)
        self._starts: NDArray[np.int64] = np.append(0, np.cumsum(of_each)).astype(np.int64)
        self._num_permuted = np.append(0, np.cumsum(np.isin(self._pieces[:, 2], _PERMUTED)))
        self._found: list[NDArray[np.int64]] = [np.empty((0, 2), np.int64)]
        self._nowhere: NDArray[Any] = np.arange(self._num_documents)
        self._named: NDArray[Any] = self._nowhere
        self._taken = {number: self._empty(number) for number in self._some()}

    def compare(self, shard: ShardOfDocuments, pad_id: int, *, is_first: bool) -> None:
        """Look at a shard.

        Raises:
            _WrongError: a token, a span or a row is not as the chunk has it.
        """
        spans = shard.spans.astype(np.int64)
        self._require_tiles(shard, spans, pad_id)
        samples, starts, stops, numbers, firsts, forms = spans.T
        places, sizes = self._starts[numbers] + firsts, stops - starts
        if (wrong := places + sizes > self._starts[numbers + 1]).any():
            raise _wrong(shard, spans, wrong, "goes beyond its document")
        if (wrong := forms != self._forms(places, sizes)).any():
            raise _wrong(shard, spans, wrong, "has another form than the chunk's piece")
        triples = zip(samples.tolist(), starts.tolist(), stops.tolist(), strict=True)
        for at, ((sample, start, stop), place) in enumerate(
            zip(triples, places.tolist(), strict=True)
        ):
            tokens = shard.ids[sample, start:stop]
            if (tokens != self._ids[place : place + stop - start]).any():
                which = np.arange(len(spans)) == at
                raise _wrong(shard, spans, which, "has other tokens than the chunk's piece")
            if (taken := self._taken.get(number := int(numbers[at]))) is not None:
                offset = place - int(self._starts[number])
                taken[offset : offset + stop - start] = tokens
        self._found.append(np.stack([places, sizes], axis=1))
        self._require_rows(shard, numbers, is_first=is_first)

    def in_all(self) -> list[str]:
        """What is wrong of all shards together: tokens in two places, documents that none names."""
        found = np.concatenate(self._found)
        places, sizes = found[np.argsort(found[:, 0], kind="stable")].T
        twice = places[1:][places[1:] < (places + sizes)[:-1]]
        wrong = [f"token {self._said(each)} lies in two places" for each in twice[:1].tolist()]
        if not np.array_equal(self._named, self._nowhere):
            wrong.append("documents that no shard has are not those that stand beside the first")
        return wrong

    def taken(self) -> list[tuple[int, list[PieceOfDocument]]]:
        """Some documents that samples hold whole: numbers and pieces, as they lie there."""
        found = np.concatenate(self._found)
        numbers = np.searchsorted(self._starts, found[:, 0], "right") - 1
        packed = np.bincount(numbers, weights=found[:, 1], minlength=self._num_documents)
        whole = packed == np.diff(self._starts)
        pieces = np.searchsorted(self._pieces[:, 0], np.arange(self._num_documents + 1))
        taken: list[tuple[int, list[PieceOfDocument]]] = []
        for number, ids in self._taken.items():
            if whole[number]:
                some = self._pieces[pieces[number] : pieces[number + 1]]
                parts = np.split(ids, np.cumsum(some[:-1, 1]))
                taken.append((number, [*zip(parts, some[:, 2].tolist(), strict=True)]))
        return taken

    def _require_tiles(
        self, shard: ShardOfDocuments, spans: NDArray[np.int64], pad_id: int
    ) -> None:
        """Refuse spans that do not follow each other, and what is no padding behind them."""
        samples, starts, stops, numbers, firsts, _ = spans.T
        is_first = np.diff(samples, prepend=-1) != 0
        expected = np.where(is_first, 0, np.roll(stops, 1))
        wrong = (starts != expected) | (stops <= starts) | (firsts < 0)
        wrong |= stops > shard.ids.shape[1]
        wrong |= (numbers < 0) | (numbers >= self._num_documents)
        if wrong.any():
            raise _wrong(shard, spans, wrong, "does not follow the one before it, or is of nothing")
        if not np.array_equal(samples[is_first], np.arange(len(shard.ids))):
            raise _WrongError(f"{shard.name} has samples without a span, or spans of no sample")
        ends = stops[np.append(np.flatnonzero(is_first)[1:], len(spans)) - 1]
        for sample in np.flatnonzero(ends < shard.ids.shape[1]).tolist():
            if (shard.ids[sample, ends[sample] :] != pad_id).any():
                raise _WrongError(
                    f"sample {sample} of {shard.name} has tokens that no span covers, from "
                    f"{ends[sample]} on"
                )

    def _require_rows(
        self, shard: ShardOfDocuments, numbers: NDArray[np.int64], *, is_first: bool
    ) -> None:
        """Refuse a table that has not the rows of the shard's documents."""
        own, rows = np.unique(numbers), shard.table.column("document").to_pylist()
        self._nowhere = np.setdiff1d(self._nowhere, own)
        if is_first:
            self._named = np.setdiff1d(rows, own)
        elif rows != own.tolist():
            raise _WrongError(f"the table of {shard.name} is not of the documents in its spans")
        if not {*own.tolist()} <= {*rows} <= {*range(self._num_documents)}:
            raise _WrongError(f"the table of {shard.name} lacks documents, or has those of others")
        if not shard.table.equals(self._table.take(rows)):
            raise _WrongError(f"the table of {shard.name} says else of documents than the chunk")

    def _forms(self, places: NDArray[np.int64], sizes: NDArray[np.int64]) -> NDArray[np.int64]:
        """The form that spans must have; -1 of one that holds more than a permuted piece."""
        first = np.searchsorted(self._piece_starts, places, "right") - 1
        last = np.searchsorted(self._piece_starts, places + sizes, "left") - 1
        num_permuted = self._num_permuted[last + 1] - self._num_permuted[first]
        forms = np.where(num_permuted > 0, self._pieces[first, 2], Form.PLAIN)
        return np.where((num_permuted > 0) & (first != last), -1, forms)

    def _some(self) -> list[int]:
        """Numbers of documents from all over the chunk, half of them permuted, if so many are."""
        permuted = np.unique(self._pieces[np.isin(self._pieces[:, 2], _PERMUTED), 0])
        plain = np.setdiff1d(self._pieces[:, 0], permuted)
        short = np.flatnonzero(np.diff(self._starts) <= _MOST_UNDONE_TOKENS)
        some = [
            _spread(np.intersect1d(each, short), _MOST_UNDONE // 2) for each in (permuted, plain)
        ]
        return sorted(int(number) for each in some for number in each)

    def _empty(self, number: int) -> IdArray:
        size = int(self._starts[number + 1] - self._starts[number])
        return np.zeros_like(self._ids, shape=size)

    def _said(self, place: int) -> str:
        number = int(np.searchsorted(self._starts, place, "right")) - 1
        return f"{place - self._starts[number]} of document {number}"


_PERMUTED = (Form.PSM, Form.SPM)


def _spread(numbers: NDArray[Any], most: int) -> NDArray[Any]:
    """So many of some numbers, from all over them."""
    return numbers[np.linspace(0, len(numbers) - 1, min(most, len(numbers)), dtype=np.int64)]


def _wrong(
    shard: ShardOfDocuments, spans: NDArray[np.int64], wrong: NDArray[np.bool_], what: str
) -> _WrongError:
    sample, start, stop, number, first, _ = spans[int(np.argmax(wrong))].tolist()
    return _WrongError(
        f"the span of tokens {start} to {stop} in sample {sample} of {shard.name}, token {first} "
        f"of document {number}, {what}"
    )
