"""Assets under a root in an object store: what one machine makes, another has."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from itertools import count
from pathlib import Path
from typing import Any

import dagster as dg
import fsspec
import pytest

from codedata.components import pickle_shards
from codedata.components.raw_corpus import RawCorpus
from codedata.components.split_partitions import record_partitions, recorded_partitions
from codedata.components.split_parts import SplitPart
from codedata.components.split_spec import SplitSpec, records_of, split_tokenizer
from codedata.format.ranges import CharRange
from codedata.layout import ROOT_VARIABLE, Layout
from codedata.progress import SILENT, Reporter
from codedata.recipe.documents import DocumentRecipe
from codedata.recipe.settings import SWITCHES, Settings
from codedata.resources import DataRoot, resources
from codedata.store.copies import published
from codedata.store.dataset_folder import open_dataset
from codedata_tests import scenario
from codedata_tests.components.small_platform import SmallPlatform, failure
from codedata_tests.components.yamls import tree_of
from codedata_tests.object_roots import GatedBucket

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")  # Dagster's use of pydantic

_NUMBERS = count()

Elsewhere = Callable[[], Layout]


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Elsewhere:
    """The root on a machine that has nothing."""
    monkeypatch.setenv(ROOT_VARIABLE, f"memory://assets-{next(_NUMBERS)}/root")

    def elsewhere() -> Layout:
        monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / f"machine-{next(_NUMBERS)}"))
        return Layout.from_environment()

    return elsewhere


def split_over(num_files: int, layout: Layout) -> SplitSpec:
    switches: dict[str, Any] = {name: switch.default for name, switch in SWITCHES.items()}
    switches["tokenizer_base"] = str(layout.tokenizer("tok"))
    part = SplitPart(
        corpus="c",
        window=CharRange(0, 100),
        files=tuple(range(num_files)),
        corpus_files=num_files,
    )
    return SplitSpec(
        name="s",
        parts=(part,),
        tokenizer_asset="tok",
        settings=Settings(**switches),
        held_out_from={},
        description="",
    )


def run(component: RawCorpus) -> dg.ExecuteInProcessResult:
    definitions = component.build_defs(dg.ComponentTree.for_test().load_context)
    assets = [each for each in definitions.assets or () if isinstance(each, dg.AssetsDefinition)]
    return dg.materialize(assets, resources={"store": DataRoot()}, raise_on_error=False)


def write_files(folder: Path, num_files: int) -> None:
    for number in range(num_files):
        documents = scenario.c_documents(4, seed=number)
        lines = "".join(json.dumps({"content": text}) + "\n" for text in documents)
        (folder / f"{number}.jsonl").write_text(lines, encoding="utf-8")


def test_files_go_into_the_store_side_by_side_and_one_that_fails_leaves_the_others(
    tmp_path: Path, elsewhere: Elsewhere
) -> None:
    write_files(tmp_path, 7)
    (tmp_path / "3.jsonl").write_text("no JSON", encoding="utf-8")
    component = RawCorpus(name="c", source={"kind": "local", "path": str(tmp_path / "*.jsonl")})
    elsewhere()
    failed = run(component)
    assert not failed.success
    assert "1 of 7 files of c could not be had (00003)" in str(failed.all_events)
    write_files(tmp_path, 7)
    assert run(component).success
    layout = elsewhere()
    records = records_of(split_over(7, layout), layout)
    for number, record in records.items():
        expected = scenario.plain_text(scenario.c_documents(4, seed=number))
        text = record.open_text()
        assert text.read(text.clip(CharRange(0, record.num_chars))) == expected


def test_a_list_of_files_that_was_made_elsewhere_is_the_one_that_definitions_load_with(
    tmp_path: Path, elsewhere: Elsewhere
) -> None:
    memory = fsspec.filesystem("memory")
    for number in range(3):
        memory.pipe_file(f"/{tmp_path.name}/{number}.jsonl", b'{"content": "int a;"}\n')
    source = {"kind": "url", "path": f"memory://{tmp_path.name}/*.jsonl"}
    layout = elsewhere()
    with pytest.raises(ValueError, match=r"has 3 files, now listed in .*; press Reload"):
        RawCorpus(name="c", source=source).materialize(layout, SILENT)
    elsewhere()
    assert RawCorpus(name="c", source=source).num_files == 3


def test_a_trained_tokenizer_and_the_partitions_of_a_split_are_those_of_the_store(
    tmp_path: Path, elsewhere: Elsewhere
) -> None:
    write_files(tmp_path, 1)
    corpus = f"{{name: c, source: {{kind: local, path: {tmp_path}/0.jsonl}}}}"
    tokenizer = "{name: tok, corpus: c, vocab_size: 300, chars_to_train_on: 2000}"
    yamls = {"c": ("RawCorpus", corpus), "tok": ("TrainedTokenizer", tokenizer)}
    tree = tree_of(
        tmp_path,
        {
            name: f"type: codedata.components.{kind}\nattributes: {fields}\n"
            for name, (kind, fields) in yamls.items()
        },
    )
    definitions = dg.Definitions.merge(tree.build_defs(), dg.Definitions(resources=resources))
    layout = elsewhere()
    made = definitions.resolve_implicit_global_asset_job_def().execute_in_process()
    [event] = made.asset_materializations_for_node("tok")
    assert recorded_partitions(layout, "s") is None
    record_partitions(layout, "s", "file")
    layout = elsewhere()
    files = split_tokenizer(split_over(1, layout), layout, SILENT)
    assert files.fingerprint == event.metadata["fingerprint"].value
    elsewhere()
    again = definitions.resolve_implicit_global_asset_job_def().execute_in_process()
    [event] = again.asset_materializations_for_node("tok")
    assert event.metadata["reused"].value, "which another machine trained"
    assert recorded_partitions(layout, "s") == "file"


@dataclass
class PlatformInStore(SmallPlatform):
    """One whose root is in an object store."""

    url: str = ""

    @property
    def store(self) -> DataRoot:
        return DataRoot(root=self.url)

    def make(self, *assets: str) -> dg.ExecuteInProcessResult:
        job = self.definitions().resolve_job_def("small")
        keys = [dg.AssetKey(asset.split("/")) for asset in assets]
        return job.execute_in_process(
            instance=self.instance, asset_selection=keys, raise_on_error=False
        )


def test_behind_a_list_that_lags_a_run_has_its_own_chunks_and_waits_for_those_just_made(
    gated: GatedBucket,
    corpus: Path,
    tokenizer_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    shards = "small/pickle_shards", "small/meta_json"
    said: list[str] = []
    monkeypatch.setattr(Reporter, "say", lambda _, line: said.append(line))

    def looked_again() -> list[str]:
        found = [line for line in said if "looking again" in line]
        said.clear()
        return found

    with dg.DagsterInstance.ephemeral() as instance, dg.DagsterInstance.ephemeral() as another:
        platform = PlatformInStore(tmp_path, corpus, tokenizer_folder, instance, url=gated.url)
        gated.gate.lag_seconds = 600.0
        monkeypatch.setattr(pickle_shards, "_LISTED_AGAIN_AFTER", ())
        assert platform.make("c/raw_parquet", "small/token_chunks", *shards).success

        def until_it_lags_no_more() -> Iterator[float]:
            yield 0.01
            gated.gate.lag_seconds = 0.0
            yield 0.01

        monkeypatch.setattr(pickle_shards, "_LISTED_AGAIN_AFTER", until_it_lags_no_more())
        assert platform.make(*shards).success
        first, _ = looked_again()
        assert first.startswith("4 chunks of small (00000/0000001000-0000031000, ")
        assert "were made just now, and the store does not list them yet; looking again" in first

        gated.gate.lag_seconds = 600.0
        monkeypatch.setattr(pickle_shards, "_LISTED_AGAIN_AFTER", (0.01,) * 3)
        elsewhere = replace(platform, instance=another)
        assert "4 of 4 chunks" in failure(elsewhere.make(*shards))
        assert not looked_again(), "nobody has made them lately"


@pytest.mark.campaign
def test_documents_in_a_store_are_checked_by_workers_and_are_those_of_a_folder(
    bucket: str, platform: SmallPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    platform.recipe = DocumentRecipe(eos=scenario.EOT, bos=scenario.BOS)
    here = platform.run()
    assert here.success
    with dg.DagsterInstance.ephemeral() as instance:
        there = PlatformInStore(
            tmp_path / "there",
            platform.corpus,
            platform.tokenizer,
            instance,
            recipe=platform.recipe,
            url=bucket,
        )
        result = there.run()
        assert result.success, failure(result)
    checks = {each.check_name for each in result.get_asset_check_evaluations()}
    assert {"document_tokens", "spans", "fim_undone"} <= checks
    layout = Layout.at(bucket, ROOT_VARIABLE)
    digest = open_dataset(platform.dataset_folder).digest
    assert published(layout, "small", verify=True).digest == digest
