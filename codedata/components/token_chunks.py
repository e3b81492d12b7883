"""The asset `<split>/token_chunks`: a partition a chunk or a file, tokenized or reused, checked."""

from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from typing import Any

import dagster as dg
from pydantic import Field

from codedata.components import documents_shown
from codedata.components.raw_corpus import MANY_FILES
from codedata.components.report_assets import begin_imports
from codedata.components.shown import with_separators
from codedata.components.split_partitions import record_partitions
from codedata.components.split_parts import windows_by_corpus
from codedata.components.split_spec import (
    SplitSpec,
    check_result,
    chunk_tasks,
    open_split,
    split_tokenizer,
)
from codedata.components.transformers_check import begin_comparison, makes_whole_split
from codedata.errors import ExactnessError
from codedata.format.documents import CONTROL_TOKENS, KEPT
from codedata.format.ranges import CharRange
from codedata.parallel import ChunkThreads, peak_memory_bytes
from codedata.progress import reporter_of_run, rounded
from codedata.resources import ChunkExecutor, DataRoot
from codedata.run.checks import CheckOutcome, bounds_of, check_all_ids, check_compared
from codedata.run.compared import note, recall
from codedata.run.plan import Plan
from codedata.run.tokenize import tokenize
from codedata.store.chunks import TokenChunk
from codedata.store.roots import require_conditional_writes

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
    schema, what, belongs = _SCHEMA, "The ids of each chunk of {}'s window", ""
    if spec.recipe is not None:
        schema = dg.TableSchema(columns=documents_shown.CHUNK)
        what = "The documents that begin in each chunk of {}'s window, as ids"
        belongs = documents_shown.BEGINS_IN

    def check(name: str, description: str) -> dg.AssetCheckSpec:
        return dg.AssetCheckSpec(name, asset=key, blocking=True, description=description)

    @dg.asset(
        key=key,
        deps=upstream,
        **spec.shown,
        kinds={"arrow", "huggingface"},
        metadata={"dagster/column_schema": schema},
        description=f"{what.format(spec.name)}, one partition a {spec.partitions}. Unchanged "
        "chunks are reused.",
        partitions_def=dg.StaticPartitionsDefinition(spec.partition_keys),
        backfill_policy=dg.BackfillPolicy(spec.partitions_per_run),
        code_version=spec.chunks_version,
        check_specs=[
            check(
                "held_out",
                "The windows share no characters of a file with the splits it is held out from; "
                "whether a document stands in both is told by shared_documents of the dataset."
                f"{belongs}",
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
        store: DataRoot,
        chunk_executor: ChunkExecutor,
        config: ChunkConfig,
    ) -> Iterator[Any]:
        yield _passed("held_out", *_held_out_report(spec))
        layout, reporter = store.layout, reporter_of_run(context.log.info)
        require_conditional_writes(layout)
        keys = context.partition_keys
        files = {spec.file_of(key) for key in keys}
        with reporter.step(f"preparing {spec.name}"):
            tokenizer = split_tokenizer(spec, layout, reporter, update=config.update)
            if makes_whole_split(spec, context):
                begin_comparison(spec, layout, tokenizer, chunk_executor)
            plan = open_split(spec, layout, tokenizer, files=files, engine=chunk_executor.engine)
            threads = chunk_executor.threads_a_chunk
            partitions = chunk_tasks(spec, plan, layout, keys, threads=threads)
            tasks = [task for each in partitions.values() for task in each]
            recall(tasks)
        made = _MadeChunks(context, key, spec)
        begin_imports(spec, context)
        try:
            with chunk_executor.executor(layout, reporter) as executor:
                for chunk, is_reused in tokenize(
                    plan,
                    tasks,
                    executor,
                    reporter,
                    root=None if layout.url else layout.root,
                    name=spec.name,
                    force=config.force,
                    begin=partial(record_partitions, layout, spec.name, spec.partitions),
                ):
                    made.add(chunk, is_reused=is_reused)
        except BaseException as error:
            made.log_finished()
            if isinstance(error, ExactnessError):
                outcome = CheckOutcome(passed=False, description=str(error), numbers={})
                yield check_result("matches_library", outcome)
            raise
        note(made.chunks)
        yield _fidelity(context, plan)
        with reporter.step(f"checking the ids of {spec.name}"):
            yield from made.events(plan.engine.vocab_size, chunk_executor.threads)
        # Dagster stores it with each partition.
        peak = {"peak memory (MB)": rounded(peak_memory_bytes() / 1e6)}
        watched = getattr(executor, "dashboard", None)
        told = {**peak, **({"Dask": dg.MetadataValue.url(watched)} if watched else {})}
        metadata = {} if spec.partitions == "file" and len(spec.files) >= MANY_FILES else told
        yield dg.MaterializeResult(asset_key=key, metadata=metadata)

    return token_chunks


def _fidelity(context: dg.AssetExecutionContext, plan: Plan) -> dg.AssetCheckResult:
    """That the plan's tokenizer and engine passed their trial, and which they are."""
    said = f"{plan.engine.name}: {plan.engine.reason}"
    context.log.info(f"engine {said}")
    numbers = {"tokenizer": plan.tokenizer.fingerprint, "vocabulary": plan.engine.vocab_size}
    commit = {"commit": plan.tokenizer.revision} if plan.tokenizer.revision else {}
    return _passed("tokenizer_fidelity", said, {**numbers, **commit})


def _passed(name: str, description: str, numbers: dict[str, Any]) -> dg.AssetCheckResult:
    return check_result(name, CheckOutcome(passed=True, description=description, numbers=numbers))


def _held_out_report(spec: SplitSpec) -> tuple[str, dict[str, Any]]:
    """What the configuration, validated when the code location loaded, says of shared windows."""
    numbers: dict[str, Any] = {}
    for part in spec.parts:
        of_corpus = f"{part.corpus}: " if len(spec.parts) > 1 else ""
        taken = {"": part.windows, **windows_by_corpus(part, spec.held_out_from)}
        for name, windows in taken.items():
            who = of_corpus + (f"{name} " if name else "")
            numbers |= {f"{who}start": windows[0].start, f"{who}stop": _stop_of(windows[0])}
            if len(windows) > 1:
                numbers[f"{who}files"] = len(windows)
    if not spec.held_out_from:
        return "the split is held out from no other", numbers
    return f"shares no characters with {', '.join(spec.held_out_from)}", numbers


def _stop_of(window: CharRange) -> int | str:
    return "end of the text" if window.is_open else window.stop


class _MadeChunks:
    """The chunks of one run, made or reused, as they are reported per partition."""

    def __init__(
        self, context: dg.AssetExecutionContext, key: dg.AssetKey, spec: SplitSpec
    ) -> None:
        self._context = context
        self._key = key
        self._spec = spec
        self._chunks: dict[str, list[TokenChunk]] = {}
        self._reused: set[CharRange] = set()
        self._documents: dict[CharRange, tuple[int, int] | None] = {}

    @property
    def chunks(self) -> list[TokenChunk]:
        """Those that are finished, in order."""
        chunks = (chunk for each in self._chunks.values() for chunk in each)
        return sorted(chunks, key=lambda chunk: (chunk.chars.file, chunk.chars.start))

    def add(self, chunk: TokenChunk, *, is_reused: bool) -> None:
        """Take a finished chunk."""
        self._chunks.setdefault(self._spec.partition_of(chunk.chars), []).append(chunk)
        if is_reused:
            self._reused.add(chunk.chars)

    def log_finished(self) -> None:
        """Record the finished chunks of a run that fails."""
        for partition in self._context.partition_keys:
            if partition in self._chunks:
                self._context.log_event(
                    dg.AssetMaterialization(
                        self._key, partition=partition, metadata=self._metadata(partition)
                    )
                )

    def _metadata(self, partition: str) -> dict[str, Any]:
        chunks = self._chunks.get(partition)
        if not chunks:
            return {"tokens": 0, "characters": 0, "reused": False}
        num_tokens = sum(chunk.num_tokens for chunk in chunks)
        num_chars = sum(chunk.chars.num_chars for chunk in chunks)
        seconds = sum(chunk.seconds for chunk in chunks)
        num_reused = sum(chunk.chars in self._reused for chunk in chunks)
        engine = ", ".join(sorted({chunk.engine for chunk in chunks}))
        is_file = self._spec.partitions == "file"
        if is_file and len(self._spec.files) >= MANY_FILES:  # two of them fit into a page of SQLite
            said = f"{num_tokens:,} tokens, {num_chars:,} characters, {len(chunks)} chunks"
            return {"in short": f"{said} ({num_reused} reused), {engine}, {rounded(seconds)} s"}
        documents = [each for c in chunks if (each := self._documents.get(c.chars)) is not None]
        figures = {
            **_summed(documents),
            "tokens": num_tokens,
            "characters": num_chars,
            "seconds": rounded(seconds),
            "tokens per character": rounded(num_tokens / num_chars),
            "M characters/s": rounded(num_chars / max(seconds, 1e-9) / 1e6),
            "reused": num_reused == len(chunks),
            "engine": engine,
        }
        if is_file:
            figures |= {"chunks": len(chunks), "chunks reused": num_reused}
        else:
            path = dg.MetadataValue.path(chunks[0].where)
            figures |= {"sha256": chunks[0].ids_sha256, "path": path}
        return with_separators(figures)

    def events(self, vocab_size: int, num_workers: int) -> Iterator[Any]:
        """Metadata of each partition, and the id check of all; where it fails, of each that does.

        An evaluation of each partition that passes would take Dagster longer than the check.
        """
        chunks = self.chunks
        yield check_result("matches_library", check_compared(chunks))
        with ChunkThreads(num_workers) as threads:  # that read while partitions are recorded
            if self._spec.recipe is not None:
                of_each = threads.map(_count_documents, chunks)
                self._documents = dict(zip([each.chars for each in chunks], of_each, strict=True))
            found = threads.map(_bounds, chunks)
            for partition in self._context.partition_keys:
                self._context.add_asset_metadata(self._metadata(partition), partition_key=partition)
            bounds: dict[str, tuple[int, int]] = {}
            for chunk, (low, high) in zip(chunks, found, strict=True):
                partition = self._spec.partition_of(chunk.chars)
                least, most = bounds.get(partition, (low, high))
                bounds[partition] = min(low, least), max(high, most)
        outcome, failed = check_all_ids(bounds, vocab_size)
        for partition, each in failed.items():
            yield dg.AssetCheckEvaluation(
                asset_key=self._key,
                check_name="token_ids",
                passed=False,
                description=each.description,
                metadata=each.numbers,
                blocking=True,
                partition=partition,
            )
        yield check_result("token_ids", outcome)


def _bounds(chunk: TokenChunk) -> tuple[int, int]:
    return chunk.bounds or bounds_of(chunk.read_ids())


def _count_documents(chunk: TokenChunk) -> tuple[int, int] | None:
    """Documents of a chunk that are kept, and dropped; None of one that is not read for it."""
    if chunk.bounds is not None:  # in an object store
        return None
    counts = Counter(chunk.read_documents().table.column("decision").to_pylist())
    return counts[KEPT], counts[CONTROL_TOKENS]


def _summed(documents: Sequence[tuple[int, int]]) -> dict[str, int]:
    """What is shown of the documents of chunks; nothing of unread ones."""
    if not documents:
        return {}
    kept, dropped = map(sum, zip(*documents, strict=True))
    return {"documents": kept, "documents dropped": dropped}
