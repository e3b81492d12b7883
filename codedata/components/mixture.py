"""One YAML -> the asset `<name>/mixture`: datasets of splits by weight, as training loads them.

    <split>/dataset, ... -> <name>/mixture

What is published is a record of which datasets are mixed, and how: no sample is copied. Where a
source would come oftener than its `max_epochs`, or two cannot stand in one batch, nothing is
published, and the record of before stays.
"""

import json
from collections.abc import Iterator, Mapping
from hashlib import sha256
from typing import Any, Self

import dagster as dg
from pydantic import Field, ValidationInfo, field_validator, model_validator

from codedata.components.dataset_split import DatasetSplit
from codedata.components.from_yaml import YamlComponent
from codedata.components.scaffolding import MixtureScaffolder
from codedata.components.shown import as_written, with_separators
from codedata.components.split_spec import SINGLE_RUN, check_result
from codedata.errors import SettingsError
from codedata.format.order import judged_shuffle
from codedata.layout import NAME_REMEDY, Layout, is_name
from codedata.progress import reporter_of_run, rounded
from codedata.recipe.judging import no_truth
from codedata.recipe.mixture import SOURCE_FIELDS, SourceShare, share_of, whole_number
from codedata.resources import DataRoot
from codedata.run.mixing import JudgedMixture, judge_mixture
from codedata.store.mixtures import place_of_mixture, publish_mixture

MIXTURE_TAG = "codedata/mixture"
"""Tells the jobs of mixtures, and their runs, from others."""

MIXED = "codedata/mixed"
"""The metadata of a mixture's job: what its YAML says, as JSON."""

_CHECKS = {
    "epochs": "No source comes oftener than its max_epochs, draws of earlier stages included.",
    "compatible": "Sources have one tokenizer and one seq_length, all or none have documents, and "
    "none is another.",
}


def _sentence(field: str) -> str:
    text = SOURCE_FIELDS[field]
    return f"{text[0].upper()}{text[1:]}."


class SourceOfMixture(dg.Resolvable, dg.Model):
    """One of the sources of a mixture."""

    dataset: str = Field(description="Name of the split.")
    weight: float = Field(description=_sentence("weight"))
    max_epochs: float = Field(default=1.0, description=_sentence("max_epochs"))
    start: int = Field(default=0, description=_sentence("start"))

    @field_validator("*", mode="before")
    @classmethod
    def _is_no_truth(cls, value: object, info: ValidationInfo) -> object:
        return no_truth(info.field_name or "", value)

    @field_validator("dataset")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not is_name(name):
            raise SettingsError(
                f"dataset of a source is {name!r}; write the name of a split, with {NAME_REMEDY}: "
                "a folder, a URL or a dataset on the hub is mixed by codedata.load_mixture of a "
                "YAML"
            )
        return name

    @field_validator("weight", "max_epochs", "start")
    @classmethod
    def _fits(cls, value: float, info: ValidationInfo) -> float:
        given = {"dataset": "", "weight": 1.0, info.field_name: value}
        share_of(given, "a source", str(info.data.get("dataset", "")))
        return value

    @property
    def share(self) -> SourceShare:
        """What the mixture takes of it."""
        return share_of(self.model_dump(), "a source", self.dataset)


