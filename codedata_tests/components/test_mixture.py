"""The component Mixture: its YAML, its asset, what is published, and who loads that."""

import json
import shutil
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
import torch
import yaml

import codedata
from codedata.components import Mixture as MixtureComponent
from codedata.components.mixture import SourceOfMixture
from codedata.components.scaffolding import MixtureScaffolder
from codedata.errors import CodedataError, DatasetError, SettingsError
from codedata.layout import ROOT_VARIABLE, Layout
from codedata.resources import DataRoot, DatasetIOManager, Datasets
from codedata_tests import scenario
from codedata_tests.components.small_platform import failure
from codedata_tests.components.test_scaffolding import scaffold
from codedata_tests.components.yamls import jobs_of, tree_of

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's use of pydantic

YAML = """\
type: codedata.components.Mixture
attributes:
  name: mix
  sources:
    - {dataset: code, weight: 0.7}
    - dataset: docs
      weight: 0.3
      max_epochs: 4
  seed: 7
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A root with the datasets of two splits, and one of other samples."""
    for name, first, length in (("code", 0, 4), ("docs", 500, 4), ("long", 900, 5)):
        samples = scenario.numbered(200 if name == "code" else 50, length, first=first)
        folder = tmp_path / "datasets" / name
        shards = np.array_split(samples, 2)
        scenario.write_dataset(folder, shards, last_sample_tokens=[length, length])
        scenario.write_facts(folder)
    monkeypatch.setenv(ROOT_VARIABLE, str(tmp_path))
    return tmp_path


