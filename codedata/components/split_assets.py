"""The assets of one split: each reads, calls the core, writes and reports."""

import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

import dagster as dg
from pydantic import Field
from tqdm import tqdm

from codedata.checks import CheckOutcome, check_dataset, check_ids, check_known_counts
from codedata.core.settings import CharRange
from codedata.errors import ChunkMismatchError
from codedata.io.chunk_store import TokenChunk
from codedata.io.corpus import read_corpus
from codedata.io.dataset_folder import open_dataset
from codedata.io.publishing import check_target, open_staging
from codedata.layout import Layout
from codedata.pipeline import (
    ChunkTask,
    Inputs,
    engine_for,
    open_inputs,
    require_disk_space,
    stage_dataset,
    stored_chunks,
    tokenize_chunks,
)
from codedata.progress import SHOW_BARS, ChunkProgress
from codedata.report import token_report
from codedata.resources import ChunkExecutor, Datasets, Store

if TYPE_CHECKING:
    from codedata.components.dataset_split import SplitSpec

_SINGLE_RUN = dg.BackfillPolicy.single_run()
_SHARD_CHECKS = ("sample_counts", "sequence_lengths", "token_ids")


class ChunkConfig(dg.Config):
    """Launch-time choices of token_chunks."""

    force: bool = Field(default=False, description="Tokenize again what is stored and right.")


def build_split(spec: "SplitSpec") -> dg.Definitions:
    """All definitions of a split."""
    keys = list(spec.chunk_ranges)
    upstream = [dg.AssetKey([spec.corpus, "raw_parquet"])]
    if spec.tokenizer_asset is not None:
        upstream.append(dg.AssetKey([spec.tokenizer_asset]))
    job = dg.define_asset_job(
        spec.name,
        selection=dg.AssetSelection.groups(spec.name) | dg.AssetSelection.assets(*upstream),
        tags={
            "dagster/asset_partition_range_start": keys[0],
            "dagster/asset_partition_range_end": keys[-1],
        }
        if len(keys) > 1
        else {"dagster/partition": keys[0]},
        description=f"Everything from the corpus to {spec.name}/dataset, in one run.",
    )
    assets = [
        _token_chunks(spec, upstream),
        _pickle_shards(spec),
        _dataset(spec),
        _token_report(spec),
    ]
    return dg.Definitions(assets=assets, jobs=[job])


def open_split(spec: "SplitSpec", layout: Layout) -> Inputs:
    """The corpus and the tokenizer of a split, as they are now."""
    return open_inputs(read_corpus(layout.corpus(spec.corpus)).open_text(), spec.settings)


def chunk_tasks(
    spec: "SplitSpec", inputs: Inputs, layout: Layout, keys: Sequence[str]
) -> dict[str, ChunkTask]:
    """The tasks of partitions, by key; those beyond the text's end have none."""
    tasks: dict[str, ChunkTask] = {}
    for key in keys:
        nominal = spec.chunk_ranges[key]
        chars = CharRange(nominal.start, min(nominal.stop, inputs.window.stop))
        if chars.num_chars > 0:
            tasks[key] = inputs.task(chars, layout.chunks(spec.name) / key.split("/")[0])
    return tasks


