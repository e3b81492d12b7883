"""GlobalBatchSampler: global batches that no number of ranks changes, and its state."""

import json
import tracemalloc
from collections.abc import Iterable
from itertools import chain, islice, zip_longest
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from codedata.errors import SettingsError
from codedata.format.order import ComputedOrder
from codedata.training.sampler import GlobalBatchSampler

Batches = list[list[int]]


def joined(lists: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


def rank_sampler(num_samples: int, rank: int = 0, ranks: int = 1, **options: Any):
    return GlobalBatchSampler(
        range(num_samples), rank=rank, world_size=ranks, require_digest=False, **options
    )


def order_of(num_samples: int, seed: int, epoch: int) -> list[int]:
    return ComputedOrder(num_samples, seed, epoch).take(0, num_samples).tolist()


def test_ranks_draw_their_shares_of_the_batches_of_the_epoch_s_order() -> None:
    sampler = rank_sampler(10, global_batch_size=4)
    assert list(sampler) == [[4, 3, 6, 5], [8, 2, 0, 7]]
    assert len(sampler) == 2
    sampler.set_epoch(1)
    assert list(sampler) == [[6, 0, 7, 4], [5, 1, 3, 9]]
    assert list(rank_sampler(10, 0, 2, global_batch_size=4)) == [[4, 3], [8, 2]]
    assert list(rank_sampler(10, 1, 2, global_batch_size=4)) == [[6, 5], [0, 7]]
    micro = rank_sampler(10, 1, 2, global_batch_size=8, micro_batch_size=2)
    assert list(micro) == [[8, 2], [0, 7]]
    assert len(micro) == 2
    as_they_stand = rank_sampler(7, global_batch_size=3, shuffle=False)
    as_they_stand.set_epoch(1)
    assert list(as_they_stand) == [[0, 1, 2], [3, 4, 5]]


@given(
    num_samples=st.integers(1, 200),
    ranks=st.integers(1, 5),
    micro=st.integers(1, 4),
    per_share=st.integers(1, 3),
)
def test_without_drop_last_the_ranks_give_out_every_sample_once(
    num_samples: int, ranks: int, micro: int, per_share: int
) -> None:
    sizes = {"global_batch_size": ranks * micro * per_share, "micro_batch_size": micro}
    samplers = [
        rank_sampler(num_samples, rank, ranks, drop_last=False, **sizes) for rank in range(ranks)
    ]
    drawn = [list(sampler) for sampler in samplers]
    assert [len(sampler) for sampler in samplers] == [len(batches) for batches in drawn]
    assert all(0 < len(batch) <= micro for batches in drawn for batch in batches)
    counts = [sum(map(len, batches)) for batches in drawn]
    assert max(counts) - min(counts) <= 1
    assert sorted(joined(map(joined, drawn))) == list(range(num_samples))
    together = [joined(each) for each in zip_longest(*drawn, fillvalue=[])]
    assert [*samplers[-1].upcoming(range(ranks))] == together


# State


@given(
    before=st.sampled_from([1, 2, 4]),
    after=st.sampled_from([1, 2, 3, 4, 6, 12]),
    micro=st.sampled_from([1, None]),
    done=st.integers(0, 8),
    batch_size=st.sampled_from([12, 24]),
    epoch=st.integers(0, 3),
)
def test_after_any_batch_any_number_of_ranks_goes_on_with_the_very_same_samples(
    before: int, after: int, micro: int | None, done: int, batch_size: int, epoch: int
) -> None:
    order = order_of(101, 5, epoch)
    first = rank_sampler(101, 0, before, global_batch_size=12, seed=5)
    first.set_epoch(epoch)
    iterator = iter(first)
    drawn = [next(iterator) for _ in range(min(done, 7))]
    assert drawn == [order[i * 12 : i * 12 + 12 // before] for i in range(len(drawn))]
    state = json.loads(json.dumps(first.state_dict()))
    shares: list[Batches] = []
    for rank in range(after):
        sizes: dict[str, Any] = {"global_batch_size": batch_size, "micro_batch_size": micro}
        sampler = rank_sampler(101, rank, after, seed=5, **sizes)
        sampler.load_state_dict(state)
        num_batches = len(sampler)
        shares.append(list(sampler))
        assert len(shares[-1]) == num_batches
        assert len(list(sampler)) >= num_batches, "the rest of an epoch is for one iteration"
    rest = order[len(drawn) * 12 :]
    batches = [rest[i : i + batch_size] for i in range(0, len(rest) - batch_size + 1, batch_size)]
    assert sorted(joined(map(joined, shares))) == sorted(joined(batches))
    if micro is None:
        assert [joined(each) for each in zip(*shares, strict=True)] == batches


def test_a_state_is_of_json_s_types_whatever_integers_were_given() -> None:
    numbers: dict[str, Any] = {"global_batch_size": np.int64(8), "micro_batch_size": np.int32(2)}
    sampler = rank_sampler(70, 1, 2, seed=np.int16(3), **numbers)
    state = sampler.state_after(5)
    assert json.loads(json.dumps(state)) == state


def test_the_state_says_epoch_and_samples_done_and_what_decides_the_order() -> None:
    sampler = rank_sampler(20, 1, 2, global_batch_size=6, micro_batch_size=1, seed=4)
    sampler.set_epoch(3)
    identity = {"dataset": None, "num_samples": 20, "seed": 4, "shuffle": "feistel"}
    assert sampler.state_dict() == {"epoch": 3, "samples_done": 0, **identity}
    done = [sampler.state_after(n)["samples_done"] for n in range(9)]
    assert done == [0, 0, 0, 6, 6, 6, 12, 12, 12], "whole global batches only"
    assert sampler.state_after(9) == {"epoch": 4, "samples_done": 0, **identity}


def test_set_epoch_keeps_the_place_in_the_epoch_of_a_state_and_no_other() -> None:
    sampler = rank_sampler(20, global_batch_size=5)
    state = {**sampler.state_dict(), "epoch": 2, "samples_done": 10}
    sampler.load_state_dict(state)
    order = order_of(20, 0, 2)
    sampler.set_epoch(2)
    assert list(sampler) == [order[10:15], order[15:]]
    assert len(list(sampler)) == 4, "for one iteration"
    sampler.load_state_dict(state)
    for epoch in (3, 2):
        sampler.set_epoch(epoch)
        assert len(list(sampler)) == 4


def test_sizes_that_do_not_fit_are_refused() -> None:
    refused: dict[str, dict[str, Any]] = {
        "9 cannot be shared equally by 2 ranks; choose a": {"global_batch_size": 9, "ranks": 2},
        "global_batch_size is .*; write a whole number of 1 or more": {"global_batch_size": 0},
        "global_batch_size is .*1000.0.*; write a whole number": {"global_batch_size": 1e3},
        "micro_batch_size 3 does not divide the": {"micro_batch_size": 3},
        "micro_batch_size is .*; write a whole number of 1": {"micro_batch_size": 0},
        "seed is .*-1.*; write a whole number of 0 or more": {"seed": -1},
        "rank 2 is none of 2 ranks": {"rank": 2, "ranks": 2},
        "has 100 samples, fewer than global_batch_size 101": {"global_batch_size": 101},
    }
    for said, options in refused.items():
        with pytest.raises(SettingsError, match=said):
            rank_sampler(100, **{"global_batch_size": 8, **options})


def test_a_state_of_another_order_is_refused() -> None:
    state = rank_sampler(10, global_batch_size=2).state_dict()
    for other, said in [
        ({"seed": 1}, "seed 0, but this sampler has 1"),
        ({"shuffle": False}, "shuffle 'feistel', but this sampler has False"),
        ({"num_samples": 11}, "num_samples 10, but this sampler has 11"),
    ]:
        options: dict[str, Any] = {"num_samples": 10, "global_batch_size": 2, **other}
        with pytest.raises(SettingsError, match=f"the state is of {said}: the order would be"):
            rank_sampler(**options).load_state_dict(state)


# Any size


@pytest.mark.parametrize("options", [{}, {"shuffle": False}, {"drop_last": False}])
def test_a_billion_samples_take_no_memory_to_draw_from(options: dict[str, Any]) -> None:
    tracemalloc.start()
    sampler = rank_sampler(10**9 + 1, 3, 4, global_batch_size=32, **options)
    sampler.load_state_dict({**sampler.state_dict(), "samples_done": 32 * 10**7})
    assert len(sampler) == (10**9 + 1 - 32 * 10**7) // 32
    first = list(islice(sampler, 1000))
    position = sampler.state_dict()
    assert position["samples_done"] == 32 * (10**7 + 1000)
    assert first[:2] == list(islice(sampler.upcoming(), 2)), "to look ahead moves nothing"
    assert sampler.state_dict() == position
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 3e6
    assert len({number for batch in first for number in batch}) == 8000


def test_what_is_drawn_at_once_changes_no_batch() -> None:
    order = order_of(9001, 0, 0)
    for size, micro in [(1, 1), (8, 2), (4095, 4095), (4096, 512), (8999, 8999)]:
        sampler = rank_sampler(
            9001, global_batch_size=size, micro_batch_size=micro, drop_last=False
        )
        batches = list(sampler)
        assert joined(batches) == order
        assert {len(batch) for batch in batches[:-1]} <= {micro}


# Ranks


def test_ranks_are_those_of_torchrun_where_nothing_else_says(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert list(GlobalBatchSampler(range(10), global_batch_size=4)) == [[6, 5], [0, 7]]
