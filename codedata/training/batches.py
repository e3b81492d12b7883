"""Rows of samples as they are stored <-> batches of ids and labels.

A worker process hands on what is stored, two or four bytes an id; whoever trains makes int64 ids
and labels of it: an eighth or a quarter of the bytes between the processes, and no tensors, which
torch hands over one by one.
"""

# PyTorch is partly without types.
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import is_
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import default_collate

Sample = dict[str, torch.Tensor]
Batch = dict[str, Any]

IGNORED_LABEL = -100
"""What torch's cross_entropy passes over, and so every model of transformers: its ignore_index."""


@dataclass(frozen=True, kw_only=True)
class StoredSpans:
    """The spans of some samples, one sample after the other, its padding as a last one.

    Attributes:
        lengths: tokens of each, 1 or more, int32, shape (num_spans,); their sum is that of all
            tokens.
        numbers: of each in its sample, 0 and up, -1 for padding, int32, shape (num_spans,).
    """

    lengths: NDArray[np.int32]
    numbers: NDArray[np.int32]

    def number_tokens(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Of each token the number of its span, a LongTensor (num_samples, seq_length)."""
        of_tokens = np.repeat(self.numbers.astype(np.int64), self.lengths)
        return torch.from_numpy(of_tokens.reshape(shape))


@dataclass(frozen=True)
class StoredBatch:
    """Samples as they are stored.

    Attributes:
        ids: uint16 or int32, or int64 where no process is between, shape (num_samples, seq_length).
        num_labels: how many tokens of each sample have labels, the others being padding, int32,
            shape (num_samples,); None where all have.
        spans: where documents lie; None of samples without documents.
    """

    ids: NDArray[Any]
    num_labels: NDArray[np.int32] | None = None
    spans: StoredSpans | None = None

    def counted(self) -> NDArray[np.int32]:
        """How many tokens of each sample have labels."""
        if self.num_labels is not None:
            return self.num_labels
        return np.full(len(self.ids), self.ids.shape[1], np.int32)

    def expand(self) -> Batch:
        """LongTensors `input_ids`, `labels` and `document_ids`, (num_samples, seq_length).

        Labels have memory of their own. The ids are copied where they are not int64.
        """
        input_ids = self.ids.astype(np.int64, copy=False)
        labels = input_ids.copy()
        if self.num_labels is not None:
            for row in np.flatnonzero(self.num_labels < labels.shape[1]).tolist():
                labels[row, self.num_labels[row] :] = IGNORED_LABEL
        batch: Batch = {
            "input_ids": torch.from_numpy(input_ids),
            "labels": torch.from_numpy(labels),
        }
        if self.spans is not None:
            batch["document_ids"] = self.spans.number_tokens(labels.shape)
        return batch


def joined(batches: Sequence[StoredBatch], places: NDArray[np.intp]) -> StoredBatch:
    """Several batches as one.

    Args:
        batches: of one sequence length; all with spans, or none.
        places: of each of their samples the row in the whole.
    """
    shape = len(places), batches[0].ids.shape[1]
    ids = np.empty(shape, np.result_type(*(each.ids for each in batches)))
    ids[places] = np.concatenate([each.ids for each in batches])
    num_labels = None
    if any(each.num_labels is not None for each in batches):
        num_labels = np.empty(len(places), np.int32)
        num_labels[places] = np.concatenate([each.counted() for each in batches])
    found = [each.spans for each in batches if each.spans is not None]
    if not found:
        return StoredBatch(ids, num_labels)
    lengths = np.concatenate([each.lengths for each in found])
    numbers = np.concatenate([each.numbers for each in found])
    rows = places[(np.cumsum(lengths) - 1) // shape[1]]
    order = np.argsort(rows, kind="stable")
    spans = StoredSpans(lengths=lengths[order], numbers=numbers[order])
    return StoredBatch(ids, num_labels, spans)


@dataclass(frozen=True)
class Uncollated:
    """What a worker hands on: samples as they are stored, and what makes their batch of them.

    torch's loader calls `pin_memory` in a thread of its own, where memory is to be pinned.
    """

    stored: StoredBatch
    collate: Callable[[StoredBatch], Batch]

    def batch(self) -> Batch:
        """Their batch."""
        return self.collate(self.stored)

    def pin_memory(self, *_: Any) -> Batch:
        """Their batch, the tensors in pinned memory."""
        return {
            name: of.pin_memory() if isinstance(of, torch.Tensor) else of
            for name, of in self.batch().items()
        }


class Samples(list[Sample]):
    """Samples for any collator: a list of dicts of tensors, which are rows of one batch."""

    def __init__(self, stored: StoredBatch) -> None:
        self._batch = stored.expand()
        self._names = [*self._batch]
        rows = zip(*(tensor.unbind(0) for tensor in self._batch.values()), strict=True)
        self._rows = [*rows]
        super().__init__(dict(zip(self._names, row, strict=True)) for row in self._rows)

    @property
    def batch(self) -> Batch | None:
        """One tensor a name; None where somebody put others in, or took some out, since."""
        rows = [(*sample.values(),) for sample in self]
        is_same = len(rows) == len(self._rows) and all(
            map(is_, chain.from_iterable(rows), chain.from_iterable(self._rows))
        )
        has_names = all([*sample] == self._names for sample in self)
        return self._batch if is_same and has_names else None

    def __reduce__(self) -> tuple[Any, ...]:
        return list, ([*self],)


def collate_samples(samples: Sequence[Sample]) -> Batch:
    """The batch of some samples as torch's `default_collate` makes it: one tensor a name.

    For a plain DataLoader, or the Trainer: samples that a dataset gave together are not copied, so
    that the batch has their memory.

    Args:
        samples: of one sequence length.
    """
    batch = samples.batch if isinstance(samples, Samples) else None
    return default_collate([*samples]) if batch is None else {**batch}
