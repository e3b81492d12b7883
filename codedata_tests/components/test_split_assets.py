"""The assets of a split: one run makes, checks and publishes all; nothing wrong is published."""

import json
import pickle
import shutil
import subprocess
from dataclasses import replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

import dagster as dg
import numpy as np
import pytest
from dagster import AssetCheckEvaluation

from codedata.components.split_assets import build_split
from codedata.components.split_partitions import recorded_partitions
from codedata.components.split_parts import SplitPart
from codedata.components.split_spec import SplitSpec, chunk_tasks, open_split
from codedata.definitions import defs
from codedata.format.card import CARD_NAME
from codedata.format.facts import FACTS_NAME
from codedata.format.ranges import CharRange, Utf8
from codedata.pickle_dataset import PickledTrainerDataset
from codedata.recipe.settings import Settings
from codedata.resources import DatasetIOManager, Datasets
from codedata.run import packing
from codedata.run.matches_transformers import TransformersCheck
from codedata.sources.record import record_corpus
from codedata.store.chunks import LocalChunks
from codedata.tokenize.engines.base import Encoded
from codedata.tokenize.engines.pretokens import PretokensEngine
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata.tokenize_data import tokenize_data
from codedata_tests import scenario
from codedata_tests.components.small_platform import SWITCHES, MadePlatform, SmallPlatform, failure
from codedata_tests.plain_reference import reference_shards

CHECKS = {
    "held_out", "tokenizer_fidelity", "matches_library", "token_ids", "integrity", "sample_counts",
    "sequence_lengths", "known_counts", "shared_documents", "matches_transformers",
}  # fmt: skip


def passed_checks(result: dg.ExecuteInProcessResult) -> set[str]:
    evaluations = result.get_asset_check_evaluations()
    assert all(evaluation.passed for evaluation in evaluations)
    return {evaluation.check_name for evaluation in evaluations}


def test_the_job_makes_what_its_tokenizer_is_trained_on_too() -> None:
    spec = SplitSpec(
        name="other",
        parts=(SplitPart(corpus="the_stack_c", window=Settings().window),),
        tokenizer_asset="demo_tokenizer",
        settings=Settings(),
        held_out_from={},
        description="Over another corpus than its tokenizer.",
    )
    job = dg.Definitions.merge(defs, build_split(spec)).resolve_job_def("other")
    keys = {key.to_user_string() for key in job.asset_layer.selected_asset_keys}
    assert {"demo_corpus/raw_parquet", "demo_tokenizer", "the_stack_c/raw_parquet"} <= keys
    assert not any(key.startswith(("demo_train", "train")) for key in keys)


def test_one_run_without_arguments_makes_checks_and_publishes_everything(
    made: MadePlatform, documents: list[str], tmp_path: Path
) -> None:
    result = made.first_run
    assert result.success
    assert passed_checks(result) == CHECKS
    expected = reference_shards([*documents], made.tokenizer, made.switches)
    for index, (samples, _) in enumerate(expected):
        shard = (made.dataset_folder / f"dump-{index}.pkl").read_bytes()
        assert pickle.loads(shard) == samples
    script = tmp_path / "script"
    tokenize_data(made.corpus, script, made.spec.settings, num_workers=1)
    assert scenario.dataset_bytes(made.dataset_folder) == scenario.dataset_bytes(script)
    materialized = {
        event.asset_key.to_user_string()
        for event in result.get_asset_materialization_events()
        if event.asset_key
    }
    assert materialized == {
        "c/raw_parquet", "small/token_chunks", "small/pickle_shards", "small/meta_json",
        "small/dataset", "small/token_figures", "small/report",
    }  # fmt: skip


