"""The assets `<split>/pickle_shards` and `<split>/meta_json`: packed, checked, published as one."""

import time
from collections.abc import Iterator, Sequence
from typing import Any

import dagster as dg

from codedata.components.dataset_asset import SAMPLE_COLUMNS
from codedata.components.shown import with_separators
from codedata.components.split_origin import command_of, split_facts
from codedata.components.split_spec import (
    SINGLE_RUN,
    SplitSpec,
    check_result,
    chunk_tasks,
    open_split,
    records_of,
    split_tokenizer,
)
from codedata.errors import CheckFailedError
from codedata.format.meta import shard_name
from codedata.layout import Layout
from codedata.parallel import peak_memory_bytes
from codedata.printable import first_ten
from codedata.progress import Reporter, reporter_of_run, rounded
from codedata.recipe.settings import Settings
from codedata.resources import ChunkExecutor, DataRoot
from codedata.run.assemble import assemble, count_padding, origin_of
from codedata.run.checks import check_known_counts
from codedata.run.plan import Plan
from codedata.run.tokenize import stored_chunks
from codedata.store.chunks import TokenChunk
from codedata.store.dataset_folder import Dataset
from codedata.store.publishing import check_target, open_staging
from codedata.store.verified import remember_verified

_CHECKS = {
    "integrity": "Every byte of structure, every hash and every total of shards and meta agrees.",
    "sample_counts": "Each chunk gave as many samples as its tokens and the switches say.",
    "sequence_lengths": "Every sample has seq_length tokens.",
    "token_ids": "Every id is within the vocabulary.",
}
"""Blocking checks of a staged dataset: if one fails, nothing is published."""

_ENTRY = [
    dg.TableColumn("num_samples", "int", "Samples of the shard."),
    dg.TableColumn("num_tokens", "int", "num_samples * seq_length, padding included."),
    dg.TableColumn("sha256", "string", "Of the shard's bytes."),
    dg.TableColumn("start_character", "int", "Where in the text the shard's chunk starts."),
    dg.TableColumn("stop_character", "int", "Where it ends."),
    dg.TableColumn("entry_sha256", "string", "Of the entry's other fields."),
]


_SHOWN_SHARDS = 100
"""Rows of the table of shards in the UI, which is stored four times; the meta has them all."""


def pickle_shards_asset(spec: SplitSpec) -> dg.AssetsDefinition:
    """Both assets of a split, downstream of its chunks."""
    shards_key = dg.AssetKey([spec.name, "pickle_shards"])
    meta_key = dg.AssetKey([spec.name, "meta_json"])
    check_keys = {**dict.fromkeys(_CHECKS, shards_key), "integrity": meta_key}
    version = spec.code_version(
        "seq_length", "min_sample_length", "max_dump_size", "pad_token", "chunk_size"
    )

    def asset(
        key: dg.AssetKey, kind: str, columns: list[dg.TableColumn], description: str
    ) -> dg.AssetSpec:
        return dg.AssetSpec(
            key,
            deps=[[spec.name, "token_chunks"]],
            kinds={kind},
            description=description,
            code_version=version,
            metadata={"dagster/column_schema": dg.TableSchema(columns=columns)},
            **spec.shown,
        )

    @dg.multi_asset(
        name=f"{spec.name}__pickle_shards",
        specs=[
            asset(
                shards_key,
                "pickle",
                SAMPLE_COLUMNS[:1],
                f"The samples of {spec.name} as dump-N.pkl.",
            ),
            asset(meta_key, "json", _ENTRY, "Counts, hashes and characters of every shard."),
        ],
        check_specs=[
            *(
                dg.AssetCheckSpec(name, asset=check_keys[name], blocking=True, description=what)
                for name, what in _CHECKS.items()
            ),
            dg.AssetCheckSpec(
                "known_counts",
                asset=meta_key,
                description="With The Stack's first C file and the defaults: the published counts.",
            ),
        ],
        can_subset=False,
        backfill_policy=SINGLE_RUN,
    )
    def pickle_shards(
        context: dg.AssetExecutionContext, store: DataRoot, chunk_executor: ChunkExecutor
    ) -> Iterator[Any]:
        layout = store.layout
        target = check_target(layout.dataset(spec.name))
        quiet = Reporter(context.log.info, in_terminal=False)  # the chunks' step has told it
        with reporter_of_run(context.log.info).step(
            f"packing, checking and publishing {spec.name}"
        ):
            plan = open_split(spec, layout, split_tokenizer(spec, layout, quiet))
            chunks = _all_chunks(spec, plan, layout)
            records = records_of(spec, layout)
            corpus, files = split_facts(spec, records)
            origin = origin_of(plan.tokenizer, chunks, command_of(spec), corpus, files)
            started = time.monotonic()
            with open_staging(target) as staging:
                staged = assemble(plan, chunks, staging, origin, num_workers=chunk_executor.threads)
                for name, outcome in staged.outcomes.items():
                    yield check_result(name, outcome, check_keys[name])
                if staged.dataset is not None:
                    counts = [entry.num_samples for entry in staged.dataset.entries]
                    known = check_known_counts(list(records.values()), plan.settings, counts)
                    warn = dg.AssetCheckSeverity.WARN
                    yield check_result("known_counts", known, meta_key, severity=warn)
                try:
                    dataset = staged.publish()
                except CheckFailedError as error:  # a second try would make the same
                    raise dg.Failure(str(error), allow_retries=False) from None
                remember_verified(dataset)  # for the steps after this one
        context.log.info(f"published {dataset.num_samples:,} samples in {target}")
        figures = _figures(dataset, chunks, plan.settings, time.monotonic() - started)
        table = {"digest": dataset.digest, "shards": _shard_table(dataset)}
        for asset_key, metadata in ((shards_key, figures), (meta_key, table)):
            yield dg.MaterializeResult(
                asset_key=asset_key, data_version=dg.DataVersion(dataset.digest), metadata=metadata
            )

    return pickle_shards


