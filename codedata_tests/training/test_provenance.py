"""DatasetProvenance: the digest in a Trainer's checkpoints, and no resuming on other samples."""

import json
import logging
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Subset, random_split
from transformers import Trainer

from codedata.errors import DatasetError
from codedata.pickle_dataset import PickledTrainerDataset
from codedata.training.identity import digest_of
from codedata_tests import scenario
from codedata_tests.training.tiny_trainer import tiny_trainer

ORDER = {
    "samples_a_step": 4,
    "steps_an_epoch": 6,
    "sampler": "SeedableRandomSampler",
    "seed": 42,
}


def write_dataset(folder: Path, seed: int) -> PickledTrainerDataset:
    """22 samples: the last batch of an epoch is half of one."""
    ids = np.random.default_rng(seed).integers(0, 64, (22, 8))
    written = scenario.write_dataset(folder, [ids], last_sample_tokens=[len(ids[0])])
    return PickledTrainerDataset(written, quiet=True)


def trainer_on(dataset: Any, output: Path, *, max_steps: int = 4, **options: Any) -> Trainer:
    return tiny_trainer(
        dataset, output, vocab_size=64, max_steps=max_steps, save_steps=2, **options
    )


def go_on(dataset: Any, output: Path, **options: Any) -> None:
    trainer_on(dataset, output, **options).train(resume_from_checkpoint=True)


