"""What decides the bytes of a split <-> the metadata of its job, where any code location has it.

The UI shows it on the job's page; the command line compares it with what a dataset was made of.
"""

from dataclasses import asdict
from typing import Any, cast

import dagster as dg

from codedata.components.collecting import source_with_files
from codedata.components.raw_corpus import SOURCE
from codedata.components.split_parts import SplitPart
from codedata.components.split_spec import SPLIT_TAG, SplitSpec
from codedata.format.ranges import CharRange
from codedata.layout import Layout
from codedata.recipe.documents import DocumentRecipe
from codedata.recipe.settings import Settings
from codedata.sources.base import Source
from codedata.sources.registry import read_source

_RECIPE = "codedata/recipe"


def recipe_metadata(spec: SplitSpec) -> dict[str, Any]:
    """The metadata of the job of a split."""
    fields = {
        "corpora": [asdict(part) for part in spec.parts],
        "tokenizer_asset": spec.tokenizer_asset,
        "pad_is_named": spec.pad_is_named,
        "partitions": spec.partitions,
        "switches": spec.settings.as_dict(),
        **({} if spec.recipe is None else {"recipe": spec.recipe.as_dict()}),
    }
    return {_RECIPE: dg.MetadataValue.json(fields)}


def specs_of(defs: dg.Definitions) -> dict[str, SplitSpec]:
    """The splits of a code location by name, sorted, as far as their bytes depend on them.

    Descriptions, owners and what a split is held out from decide no byte, and are not there.
    """
    jobs = [job for job in defs.resolve_all_job_defs() if SPLIT_TAG in job.tags]
    return {job.name: _spec_of(job) for job in sorted(jobs, key=lambda job: job.name)}


def source_of(defs: dg.Definitions, corpus: str) -> Source | None:
    """Where the documents of a corpus come from; None where no component of ours defines it."""
    key = dg.AssetKey([corpus, "raw_parquet"])
    metadata = defs.resolve_asset_graph().get(key).metadata
    found = metadata.get(SOURCE)
    if found is None:
        return None
    source = read_source(found.value, f"corpus {corpus!r}")
    return source_with_files(source, Layout.from_environment(), corpus)


def _spec_of(job: dg.JobDefinition) -> SplitSpec:
    fields = cast("dict[str, Any]", job.metadata[_RECIPE].value)
    return SplitSpec(
        name=job.name,
        parts=tuple(_part_of(part) for part in fields["corpora"]),
        tokenizer_asset=fields["tokenizer_asset"],
        pad_is_named=fields["pad_is_named"],
        partitions=fields["partitions"],
        settings=Settings(**fields["switches"]),
        recipe=DocumentRecipe.of(fields["recipe"]) if "recipe" in fields else None,
        held_out_from={},
        description="",
    )


def _part_of(fields: dict[str, Any]) -> SplitPart:
    taken = {"window": CharRange(*fields["window"]), "files": tuple(fields["files"])}
    return SplitPart(**fields | taken)
