"""Training from streams: every order and worker gets the folder's samples, fetched ahead, and only
what is needed; what fails says so in the loop."""

import gc
import json
import multiprocessing
import pickle
import subprocess
import sys
import threading
import time
from contextlib import nullcontext, suppress
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from torch.utils.data import ConcatDataset, Subset, default_collate

from codedata import PickledTrainerDataset, ResumableLoader, load_dataset
from codedata.errors import DatasetError, StoreError
from codedata.store import requests
from codedata.store.cache import CACHE_VARIABLE, cache_place
from codedata.store.object_store import ObjectStore
from codedata.training import ahead
from codedata_tests import scenario
from codedata_tests.object_roots import GatedBucket
from codedata_tests.sources.loopback_s3 import CUT, DENIED, STALL, UNAVAILABLE, wait_until

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
)

NUM_SHARDS, SHARD_SAMPLES, SEQ_LENGTH = 12, 20, 32
NUM_SAMPLES = NUM_SHARDS * SHARD_SAMPLES
BATCH_SIZE = 8


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache" / "codedata" / "shards"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    samples = scenario.numbered(NUM_SAMPLES, SEQ_LENGTH)
    return scenario.write_dataset(tmp_path / "train", np.array_split(samples, NUM_SHARDS))


@pytest.fixture
def url(gated: GatedBucket, folder: Path, cache: Path) -> str:
    """The same, in a bucket behind a gate."""
    store = ObjectStore(f"{gated.url}/datasets/train")
    for path in folder.iterdir():
        store.put(path.name, path.read_bytes())
    gated.gate.forget()
    return store.url


def streamed(url: str) -> PickledTrainerDataset:
    return PickledTrainerDataset(url, quiet=True, stream=True)


def loader_of(dataset: Any, **options: Any) -> ResumableLoader:
    return ResumableLoader(dataset, **{"global_batch_size": BATCH_SIZE, **options})


def firsts(loader: ResumableLoader, num_batches: int | None = None) -> list[list[int]]:
    return [batch["input_ids"][:, 0].tolist() for batch in islice(loader, num_batches)]


def fetched(gated: GatedBucket) -> list[str]:
    """The shards that were asked for, in order, each as often as it was."""
    names = (path.partition("?")[0].rpartition("/")[2] for _, path in gated.gate.requests)
    return [name for name in names if name.endswith(".pkl")]


def threads_ahead() -> list[str]:
    return [each.name for each in threading.enumerate() if each.name.startswith("codedata-ahead")]


@pytest.mark.parametrize(("shuffle", "num_workers"), [(True, 0), (False, 2)])
def test_a_streamed_epoch_has_the_samples_of_the_folder_and_fetches_each_shard_once(
    shuffle: bool, num_workers: int, url: str, folder: Path, gated: GatedBucket
) -> None:
    options = {"shuffle": shuffle, "num_workers": num_workers}
    local = PickledTrainerDataset(folder, quiet=True)
    dataset = streamed(url)
    assert dataset.digest == local.digest
    assert firsts(loader_of(dataset, **options)) == firsts(loader_of(local, **options))
    assert sorted(fetched(gated)) == sorted(f"dump-{i}.pkl" for i in range(NUM_SHARDS))
    wait_until(lambda: not threads_ahead())


@pytest.mark.campaign
def test_spawned_workers_and_wrappers_of_torch_read_the_same(
    url: str, folder: Path, gated: GatedBucket
) -> None:
    def wrapped(dataset: PickledTrainerDataset) -> Any:
        return ConcatDataset([Subset(dataset, range(3, 90)), dataset[::-2], dataset[[5, 200]]])

    local = firsts(loader_of(wrapped(PickledTrainerDataset(folder, quiet=True))))
    dataset = wrapped(streamed(url))
    assert firsts(loader_of(dataset)) == local
    again = loader_of(dataset, num_workers=1, multiprocessing_context="spawn")
    num_before = len(gated.gate.requests)
    assert firsts(again) == local
    assert len(gated.gate.requests) == num_before, "a worker asks for nothing that is here"


