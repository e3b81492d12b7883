"""Chunk tasks -> token chunks: stored ones reused, the others tokenized in parallel.

A chunk is stored as soon as it is made, and only after a sample of it was compared with the
tokenizers library; so a run that ends in the middle loses none, and the next one continues.
"""

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Executor, as_completed
from pathlib import Path
from shutil import disk_usage

from codedata.errors import ChunkMismatchError, TargetError, TokenizerError, WorkerError
from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.packing import id_dtype
from codedata.format.ranges import CharRange
from codedata.parallel import ChunkThreads, available_cores
from codedata.progress import Reporter, megabytes
from codedata.run.plan import ChunkTask, Plan, engine_for, sample_of
from codedata.store.chunks import TokenChunk, get_chunk, put_chunk
from codedata.store.files import remove_leftovers
from codedata.store.local import LocalStore
from codedata.tokenize.engines.base import as_utf8
from codedata.tokenize.fidelity import holds_ids_of, tokenize_and_compare
from codedata.tokenize.tokenizer import load_tokenizer

_ABANDONED_SECONDS = 3600.0
"""A chunk takes a second to write; another run may be writing one just now."""


def tokenize(
    plan: Plan,
    tasks: Sequence[ChunkTask],
    executor: Executor,
    reporter: Reporter,
    *,
    root: Path,
    name: str,
    force: bool = False,
) -> Iterator[tuple[TokenChunk, bool]]:
    """The chunks of some tasks: first those that are stored, then each as soon as it is made.

    Args:
        plan: which the tasks are of.
        tasks: all of its, or some.
        executor: that tokenizes.
        reporter: told how far it is.
        root: under which the chunks lie.
        name: of what is made, for people.
        force: tokenize again what is stored and right.

    Yields:
        A chunk, and whether it is an earlier run's; in any order.

    Raises:
        TargetError: the disk has no room.
        ChunkMismatchError, UntrustedError: see `stored_chunks`.
        WorkerError: memory ran out; finished chunks stay.
        ExactnessError: see `tokenize_chunk`.
    """
    for folder in {task.folder for task in tasks}:
        remove_leftovers(folder, older_than=_ABANDONED_SECONDS)
    reused = [] if force else stored_chunks(tasks, root=root)
    yield from ((chunk, True) for chunk in reused)
    found = [chunk.chars for chunk in reused]
    missing = {task.chars: task for task in tasks if task.chars not in {*found}}
    require_disk_space(plan, [*missing], root)
    with reporter.tokenizing(name, reused=found, missing=[*missing]) as count:
        made = [executor.submit(tokenize_chunk, task) for task in missing.values()]
        try:
            for future in as_completed(made):
                chunk = future.result()
                count(chunk.chars, chunk.num_tokens)
                yield chunk, False
        except MemoryError as error:
            raise WorkerError(
                "memory ran out while a chunk was tokenized; finished chunks are kept: run again, "
                "with a smaller num_workers or chunk_size if it was memory"
            ) from error


def tokenize_chunk(task: ChunkTask) -> TokenChunk:
    """Read a chunk's characters, tokenize them, compare a sample, store the ids; in a worker.

    Raises:
        TokenizerError: the tokenizers library fails on some of the text.
        ExactnessError: the engine and the tokenizers library disagree; nothing is stored.
    """
    engine, chars = engine_for(task.tokenizer, task.engine_choice), task.chars
    loaded, started = load_tokenizer(task.tokenizer), time.monotonic()
    where = f"{task.text.path}, characters {chars.start} to {chars.stop}"
    text = task.text.read_utf8(chars)
    try:
        ids, record = tokenize_and_compare(
            loaded, engine, text, threads=task.threads, seed=chars.start, where=where
        )
    except TokenizerError as error:
        raise TokenizerError(f"{error} ({where})") from error
    record["seconds"] = time.monotonic() - started
    chunk = put_chunk(LocalStore(task.folder), task.fingerprint, ids, **record)
    _KNOWN.add((chunk.fingerprint, chunk.ids_sha256))
    return chunk


def stored_chunks(tasks: Sequence[ChunkTask], *, root: Path) -> list[TokenChunk]:
    """The chunks of an earlier run that are still right, in the order of `tasks`.

    Args:
        tasks: whose chunks are looked for.
        root: under which they lie.

    Raises:
        ChunkMismatchError: the ids of one are not those that the tokenizers library has for some
            of its text, or it is damaged.
        UntrustedError: one is a stranger's.
    """
    with ChunkThreads(available_cores()) as threads:
        found = [threads.submit(_stored_chunk, task, root) for task in tasks]
        return [chunk for future in found if (chunk := future.result()) is not None]


_KNOWN: set[tuple[ChunkFingerprint, str]] = set()
"""Chunks whose ids this process made or compared, by the sha256 of their ids."""


def _stored_chunk(task: ChunkTask, root: Path) -> TokenChunk | None:
    chunk = get_chunk(LocalStore(task.folder, shared=root), task.fingerprint)
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


def require_disk_space(plan: Plan, missing: Sequence[CharRange], folder: Path) -> None:
    """Refuse to start work that the disk has no room for, going by the first window's start.

    Args:
        plan: what the dataset is made from.
        missing: the chunks that are not stored yet.
        folder: where chunks and shards go; it need not exist yet.

    Raises:
        TargetError: with the estimate and what is free.
    """
    engine, settings, sample = plan.engine, plan.settings, sample_of(plan.windows[0])
    tokens_per_char = len(engine.encode(as_utf8(sample)).ids) / len(sample)

    def tokens(chars: CharRange) -> int:
        return int(tokens_per_char * chars.num_chars)

    id_bytes = id_dtype(max(engine.vocab_size - 1, settings.pad_id)).itemsize
    chunks = [fingerprint.chars for fingerprint in plan.fingerprints]
    num_samples = sum(settings.count_samples(tokens(chars)) for chars in chunks)
    needed = num_samples * settings.seq_length * (1 + id_bytes)
    needed += sum(map(tokens, missing)) * id_bytes
    free = disk_usage(next(each for each in (folder, *folder.parents) if each.exists())).free
    if needed > free:
        raise TargetError(
            f"{sum(chars.num_chars for chars in chunks):,} characters need about "
            f"{megabytes(needed)} on the disk of {folder}, which has {megabytes(free)} free; make "
            "room, or choose a smaller chars_to_tokenize"
        )
