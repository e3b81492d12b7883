"""Batches: by every way those of single samples, in memory of their own; compact from workers."""

import os
import pickle
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, DataLoader, Subset, default_collate, get_worker_info
from transformers import default_data_collator

from codedata import (
    GlobalBatchSampler,
    PackedCollator,
    PaddingCollator,
    ResumableLoader,
    collate_samples,
)
from codedata.format.documents import SPAN_COLUMNS
from codedata.pickle_dataset import PickledTrainerDataset, Sample
from codedata.training.batches import StoredBatch, Uncollated
from codedata.training.documents import stored_spans
from codedata.training.stored_views import stored_view
from codedata_tests import scenario
from codedata_tests.scenario import write_document_dataset
from codedata_tests.training.tiny_trainer import tiny_trainer

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning",
    "ignore:'pin_memory' argument is set as true but no accelerator:UserWarning",
)

LENGTH = 8
BATCH_SIZE = 3


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> PickledTrainerDataset:
    """Eleven samples of three shards in two folders, one of wide ids; some end in padding."""
    folder = tmp_path_factory.mktemp("plain")
    ids = np.random.default_rng(0).integers(1, 2**16, (11, LENGTH))
    ids[4:7, 2] = 2**16 + 5
    first = scenario.write_dataset(
        folder / "first", [ids[:4], ids[4:7]], last_sample_tokens=[5, LENGTH]
    )
    second = scenario.write_dataset(folder / "second", [ids[7:]], last_sample_tokens=[1])
    return PickledTrainerDataset([first, second], quiet=True)


@pytest.fixture(scope="module")
def packed(tmp_path_factory: pytest.TempPathFactory) -> PickledTrainerDataset:
    folder = tmp_path_factory.mktemp("packed")
    chunks = [[3, 9, 1, 6, 2, 2, 5], [4, 4, 8, 1, 7]]
    return PickledTrainerDataset(write_document_dataset(folder / "packed", chunks), quiet=True)


def datasets(plain: PickledTrainerDataset, packed: PickledTrainerDataset) -> dict[str, Any]:
    masked, apart = plain.with_padding_masked(), packed.with_padding_masked()
    return {
        "plain": plain,
        "masked": masked,
        "slice": masked[-1:0:-2],
        "picked": masked[[9, 3, 3, 6, 10, 0]],
        "subset": Subset(masked, [10, -1, 3, 5]),
        "concatenated": ConcatDataset([plain[:4], Subset(masked, [10, 3, 4]), masked[2:]]),
        "from the end": Subset(ConcatDataset([plain[:4], masked[7:]]), [-1, 0, -5, 3, 7, -8]),
        "documents": packed,
        "documents masked": apart,
        "documents of parts": ConcatDataset([apart[3:], packed[[2, 0, 1]]]),
    }


def collators(dataset: Any, name: str) -> list[Any]:
    if "documents" in name:
        return [None, PackedCollator(dataset), PackedCollator(dataset, flattened=True)]
    return [None, PaddingCollator(dataset)] if name == "masked" else [None]


def expected(dataset: Any, collate_fn: Any) -> Iterator[dict[str, Any]]:
    """Of an epoch each batch, made of single samples."""
    for indices in GlobalBatchSampler(dataset, global_batch_size=BATCH_SIZE, drop_last=False):
        yield (collate_fn or default_collate)([dataset[index] for index in indices])


def require_same(batches: Sequence[Any], of_samples: Sequence[Any]) -> None:
    assert len(batches) == len(of_samples) > 1
    for batch, other in zip(batches, of_samples, strict=True):
        assert list(batch) == list(other)
        for name, value in other.items():
            assert type(batch[name]) is type(value)
            if isinstance(value, torch.Tensor):
                assert (batch[name].dtype, batch[name].shape) == (value.dtype, value.shape)
                assert batch[name].equal(value)
                assert batch[name].is_contiguous()
            else:
                assert batch[name] == value


