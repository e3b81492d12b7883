"""PickledTrainerDataset on folders made by hand: samples, order, slices, pickles, memory."""

import gc
import hashlib
import json
import os
import pickle
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import Subset

from codedata.errors import DatasetError
from codedata.format.facts import FACTS_NAME
from codedata.format.packing import IdArray
from codedata.pickle_dataset import PickledTrainerDataset
from codedata.store import shard_contents
from codedata_tests import scenario
from codedata_tests.scenario import numbered

SMAPS = Path("/proc/self/smaps_rollup")


def write_old_dataset(folder: Path, shards: Sequence[IdArray], *, protocol: int) -> Path:
    """A dataset folder as the old script wrote it; the meta's entries in the order of the names."""
    folder.mkdir(parents=True)
    meta: dict[str, dict[str, int]] = {}
    for index, samples in enumerate(shards):
        with open(folder / f"dump-{index}.pkl", "wb") as file:
            pickle.dump(samples.tolist(), file, protocol=protocol)
        meta[f"dump-{index}.pkl"] = {"num_samples": len(samples), "num_tokens": samples.size}
    (folder / "dump-meta_data.json").write_text(json.dumps(meta, sort_keys=True))
    return folder


def opened(*folders: Path) -> PickledTrainerDataset:
    return PickledTrainerDataset(folders, quiet=True)


def firsts(dataset: PickledTrainerDataset) -> list[int]:
    return [int(sample["input_ids"][0]) for sample in dataset]


@pytest.fixture(scope="module")
def ten(tmp_path_factory: pytest.TempPathFactory) -> PickledTrainerDataset:
    """Ten samples in two folders and three shards; sample i holds i four times."""
    folder = tmp_path_factory.mktemp("ten")
    first = scenario.write_dataset(folder / "first", [numbered(3), numbered(1, first=3)])
    return opened(first, scenario.write_dataset(folder / "second", [numbered(6, first=4)]))


def test_a_sample_is_input_ids_and_labels_as_long_tensors_that_share_no_memory(
    tmp_path: Path,
) -> None:
    for largest_id in (600, 2**16 - 1, 2**16, 2**31 - 1):
        ids = np.array([[7, 0, largest_id], [1, largest_id, 2]])
        dataset = opened(scenario.write_dataset(tmp_path / str(largest_id), [ids]))
        for i in range(2):
            sample = dataset[i]
            assert list(sample) == ["input_ids", "labels"]
            for tensor in sample.values():
                assert tensor.dtype == torch.int64
                assert tensor.shape == (3,)
                assert tensor.tolist() == ids[i].tolist()
                tensor[:] = -100  # neither the other one's nor the file's
            assert dataset[i]["labels"].tolist() == ids[i].tolist()


