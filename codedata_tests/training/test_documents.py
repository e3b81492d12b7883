"""Documents in samples: of which each token is, what they are; slices, folders, pickles."""

import hashlib
import pickle
from operator import attrgetter
from pathlib import Path
from typing import Any

import pytest
import torch

from codedata.errors import DatasetError
from codedata.format.documents import Form
from codedata.pickle_dataset import PickledTrainerDataset
from codedata.store.object_store import ObjectStore
from codedata_tests import scenario
from codedata_tests.scenario import write_document_dataset

IDS = [
    [100, 101, 102, 103, 1, 200, 201, 1],
    [300, 301, 302, 303, 304, 305, 306, 307],
    [308, 309, 310, 311, 312, 313, 314, 315],
    [316, 317, 318, 1, 0, 0, 0, 0],
    [500, 501, 502, 503, 504, 1, 0, 0],
    [100, 101, 102, 1, 300, 1, 0, 0],  # of the second chunk
    [200, 201, 202, 203, 204, 205, 206, 1],
]
NUMBERS = [
    [0, 0, 0, 0, 0, 1, 1, 1],
    [0] * 8,
    [0] * 8,
    [0, 0, 0, 0, -1, -1, -1, -1],
    [0, 0, 0, 0, 0, 0, -1, -1],
    [0, 0, 0, 0, 1, 1, -1, -1],
    [0] * 8,
]


@pytest.fixture
def packed(tmp_path: Path) -> PickledTrainerDataset:
    folder = write_document_dataset(tmp_path / "packed", forms={1: Form.PSM})
    return PickledTrainerDataset(folder, quiet=True)


def column(dataset: Any, name: str) -> list[list[int]]:
    return [sample[name].tolist() for sample in dataset]


def test_each_token_has_the_number_of_its_document_in_the_sample_and_padding_has_minus_1(
    packed: PickledTrainerDataset,
) -> None:
    assert packed.has_documents
    assert column(packed, "input_ids") == column(packed, "labels") == IDS
    assert column(packed, "document_ids") == NUMBERS
    assert packed[0]["document_ids"].dtype == torch.int64
    assert [packed[i - 7]["document_ids"].tolist() for i in range(7)] == NUMBERS
    assert column(packed[5:0:-2], "document_ids") == NUMBERS[5:0:-2]
    assert column(packed[[4, 0, 4]], "document_ids") == [NUMBERS[4], NUMBERS[0], NUMBERS[4]]


def test_what_each_document_of_a_sample_is_comes_from_the_table_beside_its_shard(
    packed: PickledTrainerDataset,
) -> None:
    first, second = packed.documents(0)
    assert (first.start, first.stop, first.document, first.first_token) == (0, 5, 0, 0)
    assert (first.form, first.row, first.repository, first.licences) == ("plain", 10, None, None)
    assert vars(second) == {
        "start": 5,
        "stop": 8,
        "document": 1,
        "first_token": 0,
        "form": "psm",
        "file": 0,
        "row": 11,
        "characters": 10,
        "sha256": hashlib.sha256(b"document 1").hexdigest(),
        "repository": "owner/1",
        "path": "src/1.c",
        "licences": ("MIT",),
    }
    place = attrgetter("document", "first_token", "start", "stop", "path")
    assert list(map(place, packed.documents(-4))) == [(2, 16, 0, 4, "src/2.c")]
    assert list(map(place, packed.documents(4))) == [(4, 0, 0, 6, "src/4.c")], "of another shard"
    assert packed[2:].documents(1) == packed[[3]].documents(0) == packed.documents(3)
    assert list(map(place, packed.documents(5))) == [
        (0, 0, 0, 4, None),
        (2, 0, 4, 6, "src/2.c"),
    ], "numbers of the second chunk"
    with pytest.raises(IndexError, match="sample 7 of 7"):
        packed.documents(7)


