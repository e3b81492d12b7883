"""PickledTrainerDataset in training: DataLoader, pickling, samplers, transformers' Trainer."""

import multiprocessing
import pickle
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader
from transformers import set_seed

from codedata.errors import DatasetError
from codedata.format.packing import IdArray
from codedata.pickle_dataset import PickledTrainerDataset
from codedata_tests import scenario
from codedata_tests.training.tiny_trainer import tiny_model, tiny_trainer

# Python 3.12 and later warn of every fork of a process with threads, and torch has some: DataLoader
# forks by default all the same.
pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
)

VOCAB_SIZE = 600
SEQ_LENGTH = 16


def write_dataset(folder: Path, ids: IdArray, *, num_shards: int = 3) -> Path:
    """A dataset folder of `ids`, shape (num_samples, seq_length)."""
    return scenario.write_dataset(folder, np.array_split(ids, num_shards))


def opened(folder: Path | str) -> PickledTrainerDataset:
    return PickledTrainerDataset(folder, quiet=True)


def stacked(dataset: PickledTrainerDataset) -> IdArray:
    return np.stack([sample["input_ids"].numpy() for sample in dataset])


@pytest.fixture
def ids() -> IdArray:
    """38 different samples, shape (38, SEQ_LENGTH)."""
    samples = np.random.default_rng(0).integers(0, VOCAB_SIZE, (38, SEQ_LENGTH))
    samples[:, 0] = np.arange(38)
    return samples


@pytest.fixture
def folder(ids: IdArray, tmp_path: Path) -> Path:
    return write_dataset(tmp_path / "train", ids)


@pytest.mark.parametrize(("num_workers", "context"), [(0, None), (2, "fork"), (1, "spawn")])
def test_a_data_loader_gives_all_samples_in_order(
    folder: Path, ids: IdArray, num_workers: int, context: str | None
) -> None:
    loader: DataLoader[dict[str, torch.Tensor]] = DataLoader(
        opened(folder)[1:],
        batch_size=5,
        num_workers=num_workers,
        multiprocessing_context=multiprocessing.get_context(context) if context else None,
    )
    batches = list(loader)
    assert [len(batch["input_ids"]) for batch in batches] == [5] * 7 + [2]
    for key in ("input_ids", "labels"):
        assert torch.equal(torch.cat([batch[key] for batch in batches]), torch.from_numpy(ids[1:]))


def test_a_pickled_dataset_carries_no_samples_and_opens_the_same_files(
    folder: Path,
    ids: IdArray,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:
    write_dataset(tmp_path / "other", ids[::-1], num_shards=1)
    monkeypatch.chdir(tmp_path)
    whole = PickledTrainerDataset(["train", "other"])
    assert "Total samples: 76" in capfd.readouterr().out
    part, expected = whole[-1:30:-3], np.concatenate([ids, ids[::-1]])[-1:30:-3]
    pickled = [pickle.dumps(part, protocol=p) for p in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    monkeypatch.chdir("/")
    for data in pickled:
        assert len(data) < ids.size, "less than a byte a token"
        again: PickledTrainerDataset = pickle.loads(pickle.dumps(pickle.loads(data)))
        assert np.array_equal(stacked(again), expected)
        assert (again.seq_length, again.digest) == (SEQ_LENGTH, part.digest)
    assert np.array_equal(stacked(part), expected), "pickling leaves the dataset as it was"
    assert capfd.readouterr() == ("", ""), "and says nothing"


def test_unpickling_is_refused_once_another_dataset_replaced_the_folder(
    folder: Path, ids: IdArray
) -> None:
    data = pickle.dumps(opened(folder))
    shutil.rmtree(folder)
    with pytest.raises(DatasetError, match=f"{folder} is no dataset folder"):
        pickle.loads(data)
    other = ids.copy()
    other[20, 3] ^= 1
    write_dataset(folder, other)
    with pytest.raises(DatasetError, match=f"{folder} was replaced by another dataset"):
        pickle.loads(data)
    shutil.rmtree(folder)
    write_dataset(folder, ids)
    assert np.array_equal(stacked(pickle.loads(data)), ids), "the same dataset again is welcome"


def repetitive(num_samples: int, seed: int) -> IdArray:
    """Samples that each run through the same cycle of eight tokens, from a place of their own."""
    cycle = np.array([3, 598, 41, 7, 300, 12, 599, 77])
    starts = np.random.default_rng(seed).integers(0, len(cycle), num_samples)
    return cycle[(starts[:, None] + np.arange(SEQ_LENGTH)) % len(cycle)]


def test_transformers_trainer_learns_from_the_samples(tmp_path: Path) -> None:
    train = opened(write_dataset(tmp_path / "train", repetitive(100, seed=1)))
    evaluation = opened(write_dataset(tmp_path / "validation", repetitive(30, seed=2)))[:8]
    set_seed(0)
    sizes = {"hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 2}
    trainer = tiny_trainer(
        train,
        tmp_path / "output",
        model=tiny_model(VOCAB_SIZE, **sizes),
        evaluation=evaluation,
        batch_size=8,
        per_device_eval_batch_size=4,
        max_steps=30,
        learning_rate=1e-2,
        logging_steps=5,
        save_strategy="no",
    )
    before = trainer.evaluate()
    done = trainer.train()
    assert done.global_step == 30
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    assert len(losses) == 6
    uniform = float(np.log(VOCAB_SIZE))
    assert abs(before["eval_loss"] - uniform) < 0.5, "an untrained model knows nothing"
    assert losses[0] > losses[-1] + 2
    after = trainer.evaluate()
    assert after["eval_loss"] < before["eval_loss"] - 2
    labels = trainer.predict(evaluation).label_ids
    assert isinstance(labels, np.ndarray)
    assert np.array_equal(labels, stacked(evaluation)), "the slice, in its order"
