"""A chunk of documents, and its shards with their sidecars as they lie -> what is wrong with them.

Each check goes another way than packing went: every token of every sample is compared with the
chunk's own, what samples hold and what is left out is counted by the switches, and of some
documents the text is made of the ids that training gets. What travels from a worker are counts and
sentences.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.format.document_packing import count_documents
from codedata.format.documents import SPAN_COLUMNS, ChunkDocuments, DocumentCounts, Form, Spans
from codedata.format.meta import shard_name
from codedata.format.packing import IdArray
from codedata.format.ranges import CharRange, Utf8
from codedata.parallel import available_cores
from codedata.printable import first_ten
from codedata.recipe.documents import Packing
from codedata.recipe.settings import Settings
from codedata.run.checks import CheckOutcome
from codedata.run.plan import ChunkTask, engine_for
from codedata.sources.documents import choose
from codedata.store.chunks import TokenChunk
from codedata.store.dataset_folder import Dataset
from codedata.store.files import release_pages
from codedata.tokenize import undo_fim
from codedata.tokenize.fim import PieceOfDocument
from codedata.tokenize.tokenizer import load_tokenizer

_MOST_UNDONE = 8
"""Documents of a chunk whose text is made of their ids, half of them permuted ones: some
milliseconds."""

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
        wrong: the first span or row that is not as it must be, in a sentence; empty where none is.
        num_undone: documents whose text was made of their ids.
        not_given_back: of them those that have another text: their numbers in the chunk.
    """

    chars: CharRange
    counts: DocumentCounts
    wrong: str = ""
    num_undone: int = 0
    not_given_back: tuple[int, ...] = ()


class _WrongError(Exception):
    """What is not as it must be."""


def check_chunk(
    task: ChunkTask, chunk: TokenChunk, shards: Iterable[ShardOfDocuments], settings: Settings
) -> FoundDocuments:
    """Compare all of a chunk's shards with the chunk; they are looked at one by one.

    Args:
        task: which made the chunk.
        chunk: as it is stored.
        shards: its shards, in order.
        settings: the switches.

    Raises:
        ChunkMismatchError: the chunk is damaged.
    """
    documents, recipe, files = chunk.read_documents(), task.recipe, task.tokenizer_files()
    assert recipe is not None
    loaded, engine = load_tokenizer(files), engine_for(files, task.engine_choice)

    @cache
    def own_texts() -> Sequence[Utf8]:
        return choose(task.text.documents(chunk.chars, to_end=True), chunk.chars).texts

    def gives_back(number: int, pieces: Sequence[PieceOfDocument]) -> bool:
        own_sha256 = documents.table.column("sha256")[number].as_py()
        own_text = lambda: own_texts()[number]  # noqa: E731 - asked for where bytes differ
        return undo_fim.gives_back(loaded, engine, recipe, pieces, own_sha256, own_text)

    return find_documents(chunk.chars, documents, shards, settings, gives_back)


def find_documents(
    chars: CharRange,
    documents: ChunkDocuments,
    shards: Iterable[ShardOfDocuments],
    settings: Settings,
    gives_back: GivesBack,
) -> FoundDocuments:
    """See `check_chunk`.

    Args:
        chars: of the chunk.
        documents: of the chunk, as they are stored.
        shards: its shards, in order.
        settings: the switches.
        gives_back: judges what was put together of some documents.
    """
    lies, wrong = _Lies(documents), list[str]()
    spans, num_samples = [np.empty((0, len(SPAN_COLUMNS)), np.int32)], 0
    for number, shard in enumerate(shards):
        try:
            lies.compare(shard, settings, is_first=not number)
        except _WrongError as error:
            wrong.append(str(error))
        spans.append(shard.spans + np.array([num_samples, *[0] * 5], np.int32))
        num_samples += len(shard.ids)
    wrong += lies.in_two_places()
    if wrong:
        return FoundDocuments(chars=chars, counts=DocumentCounts(), wrong=wrong[0])
    counts = count_documents(
        documents,
        np.concatenate(spans),
        num_samples=num_samples,
        seq_length=settings.seq_length,
    )
    taken = lies.taken()
    not_given_back = [number for number, pieces in taken if not gives_back(number, pieces)]
    return FoundDocuments(
        chars=chars,
        counts=counts,
        num_undone=len(taken),
        not_given_back=tuple(not_given_back),
    )