def loader_of(dataset: Any, **options: Any) -> ResumableLoader:
    return ResumableLoader(dataset, global_batch_size=BATCH_SIZE, drop_last=False, **options)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"num_workers": 2, "prefetch_factor": 3, "timeout": 300},
        {"pin_memory": True},
        pytest.param(
            {"num_workers": 1, "multiprocessing_context": "spawn"}, marks=pytest.mark.campaign
        ),
        pytest.param(
            {"num_workers": 1, "multiprocessing_context": "forkserver", "pin_memory": True},
            marks=pytest.mark.campaign,
        ),
    ],
    ids=["alone", "workers", "pinned", "spawn", "forkserver"],
)
def test_batches_are_those_of_single_samples_by_every_way(
    plain: PickledTrainerDataset, packed: PickledTrainerDataset, options: dict[str, Any]
) -> None:
    some = {"masked", "picked", "concatenated", "documents", "documents of parts"}
    if "multiprocessing_context" in options:  # a worker is seconds of imports
        some = {"concatenated", "documents of parts"}
    for name, dataset in datasets(plain, packed).items():
        if options and name not in some:
            continue
        of_name = collators(dataset, name)
        for collate_fn in of_name[-1:] if len(some) == 2 else of_name:
            batches = list(loader_of(dataset, collate_fn=collate_fn, **options))
            require_same(batches, list(expected(dataset, collate_fn)))
            if options:
                continue
            sampler = GlobalBatchSampler(dataset, global_batch_size=BATCH_SIZE, drop_last=False)
            for collate in {collate_fn, collate_fn or collate_samples}:
                there = DataLoader(dataset, batch_sampler=sampler, collate_fn=collate)
                require_same(list(there), list(expected(dataset, collate_fn)))


def test_workers_that_stay_give_one_epoch_after_the_other(
    plain: PickledTrainerDataset, tmp_path: Path
) -> None:
    def begin(worker: int) -> None:
        (tmp_path / f"{worker}-{os.getpid()}").touch()

    alone = loader_of(plain)
    workers = loader_of(plain, num_workers=1, persistent_workers=True, worker_init_fn=begin)
    for _ in range(2):
        require_same(list(workers), list(alone))
    assert len([*tmp_path.glob("0-*")]) == 1, "the same one"
    assert alone.epoch == workers.epoch == 2


def test_a_batch_has_memory_of_its_own_for_ids_and_for_labels(
    packed: PickledTrainerDataset,
) -> None:
    for num_workers in (0, 1):
        seen: list[Any] = []
        for batch in loader_of(packed, num_workers=num_workers):
            seen.append({name: tensor.clone() for name, tensor in batch.items()})
            batch["labels"].fill_(-7)
            assert batch["input_ids"].equal(seen[-1]["input_ids"])
            batch["input_ids"].fill_(-8)
            batch["document_ids"].fill_(-9)
        require_same(seen, list(expected(packed, None)))


def test_what_workers_hand_on_has_the_width_that_is_stored(plain: PickledTrainerDataset) -> None:
    view = stored_view(plain.with_padding_masked())
    options: dict[str, Any] = {"batch_size": None, "collate_fn": identity, "num_workers": 1}
    narrow, wide = DataLoader(OfBatches(view, [[0, 1, 8], [3, 5, 10]]), **options)
    assert (narrow.ids.dtype, wide.ids.dtype) == (np.uint16, np.int32)
    assert narrow.num_labels is None
    assert wide.num_labels.tolist() == [5, LENGTH, 1]
    assert wide.ids.tolist() == [plain[i]["input_ids"].tolist() for i in (3, 5, 10)]
    big = StoredBatch(np.zeros((8, 1536), np.uint16))
    assert len(pickle.dumps(Uncollated(big, StoredBatch.expand))) < 8 * 1536 * 2 + 512


class OfBatches(torch.utils.data.Dataset[Any]):
    def __init__(self, dataset: Any, batches: Sequence[Sequence[int]]) -> None:
        self.dataset, self.batches = dataset, batches

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> Any:
        return self.dataset.__getitems__(self.batches[index])


def identity(found: Any) -> Any:
    return found


def test_a_sample_of_more_than_32767_documents_numbers_them_all() -> None:
    tokens = np.arange(40_000, dtype=np.int32)
    columns = {"sample": tokens * 0, "start": tokens, "stop": tokens + 1}
    of_one = np.stack([columns.get(name, tokens) for name in SPAN_COLUMNS], axis=1)
    spans, ends = stored_spans([of_one, of_one[:5]], 40_001)
    assert ends.tolist() == [40_000, 5]
    batch = StoredBatch(np.zeros((2, 40_001), np.uint16), spans=spans).expand()
    assert batch["document_ids"][0].tolist() == [*range(40_000), -1]
    assert batch["document_ids"][1].tolist() == [0, 1, 2, 3, 4, *[-1] * 39_996]


