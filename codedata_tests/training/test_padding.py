"""Padding in labels: masked on request, by position, on slices, several folders and in workers."""

import pickle
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import Tokenizer, models
from torch.utils.data import ConcatDataset, DataLoader, Subset
from transformers import (
    DataCollatorForLanguageModeling,
    PreTrainedTokenizerFast,
    default_data_collator,
)

from codedata import ResumableLoader
from codedata.errors import DatasetError, SettingsError
from codedata.pickle_dataset import PickledTrainerDataset, Sample
from codedata.training.collate import PaddingCollator
from codedata_tests import scenario
from codedata_tests.training.tiny_trainer import tiny_trainer

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
)

PAD = 9
"""An id that the text has too, as deepseek-coder's end-of-text token."""

FIRST = [[[1, 2, PAD, PAD], [PAD, 5, PAD, PAD]], [[PAD, PAD, PAD, PAD]]]
SECOND = [[[3, 4, 5, PAD]], [[6, 7, 8, 8], [6, 6, 6, PAD]]]
LABELS = [
    [1, 2, PAD, PAD],  # not the last of its shard: all text
    [PAD, 5, PAD, -100],  # three are text
    [PAD, -100, -100, -100],
    [3, 4, 5, PAD],  # full
    [6, 7, 8, 8],
    [6, 6, -100, -100],
]


@pytest.fixture
def plain(tmp_path: Path) -> PickledTrainerDataset:
    first = scenario.write_dataset(tmp_path / "first", FIRST, last_sample_tokens=[3, 1])
    second = scenario.write_dataset(tmp_path / "second", SECOND, last_sample_tokens=[4, 2])
    return PickledTrainerDataset([first, second], quiet=True)


def labels(dataset: PickledTrainerDataset) -> list[list[int]]:
    return [sample["labels"].tolist() for sample in dataset]


def test_masked_labels_are_minus_100_from_where_the_text_ends(plain: PickledTrainerDataset) -> None:
    all_ids = [*FIRST[0], *FIRST[1], *SECOND[0], *SECOND[1]]
    masked = plain.with_padding_masked()
    assert masked.masks_padding
    assert labels(masked) == LABELS
    assert [masked[i]["labels"].tolist() for i in range(-6, 0)] == LABELS
    assert [sample["input_ids"].tolist() for sample in masked] == all_ids, "input_ids stay"
    assert masked[1]["labels"].dtype == torch.int64
    for part in (masked[-1:0:-2], plain[-1:0:-2].with_padding_masked()):
        assert labels(part) == LABELS[-1:0:-2]
    assert labels(plain) == all_ids, "the default, and the one that was asked stays as it was"
    assert not plain.masks_padding
    assert masked.digest == plain.digest


@pytest.mark.parametrize("context", ["fork", pytest.param("spawn", marks=pytest.mark.campaign)])
def test_pickles_and_workers_mask_too(plain: PickledTrainerDataset, context: str) -> None:
    masked = plain.with_padding_masked()[1:]
    again, collate = pickle.loads(pickle.dumps((masked, PaddingCollator(masked))))
    assert again.masks_padding
    options: dict[str, Any] = {"collate_fn": collate, "multiprocessing_context": context}
    loader: DataLoader[Sample] = DataLoader(again, 2, num_workers=1, **options)
    batches = list(loader)
    assert torch.cat([batch["labels"] for batch in batches]).tolist() == LABELS[1:]
    masks = torch.cat([batch["attention_mask"] for batch in batches])
    assert masks.sum(dim=1).tolist() == [3, 1, 4, 4, 2]


def test_a_folder_whose_meta_does_not_say_where_padding_begins_is_refused_by_name(
    tmp_path: Path,
) -> None:
    known = scenario.write_dataset(tmp_path / "known", FIRST, last_sample_tokens=[3, 1])
    unknown = scenario.write_dataset(tmp_path / "unknown", FIRST)
    dataset = PickledTrainerDataset([known, unknown], quiet=True)
    assert len(dataset) == 6, "it loads"
    with pytest.raises(DatasetError) as refusal:
        dataset.with_padding_masked()
    assert str(refusal.value) == (
        f"{unknown}/dump-meta_data.json does not say how many tokens of dump-0.pkl's last sample "
        "are padding (last_sample_tokens), and by its id padding cannot be told from text; make "
        "the dataset again to mask it, with the same switches"
    )


def test_the_collator_s_attention_mask_is_0_on_padding_and_1_on_the_same_id_in_the_text(
    plain: PickledTrainerDataset,
) -> None:
    masked = plain.with_padding_masked()
    batch = PaddingCollator(masked)([masked[i] for i in (5, 0, 2)])
    assert sorted(batch) == ["attention_mask", "input_ids", "labels"]
    assert batch["input_ids"].tolist() == [SECOND[1][1], FIRST[0][0], FIRST[1][0]]
    assert batch["labels"].tolist() == [LABELS[5], LABELS[0], LABELS[2]]
    assert batch["attention_mask"].tolist() == [[1, 1, 0, 0], [1, 1, 1, 1], [1, 0, 0, 0]]
    assert all(tensor.dtype == torch.int64 for tensor in batch.values())


