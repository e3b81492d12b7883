"""Samples of several documents -> batches in which each document stands alone.

    position_ids   (num_samples, seq_length): start anew with each span, and with padding
    labels         -100 for padding, and for the first token of each span, which nothing before it
                   in its document foretells

transformers (5) builds its masks from such positions, for eager, sdpa and flex: a token sees those
of its own document before it. It does so only where it is given no attention_mask and keeps no
cache; an all-ones mask, or use_cache, lets documents see each other without a word. Flash attention
goes by the lengths of a flattened batch.
"""

# PyTorch is partly without types.
# pyright: reportUnknownMemberType=false
# pyright: reportUnknownVariableType=false
# pyright: reportUnknownArgumentType=false

import logging
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch.utils.data import Dataset as TorchDataset

from codedata.errors import DatasetError
from codedata.training.batches import IGNORED_LABEL, Batch, Sample, StoredBatch, collate_samples
from codedata.training.documents import PADDING
from codedata.training.identity import parts_of
from codedata.training.samples import StoredSamples

logger = logging.getLogger(__name__)

_TRIED_SAMPLES = 16
"""Spread over a dataset, so that some are of several documents where there are such samples."""


class PackedCollator:
    """Batches {"input_ids", "labels", "position_ids"}, each LongTensor (num_samples, seq_length).

    Positions start anew with each span of a sample, and where its padding begins: that is a
    document of its own. Labels are -100 for padding, and for the first token of each span. A model
    of transformers keeps documents apart by these positions as long as it is given no
    attention_mask, and no cache: pass `use_cache=False` in a loop of your own, since a model's
    config has it on; the Trainer switches it off.

    Flattened, for flash attention, the batch is one row (1, num_samples * seq_length) and has
    `cu_seq_lens_q` and `cu_seq_lens_k`, int32 (num_documents + 1,), where each document of the row
    begins and the last one ends, and `max_length_q` and `max_length_k`, the tokens of the longest,
    as int. Padding stays, so that all batches have one shape. Other attention computes the same of
    such a row, but by a mask of all its tokens by all.

    Args:
        dataset: whose samples are collated, with documents, or torch's Subset or ConcatDataset of
            such.
        flattened: whether batches are one row each.

    Raises:
        DatasetError: the dataset does not say where documents lie; or, when a batch is made, its
            samples do not.
    """

    def __init__(self, dataset: TorchDataset[Sample], *, flattened: bool = False) -> None:
        for part in parts_of(dataset):
            if not getattr(part, "has_documents", False):
                is_ours = isinstance(part, StoredSamples)
                raise DatasetError(
                    f"{part.datasets[0].where if is_ours else type(part).__name__} does not say "
                    "where documents lie in its samples; make it with a recipe, or leave "
                    "PackedCollator out"
                )
        self.flattened = flattened

    def __call__(self, samples: Sequence[Sample]) -> Batch:
        """One batch of samples, in their order."""
        if not all("document_ids" in sample for sample in samples):
            raise _no_document_ids()
        return self._apart(collate_samples(samples))

    def collate_stored(self, stored: StoredBatch) -> Batch:
        """The same batch, of samples as they are stored."""
        return self._apart(stored.expand())

    def _apart(self, batch: Batch) -> Batch:
        documents = batch.get("document_ids")
        if documents is None:
            raise _no_document_ids()
        starts = torch.ones_like(documents, dtype=torch.bool)
        starts[:, 1:] = documents[:, 1:] != documents[:, :-1]
        labels = batch["labels"].masked_fill(starts | (documents == PADDING), IGNORED_LABEL)
        tokens = torch.arange(documents.shape[1]).expand_as(documents)
        positions = tokens - (tokens * starts).cummax(dim=1).values
        apart = {"input_ids": batch["input_ids"], "labels": labels, "position_ids": positions}
        return _flattened(apart, starts) if self.flattened else apart

    @staticmethod
    def block_mask(position_ids: torch.Tensor) -> Any:
        """The mask of a batch for `torch.nn.attention.flex_attention`: documents apart, causal.

        Make it of the positions on the device where attention is, not in a worker: what it is made
        of does not follow it elsewhere. A model of transformers makes its own of `position_ids`.

        Args:
            position_ids: of a batch, shape (num_rows, num_tokens).
        """
        # Half a second of compilers, for whoever asks for it.
        from torch.nn.attention.flex_attention import create_block_mask

        documents = (position_ids == 0).cumsum(dim=1)

        def sees(row: Any, _head: Any, token: Any, other: Any) -> Any:
            return (documents[row, token] == documents[row, other]) & (token >= other)

        rows, tokens = position_ids.shape
        return create_block_mask(sees, rows, None, tokens, tokens, device=position_ids.device)