class Doubling(PickledTrainerDataset):
    """A subclass that gives other samples than are stored."""

    def __getitem__(self, index: Any) -> Any:
        sample: Any = super().__getitem__(index)
        return {name: 2 * tensor for name, tensor in sample.items()}


def test_a_subclass_that_changes_samples_is_asked_for_each(plain: PickledTrainerDataset) -> None:
    doubling = Doubling([each.folder for each in plain.datasets], quiet=True)
    for dataset in (doubling, Subset(doubling, range(11)), ConcatDataset([doubling])):
        for num_workers in (0, 1):
            batches = list(loader_of(dataset, num_workers=num_workers))
            require_same(batches, list(expected(doubling, None)))
        assert next(iter(DataLoader(dataset, 1)))["labels"].equal(2 * plain[0]["labels"][None])
    require_same([*doubling], [doubling[index] for index in range(len(doubling))])
    assert len([*Fewer([each.folder for each in plain.datasets], quiet=True)]) == 2
    together = DoublingTogether([each.folder for each in plain.datasets], quiet=True)
    for dataset in (together, Subset(together, range(11))):
        require_same(list(loader_of(dataset)), list(expected(doubling, None)))


class Fewer(PickledTrainerDataset):
    def __len__(self) -> int:
        return 2


class DoublingTogether(PickledTrainerDataset):
    def __getitems__(self, indices: Any) -> Any:
        samples: Any = super().__getitems__(indices)
        return [{name: 2 * tensor for name, tensor in each.items()} for each in samples]


class Wrapped(torch.utils.data.Dataset[Any]):
    """Other samples than those of a dataset inside, whose attributes it hands on."""

    def __init__(self, inner: Any) -> None:
        self.inner = inner

    def __len__(self) -> int:
        return len(self.inner)

    def __getitem__(self, index: int) -> Sample:
        return {name: 2 * tensor for name, tensor in self.inner[index].items()}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.inner, name)


def test_a_wrapper_that_hands_on_attributes_is_asked_for_each_sample(
    plain: PickledTrainerDataset,
) -> None:
    wrapped = Wrapped(plain)
    assert callable(wrapped.storing)
    for dataset in (wrapped, Subset(wrapped, range(11)), ConcatDataset([wrapped])):
        for num_workers in (0, 1):
            batches = list(loader_of(dataset, num_workers=num_workers))
            require_same(batches, list(expected(dataset, None)))
            assert torch.cat([each["labels"] for each in batches]).remainder(2).any() == 0


def test_a_sample_that_there_is_not_is_refused_in_parts_too(plain: PickledTrainerDataset) -> None:
    view = stored_view(ConcatDataset([plain, plain]))
    assert len(view.__getitems__([21, -22]).ids) == 2
    for wrong in (22, -23):
        with pytest.raises(IndexError, match=f"sample {wrong} of 22 in a ConcatDataset: its"):
            view.__getitems__([0, wrong])


def test_a_collate_fn_of_the_user_s_is_called_in_the_worker_with_a_list_of_samples(
    plain: PickledTrainerDataset,
) -> None:
    def told(samples: Any) -> Any:
        ids = torch.stack([sample["input_ids"] for sample in samples])
        return isinstance(samples, list), get_worker_info() is not None, type(samples[0]), ids

    for num_workers in (0, 1):
        loader: Any = loader_of(plain, num_workers=num_workers, collate_fn=told)
        found = list(loader)
        assert {each[:3] for each in found} == {(True, num_workers == 1, dict)}
        ids = torch.cat([each[3] for each in found])
        assert ids.equal(torch.cat([batch["input_ids"] for batch in expected(plain, None)]))
    loader = loader_of(
        plain,
        num_workers=1,
        collate_fn=lambda samples: [each["labels"].tolist() for each in samples],
    )
    assert list(loader) == [batch["labels"].tolist() for batch in expected(plain, None)]
    kept = loader_of(plain, collate_fn=default_data_collator)
    require_same(list(kept), list(expected(plain, default_data_collator)))


