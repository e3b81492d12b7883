"""A dataset -> its digest, through torch's own wrappers; and the datasets that it is made of.

    PickledTrainerDataset   its own digest (any dataset's `digest`, where that is a string)
    Subset, random_split    sha256 of JSON ["Subset", digest of what it is of, sha256 of its indices
                            as little-endian int64]
    ConcatDataset           sha256 of JSON ["ConcatDataset", [digest of each part]]

A subclass of the two may give out other samples than they do, so it has no digest but one of its
own; and so has any other whose class gives samples or a length itself, and has `digest` from what
it is made of. What has none cannot be told from another dataset of its length.
"""

# PyTorch and transformers are partly without types.
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownArgumentType=false
# pyright: reportUnknownVariableType=false
# pyright: reportUnknownParameterType=false

import json
from collections.abc import Iterator
from hashlib import sha256
from typing import Any, cast

import numpy as np
from torch.utils.data import ConcatDataset, Subset

from codedata.training.shortcuts import shortcut

_GIVES_SAMPLES = ("__getitem__", "__getitems__", "__len__")
"""Whoever has one of these of its own gives other samples than what it is made of."""


def digest_of(dataset: Any) -> str | None:
    """A digest that is equal only for the same samples in the same order; None where there is none.

    Ten million indices take a second, and most of that is their list.
    """
    if type(dataset) is Subset:
        indices = np.asarray(dataset.indices)
        base = digest_of(dataset.dataset)
        if base is None or indices.ndim != 1 or (len(indices) and indices.dtype.kind not in "iu"):
            return None
        of_indices = sha256(np.ascontiguousarray(indices, "<i8").data).hexdigest()
        return _hash("Subset", base, of_indices)
    if type(dataset) is ConcatDataset:
        parts = [digest_of(part) for part in dataset.datasets]
        return None if None in parts else _hash("ConcatDataset", parts)
    own = _own(dataset, "digest")
    return own if isinstance(own, str) else None


def masks_padding(dataset: Any) -> bool | None:
    """Whether labels of padding are -100; None where it is not known, or parts differ in it."""
    found = {_own(part, "masks_padding") for part in parts_of(dataset)}
    only = found.pop() if len(found) == 1 else None
    return only if isinstance(only, bool) else None


def _own(dataset: Any, name: str) -> Any:
    """What a dataset says of its samples; None where it may be said of those that it is made of."""
    if name in getattr(dataset, "__dict__", {}):
        return getattr(dataset, name)
    return shortcut(dataset, name, *_GIVES_SAMPLES)


def parts_of(dataset: Any) -> Iterator[Any]:
    """The datasets inside Subset and ConcatDataset, or the one itself."""
    if isinstance(dataset, Subset):
        yield from parts_of(cast("Subset[Any]", dataset).dataset)
    elif isinstance(dataset, ConcatDataset):
        for part in cast("ConcatDataset[Any]", dataset).datasets:
            yield from parts_of(part)
    else:
        yield dataset


def without_digest(dataset: Any) -> str:
    """The types in a dataset that keep it from having a digest, for a message."""
    if type(dataset) is Subset and digest_of(dataset.dataset) is None:
        return f"Subset of {without_digest(dataset.dataset)}"
    if type(dataset) is ConcatDataset:
        first = next(part for part in dataset.datasets if digest_of(part) is None)
        return f"ConcatDataset with {without_digest(first)}"
    kind = type(dataset).__name__
    if isinstance(getattr(dataset, "digest", None), str):
        return f"{kind} (whose `digest` is of other samples than it may give)"
    return kind


def _hash(*parts: Any) -> str:
    return sha256(json.dumps(parts).encode()).hexdigest()
