"""A split -> its assets, checks and the job that makes everything in one run."""

import json

import dagster as dg

from codedata.components.dataset_asset import dataset_asset
from codedata.components.default_pad import DEFAULT_PAD_TAG, RECIPE_TAG
from codedata.components.pickle_shards import pickle_shards_asset
from codedata.components.raw_corpus import file_key, files_job
from codedata.components.report_assets import report_assets
from codedata.components.split_parts import SplitPart
from codedata.components.split_recipe import recipe_metadata
from codedata.components.split_spec import (
    FILES_TAG,
    SPLIT_TAG,
    SplitSpec,
)
from codedata.components.token_chunks import token_chunks_asset
from codedata.components.transformers_check import transformers_check
from codedata.recipe.settings import ALL

_BACKFILL_ELSEWHERE = (
    " Launch a backfill of several runs from the lineage of the group: of this job, each run would "
    "try to publish."
)


def build_split(spec: SplitSpec) -> dg.Definitions:
    """All definitions of a split."""
    keys = spec.partition_keys
    upstream = [_corpus_dep(spec, part) for part in spec.parts]
    if spec.tokenizer_asset is not None:
        upstream.append(dg.AssetDep([spec.tokenizer_asset]))
    # A corpus of several files has partitions of its own, and so a run of its own before this one.
    same_run = [dep.asset_key for dep in upstream if dep.partition_mapping is None]
    selection = dg.AssetSelection.groups(spec.name) | dg.AssetSelection.assets(*same_run)
    if spec.tokenizer_asset is not None:  # with what it is trained on
        selection |= dg.AssetSelection.assets(spec.tokenizer_asset).upstream()
    corpora = "corpora" if len(spec.parts) > 1 else "corpus"
    fetched = [_file_runs(part) for part in spec.parts if part.corpus_files > 1]
    job = dg.define_asset_job(
        spec.name,
        selection=selection,
        tags={
            SPLIT_TAG: spec.name,
            **({FILES_TAG: "; ".join(fetched)} if fetched else {}),
            **_tokens_to_judge(spec),
            **(
                {
                    "dagster/asset_partition_range_start": keys[0],
                    "dagster/asset_partition_range_end": keys[-1],
                }
                if len(keys) > 1
                else {"dagster/partition": keys[0]}
            ),
        },
        metadata=recipe_metadata(spec),
        description=f"Everything from the {corpora} to {spec.name}/dataset, in one run."
        + (_BACKFILL_ELSEWHERE if spec.partitions_per_run else ""),
    )
    assets = [
        token_chunks_asset(spec, upstream),
        pickle_shards_asset(spec),
        dataset_asset(spec),
        report_assets(spec),
    ]
    checks = [transformers_check(spec)] if spec.matches_transformers else []
    return dg.Definitions(assets=assets, asset_checks=checks, jobs=[job])


def _tokens_to_judge(spec: SplitSpec) -> dict[str, str]:
    """Tags of what the tokenizer must fit, judged before the corpus; none where a run trains it."""
    if spec.tokenizer_asset is not None:
        return {}
    source, recipe = spec.settings.tokenizer_base, spec.recipe
    pad = {} if spec.pad_is_named else {DEFAULT_PAD_TAG: source}
    return pad | ({} if recipe is None else {RECIPE_TAG: json.dumps([source, recipe.as_dict()])})


def _file_runs(part: SplitPart) -> str:
    """What has to be fetched before: the job, and ranges of its partitions, or all."""
    if len(part.files) == part.corpus_files:
        return f"{files_job(part.corpus)} {ALL}"
    runs: list[list[int]] = []
    for file in part.files:
        if runs and file == runs[-1][1] + 1:
            runs[-1][1] = file
        else:
            runs.append([file, file])
    return " ".join([files_job(part.corpus), *(f"{first}-{last}" for first, last in runs)])


def _corpus_dep(spec: SplitSpec, part: SplitPart) -> dg.AssetDep:
    """The chunks' dependency on a corpus, which has a partition a file if it has several."""
    key = dg.AssetKey([part.corpus, "raw_parquet"])
    if part.corpus_files == 1:
        return dg.AssetDep(key)
    keys = dict(zip(part.numbers, map(file_key, part.files), strict=True))
    partitions: dict[str, list[str]] = {}
    for partition in spec.partition_keys:
        if (of_corpus := keys.get(spec.file_of(partition))) is not None:
            partitions.setdefault(of_corpus, []).append(partition)
    return dg.AssetDep(key, partition_mapping=dg.StaticPartitionMapping(partitions))
