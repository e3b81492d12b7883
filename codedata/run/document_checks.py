"""The documents of a staged dataset, in a folder or where workers put them -> what its checks say.

Each check goes another way than packing went: samples are compared with the chunks, what they hold
and what is left out is counted by the switches, and of some documents the text is made of the ids
that training gets. What travels from a worker are counts and sentences.
"""

from collections.abc import Iterable, Iterator, Sequence
from functools import cache

from codedata.format.documents import DocumentCounts
from codedata.format.meta import shard_name
from codedata.format.ranges import CharRange, Utf8
from codedata.format.texts import Texts
from codedata.parallel import side_by_side
from codedata.printable import first_ten
from codedata.recipe.documents import Packing
from codedata.recipe.settings import Settings
from codedata.run.checks import CheckOutcome
from codedata.run.found_documents import FoundDocuments, ShardOfDocuments, find_documents
from codedata.run.plan import ChunkTask, engine_for
from codedata.sources.documents import choose
from codedata.store.chunks import TokenChunk
from codedata.store.dataset_folder import Dataset
from codedata.store.files import release_pages
from codedata.tokenize import undo_fim
from codedata.tokenize.tokenizer import load_tokenizer
from codedata.tokenize.undo_fim import PieceOfDocument


def check_chunk(
    task: ChunkTask, chunk: TokenChunk, shards: Iterable[ShardOfDocuments], settings: Settings
) -> FoundDocuments:
    """Compare all of a chunk's shards with the chunk; they are looked at one by one.

    Args:
        task: which made the chunk.
        chunk: as it is stored.
        shards: its shards, in order.
        settings: the switches.

    Raises:
        ChunkMismatchError: the chunk is damaged.
    """
    documents, recipe, files = chunk.read_documents(), task.recipe, task.tokenizer_files()
    assert recipe is not None
    loaded, engine = load_tokenizer(files), engine_for(files, task.engine_choice)

    @cache
    def own_texts() -> Texts | Sequence[Utf8]:
        return choose(task.text.documents(chunk.chars, to_end=True), chunk.chars).texts

    def gives_back(number: int, pieces: Sequence[PieceOfDocument]) -> bool:
        own_sha256 = documents.table.column("sha256")[number].as_py()
        own_text = lambda: own_texts()[number]  # noqa: E731 - asked for where bytes differ
        return undo_fim.gives_back(loaded, engine, recipe, pieces, own_sha256, own_text)

    return find_documents(
        chunk.chars,
        documents,
        shards,
        recipe,
        seq_length=settings.seq_length,
        pad_id=settings.pad_id,
        gives_back=gives_back,
    )


def check_documents_of(
    dataset: Dataset,
    tasks: Sequence[ChunkTask],
    chunks: Sequence[TokenChunk],
    settings: Settings,
    packing: Packing,
) -> dict[str, CheckOutcome]:
    """Check the documents of a dataset folder whose every byte and hash was read and is right.

    Args:
        dataset: of the folder.
        tasks: which made the chunks.
        chunks: that the shards were packed from, in the same order.
        settings: the switches.
        packing: of the recipe.
    """
    of_chunk: dict[CharRange | None, list[int]] = {}
    for index, entry in enumerate(dataset.entries):
        of_chunk.setdefault(entry.chars, []).append(index)

    def shards(indices: Sequence[int]) -> Iterator[ShardOfDocuments]:
        for index in indices:
            ids = dataset.shards[index]
            yield ShardOfDocuments(
                name=shard_name(index),
                ids=ids,
                spans=dataset.spans[index],
                table=dataset.documents(index),
            )
            release_pages(ids)

    def find(made: tuple[ChunkTask, TokenChunk]) -> FoundDocuments:
        task, chunk = made
        return check_chunk(task, chunk, shards(of_chunk.get(chunk.chars, ())), settings)

    found = side_by_side(find, zip(tasks, chunks, strict=True))
    facts = dataset.facts
    return check_documents(found, chunks, facts and facts.documents, settings, packing)


def check_documents(
    found: Sequence[FoundDocuments],
    chunks: Sequence[TokenChunk],
    reported: DocumentCounts | None,
    settings: Settings,
    packing: Packing,
) -> dict[str, CheckOutcome]:
    """Judge what was found of the documents of all chunks.

    Args:
        found: of each chunk.
        chunks: that the shards were packed from, in the same order.
        reported: what the facts say became of the documents.
        settings: the switches.
        packing: of the recipe.
    """
    return {
        "spans": _spans(found),
        "document_tokens": _document_tokens(found, chunks, reported, settings, packing),
        "fim_undone": _fim_undone(found),
    }


def _num_left_out(chunk: TokenChunk, settings: Settings, packing: Packing) -> int:
    """Tokens of a chunk's documents that no sample holds: of `concat` a rest that is too short."""
    if packing == "best_fit":
        return 0
    num_samples = settings.count_samples(chunk.num_tokens)
    return max(0, chunk.num_tokens - num_samples * settings.seq_length)


def _document_tokens(
    found: Sequence[FoundDocuments],
    chunks: Sequence[TokenChunk],
    reported: DocumentCounts | None,
    settings: Settings,
    packing: Packing,
) -> CheckOutcome:
    wrong: list[str] = []
    left_out = 0
    for each, chunk in zip(found, chunks, strict=True):
        rest = _num_left_out(chunk, settings, packing)
        left_out += rest
        if each.chars != chunk.chars or each.counts.tokens_packed + rest != chunk.num_tokens:
            wrong.append(
                f"of {chunk.num_tokens} tokens of {chunk.chars.key} samples hold "
                f"{each.counts.tokens_packed}, and {rest} may be left out"
            )
    total = sum((each.counts for each in found), DocumentCounts())
    if reported != total:
        wrong.append(f"the facts report {reported}, and there are {total}")
    if total.tokens_dropped != left_out:
        wrong.append(f"{total.tokens_dropped} tokens are counted as dropped, {left_out} may be")
    right = "the tokens of all documents are in samples, or reported as dropped"
    return CheckOutcome(
        passed=not wrong,
        description=f"tokens are lost or invented: {'; '.join(wrong[:3])}" if wrong else right,
        numbers={
            "tokens": total.tokens,
            "packed": total.tokens_packed,
            "dropped": total.tokens_dropped,
            "documents": total.documents,
        },
    )


def _spans(found: Sequence[FoundDocuments]) -> CheckOutcome:
    wrong = [f"{each.chars.key}: {each.wrong}" for each in found if each.wrong]
    right = "spans cover every token but padding once, and it is the documents' own"
    return CheckOutcome(
        passed=not wrong,
        description=f"spans are wrong: {'; '.join(wrong[:3])}" if wrong else right,
        numbers={"spans": sum(each.num_spans for each in found), "chunks": len(found)},
    )


def _fim_undone(found: Sequence[FoundDocuments]) -> CheckOutcome:
    num_undone = sum(each.num_undone for each in found)
    wrong = [
        f"{first_ten(map(str, each.not_given_back))} of {each.chars.key}"
        for each in found
        if each.not_given_back
    ]
    right = f"{num_undone} documents, put together again from samples, have their text"
    return CheckOutcome(
        passed=not wrong,
        description=f"documents have another text: {'; '.join(wrong[:3])}" if wrong else right,
        numbers={"documents": num_undone, "wrong": sum(len(e.not_given_back) for e in found)},
    )
