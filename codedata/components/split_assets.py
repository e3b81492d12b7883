"""The assets of one split: each reads, calls the core, writes and reports."""

import shlex
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg

from codedata.components.default_pad import DEFAULT_PAD_TAG
from codedata.components.raw_corpus import file_key, files_job
from codedata.components.report_assets import report_assets
from codedata.components.split_spec import (
    FILES_TAG,
    SINGLE_RUN,
    SPLIT_TAG,
    SplitSpec,
    check_result,
    chunk_tasks,
    open_split,
    open_windows,
    split_tokenizer,
)
from codedata.components.token_chunks import token_chunks_asset
from codedata.components.transformers_check import transformers_check
from codedata.environment import variables
from codedata.errors import CheckFailedError, ChunkMismatchError, CorpusError
from codedata.format.meta import shard_name
from codedata.layout import CORPUS_VARIABLE, TOKENIZER_VARIABLE, Layout, switch_variable
from codedata.parallel import peak_memory_bytes
from codedata.progress import Reporter, rounded
from codedata.recipe.settings import Settings
from codedata.resources import ChunkExecutor, DataRoot
from codedata.run.assemble import assemble, count_padding, origin_of
from codedata.run.checks import CheckOutcome, check_known_counts
from codedata.run.plan import Plan
from codedata.run.shared_documents import find_shared, judge_shared
from codedata.run.tokenize import stored_chunks
from codedata.sources.record import Corpus, read_corpus
from codedata.sources.window import Window
from codedata.store.chunks import TokenChunk
from codedata.store.dataset_folder import Dataset
from codedata.store.publishing import check_target, open_staging
from codedata.store.verified import open_once, remember_verified

_CHECKS = {
    "integrity": "Every byte of structure, every hash and every total of shards and meta agrees.",
    "sample_counts": "Each chunk gave as many samples as its tokens and the switches say.",
    "sequence_lengths": "Every sample has seq_length tokens.",
    "token_ids": "Every id is within the vocabulary.",
}
"""Blocking checks of a staged dataset: if one fails, nothing is published."""

_SAMPLES = [
    dg.TableColumn("input_ids", "int64[seq_length]", "The ids of a sample."),
    dg.TableColumn("labels", "int64[seq_length]", "The same ids: the model shifts them itself."),
]
_ENTRY = [
    dg.TableColumn("num_samples", "int", "Samples of the shard."),
    dg.TableColumn("num_tokens", "int", "num_samples * seq_length, padding included."),
    dg.TableColumn("sha256", "string", "Of the shard's bytes."),
    dg.TableColumn("start_character", "int", "Where in the text the shard's chunk starts."),
    dg.TableColumn("stop_character", "int", "Where it ends."),
    dg.TableColumn("entry_sha256", "string", "Of the entry's other fields."),
]


def build_split(spec: SplitSpec) -> dg.Definitions:
    """All definitions of a split."""
    keys = list(spec.chunk_ranges)
    upstream = [_corpus_dep(spec)]
    if spec.tokenizer_asset is not None:
        upstream.append(dg.AssetDep([spec.tokenizer_asset]))
    # A corpus of several files has partitions of its own, and so a run of its own before this one.
    same_run = [dep.asset_key for dep in upstream if dep.partition_mapping is None]
    selection = dg.AssetSelection.groups(spec.name) | dg.AssetSelection.assets(*same_run)
    if spec.tokenizer_asset is not None:  # with what it is trained on
        selection |= dg.AssetSelection.assets(spec.tokenizer_asset).upstream()
    job = dg.define_asset_job(
        spec.name,
        selection=selection,
        tags={
            SPLIT_TAG: spec.name,
            **({} if spec.corpus_files == 1 else {FILES_TAG: _file_runs(spec)}),
            **({DEFAULT_PAD_TAG: spec.settings.tokenizer_base} if _judged_first(spec) else {}),
            **(
                {
                    "dagster/asset_partition_range_start": keys[0],
                    "dagster/asset_partition_range_end": keys[-1],
                }
                if len(keys) > 1
                else {"dagster/partition": keys[0]}
            ),
        },
        description=f"Everything from the corpus to {spec.name}/dataset, in one run.",
    )
    assets = [
        token_chunks_asset(spec, upstream),
        _pickle_shards(spec),
        _dataset(spec),
        report_assets(spec),
    ]
    checks = [transformers_check(spec)] if spec.matches_transformers else []
    return dg.Definitions(assets=assets, asset_checks=checks, jobs=[job])


