"""Digests through Subset and ConcatDataset, and states that would resume on other samples."""

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset, Subset, random_split

from codedata import GlobalBatchSampler, ResumableLoader
from codedata.errors import SettingsError
from codedata.pickle_dataset import PickledTrainerDataset
from codedata.training.identity import digest_of, parts_of
from codedata_tests import scenario


def dataset_of(folder: Path, first: int) -> PickledTrainerDataset:
    """Sample i holds `first + i` four times."""
    folder = scenario.write_dataset(folder, [scenario.numbered(40, first=first)])
    return PickledTrainerDataset(folder, quiet=True)


@pytest.fixture
def one(tmp_path: Path) -> PickledTrainerDataset:
    return dataset_of(tmp_path / "one", 0)


@pytest.fixture
def two(tmp_path: Path) -> PickledTrainerDataset:
    return dataset_of(tmp_path / "two", 100)


class Opaque(torch.utils.data.Dataset[Any]):
    """A dataset of someone else's, of forty samples."""

    def __init__(self, first: int = 0) -> None:
        self.first = first

    def __len__(self) -> int:
        return 40

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {"input_ids": torch.tensor([self.first + index])}


class Reversing(Subset[Any]):
    """A subset that gives other samples than its indices say."""

    def __getitem__(self, idx: Any) -> Any:
        return self.dataset[self.indices[-1 - idx]]

    def __getitems__(self, indices: list[int]) -> list[Any]:
        return [self[index] for index in indices]


class Negated(PickledTrainerDataset):
    """Gives other samples than are stored."""

    def __getitem__(self, index: Any) -> Any:
        sample: Any = super().__getitem__(index)
        return {**sample, "labels": -sample["labels"]} if isinstance(sample, dict) else sample


class Named(Negated):
    @property
    def digest(self) -> str:
        return f"negated {super().digest}"


class HandingOn(Opaque):
    """Forty samples of its own around a dataset whose attributes it hands on."""

    def __init__(self, inner: Any) -> None:
        super().__init__()
        self.inner = inner

    def __getattr__(self, name: str) -> Any:
        return getattr(self.__dict__["inner"], name)


def halves(dataset: Any, seed: int) -> Any:
    return random_split(dataset, [20, 20], torch.Generator().manual_seed(seed))[0]


def loader_on(dataset: Any, **options: Any) -> ResumableLoader:
    return ResumableLoader(dataset, global_batch_size=4, **options)


def saved(dataset: Any, **options: Any) -> dict[str, Any]:
    loader = loader_on(dataset, **options)
    next(iter(loader))
    return json.loads(json.dumps(loader.state_dict()))


def test_a_digest_goes_through_subset_and_concat_as_the_page_says(
    one: PickledTrainerDataset, two: PickledTrainerDataset
) -> None:
    indices = b"".join(i.to_bytes(8, "little", signed=True) for i in (3, 1, -2))
    parts = ["Subset", one.digest, hashlib.sha256(indices).hexdigest()]
    expected = hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    kinds: list[Any] = [[3, 1, -2], np.array([3, 1, -2], np.int32), torch.tensor([3, 1, -2])]
    assert {digest_of(Subset(one, each)) for each in kinds} == {expected}

    joined = ConcatDataset([one, Subset(two, [3, 1, -2])])
    parts = ["ConcatDataset", [one.digest, digest_of(joined.datasets[1])]]
    assert digest_of(joined) == hashlib.sha256(json.dumps(parts).encode()).hexdigest()
    assert list(parts_of(joined)) == [one, two]


def test_other_indices_parts_orders_and_nestings_have_other_digests(
    one: PickledTrainerDataset, two: PickledTrainerDataset
) -> None:
    subsets: list[Any] = [([], one), (range(40), one), ([0, 1], one), ([1, 0], one), ([0, 1], two)]
    subsets += [([0, 1], one[:10]), ([0, 1], Subset(one, [1, 0])), ([0], ConcatDataset([one, two]))]
    parts: list[Any] = [[one, two], [two, one], [one], [ConcatDataset([one]), two]]
    datasets = [one, two, *(Subset(dataset, indices) for indices, dataset in subsets)]
    digests = [digest_of(dataset) for dataset in [*datasets, *map(ConcatDataset, parts)]]
    assert None not in digests
    assert len({*digests}) == len(digests) == 14


def test_what_may_give_other_samples_has_no_digest(one: PickledTrainerDataset) -> None:
    no_indices: list[Any] = [[0.5], [[0, 1]]]
    for wrapped in (
        *(Opaque(), Subset(Opaque(), [1]), ConcatDataset([one, Opaque()]), Reversing(one, [0, 1])),
        *(Subset(one, indices) for indices in no_indices),
    ):
        assert digest_of(wrapped) is None


