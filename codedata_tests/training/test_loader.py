"""ResumableLoader: its state is what training was given, after breaks, kills and changed ranks."""

import json
import shutil
import time
from collections.abc import Callable
from itertools import chain
from pathlib import Path
from typing import Any, Literal

import numpy as np
import pytest
from torch.utils.data import DataLoader
from torchdata.stateful_dataloader import StatefulDataLoader

from codedata import GlobalBatchSampler, ResumableLoader
from codedata.errors import SettingsError
from codedata.format.order import BlockOrder, ComputedOrder, Order, StoredOrder
from codedata.pickle_dataset import PickledTrainerDataset, Sample
from codedata_tests import scenario
from codedata_tests.script_runs import needs_proc
from codedata_tests.sources.loopback_s3 import wait_until
from codedata_tests.training import runs

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
)

NUM_SAMPLES = 203
BATCH_SIZE = 8
BATCHES_AN_EPOCH = 25  # 3 samples of each epoch fill no batch


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    shards = np.array_split(scenario.numbered(NUM_SAMPLES), 3)
    return scenario.write_dataset(tmp_path / "train", shards)


SMALL_SHARDS = np.array_split(scenario.numbered(NUM_SAMPLES), 70)  # three groups of blocks
SMALL_SHARD_ENDS = np.cumsum([len(each) for each in SMALL_SHARDS])


@pytest.fixture
def folder_of_small_shards(tmp_path: Path) -> Path:
    return scenario.write_dataset(tmp_path / "small", SMALL_SHARDS)


def loader_of(folder: Path, **options: Any) -> ResumableLoader:
    dataset = PickledTrainerDataset(folder, quiet=True)
    return ResumableLoader(dataset, **{"global_batch_size": BATCH_SIZE, **options})


def firsts(batch: Sample) -> list[int]:
    return batch["input_ids"][:, 0].tolist()


def computed(seed: int, epoch: int) -> Order:
    return ComputedOrder(NUM_SAMPLES, seed, epoch)


def stored(seed: int, epoch: int) -> Order:
    return StoredOrder(NUM_SAMPLES, seed, epoch)


def by_blocks(seed: int, epoch: int) -> Order:
    return BlockOrder(SMALL_SHARD_ENDS, seed, epoch)


def expected_batches(
    seed: int, num_epochs: int, order: Callable[[int, int], Order] = computed
) -> list[tuple[int, list[int]]]:
    """(epoch, its samples) of each global batch of a run."""
    return [
        (epoch, order(seed, epoch).take(k * 8, k * 8 + 8).tolist())
        for epoch in range(num_epochs)
        for k in range(BATCHES_AN_EPOCH)
    ]


