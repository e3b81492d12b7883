"""DatasetProvenance over a Mixture: its sources in checkpoints, and no sample twice."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from accelerate.data_loader import prepare_data_loader
from torch.utils.data import DataLoader, WeightedRandomSampler
from transformers import TrainerControl, TrainerState, TrainingArguments

from codedata import DatasetProvenance, Mixture
from codedata.errors import DatasetError
from codedata_tests import scenario
from codedata_tests.training.runs import logged
from codedata_tests.training.tiny_trainer import tiny_trainer
from codedata_tests.training.trainer_run import NotingTrainer


@pytest.fixture
def mixed(tmp_path: Path) -> Mixture:
    """40 samples: 30 of one dataset, 10 of another."""
    for name, first in (("code", 0), ("docs", 100)):
        scenario.write_dataset(
            tmp_path / name, np.array_split(scenario.numbered(30, first=first), 2)
        )
    sources = [
        {"dataset": tmp_path / "code", "weight": 3},
        {"dataset": tmp_path / "docs", "weight": 1},
    ]
    return Mixture(sources, mask_padding=False)


def train(dataset: Any, output: Path, *, resume: bool = False, **options: Any) -> None:
    given: dict[str, Any] = {
        "train_sampling_strategy": "sequential",
        "num_train_epochs": 1,
        "save_steps": 4,
    }
    given |= {"of": NotingTrainer, **options}
    trainer = tiny_trainer(dataset, output, vocab_size=256, **given)
    with open(output / "rank-0.jsonl", "a", encoding="utf-8") as log:
        NotingTrainer.log_file = log
        trainer.train(resume_from_checkpoint=resume)


@pytest.mark.campaign
def test_a_trainer_gives_the_mixture_in_its_order_and_resumes_and_records_it(
    mixed: Mixture, tmp_path: Path
) -> None:
    (tmp_path / "run").mkdir()
    train(mixed, tmp_path / "run", max_steps=4)
    train(mixed, tmp_path / "run", resume=True)
    order = [int(sample["input_ids"][0]) for sample in mixed]
    steps = [order[start : start + 4] for start in range(0, 40, 4)]
    assert [samples for _, samples, *_ in logged(tmp_path / "run", 0)] == steps
    state = json.loads((tmp_path / "run/checkpoint-10/trainer_state.json").read_text())
    recorded = state["stateful_callbacks"]["DatasetProvenance"]["attributes"]
    assert recorded["digest"] == mixed.digest
    code, docs = recorded["sources"]
    assert (docs["name"], docs["weight"], docs["draws"], docs["epochs"]) == (
        "docs",
        "1/4",
        10,
        0.3333,
    )
    assert code["digest"] == mixed.datasets[0].digest
    assert recorded["folders"] == [str(tmp_path / "code"), str(tmp_path / "docs")]


def test_what_would_give_samples_again_is_refused_before_a_step(
    mixed: Mixture, tmp_path: Path
) -> None:
    (output := tmp_path / "run").mkdir()

    def refused(**options: Any) -> str:
        with pytest.raises(DatasetError) as refusal:
            train(mixed, output, **options)
        assert not logged(output, 0)
        return str(refusal.value)

    message = refused(num_train_epochs=3)
    assert "the mixture has 40 samples, 10 steps, but training has 30" in message
    assert "set num_train_epochs=1, or max_steps=10 at most" in message
    assert "but training has 11" in refused(max_steps=11)


def test_ranks_that_would_fill_up_the_last_step_of_a_mixture_are_refused(
    mixed: Mixture, tmp_path: Path
) -> None:
    class OfTwoRanks(TrainingArguments):
        world_size = property(lambda _: 2)  # pyright: ignore[reportIncompatibleMethodOverride]

    def begin(*, drop_last: bool) -> list[int]:
        """What two ranks would be given, if a run may begin."""
        plain = DataLoader(mixed, batch_size=3, drop_last=drop_last)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        ranks = [
            prepare_data_loader(plain, num_processes=2, process_index=rank, put_on_device=False)
            for rank in (0, 1)
        ]
        seen = [int(i) for rank in ranks for batch in rank for i in batch["input_ids"][:, 0]]
        arguments = OfTwoRanks(str(tmp_path), dataloader_drop_last=drop_last, use_cpu=True)
        state = TrainerState(max_steps=len(ranks[0]))
        DatasetProvenance().on_train_begin(
            arguments, state, TrainerControl(), train_dataloader=ranks[0], model=None
        )
        return seen

    seen = begin(drop_last=True)
    assert len({*seen}) == len(seen) == 36
    with pytest.raises(DatasetError, match=r"2 ranks fill up .* set dataloader_drop_last=True"):
        begin(drop_last=False)


@pytest.mark.campaign
def test_a_checkpoint_of_another_mixture_and_beginning_anew_are_refused(
    mixed: Mixture, tmp_path: Path
) -> None:
    (output := tmp_path / "run").mkdir()
    train(mixed, output, max_steps=4)
    sources = [{"dataset": tmp_path / name, "weight": 1} for name in ("code", "docs")]
    with pytest.raises(DatasetError, match="the checkpoint was trained on"):
        train(Mixture(sources, mask_padding=False), output, resume=True)
    with pytest.raises(DatasetError, match=r"ignore_data_skip would begin it anew"):
        train(mixed, output, resume=True, ignore_data_skip=True)


@pytest.mark.campaign
def test_a_sampler_of_the_trainer_s_that_shuffles_or_repeats_is_refused(
    mixed: Mixture, tmp_path: Path
) -> None:
    class Repeating(NotingTrainer):
        def _get_train_sampler(self, train_dataset: Any = None) -> WeightedRandomSampler:  # noqa: ARG002
            return WeightedRandomSampler([1.0] * 40, 40, replacement=True)

    (output := tmp_path / "run").mkdir()
    with pytest.raises(DatasetError, match=r'set .*train_sampling_strategy="sequential"\)'):
        train(mixed, output, max_steps=1, train_sampling_strategy="random")
    with pytest.raises(DatasetError, match="WeightedRandomSampler draws with replacement"):
        train(mixed, output, max_steps=1, of=Repeating)
