"""Samples whose labels mask padding -> batches with an attention mask, found by position."""

from collections.abc import Sequence
from typing import Any

from torch.utils.data import Dataset as TorchDataset

from codedata.errors import DatasetError
from codedata.training.batches import IGNORED_LABEL, Batch, Sample, StoredBatch, collate_samples
from codedata.training.identity import masks_padding, parts_of
from codedata.training.samples import StoredSamples

_WRITES_LABELS = "DataCollatorForLanguageModeling"
"""transformers' collator that makes labels of the input ids, known by name: it is not imported."""


class PaddingCollator:
    """Batches {"input_ids", "labels", "attention_mask"}, each LongTensor (num_samples, seq_length).

    The mask is 1 where a token is the text's and 0 where it is padding. A causal model computes the
    same without it, since padding stands at the end: it is for models that look both ways, and for
    what counts tokens by it. The labels stay as they are; transformers' own
    DataCollatorForLanguageModeling writes them anew from the ids, and by its tokenizer's pad token.

    Args:
        dataset: whose samples are collated; by `with_padding_masked()`, so that the meta's
            `last_sample_tokens` say what is padding, or torch's Subset or ConcatDataset of such.

    Raises:
        DatasetError: the dataset's labels do not tell padding from text.
    """

    def __init__(self, dataset: TorchDataset[Sample]) -> None:
        for part in parts_of(dataset):
            if not getattr(part, "masks_padding", False):
                raise _no_padding_told(part)

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """One batch of samples, in their order."""
        return self._masked(collate_samples(samples))

    def collate_stored(self, stored: StoredBatch) -> Batch:
        """The same batch, of samples as they are stored."""
        return self._masked(stored.expand())

    @staticmethod
    def require_masked(dataset: Any) -> None:
        """Refuse another dataset than the collator was made for, of which the mask would be all 1.

        Raises:
            DatasetError: padding of a part of it counts.
        """
        for part in parts_of(dataset):
            if masks_padding(part) is False:
                raise _no_padding_told(part)

    @staticmethod
    def _masked(batch: Batch) -> Batch:
        labels = batch["labels"]
        return {
            "input_ids": batch["input_ids"],
            "labels": labels,
            "attention_mask": (labels != IGNORED_LABEL).long(),
        }


def _no_padding_told(part: Any) -> DatasetError:
    place = part.datasets[0].where if isinstance(part, StoredSamples) else type(part).__name__
    return DatasetError(
        f"the samples of {place} do not tell padding from text; give dataset.with_padding_masked() "
        "to the collator and to the loader"
    )


def require_labels_kept(dataset: Any, collate_fn: Any) -> None:
    """Refuse a collator by which padding would count, or text would not.

    Raises:
        DatasetError: it is a PaddingCollator, and padding is not masked; or padding is masked, or
            documents are known, and it is a DataCollatorForLanguageModeling, which turns the labels
            of padding back into ids where they are not its tokenizer's pad token, and leaves out
            the loss of text that is that token, such as the end of every document.
    """
    collator = getattr(collate_fn, "data_collator", collate_fn)  # inside the Trainer's own
    if isinstance(collator, PaddingCollator):
        collator.require_masked(dataset)
    if not any(each.__name__ == _WRITES_LABELS for each in type(collator).__mro__):
        return
    if any(getattr(part, "has_documents", False) for part in parts_of(dataset)):
        raise DatasetError(
            f"{type(collator).__name__} makes the labels anew from the ids, -100 wherever its "
            "tokenizer's pad token stands, which may be what ends a document, and adds an "
            "attention_mask, with which the documents of a sample see each other; give "
            "codedata.PackedCollator(dataset)"
        )
    if any(getattr(part, "masks_padding", False) for part in parts_of(dataset)):
        raise DatasetError(
            f"{type(collator).__name__} makes the labels anew from the ids, so that "
            "with_padding_masked() is lost: padding that is not its tokenizer's pad token counts "
            "again, and text that is that token does not; leave it out, or give "
            "codedata.PaddingCollator(dataset) or transformers.default_data_collator, which keep "
            "the labels"
        )