def refused(dataset: Any, output: Path, **options: Any) -> str:
    with pytest.raises(DatasetError) as refusal:
        go_on(dataset, output, **options)
    assert not (output / "checkpoint-4").exists(), "before a step"
    return str(refusal.value)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two datasets, `train` and `other`, and `run`: four steps on the first."""
    folder = tmp_path_factory.mktemp("trained")
    write_dataset(folder / "other", seed=1)
    trainer_on(write_dataset(folder / "train", seed=0), folder / "run").train()
    return folder


@pytest.fixture
def train(trained: Path) -> PickledTrainerDataset:
    return PickledTrainerDataset(trained / "train", quiet=True)


@pytest.fixture
def other(trained: Path) -> PickledTrainerDataset:
    return PickledTrainerDataset(trained / "other", quiet=True)


@pytest.fixture
def run(trained: Path, tmp_path: Path) -> Path:
    """The run after its second step."""
    shutil.copytree(trained / "run/checkpoint-2", tmp_path / "run/checkpoint-2")
    return tmp_path / "run"


def recorded(checkpoint: Path) -> dict[str, Any]:
    state = json.loads((checkpoint / "trainer_state.json").read_text())
    return state["stateful_callbacks"]["DatasetProvenance"]["attributes"]


def record_of(dataset: PickledTrainerDataset) -> dict[str, Any]:
    folders = [str(each.folder) for each in dataset.datasets]
    facts = {"digest": dataset.digest, "folders": folders, "masks_padding": dataset.masks_padding}
    return {**facts, "order": ORDER, "restarted": False}


def test_each_checkpoint_says_what_it_was_trained_on(
    trained: Path, train: PickledTrainerDataset
) -> None:
    for step in (2, 4):
        assert recorded(trained / f"run/checkpoint-{step}") == record_of(train)


def test_training_goes_on_with_the_same_dataset_wherever_it_and_the_checkpoint_lie_now(
    trained: Path, run: Path, tmp_path: Path
) -> None:
    shutil.copytree(trained / "train", tmp_path / "moved")
    moved = PickledTrainerDataset(tmp_path / "moved", quiet=True)
    for restore in (False, True):
        again = tmp_path / f"again-{restore}"
        trainer = trainer_on(moved, again, restore_callback_states_from_checkpoint=restore)
        assert trainer.train(resume_from_checkpoint=str(run / "checkpoint-2")).global_step == 4
        assert recorded(again / "checkpoint-4") == record_of(moved)


def test_going_on_with_other_samples_is_refused_before_a_step(
    train: PickledTrainerDataset, other: PickledTrainerDataset, trained: Path, run: Path
) -> None:
    both = PickledTrainerDataset([trained / "train", trained / "other"], quiet=True)
    for wrong, restore in ((other, False), (other, True), (train[1:], False), (both, False)):
        folders = ", ".join(str(each.folder) for each in wrong.datasets)
        assert refused(wrong, run, restore_callback_states_from_checkpoint=restore) == (
            f"the checkpoint was trained on {trained}/train (digest {train.digest}), but "
            f"train_dataset is {folders} (digest {wrong.digest}); give the dataset that it was "
            "trained on, or start anew without resume_from_checkpoint"
        )
    assert refused(train.with_padding_masked(), run) == (
        "the checkpoint was trained with masks_padding False, now it is True: the loss would be of "
        "other tokens from here on; give it without masking, or start anew without "
        "resume_from_checkpoint"
    )


def test_a_checkpoint_that_says_less_is_taken_with_a_warning_and_the_next_says_all(
    train: PickledTrainerDataset, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    path = run / "checkpoint-2/trainer_state.json"
    state = json.loads(path.read_text())
    record = state["stateful_callbacks"]["DatasetProvenance"]["attributes"]
    for missing, said in (
        (("order", "restarted"), "does not say how many samples a step had"),
        (("digest", "folders", "masks_padding"), "does not say what it was trained on"),
    ):
        for name in missing:
            del record[name]
        if not record:
            del state["stateful_callbacks"]["DatasetProvenance"]
        path.write_text(json.dumps(state))
        with caplog.at_level(logging.WARNING, "codedata"):
            go_on(train, run)
        assert said in caplog.text
        assert recorded(run / "checkpoint-4") == record_of(train)
        shutil.rmtree(run / "checkpoint-4")


def test_training_anew_in_the_same_folder_may_take_any_dataset(
    other: PickledTrainerDataset, run: Path
) -> None:
    trainer_on(other, run, max_steps=2).train()
    assert recorded(run / "checkpoint-2")["digest"] == other.digest


def test_a_dataset_without_a_digest_is_refused(tmp_path: Path) -> None:
    rows: Any = [{"input_ids": torch.arange(4), "labels": torch.arange(4)}] * 8
    with pytest.raises(DatasetError, match="is a Subset of list, which has no digest to record"):
        trainer_on(Subset(rows, [0, 1, 2, 3]), tmp_path / "run").train()


def test_wrapped_datasets_are_recorded_with_every_folder_and_others_of_the_kind_refused(
    train: PickledTrainerDataset, other: PickledTrainerDataset, trained: Path, tmp_path: Path
) -> None:
    def wrapped(seed: int) -> Any:
        both = ConcatDataset([train, Subset(other, range(12))])
        return random_split(both, [24, 10], torch.Generator().manual_seed(seed))[0]

    run = tmp_path / "run"
    trainer_on(wrapped(0), run, max_steps=2).train()
    record = recorded(run / "checkpoint-2")
    assert record["digest"] == digest_of(wrapped(0))
    assert record["folders"] == [f"{trained}/train", f"{trained}/other"]
    assert "; give the dataset that it was trained on" in refused(wrapped(1), run)
    go_on(wrapped(0), run)


# Samples a step, and what else decides the order


def test_going_on_in_another_order_is_refused_with_both_values(
    train: PickledTrainerDataset, run: Path
) -> None:
    changes: list[tuple[dict[str, Any], str]] = [
        ({"batch_size": 8}, "samples_a_step 4, now it is 8 (per_device_train_batch_size * grad"),
        ({"gradient_accumulation_steps": 2}, "samples_a_step 4, now it is 8 (per_device_train_b"),
        ({"seed": 7}, "seed 42, now it is 7 (data_seed, else seed)"),
        ({"data_seed": 7}, "seed 42, now it is 7 (data_seed, else seed)"),
        ({"dataloader_drop_last": True}, "steps_an_epoch 6, now it is 5 (dataloader_drop_last"),
        ({"train_sampling_strategy": "sequential"},
         "sampler 'SeedableRandomSampler', now it is 'SequentialSampler' (train_sampling_strat"),
    ]  # fmt: skip
    for changed, said in changes:
        message = refused(train, run, **changed)
        assert f"the checkpoint was trained with {said}" in message
        assert "set what it had, or ignore_data_skip=True" in message


def test_the_same_steps_in_other_parts_go_on(train: PickledTrainerDataset, run: Path) -> None:
    go_on(train, run, batch_size=2, gradient_accumulation_steps=2)
    assert recorded(run / "checkpoint-4") == record_of(train)


def test_whoever_ignores_the_skipping_is_warned_and_may_only_go_on_so(
    train: PickledTrainerDataset, run: Path, caplog: pytest.LogCaptureFixture
) -> None:
    again: dict[str, Any] = {"batch_size": 8, "ignore_data_skip": True}
    with caplog.at_level(logging.WARNING, "codedata"):
        go_on(train, run, **again)
    assert "ignore_data_skip: the epoch begins anew" in caplog.text
    record = recorded(run / "checkpoint-4")
    assert (record["order"]["samples_a_step"], record["restarted"]) == (8, True)
    with pytest.raises(DatasetError, match="its steps do not say which samples are done; go on"):
        go_on(train, run, max_steps=6, batch_size=8)
    go_on(train, run, max_steps=6, **again)
