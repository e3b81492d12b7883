"""Token chunks -> samples, shards, facts and meta of a staged dataset, checked as it lies there.

Everything that was written is read once, from the disk, before it may be published; what is
published is what was checked.
"""

from collections.abc import Generator, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from contextlib import contextmanager
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path

from codedata.errors import DatasetError
from codedata.format.documents import DocumentCounts
from codedata.format.facts import (
    FACTS_NAME,
    Origin,
    Probe,
    TokenizerFacts,
    facts_of,
    parse_facts,
)
from codedata.format.fingerprint import CODE_VERSION, version_digest
from codedata.format.meta import ShardEntry
from codedata.format.ranges import CharRange
from codedata.format.without_paths import without_paths
from codedata.parallel import ChunkThreads, completed, map_in_order
from codedata.progress import Reporter
from codedata.recipe.settings import Settings
from codedata.run.checks import (
    CheckOutcome,
    check_dataset,
    check_shards,
    not_whole,
    num_samples_of,
    require_passed,
)
from codedata.run.document_checks import check_documents, check_documents_of
from codedata.run.packing import (
    PackedChunk,
    PackTask,
    ReadChunk,
    entries_there,
    first_shards,
    pack_and_read,
    pack_chunk,
)
from codedata.run.plan import ChunkTask, Plan
from codedata.run.tokenize import result_of
from codedata.store.chunks import TokenChunk
from codedata.store.dataset_folder import Dataset
from codedata.store.publishing import Staging, open_staging
from codedata.store.versions import DatasetLog, ObjectStage, Version
from codedata.tokenize.engines.base import reference_ids
from codedata.tokenize.probe import PROBE, PROBE_SHA256
from codedata.tokenize.remembered import place_of, remember_tokenizer
from codedata.tokenize.stored_tokenizer import StoredTokenizer
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.tokenizer_files import TokenizerFiles


@dataclass(frozen=True, kw_only=True)
class StagedDataset:
    """A dataset that is written and checked, but not published.

    Attributes:
        staging: where it lies.
        plan: what it was made by.
        dataset: opened where it lies; None where its integrity does not hold.
        outcomes: of its checks, by name; if one failed, it is not published.
    """

    staging: Staging
    plan: Plan
    dataset: Dataset | None
    outcomes: Mapping[str, CheckOutcome]

    @property
    def entries(self) -> Sequence[ShardEntry]:
        """What its meta says of each shard; none where its integrity does not hold."""
        return self.dataset.entries if self.dataset is not None else ()

    def publish(self) -> Dataset:
        """Put it in its target's place, and remove the dataset that was there.

        Returns:
            The published dataset; what was read to check it is not read again.

        Raises:
            CheckFailedError: it did not pass a check; nothing is published.
            TargetError: see `Staging.publish`.
        """
        require_passed(self.outcomes)
        assert self.dataset is not None, "without one, integrity has failed"
        self.staging.publish()
        remember_tokenizer(self.plan.tokenizer)
        return replace(self.dataset, folder=self.staging.target)


@dataclass(frozen=True, kw_only=True)
class StagedVersion:
    """A dataset whose shards are in an object store and were read back, but not published.

    Attributes:
        stage: where it lies.
        plan: what it was made by.
        entries: what its meta is to say of each shard; none where its integrity does not hold.
        outcomes: of its checks, by name; if one failed, it is not published.
        has_meta: whether exactly that meta was there when packing began. It must be there still,
            since a prune takes it first: it is not written again.
    """

    stage: ObjectStage
    plan: Plan
    entries: Sequence[ShardEntry]
    outcomes: Mapping[str, CheckOutcome]
    has_meta: bool = False

    def publish(self) -> Version:
        """Write its meta, and make it the dataset's newest version.

        Raises:
            CheckFailedError: it did not pass a check; nothing is published.
            StoreError: see `ObjectStage.publish`.
        """
        require_passed(self.outcomes)
        if not self.has_meta:
            self.stage.add_meta(self.entries)
        published = self.stage.publish()
        remember_tokenizer(self.plan.tokenizer)
        return published


