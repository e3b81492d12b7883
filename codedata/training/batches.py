"""Rows of samples as they are stored <-> batches of ids and labels.

A worker process hands on what is stored, two or four bytes an id; whoever trains makes int64 ids
and labels of it, a third to an eighth of the bytes between the processes.
"""

# PyTorch is partly without types.
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.utils.data import default_collate

Sample = dict[str, torch.Tensor]
Batch = dict[str, torch.Tensor]

IGNORED_LABEL = -100
"""What torch's cross_entropy passes over, and so every model of transformers: its ignore_index."""


@dataclass(frozen=True, kw_only=True)
class StoredBatch:
    """Samples as they are stored.

    Attributes:
        ids: uint16 or int32, shape (num_samples, seq_length).
        num_labels: how many tokens of each sample have labels, the others being padding, int32,
            shape (num_samples,); None where all have.
        document_ids: of each token the number of its span, -1 for padding, int16, shape
            (num_samples, seq_length); None of samples without documents.
    """

    ids: NDArray[Any]
    num_labels: NDArray[np.int32] | None = None
    document_ids: NDArray[np.int16] | None = None

    def expand(self) -> Batch:
        """LongTensors `input_ids`, `labels` and `document_ids`, (num_samples, seq_length)."""
        input_ids = torch.from_numpy(self.ids.astype(np.int64))
        labels = input_ids.clone()
        if self.num_labels is not None:
            length = self.ids.shape[1]
            for row in np.flatnonzero(self.num_labels < length).tolist():
                labels[row, int(self.num_labels[row]) :] = IGNORED_LABEL
        batch = {"input_ids": input_ids, "labels": labels}
        if self.document_ids is not None:
            batch["document_ids"] = torch.from_numpy(self.document_ids.astype(np.int64))
        return batch

    def pin_memory(self, *_: Any) -> Batch:
        """What torch's loader calls, in a thread of its own, where memory is to be pinned."""
        return {name: tensor.pin_memory() for name, tensor in self.expand().items()}


class Samples(list[Sample]):
    """Samples for any collator, each a view of the batch that `collate_samples` gives.

    Attributes:
        stored: the same, as they are stored.
        batch: the same, one tensor a name.
    """

    def __init__(self, stored: StoredBatch) -> None:
        self.stored, self.batch = stored, stored.expand()
        names = [*self.batch]
        rows = zip(*(tensor.unbind(0) for tensor in self.batch.values()), strict=True)
        super().__init__(dict(zip(names, row, strict=True)) for row in rows)


def collate_samples(samples: Sequence[Sample]) -> Batch:
    """The batch of some samples: without copying those that a dataset gave together."""
    if isinstance(samples, Samples):
        return samples.batch
    return default_collate([*samples])
