"""PickledTrainerDataset on folders made by hand: samples, order, slices, messages, memory."""

import hashlib
import itertools
import json
import pickle
import re
import shutil
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch

from codedata.errors import DatasetError
from codedata.format.facts import FACTS_NAME
from codedata.format.packing import IdArray
from codedata.pickle_dataset import PickledTrainerDataset
from codedata_tests import scenario

SMAPS = Path("/proc/self/smaps_rollup")


def numbered(num_samples: int, seq_length: int = 4, *, first: int = 0) -> IdArray:
    """Shape (num_samples, seq_length): row r is r + first, repeated."""
    return np.repeat(np.arange(first, first + num_samples)[:, None], seq_length, axis=1)


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


def rows(dataset: PickledTrainerDataset) -> list[list[int]]:
    return [sample["input_ids"].tolist() for sample in dataset]


def firsts(dataset: PickledTrainerDataset) -> list[int]:
    return [int(sample["input_ids"][0]) for sample in dataset]


def flip_lowest_bit(path: Path, offset: int) -> None:
    data = bytearray(path.read_bytes())
    data[offset] ^= 1
    path.write_bytes(data)


@pytest.fixture
def ten(tmp_path: Path) -> PickledTrainerDataset:
    """Ten samples in two folders and three shards; sample i holds i four times."""
    first = scenario.write_dataset(tmp_path / "first", [numbered(3), numbered(1, first=3)])
    return opened(first, scenario.write_dataset(tmp_path / "second", [numbered(6, first=4)]))


@pytest.mark.parametrize("largest_id", [600, 2**16 - 1, 2**16, 2**31 - 1])
def test_a_sample_is_input_ids_and_labels_as_long_tensors(tmp_path: Path, largest_id: int) -> None:
    ids = np.array([[7, 0, largest_id], [1, largest_id, 2]])
    dataset = opened(scenario.write_dataset(tmp_path / "d", [ids]))
    for i in range(2):
        sample = dataset[i]
        assert list(sample) == ["input_ids", "labels"]
        for tensor in sample.values():
            assert tensor.dtype == torch.int64
            assert tensor.shape == (3,)
            assert tensor.tolist() == ids[i].tolist()


def test_a_sample_s_tensors_share_no_memory_with_each_other_or_the_file(tmp_path: Path) -> None:
    dataset = opened(scenario.write_dataset(tmp_path / "d", [numbered(2)]))
    sample = dataset[1]
    sample["labels"][0] = -100
    assert sample["input_ids"].tolist() == [1, 1, 1, 1]
    sample["input_ids"][1] = 99
    assert sample["labels"].tolist() == [-100, 1, 1, 1]
    assert dataset[1]["input_ids"].tolist() == dataset[1]["labels"].tolist() == [1, 1, 1, 1]


