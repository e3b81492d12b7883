"""The assets `<split>/pickle_shards` and `<split>/meta_json`: packed, checked, published as one."""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import dagster as dg

from codedata.components import documents_shown
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
from codedata.format.meta import ShardEntry
from codedata.layout import Layout
from codedata.parallel import peak_memory_bytes
from codedata.printable import first_ten
from codedata.progress import Reporter, reporter_of_run, rounded
from codedata.recipe.settings import Settings
from codedata.resources import ChunkExecutor, DataRoot
from codedata.run.assemble import count_padding, origin_of, staged
from codedata.run.checks import check_known_counts
from codedata.run.compared import take_handed_on
from codedata.run.plan import Plan
from codedata.run.tokenize import stored_chunks
from codedata.store.chunks import TokenChunk
from codedata.store.dataset_folder import Dataset
from codedata.store.publishing import check_target
from codedata.store.roots import objects_of, require_conditional_writes
from codedata.store.verified import remember_verified
from codedata.store.versions import DatasetLog, Version
from codedata.tokenize.stored_tokenizer import StoredTokenizer, store_tokenizer

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

_LISTED_AGAIN_AFTER = (0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0)
"""Seconds, a minute in all: most stores list at once what is put, some a little later."""

_LATELY_SECONDS = 600.0
"""A chunk that was made before, and that no list shows, is gone, or of other text."""

_MOST_ASKED_FOR = 500
"""Partitions in one question to Dagster's storage."""

_SHOWN_SHARDS = 100
"""Rows of the table of shards in the UI, which is stored four times; the meta has them all."""