def test_all_characters_are_one_partition_of_the_file_and_make_what_the_script_makes(
    platform: SmallPlatform, documents: list[str], tmp_path: Path
) -> None:
    platform.switches["chars_to_tokenize"] = "all"
    spec = platform.spec
    assert spec.partition_keys == ["00000"]
    result = platform.run()
    assert result.success
    assert passed_checks(result) | {"matches_transformers"} == CHECKS
    chunks_key = dg.AssetKey(["small", "token_chunks"])
    checked = [e for e in result.get_asset_check_evaluations() if e.asset_key == chunks_key]
    assert [each.check_name for each in checked].count("token_ids") == 1
    metadata = platform.chunk_metadata("00000")
    num_chars = len(scenario.plain_text(documents)) - SWITCHES["starting_character"]
    num_chunks = -(-num_chars // SWITCHES["chunk_size"])
    figures = [metadata[name].value for name in ("characters", "chunks", "chunks reused")]
    assert figures == [num_chars, num_chunks, 0]
    script = tmp_path / "script"
    tokenize_data(platform.corpus, script, spec.settings, num_workers=1)
    assert scenario.dataset_bytes(platform.dataset_folder) == scenario.dataset_bytes(script)
    assert b'chars_to_tokenize: "all"' in (script / "codedata.yaml").read_bytes()
    layout = platform.store.layout
    assert recorded_partitions(layout, "small") == "file"
    settings = replace(spec.settings, **SWITCHES)
    parts = (replace(spec.parts[0], window=settings.window),)
    chunks = replace(spec, partitions="chunk", settings=settings, parts=parts)
    plan = open_split(chunks, layout, find_tokenizer(str(platform.tokenizer)))
    tasks = chunk_tasks(chunks, plan, layout, chunks.partition_keys)
    first, *_, last = (task for each in tasks.values() for task in each)
    assert first.chunks.find([first.fingerprint]), "the same file either way"
    assert not last.chunks.find([last.fingerprint]), "shorter than that of all"


def test_each_partition_reports_its_own_chunk(made: MadePlatform) -> None:
    keys = list(made.spec.chunk_ranges)
    assert keys[0] == "00000/0000001000-0000031000"
    tokens = [made.chunk_metadata(key)["tokens"].value for key in keys]
    assert len(set(tokens)) == len(keys) == 4, "each chunk has tokens of its own"
    characters = [made.chunk_metadata(key)["characters"].value for key in keys]
    assert characters == [30_000, 30_000, 30_000, 10_000]


def test_the_corpus_reports_what_it_is(made: MadePlatform, documents: list[str]) -> None:
    result = made.first_run
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key
               and e.asset_key.path == ["c", "raw_parquet"]]  # fmt: skip
    metadata = event.materialization.metadata
    assert metadata["dagster/row_count"].value == len(documents)
    assert metadata["characters"].value == len(scenario.plain_text(documents))
    columns = metadata["dagster/column_schema"].value
    assert [c.name for c in columns.columns] == ["hexsha", "content", "size"]  # type: ignore[union-attr]
    assert "static" in str(metadata["preview"].value)


def test_forced_chunks_are_made_again_and_are_the_same(made: MadePlatform) -> None:
    before = scenario.dataset_bytes(made.dataset_folder)
    assert made.run(force=True).success
    assert not any(made.reused().values())
    assert scenario.dataset_bytes(made.dataset_folder) == before


EDITS: dict[str, tuple[dict[str, Any], list[bool]]] = {
    "seq_length, and the pad token by name": (
        {"seq_length": 32, "pad_token": scenario.PAD},
        [True] * 4,
    ),
    "a longer window": ({"chars_to_tokenize": 110_000}, [True, True, True, False]),
    "one chunk": ({"chunk_size": 200_000}, [False]),
}


@pytest.mark.parametrize(("edit", "reused"), EDITS.values(), ids=EDITS)
def test_after_an_edit_exactly_the_chunks_that_it_leaves_alone_are_reused(
    edit: dict[str, Any], reused: list[bool], made: MadePlatform, documents: list[str]
) -> None:
    assert not any(made.reused().values())
    made.switches |= edit
    assert made.run().success
    assert list(made.reused().values()) == reused
    by_id = made.switches | {"pad_token": SWITCHES["pad_token"]}
    expected = reference_shards([*documents], made.tokenizer, by_id)
    shards = [made.dataset_folder / f"dump-{index}.pkl" for index in range(len(expected))]
    assert [pickle.loads(shard.read_bytes()) for shard in shards] == [s for s, _ in expected]
    assert len(list(made.dataset_folder.glob("*.pkl"))) == len(expected)