class Marking(PaddingCollator):
    def __call__(self, samples: Sequence[Sample]) -> dict[str, Any]:
        return {**super().__call__(samples), "mark": [len(each) for each in samples]}


class Around:
    """A collator in another, whose attributes it hands on."""

    def __init__(self, collator: Any) -> None:
        self.collator = collator

    def __call__(self, samples: Any) -> Any:
        return {**self.collator(samples), "mark": "around"}

    def __getattr__(self, name: str) -> Any:
        return getattr(self.collator, name)


def test_a_collator_that_is_made_of_another_is_the_one_that_is_called(
    plain: PickledTrainerDataset, packed: PickledTrainerDataset
) -> None:
    masked = plain.with_padding_masked()
    cases = [(masked, Marking(masked)), (packed, Around(PackedCollator(packed)))]
    for dataset, collator in cases:
        for num_workers in (0, 1):
            batches = list(loader_of(dataset, collate_fn=collator, num_workers=num_workers))
            assert all("mark" in each for each in batches)
            require_same(batches, list(expected(dataset, collator)))


def test_collate_samples_copies_nothing_of_samples_that_came_together(
    plain: PickledTrainerDataset,
) -> None:
    samples: Any = plain.__getitems__([4, -1, 0])
    assert isinstance(samples, list)
    batch = collate_samples(samples)
    for name, tensor in batch.items():
        assert [each.data_ptr() for each in tensor] == [each[name].data_ptr() for each in samples]
    require_same([batch, batch], [default_collate([plain[i] for i in (4, 10, 0)])] * 2)
    again = collate_samples(pickle.loads(pickle.dumps(samples)))
    require_same([again, collate_samples([plain[4], plain[10], plain[0]])], [batch] * 2)
    samples[1]["labels"] = torch.zeros(LENGTH, dtype=torch.int64)
    samples[2]["input_ids"][0] = 0
    changed = collate_samples(samples)
    assert changed["labels"][1].equal(samples[1]["labels"]), "what somebody put in counts"
    assert changed["input_ids"][2, 0] == 0
    samples.pop()
    assert collate_samples(samples)["labels"].shape == (2, LENGTH)
    with pytest.raises(IndexError, match="sample 11 of 11 in "):
        plain.__getitems__([0, 11])


def test_the_trainer_s_batches_are_the_same_by_collate_samples(
    plain: PickledTrainerDataset, tmp_path: Path
) -> None:
    masked = plain.with_padding_masked()
    trainer = partial(tiny_trainer, masked, tmp_path, max_steps=1, batch_size=2)
    for removes in (True, False):
        fast, usual = (
            list(trainer(collator=each, remove_unused_columns=removes).get_train_dataloader())
            for each in (collate_samples, default_data_collator)
        )
        require_same([{**each} for each in fast], [dict(sorted(each.items())) for each in usual])


def test_random_numbers_behind_an_epoch_are_those_behind_one_of_torch_s(
    plain: PickledTrainerDataset,
) -> None:
    states: list[torch.Tensor] = []
    sampler = GlobalBatchSampler(plain, global_batch_size=BATCH_SIZE, drop_last=False)
    for loader in (loader_of(plain), DataLoader[Sample](plain, batch_sampler=sampler)):
        torch.manual_seed(0)
        assert list(loader)
        states.append(torch.get_rng_state())
    assert states[0].equal(states[1])
    generator = torch.Generator().manual_seed(3)
    list(loader_of(plain, generator=generator))
    assert not generator.get_state().equal(torch.Generator().manual_seed(3).get_state())


@pytest.mark.skipif(not torch.cuda.is_available(), reason="pinned memory is an accelerator's")
def test_pinned_memory_is_pinned(packed: PickledTrainerDataset) -> None:
    for num_workers in (0, 1):
        for collate_fn in (None, PackedCollator(packed, flattened=True)):
            loader = loader_of(
                packed, num_workers=num_workers, pin_memory=True, collate_fn=collate_fn
            )
            batches = list(loader)
            assert all(batch["input_ids"].is_pinned() for batch in batches)
            require_same(batches, list(expected(packed, collate_fn)))
