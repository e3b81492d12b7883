"""Assets under a root in an object store: what one machine makes, another has."""

import json
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
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
from codedata.components.split_spec import (
    SplitSpec,
    chunk_tasks,
    open_split,
    records_of,
    split_tokenizer,
)
from codedata.format.ranges import CharRange
from codedata.layout import ROOT_VARIABLE, Layout
from codedata.progress import SILENT, Reporter
from codedata.recipe.settings import SWITCHES, Settings
from codedata.resources import DataRoot, resources
from codedata.run.tokenize import tokenize_chunk
from codedata.store.object_store import ObjectStore
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests import scenario
from codedata_tests.components.yamls import tree_of

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
    switches |= {"tokenizer_base": str(layout.tokenizer("tok")), "pad_token": 534}
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


def test_chunks_that_a_list_does_not_show_yet_are_waited_for_before_they_are_packed(
    tmp_path: Path, elsewhere: Elsewhere, tokenizer_folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write_files(tmp_path, 2)
    component = RawCorpus(name="c", source={"kind": "local", "path": str(tmp_path / "*.jsonl")})
    layout = elsewhere()
    for file in range(2):
        component.materialize(layout, SILENT, file=file)
    spec = split_over(2, layout)
    plan = open_split(spec, layout, find_tokenizer(str(tokenizer_folder)))
    tasks = chunk_tasks(spec, plan, layout, spec.partition_keys)
    made = [tokenize_chunk(task) for each in tasks.values() for task in each]
    monkeypatch.setattr(pickle_shards, "_WAITS", (0.01, 0.01, 0.01))
    names, said, shown = ObjectStore.list, list[str](), [[], [made[1]], made]

    def lagging(store: ObjectStore, prefix: str = "") -> Sequence[str]:
        if not store.url.endswith("/chunks/s"):
            return names(store, prefix)
        begins = tuple(each.where for each in (shown.pop(0) if len(shown) > 1 else shown[0]))
        return [name for name in names(store, prefix) if store.where(name).startswith(begins)]

    monkeypatch.setattr(ObjectStore, "list", lagging)
    with ThreadPoolExecutor(1) as threads:
        found = pickle_shards.all_chunks(
            spec, plan, layout, threads, Reporter(said.append, in_terminal=False)
        )
    assert [each.ids_sha256 for each in found] == [each.ids_sha256 for each in made]
    assert [line.partition(" of s")[0].rpartition("show ")[2] for line in said] == [
        "2 chunks", "1 chunks",
    ]  # fmt: skip


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
    assert recorded_partitions(layout, "s") == "file"
