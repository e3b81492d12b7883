"""States as they come back from checkpoints: what is no state is refused before anything moves."""

from typing import Any

import numpy as np
import pytest
import torch

from codedata import GlobalBatchSampler
from codedata.errors import SettingsError

STATE = {"epoch": 2, "samples_done": 8, "num_samples": 20, "seed": 0, "shuffle": "feistel"}


def sampler() -> GlobalBatchSampler:
    return GlobalBatchSampler(range(20), global_batch_size=4, require_digest=False)


@pytest.mark.parametrize(
    ("state", "said"),
    [
        (None, "the state is None, no mapping; give .*: a checkpoint's get.* gives None for a key"),
        ("path.pt", "the state is 'path.pt', no mapping; give what state_dict"),
        ({}, "has no epoch, samples_done, num_samples, seed, shuffle, but nothing at all; give"),
        ({"model": 1, "loader": STATE}, "has no epoch, .*, but 'model', 'loader'; give what"),
        ({**STATE, "samples_done": -8}, "samples_done of the state is .*-8"),
        ({**STATE, "samples_done": 8.5}, "samples_done of the state is .*8.5"),
        ({**STATE, "samples_done": 24}, "the state has 24 samples_done, more than its num_samples"),
        ({**STATE, "samples_done": True}, "samples_done of the state is .*True"),
        ({**STATE, "epoch": -1}, "epoch of the state is .*-1"),
        ({**STATE, "epoch": "1"}, "epoch of the state is .*1.*; write a whole number of 0 or more"),
        ({**STATE, "drawn": 3}, "drawn of the state is 3, no mapping"),
        ({**STATE, "drawn": {"code": 0.5}}, "drawn of code in the state is .*0.5"),
    ],
)
def test_what_is_no_state_is_refused_by_what_is_wrong_with_it(state: Any, said: str) -> None:
    loaded = sampler()
    before = loaded.state_dict()
    with pytest.raises(SettingsError, match=said) as refusal:
        loaded.load_state_dict(state)
    assert "\n" not in str(refusal.value)
    assert loaded.state_dict() == before


def test_numbers_of_other_libraries_are_whole_numbers_and_the_next_state_is_of_json_s_types() -> (
    None
):
    loaded = sampler()
    loaded.load_state_dict({**STATE, "epoch": np.int64(2), "samples_done": torch.tensor(8)})
    assert {type(each) for each in loaded.state_dict().values()} == {int, str, type(None)}
    loaded.set_epoch(np.int32(5))  # pyright: ignore[reportArgumentType]
    assert type(loaded.state_dict()["epoch"]) is int


@pytest.mark.parametrize("epoch", [-1, None, 1.5, "1"])
def test_an_epoch_that_there_is_not_is_refused_when_it_is_set(epoch: Any) -> None:
    with pytest.raises(SettingsError, match=r"epoch is .*; write a whole number of 0 or more"):
        sampler().set_epoch(epoch)