def _judged_first(spec: SplitSpec) -> bool:
    """Whether the pad token is one to judge by the tokenizer before the corpus is fetched."""
    return not spec.pad_is_named and spec.tokenizer_asset is None  # which the same run may train


def _file_runs(spec: SplitSpec) -> str:
    """What has to be fetched before: the job, and ranges of its partitions."""
    runs: list[list[int]] = []
    for file in spec.files:
        if runs and file == runs[-1][1] + 1:
            runs[-1][1] = file
        else:
            runs.append([file, file])
    return " ".join([files_job(spec.corpus), *(f"{first}-{last}" for first, last in runs)])


def _corpus_dep(spec: SplitSpec) -> dg.AssetDep:
    """The chunks' dependency on the corpus, which has a partition a file if it has several."""
    key = dg.AssetKey([spec.corpus, "raw_parquet"])
    if spec.corpus_files == 1:
        return dg.AssetDep(key)
    chunks: dict[str, list[str]] = {}
    for chunk, chars in spec.chunk_ranges.items():
        chunks.setdefault(file_key(chars.file), []).append(chunk)
    return dg.AssetDep(key, partition_mapping=dg.StaticPartitionMapping(chunks))


def _pickle_shards(spec: SplitSpec) -> dg.AssetsDefinition:
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
            asset(shards_key, "pickle", _SAMPLES[:1], f"The samples of {spec.name} as dump-N.pkl."),
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
        reporter = Reporter(context.log.info, in_terminal=False)
        plan = open_split(spec, layout, split_tokenizer(spec, layout, reporter))
        chunks = require_all_chunks(spec, plan, layout)
        corpora = {file: read_corpus(spec.corpus_folder(layout, file)) for file in spec.files}
        published = _published(corpora, is_one=spec.corpus_files == 1)
        origin = origin_of(plan.tokenizer, chunks, _command(spec), published)
        started = time.monotonic()
        with open_staging(target) as staging:
            staged = assemble(plan, chunks, staging, origin, num_workers=chunk_executor.threads)
            for name, outcome in staged.outcomes.items():
                yield check_result(name, outcome, check_keys[name])
            if staged.dataset is not None:
                counts = [entry.num_samples for entry in staged.dataset.entries]
                known = check_known_counts(list(corpora.values()), plan.settings, counts)
                warn = dg.AssetCheckSeverity.WARN
                yield check_result("known_counts", known, meta_key, severity=warn)
            try:
                dataset = staged.publish()
            except CheckFailedError as error:  # a second try would make the same
                raise dg.Failure(str(error), allow_retries=False) from error
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
    return {
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


def _command(spec: SplitSpec) -> str:
    """The command that makes a split, with what the environment overrides of its YAML."""
    given = variables()
    overrides = [CORPUS_VARIABLE]
    own_tokenizer = switch_variable(spec.name, "tokenizer_base")
    if spec.tokenizer_asset is None and own_tokenizer not in given:
        overrides.append(TOKENIZER_VARIABLE)
    overrides += [switch_variable(spec.name, switch) for switch in spec.settings.as_dict()]
    set_here = [f"{name}={shlex.quote(given[name])}" for name in overrides if name in given]
    return " ".join([*set_here, "codedata", "materialize", spec.name])


def _published(corpora: Mapping[int, Corpus], *, is_one: bool) -> dict[str, Any]:
    """What identifies a corpus, elsewhere too where it is of the hub.

    Args:
        corpora: the files that the split takes, by number.
        is_one: whether the corpus has no more than one file, which needs no number.
    """
    if is_one:
        [corpus] = corpora.values()
        return _published_file(corpus)
    files = {file_key(file): _published_file(corpus) for file, corpus in corpora.items()}
    some, *others = files.values()
    # Files that were fetched at different times may be of different commits.
    shared = {
        name: some[name]
        for name in ("repo", "commit")
        if name in some and all(each.get(name) == some[name] for each in others)
    }
    return shared | {
        "files": {
            key: {name: value for name, value in each.items() if name not in shared}
            for key, each in files.items()
        }
    }


def _published_file(corpus: Corpus) -> dict[str, str]:
    origin = corpus.origin
    known = {name: origin[name] for name in ("repo", "path", "commit") if name in origin}
    known = known or {"path": corpus.path}
    if corpus.part is None:
        return {**known, "sha256": corpus.sha256}
    first = f"the first {corpus.part.num_chars}"
    return {**known, "characters": first, "fingerprint": corpus.sha256}


def require_all_chunks(spec: SplitSpec, plan: Plan, layout: Layout) -> list[TokenChunk]:
    """The stored chunks of the whole split, in order.

    Raises:
        ChunkMismatchError: some are missing or stale; the message lists their keys and the command
            that makes them.
    """
    tasks = chunk_tasks(spec, plan, layout, list(spec.chunk_ranges))
    chunks = stored_chunks(list(tasks.values()), root=layout.root)
    found = {chunk.chars for chunk in chunks}
    missing = [key for key, task in tasks.items() if task.chars not in found]
    if missing:
        raise ChunkMismatchError(
            f"{len(missing)} of {len(tasks)} chunks of {spec.name} are missing or stale "
            f"({', '.join(missing[:10])}{', ...' if len(missing) > 10 else ''}), so nothing was "
            f"published; `codedata materialize {spec.name}` makes them all and publishes"
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
                    "samples": entry.num_samples,
                    "tokens": entry.num_tokens,
                    "file": entry.chars.file if entry.chars else 0,
                    "characters": entry.chars.key if entry.chars else "",
                    "sha256": entry.sha256 or "",
                }
            )
            for index, entry in enumerate(dataset.entries)
        ]
    )


