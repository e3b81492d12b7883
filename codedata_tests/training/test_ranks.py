"""Ranks: which one a process is by what is said of it, and by what turns out later."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
import torch.distributed
from torch.testing._internal.distributed.fake_pg import FakeStore
from torch.utils.data import DataLoader

from codedata import GlobalBatchSampler, ResumableLoader
from codedata.errors import SettingsError

LATER = r"made as rank 0 of 1, before .* is rank 1 of 2, .*after init_process_group, or give rank="


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)


@contextmanager
def group(rank: int, world_size: int) -> Iterator[None]:
    """A process group whose other ranks are nobody."""
    torch.distributed.init_process_group(
        "fake", rank=rank, world_size=world_size, store=FakeStore()
    )
    try:
        yield
    finally:
        torch.distributed.destroy_process_group()


def loader(**options: Any) -> ResumableLoader:
    samples: Any = torch.arange(16)
    return ResumableLoader(samples, global_batch_size=4, require_digest=False, **options)


@pytest.mark.parametrize("num_workers", [0, 1])
def test_a_loader_that_was_made_before_the_process_group_gives_no_batch(num_workers: int) -> None:
    made = loader(num_workers=num_workers)
    given = loader(rank=0, world_size=1)
    samples: Any = torch.arange(16)
    plain = DataLoader(samples, batch_sampler=made.batch_sampler)
    with group(1, 2):
        for each in (made, plain):
            with pytest.raises(SettingsError, match=LATER):
                next(iter(each))
        assert len([*given]) == 4, "whoever says it knows it"
        now = loader()
        assert (now.batch_sampler.rank, now.batch_sampler.world_size) == (1, 2)
        assert [len(batch) for batch in now] == [2] * 4
    assert len([*now]) == 4, "the group is gone, the rank is the same"


def test_variables_that_are_set_after_a_loader_was_made_are_seen(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sampler = GlobalBatchSampler(range(16), global_batch_size=4)
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(SettingsError, match=LATER):
        next(iter(sampler))


@pytest.mark.parametrize(
    ("variables", "options", "said"),
    [
        ({"WORLD_SIZE": "4"}, {}, "WORLD_SIZE is in the environment, and RANK is not: .* set both"),
        ({"RANK": "0"}, {}, "RANK is in the environment, and WORLD_SIZE is not"),
        ({"RANK": "x", "WORLD_SIZE": "4"}, {}, "RANK is 'x' in the environment; set a whole"),
        ({"RANK": "0", "WORLD_SIZE": ""}, {}, "WORLD_SIZE is '' in the environment"),
        ({}, {"world_size": 4}, "world_size 4 was given, and nothing says which of these"),
        ({}, {"rank": 1}, "rank 1 is none of 1 ranks"),
        ({}, {"rank": 1.0, "world_size": 2}, "rank is .*1.0.*; write a whole number"),
        ({"RANK": "x"}, {"rank": 1, "world_size": 2}, None),
        ({"WORLD_SIZE": "1"}, {}, None),
        ({"RANK": "1", "WORLD_SIZE": "2"}, {"world_size": 4}, None),
    ],
)
def test_one_number_without_the_other_is_refused(
    variables: dict[str, str],
    options: dict[str, Any],
    said: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    if said is None:
        assert [*loader(**options)]
        return
    with pytest.raises(SettingsError, match=said):
        loader(**options)