def _figures(
    dataset: Dataset, chunks: Sequence[TokenChunk], settings: Settings, seconds: float
) -> dict[str, Any]:
    """What the UI shows of a dataset that was published in some seconds."""
    num_chars = sum(chunk.chars.num_chars for chunk in chunks)
    num_padding = sum(count_padding(chunk.num_tokens, settings) for chunk in chunks)
    megabytes = sum(_shard_bytes(dataset)) / 1e6
    figures = {
        "dagster/row_count": dataset.num_samples,
        "shards": len(dataset.entries),
        "samples": dataset.num_samples,
        "tokens": dataset.num_tokens,
        "seq_length": dataset.seq_length,
        "characters": num_chars,
        "tokens per character": rounded(sum(each.num_tokens for each in chunks) / num_chars),
        "padding share": rounded(num_padding / dataset.num_tokens),
        "seconds": rounded(seconds),
        "MB": rounded(megabytes),
        "MB/s": rounded(megabytes / seconds),
        "peak memory (MB)": rounded(peak_memory_bytes() / 1e6),
        "path": dg.MetadataValue.path(str(dataset.folder)),
    }
    return with_separators(figures)


def _all_chunks(spec: SplitSpec, plan: Plan, layout: Layout) -> list[TokenChunk]:
    """The stored chunks of the whole split, in order.

    Raises:
        Failure: some are missing or stale; the message lists their keys and the command that makes
            them.
    """
    tasks = chunk_tasks(spec, plan, layout, spec.partition_keys)
    chunks = stored_chunks([task for each in tasks.values() for task in each])
    found = {chunk.chars for chunk in chunks}
    with_text = [key for key, each in tasks.items() if each]
    missing = [key for key in with_text if any(task.chars not in found for task in tasks[key])]
    if missing:
        raise dg.Failure(
            f"{len(missing)} of {len(with_text)} {spec.partitions}s of {spec.name} are missing or "
            f"stale ({first_ten(missing)}), so nothing "
            f"was published; `codedata materialize {spec.name}` makes them all and publishes",
            metadata={"missing or stale": "\n".join(missing)},
            allow_retries=False,
        )
    return chunks


def _shard_bytes(dataset: Dataset) -> list[int]:
    names = (shard_name(index) for index in range(len(dataset.entries)))
    return [(dataset.folder / name).stat().st_size for name in names]


def _shard_table(dataset: Dataset) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "shard": f"dump-{index}.pkl",
                    "samples": f"{entry.num_samples:,}",
                    "tokens": f"{entry.num_tokens:,}",
                    "file": entry.chars.file if entry.chars else 0,
                    "characters": entry.chars.key if entry.chars else "",
                    "sha256": entry.sha256 or "",
                }
            )
            for index, entry in enumerate(dataset.entries[:_SHOWN_SHARDS])
        ]
    )