def run(text: str, folder: Path, *, place: str = "", **more: Any) -> dg.ExecuteInProcessResult:
    """Materialize the mixture of a YAML, its root being the folder, or another place."""
    store = DataRoot(root=place or str(folder))
    tree = tree_of(folder / f"{folder.name}_{len([*folder.iterdir()])}", {"mix": text})
    defs = dg.Definitions.merge(
        tree.build_defs(),
        dg.Definitions(
            resources={
                "store": store,
                "datasets": Datasets(store=store),
                "dataset_io_manager": DatasetIOManager(store=store),
            },
            executor=dg.in_process_executor,
            **more,
        ),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        job = defs.resolve_job_def("mix")
        return job.execute_in_process(instance=instance, raise_on_error=False)


def test_what_a_yaml_mixes_is_published_checked_and_loaded_by_its_name(root: Path) -> None:
    result = run(f"{YAML}  shuffle: blocks:1\n", root)
    assert result.success
    [made] = result.get_asset_materialization_events()
    metadata = made.materialization.metadata
    mixed = codedata.load_mixture("mix")
    assert made.asset_key == dg.AssetKey(["mix", "mixture"])
    assert (made.materialization.tags or {})["dagster/data_version"] == mixed.digest
    assert metadata["digest"].value == mixed.digest
    assert metadata["samples"].value == len(mixed) == 286
    assert metadata["epochs of docs"].value == 1.72
    table: Any = metadata["sources"].value
    assert [row.data["draws"] for row in table.records] == ["200", "86"]
    checks = {each.check_name: each for each in result.get_asset_check_evaluations()}
    assert {name: check.passed for name, check in checks.items()} == {
        "epochs": True,
        "compatible": True,
    }
    assert mixed.drawn() == {"code": 200, "docs": 86}
    by_hand = codedata.Mixture(
        [{"dataset": "code", "weight": 7}, {"dataset": "docs", "weight": 3, "max_epochs": 4}],
        seed=7,
        shuffle="blocks:1",
    )
    assert by_hand.digest == mixed.digest
    assert mixed.masks_padding
    assert not codedata.load_mixture("mix", mask_padding=False).masks_padding
    (root / "mix.yaml").write_text(yaml.dump(yaml.safe_load(YAML)["attributes"] | {"name": 1}))
    with pytest.raises(SettingsError, match=r"mix\.yaml has 'name'; a mixture's YAML has sources"):
        codedata.load_mixture(root / "mix.yaml")


def test_a_source_that_would_come_too_often_is_refused_and_the_record_stays(root: Path) -> None:
    assert run(YAML, root).success
    before = (root / "mixtures" / "mix.json").read_bytes()
    result = run(YAML + "  num_samples: 1000\n", root)
    assert "source 'code': 700 draws of 200 samples are 3.50 epochs" in failure(result)
    checks = {each.check_name: each.passed for each in result.get_asset_check_evaluations()}
    assert checks == {"epochs": False, "compatible": True}
    result = run(YAML.replace("docs", "long"), root)
    assert "seq_length of code is 4, of long 5; make them with the same" in failure(result)
    shutil.copytree(root / "datasets" / "docs", root / "datasets" / "copied")
    same = YAML.replace("dataset: code", "dataset: copied").replace(
        "weight: 0.7", "weight: 0.7, max_epochs: 9"
    )
    assert "copied and docs have the same samples" in failure(run(same, root))
    (root / "datasets/code/codedata.yaml").unlink()
    for name, eos in (("docs", "</s>"), ("copied", "<|end|>")):
        scenario.write_facts(root / "datasets" / name, recipe={"documents": {"eos": eos}})
    both = YAML.replace("  seed", "    - {dataset: copied, weight: 0.1}\n  seed")
    assert "eos of docs is </s>, of copied <|end|>; " in failure(run(both, root))
    assert "datasets/none" in failure(run(YAML.replace("docs", "none"), root))
    assert (root / "mixtures" / "mix.json").read_bytes() == before


def test_a_mixture_is_refused_when_a_dataset_of_it_is_another_by_now(root: Path) -> None:
    with pytest.raises(
        DatasetError, match=r"no mixture 'mix' in .*; run `codedata materialize mix`"
    ):
        codedata.load_mixture("mix")
    assert run(YAML, root).success
    digest = codedata.load_mixture("mix").digest
    shutil.rmtree(root / "datasets" / "docs")
    scenario.write_dataset(
        root / "datasets" / "docs", [scenario.numbered(50, first=3000)], last_sample_tokens=[4]
    )
    with pytest.raises(
        DatasetError, match=r"split 'docs' with digest .* `codedata materialize mix`"
    ):
        codedata.load_mixture("mix")
    assert run(YAML, root).success
    assert codedata.load_mixture("mix").digest != digest
    record = root / "mixtures" / "mix.json"
    said = json.loads(record.read_bytes())
    record.write_text(json.dumps(said | {"seed": 8}))
    with pytest.raises(DatasetError, match=r"mix\.json is no record .* its digest is not that"):
        codedata.load_mixture("mix")


@pytest.mark.campaign
def test_an_asset_downstream_is_given_the_mixture(root: Path) -> None:
    seen: list[object] = []

    @dg.asset(ins={"mixed": dg.AssetIn(["mix", "mixture"])})
    def model(mixed: codedata.Mixture, datasets: Datasets) -> None:
        seen.extend([mixed.digest, datasets.load_mixture("mix").digest])

    job = dg.define_asset_job("all", selection="*")
    store = DataRoot(root=str(root))
    defs = dg.Definitions.merge(
        tree_of(root, {"mix": YAML}).build_defs(),
        dg.Definitions(
            assets=[model],
            jobs=[job],
            resources={
                "store": store,
                "datasets": Datasets(store=store),
                "dataset_io_manager": DatasetIOManager(store=store),
            },
        ),
    )
    with dg.DagsterInstance.ephemeral() as instance:
        assert defs.resolve_job_def("all").execute_in_process(instance=instance).success
    assert seen == [codedata.load_mixture("mix").digest] * 2


def test_below_a_url_the_record_is_in_the_store_and_no_shard_is_fetched(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from codedata.store.object_store import ObjectStore

    monkeypatch.setenv("XDG_CACHE_HOME", str(root / "cache"))
    store = ObjectStore("memory://mixing")
    for path in (root / "datasets").rglob("*"):
        if path.is_file():
            store.put(path.relative_to(root).as_posix(), path.read_bytes())
    assert run(YAML, root, place="memory://mixing").success
    assert not (root / "cache/codedata/datasets").exists()
    assert "state/mixtures/mix.json" in store.list()
    monkeypatch.setenv(ROOT_VARIABLE, "memory://mixing")
    shutil.rmtree(Layout.from_environment().root)
    mixed, streamed = (codedata.load_mixture("mix", stream=stream) for stream in (False, True))
    assert mixed.drawn() == {"code": 200, "docs": 86}
    assert streamed.is_streamed
    loader = codedata.ResumableLoader(streamed, global_batch_size=2)
    assert torch.cat([batch["input_ids"] for batch in loader]).equal(
        torch.stack([sample["input_ids"] for sample in mixed])
    )
    store.remove(store.list())


@pytest.mark.parametrize(
    ("was", "now", "message"),
    [
        ("weight: 0.7", "weight: 0", "5: weight of source 'code' is 0.0; write a finite number"),
        ("weight: 0.7", "weight: x", "5: sources.0.weight is 'x'"),
        ("weight: 0.7", "wieght: 1", "there is no field 'sources.0.wieght'"),
        ("max_epochs: 4", "max_epochs: -1", "8: max_epochs of source 'docs' is -1.0;"),
        ("max_epochs: 4", "start: 1.5", "8: sources.1.start is 1.5"),
        ("dataset: docs", "dataset: a/b", "6: dataset of a source is 'a/b'; write the name of a"),
        ("dataset: docs", "dataset: code", "sources of mixture 'mix' names 'code' twice"),
        ("seed: 7", "seed: -7", "9: seed is -7"),
        ("seed: 7", "num_samples: 0", "9: num_samples is 0"),
        ("seed: 7", "shuffle: block", "9: shuffle is 'block'; write True, False, 'blocks' or 'blo"),
        ("name: mix", "name: a-b", "3: name of a mixture is 'a-b'"),
    ],
)
def test_a_field_that_does_not_fit_is_refused_with_its_line(
    tmp_path: Path, was: str, now: str, message: str
) -> None:
    with pytest.raises(Exception, match=r".+") as refused:
        tree_of(tmp_path, {"mix": YAML.replace(was, now)}).build_defs()
    error: BaseException | None = refused.value
    while error is not None and not isinstance(error, CodedataError):
        error = error.__cause__
    assert "mix/defs.yaml:" in str(error)
    assert message in str(error)


@pytest.mark.campaign
def test_a_name_that_a_split_or_another_mixture_has_is_refused(tmp_path: Path) -> None:
    split = "type: codedata.components.DatasetSplit\nattributes: {name: mix, corpus: c}\n"
    for other, message in ((split, "has the name of a split"), (YAML, "there are two mixtures")):
        with pytest.raises(Exception, match=r".+") as refused:
            tree_of(tmp_path / message.replace(" ", ""), {"mix": YAML, "other": other}).build_defs()
        assert message in str(refused.getrepr(chain=True))


def test_what_is_scaffolded_mixes_the_splits_that_are_not_held_out_and_loads(
    tmp_path: Path,
) -> None:
    defs = tmp_path / "defs"
    splits = {
        name: f"type: codedata.components.DatasetSplit\nattributes: {{name: {name}, corpus: c"
        f"{more}}}\n"
        for name, more in {"a": "", "b": "", "held": ", held_out_from: [a]"}.items()
    }
    with pytest.raises(Exception, match="no split is defined in"):
        scaffold(MixtureScaffolder(), MixtureComponent, defs / "empty")
    for name, text in splits.items():
        (defs / name).mkdir(parents=True)
        (defs / name / "defs.yaml").write_text(text, encoding="utf-8")
    written = scaffold(MixtureScaffolder(), MixtureComponent, defs / "mix")
    assert [each["dataset"] for each in yaml.safe_load(written)["attributes"]["sources"]] == [
        "a",
        "b",
    ]
    assert "    # - {dataset: held, weight: 1, max_epochs: 1}" in written
    assert "mix" in jobs_of(tree_of(tmp_path, {"mix": written}))
    for name in (*MixtureComponent.model_fields, *SourceOfMixture.model_fields):
        assert f"{name}:" in written