@pytest.mark.parametrize(("done", "num_workers"), [(0, 2), (7, 2), (25, 2), (49, 0)])
def test_the_state_counts_what_was_delivered_not_what_workers_drew_ahead(
    folder: Path, num_workers: int, done: int
) -> None:
    loader = loader_of(folder, num_workers=num_workers, prefetch_factor=num_workers * 4 or None)
    state, num_seen = loader.state_dict(), 0
    while num_seen < done:
        for batch in loader:
            num_seen += 1
            assert len(batch["labels"]) == BATCH_SIZE
            state = loader.state_dict()
            if num_seen == done:
                break
    assert (state["epoch"], state["samples_done"]) == (done // 25, done % 25 * 8)
    resumed = loader_of(folder, num_workers=2 - num_workers)
    resumed.load_state_dict(json.loads(json.dumps(state)))
    assert resumed.epoch == done // 25
    assert len(resumed) == BATCHES_AN_EPOCH - done % 25
    seen = [(e, firsts(batch)) for e in range(resumed.epoch, 2) for batch in resumed]
    assert seen == expected_batches(0, 2)[done:]


def test_a_loop_that_is_left_early_goes_on_where_it_was_left(folder: Path) -> None:
    loader = loader_of(folder, seed=3, num_workers=2, persistent_workers=True)
    seen: list[tuple[int, list[int]]] = []
    while len(seen) < 60:
        for number, batch in enumerate(loader, 1):
            seen.append((loader.epoch, firsts(batch)))
            if number == 4:
                break
    assert seen == expected_batches(3, 3)[: len(seen)]


def test_a_loader_by_blocks_resumes_in_the_middle_of_a_group_of_shards(
    folder_of_small_shards: Path,
) -> None:
    def loader(num_workers: int) -> ResumableLoader:
        return loader_of(folder_of_small_shards, shuffle="blocks", num_workers=num_workers)

    first = loader(2)
    seen = [(0, firsts(batch)) for _, batch in zip(range(15), first, strict=False)]
    resumed = loader(0)
    resumed.load_state_dict(json.loads(json.dumps(first.state_dict())))
    seen += [(e, firsts(batch)) for e in range(resumed.epoch, 2) for batch in resumed]
    assert seen == expected_batches(0, 2, by_blocks)


def test_of_a_global_batch_that_was_begun_all_comes_again(folder: Path) -> None:
    loader = loader_of(folder, micro_batch_size=2)
    assert loader.micro_batches == 4
    iterator = iter(loader)
    first = [firsts(next(iterator)) for _ in range(6)]
    again = [firsts(batch) for batch in loader]
    assert again[:2] == first[4:]
    assert len(again) == BATCHES_AN_EPOCH * 4 - 4


def test_an_iteration_ends_with_an_error_where_the_loader_was_moved_under_it(folder: Path) -> None:
    loader = loader_of(folder)
    moves = [
        lambda: loader.load_state_dict(loader.state_dict()),
        lambda: loader.set_epoch(loader.epoch + 1),
        lambda: next(iter(loader)),
    ]
    for move in moves:
        iterator = iter(loader)
        next(iterator)
        move()
        position = loader.state_dict()
        with pytest.raises(RuntimeError, match=r"the loader was moved .* iterate over it anew"):
            next(iterator)
        assert loader.state_dict() == position


def test_a_rank_without_a_batch_goes_from_epoch_to_epoch_as_the_others_do(folder: Path) -> None:
    dataset = PickledTrainerDataset(folder, quiet=True)[:3]
    options = {"global_batch_size": 4, "drop_last": False, "world_size": 4}
    loaders = [ResumableLoader(dataset, rank=rank, **options) for rank in range(4)]
    for epoch in range(3):
        assert [loader.epoch for loader in loaders] == [epoch] * 4
        assert [len([*loader]) for loader in loaders] == [1, 1, 1, 0]


def test_a_loader_says_where_it_is_and_what_it_draws(folder: Path) -> None:
    loader = loader_of(folder, rank=1, world_size=2, micro_batch_size=2, seed=3)
    iterator = iter(loader)
    for _ in range(3):
        next(iterator)
    assert repr(loader) == (
        "ResumableLoader(epoch 0, 8 of 203 samples done; rank 1 of 2, global_batch_size=8, "
        "micro_batch_size=2, seed=3, shuffle=True, drop_last=True, num_workers=0)"
    )
    assert repr(loader.batch_sampler).startswith("GlobalBatchSampler(epoch 0, ")


def test_what_is_no_dataset_and_what_is_torch_s_to_draw_by_is_refused_with_what_to_write(
    folder: Path,
) -> None:
    dataset = PickledTrainerDataset(folder, quiet=True)
    unsized: Any = iter(dataset)
    for given, options, said in [
        ("train", {}, r"the dataset is 'train', a name or a path; open it, as by codedata.load_"),
        (folder, {}, "a name or a path; open it"),
        (unsized, {}, "the dataset is a generator, which has no len"),
        (dataset, {"batch_size": 8}, "batch_size is torch's .* micro_batch_size at a time; leave"),
    ]:
        with pytest.raises(SettingsError, match=said):
            ResumableLoader(given, global_batch_size=8, **options)
    for each in (dataset, dataset[[*range(9)]]):
        sampler: Any = GlobalBatchSampler(each, global_batch_size=8)
        with pytest.raises(TypeError, match=r"no numbers of samples: .* is a DataLoader's batch_s"):
            next(iter(DataLoader(each, batch_size=8, sampler=sampler)))


def test_to_set_the_epoch_that_it_is_in_changes_nothing(folder: Path) -> None:
    loader = loader_of(folder)
    iterator = iter(loader)
    batches = [firsts(next(iterator)) for _ in range(2)]
    loader.set_epoch(0)
    batches.append(firsts(next(iterator)))
    assert batches == [batch for _, batch in expected_batches(0, 1)[:3]]
    assert loader.state_dict()["samples_done"] == 24


def test_workers_that_hand_over_out_of_order_are_refused(folder: Path) -> None:
    with pytest.raises(SettingsError, match=r"in_order=False .* leave it out"):
        loader_of(folder, num_workers=2, in_order=False)


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated")  # torchdata's with torch 2.13
@pytest.mark.parametrize(("shuffle", "order"), [(True, computed), ("blocks", by_blocks)])
def test_torchdata_s_stateful_loader_resumes_the_sampler_too(
    folder_of_small_shards: Path,
    shuffle: bool | Literal["blocks"],
    order: Callable[[int, int], Order],
) -> None:
    def loader() -> StatefulDataLoader[Sample]:
        dataset = PickledTrainerDataset(folder_of_small_shards, quiet=True)
        sampler = GlobalBatchSampler(dataset, global_batch_size=BATCH_SIZE, shuffle=shuffle)
        sampler.set_epoch(1)
        return StatefulDataLoader(dataset, batch_sampler=sampler, num_workers=2)

    first = loader()
    iterator = iter(first)
    seen = [firsts(next(iterator)) for _ in range(7)]
    state = first.state_dict()
    resumed = loader()
    resumed.load_state_dict(state)
    seen += [firsts(batch) for batch in resumed]
    assert [(1, batch) for batch in seen] == expected_batches(0, 2, order)[BATCHES_AN_EPOCH:]


# Kill and restart


@needs_proc
def test_workers_end_when_training_is_killed_though_their_batches_fill_the_pipe(
    tmp_path: Path,
) -> None:
    shards = np.array_split(scenario.numbered(NUM_SAMPLES, 20_000), 3)
    folder = scenario.write_dataset(tmp_path / "train", shards)
    arguments = [str(folder), str(tmp_path), str(BATCH_SIZE), "2", "3", "3", "True"]
    process = runs.start("codedata_tests.training.consume", arguments, ranks=1, hang_after=3)
    while len(runs.logged(tmp_path, 0)) < 3:
        assert process.poll() is None
        time.sleep(0.01)
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    runs.kill_after(process, tmp_path, 0, 3)
    assert len(children) == 2
    wait_until(lambda: not any(Path(f"/proc/{child}/stat").exists() for child in children))


@pytest.mark.parametrize(
    ("ranks", "num_workers", "shuffle", "order"),
    [
        pytest.param((1, 1), (2, 0), "True", computed, id="one rank"),
        *(
            pytest.param(*each, id=said, marks=marker)
            for marker, said, *each in [
                (pytest.mark.campaign, "two, four, one", (2, 4, 1), (2, 0, 0), "True", computed),
                (pytest.mark.campaign, "by blocks", (1, 2), (2, 0), "blocks", by_blocks),
                (pytest.mark.long, "of an earlier release", (1, 1), (2, 0), "True", stored),
            ]
        ),
    ],
)
def test_a_killed_run_goes_on_with_the_very_same_batches(
    folder: Path,
    folder_of_small_shards: Path,
    tmp_path: Path,
    ranks: tuple[int, ...],
    num_workers: tuple[int, ...],
    shuffle: str,
    order: Callable[[int, int], Order],
) -> None:
    read = folder_of_small_shards if shuffle == "blocks" else folder
    expected = expected_batches(11, 3, order)
    done = 0
    for attempt, (world, workers) in enumerate(zip(ranks, num_workers, strict=True)):
        run, is_last = tmp_path / f"run-{attempt}", attempt == len(ranks) - 1
        run.mkdir()
        if attempt:
            shutil.copy(tmp_path / f"run-{attempt - 1}/state.json", run)
        elif order is stored:
            state = loader_of(folder, seed=11).state_dict()
            as_before = {**state, "shuffle": True}  # as an earlier release saved it
            (run / "state.json").write_text(json.dumps(as_before))
        # Every 3 batches a state: killed between two, it goes through some batches again.
        arguments = [str(read), str(run), str(BATCH_SIZE), str(workers), "3", "3", shuffle]
        process = runs.start(
            "codedata_tests.training.consume",
            arguments,
            ranks=world,
            hang_after=0 if is_last else 14,
        )
        if is_last:
            assert process.wait(500) == 0
        else:
            runs.kill_after(process, run, world - 1, 14)
        logs = [runs.logged(run, rank) for rank in range(world)]
        seen = [
            (of[0][0], list(chain.from_iterable(line[1] for line in of)))
            for of in zip(*logs, strict=False)
        ]
        assert seen == expected[done : done + len(seen)]
        if is_last:
            assert done + len(seen) == len(expected), "to the end"
            assert done % BATCHES_AN_EPOCH, "it went on in the middle of an epoch"
        else:
            state = json.loads((run / "state.json").read_text())
            before, done = done, state["epoch"] * BATCHES_AN_EPOCH + state["samples_done"] // 8
            assert before + 12 <= done <= before + len(seen)
