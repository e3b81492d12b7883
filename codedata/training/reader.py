"""Rows of opened datasets, one dataset after the other -> samples as they are stored."""

from bisect import bisect_right
from collections.abc import Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.store.dataset_folder import Dataset
from codedata.training.batches import StoredBatch
from codedata.training.documents import PADDING, DocumentIndex, index_of, number_tokens


class SampleReader:
    """The samples of datasets in the order of datasets, shards and rows.

    Args:
        datasets: of one sequence length and one tokenizer.

    Attributes:
        datasets: these.
        seq_length: tokens a sample.
        index: the documents of their samples; None where they have none.

    Raises:
        DatasetError: their samples differ in length, their facts name two tokenizers, or some have
            documents and others have none.
    """

    def __init__(self, datasets: Sequence[Dataset]) -> None:
        self.datasets = datasets
        self.seq_length = datasets[0].seq_length
        for dataset in datasets[1:]:
            if dataset.seq_length != self.seq_length:
                raise DatasetError(
                    f"{dataset.where} has samples of {dataset.seq_length} tokens, but "
                    f"{datasets[0].where} of {self.seq_length}; load them as two datasets"
                )
        _require_one_tokenizer(datasets)
        self.index: DocumentIndex | None = index_of(datasets)
        counts = (entry.num_samples for each in datasets for entry in each.entries)
        self._ends = list(accumulate(counts))
        self._places = [(each, i) for each in datasets for i in range(each.num_shards)]

    def __len__(self) -> int:
        return self._ends[-1]

    def ids(self, shard: int) -> NDArray[Any]:
        """The ids of a shard, by its number over all datasets."""
        dataset, index = self._places[shard]
        return dataset.files.ids(index)

    @property
    def num_shards(self) -> int:
        """Shards of all datasets."""
        return len(self._places)

    @property
    def is_streamed(self) -> bool:
        """Whether shards come here only when they are asked for."""
        return any(each.stream is not None for each in self.datasets)

    def shards_of(self, rows: NDArray[np.int64]) -> NDArray[np.intp]:
        """The shards of rows."""
        return np.searchsorted(self._ends, rows, side="right")

    def fetch(self, shard: int) -> None:
        """Have a shard here, and its spans, before they are asked for.

        Raises:
            DatasetError: they are gone or damaged.
            StoreError: the store does not give them.
        """
        dataset, index = self._places[shard]
        dataset.files.fetch(index)

    def num_bytes(self, shard: int) -> int:
        """Of what `fetch` fetches: none of what is in a folder."""
        dataset, index = self._places[shard]
        return dataset.files.num_bytes(index)

    def place(self, row: int) -> tuple[int, int]:
        """The shard of a row, and the row in it."""
        shard = bisect_right(self._ends, row)
        return shard, row - (self._ends[shard - 1] if shard else 0)

    @cached_property
    def padded_rows(self) -> NDArray[np.int32]:
        """For each shard how many tokens of its last sample are the text's; no others are padded.

        Raises:
            DatasetError: a meta does not say.
        """
        return np.concatenate([each.last_sample_tokens() for each in self.datasets])

    def read(self, rows: Sequence[int], *, masks_padding: bool) -> StoredBatch:
        """Samples, in the order of rows.

        Args:
            rows: each 0 to `len` - 1.
            masks_padding: whether padding has no labels.

        Raises:
            DatasetError: a shard is gone or damaged; or padding is to be masked, and a meta does
                not say where it is.
        """
        places = [self.place(row) for row in rows]
        found = [self.ids(shard)[row] for shard, row in places]
        dtype = np.result_type(*{each.dtype for each in found}) if found else np.uint16
        ids = np.empty((len(found), self.seq_length), dtype)
        for number, each in enumerate(found):
            ids[number] = each
        if self.index is None:
            counts = self._num_labels(places) if masks_padding else None
            return StoredBatch(ids=ids, num_labels=counts)
        spans = [self.index.spans(shard, row) for shard, row in places]
        ends = np.array([each[-1, 2] for each in spans], np.int32)
        documents = np.full(ids.shape, PADDING, np.int16)
        for number, each in enumerate(spans):
            documents[number, : ends[number]] = number_tokens(each)
        return StoredBatch(
            ids=ids, num_labels=ends if masks_padding else None, document_ids=documents
        )

    def _num_labels(self, places: Sequence[tuple[int, int]]) -> NDArray[np.int32]:
        last = self.padded_rows
        return np.array(
            [
                last[shard] if self._is_last(shard, row) else self.seq_length
                for shard, row in places
            ],
            np.int32,
        )

    def _is_last(self, shard: int, row: int) -> bool:
        start = self._ends[shard - 1] if shard else 0
        return start + row + 1 == self._ends[shard]


def _require_one_tokenizer(datasets: Sequence[Dataset]) -> None:
    """Refuse datasets whose facts name two tokenizers; those without facts may be of any."""
    if len(datasets) == 1:  # whose facts need not be read
        return
    known = [(each.where, each.facts.tokenizer) for each in datasets if each.facts is not None]
    for where, tokenizer in known[1:]:
        first_where, first = known[0]
        if tokenizer.sha256 != first.sha256:
            raise DatasetError(
                f"{where} was tokenized with {tokenizer.source} (sha256 {tokenizer.sha256}), but "
                f"{first_where} with {first.source} (sha256 {first.sha256}), and the same ids are "
                "other tokens in each; load them as two datasets, or make one again with the "
                "other's tokenizer"
            )