def test_samples_come_in_the_order_of_folders_and_of_the_shards_numbers(tmp_path: Path) -> None:
    a = scenario.write_dataset(tmp_path / "a", [numbered(2)])
    b = write_old_dataset(tmp_path / "b", [numbered(2, first=70)], protocol=2)
    assert firsts(opened(b, a, b)) == [70, 71, 0, 1, 70, 71]
    for one in (a, str(a), [str(a)], iter([a])):
        assert firsts(PickledTrainerDataset(one, quiet=True)) == [0, 1]
    shards = [numbered(1 + i // 4, first=100 * i) for i in range(12)]
    expected = [0, 100, 200, 300, 400, 401, 500, 501, 600, 601, 700, 701]
    expected += [800, 801, 802, 900, 901, 902, 1000, 1001, 1002, 1100, 1101, 1102]
    assert firsts(opened(scenario.write_dataset(tmp_path / "c", shards))) == expected
    assert firsts(opened(write_old_dataset(tmp_path / "d", shards, protocol=4))) == expected


def test_workers_share_what_pickle_dump_wrote_as_it_was_decoded_at_opening(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    a, b = ([numbered(3, first=first)] for first in (0, 3))
    old = [write_old_dataset(tmp_path / str(n), s, protocol=n + 2) for n, s in enumerate((a, b))]
    dataset, decode, decoded = opened(*old), shard_contents.decode_foreign_shard, list[int]()

    def counted(*arguments: Any, **more: Any) -> Any:
        decoded.append(0)
        return decode(*arguments, **more)

    monkeypatch.setattr(shard_contents, "decode_foreign_shard", counted)
    pid = os.fork()
    if not pid:
        os._exit(0 if firsts(dataset) == [*range(6)] and not decoded else 1)
    assert os.waitpid(pid, 0)[1] == 0
    assert firsts(dataset) == firsts(dataset[:]) == [*range(6)]
    assert not decoded
    assert firsts(pickle.loads(pickle.dumps(dataset))) == [*range(6)]
    assert len(decoded) == 2, "another process decodes each for itself"


ENDS = st.none() | st.integers(-12, 12)
STEPS = st.none() | st.sampled_from([1, 2, 3, 20, -1, -2, -20])


@given(st.lists(st.builds(slice, ENDS, ENDS, STEPS), max_size=3), st.integers(-12, 12))
def test_an_index_or_slice_of_any_slice_gives_what_a_list_gives(
    ten: PickledTrainerDataset, cuts: list[slice], index: int
) -> None:
    part, expected = ten, list(range(10))
    for cut in cuts:
        part, expected = part[cut], expected[cut]
    assert firsts(part) == firsts(part) == expected
    assert part.total_samples == len(part) == len(expected)
    assert (part.total_tokens, part.seq_length) == (len(expected) * 4, 4)
    if -len(expected) <= index < len(expected):
        assert part[index]["labels"].tolist() == [expected[index]] * 4
    else:
        with pytest.raises(IndexError):
            part[index]
    with pytest.raises(ValueError, match="step"):
        part[::0]


@given(st.builds(slice, ENDS, ENDS, STEPS), st.lists(st.integers(-10, 9)), ENDS)
def test_a_list_array_or_tensor_of_indices_picks_a_dataset_as_a_slice_does(
    ten: PickledTrainerDataset, cut: slice, indices: list[int], end: int | None
) -> None:
    part, expected = ten[cut], list(range(10))[cut]
    indices = [i for i in indices if -len(expected) <= i < len(expected)]
    picked = [expected[i] for i in indices]
    for each in (indices, np.array(indices, np.int16), torch.tensor(indices, dtype=torch.int64)):
        chosen = part[each]
        assert firsts(chosen) == picked
        assert firsts(pickle.loads(pickle.dumps(chosen[:end]))) == picked[:end]
        assert firsts(chosen[range(len(picked))]) == picked
        for number, row in enumerate(picked):
            assert chosen[np.int32(number)]["labels"].tolist() == [row] * 4
    assert [int(each["labels"][0]) for each in Subset(part, indices)] == picked
    assert part[indices].digest == ten[picked].digest, "of the rows, however they were come by"
    assert part[indices].digest not in (ten.digest, ten[[*picked, 0]].digest)


def test_an_index_that_is_none_is_refused_by_what_it_is(
    ten: PickledTrainerDataset,
) -> None:
    first = ten.datasets[0].folder
    one = opened(first)
    for dataset, index, said in (
        (one, 4, f"sample 4 of 4 in {first}: their numbers are 0 to 3"),
        (one, -5, f"sample -5 of 4 in {first}: their numbers are 0 to 3"),
        (one[1:], torch.tensor(3), f"sample 3 of 3 in {first}: their numbers are 0 to 2"),
        (one, [0, 7], f"sample 7 of 4 in {first}: their numbers are 0 to 3"),
        (one[[2]], 1, f"sample 1 of 1 in {first}: their numbers are 0 to 0"),
        (ten, 10**30, f"sample {10**30} of 10 in {first} and 1 more: their numbers are 0 to 9"),
        (one[[]], 0, f"sample 0 of 0 in {first}: it has none"),
    ):
        with pytest.raises(IndexError) as refusal:
            dataset[index]
        assert str(refusal.value) == said
    wrong: list[Any] = [True, np.True_, [True] * 4, torch.ones(4) > 0, 1.0, [1.0], "labels", None]
    for index in (*wrong, (0, 1), np.zeros((2, 2), int)):
        with pytest.raises(TypeError, match=r"a sample's index is a whole number, not .*; a slice"):
            ten[index]


def test_folders_of_different_lengths_are_refused_by_name(tmp_path: Path) -> None:
    a = scenario.write_dataset(tmp_path / "a", [numbered(2, 4)])
    b = scenario.write_dataset(tmp_path / "b", [numbered(2, 4)])
    c = scenario.write_dataset(tmp_path / "c", [numbered(2, 6)])
    with pytest.raises(DatasetError) as refusal:
        opened(a, b, c)
    message = str(refusal.value)
    assert f"{c} has samples of 6 tokens" in message
    assert re.search(rf"{re.escape(str(a))} of 4\b", message)


def test_what_is_found_is_printed_as_the_old_loader_did(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scenario.write_dataset(Path("deep/train"), [numbered(3), numbered(2)])
    scenario.write_dataset(Path("more"), [numbered(1)])
    PickledTrainerDataset(["deep/train", "more"], quiet=True, verify=True)
    assert capfd.readouterr() == ("", "")
    PickledTrainerDataset(["deep/train", "more"])
    printed, bars = capfd.readouterr()
    assert printed.splitlines() == [
        "Checking folder: deep/train",
        "Found meta file: deep/train/dump-meta_data.json",
        "Checking folder: more",
        "Found meta file: more/dump-meta_data.json",
        "Checked 2 folders and found 3 files with extension: pkl",
        "Total samples: 6",
        "Total tokens: 24",
        "Loaded 3 vectors from deep/train/dump-0.pkl",
        "Loaded 2 vectors from deep/train/dump-1.pkl",
        "Loaded 1 vectors from more/dump-0.pkl",
    ]
    assert re.search(r"Finding files: 100%\|.*\| 2/2 \[", bars)
    assert re.search(r"Loading tokenized data: 3it \[", bars)


def test_a_pickled_dataset_carries_no_samples_and_opens_the_same_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    for name, first in (("train", 0), ("other", 100)):
        shards = [numbered(20, 16, first=first), numbered(18, 16, first=first + 20)]
        scenario.write_dataset(tmp_path / name, shards)
    monkeypatch.chdir(tmp_path)
    part = opened(Path("train"), Path("other"))[-1:30:-3]
    expected = [*range(38), *range(100, 138)][-1:30:-3]
    pickled = [pickle.dumps(part, protocol=p) for p in range(2, pickle.HIGHEST_PROTOCOL + 1)]
    monkeypatch.chdir("/")
    for data in pickled:
        assert len(data) < 76 * 16, "less than a byte a token"
        again: PickledTrainerDataset = pickle.loads(pickle.dumps(pickle.loads(data)))
        assert firsts(again) == expected
        assert (again.seq_length, again.digest) == (16, part.digest)
    shutil.rmtree(tmp_path / "train")
    assert firsts(part) == expected, "neither pickling nor a removal takes anything from it"
    assert capfd.readouterr() == ("", ""), "and nothing is said"


def test_unpickling_is_refused_once_another_dataset_replaced_the_folder(tmp_path: Path) -> None:
    folder = scenario.write_dataset(tmp_path / "d", [numbered(3)])
    data = pickle.dumps(opened(folder))
    shutil.rmtree(folder)
    with pytest.raises(DatasetError, match=f"{folder} is no dataset folder"):
        pickle.loads(data)
    scenario.write_dataset(folder, [numbered(3, first=1)])
    with pytest.raises(DatasetError, match=f"{folder} was replaced by another dataset"):
        pickle.loads(data)
    shutil.rmtree(folder)
    scenario.write_dataset(folder, [numbered(3)])
    assert firsts(pickle.loads(data)) == [0, 1, 2], "the same dataset again is welcome"


def test_more_shards_are_opened_than_the_soft_limit_of_open_files(tmp_path: Path) -> None:
    # 1,024 by default; a file of The Stack gives 36 shards, its C has 257 files.
    folder = scenario.write_dataset(tmp_path / "d", [numbered(1, first=i) for i in range(300)])
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(map(int, os.listdir("/dev/fd")))
    resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 16, before[1]))
    try:
        dataset = opened(folder)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    assert highest < 300
    assert firsts(dataset) == list(range(300))


@pytest.mark.parametrize("num_folders", [1, 2])
def test_what_nobody_holds_any_more_keeps_no_descriptor_until_it_is_collected(
    tmp_path: Path, num_folders: int
) -> None:
    shards = [numbered(3), numbered(2, first=3)]
    folders = [scenario.write_dataset(tmp_path / f"{i}", shards) for i in range(num_folders)]
    gc.disable()
    try:
        before = os.listdir("/dev/fd")
        for dataset in (opened(*folders), pickle.loads(pickle.dumps(opened(*folders)))):
            assert firsts(dataset)[:5] == [0, 1, 2, 3, 4]
        del dataset
        assert os.listdir("/dev/fd") == before
    finally:
        gc.enable()


READ_ALL = """
import sys
from codedata.pickle_dataset import PickledTrainerDataset

def kib(key):
    with open("/proc/self/smaps_rollup") as file:
        return next(int(line.split()[1]) for line in file if line.startswith(key + ":"))

small, large = sys.argv[1:]
total = sum(int(sample["labels"].sum()) for sample in PickledTrainerDataset(small, quiet=True))
private, resident = kib("Anonymous"), kib("Rss")
dataset = PickledTrainerDataset(large, quiet=True)
total = sum(int(sample["labels"].sum()) for sample in dataset)
print(total, kib("Anonymous") - private, kib("Rss") - resident)
copies = [shard.copy() for each in dataset.datasets for shard in each.shards]
print(kib("Anonymous") - private)
"""


@pytest.mark.skipif(not SMAPS.exists(), reason="only Linux tells private from shared memory")
def test_the_samples_stay_in_the_mapped_files_and_take_no_private_memory(tmp_path: Path) -> None:
    shards = [np.random.default_rng(i).integers(0, 32_022, (1100, 1536)) for i in range(4)]
    large = scenario.write_dataset(tmp_path / "large", shards)
    small = scenario.write_dataset(tmp_path / "small", [shards[0][:2]])
    file_kib = sum(path.stat().st_size for path in large.glob("*.pkl")) // 1024
    assert file_kib > 19 * 1024
    command = [sys.executable, "-c", READ_ALL, str(small), str(large)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    total, private_kib, resident_kib, with_copies_kib = map(int, done.stdout.split())
    assert total == sum(int(shard.sum()) for shard in shards), "every sample was read"
    assert resident_kib > file_kib // 2, "the files' pages were mapped"
    assert with_copies_kib > file_kib // 2, "a copy in private memory would have been seen"
    assert private_kib < file_kib // 8


IMPORTS = """
import sys

def heavy():
    print(*(name for name in ("torch", "dagster", "transformers") if name in sys.modules))

import codedata; codedata.CodedataError; heavy()
import codedata.tokenize_data; heavy()
import codedata.definitions; heavy()
from codedata import PickledTrainerDataset; heavy()
sys.modules["transformers"] = None
from codedata import PaddingCollator, ResumableLoader
try:
    from codedata import DatasetProvenance
except ImportError as error:
    print(error)
"""


def test_only_the_loader_waits_for_torch_and_only_the_callback_needs_transformers() -> None:
    command = [sys.executable, "-W", "ignore", "-c", IMPORTS]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "",
        "",
        "dagster",
        "torch dagster",
        "DatasetProvenance is for transformers' Trainer; pip install transformers accelerate",
    ]


def test_the_digest_of_one_whole_folder_is_that_of_its_meta_and_without_hashes_also_of_its_ids(
    tmp_path: Path,
) -> None:
    folder = scenario.write_dataset(tmp_path / "d", [numbered(3)])
    meta = hashlib.sha256((folder / "dump-meta_data.json").read_bytes()).hexdigest()
    dataset = opened(folder)
    assert dataset.digest == dataset[:].digest == dataset[0:3:1].digest == meta
    assert pickle.loads(pickle.dumps(dataset)).digest == meta

    def digest(name: str, first: int, protocol: int) -> str:
        shards = [numbered(2000, first=first)]
        return opened(write_old_dataset(tmp_path / name, shards, protocol=protocol)).digest

    assert digest("a", 0, 2) == digest("b", 0, 5)
    assert digest("c", 1, 2) != digest("a2", 0, 2), "its meta is the same"


def test_the_digest_names_folders_in_their_order_and_the_rows_of_a_slice(tmp_path: Path) -> None:
    a = scenario.write_dataset(tmp_path / "a", [numbered(3)])
    b = scenario.write_dataset(tmp_path / "b", [numbered(3, first=50)])
    shutil.copytree(a, tmp_path / "copy of a")
    one, other = opened(a).digest, opened(b).digest

    def named(*parts: object) -> str:
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    assert opened(a, b).digest == named([one, other], [0, 6, 1])
    assert opened(b, a).digest == named([other, one], [0, 6, 1])
    assert opened(tmp_path / "copy of a", b).digest == opened(a, b).digest, "not the path"
    assert opened(a)[1:].digest == named([one], [1, 2, 1])
    assert opened(a)[::-1].digest == named([one], [2, 3, -1])
    assert opened(a)[::2].digest == opened(a)[::2][:2].digest == named([one], [0, 2, 2])
    assert opened(a)[2:].digest == opened(a)[2::5].digest == named([one], [2, 1, 1])
    assert opened(a)[2:2].digest == opened(a)[3:].digest == named([one], [0, 1])


def test_folders_of_two_tokenizers_are_refused_by_both_names(tmp_path: Path) -> None:
    a, b, c, d = (
        scenario.write_dataset(tmp_path / name, [[[1, 2, 3]], [[4, 5, at]]])
        for at, name in enumerate("abcd")
    )
    scenario.write_facts(a, "mine")
    scenario.write_facts(b, 'its "own"')
    scenario.write_facts(c, "mine")
    for folders in ([a, c], [a, d], [d, b]):
        assert len(PickledTrainerDataset(folders, quiet=True)) == 4
    sha256 = [hashlib.sha256(name).hexdigest() for name in (b"mine", b'its "own"')]
    with pytest.raises(DatasetError) as refusal:
        PickledTrainerDataset([a, d, b], quiet=True)
    assert str(refusal.value) == (
        f'{b} was tokenized with its "own" (sha256 {sha256[1]}), but {a} with mine (sha256 '
        f"{sha256[0]}), and the same ids are other tokens in each; leave one out, or make "
        "one again with the other's tokenizer"
    )
    (b / FACTS_NAME).write_bytes((b / FACTS_NAME).read_bytes() + b"edited")
    assert len(PickledTrainerDataset([a, b], quiet=True)) == 4, "edited facts say nothing"