def test_a_class_that_gives_other_samples_has_no_digest_but_one_that_it_defines(
    one: PickledTrainerDataset,
) -> None:
    folder = one.datasets[0].folder
    negated, named = Negated(folder, quiet=True), Named(folder, quiet=True)
    assert negated.digest == one.digest, "of what is stored"
    assert [digest_of(each) for each in (negated, negated[:3], HandingOn(one))] == [None] * 3
    assert digest_of(named) == f"negated {one.digest}"
    assert digest_of(type("Plain", (PickledTrainerDataset,), {})(folder, quiet=True)) == one.digest
    state = saved(one)
    with pytest.raises(SettingsError, match=r"a state of Negated \(whose `digest` is of other sam"):
        saved(negated)
    with pytest.raises(SettingsError) as refusal:
        loader_on(negated).load_state_dict(state)
    assert str(refusal.value) == (
        f"the state is of dataset '{one.digest}', and this is Negated (whose `digest` is of other "
        "samples than it may give), which has no digest to compare; give it an attribute `digest`, "
        "or, if it is the same, load it with require_digest=False"
    )
    with pytest.raises(SettingsError, match=f"but this sampler has 'negated {one.digest}'"):
        loader_on(named).load_state_dict(state)
    of_before = loader_on(negated, require_digest=False)
    of_before.load_state_dict(state)
    assert len(of_before) == 9, "a run that was begun with it goes on"


def test_a_state_of_other_samples_is_refused_through_the_wrappers_and_one_of_the_same_goes_on(
    one: PickledTrainerDataset, two: PickledTrainerDataset
) -> None:
    for first, other in [
        (halves(one, 0), halves(one, 1)),
        (halves(one, 0), halves(two, 0)),
        (ConcatDataset([one, two]), ConcatDataset([two, one])),
        (Subset(one[:30], range(20)), Subset(one[10:], range(20))),
    ]:
        state = saved(first)
        whole = [batch["input_ids"][:, 0].tolist() for batch in loader_on(first)]
        loader = loader_on(first)
        loader.load_state_dict(state)
        assert [batch["input_ids"][:, 0].tolist() for batch in loader] == whole[1:]
        with pytest.raises(SettingsError, match=f"the state is of dataset '{state['dataset']}', b"):
            loader_on(other).load_state_dict(state)


def test_a_dataset_without_a_digest_is_loaded_but_its_state_is_refused_when_it_is_saved() -> None:
    loader = loader_on(Subset(Opaque(), range(20)))
    iterator = iter(loader)
    next(iterator)
    with pytest.raises(SettingsError) as refusal:
        loader.state_dict()
    assert str(refusal.value) == (
        "a state of Subset of Opaque cannot say which dataset it is of, since that has no digest: "
        "to resume on another would go unnoticed; give it an attribute `digest`, a string that "
        "only the same samples in the same order have, or require_digest=False to be without"
    )
    assert [len(list(loader)) for _ in range(2)] == [4, 5], "it goes on, epoch after epoch"
    sampler = GlobalBatchSampler(Opaque(), global_batch_size=4)
    with pytest.raises(SettingsError, match="a state of Opaque cannot say which dataset"):
        sampler.state_dict()


def test_whoever_says_so_saves_and_loads_a_state_without_a_digest_and_one_s_own_counts(
    one: PickledTrainerDataset,
) -> None:
    state = saved(Opaque(), require_digest=False)
    assert state["dataset"] is None
    loader = loader_on(Opaque(first=100), require_digest=False)
    loader.load_state_dict(state)
    assert len(loader) == 9
    mine, other = Opaque(), Opaque()
    mine.digest, other.digest = "mine", "other"  # pyright: ignore[reportAttributeAccessIssue]
    state = loader_on(ConcatDataset([one, mine])).state_dict()
    with pytest.raises(SettingsError, match="the state is of dataset"):
        loader_on(ConcatDataset([one, other])).load_state_dict(state)


def test_an_old_state_that_names_no_dataset_is_refused_unless_the_caller_says_so(
    one: PickledTrainerDataset,
) -> None:
    old = {**saved(halves(one, 0)), "dataset": None}
    with pytest.raises(SettingsError) as refusal:
        loader_on(halves(one, 0)).load_state_dict(old)
    assert str(refusal.value) == (
        "the state does not say which dataset it is of: it was taken without a digest, or by a "
        "codedata that saw none through Subset and ConcatDataset; if it is of this one, load it "
        "with require_digest=False, and save the next"
    )
    loader = loader_on(halves(one, 0), require_digest=False)
    loader.load_state_dict(old)
    assert loader.state_dict() == saved(halves(one, 0)), "the next one names it"
