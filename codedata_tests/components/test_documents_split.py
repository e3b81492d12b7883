"""A split with a recipe in Dagster: checks, figures, staleness; and one without, as before."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from tokenizers import Tokenizer

import codedata
from codedata.cli.split_states import MADE, STALE, states_of
from codedata.components.split_assets import build_split
from codedata.components.split_recipe import recipe_metadata
from codedata.format.documents import DocumentCounts
from codedata.recipe.documents import DocumentRecipe, Fim
from codedata.run import packing
from codedata.store.dataset_folder import open_dataset
from codedata_tests import scenario
from codedata_tests.components.small_platform import SmallPlatform, failure
from codedata_tests.components.test_split_assets import CHECKS, passed_checks

FIM = ("<|fim_prefix|>", "<|fim_suffix|>", "<|fim_middle|>")
RECIPE = DocumentRecipe(eos=scenario.EOT, bos=scenario.BOS, fim=Fim(rate=0.5))
OF_DOCUMENTS = {"document_tokens", "spans", "fim_undone"}

ENTRY = ["num_samples", "num_tokens", "sha256", "start_character", "stop_character"]
TRAIN = {
    "token_chunks": ("4792e500102349fd", 4, ["input_ids"]),
    "pickle_shards": ("7be4eda6f6dea97d", 3, ["input_ids"]),
    "meta_json": (
        "7be4eda6f6dea97d",
        2,
        [*ENTRY, "entry_sha256"],
    ),
    "dataset": ("1", 2, ["input_ids", "labels"]),
    "token_figures": ("4", 0, []),
    "report": ("2", 0, []),
}
"""Code version, number of checks and columns of the assets of `train` before there were recipes."""


def test_the_assets_of_a_split_without_a_recipe_are_what_they_were() -> None:
    from codedata.definitions import defs

    graph = defs.resolve_asset_graph()
    for name, (code_version, num_checks, columns) in TRAIN.items():
        key = dg.AssetKey(["train", name])
        node = graph.get(key)
        assert node.code_version == code_version
        assert sum(each.asset_key == key for each in graph.asset_check_keys) == num_checks
        schema: Any = node.metadata.get("dagster/column_schema")
        assert [each.name for each in (schema.columns if schema else [])] == columns
        assert not {"codedata/packing", "codedata/fim"} & node.tags.keys()
    job = defs.resolve_job_def("train")
    assert "codedata/recipe" not in job.tags
    assert sorted(job.metadata["codedata/recipe"].value) == [  # type: ignore[arg-type]
        "corpora", "pad_is_named", "partitions", "switches", "tokenizer_asset",
    ]  # fmt: skip


@pytest.fixture
def with_recipe(platform: SmallPlatform, tmp_path: Path) -> SmallPlatform:
    """A small split of documents, nothing of it materialized; its tokenizer has tokens for FIM."""
    folder = tmp_path / "tokenizer"
    shutil.copytree(platform.tokenizer, folder)
    path = str(folder / "tokenizer.json")
    tokenizer = Tokenizer.from_file(path)
    tokenizer.add_special_tokens([*FIM])
    tokenizer.save(path)
    platform.tokenizer, platform.recipe = folder, RECIPE
    return platform


def shown_of(result: dg.ExecuteInProcessResult, asset: str) -> dict[str, Any]:
    """The metadata of an asset in a run."""
    [event] = [
        each
        for each in result.get_asset_materialization_events()
        if each.asset_key == dg.AssetKey(["small", asset])
    ]
    return {name: each.value for name, each in event.materialization.metadata.items()}


def version_of(platform: SmallPlatform, recipe: DocumentRecipe | None, asset: str) -> str:
    spec = replace(platform.spec, recipe=recipe)
    definitions = build_split(spec).get_assets_def(["small", asset])
    return str(definitions.code_versions_by_key[dg.AssetKey(["small", asset])])


def test_one_run_makes_checks_publishes_and_counts_documents_and_a_changed_recipe_is_stale(
    with_recipe: SmallPlatform, tmp_path: Path
) -> None:
    platform = with_recipe
    result = platform.run()
    assert result.success, failure(result)
    blocking = {e.check_name for e in result.get_asset_check_evaluations() if e.blocking}
    assert blocking >= OF_DOCUMENTS
    assert passed_checks(result) | {"matches_transformers"} == CHECKS | OF_DOCUMENTS

    dataset = open_dataset(platform.dataset_folder, verify=True)
    assert dataset.facts is not None
    counts = dataset.facts.documents
    assert counts is not None
    assert counts.documents > 30
    assert counts.psm > 5
    assert counts.spm > 5
    shown = shown_of(result, "pickle_shards")
    assert shown["documents"] == counts.documents - counts.empty - counts.with_control_tokens
    assert shown["documents cut"] == counts.cut
    assert shown["documents cut though short"] == 0
    told = shown_of(result, "token_figures")
    assert told["documents"] == counts.documents
    assert told["documents a sample"] > 1
    assert f"| documents cut over samples | {counts.cut:,} (" in told["report"]
    assert "![Documents a sample](" in told["report"]
    of_chunks = [platform.chunk_metadata(key) for key in platform.spec.partition_keys]
    assert sum(each["documents"].value for each in of_chunks) == shown["documents"]

    switches: dict[str, Any] = platform.spec.settings.as_dict()
    script = tmp_path / "script"
    codedata.build(
        platform.corpus,
        script,
        recipe=RECIPE.as_dict(),
        **switches,
    )
    assert scenario.dataset_bytes(platform.dataset_folder) == scenario.dataset_bytes(script)

    def why() -> tuple[str, tuple[str, ...]]:
        [state] = states_of(platform.definitions(), platform.store.layout)
        return state.state, state.why

    assert why() == (MADE, ())
    platform.recipe = replace(RECIPE, packing="concat", fim=Fim(rate=0.25))
    assert why() == (
        STALE,
        ("recipe.fim.rate was 0.5, is now 0.25", "recipe.packing was best_fit, is now concat"),
    )
    platform.recipe = replace(RECIPE, fim=None)
    assert "recipe.fim.rate was 0.5, is now none" in why()[1]
    platform.recipe = None
    assert why() == (STALE, ("it had a recipe, and has none now",))


def test_what_of_a_recipe_decides_an_asset_is_in_its_code_version(
    with_recipe: SmallPlatform,
) -> None:
    shuffled = replace(RECIPE, order="shuffled")
    changed: list[DocumentRecipe | None] = [
        None, replace(RECIPE, eos="<e>"), replace(RECIPE, bos=None), replace(RECIPE, fim=None),
        replace(RECIPE, packing="concat"), replace(RECIPE, control_tokens="text"),
    ]  # fmt: skip
    for asset, decisive in (("token_chunks", changed), ("pickle_shards", [*changed, shuffled])):
        before = version_of(with_recipe, RECIPE, asset)
        versions = [version_of(with_recipe, each, asset) for each in decisive]
        assert before not in versions
        assert len({*versions}) == len(decisive)
    chunks = version_of(with_recipe, RECIPE, "token_chunks")
    assert version_of(with_recipe, shuffled, "token_chunks") == chunks
    with_recipe.switches["seq_length"] = 32
    assert version_of(with_recipe, RECIPE, "token_chunks") != chunks, "pieces have that length"
    assert with_recipe.spec.whole_version != replace(with_recipe.spec, recipe=None).whole_version
    assert "recipe" in recipe_metadata(with_recipe.spec)["codedata/recipe"].value


def test_shards_whose_tokens_are_not_the_documents_are_not_published(
    with_recipe: SmallPlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = packing.pack_documents

    def with_a_slip(*documents: Any, **how: Any) -> Any:
        packed = real(*documents, **how)
        packed.samples[0, 5] ^= 1
        return packed

    monkeypatch.setattr(packing, "pack_documents", with_a_slip)
    result = with_recipe.run()
    assert "nothing was published" in failure(result)
    failed = {e.check_name for e in result.get_asset_check_evaluations() if not e.passed}
    assert "spans" in failed
    assert failed <= OF_DOCUMENTS
    assert not with_recipe.dataset_folder.exists()


def test_a_recipe_that_does_not_fit_the_tokenizer_is_refused_before_the_corpus_is_had(
    with_recipe: SmallPlatform,
) -> None:
    with_recipe.recipe = replace(RECIPE, eos="<|endoftext|>")
    said = failure(with_recipe.run())
    assert "recipe.documents.eos" in said
    assert "<|endoftext|>" in said
    assert not (with_recipe.root / "corpora" / "c" / "corpus.json").exists()


def test_counts_are_figures_that_a_plot_can_take() -> None:
    from codedata.components.documents_shown import figures_of

    counts = DocumentCounts(
        documents=9, empty=2, with_control_tokens=1, pieces=8, psm=2, spm=1, fim_left_plain=3
    )
    figures = figures_of(counts, 4)
    assert figures["documents"] == 6
    assert figures["pieces a sample"] == 2
    assert (figures["PSM share of pieces"], figures["SPM share of pieces"]) == (0.25, 0.125)
    assert (figures["pieces too long for FIM"], figures["pieces not to be permuted"]) == (0, 3)
    assert figures_of(DocumentCounts(), 0)["pieces a sample"] == 0
