"""One chunk -> its shards, where they are staged, and what is found of them there.

The numbers of a chunk's shards follow from the counts of the chunks before it, so chunks are packed
in any order and by any worker. What a worker puts into an object store it reads back at once, every
byte: what may be published is what was found there.
"""

from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from itertools import accumulate, zip_longest
from typing import BinaryIO

import numpy as np

from codedata.errors import ChunkMismatchError, CorpusError, DatasetError, SettingsError
from codedata.format.document_packing import pack_documents
from codedata.format.documents import DocumentCounts
from codedata.format.meta import (
    MAX_SHARDS,
    META_NAME,
    ShardEntry,
    documents_name,
    parse_meta,
    shard_name,
    spans_name,
)
from codedata.format.order import permutation
from codedata.format.packing import IdArray, pack_samples, split_shards
from codedata.format.shards import Bytes, encode_shard
from codedata.format.sidecars import encode_documents
from codedata.format.spans import encode_spans
from codedata.recipe.documents import DocumentRecipe, ResolvedRecipe
from codedata.recipe.settings import Settings
from codedata.run.checks import FoundShard, num_samples_of
from codedata.run.document_checks import check_chunk
from codedata.run.found_documents import FoundDocuments, ShardOfDocuments
from codedata.run.plan import ChunkTask, Plan
from codedata.store.base import Stage
from codedata.store.chunks import TokenChunk
from codedata.store.shard_contents import read_documents, read_shard, read_spans
from codedata.store.versions import ObjectStage


@dataclass(frozen=True, kw_only=True)
class PackTask:
    """One chunk to pack into an object store.

    Attributes:
        settings: the switches.
        task: which made the chunk.
        stage: where its shards go.
        chunk: as it is stored.
        first_shard: the number of its first shard.
        entries: what an earlier run's meta says of its shards; none where there is no such meta.
    """

    settings: Settings
    task: ChunkTask
    stage: ObjectStage
    chunk: TokenChunk
    first_shard: int
    entries: Sequence[ShardEntry] = ()

    @property
    def are_its_own(self) -> bool:
        """Whether the entries are those of this chunk's shards."""
        num_samples = sum(entry.num_samples for entry in self.entries)
        of_chunk = all(entry.chars == self.chunk.chars for entry in self.entries)
        return of_chunk and num_samples == num_samples_of(self.settings, self.chunk)

    @property
    def where(self) -> str:
        """The chunk, for messages."""
        return f"chunk {self.chunk.where}"


@dataclass(frozen=True, kw_only=True)
class PackedChunk:
    """What is known of a chunk's shards.

    Attributes:
        entries: what the meta is to say of each.
        counts: what became of the chunk's documents; None in the reference mode.
    """

    entries: Sequence[ShardEntry]
    counts: DocumentCounts | None = None


@dataclass(frozen=True, kw_only=True)
class ReadChunk:
    """What was found of a chunk's shards where they were put.

    Attributes:
        entries: what the meta is to say of each.
        shards: what was found of each.
        documents: what was found of the chunk's documents; None in the reference mode.
    """

    entries: Sequence[ShardEntry]
    shards: Sequence[FoundShard]
    documents: FoundDocuments | None = None


