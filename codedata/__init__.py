"""codedata: tokenized, packed and checked datasets of source code.

Names are imported when they are first used, so that what needs no torch does not wait for it.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from codedata.errors import CodedataError as CodedataError
    from codedata.loading import load_dataset as load_dataset
    from codedata.loading import load_mixture as load_mixture
    from codedata.run.build import build as build
    from codedata.training.batches import collate_samples as collate_samples
    from codedata.training.collate import PaddingCollator as PaddingCollator
    from codedata.training.dataset import PickledTrainerDataset as PickledTrainerDataset
    from codedata.training.loader import ResumableLoader as ResumableLoader
    from codedata.training.mixture import Mixture as Mixture
    from codedata.training.packed import PackedCollator as PackedCollator
    from codedata.training.provenance import DatasetProvenance as DatasetProvenance
    from codedata.training.sampler import GlobalBatchSampler as GlobalBatchSampler

_EXPORTS = {
    "CodedataError": "codedata.errors",
    "DatasetProvenance": "codedata.training.provenance",
    "GlobalBatchSampler": "codedata.training.sampler",
    "Mixture": "codedata.training.mixture",
    "PackedCollator": "codedata.training.packed",
    "PaddingCollator": "codedata.training.collate",
    "PickledTrainerDataset": "codedata.training.dataset",
    "ResumableLoader": "codedata.training.loader",
    "build": "codedata.run.build",
    "collate_samples": "codedata.training.batches",
    "load_dataset": "codedata.loading",
    "load_mixture": "codedata.loading",
}

__all__ = [
    "CodedataError",
    "DatasetProvenance",
    "GlobalBatchSampler",
    "Mixture",
    "PackedCollator",
    "PaddingCollator",
    "PickledTrainerDataset",
    "ResumableLoader",
    "build",
    "collate_samples",
    "load_dataset",
    "load_mixture",
]


def __getattr__(name: str) -> Any:
    if name in _EXPORTS:
        return getattr(import_module(_EXPORTS[name]), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), *_EXPORTS})