@dg.scaffold_with(MixtureScaffolder)
class Mixture(YamlComponent):
    """Datasets of splits by weight, in the order in which they are trained on."""

    name: str = Field(description="Name of the mixture, its asset's group and its job.")
    sources: list[SourceOfMixture] = Field(description="Splits, each with its weight.")
    num_samples: int | None = Field(
        default=None,
        ge=1,
        description="Samples of the mixture; by default as many as max_epochs of every source "
        "allows.",
    )
    seed: int = Field(default=0, ge=0, description="Of what is shuffled.")
    shuffle: bool | str = Field(
        default=True,
        description="Whether sources and the samples of each are shuffled; blocks takes the "
        "samples of a source from 32 shards at a time, blocks:8 from 8, for disks and object "
        "stores.",
    )
    description: str | None = Field(default=None, description="What the UI shows.")
    owners: list[str] = Field(
        default=["team:data"], description="Who answers for it: team:NAME or a mail address."
    )
    tags: dict[str, str] = Field(default_factory=dict, description="Tags of its asset.")

    @field_validator("name")
    @classmethod
    def _is_name(cls, name: str) -> str:
        if not is_name(name):
            raise SettingsError(
                f"name of a mixture is {name!r}; write it with {NAME_REMEDY}: it names an asset, a "
                "job and a file"
            )
        return name

    @field_validator("seed")
    @classmethod
    def _is_seed(cls, seed: int) -> int:
        return whole_number(seed, "seed")

    @field_validator("shuffle")
    @classmethod
    def _is_shuffle(cls, shuffle: object) -> bool | str:
        return judged_shuffle(shuffle)

    @model_validator(mode="after")
    def _names_sources_once(self) -> Self:
        names = [each.dataset for each in self.sources]
        if not names:
            raise SettingsError(f"sources of mixture {self.name!r} is []; name one at least")
        if twice := next((name for name in names if names.count(name) > 1), None):
            raise SettingsError(
                f"sources of mixture {self.name!r} names {twice!r} twice; name it once, with both "
                "weights, and max_epochs if its samples shall come again"
            )
        return self

    @property
    def mixed(self) -> dict[str, Any]:
        """What decides its samples, as JSON has it."""
        return {
            "sources": [each.model_dump() for each in self.sources],
            "num_samples": self.num_samples,
            "seed": self.seed,
            "shuffle": self.shuffle,
        }

    def build_defs(self, context: dg.ComponentLoadContext) -> dg.Definitions:
        """The asset, its checks and its job.

        Raises:
            SettingsError: another mixture or a split has its name.
        """
        self.require_own_name(context, "mixtures named")
        splits = context.component_tree.get_all_components(of_type=DatasetSplit)
        if any(split.name == self.name for split in splits):
            with self.about("name"):
                raise SettingsError(
                    f"mixture {self.name!r} has the name of a split, whose job has it too; rename "
                    "one"
                )
        key = dg.AssetKey([self.name, "mixture"])
        names = [each.dataset for each in self.sources]
        said = json.dumps(self.mixed, sort_keys=True)

        @dg.asset(
            key=key,
            deps=[[name, "dataset"] for name in names],
            group_name=self.name,
            owners=self.owners,
            tags=self.tags,
            kinds={"pytorch"},
            code_version=sha256(said.encode()).hexdigest()[:16],
            description=as_written(self.description or f"{', '.join(names)} by weight.")
            + " Loads as a codedata.Mixture.",
            io_manager_key="dataset_io_manager",
            backfill_policy=SINGLE_RUN,
            check_specs=[
                dg.AssetCheckSpec(check, asset=key, blocking=True, description=what)
                for check, what in _CHECKS.items()
            ],
        )
        def mixture(context: dg.AssetExecutionContext, store: DataRoot) -> Iterator[Any]:
            with reporter_of_run(context.log.info).step(f"mixing {', '.join(names)}"):
                judged = judge_of(self.name, self.mixed, store.layout)
            for check, outcome in judged.outcomes.items():
                yield check_result(check, outcome, key)
            if judged.why_not:  # a second try would find the same
                raise dg.Failure(f"{self.name}: {judged.why_not}", allow_retries=False)
            publish_mixture(store.layout, judged.record)
            yield dg.MaterializeResult(
                data_version=dg.DataVersion(judged.record.digest),
                metadata={
                    **_figures(judged),
                    "path": dg.MetadataValue.path(str(place_of_mixture(store.layout, self.name))),
                },
            )

        job = dg.define_asset_job(
            self.name,
            selection=dg.AssetSelection.assets(key),
            tags={MIXTURE_TAG: self.name},
            metadata={MIXED: dg.MetadataValue.json(self.mixed)},
            description=f"{self.name}/mixture, of the datasets that are there.",
        )
        return dg.Definitions(assets=[mixture], jobs=[job])


def judge_of(name: str, mixed: Mapping[str, Any], layout: Layout) -> JudgedMixture:
    """What a mixture would be now, of what its job says.

    Raises:
        DatasetError: a split has no dataset, or it is damaged.
        SettingsError: the mixture would have no sample.
    """
    shares = [SourceOfMixture(**each).share for each in mixed["sources"]]
    rest = {field: value for field, value in mixed.items() if field != "sources"}
    return judge_mixture(layout, name, shares, **rest)


def _figures(judged: JudgedMixture) -> dict[str, Any]:
    """What the UI shows of a mixture."""
    record, plan = judged.record, judged.record.plan
    rows = [
        dg.TableRecord(
            {
                "dataset": each.name,
                "weight": f"{float(each.weight):.4%}",
                "samples": f"{each.num_samples:,}",
                "draws": f"{each.draws:,}",
                "epochs": f"{each.epochs:.3f}",
                "max_epochs": f"{float(each.max_epochs):g}",
                "start": f"{each.start:,}",
                "digest": digest,
            }
        )
        for each, digest in zip(plan.sources, record.digests, strict=True)
    ]
    figures = {
        "dagster/row_count": plan.num_samples,
        "samples": plan.num_samples,
        "tokens": plan.num_samples * judged.seq_length,
        "seq_length": judged.seq_length,
        **{f"epochs of {each.name}": rounded(each.epochs) for each in plan.sources},
        "digest": record.digest,
        "sources": dg.MetadataValue.table(rows),
        "load": dg.MetadataValue.md(
            f"```python\nimport codedata\ncodedata.load_mixture({record.name!r})\n```"
        ),
    }
    return with_separators(figures)