def assemble(
    plan: Plan,
    chunks: Sequence[TokenChunk],
    staging: Staging,
    origin: Origin,
    *,
    num_workers: int,
) -> StagedDataset:
    """Pack chunks into samples, write shards, facts, card and meta, and check them.

    Args:
        plan: of the run.
        chunks: all of the plan's, in the order of their characters.
        staging: where the dataset is written.
        origin: for the facts, which others get to see: without paths.
        num_workers: chunks packed at a time.

    Raises:
        ChunkMismatchError: one is damaged, or they are not those of the plan.
        CorpusError: they give no sample at all.
        SettingsError: they give more shards than a dataset may have.
    """
    settings, recipe = plan.settings, plan.recipe
    firsts = first_shards(plan, chunks)

    def pack(chunk_and_first: tuple[TokenChunk, int]) -> PackedChunk:
        return pack_chunk(settings, recipe, staging, *chunk_and_first)

    with ChunkThreads(num_workers) as threads:
        packed = [*map_in_order(threads, pack, zip(chunks, firsts, strict=True))]
    entries = [entry for each in packed for entry in each.entries]
    facts = facts_of(
        origin,
        name=staging.target.name,
        switches=settings.as_dict(),
        entries=entries,
        recipe=None if recipe is None else recipe.recipe.as_dict(),
        documents=total_of(each.counts for each in packed),
    )
    staging.add_facts(without_paths(facts))
    staging.add_meta(entries)
    dataset, outcomes = check_dataset(staging.stage, chunks, settings, plan.engine.vocab_size)
    if recipe is not None and dataset is not None:
        tasks, packing = tasks_of(plan, chunks), recipe.recipe.packing
        outcomes |= check_documents_of(dataset, tasks, chunks, settings, packing)
    return StagedDataset(staging=staging, plan=plan, dataset=dataset, outcomes=outcomes)


def assemble_version(
    plan: Plan,
    chunks: Sequence[TokenChunk],
    log: DatasetLog,
    origin: Origin,
    executor: Executor,
    reporter: Reporter,
    *,
    tokenizer: StoredTokenizer | None = None,
) -> StagedVersion:
    """Have workers pack chunks into an object store and read back what is there; check that.

    Args:
        plan: of the run.
        chunks: all of the plan's, in the order of their characters.
        log: the versions of the dataset.
        origin: for the facts, which others get to see: without paths.
        executor: that packs.
        reporter: told how far it is.
        tokenizer: the plan's, for workers that do not see its files.

    Raises:
        ChunkMismatchError, CorpusError, SettingsError: see `assemble`.
        WorkerError: memory ran out, or workers died.
    """
    settings, recipe, name = plan.settings, plan.recipe, log.store.url.rpartition("/")[2]
    firsts = first_shards(plan, chunks)
    folder = version_digest(
        ((each.fingerprint, each.ids_sha256, each.num_tokens) for each in chunks),
        seq_length=settings.seq_length,
        min_sample_length=settings.min_sample_length,
        max_dump_size=settings.max_dump_size,
        pad_id=settings.pad_id,
        # Sidecars of the documents are parquets, as this release of Arrow writes them.
        documents=None if recipe is None else [*recipe.packing_facts(), version("pyarrow")],
    )
    stage = log.stage(folder)
    there = entries_there(stage)
    tasks = [
        PackTask(
            settings=settings,
            task=task,
            stage=stage,
            chunk=chunk,
            first_shard=first,
            entries=there[first:stop],
        )
        for task, chunk, first, stop in zip(
            tasks_of(plan, chunks, tokenizer), chunks, firsts, [*firsts[1:], None], strict=True
        )
        if recipe is not None or num_samples_of(settings, chunk)
    ]
    done: dict[CharRange, ReadChunk] = {}
    try:
        with reporter.packing(name, num_chunks=len(tasks)) as count:
            for task, future in completed(executor, pack_and_read, tasks):
                done[task.chunk.chars] = found = result_of(future, task.where)
                count(sum(entry.num_tokens for entry in found.entries))
    except DatasetError as error:
        return StagedVersion(stage=stage, plan=plan, entries=(), outcomes=not_whole(str(error)))
    read = [done[task.chunk.chars] for task in tasks]  # as their shards are numbered
    entries = [entry for each in read for entry in each.entries]
    found = [each.documents for each in read if each.documents is not None]
    counts = total_of(each.counts for each in found)
    facts = facts_of(
        origin,
        name=name,
        switches=settings.as_dict(),
        entries=entries,
        recipe=None if recipe is None else recipe.recipe.as_dict(),
        documents=counts,
    )
    stage.add_facts(without_paths(facts))
    shards = [shard for each in read for shard in each.shards]
    outcomes = check_shards(entries, shards, chunks, settings, plan.engine.vocab_size)
    if recipe is not None:
        staged_facts = parse_facts(stage.snapshot().read(FACTS_NAME))
        outcomes |= check_documents(
            found, chunks, staged_facts.documents, settings, recipe.recipe.packing
        )
    return StagedVersion(
        stage=stage,
        plan=plan,
        entries=entries,
        outcomes=outcomes,
        has_meta=entries == [*there],
    )


