# pyright: standard
# (pyarrow has no types)
"""Shards and rows of opened datasets -> the spans of a sample, and which documents they are.

The spans of a shard stay in its mapped file, sorted by sample, so that those of a sample are found
by bisection. The tables of documents are read when somebody asks what a span is, one shard's at a
time.
"""

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.documents import SPAN_COLUMNS, Form, Spans
from codedata.store.dataset_folder import Dataset
from codedata.training.batches import StoredSpans

PADDING = -1
"""The document of a token that fills up a sample: no span's number."""

_SAMPLE, _START, _STOP = (SPAN_COLUMNS.index(name) for name in ("sample", "start", "stop"))

_DESCRIBED = ("file", "row", "characters", "sha256", "repository", "path")


@dataclass(frozen=True, kw_only=True)
class SampleDocument:
    """A span of a sample: the part of a document that stands in it.

    Attributes:
        start: its first token in the sample.
        stop: the token behind its last.
        document: number of the document in its chunk.
        first_token: how many tokens of the document stand before, in other spans.
        form: plain, psm or spm.
        file: of the corpus, in which the document's text is.
        row: of that file.
        characters: of the whole document.
        sha256: of its text as UTF-8.
        repository: where the text came from, as far as the corpus says.
        path: likewise.
        licences: likewise; empty where it has none, None where the corpus does not say.
    """

    start: int
    stop: int
    document: int
    first_token: int
    form: str
    file: int
    row: int
    characters: int
    sha256: str
    repository: str | None
    path: str | None
    licences: tuple[str, ...] | None


class DocumentIndex:
    """The documents of several datasets, by the number of a shard over all of them and its row.

    Args:
        datasets: with documents, all of them.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self._datasets = datasets
        self._first_shards = [*accumulate((each.num_shards for each in datasets), initial=0)]
        self._table: tuple[int, Any, dict[int, int]] = (-1, None, {})

    def spans(self, shard: int, row: int) -> Spans:
        """Those of a sample, shape (num_spans, 6), one at least; its tokens behind are padding."""
        dataset, index = self._place(shard)
        spans = dataset.files.spans(index)
        samples = spans[:, _SAMPLE].data  # a bisection of which copies no column
        start = bisect_left(samples, row)
        stop = bisect_left(samples, row + 1, start, min(len(spans), start + dataset.seq_length))
        return spans[start:stop]

    def _place(self, shard: int) -> tuple[Dataset, int]:
        which = bisect_right(self._first_shards, shard) - 1
        return self._datasets[which], shard - self._first_shards[which]

    def describe(self, shard: int, row: int) -> list[SampleDocument]:
        """What each span of a sample is, in their order.

        Raises:
            DatasetError: the shard's table is not as it was written.
        """
        if self._table[0] != shard:
            dataset, index = self._place(shard)
            table = dataset.documents(index)
            rows = {number: row for row, number in enumerate(table["document"].to_pylist())}
            self._table = (shard, table, rows)
        _, table, rows = self._table
        spans = self.spans(shard, row).tolist()
        numbers = [document for _, _, _, document, _, _ in spans]
        if missing := {*numbers} - {*rows}:
            raise DatasetError(
                f"the documents of shard {shard} have no row for document {min(missing)}, which "
                "its spans name; make the dataset again"
            )
        found = table.take([rows[number] for number in numbers]).to_pylist()
        return [
            SampleDocument(
                start=start,
                stop=stop,
                document=document,
                first_token=first_token,
                form=Form(form).name.lower(),
                licences=None if of["licences"] is None else tuple(of["licences"]),
                **{name: of[name] for name in _DESCRIBED},
            )
            for (_, start, stop, document, first_token, form), of in zip(spans, found, strict=True)
        ]


def index_of(datasets: Sequence[Dataset]) -> DocumentIndex | None:
    """The documents of datasets; None where they have none.

    Raises:
        DatasetError: some have, and others have not.
    """
    without = [each for each in datasets if not each.has_documents]
    if without and len(without) < len(datasets):
        having = next(each for each in datasets if each.has_documents)
        raise DatasetError(
            f"{having.where} says where documents lie in its samples, but {without[0].where} does "
            "not; leave one out, or make that one again with a recipe"
        )
    return None if without else DocumentIndex(datasets)


def stored_spans(spans: Sequence[Spans], seq_length: int) -> tuple[StoredSpans, NDArray[np.int32]]:
    """The spans of samples, with the padding of each; and how many tokens of each are the text's.

    Args:
        spans: of each sample.
        seq_length: tokens a sample.
    """
    counts = np.array([len(each) for each in spans])
    joined = np.concatenate(spans) if len(spans) else np.zeros((0, len(SPAN_COLUMNS)), np.int32)
    ends = np.array([each[-1, _STOP] for each in spans], np.int32)
    behind = np.cumsum(counts)  # of each sample's spans: where its padding goes
    lengths = np.insert(joined[:, _STOP] - joined[:, _START], behind, seq_length - ends)
    numbers = np.arange(len(joined)) - np.repeat(behind - counts, counts)
    numbers = np.insert(numbers, behind, PADDING)
    is_there = lengths > 0
    found = StoredSpans(
        lengths=lengths[is_there].astype(np.int32), numbers=numbers[is_there].astype(np.int32)
    )
    return found, ends
