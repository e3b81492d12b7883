"""EpochOrders: which order an epoch has, by what was asked for, and by the state that goes on."""

import json
import re
from collections.abc import Iterable
from itertools import chain
from pathlib import Path
from typing import Any, cast

import numpy as np
import pytest
from numpy.typing import NDArray
from torch.utils.data import ConcatDataset, Dataset, Subset

from codedata import GlobalBatchSampler, PickledTrainerDataset
from codedata.errors import SettingsError
from codedata.format.order import BlockOrder, ComputedOrder, Order, StoredOrder
from codedata.training.epoch_orders import shard_ends
from codedata_tests import scenario


def joined(lists: Iterable[list[int]]) -> list[int]:
    return list(chain.from_iterable(lists))


def numbers_of(order: Order) -> list[int]:
    return order.take(0, len(order)).tolist()


class Numbers(Dataset[int]):
    """Samples that are their numbers."""

    def __init__(self, number: int) -> None:
        self.number = number

    def __len__(self) -> int:
        return self.number

    def __getitem__(self, index: int) -> int:
        return range(self.number)[index]


class Sharded(Numbers):
    """In shards of 3, 0, 2, 4 and so on."""

    SIZES = (3, 0, 2, 4) * 30

    def shard_ends(self) -> NDArray[np.int64]:
        return np.cumsum(self.SIZES)


class Every(Dataset[int]):
    """Some samples of a dataset inside, whose attributes it hands on."""

    def __init__(self, inner: Any, step: int) -> None:
        self.inner, self.step = inner, step

    def __len__(self) -> int:
        return len(self.inner) // self.step

    def __getitem__(self, index: int) -> Any:
        return self.inner[index * self.step]

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


class Fewer(Sharded):
    def __len__(self) -> int:
        return 10


class Arranged(Numbers):
    """In an order of their own."""

    in_order = True


ENDS = np.cumsum(Sharded.SIZES)
NUM_SHARDED = int(ENDS[-1])


def sampler_of(dataset: Any, **options: Any) -> GlobalBatchSampler:
    return GlobalBatchSampler(dataset, **{"require_digest": False, **options})


def by_blocks(**options: Any) -> GlobalBatchSampler:
    return sampler_of(
        Sharded(NUM_SHARDED), **{"global_batch_size": 6, "shuffle": "blocks", **options}
    )


# The order of a state


def test_a_state_of_an_earlier_release_goes_on_in_its_order_to_the_end_of_training() -> None:
    state = {
        "epoch": 1,
        "samples_done": 12,
        "dataset": None,
        "num_samples": 101,
        "seed": 5,
        "shuffle": True,
    }
    seen: list[list[int]] = []
    for epoch in range(1, 4):  # each epoch in a process of its own
        samplers = [
            sampler_of(Numbers(101), rank=rank, world_size=2, global_batch_size=12, seed=5)
            for rank in range(2)
        ]
        for sampler in samplers:
            sampler.load_state_dict(state)
            sampler.set_epoch(epoch)
        seen += map(joined, zip(*samplers, strict=True))
        state = json.loads(json.dumps(samplers[0].state_dict()))
        assert state["shuffle"] is True
        assert state["epoch"] == epoch + 1
    expected = [numbers_of(StoredOrder(101, 5, epoch)) for epoch in range(1, 4)]
    assert seen == [
        order[i : i + 12]
        for epoch, order in enumerate(expected)
        for i in range(12 if epoch == 0 else 0, 96, 12)
    ]


def test_an_order_that_was_loaded_holds_in_each_epoch_until_another_is_loaded() -> None:
    sampler = sampler_of(Numbers(40), global_batch_size=10)
    new = sampler.state_dict()
    sampler.load_state_dict({**new, "shuffle": True})
    for epoch in range(2):
        sampler.set_epoch(epoch)
        assert joined(sampler) == numbers_of(StoredOrder(40, 0, epoch))
    sampler.load_state_dict(new)
    assert joined(sampler) == numbers_of(ComputedOrder(40, 0, 0))


