"""Samples whose labels mask padding -> batches with an attention mask, found by position."""

from collections.abc import Sequence

import torch

from codedata.errors import DatasetError
from codedata.pickle_dataset import IGNORED_LABEL, PickledTrainerDataset, Sample


class PaddingCollator:
    """Batches {"input_ids", "labels", "attention_mask"}, each LongTensor (num_samples, seq_length).

    The mask is 1 where a token is the text's and 0 where it is padding. A causal model computes the
    same without it, since padding stands at the end: it is for models that look both ways, and for
    what counts tokens by it.

    Args:
        dataset: whose samples are collated; by `with_padding_masked()`, so that the meta's
            `last_sample_tokens` say what is padding.

    Raises:
        DatasetError: the dataset's labels do not tell padding from text.
    """

    def __init__(self, dataset: PickledTrainerDataset) -> None:
        if not dataset.masks_padding:
            raise DatasetError(
                f"the samples of {dataset.datasets[0].folder} do not tell padding from text; give "
                "dataset.with_padding_masked() to the collator and to the loader"
            )

    def __call__(self, samples: Sequence[Sample]) -> Sample:
        """One batch of samples, in their order."""
        labels = torch.stack([sample["labels"] for sample in samples])
        return {
            "input_ids": torch.stack([sample["input_ids"] for sample in samples]),
            "labels": labels,
            "attention_mask": (labels != IGNORED_LABEL).long(),
        }
