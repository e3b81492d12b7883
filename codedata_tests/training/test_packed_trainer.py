"""transformers' Trainer on packed batches: loss, resuming, and what DatasetProvenance refuses."""

import logging
from copy import deepcopy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn.functional import cross_entropy
from torch.utils.data import ConcatDataset
from transformers import (
    DataCollatorWithFlattening,
    Trainer,
    default_data_collator,
)

from codedata import PackedCollator
from codedata.errors import DatasetError
from codedata.pickle_dataset import PickledTrainerDataset
from codedata_tests.scenario import write_document_dataset
from codedata_tests.training.tiny_trainer import tiny_model, tiny_trainer


@pytest.fixture
def packed(tmp_path: Path) -> PickledTrainerDataset:
    chunks = [(9, 3, 40, 0, 5, 17, 1, 30), (12, 7, 2, 33, 6), (20, 4, 11, 8, 5, 5, 24)]
    folder = write_document_dataset(tmp_path / "packed", chunks, seq_length=24)
    return PickledTrainerDataset(folder, quiet=True)


def trainer_on(dataset: Any, output: Path, **options: Any) -> Any:
    """Of a model whose attention does something, with our collator unless another is given."""
    torch.manual_seed(0)
    model = tiny_model(1024, initializer_range=0.2)
    options = {"max_steps": 4, "save_steps": 2, "remove_unused_columns": False} | options
    collator = options.pop("collator", None) or PackedCollator(dataset)
    return tiny_trainer(dataset, output, model=model, collator=collator, batch_size=2, **options)


class NotingTrainer(Trainer):
    batches: list[dict[str, Any]]

    def training_step(self, model: Any, inputs: Any, num_items_in_batch: Any = None) -> Any:
        self.batches.append(inputs)
        return super().training_step(model, inputs, num_items_in_batch)


def loss_of_documents_alone(model: Any, batches: list[dict[str, Any]]) -> float:
    """The mean over the labels that documents have of their own, of all batches together."""
    losses: list[float] = []
    for batch in batches:
        ids, positions = batch["input_ids"].flatten(), batch["position_ids"].flatten()
        labels = batch["labels"].flatten()
        for rows in torch.arange(len(ids)).tensor_split((positions == 0).nonzero().flatten()[1:]):
            if (labels[rows][1:] >= 0).any():  # padding has none
                logits = model(input_ids=ids[rows][None], use_cache=False).logits[0]
                losses += cross_entropy(logits[:-1], ids[rows][1:], reduction="none").tolist()
    return sum(losses) / len(losses)


@pytest.mark.parametrize("flattened", [False, pytest.param(True, marks=pytest.mark.campaign)])
def test_the_trainer_s_loss_is_the_mean_over_what_each_document_says_of_itself(
    packed: PickledTrainerDataset, tmp_path: Path, flattened: bool
) -> None:
    NotingTrainer.batches = []
    collate = PackedCollator(packed, flattened=flattened)
    trainer = trainer_on(
        packed,
        tmp_path / "run",
        of=NotingTrainer,
        collator=collate,
        evaluation=packed[:5],
        gradient_accumulation_steps=2,
        logging_steps=1,
        max_steps=1,
        save_strategy="no",
    )
    before = deepcopy(trainer.model).eval()
    trainer.train()
    assert [tuple(batch["input_ids"].shape) for batch in NotingTrainer.batches] == (
        [(1, 48), (1, 48)] if flattened else [(2, 24), (2, 24)]
    )
    assert "attention_mask" not in NotingTrainer.batches[0]
    logged = trainer.state.log_history[0]["loss"]
    with torch.no_grad():
        expected = loss_of_documents_alone(before, NotingTrainer.batches)
    assert logged == pytest.approx(expected, abs=1e-4), "of both batches of the step"
    with torch.no_grad():
        expected = loss_of_documents_alone(trainer.model.eval(), [collate(list(packed[:5]))])
    assert trainer.evaluate()["eval_loss"] == pytest.approx(expected, abs=1e-4)


@pytest.mark.campaign
def test_a_run_that_goes_on_ends_with_the_weights_of_one_that_was_never_stopped(
    packed: PickledTrainerDataset, tmp_path: Path
) -> None:
    constant: dict[str, Any] = {"lr_scheduler_type": "constant"}
    whole = trainer_on(packed, tmp_path / "whole", **constant)
    whole.train()
    trainer_on(packed, tmp_path / "run", max_steps=2, **constant).train()
    resumed = trainer_on(packed, tmp_path / "run", **constant)
    resumed.train(resume_from_checkpoint=True)
    assert resumed.state.global_step == 4
    weights = whole.model.state_dict()
    assert all(tensor.equal(weights[name]) for name, tensor in resumed.model.state_dict().items())
    with pytest.raises(DatasetError, match="the checkpoint was trained on"):
        trainer_on(packed[:-1], tmp_path / "run").train(resume_from_checkpoint=True)


def refused(dataset: Any, output: Path, attention: str | None = None, **options: Any) -> str:
    trainer = trainer_on(dataset, output, **options)
    if attention:
        trainer.model.config._attn_implementation = attention
    with pytest.raises(DatasetError) as refusal:
        trainer.train()
    assert trainer.state.global_step == 0
    assert not list(output.glob("*")), "before a step"
    return str(refusal.value)


def test_what_would_let_documents_see_each_other_without_a_word_is_refused_before_a_step(
    packed: PickledTrainerDataset, tmp_path: Path
) -> None:
    collate = PackedCollator(packed)

    def collate_with_mask(samples: Any) -> dict[str, torch.Tensor]:
        batch = collate(samples)
        return {**batch, "attention_mask": torch.ones_like(batch["labels"])}

    run = tmp_path / "run"
    assert refused(packed, run, collator=collate_with_mask) == (
        "the data_collator adds an attention_mask (num_samples, seq_length), with which "
        "transformers lets the documents of a sample see each other, whatever position_ids say; "
        "leave it out, as codedata.PackedCollator(train_dataset) does"
    )
    assert refused(ConcatDataset([packed]), run, use_cache=True) == (
        "the model's config.use_cache is True, with which transformers lets the documents of a "
        "sample see each other, whatever position_ids say; leave TrainingArguments.use_cache "
        "False, as it is by default"
    )
    assert refused(packed, run, attention="flash_attention_2") == (
        "the model's attention is flash_attention_2, which lets the documents of a sample see each "
        "other unless a batch has cu_seq_lens_q; give codedata.PackedCollator(train_dataset, "
        "flattened=True)"
    )
    assert "TrainingArguments(remove_unused_columns=False)" in refused(
        packed, run, remove_unused_columns=True
    ), "which takes document_ids out of the samples"


@pytest.mark.parametrize(
    "collator",
    [
        default_data_collator,
        pytest.param(DataCollatorWithFlattening(), marks=pytest.mark.campaign),
    ],
)
def test_batches_that_keep_documents_together_are_trained_on_with_a_line_in_the_log(
    packed: PickledTrainerDataset,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    collator: Any,
) -> None:
    options: dict[str, Any] = {"collator": collator, "max_steps": 1, "save_strategy": "no"}
    with caplog.at_level(logging.WARNING, "codedata"):
        trained = trainer_on(packed, tmp_path / "run", use_cache=True, **options).train()
    assert trained.global_step == 1
    [said] = [record.message for record in caplog.records]
    assert said == (
        "the documents of a sample see each other: batches have no position_ids that start anew "
        "with each; codedata.PackedCollator(train_dataset) keeps them apart"
    )
