"""A dataset, or torch's Subset and ConcatDataset of such -> the same, giving stored batches."""

# PyTorch is partly without types.
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false

from collections.abc import Sequence
from copy import copy
from typing import Any

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from codedata.training.batches import StoredBatch, joined
from codedata.training.identity import parts_of
from codedata.training.shortcuts import shortcut


def stored_view(dataset: Any) -> Any:
    """A dataset of the same samples, of which `__getitems__` gives a StoredBatch.

    Returns:
        None where a part has no such batches: a dataset of another kind, or a subclass or wrapper,
        which may give other samples; or where parts differ in length, or some have documents.
    """
    if type(dataset) is Subset:
        if (part := stored_view(dataset.dataset)) is None:
            return None
        view = copy(dataset)
        view.dataset = part
        return view
    if type(dataset) is ConcatDataset:
        parts = [stored_view(part) for part in dataset.datasets]
        if any(part is None for part in parts):
            return None
        kinds = {(each.seq_length, each.has_documents) for each in parts_of(dataset)}
        return _Concatenated(parts) if len(kinds) == 1 else None
    storing = shortcut(dataset, "storing", "__getitem__", "__getitems__")
    return storing() if storing else None


class _Concatenated(ConcatDataset[Any]):
    """Torch's, which gathers nothing by itself."""

    def __getitems__(self, indices: Sequence[int]) -> StoredBatch:
        numbers, num_samples = np.asarray(indices), self.cumulative_sizes[-1]
        least, most = min(indices), max(indices)
        if least < -num_samples or most >= num_samples:
            raise IndexError(
                f"sample {most if most >= num_samples else least} of {num_samples} in a "
                f"ConcatDataset: its numbers are 0 to {num_samples - 1}"
            )
        if least < 0:
            numbers = np.where(numbers < 0, numbers + num_samples, numbers)
        which = np.searchsorted(self.cumulative_sizes, numbers, side="right")
        parts = np.unique(which)
        starts = [0, *self.cumulative_sizes]
        places = [np.flatnonzero(which == part) for part in parts]
        batches = [
            self.datasets[part].__getitems__((numbers[of_part] - starts[part]).tolist())
            for part, of_part in zip(parts.tolist(), places, strict=True)
        ]
        return joined(batches, np.concatenate(places))
