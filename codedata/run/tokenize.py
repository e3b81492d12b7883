"""Chunk tasks -> token chunks: stored ones reused, the others tokenized in parallel.

A chunk is stored as soon as it is made, and only after a sample of it was compared with the
tokenizers library; so a run that ends in the middle loses none, and the next one continues.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import BrokenExecutor, Executor, Future
from pathlib import Path
from random import SystemRandom
from typing import TypeVar

import numpy as np

from codedata.errors import ChunkMismatchError, TokenizerError, WorkerError
from codedata.format.document_packing import count_best_fit
from codedata.parallel import completed
from codedata.progress import Reporter
from codedata.recipe.documents import ResolvedRecipe
from codedata.run.compared import add_compared, add_taken, hand_on, is_taken
from codedata.run.estimate import finished, require_disk_space, require_few_shards
from codedata.run.plan import ChunkTask, Plan, engine_for
from codedata.sources.documents import choose
from codedata.sources.origins import documents_of, with_origins
from codedata.store.chunks import LocalChunks, ObjectChunks, TokenChunk
from codedata.store.files import remove_leftovers
from codedata.tokenize.documents import holds_documents_of, tokenize_documents
from codedata.tokenize.engines.base import Engine
from codedata.tokenize.fidelity import STORED_CHARS, holds_ids_of, tokenize_and_compare
from codedata.tokenize.tokenizer import LoadedTokenizer, load_tokenizer

T = TypeVar("T")

_MOST_COMPARED = 32
"""Chunks of an object store that a run compares before it takes all: some seconds of a worker."""

_ABANDONED_SECONDS = 3600.0
"""A chunk takes a second to write; another run may be writing one just now."""


def tokenize(
    plan: Plan,
    tasks: Sequence[ChunkTask],
    executor: Executor,
    reporter: Reporter,
    *,
    root: Path | None,
    name: str,
    force: bool = False,
    begin: Callable[[], object] = lambda: None,
) -> Iterator[tuple[TokenChunk, bool]]:
    """The chunks of some tasks: first those that are stored, then each as soon as it is made.

    Args:
        plan: which the tasks are of.
        tasks: all of its, or some.
        executor: that tokenizes.
        reporter: told how far it is.
        root: the folder under which the chunks lie; None where that is an object store.
        name: of what is made, for people.
        force: tokenize again what is stored and right.
        begin: called once nothing is refused any more, before a chunk is stored.

    Yields:
        A chunk, and whether it is an earlier run's; in any order.

    Raises:
        TargetError: the disk has no room.
        SettingsError: the chunks are more shards than a dataset may have.
        ChunkMismatchError, UntrustedError: see `stored_chunks`.
        TokenizerError: tokenizer or engine fail their trial: see `Plan.require_fidelity`.
        WorkerError: memory ran out, or workers died; finished chunks stay.
        ExactnessError: see `tokenize_chunk`.
    """
    for chunks in {task.chunks for task in tasks}:
        if isinstance(chunks, LocalChunks):
            remove_leftovers(chunks.folder, older_than=_ABANDONED_SECONDS)
    with reporter.waiting(f"looking for chunks of {name}"):
        reused = [] if force else stored_chunks(tasks, executor)
    found = {chunk.chars for chunk in reused}
    missing = {task.chars: task for task in tasks if task.chars not in found}
    plan.require_fidelity({chars.file for chars in missing})
    require_few_shards(plan)
    if root is not None:
        require_disk_space(plan, [*missing], root)
    begin()
    hand_on(reused)
    yield from ((chunk, True) for chunk in reused)
    with reporter.tokenizing(name, reused=[*found], missing=[*missing]) as count:
        for task, future in completed(executor, tokenize_chunk, missing.values()):
            chunk = result_of(future, task.where)
            add_compared(chunk)
            hand_on([chunk])
            count(chunk.chars, chunk.num_tokens)
            yield chunk, False


def result_of(future: Future[T], what: str) -> T:
    """What a worker made of a chunk.

    Args:
        future: that is done.
        what: it is of, for the message.

    Raises:
        WorkerError: memory ran out, or workers died of it.
    """
    try:
        return future.result()
    except MemoryError as error:
        raise WorkerError(
            f"{what}: memory ran out; finished chunks are kept: run again, with a smaller "
            "num_workers or chunk_size"
        ) from error
    except BrokenExecutor as error:
        raise WorkerError(f"{what}: {error}; finished chunks are kept: run again") from error


def tokenize_chunk(task: ChunkTask) -> TokenChunk:
    """Read a chunk's characters, tokenize them, compare a sample, store the ids; in a worker.

    Raises:
        TokenizerError: the tokenizers library fails on some of the text.
        ExactnessError: the engine and the tokenizers library disagree; nothing is stored.
    """
    if task.recipe is not None:
        return tokenize_document_chunk(task, task.recipe)
    files, chars = task.tokenizer_files(), task.chars
    engine = engine_for(files, task.engine_choice)
    loaded, started = load_tokenizer(files), time.monotonic()
    where = f"{task.text.path}, characters {chars.start} to {chars.stop}"
    try:
        ids, record = tokenize_and_compare(  # the text is let go before the ids are stored
            loaded,
            engine,
            task.text.read_utf8(chars),
            threads=task.threads,
            seed=chars.start,
            where=where,
        )
    except TokenizerError as error:
        raise TokenizerError(f"{error} ({where})") from error
    record["seconds"] = time.monotonic() - started
    return task.chunks.put(task.fingerprint, ids, **record)


def tokenize_document_chunk(task: ChunkTask, recipe: ResolvedRecipe) -> TokenChunk:
    """`tokenize_chunk` of a split with a recipe: of the documents that begin in the chunk.

    Raises:
        TokenizerError, ExactnessError: see `tokenize_chunk`.
    """
    files, chars = task.tokenizer_files(), task.chars
    engine = engine_for(files, task.engine_choice)
    loaded, started = load_tokenizer(files), time.monotonic()
    try:
        documents, record = tokenize_documents(
            loaded,
            engine,
            recipe,
            documents_of(task.text, chars),
            seq_length=task.seq_length,
            threads=task.threads,
            where=task.where,
        )
    except TokenizerError as error:
        raise TokenizerError(f"{error} ({task.where})") from error
    if recipe.recipe.packing == "best_fit":
        record["num_samples"] = count_best_fit(documents.pieces, task.seq_length)
    record["seconds"] = time.monotonic() - started
    return task.chunks.put_documents(task.fingerprint, documents, **record)


def stored_chunks(tasks: Sequence[ChunkTask], executor: Executor) -> list[TokenChunk]:
    """The chunks of an earlier run that are still right, in the order of `tasks`.

    Of those that neither this user nor this process knows, ids are compared: of each in a folder,
    which others may write, and of some from all over an object store, whose objects a name of their
    hash tells.

    Args:
        tasks: whose chunks are looked for.
        executor: that compares.

    Raises:
        ChunkMismatchError: the ids of one are not those that the tokenizers library has for some
            of its text, or it is damaged.
        UntrustedError: one is a stranger's.
        WorkerError: memory ran out.
    """
    found = finished(tasks)
    unknown = {chunk.fingerprint: chunk for chunk in found if not is_taken(chunk)}
    pairs = [
        (task, chunk) for task in tasks if (chunk := unknown.get(task.fingerprint)) is not None
    ]
    in_objects = [pair for pair in pairs if isinstance(pair[1].store, ObjectChunks)]
    if len(in_objects) > _MOST_COMPARED:
        step = len(in_objects) / _MOST_COMPARED
        pairs = [in_objects[int(place * step)] for place in range(_MOST_COMPARED)]
    for (task, chunk), future in completed(executor, require_ids, pairs):
        result_of(future, task.where)
        add_compared(chunk)
    add_taken(chunk for _, chunk in in_objects)
    return found


def require_ids(pair: tuple[ChunkTask, TokenChunk]) -> None:
    """Compare some of a stored chunk's ids with those of its text; in a worker.

    Raises:
        ChunkMismatchError: they are others, or the chunk is damaged.
    """
    task, chunk = pair
    files = task.tokenizer_files()
    loaded, engine = load_tokenizer(files), engine_for(files, task.engine_choice)
    if task.recipe is None:
        is_right = holds_ids_of(loaded, engine, task.text.read_utf8, chunk.chars, chunk.read_ids())
    else:
        is_right = _holds_documents(task, task.recipe, chunk, loaded, engine)
    if not is_right:
        raise ChunkMismatchError(
            f"chunk {chunk.where} does not hold the ids that the tokenizers library has for its "
            f"text ({task.where}); remove it, or the whole folder "
            f"{chunk.where.rpartition('/')[0]}, and run again"
        )


def _holds_documents(
    task: ChunkTask,
    recipe: ResolvedRecipe,
    chunk: TokenChunk,
    loaded: LoadedTokenizer,
    engine: Engine,
) -> bool:
    """Whether a stored chunk has the documents of its text, and of some the pieces.

    Which are made again from the text, nobody can foresee.
    """
    stored = chunk.read_documents()
    begun = choose(task.text.documents(chunk.chars, to_end=True), chunk.chars)
    if stored.table.column("row").to_pylist() != begun.rows.tolist():
        return False
    if not len(begun.rows):
        return not len(stored.ids)
    order = np.array(SystemRandom().sample(range(len(begun.rows)), len(begun.rows)))
    enough = int(np.searchsorted(np.cumsum(begun.num_chars[order]), STORED_CHARS)) + 1
    some = with_origins(begun.some(np.sort(order[:enough])), task.text)
    return holds_documents_of(loaded, engine, recipe, some, stored, seq_length=task.seq_length)