def _dataset(spec: SplitSpec) -> dg.AssetsDefinition:
    key = dg.AssetKey([spec.name, "dataset"])

    @dg.asset(
        key=key,
        deps=[[spec.name, "pickle_shards"], [spec.name, "meta_json"]],
        **spec.shown,
        kinds={"pytorch"},
        code_version="1",
        metadata={"dagster/column_schema": dg.TableSchema(columns=_SAMPLES)},
        description=f"{spec.description} Loads as a PickledTrainerDataset.",
        io_manager_key="dataset_io_manager",
        backfill_policy=SINGLE_RUN,
        check_specs=[
            dg.AssetCheckSpec(
                "shared_documents",
                asset=key,
                description="No document stands, byte for byte, in the splits that it is held out "
                "from too. Windows alone do not rule that out; the run goes on all the same.",
            )
        ],
    )
    def dataset(store: DataRoot) -> dg.MaterializeResult:
        outcome = _shared_documents(spec, store.layout)
        warn = dg.AssetCheckSeverity.WARN
        opened = open_once(store.layout.dataset(spec.name), verify=True)
        return dg.MaterializeResult(
            data_version=dg.DataVersion(opened.digest),
            check_results=[check_result("shared_documents", outcome, key, severity=warn)],
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


def _shared_documents(spec: SplitSpec, layout: Layout) -> CheckOutcome:
    """Look for documents that other splits have too; of those whose text is not here, say so."""
    if not spec.held_out_from:
        return CheckOutcome(
            passed=True, description="the split is held out from no other", numbers={}
        )
    others: dict[str, list[Window]] = {}
    not_here: dict[str, str] = {}
    for name, other in spec.held_out_from.items():
        try:
            others[name] = open_windows(layout, *other)
        except CorpusError as error:
            not_here[name] = str(error)
    try:
        own = open_windows(layout, spec.corpus, spec.corpus_files, spec.windows)
    except CorpusError as error:  # the dataset is whole without its corpus
        return CheckOutcome(passed=False, description=f"not compared: {error}", numbers={})
    return judge_shared(spec.name, find_shared(own, others), not_here)
