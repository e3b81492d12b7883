"""The dataset, under the name that the reference script's users import."""

from codedata.training.dataset import IGNORED_LABEL, PickledTrainerDataset, Sample

__all__ = ["IGNORED_LABEL", "PickledTrainerDataset", "Sample"]