def test_the_collator_refuses_a_dataset_that_does_not_mask(plain: PickledTrainerDataset) -> None:
    with pytest.raises(DatasetError, match=r"give dataset\.with_padding_masked\(\) to the coll"):
        PaddingCollator(plain)
    masked = plain.with_padding_masked()
    PaddingCollator(ConcatDataset([masked, Subset(masked, [0])]))
    for mixed in (ConcatDataset([masked, plain]), Subset(plain, [0])):
        with pytest.raises(DatasetError, match=f"samples of {plain.datasets[0].folder} do not"):
            PaddingCollator(mixed)


def test_a_mask_is_not_made_of_a_dataset_whose_padding_counts(plain: PickledTrainerDataset) -> None:
    masked = plain.with_padding_masked()
    collate = PaddingCollator(masked)
    for dataset in (plain, Subset(plain, [2, 1]), ConcatDataset([masked, plain])):
        with pytest.raises(DatasetError, match="do not tell padding from text; give dataset"):
            ResumableLoader(dataset, global_batch_size=2, collate_fn=collate)
    wrapped = Opaque(masked)
    [batch] = ResumableLoader(wrapped, global_batch_size=6, shuffle=False, collate_fn=collate)
    assert (batch["attention_mask"] == 0).sum() == 6


def test_a_state_goes_on_with_the_labels_that_it_was_taken_with(
    plain: PickledTrainerDataset,
) -> None:
    masked = plain.with_padding_masked()
    state = loader_of(masked).state_dict()
    assert state["masks_padding"] is True
    assert "masks_padding" not in loader_of(ConcatDataset([plain, masked])).state_dict()
    with pytest.raises(SettingsError, match=r"masks_padding True, but .* False: .*padding_masked"):
        loader_of(plain).load_state_dict(state)
    with pytest.raises(SettingsError, match=r"masks_padding False, but .* without masking, or"):
        loader_of(masked).load_state_dict(loader_of(plain).state_dict())
    loader_of(Subset(masked, range(6)), require_digest=False).load_state_dict(
        {**state, "dataset": None}
    )
    loader_of(plain).load_state_dict({**state, "masks_padding": False})
    of_before = {name: value for name, value in state.items() if name != "masks_padding"}
    loader_of(plain).load_state_dict(of_before)


def loader_of(dataset: Any, **options: Any) -> ResumableLoader:
    return ResumableLoader(dataset, global_batch_size=2, **options)


class Opaque(torch.utils.data.Dataset[Any]):
    """A dataset of someone else's around one of ours."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Any:
        return self.inner[index]


# Collators that write labels anew


def language_modeling_collator(pad_token: str, tmp_path: Path) -> DataCollatorForLanguageModeling:
    """transformers' own, of a tokenizer with a pad token of id 9 (`nine`) or another."""
    vocabulary = {"[UNK]": 0, **{f"word{i}": i for i in range(1, 9)}, "nine": PAD, "other": 10}
    Tokenizer(models.WordLevel(vocabulary, unk_token="[UNK]")).save(str(tmp_path / "t.json"))
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_file=str(tmp_path / "t.json"), pad_token=pad_token
    )
    return DataCollatorForLanguageModeling(tokenizer, mlm=False)


def test_transformers_collator_for_language_models_loses_the_masking_and_is_refused(
    plain: PickledTrainerDataset, tmp_path: Path
) -> None:
    masked = plain.with_padding_masked()
    for pad_token in ("nine", "other"):
        collator = language_modeling_collator(pad_token, tmp_path)
        lost = collator([masked[i] for i in range(6)])["labels"].tolist()
        assert lost != LABELS, "padding counts again, or text that is the same id does not"
        for dataset in (masked, Subset(masked, [0, 1]), ConcatDataset([plain, masked[:1]])):
            with pytest.raises(DatasetError, match="DataCollatorForLanguageModeling makes the lab"):
                ResumableLoader(dataset, global_batch_size=1, collate_fn=collator)
        ResumableLoader(plain, global_batch_size=1, collate_fn=collator)
    for kept in (None, default_data_collator, PaddingCollator(masked)):
        [batch] = ResumableLoader(masked, global_batch_size=6, shuffle=False, collate_fn=kept)
        assert batch["labels"].tolist() == LABELS


def test_a_trainer_whose_collator_would_lose_the_masking_is_refused_before_a_step(
    plain: PickledTrainerDataset, tmp_path: Path
) -> None:
    collator = language_modeling_collator("other", tmp_path)
    once: dict[str, Any] = {"vocab_size": 16, "max_steps": 1, "save_strategy": "no"}
    trained = tiny_trainer(plain, tmp_path / "run", collator=collator, **once).train()
    assert trained.global_step == 1, "it is right where nothing is masked"
    masked = plain.with_padding_masked()
    with pytest.raises(DatasetError) as refusal:
        tiny_trainer(masked, tmp_path / "run", collator=collator, **once).train()
    assert str(refusal.value) == (
        "DataCollatorForLanguageModeling makes the labels anew from the ids, so that "
        "with_padding_masked() is lost: padding that is not its tokenizer's pad token counts "
        "again, and text that is that token does not; leave it out, or give "
        "codedata.PaddingCollator(dataset) or transformers.default_data_collator, which keep "
        "the labels"
    )
