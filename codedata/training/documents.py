# pyright: standard
# (pyarrow has no types)
"""Shards and rows of opened datasets -> the spans of a sample, and which documents they are.

The spans of a shard stay in its mapped file, sorted by sample; where each sample's begin is worked
out when one is first asked for. The tables of documents are read when somebody asks what a span is,
one shard's at a time.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.format.documents import SPAN_COLUMNS, Form, Spans
from codedata.store.dataset_folder import Dataset

PADDING = -1
"""The document of a token that fills up a sample: no span's number."""

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
        self._ends = list(accumulate(each.num_shards for each in datasets))
        self._files = [(each.files, i) for each in datasets for i in range(each.num_shards)]
        self._starts: dict[int, NDArray[np.intp]] = {}
        self._table: tuple[int, Any, dict[int, int]] = (-1, None, {})

    def spans(self, shard: int, row: int) -> Spans:
        """Those of a sample, shape (num_spans, 6), one at least; its tokens behind are padding."""
        files, index = self._files[shard]
        spans = files.spans(index)
        starts = self._starts.get(shard)
        if starts is None:
            samples = np.ascontiguousarray(spans[:, SPAN_COLUMNS.index("sample")])
            starts = np.searchsorted(samples, np.arange(samples[-1] + 2))
            self._starts[shard] = starts
        return spans[starts[row] : starts[row + 1]]

    def describe(self, shard: int, row: int) -> list[SampleDocument]:
        """What each span of a sample is, in their order.

        Raises:
            DatasetError: the shard's table is not as it was written.
        """
        if self._table[0] != shard:
            which = next(i for i, end in enumerate(self._ends) if shard < end)
            first = self._ends[which] - self._datasets[which].num_shards
            table = self._datasets[which].documents(shard - first)
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
            "not; load them as two datasets, or make that one again with a recipe"
        )
    return None if without else DocumentIndex(datasets)


def number_tokens(spans: Spans) -> NDArray[np.int16]:
    """The number of the span, 0 and up, of each token that is no padding."""
    return np.repeat(np.arange(len(spans), dtype=np.int16), spans[:, 2] - spans[:, 1])