def test_a_run_of_one_partition_refuses_to_publish_while_others_are_missing(
    made: MadePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, *_ = made.spec.chunk_ranges
    shutil.rmtree(made.dataset_folder)
    for key in (first, second):
        (made.root / "chunks" / "small" / f"{key}.arrow").unlink()
    with monkeypatch.context() as patch:  # nor does it compare with transformers
        patch.setattr(TransformersCheck, "_start", None)
        made.matches_transformers = True
        message = failure(made.run(partition_key=second))
        made.matches_transformers = False
    assert f"1 of 4 chunks of small are missing or stale ({first})" in message
    assert "`codedata materialize small`" in message
    assert not made.dataset_folder.exists()
    assert made.run(partition_key=first).success, "the last missing one completes it"
    assert made.dataset_folder.exists()


@pytest.mark.campaign
def test_a_text_that_ends_early_leaves_its_last_partitions_with_no_tokens(
    platform: SmallPlatform, documents: list[str]
) -> None:
    length = len(scenario.plain_text(documents))
    platform.switches |= {"starting_character": length - 40_000, "chars_to_tokenize": 120_000}
    assert platform.run().success
    tokens = [platform.chunk_metadata(key)["tokens"].value for key in platform.spec.chunk_ranges]
    assert tokens[0] > 0
    assert tokens[1] > 0
    assert tokens[2:] == [0, 0]
    last = list(platform.spec.chunk_ranges)[-1]
    assert platform.run(partition_key=last).success, "a partition beyond the end by itself"


def test_a_failed_check_publishes_nothing_and_says_why(
    made: MadePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Packing that loses a sample: the files agree with themselves, but not with the chunks."""
    before = scenario.dataset_bytes(made.dataset_folder)
    real = packing.pack_samples
    monkeypatch.setattr(packing, "pack_samples", lambda *a, **k: real(*a, **k)[1:])
    made.switches["seq_length"] = 32
    result = made.run()
    assert "sample_counts" in failure(result)
    assert "nothing was published" in failure(result)
    failed = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert [e.check_name for e in failed] == ["sample_counts"]
    assert scenario.dataset_bytes(made.dataset_folder) == before
    assert sorted(p.name for p in made.dataset_folder.parent.iterdir()) == ["small"]


def test_ids_outside_the_vocabulary_stop_the_run(
    platform: SmallPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = LocalChunks.put

    def write_wrong(self: LocalChunks, fingerprint: Any, ids: Any, **record: Any) -> Any:
        wrong = np.where(np.arange(len(ids)) == 7, 60_000, ids)
        return real(self, fingerprint, wrong, **record)

    monkeypatch.setattr(LocalChunks, "put", write_wrong)
    result = platform.run()
    assert not result.success
    failed = {e.check_name for e in result.get_asset_check_evaluations() if not e.passed}
    assert failed == {"token_ids"}
    assert not platform.dataset_folder.exists()


def test_an_engine_that_differs_from_the_library_stops_the_run_and_names_the_text(
    platform: SmallPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = PretokensEngine.encode

    def wrong_in_chunks(self: PretokensEngine, text: Utf8, **of_a_chunk: int) -> Encoded:
        encoded = real(self, text, **of_a_chunk)
        if of_a_chunk:
            encoded.ids[7] ^= 1
        return encoded

    monkeypatch.setattr(PretokensEngine, "encode", wrong_in_chunks)
    result = platform.run()
    assert not result.success
    [check] = [e for e in result.get_asset_check_evaluations() if not e.passed]
    assert check.check_name == "matches_library"
    assert "engine 'pretokens' and " in str(check.description)
    assert "give different ids for " in str(check.description)
    assert str(platform.corpus) in str(check.description)
    assert "nothing of it was stored" in failure(result)
    assert not list(platform.root.glob("chunks/**/*.arrow"))
    assert not platform.dataset_folder.exists()


def losing_text(tokenizer: Path, folder: Path) -> Path:
    """A copy of a tokenizer whose pre-tokenizer takes the spaces away."""
    shutil.copytree(tokenizer, folder)
    structure = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    structure["pre_tokenizer"] = {
        "type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True,
    }  # fmt: skip
    (folder / "tokenizer.json").write_text(json.dumps(structure), encoding="utf-8")
    return folder


def test_a_tokenizer_that_loses_text_stops_the_run_before_any_chunk_and_leaves_no_process(
    platform: SmallPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []
    start = TransformersCheck._start

    def counted(check: TransformersCheck) -> subprocess.Popen[bytes]:
        started.append(start(check))
        return started[-1]

    monkeypatch.setattr(TransformersCheck, "_start", counted)
    platform.tokenizer = broken = losing_text(platform.tokenizer, tmp_path / "broken")
    platform.matches_transformers = True
    assert f"the tokenizer {broken} loses" in failure(platform.run())
    [process] = started
    assert process.returncode is not None
    assert not (platform.root / "chunks").exists()
    assert not platform.dataset_folder.exists()


def test_a_downstream_asset_takes_the_dataset_from_the_resource_or_as_a_parameter(
    made: MadePlatform,
) -> None:

    @dg.asset(deps=[["small", "dataset"]])
    def by_resource(datasets: Datasets) -> int:
        dataset = datasets.load("small")
        assert dataset.masks_padding
        return len(dataset)

    @dg.asset(ins={"train": dg.AssetIn(["small", "dataset"])})
    def by_parameter(train: PickledTrainerDataset) -> int:
        return len(train)

    defs = made.definitions(by_resource, by_parameter)
    result = defs.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=made.instance, asset_selection=[by_resource.key, by_parameter.key]
    )
    num_samples = len(PickledTrainerDataset([made.dataset_folder], quiet=True))
    assert result.output_for_node("by_resource") == num_samples > 500
    assert result.output_for_node("by_parameter") == num_samples
    loaded = defs.load_asset_value(["small", "dataset"], instance=made.instance)
    assert isinstance(loaded, PickledTrainerDataset)
    assert len(loaded) == num_samples
    assert loaded.masks_padding
    manager = DatasetIOManager(store=made.store, mask_padding=False)
    context = dg.build_input_context(asset_key=dg.AssetKey(["small", "dataset"]))
    assert not manager.load_input(context).masks_padding


def test_the_io_manager_refuses_a_returned_value(platform: SmallPlatform) -> None:
    manager = DatasetIOManager(store=platform.store)
    context = dg.build_output_context(asset_key=dg.AssetKey(["mine", "dataset"]))
    with pytest.raises(TypeError, match="mine/dataset returned a list"):
        manager.handle_output(context, [])


def test_the_token_figures_shows_figures_and_a_sample(made: MadePlatform) -> None:
    result = made.first_run
    [event] = [e for e in result.get_asset_materialization_events() if e.asset_key
               and e.asset_key.path[-1] == "token_figures"]  # fmt: skip
    metadata = event.materialization.metadata
    dataset = PickledTrainerDataset([made.dataset_folder], quiet=True)
    assert metadata["tokens"].value == dataset.total_tokens
    assert 0 < float(str(metadata["vocabulary coverage"].value)) <= 1
    assert "static" in str(metadata["report"].value)


def test_the_switches_of_the_assets_are_those_of_the_script() -> None:
    """A new switch has to find its way into the code versions, or staleness misses it."""
    from dataclasses import fields

    chunk_switches = {"tokenizer_base", "starting_character", "chars_to_tokenize", "chunk_size"}
    shard_switches = {"seq_length", "min_sample_length", "max_dump_size", "pad_token"}
    assert {field.name for field in fields(Settings)} == chunk_switches | shard_switches
    assert callable(build_split)


def shared_documents(platform: SmallPlatform, spec: SplitSpec) -> AssetCheckEvaluation:
    """What the check says of `small` once its dataset is there, held out from others."""
    dataset = build_split(spec).get_assets_def(["small", "dataset"])
    manager = DatasetIOManager(store=platform.store)
    result = dg.materialize(
        [dataset],
        instance=platform.instance,
        resources={"store": platform.store, "dataset_io_manager": manager},
    )
    assert result.success
    [evaluation] = result.get_asset_check_evaluations()
    assert evaluation.check_name == "shared_documents"
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    return evaluation


def test_documents_that_a_held_out_split_shares_are_counted_and_stop_nothing(
    made: MadePlatform, documents: list[str], tmp_path: Path
) -> None:
    twice = scenario.write_parquet(tmp_path / "d.parquet", ["new", documents[20], documents[20]])
    record_corpus(made.root / "corpora" / "d", twice, {"kind": "local"})
    adjoining = [SplitPart(corpus="c", window=CharRange(101_000, 121_000))]
    copied = [SplitPart(corpus="d", window=CharRange(0, 10**9))]
    missing = [SplitPart(corpus="none", window=CharRange(0, 10))]
    spec = made.spec
    both = shared_documents(
        made, replace(spec, held_out_from={"beside": adjoining, "copied": copied})
    )
    assert not both.passed
    assert both.metadata["shared documents"].value == both.metadata["in copied"].value == 1
    assert both.metadata["in beside"].value == 0
    assert both.metadata["cut documents"].value == 1
    unknown = shared_documents(made, replace(spec, held_out_from={"gone": missing}))
    assert not unknown.passed
    assert "not compared with gone: corpus 'none' is not materialized" in str(unknown.description)
    shutil.rmtree(made.root / "corpora")
    no_text = shared_documents(made, replace(spec, held_out_from={"beside": adjoining}))
    assert not no_text.passed
    assert str(no_text.description).startswith("not compared: corpus 'c' is not materialized")


def test_neither_card_nor_page_of_a_run_names_a_folder_of_this_machine(
    made: MadePlatform, tmp_path_factory: pytest.TempPathFactory
) -> None:
    facts = (made.dataset_folder / FACTS_NAME).read_text(encoding="utf-8")
    card = (made.dataset_folder / CARD_NAME).read_text(encoding="utf-8")
    page = (made.root / "reports" / "small.html").read_text(encoding="utf-8")
    [event] = [e for e in made.first_run.get_asset_materialization_events() if e.asset_key
               and e.asset_key.path[-1] == "token_figures"]  # fmt: skip
    for text in (facts, card, page, str(event.materialization.metadata["report"].value)):
        assert str(tmp_path_factory.getbasetemp()) not in text
    assert f'source: "{made.tokenizer.name}"' in facts
    assert f'file: "{made.corpus.name}"' in facts


def test_the_run_of_a_split_compares_and_tells_another_frame_without_failing(
    made: MadePlatform,
) -> None:
    [evaluation] = [
        each
        for each in made.first_run.get_asset_check_evaluations()
        if each.check_name == "matches_transformers"
    ]
    assert evaluation.asset_key == dg.AssetKey(["small", "dataset"])
    assert evaluation.severity == dg.AssetCheckSeverity.WARN
    assert evaluation.passed
    bos = json.loads((made.tokenizer / "tokenizer.json").read_bytes())["added_tokens"]
    [bos_id] = [token["id"] for token in bos if token["content"] == scenario.BOS]
    assert evaluation.description == (
        f"AutoTokenizer of transformers {version('transformers')} (TokenizersBackend) gives the "
        "same ids for the text, but frames it otherwise: it puts [] before and [] after it, and "
        f"chunks of the dataset have [{bos_id}] and []"
    )


def test_the_check_runs_by_itself_and_needs_no_process_for_what_is_known(
    made: MadePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    made.matches_transformers = True
    monkeypatch.setattr(TransformersCheck, "_start", None)
    definitions = made.definitions()
    job = definitions.resolve_implicit_global_asset_job_def()
    key = dg.AssetCheckKey(dg.AssetKey(["small", "dataset"]), "matches_transformers")
    alone = job.get_subset(asset_selection=set(), asset_check_selection={key})
    result = alone.execute_in_process(instance=made.instance)
    [evaluation] = result.get_asset_check_evaluations()
    assert evaluation.passed
    monkeypatch.undo()
    made_with = made.tokenizer
    other = scenario.train_tokenizer(scenario.gpt2_like())
    made.tokenizer = scenario.save_tokenizer(other, made.root / "other")
    job = made.definitions().resolve_implicit_global_asset_job_def()
    replaced = job.get_subset(asset_selection=set(), asset_check_selection={key})
    [evaluation] = replaced.execute_in_process(instance=made.instance).get_asset_check_evaluations()
    assert not evaluation.passed
    assert "the dataset was made with another tokenizer" in str(evaluation.description)
    made.tokenizer = made_with
    shutil.rmtree(made.root / "corpora")
    [evaluation] = alone.execute_in_process(instance=made.instance).get_asset_check_evaluations()
    assert not evaluation.passed
    assert "corpus 'c' is not materialized" in str(evaluation.description)
