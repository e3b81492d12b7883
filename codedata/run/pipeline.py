"""The stages between a parquet and a published dataset, for the script and the assets alike.

window -> chunks (tokenized in parallel, stored, reused) -> samples -> staged shards and meta.
No dagster, no torch. What a worker gets (`ChunkTask`) is small and picklable; the text and the ids
never travel between processes.
"""

import logging
import shutil
import time
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future, ThreadPoolExecutor, as_completed
from dataclasses import dataclass, replace
from functools import lru_cache
from hashlib import sha256
from importlib.metadata import version
from itertools import accumulate
from pathlib import Path
from typing import Any

from codedata.errors import (
    ChunkMismatchError,
    CorpusError,
    SettingsError,
    TargetError,
    TokenizerError,
    WorkerError,
)
from codedata.format.facts import Origin, Probe, TokenizerFacts, facts_of
from codedata.format.fingerprint import CODE_VERSION, ChunkFingerprint
from codedata.format.meta import MAX_SHARDS, ShardEntry
from codedata.format.packing import count_samples, id_dtype, pack_samples, split_shards
from codedata.format.ranges import CharRange
from codedata.format.shards import encode_shard
from codedata.format.without_paths import without_paths
from codedata.parallel import ChunkThreads, available_cores
from codedata.recipe.settings import Settings
from codedata.sources.parquet.text import ParquetText
from codedata.store.chunks import TokenChunk, find_chunk, write_chunk
from codedata.store.publishing import Staging
from codedata.tokenize.engines.engine import (
    Engine,
    EngineChoice,
    as_utf8,
    choose_engine,
    reference_ids,
)
from codedata.tokenize.fidelity import (
    SAMPLE_CHARS,
    check_fidelity,
    compare_ids,
    holds_ids_of,
)
from codedata.tokenize.padding import why_not_default, with_pad_id
from codedata.tokenize.probe import PROBE, PROBE_SHA256
from codedata.tokenize.remembered import place_of
from codedata.tokenize.tokenizer_files import LoadedTokenizer, TokenizerFiles, load_tokenizer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a dataset is made from, opened and checked.

    Attributes:
        settings: the switches, the pad token as an id.
        text: the corpus, its index counted as far as the window reaches.
        tokenizer: the tokenizer's files.
        window: the characters to take, shortened to those that the text has, and the file of the
            corpus that they are of.
        engine_choice: `auto`, or the engine that the user wants.
    """

    settings: Settings
    text: ParquetText
    tokenizer: TokenizerFiles
    window: CharRange
    engine_choice: EngineChoice

    @property
    def loaded(self) -> LoadedTokenizer:
        """The tokenizer."""
        return load_tokenizer(self.tokenizer)

    @property
    def engine(self) -> Engine:
        """What chunks are tokenized with in this process."""
        return engine_for(self.tokenizer, self.engine_choice)

    @property
    def sample(self) -> str:
        """The leading characters of the window, which the tokenizer is tried on."""
        return self.text.read(self.window.first(SAMPLE_CHARS))

    def require_fidelity(self) -> None:
        """Try tokenizer and engine on a built-in sample of C and on the window's start.

        Raises:
            TokenizerError: they do not give the text's own ids.
        """
        check_fidelity(
            load_tokenizer(self.tokenizer),
            self.engine,
            self.sample,
            where=f"{self.text.path} from {self.window.start} on",
        )

    def task(self, chars: CharRange, folder: Path, *, threads: int) -> "ChunkTask":
        """The chunk of some characters, stored in `folder`, tokenized by up to so many threads."""
        fingerprint = ChunkFingerprint(
            corpus_sha256=self.text.sha256, tokenizer_sha256=self.tokenizer.fingerprint, chars=chars
        )
        return ChunkTask(
            text=self.text,
            tokenizer=self.tokenizer,
            engine_choice=self.engine_choice,
            threads=threads,
            fingerprint=fingerprint,
            folder=folder,
        )


def open_inputs(
    text: ParquetText,
    settings: Settings,
    tokenizer: TokenizerFiles,
    *,
    engine: EngineChoice = "auto",
    file: int = 0,
    pad_is_named: bool = True,
) -> Inputs:
    """Load the tokenizer, and clip the window to the text.

    Args:
        text: of the corpus, or of one of its files.
        settings: the switches.
        tokenizer: the tokenizer's files.
        engine: `auto`, or the one to take.
        file: which file of the corpus the text is.
        pad_is_named: whether the user chose the pad token; a default must be a token of no text.

    Raises:
        TokenizerError: the tokenizer cannot be had.
        SettingsError: the pad token does not fit it, or the engine is not proven exact for it.
        CorpusError: the text ends before the window.
    """
    with ThreadPoolExecutor(1) as thread:  # counts characters while this one makes the engine
        window = thread.submit(text.clip, settings.window._replace(file=file))
        loaded = load_tokenizer(tokenizer)
        if not pad_is_named and (why := why_not_default(settings.tokenizer_base, loaded)):
            raise SettingsError(why)
        resolved = with_pad_id(settings, loaded)
        engine_for(tokenizer, engine)
        return Inputs(
            settings=resolved,
            text=text,
            tokenizer=tokenizer,
            window=window.result(),
            engine_choice=engine,
        )


@dataclass(frozen=True, kw_only=True)
class ChunkTask:
    """One chunk to tokenize.

    Attributes:
        text: the opened parquet, its index counted as far as the chunk reaches.
        tokenizer: the tokenizer's files.
        engine_choice: `auto`, or the engine that the user wants.
        threads: that may work on this chunk.
        fingerprint: of the chunk.
        folder: where the chunk is stored.
    """

    text: ParquetText
    tokenizer: TokenizerFiles
    engine_choice: EngineChoice
    threads: int
    fingerprint: ChunkFingerprint
    folder: Path


@lru_cache(maxsize=4)
def engine_for(files: TokenizerFiles, choice: EngineChoice = "auto") -> Engine:
    """The engine of a tokenizer, made once a process."""
    return choose_engine(load_tokenizer(files), choice)


def tokenize_chunk(task: ChunkTask) -> TokenChunk:
    """Read a chunk's characters, tokenize them, compare a sample, store the ids; in a worker.

    Raises:
        TokenizerError: the tokenizers library fails on some of the text.
        ExactnessError: the engine and the tokenizers library disagree; nothing is stored.
    """
    engine, chars = engine_for(task.tokenizer, task.engine_choice), task.fingerprint.chars
    where = f"{task.text.path}, characters {chars.start} to {chars.stop}"
    started = time.monotonic()
    text = task.text.read_utf8(chars)
    try:
        encoded = engine.encode(text, threads=task.threads)
        compared_bytes = compare_ids(
            load_tokenizer(task.tokenizer), engine, text, encoded, seed=chars.start, where=where
        )
    except TokenizerError as error:
        raise TokenizerError(f"{error} ({where})") from error
    chunk = write_chunk(
        task.folder,
        task.fingerprint,
        encoded.ids,
        engine=engine.name,
        compared_bytes=compared_bytes,
        seconds=time.monotonic() - started,
    )
    _KNOWN.add((chunk.fingerprint, chunk.ids_sha256))
    return chunk


def stored_chunks(tasks: Sequence[ChunkTask], *, root: Path) -> list[TokenChunk]:
    """The chunks of an earlier run that are still right, in the order of `tasks`.

    Args:
        tasks: whose chunks are looked for.
        root: under which they lie.

    Raises:
        ChunkMismatchError: one is a stranger's or damaged, or its ids are not those that the
            tokenizers library has for some of its text.
    """
    with ChunkThreads(available_cores()) as threads:
        found = [threads.submit(_stored_chunk, task, root) for task in tasks]
        return [chunk for future in found if (chunk := future.result()) is not None]


_KNOWN: set[tuple[ChunkFingerprint, str]] = set()
"""Chunks whose ids this process made or compared, by the sha256 of their ids."""


def _stored_chunk(task: ChunkTask, root: Path) -> TokenChunk | None:
    chunk = find_chunk(task.folder, task.fingerprint, root=root)
    if chunk is None or (chunk.fingerprint, chunk.ids_sha256) in _KNOWN:
        return chunk
    if not holds_ids_of(
        load_tokenizer(task.tokenizer),
        engine_for(task.tokenizer, task.engine_choice),
        task.text.read_utf8,
        chunk.chars,
        chunk.read_ids(),
    ):
        raise ChunkMismatchError(
            f"chunk {chunk.path} does not hold the ids that the tokenizers library has for its "
            f"text (characters {chunk.chars.start} to {chunk.chars.stop} of {task.text.path}); "
            f"remove it, or the whole folder {chunk.path.parent}, and run again"
        )
    _KNOWN.add((chunk.fingerprint, chunk.ids_sha256))
    return chunk


def tokenize_chunks(tasks: Sequence[ChunkTask], executor: Executor) -> Iterator[TokenChunk]:
    """Tokenize chunks and yield each as soon as it is stored, in any order.

    Raises:
        WorkerError: memory ran out, or a worker process was killed; finished chunks stay.
        ExactnessError: see `tokenize_chunk`.
    """
    pending: list[Future[TokenChunk]] = []
    try:
        for task in tasks:
            future = executor.submit(tokenize_chunk, task)
            if future.done():
                yield future.result()
            else:
                pending.append(future)
        for future in as_completed(pending):
            yield future.result()
    except (BrokenExecutor, MemoryError) as error:
        what = "memory ran out" if isinstance(error, MemoryError) else "a worker was killed"
        raise WorkerError(
            f"{what} while a chunk was tokenized; finished chunks are kept: run again, with a "
            "smaller num_workers or chunk_size if it was memory"
        ) from error


def require_same_origin(chunks: Sequence[TokenChunk]) -> None:
    """Refuse chunks that were not made of the same corpus, by the same tokenizer and code.

    Raises:
        ChunkMismatchError: naming the two chunks and what differs.
    """
    first_of_file: dict[int, TokenChunk] = {}
    for chunk in chunks:
        same_file = first_of_file.setdefault(chunk.chars.file, chunk)
        differing = same_file.fingerprint.differences(chunk.fingerprint)
        # Files differ from each other, but what tokenized them must not.
        differing += chunks[0].fingerprint.differences(
            replace(chunk.fingerprint, corpus_sha256=chunks[0].fingerprint.corpus_sha256)
        )
        if differing:
            raise ChunkMismatchError(
                f"chunks {same_file.chars.key} and {chunk.chars.key} do not belong together: they "
                f"differ in {', '.join(dict.fromkeys(differing))}; tokenize both again"
            )


def stage_dataset(
    chunks: Sequence[TokenChunk],
    settings: Settings,
    staging: Staging,
    origin: Origin,
    *,
    num_workers: int,
) -> list[ShardEntry]:
    """Pack chunks into samples and write shards, facts, card and meta of a staged dataset.

    Args:
        chunks: in the order of their characters.
        settings: the switches.
        staging: where the dataset is written.
        origin: for the facts, which others get to see: without paths.
        num_workers: chunks packed at a time.

    Returns:
        The entries of the meta.

    Raises:
        ChunkMismatchError: chunks do not belong together or are damaged.
        CorpusError: they give no sample at all.
        SettingsError: they give more shards than a dataset may have.
    """
    require_same_origin(chunks)
    samples = [
        count_samples(
            chunk.num_tokens,
            seq_length=settings.seq_length,
            min_sample_length=settings.min_sample_length,
        )
        for chunk in chunks
    ]
    shards = [-(-count // settings.max_dump_size) for count in samples]
    if sum(shards) > MAX_SHARDS:
        raise SettingsError(
            f"the samples would fill {sum(shards)} shards, more than the {MAX_SHARDS} that can be "
            f"mapped; choose a larger max_dump_size ({settings.max_dump_size}) or chunk_size "
            f"({settings.chunk_size})"
        )
    firsts = accumulate(shards, initial=0)
    with ChunkThreads(num_workers) as threads:
        staged = [
            threads.submit(_stage_chunk, chunk, settings, staging, first)
            for chunk, first in zip(chunks, firsts, strict=False)
        ]
        entries = [entry for future in staged for entry in future.result()]
    if not entries:
        tokens = max(chunk.num_tokens for chunk in chunks)
        raise CorpusError(
            f"the {len(chunks)} chunks of the window give no sample: the longest has {tokens} "
            f"tokens, and one must have more than min_sample_length ({settings.min_sample_length})"
        )
    facts = facts_of(origin, name=staging.target.name, switches=settings.as_dict(), entries=entries)
    staging.add_facts(without_paths(facts))
    staging.add_meta(entries)
    return entries


def count_padding(num_tokens: int, settings: Settings) -> int:
    """Pad tokens that the samples of a chunk of so many tokens have."""
    num_samples = count_samples(
        num_tokens, seq_length=settings.seq_length, min_sample_length=settings.min_sample_length
    )
    return max(0, num_samples * settings.seq_length - num_tokens)


def origin_of(
    files: TokenizerFiles, chunks: Sequence[TokenChunk], command: str, corpus: Mapping[str, Any]
) -> Origin:
    """What a dataset is made of, for its facts.

    Args:
        files: the tokenizer's.
        chunks: which the dataset is packed from.
        command: that repeats it.
        corpus: what identifies the corpus, and each of several `files` by number; a `path`
            without a `repo` is one of this machine.
    """
    return Origin(
        corpus={name: value for name, value in corpus.items() if name != "files"},
        files={int(file): known for file, known in corpus.get("files", {}).items()},
        tokenizer=TokenizerFacts(
            source=place_of(files),
            sha256=files.fingerprint,
            revision=files.revision,
            probe=Probe(
                text_sha256=PROBE_SHA256, ids=tuple(reference_ids(load_tokenizer(files), PROBE))
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


def _stage_chunk(
    chunk: TokenChunk, settings: Settings, staging: Staging, first_shard: int
) -> list[ShardEntry]:
    """Pack a chunk and write its shards, numbered from `first_shard` on."""
    ids = chunk.read_ids()
    samples = pack_samples(
        ids,
        seq_length=settings.seq_length,
        min_sample_length=settings.min_sample_length,
        pad_token=settings.pad_id,
    )
    entries: list[ShardEntry] = []
    num_packed = 0
    for index, shard_samples in enumerate(
        split_shards(samples, settings.max_dump_size), first_shard
    ):
        num_packed += shard_samples.size
        data = encode_shard(shard_samples, pad_token=settings.pad_id).data
        staging.add_shard(index, data)
        entries.append(
            ShardEntry(
                num_samples=len(shard_samples),
                num_tokens=shard_samples.size,
                sha256=sha256(data).hexdigest(),
                chars=chunk.chars,
                last_sample_tokens=settings.seq_length - max(0, num_packed - len(ids)),
            )
        )
    return entries


def require_disk_space(
    inputs: Sequence[Inputs], missing: Sequence[ChunkTask], folder: Path
) -> None:
    """Refuse to start work that the disk has no room for, going by the first window's start.

    Args:
        inputs: what the dataset is made from, a file each.
        missing: the chunks that are not stored yet.
        folder: where chunks and shards go; it need not exist yet.

    Raises:
        TargetError: with the estimate and what is free.
    """
    engine, sample, settings = inputs[0].engine, inputs[0].sample, inputs[0].settings
    tokens_per_char = len(engine.encode(as_utf8(sample)).ids) / len(sample)
    id_bytes = id_dtype(max(engine.vocab_size - 1, settings.pad_id)).itemsize
    num_samples = sum(
        count_samples(
            int(tokens_per_char * chunk.num_chars),
            seq_length=settings.seq_length,
            min_sample_length=settings.min_sample_length,
        )
        for each in inputs
        for chunk in each.window.cut(settings.chunk_size)
    )
    num_chars_missing = sum(task.fingerprint.chars.num_chars for task in missing)
    needed = num_samples * settings.seq_length * (1 + id_bytes)
    needed += int(tokens_per_char * num_chars_missing) * id_bytes
    while not folder.exists():
        folder = folder.parent
    free = shutil.disk_usage(folder).free
    if needed > free:
        num_chars = sum(each.window.num_chars for each in inputs)
        raise TargetError(
            f"{num_chars:,} characters need about {_megabytes(needed)} on the disk of {folder}, "
            f"which has {_megabytes(free)} free; make room, or choose a smaller chars_to_tokenize"
        )


def _megabytes(num_bytes: int) -> str:
    return f"{num_bytes / 1e6:,.1f} MB"
