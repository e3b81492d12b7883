"""Mixture: a dataset of several by weight, in one order, on any ranks and workers, after kills."""

import json
import pickle
import re
import shutil
from itertools import chain
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import ConcatDataset

from codedata import PackedCollator, PaddingCollator, PickledTrainerDataset, ResumableLoader
from codedata.errors import CodedataError, DatasetError, SettingsError
from codedata.format.order import BlockOrder
from codedata.layout import ROOT_VARIABLE
from codedata.training.identity import digest_of
from codedata.training.mixture import Mixture
from codedata_tests import scenario
from codedata_tests.training import runs
from codedata_tests.training.test_epoch_orders import Every

pytestmark = pytest.mark.filterwarnings(
    "ignore:This process .* is multi-threaded, use of fork:DeprecationWarning"
)

SOURCES = {"code": (700, 0), "docs": (90, 1000), "notes": (120, 2000)}
"""Samples of each, and the number of the first."""

WEIGHTS: dict[str, dict[str, Any]] = {
    "code": {"weight": 7},
    "docs": {"weight": 2, "max_epochs": 2.5},
    "notes": {"weight": 1},
}
NUM_SAMPLES = 1000
"""As many as max_epochs allow: of code 700, of docs 200, of notes 100."""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with three splits, and `mix.yaml` over them."""
    for name, (number, first) in SOURCES.items():
        shards = np.array_split(scenario.numbered(number, first=first), 3)
        place = tmp_path / "datasets" / name
        scenario.write_dataset(place, shards, last_sample_tokens=[4, 4, 3])
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    return tmp_path


def sources(**changes: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"dataset": name, **each} | changes.get(name, {}) for name, each in WEIGHTS.items()]


def firsts(samples: Any) -> list[int]:
    return [int(sample["input_ids"][0]) for sample in samples]


def test_a_mixture_is_a_sequence_of_its_sources_samples_in_one_order(folder: Path) -> None:
    mixed = Mixture(sources(), seed=3)
    assert len(mixed) == NUM_SAMPLES
    order = firsts(mixed)
    names = {name: (first, first + number) for name, (number, first) in SOURCES.items()}
    for name, (start, stop) in names.items():
        drawn = [number for number in order if start <= number < stop]
        assert len(drawn) == mixed.drawn()[name] == {"code": 700, "docs": 200, "notes": 100}[name]
        size = stop - start
        for epoch in range(0, len(drawn), size):
            part = drawn[epoch : epoch + size]
            assert len({*part}) == len(part), "no sample comes again before all came"
    assert {*order[:32]} == {*firsts(mixed.__getitems__(range(32)))}  # pyright: ignore[reportArgumentType]
    assert firsts([mixed[-1], mixed[np.int64(7)]]) == [order[-1], order[7]]
    assert firsts(mixed[10:500:7]) == order[10:500:7]
    assert firsts(mixed[[5, 5, -1]]) == [order[5], order[5], order[-1]]
    with pytest.raises(IndexError, match=r"sample 1000 of 1000 in .*numbers are 0 to 999"):
        mixed[NUM_SAMPLES]
    assert repr(mixed[3:]) == (
        "Mixture(997 of 1,000 samples of 4 tokens: code 70.0%: 700 of 700 samples, 1.00 epochs; "
        "docs 20.0%: 200 of 90 samples, 2.22 epochs; notes 10.0%: 100 of 120 samples, 0.83 epochs)"
    )


def test_the_order_is_known_and_stays_from_release_to_release(folder: Path) -> None:
    mixed = Mixture(sources(), seed=3)
    assert firsts(mixed[:12]) == [663, 448, 117, 489, 640, 1064, 1073, 290, 508, 125, 122, 15]
    blocks = Mixture(sources(), seed=3, shuffle="blocks")
    assert firsts(blocks[:12]) == [638, 598, 442, 68, 130, 1017, 1071, 203, 261, 200, 138, 650]
    assert Mixture(sources(), seed=3, shuffle="blocks:32").digest == blocks.digest
    by_one = Mixture(sources(), seed=3, shuffle="blocks:1")
    assert by_one.digest != blocks.digest
    code = by_one.datasets[0]
    ends = np.cumsum([entry.num_samples for entry in code.entries])
    order = BlockOrder(ends, 3, int(code.content_digest[:8], 16), 0, blocks=1)
    of_code = [number for number in firsts(by_one) if number < ends[-1]]
    assert of_code == order.take(0, len(of_code)).tolist()
    assert firsts(Mixture(sources(), shuffle=False)[:12]) == [
        *(0, 1, 1000, 2, 3, 2000, 4, 1001, 5, 6, 7, 8)
    ]


def test_its_digest_is_of_sources_weights_and_order_and_of_the_part_of_a_slice(
    folder: Path,
) -> None:
    mixed = Mixture(sources())
    same = [
        {**each, "weight": each["weight"] / 2, "name": f"x{i}"} for i, each in enumerate(sources())
    ]
    assert mixed.digest == Mixture(same, num_samples=NUM_SAMPLES).digest == mixed[:].digest
    others = [
        Mixture(sources(), seed=1),
        Mixture(sources(), num_samples=999),
        Mixture(sources(code={"start": 1}), num_samples=990),
        Mixture(
            sources(
                code={"dataset": PickledTrainerDataset(folder / "datasets/code", quiet=True)[:-1]}
            )
        ),
        mixed[1:],
        mixed[:500],
        mixed[[1, 2]],
    ]
    assert len({mixed.digest, *(each.digest for each in others)}) == 8
    assert digest_of(mixed) == mixed.digest
    parts = (mixed, mixed[1:], mixed[::2], mixed[::-1], mixed[[1, 2]])
    assert [each.in_order for each in parts] == [True, True, True, False, False]


def test_padding_is_masked_unless_it_is_not_to_be(folder: Path) -> None:
    mixed = Mixture(sources())
    padded = [sample for sample in mixed if (sample["labels"] == -100).any()]
    assert {int(sample["input_ids"][0]) for sample in padded} == {699, 1089}
    assert all(sample["labels"].tolist()[3:] == [-100] for sample in padded)
    batch = PaddingCollator(mixed)([mixed[i] for i in range(len(mixed))])
    assert int((batch["attention_mask"] == 0).sum()) == len(padded)
    plain = Mixture(sources(), mask_padding=False)
    assert not any((sample["labels"] == -100).any() for sample in plain)
    assert plain.digest == mixed.digest
    scenario.write_dataset(folder / "old", [[[1, 2, 3, 4]]])
    with pytest.raises(DatasetError, match=r"; or mix with mask_padding=False, and the loss"):
        Mixture([{"dataset": folder / "old", "weight": 1}])


def test_a_source_may_be_a_part_of_a_dataset_of_several_folders(folder: Path) -> None:
    both = PickledTrainerDataset(
        [folder / "datasets" / name for name in ("code", "docs")], quiet=True
    )
    mixed = Mixture(
        [
            {"dataset": both[650:740], "weight": 2, "name": "cut"},
            {"dataset": both[[3, 1, 2]], "weight": 1, "name": "picked"},
            {"dataset": folder / "datasets" / "notes", "weight": 1},
        ]
    )
    assert len(mixed) == 13, "three of a source of a quarter"
    order = firsts(mixed)
    assert {number for number in order if number < 10} == {1, 2, 3}
    assert sum(650 <= number < 700 or 1000 <= number < 1040 for number in order) == 7
    assert firsts(pickle.loads(pickle.dumps(mixed))) == order


def test_documents_of_a_mixture_are_those_of_its_sources(tmp_path: Path) -> None:
    for name, lengths in {"a": scenario.DOCUMENT_LENGTHS, "b": ((7, 9), (3, 3, 8))}.items():
        scenario.write_document_dataset(tmp_path / name, lengths)
    folders = [tmp_path / "a", tmp_path / "b"]
    mixed = Mixture([{"dataset": each, "weight": 1} for each in folders])
    both = PickledTrainerDataset(folders, quiet=True).with_padding_masked()
    place = {tuple(sample["input_ids"].tolist()): i for i, sample in enumerate(both)}
    rows = [place[tuple(sample["input_ids"].tolist())] for sample in mixed]
    assert len(rows) > 5
    for index, row in enumerate(rows):
        assert mixed.documents(index) == both.documents(row)
        assert all(mixed[index][name].equal(both[row][name]) for name in both[row])
    batch = PackedCollator(mixed)([mixed[i] for i in range(4)])
    assert batch["position_ids"].shape == (4, 8)
    for num_workers in (0, 1):
        batches = [*loader_of(mixed, global_batch_size=2, num_workers=num_workers,
                              collate_fn=PackedCollator(mixed))]  # fmt: skip
        for number, got in enumerate(batches):
            samples = [mixed[2 * number], mixed[2 * number + 1]]
            expected = PackedCollator(mixed)(samples)
            assert all(got[name].equal(expected[name]) for name in expected)
    scenario.write_dataset(tmp_path / "plain", [scenario.numbered(3, 8)])
    without = Mixture([{"dataset": tmp_path / "plain", "weight": 1}], mask_padding=False)
    for dataset in (without, ConcatDataset([mixed, without])):
        with pytest.raises(DatasetError, match=r"plain does not say where documents lie in its"):
            PackedCollator(dataset)
    with pytest.raises(DatasetError, match=r"says where documents lie .* does not"):
        Mixture([{"dataset": each, "weight": 1} for each in (*folders, tmp_path / "plain")])


def test_what_cannot_be_mixed_is_refused_before_a_sample_is_read(folder: Path) -> None:
    code = PickledTrainerDataset(folder / "datasets" / "code", quiet=True)
    scenario.write_dataset(folder / "long", [[[1] * 5]])
    shutil.copytree(folder / "datasets" / "docs", folder / "copied")
    for name, tokenizer in {"tok_a": "one", "tok_b": "two"}.items():
        scenario.write_facts(
            scenario.write_dataset(folder / name, [[[len(name), int(name == "tok_a"), 1, 1]]]),
            tokenizer,
        )

    def refused(*given: Any, **options: Any) -> str:
        listed = [
            each if isinstance(each, dict) else {"dataset": each, "weight": 1} for each in given
        ]
        with pytest.raises(CodedataError) as error:
            Mixture(listed, **options)
        return str(error.value)

    for name, recipe in {
        "end_a": {"documents": {"eos": "a"}},
        "end_b": {"documents": {"eos": "b", "bos": "c"}, "fim": {"rate": 1}},
    }.items():
        scenario.write_facts(
            scenario.write_dataset(folder / name, [[[*map(ord, name[-4:])]]]), recipe=recipe
        )
    assert re.search(
        r"eos of .*end_a is a, of .*end_b b; bos of .*end_a is none, of .*end_b c: a model would",
        refused("code", folder / "end_a", folder / "end_b", mask_padding=False),
    )
    assert "the same samples of" in refused("docs", folder / "copied")
    assert "sources 'code' and 'part' of the mixture" in refused(
        "code", {"dataset": code[600:], "weight": 1, "name": "part"}
    )
    assert "the same samples" in refused(
        {"dataset": code[[1, 7]], "weight": 1, "name": "a"}, {"dataset": code[5::-1], "weight": 1}
    )
    assert (
        len(
            Mixture(
                [
                    {"dataset": code[:10], "weight": 1, "name": "a"},
                    {"dataset": code[10:], "weight": 1},
                ]
            )
        )
        == 20
    )
    assert "has samples of 5 tokens" in refused("code", folder / "long", mask_padding=False)
    assert "was tokenized with two" in refused(folder / "tok_a", folder / "tok_b")
    assert "split 'nothing' has no dataset in" in refused("code", "nothing")
    assert "source 'docs': 500 draws of 90 samples are 5.56 epochs" in refused(
        "code", "docs", num_samples=1000
    )
    for mixed in (Mixture(sources()), Mixture(sources())[::2]):
        assert "a source of a mixture is a mixture" in refused(mixed)
    negated = Negated(folder / "datasets/code", quiet=True)
    assert "is a Negated, which gives other samples than are stored" in refused(negated)
    assert "source 'code' of the mixture has samples more than once" in refused(code[[3, 1, -697]])
    assert "shuffle is 'block'; write True, False, 'blocks' or" in refused("code", shuffle="block")
    assert "lie in no blocks" in refused({"dataset": code[[1, 2]], "weight": 1}, shuffle="blocks")
    assert "num_samples is 0; write a whole number of 1 or more" in refused("code", num_samples=0)
    assert "seed of a mixture is -1;" in refused("code", seed=-1)
    with pytest.raises(SettingsError, match=r"sources of a mixture are 'code'; write a list"):
        Mixture("code")  # pyright: ignore[reportArgumentType]


class Negated(PickledTrainerDataset):
    def __getitem__(self, index: Any) -> Any:
        sample: Any = super().__getitem__(index)
        return {name: -tensor for name, tensor in sample.items()}


def test_a_mixture_has_no_way_in_but_its_own_and_all_else_of_a_dataset(folder: Path) -> None:
    mixed = Mixture(sources(), seed=3)
    assert not hasattr(Mixture, "from_hub"), "it would open one dataset, and mix nothing"
    assert isinstance(mixed[1:], Mixture)
    assert isinstance(pickle.loads(pickle.dumps(mixed[5:50:3])), Mixture)
    assert firsts(pickle.loads(pickle.dumps(mixed[5:50:3]))) == firsts(mixed[5:50:3])
    assert firsts(mixed[-3:][::-1]) == firsts(mixed)[:-4:-1]
    assert (mixed.total_samples, mixed.total_tokens) == (NUM_SAMPLES, 4 * NUM_SAMPLES)
    assert (len(mixed[:0]), mixed.seq_length, mixed.shard_ends()) == (0, 4, None)
    assert mixed.masks_padding
    assert not mixed.has_documents
    assert not mixed.is_streamed
    with pytest.raises(IndexError, match=r"sample -1001 of 1000"):
        mixed[-1001]
    with pytest.raises(TypeError, match="a sample's index is a whole number, not 'labels'"):
        mixed["labels"]  # pyright: ignore[reportArgumentType, reportCallIssue]
    with pytest.raises(DatasetError, match="does not say where its documents lie"):
        mixed.documents(0)
    with pytest.raises(DatasetError, match="does not say which tokenizer made it"):
        _ = mixed.tokenizer
    assert mixed.card is None


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"dataset": "me/set"}, r"source 'set' .* no folder 'me/set' here; .* give its revision"),
        ({"dataset": "hf://datasets/me/set"}, r"write owner/name, and as revision main, or"),
        ({"dataset": "code", "revision": "main"}, r"leave it out, or write which version of a URL"),
        ({"dataset": "s3://b/datasets/a", "revision": "7"}, r"as in s3://bucket/datasets/train@7"),
        ({"dataset": "me/set", "revision": 7}, r"the revision 7; .* in quotation marks if it is"),
        ({"dataset": 5}, r"dataset of source 1 of the mixture is 5; give a name of a split, or a"),
    ],
)
@pytest.mark.usefixtures("folder")
def test_where_a_source_is_is_refused_with_how_it_is_written(
    source: dict[str, Any], message: str
) -> None:
    with pytest.raises(CodedataError, match=message):
        Mixture([{**source, "weight": 1}])


def test_a_run_goes_on_where_sources_lie_elsewhere_by_now_and_not_with_other_weights(
    folder: Path,
) -> None:
    mixed = Mixture(sources(), seed=3)
    loader = loader_of(mixed)
    batches = iter(loader)
    seen = [*chain.from_iterable(firsts_of(next(batches)) for _ in range(40))]
    state = json.loads(json.dumps(loader.state_dict(), sort_keys=True))
    shutil.move(folder / "datasets", folder / "moved")
    for name in SOURCES:
        (folder / "moved" / name).rename(folder / "moved" / f"{name}-2")
    moved = [{**each, "dataset": folder / "moved" / f"{each['dataset']}-2"} for each in sources()]
    resumed = loader_of(Mixture(moved, seed=3))
    resumed.load_state_dict(state)
    assert [*seen, *chain.from_iterable(map(firsts_of, resumed))] == firsts(Mixture(moved, seed=3))
    moved[0]["weight"] = 6
    with pytest.raises(SettingsError, match=r"a mixture whose sources start at what the state has"):
        loader_of(Mixture(moved, seed=3)).load_state_dict(state)
    stage = [
        {**each, "start": state["drawn"][name]} for each, name in zip(moved, WEIGHTS, strict=True)
    ]
    again = firsts(Mixture(stage, num_samples=300, seed=3))
    assert not {n for n in seen if n < 700} & {n for n in again if n < 700}, "no sample comes again"


def test_a_next_stage_of_other_weights_goes_on_in_each_source(folder: Path) -> None:
    first = Mixture(sources(), num_samples=300, seed=5)
    done = first.drawn(200)
    assert done == {name: len(of) for name, of in by_source(firsts(first[:200])).items()}
    starts = {name: {"start": start, "weight": 1} for name, start in done.items()}
    second = Mixture(sources(**starts)[::-1], num_samples=150, seed=5)
    both = by_source([*firsts(first[:200]), *firsts(second)])
    whole = by_source(firsts(Mixture(sources(), seed=5)))
    for name, drawn in both.items():
        assert drawn[: len(whole[name])] == whole[name][: len(drawn)]
        assert second.drawn()[name] == len(drawn)
    assert first[100:].drawn(100) == done == first[::2].drawn(100) == first[8::3].drawn(64)
    assert first[1::2].drawn() == first.drawn()
    with pytest.raises(SettingsError, match="num_samples is 301, but the mixture has 300"):
        first.drawn(301)
    with pytest.raises(SettingsError, match="are no part of its order; ask the mixture"):
        first[[1]].drawn()


def by_source(order: list[int]) -> dict[str, list[int]]:
    return {
        name: [number for number in order if first <= number < first + size]
        for name, (size, first) in SOURCES.items()
    }


# Loading


def loader_of(dataset: Any, **options: Any) -> ResumableLoader:
    return ResumableLoader(dataset, **{"global_batch_size": 8, **options})


def test_ranks_and_workers_get_the_same_order_between_them(folder: Path) -> None:
    mixed = Mixture(sources(), seed=3)
    order = firsts(mixed)
    expected = [order[start : start + 8] for start in range(0, 1000, 8)]
    for world, num_workers in ((1, 0), (1, 2), (2, 0), (4, 0)):
        loaders = [
            loader_of(mixed, rank=rank, world_size=world, num_workers=num_workers)
            for rank in range(world)
        ]
        shares = zip(*([firsts_of(batch) for batch in loader] for loader in loaders), strict=True)
        assert [list(chain.from_iterable(share)) for share in shares] == expected


def firsts_of(batch: dict[str, torch.Tensor]) -> list[int]:
    return batch["input_ids"][:, 0].tolist()


def test_a_state_says_what_is_drawn_and_resumes_with_other_workers_and_batches(
    folder: Path,
) -> None:
    mixed = Mixture(sources(), seed=3)
    loader = loader_of(mixed, num_workers=2)
    batches = iter(loader)
    seen = [*chain.from_iterable(firsts_of(next(batches)) for _ in range(5))]
    state = json.loads(json.dumps(loader.state_dict()))
    assert state["drawn"] == mixed.drawn(40)
    resumed = loader_of(mixed, global_batch_size=16)
    resumed.load_state_dict(state)
    assert [*seen, *chain.from_iterable(map(firsts_of, resumed))] == firsts(mixed)
    assert "drawn" not in loader_of(Every(mixed, 2), require_digest=False).state_dict(), (
        "its numbers are others"
    )
    other = loader_of(Mixture(sources(), seed=4))
    with pytest.raises(SettingsError, match="the state is of dataset"):
        other.load_state_dict(state)


def test_a_second_epoch_is_refused_since_the_mixture_says_how_often_samples_come(
    folder: Path,
) -> None:
    mixed = Mixture(sources(), num_samples=16)
    loader = loader_of(mixed)
    assert len([*loader]) == len(loader_of(mixed)) == 2
    state = loader.state_dict()
    assert (len(loader), state["epoch"], state["drawn"]) == (0, 1, mixed.drawn())
    with pytest.raises(SettingsError, match=r"epoch 1 of a Mixture: it is gone through once"):
        next(iter(loader))
    assert loader.state_dict() == state


def test_a_slice_forward_and_mixtures_in_a_row_are_not_shuffled(folder: Path) -> None:
    mixed = Mixture(sources(), num_samples=64, seed=3)
    loader = loader_of(mixed[1::2])
    assert [*chain.from_iterable(map(firsts_of, loader))] == firsts(mixed)[1::2]
    assert loader.state_dict()["drawn"] == mixed.drawn()
    both = loader_of(ConcatDataset([mixed, mixed[:8]]))
    assert [*chain.from_iterable(map(firsts_of, both))] == [*firsts(mixed), *firsts(mixed[:8])]
    assert len(both) == 0


def test_what_fills_no_global_batch_at_the_end_of_a_mixture_is_not_said_to_be_drawn(
    folder: Path,
) -> None:
    mixed = Mixture(sources(), num_samples=50)
    first = loader_of(mixed)
    next(iter(first))
    loader = loader_of(mixed, global_batch_size=16)
    loader.load_state_dict(first.state_dict())
    states = [loader.state_dict() for _ in loader] + [loader.state_dict()]
    assert [each["drawn"] for each in states] == [mixed.drawn(n) for n in (24, 40, 40)]
    assert states[2] == states[1]
    again = loader_of(mixed, drop_last=False)
    again.load_state_dict(states[2])
    assert again.state_dict() == states[2]
    again.load_state_dict(states[0])
    assert {each["input_ids"].shape[0] for each in again} == {8, 2}
    assert again.state_dict()["drawn"] == mixed.drawn(50)


@pytest.mark.parametrize(
    ("ranks", "num_workers"),
    [
        pytest.param((1, 1), (2, 0), id="one rank"),
        pytest.param((2, 1), (0, 2), id="two ranks, one"),
    ],
)
@pytest.mark.campaign
def test_a_killed_run_on_a_mixture_goes_on_with_the_very_same_samples(
    folder: Path, ranks: tuple[int, ...], num_workers: tuple[int, ...]
) -> None:
    yaml = folder / "mix.yaml"
    yaml.write_text(json.dumps({"sources": sources(), "num_samples": 240, "seed": 7}))
    expected = firsts(Mixture(sources(), num_samples=240, seed=7))
    done = 0
    for attempt, (world, workers) in enumerate(zip(ranks, num_workers, strict=True)):
        run, is_last = folder / f"run-{attempt}", attempt == len(ranks) - 1
        run.mkdir()
        if attempt:
            shutil.copy(folder / f"run-{attempt - 1}/state.json", run)
        arguments = [str(yaml), str(run), "8", str(workers), "1", "3"]
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
        seen = [*chain.from_iterable(line[1] for of in zip(*logs, strict=False) for line in of)]
        assert seen == expected[done : done + len(seen)]
        if is_last:
            assert done + len(seen) == len(expected)
        else:
            done = json.loads((run / "state.json").read_text())["samples_done"]
            assert 96 <= done <= len(seen)