@pytest.mark.parametrize("packing", ["best_fit", "concat"])
def test_samples_and_documents_agree_over_folders_of_many_shards(
    tmp_path: Path, packing: str
) -> None:
    """The ids say which document and token they are: 100 * (document + 1) + token, the last 1."""
    chunks = [[(seed * 37 + i * 61) % 90 for i in range(9)] for seed in range(6)]
    folders = [
        write_document_dataset(
            tmp_path / str(i), chunks[i : i + 3], packing=packing, seq_length=32, max_dump_size=3
        )
        for i in (0, 3)
    ]
    dataset = PickledTrainerDataset(folders, quiet=True)
    assert sum(each.num_shards for each in dataset.datasets) > 12
    num_tokens = 0
    for i, sample in enumerate(dataset):
        ids, numbers = sample["input_ids"].tolist(), sample["document_ids"].tolist()
        expected = [-1] * 32
        for number, span in enumerate(dataset.documents(i)):
            text = ids[span.start : span.stop]
            start = 100 * (span.document + 1) + span.first_token
            assert text[:-1] == list(range(start, start + len(text) - 1))
            assert text[-1] in (1, start + len(text) - 1)
            assert span.row == 10 + span.document
            expected[span.start : span.stop] = [number] * len(text)
            num_tokens += len(text)
        assert numbers == expected
        assert set(ids[numbers.index(-1) :] if -1 in numbers else []) <= {0}
    assert num_tokens == sum(map(sum, chunks))


def test_padding_is_masked_by_where_documents_end_and_the_digest_stays(
    packed: PickledTrainerDataset,
) -> None:
    masked = packed.with_padding_masked()
    assert masked.masks_padding
    assert column(masked, "labels") == [
        [-100 if number < 0 else id_ for id_, number in zip(ids, numbers, strict=True)]
        for ids, numbers in zip(IDS, NUMBERS, strict=True)
    ]
    assert column(masked, "input_ids") == IDS
    assert column(masked[3:5], "document_ids") == NUMBERS[3:5]
    assert masked.digest == packed.digest == packed.datasets[0].digest
    assert column(packed, "labels") == IDS, "the one that was asked stays as it was"


def test_a_pickle_knows_documents_too(packed: PickledTrainerDataset) -> None:
    packed.documents(0)
    again: PickledTrainerDataset = pickle.loads(pickle.dumps(packed[1:].with_padding_masked()))
    assert column(again, "document_ids") == NUMBERS[1:]
    assert again.documents(2) == packed.documents(3)
    assert again.masks_padding


def test_at_a_url_they_come_from_the_copy(
    packed: PickledTrainerDataset, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    store = ObjectStore("memory://documents/datasets/train")
    for path in packed.datasets[0].folder.iterdir():
        store.put(path.name, path.read_bytes())
    there = PickledTrainerDataset(store.url, quiet=True)
    store.remove(store.list())
    assert column(there, "document_ids") == NUMBERS
    assert pickle.loads(pickle.dumps(there)).documents(5) == packed.documents(5)


def test_a_dataset_without_documents_is_as_ever_and_says_so_when_it_is_asked_for_them(
    tmp_path: Path, packed: PickledTrainerDataset
) -> None:
    folder = scenario.write_dataset(tmp_path / "plain", [IDS], last_sample_tokens=[8])
    plain = PickledTrainerDataset(folder, quiet=True)
    assert not plain.has_documents
    assert list(plain[0]) == ["input_ids", "labels"]
    with pytest.raises(DatasetError) as refusal:
        plain.documents(0)
    assert str(refusal.value) == (
        f"{folder} does not say where its documents lie: it was made without a recipe; make it "
        "again with one"
    )
    for folders in ([folder, packed.datasets[0].folder], [packed.datasets[0].folder, folder]):
        with pytest.raises(DatasetError) as refusal:
            PickledTrainerDataset(folders, quiet=True)
        assert str(refusal.value) == (
            f"{packed.datasets[0].folder} says where documents lie in its samples, but {folder} "
            "does not; leave one out, or make that one again with a recipe"
        )