def _token_chunks(spec: "SplitSpec", upstream: list[dg.AssetKey]) -> dg.AssetsDefinition:
    key = dg.AssetKey([spec.name, "token_chunks"])

    def check(name: str, description: str) -> dg.AssetCheckSpec:
        return dg.AssetCheckSpec(name, asset=key, blocking=True, description=description)

    @dg.asset(
        key=key,
        deps=upstream,
        group_name=spec.name,
        kinds={"arrow", "huggingface"},
        description=f"The ids of each chunk of {spec.name}'s window, one partition a chunk. "
        "Unchanged chunks are reused.",
        partitions_def=dg.StaticPartitionsDefinition(list(spec.chunk_ranges)),
        backfill_policy=_SINGLE_RUN,
        code_version=spec.code_version(
            "tokenizer_base", "starting_character", "chars_to_tokenize", "chunk_size"
        ),
        check_specs=[
            check("held_out", "The window shares no characters with the splits it is held from."),
            check("tokenizer_fidelity", "The ids are the tokenizer's own and decode to the text."),
            check("token_ids", "Every id is within the vocabulary, chunk by chunk."),
        ],
    )
    def token_chunks(
        context: dg.AssetExecutionContext,
        store: Store,
        chunk_executor: ChunkExecutor,
        config: ChunkConfig,
    ) -> Iterator[Any]:
        yield _passed("held_out", *_held_out_report(spec))
        inputs = open_split(spec, store.layout)
        inputs.require_fidelity()
        engine = engine_for(inputs.tokenizer)
        yield _passed(
            "tokenizer_fidelity",
            f"{engine.name}: {engine.reason}",
            {"tokenizer": inputs.tokenizer.fingerprint, "vocabulary": engine.vocab_size},
        )
        tasks = chunk_tasks(spec, inputs, store.layout, context.partition_keys)
        run = _ChunkRun(context, key, inputs, tasks, force=config.force)
        run.tokenize(chunk_executor, store.layout)
        yield from run.events(context.partition_keys)
        yield dg.MaterializeResult(asset_key=key)

    return token_chunks


def _held_out_report(spec: "SplitSpec") -> tuple[str, dict[str, Any]]:
    """What the configuration, validated when the code location loaded, says of shared text."""
    window = spec.settings.window
    numbers: dict[str, Any] = {"start": window.start, "stop": window.stop}
    for name, other in spec.held_out_from.items():
        numbers |= {f"{name} start": other.start, f"{name} stop": other.stop}
    if not spec.held_out_from:
        return "the split is held out from no other", numbers
    return f"shares no characters with {', '.join(spec.held_out_from)}", numbers


