"""What the UI shows as stale after an edit, chunk by chunk, and what a run then makes again."""

import shutil
from pathlib import Path

import dagster as dg

# Only the UI's own resolver says what it shows; Dagster has no public name for it.
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from codedata_tests import scenario
from codedata_tests.components.small_platform import MadePlatform, SmallPlatform, failure

FRESH, STALE = [StaleStatus.FRESH] * 4, [StaleStatus.STALE] * 4


def resolver_of(platform: SmallPlatform) -> CachingStaleStatusResolver:
    graph = platform.definitions().resolve_asset_graph()
    loading = LoadingContextForTest(platform.instance)
    return CachingStaleStatusResolver(platform.instance, graph, loading)


def chunks(platform: SmallPlatform) -> list[StaleStatus]:
    resolver, key = resolver_of(platform), dg.AssetKey(["small", "token_chunks"])
    return [resolver.get_status(key, partition) for partition in platform.spec.chunk_ranges]


def stale_assets(platform: SmallPlatform) -> set[str]:
    resolver = resolver_of(platform)
    keys = [dg.AssetKey(["small", name]) for name in ("pickle_shards", "dataset")]
    return {key.path[-1] for key in keys if resolver.get_status(key) == StaleStatus.STALE}


def test_an_edited_switch_makes_stale_what_it_decides(made: MadePlatform) -> None:
    assert (stale_assets(made), chunks(made)) == (set(), FRESH)
    made.switches["seq_length"] = 32
    assert (stale_assets(made), chunks(made)) == ({"pickle_shards"}, FRESH)
    made.switches["seq_length"] = 64
    assert (stale_assets(made), chunks(made)) == (set(), FRESH)
    made.switches["chunk_size"] = 25_000
    assert chunks(made) == [StaleStatus.MISSING] * 4, "of keys that were never made"


def test_another_tokenizer_makes_every_chunk_stale_until_it_is_made_again(
    made: MadePlatform, tmp_path: Path
) -> None:
    other = tmp_path / "other"
    shutil.copytree(made.tokenizer, other)
    made.tokenizer = other
    assert chunks(made) == FRESH, "the same files in another place"
    (other / "tokenizer_config.json").unlink()
    assert chunks(made) == STALE
    third = list(made.spec.chunk_ranges)[2]
    assert "3 of 4 chunks of small are missing or stale" in failure(made.run(partition_key=third))
    assert chunks(made) == [*STALE[:2], *FRESH[:1], *STALE[:1]]
    assert made.run().success
    assert [key for key, is_reused in made.reused().items() if is_reused] == [third]
    assert (stale_assets(made), chunks(made)) == (set(), FRESH)


def test_another_file_in_the_corpus_s_place_makes_it_stale_and_then_its_chunks(
    made: MadePlatform, tmp_path: Path
) -> None:
    made.corpus = scenario.write_parquet(tmp_path / "c.parquet", scenario.c_documents(60, seed=5))
    raw = dg.AssetKey(["c", "raw_parquet"])
    assert resolver_of(made).get_status(raw) == StaleStatus.STALE
    assert dg.materialize(
        [made.definitions().get_assets_def(raw)],
        instance=made.instance,
        resources={"store": made.store},
    ).success
    assert chunks(made) == STALE
