"""PackedCollator: batches in which each document of a sample stands alone."""

import pickle
from itertools import chain
from pathlib import Path
from typing import Any

import pytest
import torch
from accelerate.utils import concatenate, slice_tensors
from torch.nn.attention.flex_attention import create_mask
from torch.utils.data import ConcatDataset, Subset
from transformers import DataCollatorForLanguageModeling

from codedata import PackedCollator, PaddingCollator, ResumableLoader
from codedata.errors import DatasetError
from codedata.pickle_dataset import PickledTrainerDataset
from codedata_tests import scenario
from codedata_tests.scenario import write_document_dataset

OUT = -100

BATCH = {
    "input_ids": [
        [100, 101, 102, 103, 1, 200, 201, 1],
        [316, 317, 318, 1, 0, 0, 0, 0],
        [100, 101, 102, 1, 300, 1, 0, 0],
        [200, 201, 202, 203, 204, 205, 206, 1],
    ],
    "labels": [
        [OUT, 101, 102, 103, 1, OUT, 201, 1],
        [OUT, 317, 318, 1, OUT, OUT, OUT, OUT],
        [OUT, 101, 102, 1, OUT, 1, OUT, OUT],
        [OUT, 201, 202, 203, 204, 205, 206, 1],
    ],
    "position_ids": [
        [0, 1, 2, 3, 4, 0, 1, 2],
        [0, 1, 2, 3, 0, 1, 2, 3],
        [0, 1, 2, 3, 0, 1, 0, 1],
        [0, 1, 2, 3, 4, 5, 6, 7],
    ],
}
PICKED = [0, 3, 5, 6]


@pytest.fixture
def packed(tmp_path: Path) -> PickledTrainerDataset:
    return PickledTrainerDataset(write_document_dataset(tmp_path / "packed"), quiet=True)


def as_lists(batch: dict[str, Any]) -> dict[str, Any]:
    return {name: of.tolist() if isinstance(of, torch.Tensor) else of for name, of in batch.items()}


def test_positions_start_anew_with_each_document_and_with_padding_whose_labels_do_not_count(
    packed: PickledTrainerDataset,
) -> None:
    for dataset in (packed, packed.with_padding_masked()):
        samples = list(dataset[PICKED])
        batch = PackedCollator(dataset)(samples)
        assert as_lists(batch) == BATCH
        assert all(tensor.dtype == torch.int64 for tensor in batch.values())
        assert all(tensor.is_contiguous() for tensor in batch.values())
        assert samples[0]["labels"][0] == 100, "samples stay as they are"


def test_a_flattened_batch_is_one_row_with_the_bounds_of_its_documents_padding_one_of_them(
    packed: PickledTrainerDataset,
) -> None:
    batch = PackedCollator(packed, flattened=True)(list(packed[PICKED]))
    bounds = [0, 5, 8, 12, 16, 20, 22, 24, 32]
    assert as_lists(batch) == {
        **{name: [[*chain(*rows)]] for name, rows in BATCH.items()},
        "cu_seq_lens_q": bounds,
        "cu_seq_lens_k": bounds,
        "max_length_q": 8,
        "max_length_k": 8,
    }
    assert batch["cu_seq_lens_q"].dtype == batch["cu_seq_lens_k"].dtype == torch.int32


@pytest.mark.campaign
def test_the_block_mask_lets_a_token_see_what_stands_before_it_in_its_document() -> None:
    positions = torch.tensor(BATCH["position_ids"][2:])
    mask = PackedCollator.block_mask(positions)
    assert mask.shape == (2, 1, 8, 8)
    seen = create_mask(mask.mask_mod, 2, 1, 8, 8, device="cpu")[:, 0].int().tolist()
    assert seen[0] == [
        [1, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0, 0, 0],
        [0, 0, 0, 0, 1, 1, 0, 0],
        [0, 0, 0, 0, 0, 0, 1, 0],
        [0, 0, 0, 0, 0, 0, 1, 1],
    ]
    assert seen[1] == torch.ones(8, 8).tril().int().tolist()


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded, use of fork")
def test_loaders_wrappers_and_workers_take_it(packed: PickledTrainerDataset) -> None:
    parts = ConcatDataset([Subset(packed, PICKED[:2]), packed[PICKED[2:]]])
    collate = pickle.loads(pickle.dumps(PackedCollator(parts)))
    for num_workers in (0, 1):
        [batch] = ResumableLoader(
            parts, global_batch_size=4, shuffle=False, collate_fn=collate, num_workers=num_workers
        )
        assert as_lists(batch) == BATCH


def test_accelerate_joins_and_shares_out_its_batches(packed: PickledTrainerDataset) -> None:
    """As with dispatch_batches: one process joins a batch for each, and gives each its rows."""
    collate = PackedCollator(packed)
    halves = [collate(list(packed[PICKED[:2]])), collate(list(packed[PICKED[2:]]))]
    joined = concatenate(halves)
    assert as_lists(joined) == BATCH
    assert as_lists(slice_tensors(joined, slice(2, 4))) == as_lists(halves[1])
    flat = PackedCollator(packed, flattened=True)
    with pytest.raises(TypeError, match="only concatenate tensors"):
        concatenate([flat(list(packed[PICKED[:2]])), flat(list(packed[PICKED[2:]]))])


def test_datasets_and_samples_without_documents_are_refused(
    packed: PickledTrainerDataset, tmp_path: Path
) -> None:
    folder = scenario.write_dataset(tmp_path / "plain", [BATCH["input_ids"]])
    plain = PickledTrainerDataset(folder, quiet=True)
    for dataset in (plain, Subset(plain, [0]), ConcatDataset([packed, plain])):
        with pytest.raises(DatasetError) as refusal:
            PackedCollator(dataset)
        assert str(refusal.value) == (
            f"{folder} does not say where documents lie in its samples; make it with a recipe, or "
            "leave PackedCollator out"
        )
    collate = PackedCollator(packed)
    loader = ResumableLoader(plain, global_batch_size=1, collate_fn=collate)
    for make in (lambda: collate([packed[0], plain[0]]), lambda: next(iter(loader))):
        with pytest.raises(DatasetError) as refusal:
            make()
        assert str(refusal.value) == (
            "samples have no document_ids: they are of a dataset without documents, or the Trainer "
            "took them out, which TrainingArguments(remove_unused_columns=False) keeps it from"
        )


def test_a_collator_that_writes_labels_anew_is_refused_over_documents(
    packed: PickledTrainerDataset,
) -> None:
    collator = object.__new__(DataCollatorForLanguageModeling)
    with pytest.raises(DatasetError, match=r"may be what ends a document, .*PackedCollator\(data"):
        ResumableLoader(packed, global_batch_size=1, collate_fn=collator)
    masked = packed.with_padding_masked()
    [batch] = ResumableLoader(masked, global_batch_size=7, collate_fn=PaddingCollator(masked))
    assert batch["attention_mask"].sum() == 34 + 14, (
        "documents together, as a plain dataset has them"
    )