class _ChunkRun:
    """The chunks of one run: tokenized or reused, logged, and reported per partition."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        key: dg.AssetKey,
        inputs: Inputs,
        tasks: dict[str, ChunkTask],
        *,
        force: bool,
    ) -> None:
        self.context = context
        self.key = key
        self.inputs = inputs
        self.tasks = tasks
        stored = [] if force else stored_chunks(list(tasks.values()))
        self.reused = {chunk.chars for chunk in stored}
        self.chunks: dict[CharRange, TokenChunk] = {chunk.chars: chunk for chunk in stored}

    def tokenize(self, chunk_executor: ChunkExecutor, layout: Layout) -> None:
        """Make the missing chunks; those that are done are recorded even if one fails."""
        missing = [
            task for task in self.tasks.values() if task.fingerprint.chars not in self.chunks
        ]
        require_disk_space(self.inputs, missing, layout.root)
        self.context.log.info(
            f"{len(self.reused)} of {len(self.tasks)} chunks are unchanged and reused, "
            f"{len(missing)} to tokenize"
        )
        num_chars = sum(task.fingerprint.chars.num_chars for task in missing)
        progress = ChunkProgress(len(self.tasks), len(self.reused), num_chars)
        try:
            with self._bar(num_chars) as bar, chunk_executor.executor(len(missing)) as executor:
                for chunk in tokenize_chunks(missing, executor):
                    self.chunks[chunk.chars] = chunk
                    self.context.log.info(progress.line(chunk))
                    if bar is not None:
                        bar.update(chunk.chars.num_chars)
        except BaseException:
            for key in self.context.partition_keys:
                if (chunk := self._chunk(key)) is not None:
                    self.context.log_event(
                        dg.AssetMaterialization(
                            self.key, partition=key, metadata=self._metadata(chunk)
                        )
                    )
            raise

    def _bar(self, num_chars: int) -> "AbstractContextManager[tqdm[Any] | None]":
        if not SHOW_BARS.get() or not num_chars:
            return nullcontext()
        return tqdm(
            desc=f"Tokenizing {self.key.path[0]}", total=num_chars, unit="char", unit_scale=True
        )

    def _chunk(self, key: str) -> TokenChunk | None:
        task = self.tasks.get(key)
        return self.chunks.get(task.fingerprint.chars) if task else None

    def _metadata(self, chunk: TokenChunk | None) -> dict[str, Any]:
        if chunk is None:
            return {"tokens": 0, "characters": 0, "reused": False}
        return {
            "tokens": chunk.num_tokens,
            "characters": chunk.chars.num_chars,
            "reused": chunk.chars in self.reused,
            "sha256": chunk.ids_sha256,
            "path": dg.MetadataValue.path(str(chunk.path)),
        }

    def events(self, keys: Sequence[str]) -> Iterator[Any]:
        """Metadata and the id check of each partition, and the closing check over all."""
        vocab_size = engine_for(self.inputs.tokenizer).vocab_size
        smallest, largest, failed = vocab_size, -1, 0
        for key in keys:
            chunk = self._chunk(key)
            self.context.add_asset_metadata(self._metadata(chunk), partition_key=key)
            if chunk is None:
                continue
            ids = chunk.read_ids()
            low, high = (int(ids.min()), int(ids.max())) if len(ids) else (0, 0)
            outcome = check_ids(low, high, vocab_size)
            smallest, largest = min(smallest, low), max(largest, high)
            failed += not outcome.passed
            yield dg.AssetCheckEvaluation(
                asset_key=self.key,
                check_name="token_ids",
                passed=outcome.passed,
                description=outcome.description,
                metadata=outcome.numbers,
                blocking=True,
                partition=key,
            )
        yield _result("token_ids", check_ids(min(smallest, largest), largest, vocab_size))


def _pickle_shards(spec: "SplitSpec") -> dg.AssetsDefinition:
    shards_key = dg.AssetKey([spec.name, "pickle_shards"])
    meta_key = dg.AssetKey([spec.name, "meta_json"])
    check_keys = {"integrity": meta_key, **dict.fromkeys(_SHARD_CHECKS, shards_key)}
    version = spec.code_version(
        "seq_length", "min_sample_length", "max_dump_size", "pad_token", "chunk_size"
    )

    def asset(key: dg.AssetKey, kind: str, description: str) -> dg.AssetSpec:
        return dg.AssetSpec(
            key,
            deps=[[spec.name, "token_chunks"]],
            group_name=spec.name,
            kinds={kind},
            description=description,
            code_version=version,
        )

    @dg.multi_asset(
        name=f"{spec.name}__pickle_shards",
        specs=[
            asset(shards_key, "pickle", f"The samples of {spec.name} as dump-N.pkl."),
            asset(meta_key, "json", "Counts, hashes and characters of every shard."),
        ],
        check_specs=[
            *(dg.AssetCheckSpec(n, asset=key, blocking=True) for n, key in check_keys.items()),
            dg.AssetCheckSpec("known_counts", asset=meta_key),
        ],
        can_subset=False,
        backfill_policy=_SINGLE_RUN,
    )
    def pickle_shards(context: dg.AssetExecutionContext, store: Store) -> Iterator[Any]:
        layout = store.layout
        target = check_target(layout.dataset(spec.name))
        inputs = open_split(spec, layout)
        chunks = require_all_chunks(spec, inputs, layout)
        vocab_size = engine_for(inputs.tokenizer).vocab_size
        started = time.monotonic()
        with open_staging(target) as staging:
            entries = stage_dataset(chunks, spec.settings, staging)
            for name, outcome in check_dataset(staging.stage, chunks, spec.settings, vocab_size):
                yield _result(name, outcome, check_keys[name])
                if not outcome.passed:
                    raise dg.Failure(
                        f"{name}: {outcome.description}; nothing was published", allow_retries=False
                    )
            corpus = read_corpus(layout.corpus(spec.corpus))
            known = check_known_counts(corpus, spec.settings, [e.num_samples for e in entries])
            yield _result("known_counts", known, meta_key, severity=dg.AssetCheckSeverity.WARN)
            staging.publish()
        dataset = open_dataset(target)
        context.log.info(f"published {dataset.num_samples:,} samples in {target}")
        version = dg.DataVersion(dataset.digest)
        yield dg.MaterializeResult(
            asset_key=shards_key,
            data_version=version,
            metadata={
                "shards": len(entries),
                "samples": dataset.num_samples,
                "tokens": dataset.num_tokens,
                "seq_length": dataset.seq_length,
                "seconds": time.monotonic() - started,
                "path": dg.MetadataValue.path(str(target)),
            },
        )
        yield dg.MaterializeResult(
            asset_key=meta_key,
            data_version=version,
            metadata={"digest": dataset.digest, "shards": _shard_table(dataset)},
        )

    return pickle_shards


def require_all_chunks(spec: "SplitSpec", inputs: Inputs, layout: Layout) -> list[TokenChunk]:
    """The stored chunks of the whole window, in order.

    Raises:
        ChunkMismatchError: some are missing or stale; the message lists their keys and the command
            that makes them.
    """
    tasks = chunk_tasks(spec, inputs, layout, list(spec.chunk_ranges))
    chunks = stored_chunks(list(tasks.values()))
    found = {chunk.chars for chunk in chunks}
    missing = [key for key, task in tasks.items() if task.fingerprint.chars not in found]
    if missing:
        raise ChunkMismatchError(
            f"{len(missing)} of {len(tasks)} chunks of {spec.name} are missing or stale "
            f"({', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}), so nothing was "
            f"published; `codedata materialize {spec.name}` makes them all and publishes"
        )
    return chunks


def _shard_table(dataset: Any) -> dg.TableMetadataValue:
    return dg.MetadataValue.table(
        [
            dg.TableRecord(
                {
                    "shard": f"dump-{index}.pkl",
                    "samples": entry.num_samples,
                    "tokens": entry.num_tokens,
                    "characters": entry.chars.key,
                    "sha256": entry.sha256,
                }
            )
            for index, entry in enumerate(dataset.entries)
        ]
    )


def _dataset(spec: "SplitSpec") -> dg.AssetsDefinition:
    @dg.asset(
        key=[spec.name, "dataset"],
        deps=[[spec.name, "pickle_shards"], [spec.name, "meta_json"]],
        group_name=spec.name,
        kinds={"pytorch"},
        description=f"{spec.description} Loads as a PickledTrainerDataset.",
        io_manager_key="dataset_io_manager",
        backfill_policy=_SINGLE_RUN,
    )
    def dataset(store: Store) -> dg.MaterializeResult:
        opened = open_dataset(store.layout.dataset(spec.name), verify=True)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(opened.digest),
            metadata={
                "samples": opened.num_samples,
                "tokens": opened.num_tokens,
                "seq_length": opened.seq_length,
                "digest": opened.digest,
                "path": dg.MetadataValue.path(str(opened.folder)),
                "load": dg.MetadataValue.md(
                    f"```python\nimport codedata\ncodedata.load_dataset({spec.name!r})\n```"
                ),
            },
        )

    return dataset


def _token_report(spec: "SplitSpec") -> dg.AssetsDefinition:
    @dg.asset(
        key=[spec.name, "token_report"],
        deps=[[spec.name, "dataset"]],
        group_name=spec.name,
        kinds={"markdown"},
        description=f"What {spec.name} is made of: tokens, padding, vocabulary, one sample.",
        backfill_policy=_SINGLE_RUN,
    )
    def report(store: Store, datasets: Datasets) -> dg.MaterializeResult:
        layout = store.layout
        inputs = open_split(spec, layout)
        tokens = token_report(datasets.load(spec.name), inputs.tokenizer, spec.settings.pad_token)
        return dg.MaterializeResult(
            metadata={
                "report": dg.MetadataValue.md(tokens.markdown()),
                "tokens": tokens.num_tokens,
                "padding": tokens.num_padding,
                "padding share": tokens.num_padding / tokens.num_tokens,
                "vocabulary used": tokens.vocab_used,
                "vocabulary coverage": tokens.vocab_used / tokens.vocab_size,
                "most frequent tokens": dg.MetadataValue.table(
                    [
                        dg.TableRecord({"token": token, "id": id_, "count": count})
                        for token, id_, count in tokens.most_frequent
                    ]
                ),
            }
        )

    return report


def _passed(name: str, description: str, numbers: dict[str, Any]) -> dg.AssetCheckResult:
    return _result(name, CheckOutcome(passed=True, description=description, numbers=numbers))


def _result(
    name: str,
    outcome: CheckOutcome,
    asset_key: dg.AssetKey | None = None,
    *,
    severity: dg.AssetCheckSeverity = dg.AssetCheckSeverity.ERROR,
) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        check_name=name,
        asset_key=asset_key,
        passed=outcome.passed,
        description=outcome.description,
        metadata=outcome.numbers,
        severity=severity,
    )