def pickle_shards_asset(spec: SplitSpec) -> dg.AssetsDefinition:
    """Both assets of a split, downstream of its chunks."""
    shards_key = dg.AssetKey([spec.name, "pickle_shards"])
    meta_key = dg.AssetKey([spec.name, "meta_json"])
    checks, entry, beside = _CHECKS, _ENTRY, ""
    if spec.recipe is not None:
        checks = _CHECKS | documents_shown.CHECKS
        entry = [*_ENTRY[:-1], *documents_shown.ENTRY, *_ENTRY[-1:]]
        beside = documents_shown.BESIDE_SHARDS
    check_keys = {**dict.fromkeys(checks, shards_key), "integrity": meta_key}

    def asset(
        key: dg.AssetKey, kind: str, columns: list[dg.TableColumn], description: str
    ) -> dg.AssetSpec:
        return dg.AssetSpec(
            key,
            deps=[[spec.name, "token_chunks"]],
            kinds={kind},
            description=description,
            code_version=spec.shards_version,
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
                f"The samples of {spec.name} as dump-N.pkl.{beside}",
            ),
            asset(meta_key, "json", entry, "Counts, hashes and characters of every shard."),
        ],
        check_specs=[
            *(
                dg.AssetCheckSpec(name, asset=check_keys[name], blocking=True, description=what)
                for name, what in checks.items()
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
        layout, reporter = store.layout, reporter_of_run(context.log.info)
        place = _place(layout, spec.name)
        quiet = Reporter(context.log.info, in_terminal=False)  # the chunks' step has told it
        with (
            reporter.step(f"packing, checking and publishing {spec.name}"),
            chunk_executor.executor(layout, quiet) as executor,
        ):
            plan = open_split(spec, layout, split_tokenizer(spec, layout, quiet))
            chunks = _all_chunks(context.instance, spec, plan, layout, executor, reporter)
            records = records_of(spec, layout)
            corpus, files = split_facts(spec, records)
            origin = origin_of(plan.tokenizer, chunks, command_of(spec), corpus, files)
            started = time.monotonic()
            threads = chunk_executor.threads
            with staged(
                place,
                plan,
                chunks,
                origin,
                executor,
                reporter,
                num_workers=threads,
                tokenizer=_tokenizer_of_workers(layout, plan),
            ) as made:
                for name, outcome in made.outcomes.items():
                    yield check_result(name, outcome, check_keys[name])
                if made.entries:
                    counts = [entry.num_samples for entry in made.entries]
                    known = check_known_counts(list(records.values()), plan.settings, counts)
                    warn = dg.AssetCheckSeverity.WARN
                    yield check_result("known_counts", known, meta_key, severity=warn)
                try:
                    published = made.publish()
                except CheckFailedError as error:  # a second try would make the same
                    raise dg.Failure(str(error), allow_retries=False) from None
            if isinstance(published, Dataset):
                remember_verified(published)  # for the steps after this one
        where = place.store.url if isinstance(place, DatasetLog) else str(place)
        context.log.info(f"published {published.num_samples:,} samples in {where}")
        seconds = time.monotonic() - started
        figures = _figures(made.entries, published, chunks, plan.settings, seconds)
        figures["path"] = dg.MetadataValue.path(where)
        table = {"digest": published.digest, "shards": _shard_table(made.entries)}
        version = dg.DataVersion(published.digest)
        for asset_key, metadata in ((shards_key, figures), (meta_key, table)):
            yield dg.MaterializeResult(asset_key=asset_key, data_version=version, metadata=metadata)

    return pickle_shards


def _tokenizer_of_workers(layout: Layout, plan: Plan) -> StoredTokenizer | None:
    """The tokenizer as those have it who check documents, and do not see its files."""
    if plan.recipe is None or (objects := objects_of(layout)) is None:
        return None
    return store_tokenizer(objects, plan.tokenizer)


def _place(layout: Layout, split: str) -> Path | DatasetLog:
    """Where the dataset of a split is published."""
    require_conditional_writes(layout)
    if (objects := objects_of(layout)) is not None:
        return DatasetLog(objects.below(f"datasets/{split}"))
    return check_target(layout.dataset(split))


def _figures(
    entries: Sequence[ShardEntry],
    published: Dataset | Version,
    chunks: Sequence[TokenChunk],
    settings: Settings,
    seconds: float,
) -> dict[str, Any]:
    """What the UI shows of a dataset that was published in some seconds."""
    num_samples = sum(entry.num_samples for entry in entries)
    num_tokens = sum(entry.num_tokens for entry in entries)
    num_chars = sum(chunk.chars.num_chars for chunk in chunks)
    num_padding = sum(count_padding(settings, chunk) for chunk in chunks)
    megabytes = _num_bytes(published) / 1e6
    facts = published.facts if isinstance(published, Dataset) else published.made_of
    counts = facts and facts.documents
    figures = {
        "dagster/row_count": num_samples,
        "shards": len(entries),
        "samples": num_samples,
        "tokens": num_tokens,
        "seq_length": settings.seq_length,
        "characters": num_chars,
        "tokens per character": rounded(sum(each.num_tokens for each in chunks) / num_chars),
        **(documents_shown.figures_of(counts, num_samples) if counts else {}),
        "padding share": rounded(num_padding / num_tokens),
        "seconds": rounded(seconds),
        "MB": rounded(megabytes),
        "MB/s": rounded(megabytes / seconds),
        "peak memory (MB)": rounded(peak_memory_bytes() / 1e6),
    }
    return with_separators(figures)


def _all_chunks(
    instance: dg.DagsterInstance,
    spec: SplitSpec,
    plan: Plan,
    layout: Layout,
    executor: Executor,
    reporter: Reporter,
) -> list[TokenChunk]:
    """The stored chunks of the whole split, in order.

    Those that other runs have just made are waited for, as far as lists of an object store lag.

    Raises:
        Failure: some are missing or stale; the message lists their keys and the command that makes
            them.
    """
    tasks = chunk_tasks(spec, plan, layout, spec.partition_keys)
    wanted = [task for each in tasks.values() for task in each]
    with_text = [key for key, each in tasks.items() if each]
    found = {chunk.chars: chunk for chunk in take_handed_on(wanted)}
    waits = iter(_LISTED_AGAIN_AFTER if layout.url else ())
    while True:
        left = [task for task in wanted if task.chars not in found]
        found |= {chunk.chars: chunk for chunk in stored_chunks(left, executor)}
        missing = [key for key in with_text if any(task.chars not in found for task in tasks[key])]
        if not missing:
            return [found[task.chars] for task in wanted]
        seconds = next(waits, None)
        if seconds is None or not _were_made_lately(instance, spec, missing):
            break
        reporter.say(
            f"{len(missing)} {spec.partitions}s of {spec.name} ({first_ten(missing)}) were made "
            f"just now, and the store does not list them yet; looking again in {seconds:g} s"
        )
        time.sleep(seconds)
    raise dg.Failure(
        f"{len(missing)} of {len(with_text)} {spec.partitions}s of {spec.name} are missing or "
        f"stale ({first_ten(missing)}), so nothing "
        f"was published; `codedata materialize {spec.name}` makes them all and publishes",
        metadata={"missing or stale": "\n".join(missing)},
        allow_retries=False,
    )


def _were_made_lately(
    instance: dg.DagsterInstance, spec: SplitSpec, partitions: Sequence[str]
) -> bool:
    """Whether a run has materialized one of the first of some partitions of chunks just now."""
    lately = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey([spec.name, "token_chunks"]),
        asset_partitions=partitions[:_MOST_ASKED_FOR],
        after_timestamp=time.time() - _LATELY_SECONDS,
    )
    return bool(instance.fetch_materializations(lately, limit=1).records)


def _num_bytes(published: Dataset | Version) -> int:
    if isinstance(published, Version):
        return published.num_bytes
    names = (name for index, entry in enumerate(published.entries) for name in entry.files(index))
    return sum((published.folder / name).stat().st_size for name in names)


def _shard_table(entries: Sequence[ShardEntry]) -> dg.TableMetadataValue:
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
            for index, entry in enumerate(entries[:_SHOWN_SHARDS])
        ]
    )