def first_shards(plan: Plan, chunks: Sequence[TokenChunk]) -> list[int]:
    """The number of the first shard of each chunk.

    Args:
        plan: of the run.
        chunks: all of the plan's, in the order of their characters.

    Raises:
        ChunkMismatchError: they are not those of the plan.
        CorpusError: they give no sample at all.
        SettingsError: they give more shards than a dataset may have.
    """
    settings = plan.settings
    for chunk, wanted in zip_longest(chunks, plan.fingerprints):
        if chunk is None or chunk.fingerprint != wanted:
            which = "a chunk is missing" if chunk is None else f"chunk {chunk.chars.key} is another"
            raise ChunkMismatchError(
                f"{which}: of other text, or by another tokenizer or code; run again"
            )
    num_shards = [-(-num_samples_of(settings, chunk) // settings.max_dump_size) for chunk in chunks]
    *firsts, total = accumulate(num_shards, initial=0)
    if total > MAX_SHARDS:
        raise SettingsError(
            f"the samples would fill {total:,} shards, more than the {MAX_SHARDS:,} that a dataset "
            f"may have; choose a larger max_dump_size ({settings.max_dump_size}) or chunk_size "
            f"({settings.chunk_size})"
        )
    if not total:
        tokens = max(chunk.num_tokens for chunk in chunks)
        if plan.recipe is not None and not tokens:
            raise CorpusError(
                f"in the {len(chunks)} chunks of the window no document begins that is kept: none "
                "begins there at all, or each is empty or has a control token "
                "(recipe.documents.control_tokens)"
            )
        raise CorpusError(
            f"the {len(chunks)} chunks of the window give no sample: the longest has {tokens} "
            f"tokens, and one must have more than min_sample_length ({settings.min_sample_length})"
        )
    return firsts


def pack_chunk(
    settings: Settings,
    recipe: ResolvedRecipe | None,
    stage: Stage,
    chunk: TokenChunk,
    first_shard: int,
) -> PackedChunk:
    """Pack a chunk and write its shards, numbered from `first_shard` on.

    Raises:
        ChunkMismatchError: it is damaged.
    """
    if recipe is not None:
        return _pack_documents(settings, recipe.recipe, stage, chunk, first_shard)
    ids, pad_token, seq_length = chunk.read_ids(), settings.pad_id, settings.seq_length
    samples = pack_samples(
        ids,
        seq_length=seq_length,
        min_sample_length=settings.min_sample_length,
        pad_token=pad_token,
    )
    entries: list[ShardEntry] = []
    num_packed = 0
    for index, some in enumerate(split_shards(samples, settings.max_dump_size), first_shard):
        num_packed += some.size
        hashed = sha256()
        pieces = encode_shard(some, pad_token=pad_token)
        stage.add_shard(index, partial(_write_hashed, pieces, hashed.update))
        entry = ShardEntry(
            num_samples=len(some),
            num_tokens=some.size,
            sha256=hashed.hexdigest(),
            chars=chunk.chars,
            last_sample_tokens=seq_length - max(0, num_packed - len(ids)),
        )
        entries.append(entry)
    return PackedChunk(entries=entries)


def _pack_documents(
    settings: Settings, recipe: DocumentRecipe, stage: Stage, chunk: TokenChunk, first_shard: int
) -> PackedChunk:
    """`pack_chunk` of a split with a recipe: beside each shard go its spans and documents.

    A document of the chunk that no shard has is named beside its first one.
    """
    documents, order = chunk.read_documents(), None
    if recipe.order == "shuffled":
        key = (chunk.chars.file, chunk.chars.start)
        order = permutation(documents.table.num_rows, recipe.order_seed, *key)
    packed = pack_documents(
        documents,
        packing=recipe.packing,
        order=order,
        seq_length=settings.seq_length,
        min_sample_length=settings.min_sample_length,
        pad_token=settings.pad_id,
    )
    nowhere = np.setdiff1d(np.arange(int(documents.table.num_rows)), packed.spans[:, 3])
    entries: list[ShardEntry] = []
    for index, (samples, spans) in enumerate(packed.shards(settings.max_dump_size), first_shard):
        rows = np.union1d(spans[:, 3], nowhere if index == first_shard else nowhere[:0])
        sidecars = encode_spans(spans), encode_documents(documents.table.take(rows))
        hashed = sha256()
        pieces = encode_shard(samples, pad_token=settings.pad_id)
        stage.add_shard(index, partial(_write_hashed, pieces, hashed.update))
        for name, data in zip((spans_name(index), documents_name(index)), sidecars, strict=True):
            stage.put(name, data)
        entry = ShardEntry(
            num_samples=len(samples),
            num_tokens=samples.size,
            sha256=hashed.hexdigest(),
            chars=chunk.chars,
            last_sample_tokens=int(spans[-1, 2]) if recipe.packing == "concat" else None,
            num_text_tokens=int((spans[:, 2] - spans[:, 1]).sum()),
            spans_sha256=sha256(sidecars[0]).hexdigest(),
            documents_sha256=sha256(sidecars[1]).hexdigest(),
        )
        entries.append(entry)
    return PackedChunk(entries=entries, counts=packed.counts)


def pack_and_read(task: PackTask) -> ReadChunk:
    """Pack a chunk into an object store, and read back what is there; in a worker.

    Shards of an earlier run that are right are read, and not written again.

    Raises:
        ChunkMismatchError: the chunk is damaged.
        DatasetError: what is there is not what was put.
    """
    if task.are_its_own:
        with suppress(DatasetError, FileNotFoundError):
            found = _read_back(task, task.entries)
            if found.documents is None or not found.documents.wrong:
                return found
    packed = pack_chunk(task.settings, task.task.recipe, task.stage, task.chunk, task.first_shard)
    try:
        return _read_back(task, packed.entries)
    except FileNotFoundError as error:
        raise DatasetError(
            f"{task.stage.snapshot().where} lacks {error.filename}, which was just put there; run "
            "again"
        ) from error


def entries_there(stage: ObjectStage) -> Sequence[ShardEntry]:
    """What the meta of a stage says, where an earlier run of the same version wrote one.

    It is put there again, since a prune leaves a folder that somebody wrote in lately.
    """
    snapshot = stage.snapshot()
    try:
        meta = snapshot.read(META_NAME)
        entries = parse_meta(meta, snapshot.where)
    except (FileNotFoundError, DatasetError):
        return ()
    stage.put(META_NAME, meta)
    return entries


def _read_back(task: PackTask, entries: Sequence[ShardEntry]) -> ReadChunk:
    """What of a chunk's shards is there, every byte of each file read; one shard at a time."""
    snapshot, shards = task.stage.snapshot(), list[FoundShard]()
    numbered = enumerate(entries, task.first_shard)

    def read(index: int, entry: ShardEntry) -> IdArray:
        ids = read_shard(*file(shard_name(index)), entry)
        shards.append(FoundShard.of(ids))
        return ids

    def file(name: str) -> tuple[Bytes, str]:
        return snapshot.map(name), f"{snapshot.where}/{name}"

    if task.task.recipe is None:
        for index, entry in numbered:
            read(index, entry)
        return ReadChunk(entries=entries, shards=shards)
    with_sidecars = (
        ShardOfDocuments(
            name=f"{snapshot.where}/{shard_name(index)}",
            ids=read(index, entry),
            spans=read_spans(*file(spans_name(index)), entry),
            table=read_documents(snapshot, index, entry),
        )
        for index, entry in numbered
    )
    found = check_chunk(task.task, task.chunk, with_sidecars, task.settings)
    return ReadChunk(entries=entries, shards=shards, documents=found)


def _write_hashed(
    pieces: Iterable[Bytes], hash_: Callable[[memoryview], None], file: BinaryIO
) -> None:
    for piece in pieces:
        hash_(piece.data)
        file.write(piece.data)
