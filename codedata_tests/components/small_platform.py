"""A small split over a small corpus as Dagster definitions, and what its runs did."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg

from codedata.components.raw_corpus import RawCorpus
from codedata.components.split_assets import build_split
from codedata.components.split_parts import SplitPart
from codedata.components.split_spec import SplitSpec
from codedata.recipe.documents import DocumentRecipe
from codedata.recipe.settings import Settings
from codedata.resources import ChunkExecutor, DataRoot, DatasetIOManager, Datasets

SWITCHES: dict[str, int] = {
    "min_sample_length": 10,
    "seq_length": 64,
    "max_dump_size": 50,
    "pad_token": 534,
    "starting_character": 1000,
    "chars_to_tokenize": 100_000,
    "chunk_size": 30_000,
}
"""Four chunks of a corpus of 150,000 characters."""


@dataclass
class SmallPlatform:
    """Definitions of corpus `c` and split `small` under a root of their own."""

    root: Path
    corpus: Path
    tokenizer: Path
    instance: dg.DagsterInstance
    switches: dict[str, Any] = field(default_factory=lambda: dict(SWITCHES))
    matches_transformers: bool = False  # two seconds of a core for each window
    recipe: DocumentRecipe | None = None

    @property
    def store(self) -> DataRoot:
        return DataRoot(root=str(self.root))

    @property
    def dataset_folder(self) -> Path:
        return self.root / "datasets" / "small"

    @property
    def spec(self) -> SplitSpec:
        settings = Settings(tokenizer_base=str(self.tokenizer), **self.switches)
        return SplitSpec(
            name="small",
            parts=(SplitPart(corpus="c", window=settings.window),),
            tokenizer_asset=None,
            settings=settings,
            held_out_from={},
            description="A split of the tests.",
            matches_transformers=self.matches_transformers,
            partitions="file" if self.switches["chars_to_tokenize"] == "all" else "chunk",
            recipe=self.recipe,
        )

    def definitions(self, *more: dg.AssetsDefinition) -> dg.Definitions:
        corpus = RawCorpus(name="c", source={"kind": "local", "path": str(self.corpus)})
        return dg.Definitions.merge(
            corpus.build_defs(dg.ComponentTree.for_test().load_context),
            build_split(self.spec),
            dg.Definitions(
                assets=more,
                executor=dg.in_process_executor,
                resources={
                    "store": self.store,
                    "chunk_executor": ChunkExecutor(num_workers=1),
                    "datasets": Datasets(store=self.store),
                    "dataset_io_manager": DatasetIOManager(store=self.store),
                },
            ),
        )

    def run(
        self, *, partition_key: str | None = None, force: bool = False
    ) -> dg.ExecuteInProcessResult:
        return (
            self.definitions()
            .resolve_job_def("small")
            .execute_in_process(
                instance=self.instance,
                partition_key=partition_key,
                raise_on_error=False,
                run_config={"ops": {"small__token_chunks": {"config": {"force": force}}}},
            )
        )

    def reused(self) -> dict[str, bool]:
        """Whether each partition's last materialization reused its chunk."""
        found: dict[str, bool] = {}
        for key in self.spec.chunk_ranges:
            metadata = self.chunk_metadata(key)
            found[key] = bool(metadata["reused"].value)
        return found

    def chunk_metadata(self, partition: str) -> dict[str, Any]:
        """Metadata of a partition's last materialization."""
        records = self.instance.fetch_materializations(
            dg.AssetRecordsFilter(
                asset_key=dg.AssetKey(["small", "token_chunks"]), asset_partitions=[partition]
            ),
            limit=1,
        ).records
        assert records, f"partition {partition} was not materialized"
        materialization = records[0].asset_materialization
        assert materialization is not None
        return dict(materialization.metadata)


@dataclass(kw_only=True)
class MadePlatform(SmallPlatform):
    """One of which a run made everything, in the folder that this one was copied from."""

    first_run: dg.ExecuteInProcessResult


def failure(result: dg.ExecuteInProcessResult) -> str:
    """Every message of the error that a run failed with."""
    assert not result.success
    [event] = [event for event in result.all_events if event.is_step_failure]
    error, messages = event.step_failure_data.error, []
    while error is not None:
        messages.append(error.message)
        error = error.cause
    return "\n".join(messages)


def environment_of_splits(corpus: Path, tokenizer: Path, folder: Path) -> dict[str, str]:
    """For commands: `train` and `validation` over the small corpus, all below a folder."""
    home = folder / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text("telemetry:\n  enabled: false\n", encoding="utf-8")
    train = {f"CODEDATA_TRAIN_{switch.upper()}": str(value) for switch, value in SWITCHES.items()}
    validation = {name.replace("TRAIN", "VALIDATION"): value for name, value in train.items()}
    validation |= {
        "CODEDATA_VALIDATION_STARTING_CHARACTER": "101000",
        "CODEDATA_VALIDATION_CHARS_TO_TOKENIZE": "20000",
        "CODEDATA_VALIDATION_SEQ_LENGTH": "32",
    }
    return {
        **os.environ,
        **train,
        **validation,
        "DAGSTER_HOME": str(home),
        "CODEDATA_ROOT": str(folder / "root"),
        "CODEDATA_CORPUS": str(corpus),
        "CODEDATA_TOKENIZER": str(tokenizer),
        "PYTHONWARNINGS": "ignore",
    }
