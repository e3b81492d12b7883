"""DatasetProvenance: the digest in a Trainer's checkpoints, and no resuming on other samples."""

import json
import logging
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Subset, random_split
from transformers import LlamaConfig, LlamaForCausalLM, Trainer, TrainingArguments

from codedata import DatasetProvenance
from codedata.errors import DatasetError
from codedata.pickle_dataset import PickledTrainerDataset
from codedata.training.identity import digest_of
from codedata_tests import scenario

ORDER = {
    "samples_a_step": 4,
    "steps_an_epoch": 6,
    "sampler": "SeedableRandomSampler",
    "seed": 42,
}


def dataset_of(folder: Path, seed: int) -> PickledTrainerDataset:
    if not folder.exists():
        ids = np.random.default_rng(seed).integers(0, 64, (24, 8))
        scenario.write_dataset(folder, [ids])
    return PickledTrainerDataset(folder, quiet=True)


@pytest.fixture
def train(tmp_path: Path) -> PickledTrainerDataset:
    return dataset_of(tmp_path / "train", seed=0)


@pytest.fixture
def other(tmp_path: Path) -> PickledTrainerDataset:
    return dataset_of(tmp_path / "other", seed=1)


def trainer_on(
    dataset: Any,
    output: Path,
    *,
    max_steps: int,
    record: bool = True,
    batch_size: int = 4,
    collator: Any = None,
    tokenizer: Any = None,
    **options: Any,
) -> Trainer:
    config = LlamaConfig(
        vocab_size=64,
        hidden_size=8,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    arguments = TrainingArguments(
        output_dir=str(output),
        max_steps=max_steps,
        per_device_train_batch_size=batch_size,
        save_steps=2,
        use_cpu=True,
        report_to=[],
        disable_tqdm=True,
        dataloader_pin_memory=False,
        **options,
    )
    return Trainer(
        model=LlamaForCausalLM(config),
        args=arguments,
        train_dataset=dataset,
        data_collator=collator,
        processing_class=tokenizer,
        callbacks=[DatasetProvenance()] if record else [],
    )


def recorded(checkpoint: Path) -> dict[str, Any]:
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    return state["stateful_callbacks"]["DatasetProvenance"]["attributes"]


def test_each_checkpoint_says_what_it_was_trained_on(
    train: PickledTrainerDataset, tmp_path: Path
) -> None:
    trainer_on(train, tmp_path / "run", max_steps=4).train()
    for step in (2, 4):
        assert recorded(tmp_path / f"run/checkpoint-{step}") == {
            "digest": train.digest,
            "folders": [f"{tmp_path}/train"],
            "order": ORDER,
            "restarted": False,
        }


@pytest.mark.parametrize("restore", [False, True])
def test_training_goes_on_with_the_same_dataset_wherever_it_and_the_checkpoint_lie_now(
    train: PickledTrainerDataset, tmp_path: Path, restore: bool
) -> None:
    trainer_on(train, tmp_path / "run", max_steps=2).train()
    (tmp_path / "train").rename(tmp_path / "moved")
    (tmp_path / "run/checkpoint-2").rename(tmp_path / "elsewhere")
    moved = dataset_of(tmp_path / "moved", seed=0)
    trainer = trainer_on(
        moved,
        tmp_path / "again",
        max_steps=4,
        restore_callback_states_from_checkpoint=restore,
    )
    assert trainer.train(resume_from_checkpoint=str(tmp_path / "elsewhere")).global_step == 4
    assert recorded(tmp_path / "again/checkpoint-4") == {
        "digest": train.digest,
        "folders": [f"{tmp_path}/moved"],
        "order": ORDER,
        "restarted": False,
    }


@pytest.mark.parametrize("restore", [False, pytest.param(True, marks=pytest.mark.campaign)])
@pytest.mark.parametrize("kind", ["another folder", "a slice", "one folder more"])
def test_going_on_with_other_samples_is_refused_before_a_step(
    train: PickledTrainerDataset,
    other: PickledTrainerDataset,
    tmp_path: Path,
    kind: str,
    restore: bool,
) -> None:
    trainer_on(train, tmp_path / "run", max_steps=2).train()
    both = PickledTrainerDataset([tmp_path / "train", tmp_path / "other"], quiet=True)
    wrong = {"another folder": other, "a slice": train[1:], "one folder more": both}[kind]
    trainer = trainer_on(
        wrong, tmp_path / "run", max_steps=4, restore_callback_states_from_checkpoint=restore
    )
    with pytest.raises(DatasetError) as refusal:
        trainer.train(resume_from_checkpoint=True)
    folders = ", ".join(str(each.folder) for each in wrong.datasets)
    assert str(refusal.value) == (
        f"the checkpoint was trained on {tmp_path}/train (digest {train.digest}), but "
        f"train_dataset is {folders} (digest {wrong.digest}); give the dataset that it was "
        "trained on, or start anew without resume_from_checkpoint"
    )
    assert not (tmp_path / "run/checkpoint-4").exists()
    trainer_on(train, tmp_path / "run", max_steps=4).train(resume_from_checkpoint=True)


def test_a_checkpoint_without_a_record_is_taken_with_a_warning_and_has_one_from_then_on(
    train: PickledTrainerDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer_on(train, tmp_path / "run", max_steps=2, record=False).train()
    trainer = trainer_on(train, tmp_path / "run", max_steps=4)
    with caplog.at_level(logging.WARNING, "codedata"):
        trainer.train(resume_from_checkpoint=True)
    assert "does not say what it was trained on" in caplog.text
    assert recorded(tmp_path / "run/checkpoint-4")["digest"] == train.digest


def test_training_anew_in_the_same_folder_may_take_any_dataset(
    train: PickledTrainerDataset, other: PickledTrainerDataset, tmp_path: Path
) -> None:
    trainer_on(train, tmp_path / "run", max_steps=2).train()
    trainer_on(other, tmp_path / "run", max_steps=2).train()
    assert recorded(tmp_path / "run/checkpoint-2")["digest"] == other.digest


def test_a_dataset_without_a_digest_is_refused(tmp_path: Path) -> None:
    rows: Any = [{"input_ids": torch.arange(4), "labels": torch.arange(4)}] * 8
    with pytest.raises(DatasetError, match="is a Subset of list, which has no digest to record"):
        trainer_on(Subset(rows, [0, 1, 2, 3]), tmp_path / "run", max_steps=2).train()


def test_wrapped_datasets_are_recorded_with_every_folder_and_others_of_the_kind_refused(
    train: PickledTrainerDataset, other: PickledTrainerDataset, tmp_path: Path
) -> None:
    def wrapped(seed: int) -> Any:
        both = ConcatDataset([train, Subset(other, range(12))])
        return random_split(both, [24, 12], torch.Generator().manual_seed(seed))[0]

    trainer_on(wrapped(0), tmp_path / "run", max_steps=2).train()
    record = recorded(tmp_path / "run/checkpoint-2")
    assert record["digest"] == digest_of(wrapped(0))
    assert record["folders"] == [f"{tmp_path}/train", f"{tmp_path}/other"]
    with pytest.raises(DatasetError, match=r"but train_dataset is .*; give the dataset that it"):
        trainer_on(wrapped(1), tmp_path / "run", max_steps=4).train(resume_from_checkpoint=True)
    trainer_on(wrapped(0), tmp_path / "run", max_steps=4).train(resume_from_checkpoint=True)


# Samples a step, and what else decides the order


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"batch_size": 8}, "samples_a_step 4, now it is 8 (per_device_train_batch_size * grad"),
        ({"gradient_accumulation_steps": 2}, "samples_a_step 4, now it is 8 (per_device_train_b"),
        ({"seed": 7}, "seed 42, now it is 7 (data_seed, else seed)"),
        ({"data_seed": 7}, "seed 42, now it is 7 (data_seed, else seed)"),
        (
            {"train_sampling_strategy": "sequential"},
            "sampler 'SeedableRandomSampler', now it is 'SequentialSampler' (train_sampling_strat",
        ),
    ],
    ids=str,
)
def test_going_on_in_another_order_is_refused_with_both_values(
    train: PickledTrainerDataset, tmp_path: Path, changed: dict[str, Any], said: str
) -> None:
    trainer_on(train, tmp_path / "run", max_steps=2).train()
    trainer = trainer_on(train, tmp_path / "run", max_steps=4, **changed)
    with pytest.raises(DatasetError) as refusal:
        trainer.train(resume_from_checkpoint=True)
    assert f"the checkpoint was trained with {said}" in str(refusal.value)
    assert "set what it had, or ignore_data_skip=True" in str(refusal.value)