@pytest.mark.parametrize("old", [False, True])
def test_shards_come_in_the_order_of_their_numbers_not_of_their_names(
    tmp_path: Path, old: bool
) -> None:
    shards = [numbered(1 + i // 4, first=100 * i) for i in range(12)]
    if old:
        folder = write_old_dataset(tmp_path / "d", shards, protocol=4)
    else:
        folder = scenario.write_dataset(tmp_path / "d", shards)
    dataset = opened(folder)
    expected = [0, 100, 200, 300, 400, 401, 500, 501, 600, 601, 700, 701]
    expected += [800, 801, 802, 900, 901, 902, 1000, 1001, 1002, 1100, 1101, 1102]
    assert firsts(dataset) == expected
    assert [int(dataset[i]["labels"][0]) for i in range(len(dataset))] == expected


def test_folders_come_in_the_order_given(tmp_path: Path) -> None:
    a = scenario.write_dataset(tmp_path / "a", [numbered(2)])
    b = scenario.write_dataset(tmp_path / "b", [numbered(1, first=50), numbered(1, first=60)])
    c = write_old_dataset(tmp_path / "c", [numbered(2, first=70)], protocol=2)
    assert firsts(opened(b, c, a)) == [50, 60, 70, 71, 0, 1]
    assert firsts(opened(a, b, a)) == [0, 1, 50, 60, 0, 1]


@pytest.mark.parametrize("kind", [str, Path])
def test_one_folder_may_stand_without_a_list(tmp_path: Path, kind: type[str] | type[Path]) -> None:
    folder = kind(scenario.write_dataset(tmp_path / "d", [numbered(3)]))
    assert firsts(PickledTrainerDataset(folder, quiet=True)) == [0, 1, 2]
    assert firsts(PickledTrainerDataset([folder], quiet=True)) == [0, 1, 2]
    assert firsts(PickledTrainerDataset(iter([folder]), quiet=True)) == [0, 1, 2]


def test_an_index_finds_what_it_finds_in_a_list(ten: PickledTrainerDataset) -> None:
    listed = list(range(10))
    assert len(ten) == 10
    for index in range(-10, 10):
        assert ten[index]["input_ids"].tolist() == [listed[index]] * 4, index


@pytest.mark.parametrize("index", [10, 11, -11, 10**6, -(10**6)])
def test_an_index_past_either_end_is_an_index_error(ten: PickledTrainerDataset, index: int) -> None:
    with pytest.raises(IndexError):
        ten[index]


@pytest.mark.parametrize("index", [3, -4])
def test_an_index_past_either_end_of_a_slice_is_an_index_error(
    ten: PickledTrainerDataset, index: int
) -> None:
    with pytest.raises(IndexError):
        ten[2:5][index]


def test_every_slice_is_the_one_that_a_list_gives(ten: PickledTrainerDataset) -> None:
    listed = list(range(10))
    ends = [None, 0, 1, 3, 4, 9, 10, 99, -1, -7, -10, -99]
    steps = [None, 1, 2, 3, 20, -1, -2, -20]
    for start, stop, step in itertools.product(ends, ends, steps):
        cut = slice(start, stop, step)
        part, expected = ten[cut], listed[cut]
        assert len(part) == len(expected), cut
        assert firsts(part) == expected, cut
        assert [int(part[i]["labels"][3]) for i in range(len(part))] == expected, cut
    with pytest.raises(ValueError, match="step"):
        ten[::0]


@pytest.mark.parametrize(
    "cuts",
    [
        (slice(2, None), slice(None, 3)),
        (slice(None, None, -1), slice(1, 6, 2)),
        (slice(1, 9, 3), slice(None, None, -1), slice(1, None)),
        (slice(5, 5), slice(None)),
        (slice(-3, None), slice(-2, -1)),
    ],
)
def test_a_slice_of_a_slice_is_the_one_that_a_list_gives(
    ten: PickledTrainerDataset, cuts: tuple[slice, ...]
) -> None:
    part, expected = ten, list(range(10))
    for cut in cuts:
        part, expected = part[cut], expected[cut]
    assert isinstance(part, PickledTrainerDataset)
    assert firsts(part) == expected
    assert firsts(ten) == list(range(10)), "the whole stays as it was"


def test_iteration_stops_after_the_last_sample_and_can_begin_again(
    ten: PickledTrainerDataset,
) -> None:
    iterator = iter(ten)
    assert [int(next(iterator)["input_ids"][0]) for _ in range(10)] == list(range(10))
    with pytest.raises(StopIteration):
        next(iterator)
    assert firsts(ten) == list(range(10))


@pytest.mark.parametrize(
    ("cut", "num_samples"),
    [(slice(None), 10), (slice(2, 9, 3), 3), (slice(None, None, -1), 10), (slice(7, 2), 0)],
)
def test_the_totals_are_those_of_the_part_that_a_slice_keeps(
    ten: PickledTrainerDataset, cut: slice, num_samples: int
) -> None:
    assert ten[cut].total_samples == len(ten[cut]) == num_samples
    assert ten[cut].total_tokens == num_samples * 4
    assert (ten.total_samples, ten.total_tokens) == (10, 40)
    assert ten[cut].seq_length == 4


def test_folders_of_different_lengths_are_refused_by_name(tmp_path: Path) -> None:
    a = scenario.write_dataset(tmp_path / "a", [numbered(2, 4)])
    b = scenario.write_dataset(tmp_path / "b", [numbered(2, 4)])
    c = scenario.write_dataset(tmp_path / "c", [numbered(2, 6)])
    with pytest.raises(DatasetError) as refusal:
        opened(a, b, c)
    message = str(refusal.value)
    assert f"{c} has samples of 6 tokens" in message
    assert re.search(rf"{re.escape(str(a))} of 4\b", message)


@pytest.mark.parametrize("folders", [[], (), iter([])])
def test_no_folder_at_all_is_refused(folders: Sequence[Path]) -> None:
    with pytest.raises(DatasetError, match="no dataset folder"):
        PickledTrainerDataset(folders, quiet=True)


def test_a_folder_without_a_meta_is_refused_by_name(tmp_path: Path) -> None:
    folder = scenario.write_dataset(tmp_path / "d", [numbered(2)])
    (folder / "dump-meta_data.json").unlink()
    with pytest.raises(DatasetError, match=re.escape(f"{folder} holds no dump-meta_data.json")):
        opened(folder)


def test_quiet_prints_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    folder = scenario.write_dataset(tmp_path / "d", [numbered(2), numbered(1)])
    assert len(PickledTrainerDataset([folder, folder], quiet=True, verify=True)[1:]) == 5
    assert capfd.readouterr() == ("", "")


def test_what_is_found_is_printed_as_the_old_loader_did(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    scenario.write_dataset(Path("deep/train"), [numbered(3), numbered(2)])
    scenario.write_dataset(Path("more"), [numbered(1)])
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


def test_verify_refuses_a_flipped_bit_that_no_structure_shows(tmp_path: Path) -> None:
    folder = scenario.write_dataset(tmp_path / "d", [numbered(3), numbered(3, first=8)])
    assert len(PickledTrainerDataset(folder, quiet=True, verify=True)) == 6
    shard = folder / "dump-1.pkl"
    flip_lowest_bit(shard, len(b"\x80\x02](" + b"](M"))
    assert rows(opened(folder))[3] == [9, 8, 8, 8], "the bit is one of an id"
    with pytest.raises(DatasetError, match=re.escape(f"{shard} does not have the sha256")):
        PickledTrainerDataset(folder, quiet=True, verify=True)


def test_a_flipped_bit_of_the_structure_is_refused_without_verify_too(tmp_path: Path) -> None:
    folder = scenario.write_dataset(tmp_path / "d", [numbered(3)])
    flip_lowest_bit(folder / "dump-0.pkl", len(b"\x80\x02](" + b"](M\0\0"))
    with pytest.raises(DatasetError, match="sample 0 breaks the format"):
        opened(folder)


def test_an_open_dataset_outlives_the_removal_of_its_folder(ten: PickledTrainerDataset) -> None:
    for dataset in ten.datasets:
        shutil.rmtree(dataset.folder)
    assert firsts(ten[::3]) == [0, 3, 6, 9]


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
@pytest.mark.parametrize(
    ("largest_id", "shapes"),
    [
        (200, [(3, 5), (1, 5)]),
        (32_021, [(2, 1536), (7, 1536), (1, 1536)]),
        (100_000, [(1001, 6), (1000, 6), (300, 6)]),
        (2_000_000, [(30, 1), (1, 1)]),
    ],
)
def test_a_dataset_of_the_old_script_gives_the_same_samples(
    tmp_path: Path, protocol: int, largest_id: int, shapes: list[tuple[int, int]]
) -> None:
    random = np.random.default_rng(protocol)
    shards = [random.integers(0, largest_id, shape, endpoint=True) for shape in shapes]
    expected = [row for shard in shards for row in shard.tolist()]
    old = opened(write_old_dataset(tmp_path / "old", shards, protocol=protocol))
    ours = opened(scenario.write_dataset(tmp_path / "ours", shards))
    assert rows(old) == rows(ours) == expected
    assert old[0]["input_ids"].dtype == old[0]["labels"].dtype == torch.int64
    assert old.total_tokens == ours.total_tokens == sum(shard.size for shard in shards)


@pytest.mark.parametrize("protocol", [2, 3, 4, 5])
def test_an_id_whose_bytes_are_those_of_a_row_s_start_is_an_id_like_any_other(
    tmp_path: Path, protocol: int
) -> None:
    start = b"]\x94(\0" if protocol >= 4 else b"]q\x02("
    samples = np.full((3, 6), int.from_bytes(start, "little"))
    old = write_old_dataset(tmp_path / "old", [samples], protocol=protocol)
    assert rows(opened(old)) == samples.tolist()


OPEN_WITH_FEW_DESCRIPTORS = """
import resource, sys
from codedata.pickle_dataset import PickledTrainerDataset

_, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard))
print(*(int(sample["labels"][0]) for sample in PickledTrainerDataset(sys.argv[1], quiet=True)))
"""


def test_more_shards_are_opened_than_the_soft_limit_of_open_files(tmp_path: Path) -> None:
    # 1,024 by default; a file of The Stack gives 36 shards, its C has 257 files.
    folder = scenario.write_dataset(tmp_path / "d", [numbered(1, first=i) for i in range(100)])
    command = [sys.executable, "-c", OPEN_WITH_FEW_DESCRIPTORS, str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split() == [str(i) for i in range(100)], done.stderr


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


def heavy_modules_after(statement: str) -> list[str]:
    """Which of the heavy packages a fresh interpreter holds after a statement."""
    names = ("torch", "dagster", "transformers")
    script = f"import sys\n{statement}\nprint(*(n for n in {names!r} if n in sys.modules))"
    command = [sys.executable, "-c", script]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.split()


@pytest.mark.parametrize(
    ("statement", "heavy"),
    [
        ("import codedata", []),
        ("import codedata; codedata.CodedataError", []),
        ("import codedata.tokenize_data", []),
        ("from codedata import PickledTrainerDataset", ["torch"]),
    ],
)
def test_only_the_loader_waits_for_torch_and_nothing_for_dagster_or_transformers(
    statement: str, heavy: list[str]
) -> None:
    assert heavy_modules_after(statement) == heavy


def test_the_digest_of_one_whole_folder_is_that_of_its_meta(tmp_path: Path) -> None:
    folder = scenario.write_dataset(tmp_path / "d", [numbered(3)])
    meta = hashlib.sha256((folder / "dump-meta_data.json").read_bytes()).hexdigest()
    dataset = opened(folder)
    assert dataset.digest == dataset[:].digest == dataset[0:3:1].digest == meta
    assert pickle.loads(pickle.dumps(dataset)).digest == meta


def test_the_digest_of_a_dataset_of_the_old_script_is_also_of_its_ids(tmp_path: Path) -> None:
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
        f"{sha256[0]}), and the same ids are other tokens in each; load them as two datasets, or "
        "make one again with the other's tokenizer"
    )
    (b / FACTS_NAME).write_bytes((b / FACTS_NAME).read_bytes() + b"edited")
    assert len(PickledTrainerDataset([a, b], quiet=True)) == 4, "edited facts say nothing"