def test_samples_as_they_stand_have_no_other_order_than_before() -> None:
    sampler = sampler_of(Numbers(9), global_batch_size=2, shuffle=False)
    state = sampler.state_after(2)
    assert state["shuffle"] is False, "the state of an earlier release"
    sampler.load_state_dict(state)
    assert list(sampler) == [[4, 5], [6, 7]]


def test_blocks_go_by_shards_in_an_order_of_each_epoch_s_own_on_any_ranks() -> None:
    state = by_blocks().state_after(7)
    assert state["shuffle"] == "blocks:32"
    for epoch in range(2):
        order = numbers_of(BlockOrder(ENDS, 0, epoch))
        samplers = [by_blocks(rank=rank, world_size=3) for rank in range(3)]
        for sampler in samplers:
            sampler.load_state_dict(json.loads(json.dumps(state)))
            sampler.set_epoch(epoch)
        batches = [joined(each) for each in zip(*samplers, strict=True)]
        assert joined(batches) == order[42 if epoch == 0 else 0 :]


def test_a_state_keeps_the_number_of_shards_of_its_blocks() -> None:
    sampler = by_blocks()
    sampler.load_state_dict({**sampler.state_dict(), "shuffle": "blocks:5"})
    assert joined(sampler) == numbers_of(BlockOrder(ENDS, 0, 0, blocks=5))
    assert sampler.state_dict()["shuffle"] == "blocks:5"
    assert sampler.shuffle == "blocks:5"


def test_blocks_are_of_as_many_shards_as_were_asked_for() -> None:
    sampler = by_blocks(shuffle="blocks:5")
    state = sampler.state_dict()
    assert state["shuffle"] == sampler.shuffle == "blocks:5"
    by_blocks().load_state_dict(state)
    assert joined(sampler) == numbers_of(BlockOrder(ENDS, 0, 0, blocks=5))
    usual = by_blocks(shuffle="blocks:32")
    assert usual.state_dict() == by_blocks().state_dict()
    with pytest.raises(SettingsError, match="shuffle 'blocks:32', but this sampler has 'blocks:5'"):
        sampler.load_state_dict(usual.state_dict())


@pytest.mark.parametrize(
    ("shuffle", "refused"),
    [
        (True, [False, "blocks:32", "sorted", 1, None]),
        ("blocks", [False, True, "feistel", "blocks:0", "blocks:1.5", "blocks", 32, None]),
        (np.False_, [True, "feistel", "blocks:32", 0, None]),
        ("blocks:32", [True, "feistel", "blocks:8", "blocks"]),
    ],
)
def test_a_state_of_an_order_that_was_not_asked_for_is_refused_by_name(
    shuffle: Any, refused: list[Any]
) -> None:
    sampler = by_blocks(shuffle=shuffle)
    state = sampler.state_after(3)
    own = state["shuffle"]
    for name in refused:
        said = re.escape(f"the state is of shuffle {name!r}, but this sampler has {own!r}: the ")
        with pytest.raises(SettingsError, match=said):
            sampler.load_state_dict({**state, "shuffle": name})
    assert sampler.state_after(3) == state


def test_a_dataset_knows_where_its_shards_end_and_a_slice_of_it_too(tmp_path: Path) -> None:
    samples = scenario.numbered(12)
    folders = [
        scenario.write_dataset(tmp_path / "one", [samples[:3], samples[3:7]]),
        scenario.write_dataset(tmp_path / "two", [samples[7:12]]),
    ]
    dataset = PickledTrainerDataset(folders, quiet=True)
    for part, ends in [
        (dataset, [3, 7, 12]),
        (dataset[2:9], [1, 5, 7]),
        (dataset[4:][1:], [0, 2, 7]),
        (dataset[5:5], [0, 0, 0]),
        (dataset[5:6:4], [0, 1, 1]),
    ]:
        assert cast("Any", part.shard_ends()).tolist() == ends
    for part in (dataset[::2], dataset[::-1], dataset[[3, 4]]):
        assert part.shard_ends() is None