def test_an_epoch_of_another_length_is_refused_and_the_same_steps_in_other_parts_go_on(
    train: PickledTrainerDataset, tmp_path: Path
) -> None:
    part = train[:22]
    trainer_on(part, tmp_path / "run", max_steps=2).train()
    shorter = trainer_on(part, tmp_path / "run", max_steps=4, dataloader_drop_last=True)
    with pytest.raises(DatasetError, match="steps_an_epoch 6, now it is 5"):
        shorter.train(resume_from_checkpoint=True)
    halved = trainer_on(
        part, tmp_path / "run", max_steps=4, batch_size=2, gradient_accumulation_steps=2
    )
    halved.train(resume_from_checkpoint=True)
    assert recorded(tmp_path / "run/checkpoint-4")["order"] == ORDER


def test_whoever_ignores_the_skipping_is_warned_and_may_only_go_on_so(
    train: PickledTrainerDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer_on(train, tmp_path / "run", max_steps=2).train()
    again: dict[str, Any] = {"batch_size": 8, "ignore_data_skip": True}
    with caplog.at_level(logging.WARNING, "codedata"):
        trainer_on(train, tmp_path / "run", max_steps=4, **again).train(resume_from_checkpoint=True)
    assert "ignore_data_skip: the epoch begins anew" in caplog.text
    record = recorded(tmp_path / "run/checkpoint-4")
    assert (record["order"]["samples_a_step"], record["restarted"]) == (8, True)
    with pytest.raises(DatasetError, match="its steps do not say which samples are done; go on"):
        trainer_on(train, tmp_path / "run", max_steps=6, batch_size=8).train(
            resume_from_checkpoint=True
        )
    trainer_on(train, tmp_path / "run", max_steps=6, **again).train(resume_from_checkpoint=True)


def test_a_checkpoint_that_says_its_dataset_but_no_order_is_taken_with_a_warning(
    train: PickledTrainerDataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    trainer_on(train, tmp_path / "run", max_steps=2).train()
    path = tmp_path / "run/checkpoint-2/trainer_state.json"
    state = json.loads(path.read_text())
    attributes = state["stateful_callbacks"]["DatasetProvenance"]["attributes"]
    del attributes["order"], attributes["restarted"]
    path.write_text(json.dumps(state))
    with caplog.at_level(logging.WARNING, "codedata"):
        trainer_on(train, tmp_path / "run", max_steps=4).train(resume_from_checkpoint=True)
    assert "does not say how many samples a step had" in caplog.text
    assert recorded(tmp_path / "run/checkpoint-4")["order"] == ORDER


def test_without_transformers_the_callback_names_the_command_and_the_loader_works() -> None:
    code = (
        "import sys; sys.modules['transformers'] = None\n"
        "from codedata import PaddingCollator, ResumableLoader\n"
        "try:\n    from codedata import DatasetProvenance\n"
        "except ImportError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == (
        "DatasetProvenance is for transformers' Trainer; pip install transformers accelerate\n"
    )