def tasks_of(
    plan: Plan, chunks: Sequence[TokenChunk], tokenizer: StoredTokenizer | None = None
) -> list[ChunkTask]:
    """The tasks that made the chunks of a plan, in their order."""
    stores = {chunk.chars.file: chunk.store for chunk in chunks}
    return plan.tasks(stores.__getitem__, tokenizer=tokenizer)


def total_of(counts: Iterable[DocumentCounts | None]) -> DocumentCounts | None:
    """What became of the documents of all chunks; None in the reference mode."""
    known = [each for each in counts if each is not None]
    return sum(known, DocumentCounts()) if known else None


@contextmanager
def staged(
    place: Path | DatasetLog,
    plan: Plan,
    chunks: Sequence[TokenChunk],
    origin: Origin,
    executor: Executor,
    reporter: Reporter,
    *,
    num_workers: int,
    tokenizer: StoredTokenizer | None = None,
) -> Generator[StagedDataset | StagedVersion]:
    """The dataset of a plan, written and checked where it is to be published.

    Args:
        place: the folder, as `check_target` returned it, whose lock is held meanwhile; or the
            versions of a dataset in an object store.
        plan: of the run.
        chunks: all of the plan's, in the order of their characters.
        origin: for the facts.
        executor: that packs into an object store.
        reporter: told how far it is.
        num_workers: threads of this process that pack into a folder.
        tokenizer: the plan's, for workers that do not see its files.
    """
    if isinstance(place, DatasetLog):
        yield assemble_version(plan, chunks, place, origin, executor, reporter, tokenizer=tokenizer)
        return
    with open_staging(place) as staging:
        yield assemble(plan, chunks, staging, origin, num_workers=num_workers)


def count_padding(settings: Settings, chunk: TokenChunk) -> int:
    """Pad tokens that the samples of a chunk have."""
    return max(0, num_samples_of(settings, chunk) * settings.seq_length - chunk.num_tokens)


def origin_of(
    tokenizer: TokenizerFiles,
    chunks: Sequence[TokenChunk],
    command: str,
    corpus: Mapping[str, str],
    files: Mapping[int, Mapping[str, str]] | None = None,
) -> Origin:
    """What a dataset is made of, for its facts.

    Args:
        tokenizer: its files.
        chunks: which the dataset is packed from.
        command: that repeats it.
        corpus: what identifies the corpus; a `path` without a `repo` is one of this machine.
        files: what identifies each of its files, by number, where it has several.
    """
    return Origin(
        corpus=corpus,
        files=files or {},
        tokenizer=TokenizerFacts(
            source=place_of(tokenizer),
            sha256=tokenizer.fingerprint,
            revision=tokenizer.revision,
            probe=Probe(
                text_sha256=PROBE_SHA256, ids=tuple(reference_ids(load_tokenizer(tokenizer), PROBE))
            ),
        ),
        engine=", ".join(sorted({chunk.engine for chunk in chunks})),
        versions={
            "codedata": version("codedata"),
            "ids": str(CODE_VERSION),
            "tokenizers": version("tokenizers"),
        },
        command=command,
    )