def test_where_shards_end_is_known_through_torch_s_own_wrappers() -> None:
    base = Sharded(NUM_SHARDED)
    consecutive = Subset(base, range(2, 8))
    both = ConcatDataset([consecutive, Subset(base, range(3))])
    for dataset, ends in [
        (consecutive, [1, 3, 6]),
        (Subset(base, [4, 5, 6]), [1, 3]),
        (Subset(base, [-6, -5, -4, -3]), [2, 4]),
        (both, [1, 3, 6, 9]),
    ]:
        assert sorted({*cast("Any", shard_ends(dataset)).tolist()} - {0}) == ends
    assert shard_ends(Subset(base, [4, 6, 5])) is None
    assert shard_ends(Subset(base, [-1, 0, 1])) is None
    assert shard_ends(ConcatDataset([base, Numbers(5)])) is None
    sampler = sampler_of(ConcatDataset([base, base]), global_batch_size=9, shuffle="blocks")
    assert sorted(joined(sampler)) == list(range(2 * NUM_SHARDED))


def test_a_shuffle_that_there_is_not_or_not_for_this_dataset_is_refused() -> None:
    refused: list[tuple[dict[str, Any], str]] = [
        *(
            ({"shuffle": wrong}, said)
            for wrong, said in [
                (
                    "block",
                    "shuffle is 'block'; write True, False, 'blocks' or 'blocks:N', N being how",
                ),
                ("blocks:0", "shuffle is 'blocks:0'; write"),
                (2, "shuffle is 2; write"),
            ]
        ),
        ({"shuffle": "blocks"}, "this Numbers does not say where they end: give a dataset of"),
    ]
    for options, said in refused:
        with pytest.raises(SettingsError, match=said):
            sampler_of(Numbers(10), global_batch_size=2, **options)
    for dataset in (Every(Sharded(NUM_SHARDED), 2), Fewer(NUM_SHARDED)):
        assert len(dataset.shard_ends()) == len(ENDS), "of what it is made of"
        with pytest.raises(SettingsError, match=f"this {type(dataset).__name__} does not say"):
            sampler_of(dataset, global_batch_size=2, shuffle="blocks")


# A dataset that brings its own order


@pytest.mark.parametrize("shuffle", [True, False])
def test_a_dataset_with_its_own_order_is_gone_through_in_that_once(shuffle: bool) -> None:
    for dataset in (Arranged(10), Subset(Arranged(20), range(10))):
        sampler = sampler_of(dataset, global_batch_size=4, shuffle=shuffle)
        assert list(sampler) == [[0, 1, 2, 3], [4, 5, 6, 7]]
        state = sampler.state_dict()
        assert state["shuffle"] is False
        assert state["epoch"] == 1, "done"
        sampler.load_state_dict({**state, "epoch": 0, "samples_done": 4})
        assert list(sampler) == [[4, 5, 6, 7]]
        sampler.load_state_dict(state)
        said = "epoch 1 of a Arranged: it is gone through once, in its own order, and its 10"
        with pytest.raises(SettingsError, match=said):
            list(sampler)


def test_a_shuffle_of_some_parts_is_refused_where_others_have_their_own_order() -> None:
    both = ConcatDataset([Arranged(4), Numbers(4)])
    with pytest.raises(SettingsError, match=r"a Arranged in this ConcatDataset brings its own"):
        sampler_of(both, global_batch_size=4)
    assert list(sampler_of(both, global_batch_size=8, shuffle=False)) == [[*range(8)]]
    alike = ConcatDataset([Arranged(4), Subset(Arranged(8), range(4))])
    assert list(sampler_of(alike, global_batch_size=8)) == [[*range(8)]]


def test_blocks_of_a_dataset_with_its_own_order_are_the_dataset_s_business() -> None:
    with pytest.raises(SettingsError, match="a Arranged brings its own order, so a loader's"):
        sampler_of(Arranged(10), global_batch_size=4, shuffle="blocks")