def test_what_is_counted_from_the_end_of_parts_is_fetched_ahead_and_nothing_else(
    url: str, gated: GatedBucket
) -> None:
    dataset = streamed(url)
    parts = ConcatDataset([dataset[:120], dataset[[*range(120, 240)]]])
    last = Subset(parts, [*range(-1, -9, -1)])
    assert firsts(loader_of(last, shuffle=False)) == [[*range(239, 231, -1)]]
    wait_until(lambda: not threads_ahead())
    assert fetched(gated) == ["dump-11.pkl"]
    assert firsts(loader_of(Subset(dataset[::-1], [-1] * 8), shuffle=False)) == [[0] * 8]
    wait_until(lambda: not threads_ahead())
    assert fetched(gated) == ["dump-11.pkl", "dump-0.pkl"]


def have_room(monkeypatch: pytest.MonkeyPatch, folder: Path, num_shards: int) -> None:
    """Have the cache hold so many shards more."""
    kept = sum(whole_files(cache_place("objects").parent))
    size = (folder / "dump-0.pkl").stat().st_size
    monkeypatch.setenv(CACHE_VARIABLE, str(kept + num_shards * size))


def test_shards_come_ahead_of_their_samples_as_many_as_fit_into_half_of_the_cache(
    url: str, folder: Path, gated: GatedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = streamed(url)
    have_room(monkeypatch, folder, 8)
    batches = iter(loader_of(dataset, shuffle=False))
    next(batches)
    wait_until(lambda: len(fetched(gated)) >= 4)
    time.sleep(0.1)
    assert sorted(fetched(gated)) == [f"dump-{i}.pkl" for i in range(4)]
    for _ in range(3):
        next(batches)  # the second shard is begun
    wait_until(lambda: len(fetched(gated)) >= 5)
    assert threads_ahead()
    del batches
    gc.collect()
    wait_until(lambda: not threads_ahead())


def test_ranks_of_a_machine_share_one_plan_and_fetch_each_shard_once_into_a_small_cache(
    url: str, folder: Path, gated: GatedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each rank's share of a step is a shard of its own; with a plan each, they would have three
    times the cache under way."""
    ranks, fork = 4, multiprocessing.get_context("fork")
    dataset, step = streamed(url), fork.Barrier(ranks, timeout=30)
    have_room(monkeypatch, folder, 6)
    monkeypatch.setenv("LOCAL_WORLD_SIZE", str(ranks))
    options = {"global_batch_size": ranks * SHARD_SAMPLES, "micro_batch_size": 5}

    def train(rank: int) -> None:
        loader = loader_of(dataset, shuffle=False, rank=rank, world_size=ranks, **options)
        for number, batch in enumerate(loader):
            first = (number // 4 * ranks + rank) * SHARD_SAMPLES + number % 4 * 5
            assert batch["input_ids"][:, 0].tolist() == [*range(first, first + 5)]
            step.wait()

    processes = [fork.Process(target=train, args=(rank,)) for rank in range(ranks)]
    for each in processes:
        each.start()
    for each in processes:
        each.join()
    assert [each.exitcode for each in processes] == [0] * ranks
    assert sorted(fetched(gated)) == sorted(f"dump-{i}.pkl" for i in range(NUM_SHARDS))


def test_loops_of_a_process_that_are_under_way_at_once_share_what_may_be_fetched_ahead(
    url: str, folder: Path, gated: GatedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    dataset = streamed(url)
    have_room(monkeypatch, folder, 8)
    held = [iter(loader_of(part, shuffle=False)) for part in (dataset[:120], dataset[120:])]
    for each, number in zip(held, (4, 6), strict=True):
        next(each)
        wait_until(lambda number=number: len(fetched(gated)) >= number)
    time.sleep(0.1)
    assert sorted(fetched(gated)) == [f"dump-{i}.pkl" for i in (0, 1, 2, 3, 6, 7)]
    for _ in range(5):
        next(held[0])
    time.sleep(0.1)
    assert len(fetched(gated)) == 6, "the first has more than its part under way"
    held.pop().close()  # pyright: ignore[reportAttributeAccessIssue]
    next(held[0])
    next(held[0])
    wait_until(lambda: len(fetched(gated)) >= 8)


@pytest.mark.parametrize("shuffle", [False, "blocks:4"])
def test_a_run_that_goes_on_in_the_middle_fetches_only_what_is_yet_to_come(
    shuffle: Any, url: str, folder: Path, gated: GatedBucket, cache: Path
) -> None:  # fmt: skip
    first = loader_of(streamed(url), shuffle=shuffle)
    before = firsts(first, 15)
    state = json.loads(json.dumps(first.state_dict()))
    assert state["samples_done"] == 120
    wait_until(lambda: not threads_ahead())
    for each in cache.iterdir():
        each.unlink()
    gated.gate.requests.clear()
    resumed = loader_of(streamed(url), shuffle=shuffle, num_workers=1)
    resumed.load_state_dict(state)
    local = loader_of(PickledTrainerDataset(folder, quiet=True), shuffle=shuffle)
    rest = firsts(resumed)
    assert before + rest == firsts(local)
    needed = {f"dump-{row // SHARD_SAMPLES}.pkl" for batch in rest for row in batch}
    assert sorted(fetched(gated)) == sorted(needed)
    assert len(needed) == (8 if shuffle else 6)


def test_an_order_that_needs_all_shards_at_once_is_warned_of_where_the_cache_is_smaller(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv(CACHE_VARIABLE, str(8 * (folder / "dump-0.pkl").stat().st_size))
    dataset = streamed(url)
    with caplog.at_level("WARNING", "codedata"):
        firsts(loader_of(dataset, shuffle="blocks:4"), 1)
        assert not [each for each in caplog.records if each.name == "codedata"]
        for _ in range(2):
            firsts(loader_of(dataset), 1)
    [said] = [each.getMessage() for each in caplog.records if each.name == "codedata"]
    assert said.startswith(f"{url}: with shuffle=True batches are of 0.0 MB of shards at a time, ")
    assert said.endswith("; give shuffle='blocks:4', or raise CODEDATA_CACHE_BYTES")


@pytest.mark.parametrize("num_workers", [0, 1])
def test_what_is_under_way_ends_with_the_iteration(
    num_workers: int, url: str, gated: GatedBucket
) -> None:
    bucket = f"/{url.removeprefix('s3://')}"
    gated.gate.answers = {f"{bucket}/dump-{i}.pkl": [STALL] * 9 for i in (3, 5)}
    loader = loader_of(streamed(url), shuffle=False, num_workers=num_workers, prefetch_factor=None)

    def leave_with_an_exception() -> None:
        for _ in loader:
            raise KeyError

    for leave in (lambda: firsts(loader, 2), leave_with_an_exception):
        gated.gate.requests.clear()
        with pytest.raises(KeyError) if leave is leave_with_an_exception else nullcontext():
            leave()
        wait_until(lambda: not threads_ahead(), seconds=30)
    held = iter(loader)
    next(held)
    assert threads_ahead()
    loader.set_epoch(3)
    with pytest.raises(RuntimeError, match="moved while this iteration was under way"):
        next(held)
    wait_until(lambda: not threads_ahead(), seconds=30)


@pytest.mark.parametrize("options", [{}, {"collate_fn": default_collate}])
def test_workers_that_wait_for_a_store_end_with_the_loop_and_leave_nothing(
    options: dict[str, Any], url: str, gated: GatedBucket, cache: Path
) -> None:
    bucket = f"/{url.removeprefix('s3://')}"
    gated.gate.answers = {f"{bucket}/dump-{i}.pkl": [STALL] * 9 for i in range(1, NUM_SHARDS)}
    options |= {"shuffle": False, "num_workers": 2, "global_batch_size": SHARD_SAMPLES}
    batches = iter(loader_of(streamed(url), **options))
    next(batches)
    wait_until(lambda: {f"dump-{i}.pkl" for i in (1, 2, 3)} <= {*fetched(gated)})
    time.sleep(0.1)
    workers = multiprocessing.active_children()
    batches.close()  # pyright: ignore[reportAttributeAccessIssue]
    assert [each.exitcode for each in workers] == [0, 0], "torch kills who takes longer than 5 s"
    assert not threads_ahead()
    left = [each for each in cache.iterdir() if each.suffix != ".mark"]
    assert [len(each.name) for each in left if each.name != ".left"] == [64]


def test_what_fails_otherwise_ahead_is_told_once_and_the_loop_goes_on(
    url: str, gated: GatedBucket, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    dataset = streamed(url)
    start = threading.Thread.start

    def fail(*_: object) -> None:
        raise ValueError("a client said something else")

    def start_few(thread: threading.Thread) -> None:
        if thread.name.startswith("codedata-ahead-") and len(threads_ahead()) == 2:
            raise RuntimeError("can't start new thread")
        start(thread)

    def start_none(_: threading.Timer) -> None:
        raise RuntimeError("can't start new thread")

    whole = np.arange(NUM_SAMPLES).reshape(-1, BATCH_SIZE).tolist()
    with monkeypatch.context() as patch, caplog.at_level("WARNING", "codedata"):
        patch.setattr(type(dataset.datasets[0].files), "fetch", fail)
        assert firsts(loader_of(dataset, shuffle=False)) == whole
        patch.undo()
        patch.setattr(threading.Thread, "start", start_few)
        patch.setattr(threading.Timer, "start", start_none)
        for each in cache_place("shards").iterdir():
            each.unlink()
        assert firsts(loader_of(streamed(url), shuffle=False)) == whole
    told = [each.getMessage() for each in caplog.records if each.name == "codedata"]
    assert told == [
        "not fetched ahead, but when samples are needed: ValueError: a client said something else",
        "2 of 8 threads fetch ahead: can't start new thread",
    ]
    assert not threads_ahead()


@pytest.mark.campaign
def test_a_process_ends_while_shards_are_under_way_and_leaves_none_of_them_half(
    url: str, gated: GatedBucket, cache: Path
) -> None:
    bucket = f"/{url.removeprefix('s3://')}"
    gated.gate.answers = {f"{bucket}/dump-{i}.pkl": [STALL] * 99 for i in range(3, 12)}
    code = f"""
from codedata import PickledTrainerDataset, ResumableLoader
dataset = PickledTrainerDataset({url!r}, quiet=True, stream=True)
kept = [
    iter(ResumableLoader(dataset, global_batch_size=8, shuffle=False, num_workers=number))
    for number in (0, 1)
]
for each in kept:
    next(each)
print("ended", flush=True)
"""
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as running:
        assert running.stdout is not None
        said, ended = running.stdout.readline(), time.monotonic()
        rest, errors = running.communicate(timeout=300)
    assert (running.returncode, said, rest, errors) == (0, "ended\n", "", "")
    assert time.monotonic() - ended < 30, "and not a minute, as long as one stalls"
    half = [each for each in cache.iterdir() if each.suffix in (".tmp", ".lock", ".holder")]
    assert not half


def test_a_store_that_fails_is_one_error_of_the_loop_where_the_sample_is_needed(
    url: str, gated: GatedBucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(requests, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(requests, "LONGEST_WAIT_SECONDS", 0.02)
    path = f"/{url.removeprefix('s3://')}/dump-2.pkl"
    gated.gate.answers = {path: [UNAVAILABLE] * 99}
    loader, seen = loader_of(streamed(url), shuffle=False), list[list[int]]()
    batches = (batch["input_ids"][:, 0].tolist() for batch in loader)
    with pytest.raises(StoreError, match=r"dump-2.pkl: .*ServiceUnavailable.*; given up after 8"):
        seen.extend(batches)
    assert len(seen) == 5, "those of the shards before"
    gated.gate.answers = {path: [UNAVAILABLE] * 7}
    rest = firsts(loader)
    assert [*seen, *rest] == np.arange(NUM_SAMPLES).reshape(-1, BATCH_SIZE).tolist()
    for each in cache_place("shards").iterdir():
        each.unlink()
    gated.gate.answers = {path: [CUT] * 3, path.replace("-2", "-4"): [DENIED] * 9}
    with pytest.raises(StoreError, match=r"dump-4.pkl is not given to whoever asks here .*GetObj"):
        firsts(loader_of(streamed(url), shuffle=False))
    for each in cache_place("shards").iterdir():
        each.unlink()
    store = ObjectStore(url)
    store.put("dump-1.pkl", store.read("dump-1.pkl").replace(b"\x21", b"\x22"))
    workers = loader_of(streamed(url), shuffle=False, num_workers=1)
    with pytest.raises(DatasetError, match=r"dump-1.pkl does not have the sha256"):
        firsts(workers)


def test_load_dataset_streams_what_lies_at_a_url_and_opens_a_folder(
    url: str, folder: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    monkeypatch.setenv("CODEDATA_ROOT", url.removesuffix("/datasets/train"))
    dataset = load_dataset("train", stream=True, mask_padding=False)
    assert (dataset.is_streamed, len(dataset), dataset.datasets[0].where) == (
        True, NUM_SAMPLES, url,
    )  # fmt: skip
    assert not cache.exists()
    sample = dataset[NUM_SAMPLES - 1]
    assert sample["input_ids"].tolist() == [NUM_SAMPLES - 1] * SEQ_LENGTH
    assert len(whole_files(cache.parent)) == 2, "and the meta"
    again = pickle.loads(pickle.dumps(dataset[5:9]))
    assert [int(each["labels"][0]) for each in again] == [5, 6, 7, 8]
    monkeypatch.setenv("CODEDATA_ROOT", str(folder.parent.parent))
    (folder.parent.parent / "datasets").symlink_to(folder.parent)
    assert not load_dataset("train", stream=True, mask_padding=False).is_streamed


READER = """
import sys, numpy as np
from codedata import PickledTrainerDataset, ResumableLoader
dataset = PickledTrainerDataset(sys.argv[1], quiet=True, stream=True)
for shuffle in (True, False):
    loader = ResumableLoader(dataset, global_batch_size=8, seed=int(sys.argv[2]), shuffle=shuffle)
    got = [batch["input_ids"] for batch in loader]
    assert all((each == each[:, :1]).all() for each in got)
    rows = np.concatenate([each[:, 0] for each in got])
    assert (np.sort(rows) == np.arange(len(dataset))).all(), rows
print("right")
"""


@pytest.mark.campaign
def test_two_processes_in_a_cache_of_three_shards_read_twelve_and_stay_within_its_bound(
    url: str, folder: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    size = max(each.stat().st_size for each in folder.iterdir())
    bound = 3 * size + 4000  # the meta
    monkeypatch.setenv(CACHE_VARIABLE, str(bound))
    most = looks = num_tried = 0
    while looks <= 100:
        num_tried += 1
        assert num_tried < 6, "it was hardly looked at"
        started = [
            subprocess.Popen(
                [sys.executable, "-c", READER, url, str(seed)],
                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            )
            for seed in range(2)
        ]  # fmt: skip
        while any(each.poll() is None for each in started):
            held = whole_files(cache.parent)
            most, looks = max(most, sum(held)), looks + len(held)
            time.sleep(0.001)
        assert [each.communicate()[0] for each in started] == ["right\n"] * 2
    assert size < most <= bound


def whole_files(folder: Path) -> list[int]:
    """The bytes of each file that the cache has under its name."""
    found: list[int] = []
    for path in folder.glob("*/*"):
        with suppress(FileNotFoundError):
            if not path.name.startswith("."):
                found.append(path.stat().st_size)
    return found


def test_a_store_that_failed_once_is_asked_ahead_again(
    url: str, gated: GatedBucket, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ahead, "_AT_ONCE", 1)
    dataset = streamed(url)
    fetch = type(dataset.datasets[0].files).fetch
    failing = [StoreError("no answer")] * 2

    def fetch_or_fail(files: Any, index: int) -> None:
        if failing:
            raise failing.pop()
        fetch(files, index)

    monkeypatch.setattr(type(dataset.datasets[0].files), "fetch", fetch_or_fail)
    batches = iter(loader_of(dataset, shuffle=False))
    for _ in range(3):
        next(batches)
    wait_until(lambda: len(fetched(gated)) > 6)
    wait_until(lambda: len(whole_files(cache.parent)) > 7)
