"""Rows of opened datasets, one dataset after the other -> samples as they are stored."""

# PyTorch is partly without types.
# pyright: reportUnknownMemberType=false

from bisect import bisect_right
from collections.abc import Callable, Sequence
from functools import cached_property
from itertools import accumulate
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from codedata.errors import DatasetError
from codedata.store.dataset_folder import Dataset
from codedata.store.shard_files import ShardFiles
from codedata.training.batches import IGNORED_LABEL, Sample, StoredBatch
from codedata.training.documents import DocumentIndex, index_of, stored_spans


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
                    f"{datasets[0].where} of {self.seq_length}; leave one out, or make one again "
                    "with the other's seq_length"
                )
        _require_one_tokenizer(datasets)
        for dataset in datasets:
            dataset.files.decode()
        self.index: DocumentIndex | None = index_of(datasets)
        counts = (entry.num_samples for each in datasets for entry in each.entries)
        self._starts = [*accumulate(counts, initial=0)]
        self._ends = self._starts[1:]
        self._first_shards = [*accumulate((each.num_shards for each in datasets), initial=0)]
        self._ids = _ids_by_shard(datasets)

    def __len__(self) -> int:
        return self._starts[-1]

    @property
    def ends(self) -> NDArray[np.int64]:
        """After which row each shard ends, shape (num_shards,)."""
        return np.array(self._ends, np.int64)

    @property
    def num_shards(self) -> int:
        """Shards of all datasets."""
        return self._first_shards[-1]

    @property
    def is_streamed(self) -> bool:
        """Whether shards come here only when they are asked for."""
        return any(each.stream is not None for each in self.datasets)

    def shards_of(self, rows: NDArray[np.int64]) -> NDArray[np.intp]:
        """The shards of rows."""
        return np.searchsorted(self._ends_of_shards, rows, side="right")

    def fetch(self, shard: int) -> None:
        """Have a shard here, and its spans, before they are asked for.

        Raises:
            DatasetError: they are gone or damaged.
            StoreError: the store does not give them.
        """
        files, index = self._files_of(shard)
        files.fetch(index)

    def num_bytes(self, shard: int) -> int:
        """Of what `fetch` fetches: none of what is in a folder."""
        files, index = self._files_of(shard)
        return files.num_bytes(index)

    def _files_of(self, shard: int) -> tuple[ShardFiles, int]:
        which = bisect_right(self._first_shards, shard) - 1
        return self.datasets[which].files, shard - self._first_shards[which]

    @cached_property
    def _ends_of_shards(self) -> NDArray[np.int64]:
        return np.array(self._ends)

    def place(self, row: int) -> tuple[int, int]:
        """The shard of a row, by its number over all datasets, and the row in it."""
        shard = bisect_right(self._ends, row)
        return shard, row - self._starts[shard]

    @cached_property
    def padded_rows(self) -> NDArray[np.int32]:
        """For each shard how many tokens of its last sample are the text's; no others are padded.

        Raises:
            DatasetError: a meta does not say.
        """
        return np.concatenate([each.last_sample_tokens() for each in self.datasets])

    def sample(self, row: int, masks_padding: bool) -> Sample:
        """A sample, in memory of its own; arguments and errors as of `read`."""
        if self.index is not None:
            batch = self.read([row], masks_padding=masks_padding, is_wide=True).expand()
            return {name: tensor[0] for name, tensor in batch.items()}
        shard = bisect_right(self._ends, row)
        ids = self._ids(shard)[row - self._starts[shard]].astype(np.int64)
        labels = ids.copy()
        if masks_padding and row + 1 == self._ends[shard]:
            labels[self.padded_rows[shard] :] = IGNORED_LABEL
        return {"input_ids": torch.from_numpy(ids), "labels": torch.from_numpy(labels)}

    def read(
        self, rows: Sequence[int], *, masks_padding: bool, is_wide: bool = False
    ) -> StoredBatch:
        """Samples, in the order of rows.

        Args:
            rows: each 0 to `len` - 1.
            masks_padding: whether padding has no labels.
            is_wide: whether ids are int64 at once, since no other process is to have them.

        Raises:
            DatasetError: a shard is gone or damaged; or padding is to be masked, and a meta does
                not say where it is.
        """
        ids = np.empty((len(rows), self.seq_length), np.int64 if is_wide else np.uint16)
        starts, ends, ids_of = self._starts, self._ends, self._ids
        last = list[tuple[int, int]]()  # of a shard, which alone may be padded
        for number, row in enumerate(rows):  # faster than an indexed take a shard
            shard = bisect_right(ends, row)
            found = ids_of(shard)[row - starts[shard]]
            if row + 1 == ends[shard]:
                last.append((number, shard))
            if found.itemsize > ids.itemsize:
                ids = ids.astype(found.dtype)
            ids[number] = found
        if self.index is not None:
            found = [self.index.spans(*self.place(row)) for row in rows]
            spans, num_tokens = stored_spans(found, self.seq_length)
            return StoredBatch(ids, num_tokens if masks_padding else None, spans)
        if not masks_padding or not last:
            return StoredBatch(ids)
        num_labels = np.full(len(rows), self.seq_length, np.int32)
        for number, shard in last:
            num_labels[number] = self.padded_rows[shard]
        return StoredBatch(ids, num_labels)


def _ids_by_shard(datasets: Sequence[Dataset]) -> Callable[[int], NDArray[Any]]:
    """What gives the ids of a shard, by its number over all datasets.

    No method of a reader, which would refer to itself, and keep folders open until it is collected.
    """
    if len(datasets) == 1:
        return datasets[0].files.ids

    of_shards: list[tuple[Callable[[int], NDArray[Any]], int]] = []
    for each in datasets:
        of_shards += [(each.files.ids, len(of_shards))] * each.num_shards

    def ids(shard: int) -> NDArray[Any]:
        of, first = of_shards[shard]
        return of(shard - first)

    return ids


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
                "other tokens in each; leave one out, or make one again with the other's tokenizer"
            )
