"""The asset `<split>/token_chunks`: a partition a chunk, tokenized or reused, logged, checked."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
from pydantic import Field
from tqdm import tqdm

from codedata.components.split_spec import (
    SINGLE_RUN,
    SplitSpec,
    check_result,
    chunk_tasks,
    open_split,
    split_tokenizer,
)
from codedata.components.transformers_check import begin_comparison, makes_whole_split
from codedata.errors import ExactnessError
from codedata.format.ranges import CharRange
from codedata.parallel import peak_memory_bytes
from codedata.progress import SHOW_BARS, ChunkProgress, Reporter, rounded
from codedata.resources import ChunkExecutor, Store
from codedata.run.checks import CheckOutcome, check_compared, check_ids
from codedata.run.pipeline import (
    ChunkTask,
    Inputs,
    require_disk_space,
    stored_chunks,
    tokenize_chunks,
)
from codedata.store.chunks import TokenChunk
from codedata.store.files import remove_leftovers

_ABANDONED_SECONDS = 3600.0
"""A chunk takes a second to write; another run may be writing one just now."""

_SCHEMA = dg.TableSchema(
    columns=[dg.TableColumn("input_ids", "uint16 or int32", "The ids of the chunk, one a row.")]
)


class ChunkConfig(dg.Config):
    """Launch-time choices of token_chunks."""

    force: bool = Field(default=False, description="Tokenize again what is stored and right.")
    update: bool = Field(
        default=False,
        description="Take the newest commit of a hub tokenizer, not the one kept here.",
    )


def token_chunks_asset(spec: SplitSpec, upstream: list[dg.AssetDep]) -> dg.AssetsDefinition:
    """The asset of a split, downstream of its corpus and tokenizer."""
    key = dg.AssetKey([spec.name, "token_chunks"])

    def check(name: str, description: str) -> dg.AssetCheckSpec:
        return dg.AssetCheckSpec(name, asset=key, blocking=True, description=description)

    @dg.asset(
        key=key,
        deps=upstream,
        **spec.shown,
        kinds={"arrow", "huggingface"},
        metadata={"dagster/column_schema": _SCHEMA},
        description=f"The ids of each chunk of {spec.name}'s window, one partition a chunk. "
        "Unchanged chunks are reused.",
        partitions_def=dg.StaticPartitionsDefinition(list(spec.chunk_ranges)),
        backfill_policy=SINGLE_RUN,
        code_version=spec.code_version(
            "tokenizer_base", "starting_character", "chars_to_tokenize", "chunk_size"
        ),
        check_specs=[
            check(
                "held_out",
                "The windows share no characters of a file with the splits it is held out from; "
                "whether a document stands in both is told by shared_documents of the dataset.",
            ),
            check("tokenizer_fidelity", "The ids are the tokenizer's own and decode to the text."),
            check(
                "matches_library",
                "A sample of each chunk, tokenized again by the tokenizers library, has these ids.",
            ),
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
        layout, reporter = store.layout, Reporter(context.log.info, in_terminal=SHOW_BARS.get())
        files = split_tokenizer(spec, layout, reporter, update=config.update)
        if makes_whole_split(spec, context):
            begin_comparison(spec, layout, files, chunk_executor)
        inputs = open_split(
            spec,
            layout,
            files,
            files={spec.chunk_ranges[key].file for key in context.partition_keys},
            engine=chunk_executor.engine,
        )
        for of_file in inputs.values():
            of_file.require_fidelity()
        some = next(iter(inputs.values()))
        engine, tokenizer = some.engine, some.tokenizer
        context.log.info(f"engine {engine.name}: {engine.reason}")
        commit = {"commit": tokenizer.revision} if tokenizer.revision else {}
        yield _passed(
            "tokenizer_fidelity",
            f"{engine.name}: {engine.reason}",
            {"tokenizer": tokenizer.fingerprint, "vocabulary": engine.vocab_size, **commit},
        )
        threads = chunk_executor.threads
        tasks = chunk_tasks(spec, inputs, layout, context.partition_keys, threads=threads)
        run = _ChunkRun(context, key, inputs, tasks, root=layout.root, force=config.force)
        try:
            run.tokenize(chunk_executor)
        except ExactnessError as error:
            outcome = CheckOutcome(passed=False, description=str(error), numbers={})
            yield check_result("matches_library", outcome)
            raise
        yield from run.events(context.partition_keys)
        yield dg.MaterializeResult(
            asset_key=key, metadata={"peak memory (MB)": rounded(peak_memory_bytes() / 1e6)}
        )

    return token_chunks


def _passed(name: str, description: str, numbers: dict[str, Any]) -> dg.AssetCheckResult:
    return check_result(name, CheckOutcome(passed=True, description=description, numbers=numbers))


def _held_out_report(spec: SplitSpec) -> tuple[str, dict[str, Any]]:
    """What the configuration, validated when the code location loaded, says of shared windows."""
    window = spec.settings.window
    numbers: dict[str, Any] = {"start": window.start, "stop": window.stop}
    if len(spec.files) > 1:
        numbers["files"] = len(spec.files)
    for name, other in spec.held_out_from.items():
        if other.corpus != spec.corpus:
            continue
        others = other.windows
        numbers |= {f"{name} start": others[0].start, f"{name} stop": others[0].stop}
        if len(others) > 1:
            numbers[f"{name} files"] = len(others)
    if not spec.held_out_from:
        return "the split is held out from no other", numbers
    return f"shares no characters with {', '.join(spec.held_out_from)}", numbers


class _ChunkRun:
    """The chunks of one run: tokenized or reused, logged, and reported per partition."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        key: dg.AssetKey,
        inputs: Mapping[int, Inputs],
        tasks: dict[str, ChunkTask],
        *,
        root: Path,
        force: bool,
    ) -> None:
        self.context = context
        self.key = key
        self.root = root
        self.inputs = inputs
        self.tasks = tasks
        for folder in {task.folder for task in tasks.values()}:
            remove_leftovers(folder, older_than=_ABANDONED_SECONDS)
        stored = [] if force else stored_chunks(list(tasks.values()), root=root)
        self.reused = {chunk.chars for chunk in stored}
        self.chunks: dict[CharRange, TokenChunk] = {chunk.chars: chunk for chunk in stored}

    def tokenize(self, chunk_executor: ChunkExecutor) -> None:
        """Make the missing chunks; those that are done are recorded even if one fails."""
        missing = [
            task for task in self.tasks.values() if task.fingerprint.chars not in self.chunks
        ]
        require_disk_space(list(self.inputs.values()), missing, self.root)
        self.context.log.info(
            f"{len(self.reused)} of {len(self.tasks)} chunks are unchanged and reused, "
            f"{len(missing)} to tokenize"
        )
        num_chars = sum(task.fingerprint.chars.num_chars for task in missing)
        progress = ChunkProgress(len(self.tasks), len(self.reused), num_chars)
        try:
            with self._bar(num_chars) as bar, chunk_executor.executor() as executor:
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
            "tokens per character": rounded(chunk.num_tokens / chunk.chars.num_chars),
            "seconds": rounded(chunk.seconds),
            "M characters/s": rounded(chunk.chars.num_chars / max(chunk.seconds, 1e-9) / 1e6),
            "reused": chunk.chars in self.reused,
            "engine": chunk.engine,
            "sha256": chunk.ids_sha256,
            "path": dg.MetadataValue.path(str(chunk.path)),
        }

    def events(self, keys: Sequence[str]) -> Iterator[Any]:
        """Metadata and the id check of each partition, and the closing check over all."""
        vocab_size = next(iter(self.inputs.values())).engine.vocab_size
        yield check_result("matches_library", check_compared(list(self.chunks.values())))
        lows: list[int] = []
        highs: list[int] = []
        for key in keys:
            chunk = self._chunk(key)
            self.context.add_asset_metadata(self._metadata(chunk), partition_key=key)
            if chunk is None:
                continue
            ids = chunk.read_ids()
            low, high = (int(ids.min()), int(ids.max())) if len(ids) else (0, 0)
            outcome = check_ids(low, high, vocab_size)
            lows.append(low)
            highs.append(high)
            yield dg.AssetCheckEvaluation(
                asset_key=self.key,
                check_name="token_ids",
                passed=outcome.passed,
                description=outcome.description,
                metadata=outcome.numbers,
                blocking=True,
                partition=key,
            )
        over_all = check_ids(min(lows, default=0), max(highs, default=0), vocab_size)
        yield check_result("token_ids", over_all)