class _Lies:
    """Where the tokens of a chunk lie, as shard after shard is looked at."""

    def __init__(self, documents: ChunkDocuments) -> None:
        self._ids, self._pieces, self._table = documents.ids, documents.pieces, documents.table
        self._num_documents = documents.table.num_rows
        numbers, lengths = self._pieces[:, 0], self._pieces[:, 1].astype(np.int64)
        self._piece_starts = np.append(0, np.cumsum(lengths))
        of_each = np.bincount(numbers, weights=lengths, minlength=self._num_documents)
        self._starts = np.append(0, np.cumsum(of_each)).astype(np.int64)
        self._num_permuted = np.append(0, np.cumsum(np.isin(self._pieces[:, 2], _PERMUTED)))
        self._found: list[NDArray[np.int64]] = [np.empty((0, 2), np.int64)]
        self._taken = {number: self._empty(number) for number in self._some()}

    def compare(self, shard: ShardOfDocuments, settings: Settings, *, is_first: bool) -> None:
        """Look at a shard.

        Raises:
            _WrongError: a token, a span or a row is not as the chunk has it.
        """
        spans = shard.spans.astype(np.int64)
        self._require_tiles(shard, spans, settings)
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
            if not np.array_equal(tokens, self._ids[place : place + stop - start]):
                which = np.arange(len(spans)) == at
                raise _wrong(shard, spans, which, "has other tokens than the chunk's piece")
            if (taken := self._taken.get(number := int(numbers[at]))) is not None:
                offset = place - int(self._starts[number])
                taken[offset : offset + stop - start] = tokens
        self._found.append(np.stack([places, sizes], axis=1))
        self._require_rows(shard, numbers, is_first=is_first)

    def in_two_places(self) -> list[str]:
        """What is wrong where a token lies in two places; nothing where none does."""
        found = np.concatenate(self._found)
        places, sizes = found[np.argsort(found[:, 0], kind="stable")].T
        twice = places[1:][places[1:] < (places + sizes)[:-1]]
        return [f"token {self._said(twice[0])} lies in two places"] if len(twice) else []

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
        self, shard: ShardOfDocuments, spans: NDArray[np.int64], settings: Settings
    ) -> None:
        """Refuse spans that do not follow each other, and what is no padding behind them."""
        samples, starts, stops, numbers, firsts, _ = spans.T
        is_first = np.diff(samples, prepend=-1) != 0
        expected = np.where(is_first, 0, np.roll(stops, 1))
        wrong = (starts != expected) | (stops <= starts) | (firsts < 0)
        wrong |= (numbers < 0) | (numbers >= self._num_documents)
        if wrong.any():
            raise _wrong(shard, spans, wrong, "does not follow the one before it, or is of nothing")
        if not np.array_equal(samples[is_first], np.arange(len(shard.ids))):
            raise _WrongError(f"{shard.name} has samples without a span, or spans of no sample")
        ends = stops[np.append(np.flatnonzero(is_first)[1:], len(spans)) - 1]
        for sample in np.flatnonzero(ends < shard.ids.shape[1]).tolist():
            if (shard.ids[sample, ends[sample] :] != settings.pad_id).any():
                raise _WrongError(
                    f"sample {sample} of {shard.name} has tokens that no span covers, from "
                    f"{ends[sample]} on"
                )

    def _require_rows(
        self, shard: ShardOfDocuments, numbers: NDArray[np.int64], *, is_first: bool
    ) -> None:
        """Refuse a table that has not the rows of the shard's documents."""
        own = np.unique(numbers)
        if not np.isin(own, shard.table.column("document").to_numpy()).all():
            raise _WrongError(f"{shard.name} has documents that its table does not name")
        rows = shard.table.column("document").to_numpy()
        if not is_first and len(rows) != len(own):
            raise _WrongError(f"the table of {shard.name} names documents that it has no span of")
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
        some = [_spread(each, _MOST_UNDONE // 2) for each in (permuted, plain)]
        return sorted(int(number) for each in some for number in each)

    def _empty(self, number: int) -> IdArray:
        return np.zeros(self._starts[number + 1] - self._starts[number], self._ids.dtype)

    def _said(self, place: int) -> str:
        number = int(np.searchsorted(self._starts, place, "right")) - 1
        return f"{place - self._starts[number]} of document {number}"


_PERMUTED = (Form.PSM, Form.SPM)


def _spread(numbers: NDArray[Any], most: int) -> NDArray[Any]:
    """So many of some numbers, from all over them."""
    places = np.linspace(0, len(numbers) - 1, min(most, len(numbers))).astype(np.int64)
    return numbers[places]


def _wrong(
    shard: ShardOfDocuments, spans: NDArray[np.int64], wrong: NDArray[np.bool_], what: str
) -> _WrongError:
    sample, start, stop, number, first, _ = spans[int(np.argmax(wrong))].tolist()
    return _WrongError(
        f"the span of tokens {start} to {stop} in sample {sample} of {shard.name}, token {first} "
        f"of document {number}, {what}"
    )


def check_documents_of(
    dataset: Dataset,
    tasks: Sequence[ChunkTask],
    chunks: Sequence[TokenChunk],
    settings: Settings,
    packing: Packing,
) -> dict[str, CheckOutcome]:
    """Check the documents of a dataset folder whose every byte and hash was read and is right.

    Args:
        dataset: of the folder.
        tasks: which made the chunks.
        chunks: that the shards were packed from, in the same order.
        settings: the switches.
        packing: of the recipe.
    """
    of_chunk: dict[CharRange | None, list[int]] = {}
    for index, entry in enumerate(dataset.entries):
        of_chunk.setdefault(entry.chars, []).append(index)

    def shards(indices: Sequence[int]) -> Iterator[ShardOfDocuments]:
        for index in indices:
            yield ShardOfDocuments(
                name=shard_name(index),
                ids=dataset.shards[index],
                spans=dataset.spans[index],
                table=dataset.documents(index),
            )
            release_pages(dataset.shards[index])

    def find(task: ChunkTask, chunk: TokenChunk) -> FoundDocuments:
        return check_chunk(task, chunk, shards(of_chunk.get(chunk.chars, ())), settings)

    with ThreadPoolExecutor(available_cores()) as threads:
        found = [*threads.map(find, tasks, chunks)]
    facts = dataset.facts
    return check_documents(found, chunks, facts and facts.documents, settings, packing)


def check_documents(
    found: Sequence[FoundDocuments],
    chunks: Sequence[TokenChunk],
    reported: DocumentCounts | None,
    settings: Settings,
    packing: Packing,
) -> dict[str, CheckOutcome]:
    """Judge what was found of the documents of all chunks.

    Args:
        found: of each chunk.
        chunks: that the shards were packed from, in the same order.
        reported: what the facts say became of the documents.
        settings: the switches.
        packing: of the recipe.
    """
    return {
        "document_tokens": _document_tokens(found, chunks, reported, settings, packing),
        "spans": _spans(found),
        "fim_undone": _fim_undone(found),
    }


def _num_left_out(chunk: TokenChunk, settings: Settings, packing: Packing) -> int:
    """Tokens of a chunk's documents that no sample holds: of `concat` a rest that is too short."""
    if packing == "best_fit":
        return 0
    num_samples = settings.count_samples(chunk.num_tokens)
    return max(0, chunk.num_tokens - num_samples * settings.seq_length)


def _document_tokens(
    found: Sequence[FoundDocuments],
    chunks: Sequence[TokenChunk],
    reported: DocumentCounts | None,
    settings: Settings,
    packing: Packing,
) -> CheckOutcome:
    wrong: list[str] = []
    left_out = 0
    for each, chunk in zip(found, chunks, strict=True):
        rest = _num_left_out(chunk, settings, packing)
        left_out += rest
        if each.chars != chunk.chars or each.counts.tokens_packed + rest != chunk.num_tokens:
            wrong.append(
                f"of {chunk.num_tokens} tokens of {chunk.chars.key} samples hold "
                f"{each.counts.tokens_packed}, and {rest} may be left out"
            )
    total = sum((each.counts for each in found), DocumentCounts())
    if reported != total:
        wrong.append(f"the facts report {reported}, and there are {total}")
    if total.tokens_dropped != left_out:
        wrong.append(f"{total.tokens_dropped} tokens are counted as dropped, {left_out} may be")
    right = "the tokens of all documents are in samples, or reported as dropped"
    return CheckOutcome(
        passed=not wrong,
        description=f"tokens are lost or invented: {'; '.join(wrong[:3])}" if wrong else right,
        numbers={
            "tokens": total.tokens,
            "packed": total.tokens_packed,
            "dropped": total.tokens_dropped,
            "documents": total.documents,
        },
    )


def _spans(found: Sequence[FoundDocuments]) -> CheckOutcome:
    wrong = [f"{each.chars.key}: {each.wrong}" for each in found if each.wrong]
    right = "spans cover every token but padding once, and it is the documents' own"
    return CheckOutcome(
        passed=not wrong,
        description=f"spans are wrong: {'; '.join(wrong[:3])}" if wrong else right,
        numbers={"spans": sum(each.counts.pieces for each in found), "chunks": len(found)},
    )


def _fim_undone(found: Sequence[FoundDocuments]) -> CheckOutcome:
    num_undone = sum(each.num_undone for each in found)
    wrong = [
        f"{first_ten(map(str, each.not_given_back))} of {each.chars.key}"
        for each in found
        if each.not_given_back
    ]
    right = f"{num_undone} documents, put together again from samples, have their text"
    return CheckOutcome(
        passed=not wrong,
        description=f"documents have another text: {'; '.join(wrong[:3])}" if wrong else right,
        numbers={"documents": num_undone, "wrong": sum(len(e.not_given_back) for e in found)},
    )