def _no_document_ids() -> DatasetError:
    return DatasetError(
        "samples have no document_ids: they are of a dataset without documents, or the Trainer "
        "took them out, which TrainingArguments(remove_unused_columns=False) keeps it from"
    )


def _flattened(batch: Batch, starts: torch.Tensor) -> Batch:
    """The rows of a batch as one, with the lengths of its documents."""
    begins = starts.flatten().nonzero().flatten()
    lengths = torch.cat([begins, begins.new_tensor([starts.numel()])])
    longest = int(lengths.diff().max())
    return {
        **{name: tensor.view(1, -1) for name, tensor in batch.items()},
        **dict.fromkeys(("cu_seq_lens_q", "cu_seq_lens_k"), lengths.int()),
        **dict.fromkeys(("max_length_q", "max_length_k"), longest),
    }


def require_documents_apart(
    dataset: Any, collate_fn: Callable[[list[Any]], Any], config: Any
) -> None:
    """Refuse what would let documents see each other though batches are made to keep them apart.

    A batch of some samples is tried. One that does not keep documents apart, as of any other
    collator, is a line in the log.

    Args:
        dataset: that is trained on.
        collate_fn: the Trainer's.
        config: of its model.

    Raises:
        DatasetError: the batch has an attention mask; or the model keeps a cache; or its attention
            goes by lengths that the batch does not have.
    """
    if not any(getattr(part, "has_documents", False) for part in parts_of(dataset)):
        return
    step = -(-len(dataset) // _TRIED_SAMPLES)
    samples = [dataset[i] for i in range(0, len(dataset), step)]
    numbers = [each["document_ids"] for each in samples if "document_ids" in each]
    num_documents = sum(int(each.max()) + 1 for each in numbers)
    batch = collate_fn(samples)
    positions = batch.get("position_ids")
    if positions is None or int((positions == 0).sum()) < num_documents:
        logger.warning(
            "the documents of a sample see each other: batches have no position_ids that start "
            "anew with each; codedata.PackedCollator(train_dataset) keeps them apart"
        )
        return
    mask = batch.get("attention_mask")
    if isinstance(mask, torch.Tensor) and mask.ndim == 2:
        raise DatasetError(
            "the data_collator adds an attention_mask (num_samples, seq_length), with which "
            "transformers lets the documents of a sample see each other, whatever position_ids "
            "say; leave it out, as codedata.PackedCollator(train_dataset) does"
        )
    config = config.get_text_config() if hasattr(config, "get_text_config") else config
    if getattr(config, "use_cache", False):
        raise DatasetError(
            "the model's config.use_cache is True, with which transformers lets the documents of a "
            "sample see each other, whatever position_ids say; leave "
            "TrainingArguments.use_cache False, as it is by default"
        )
    attention = str(getattr(config, "_attn_implementation", ""))
    if "flash" in attention and "cu_seq_lens_q" not in batch:
        raise DatasetError(
            f"the model's attention is {attention}, which lets the documents of a sample see each "
            "other unless a batch has cu_seq_lens_q; give "
            "codedata.PackedCollator(train_dataset, flattened=True)"
        )
