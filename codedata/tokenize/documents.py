# pyright: standard
# (pyarrow has no types)
"""The documents of a chunk -> their pieces: each tokenized alone, framed, some permuted.

A document's pieces depend on its text, the tokenizer and the recipe alone; those whose text has a
control token are dropped, or tokenized as plain text. Some documents of each chunk are tokenized
again with the tokenizers library; and of each chunk that an earlier run left.
"""

from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codedata.format.documents import CONTROL_TOKENS, EMPTY, KEPT, ChunkDocuments, Form, Pieces
from codedata.format.packing import IdArray
from codedata.format.sidecars import DOCUMENT_SCHEMA
from codedata.format.texts import Texts
from codedata.recipe.documents import ResolvedRecipe
from codedata.sources.documents import ChosenDocuments
from codedata.tokenize.bare_ids import TextIds, bare_ids
from codedata.tokenize.engines.base import Engine
from codedata.tokenize.engines.whole import WholeTextEngine
from codedata.tokenize.fidelity import compare_texts
from codedata.tokenize.fim import fim_pieces
from codedata.tokenize.plain_text import as_plain_text
from codedata.tokenize.tokenizer import LoadedTokenizer

_BY_LIBRARY_BYTES = 1 << 17
"""So much text of stored documents the library itself tokenizes again: a tenth of a second."""


def tokenize_documents(
    loaded: LoadedTokenizer,
    engine: Engine,
    recipe: ResolvedRecipe,
    documents: ChosenDocuments,
    *,
    seq_length: int,
    threads: int,
    where: str,
) -> tuple[ChunkDocuments, dict[str, Any]]:
    """Tokenize the documents of a chunk, and some of them again with the tokenizers library.

    Where none of them is short or can be cut, all are left to the library: of the engine's ids
    nothing could be compared.

    Args:
        loaded: the tokenizer.
        engine: of it.
        recipe: how they are framed and asked for.
        documents: of the chunk; their texts are let go as soon as may be.
        seq_length: tokens a sample.
        threads: that the engine may use.
        where: what the chunk is, for messages.

    Returns:
        What they were made to; the name of the `engine` that made the ids, and how many bytes of
        text were compared, 0 where they are the library's own.

    Raises:
        ExactnessError: naming the document and the first difference.
    """
    texts, rows = Texts.of(documents.texts), documents.rows
    table: dict[str, Any] = {
        "document": np.arange(len(texts), dtype=np.int32),
        "file": np.full(len(texts), documents.file, np.int32),
        "row": rows,
        "characters": documents.num_chars,
        **documents.origins,
    }
    del documents
    found = bare_ids(engine, texts, threads=threads)
    compared_bytes = compare_texts(
        loaded,
        engine,
        texts,
        found,
        seed=int(rows[0]) if len(rows) else 0,
        name=lambda place: f"{where}, row {rows[place]}",
    )
    if engine.cut is not None and len(found.ids) and not compared_bytes:
        engine = WholeTextEngine(loaded)
        found = bare_ids(engine, texts, threads=threads)
    hashes = [sha256(texts[place].data).hexdigest() for place in range(len(texts))]
    decisions, found = _decided(loaded, recipe, texts, found)
    kept = decisions == KEPT
    numbers = np.flatnonzero(kept)
    if not kept.all():
        texts, found = texts.some(kept), found.some(kept)
    if recipe.fim is None:
        del texts
        ids, pieces = _framed(recipe, found)
    else:
        ids, pieces = fim_pieces(
            loaded,
            engine,
            recipe,
            texts,
            found,
            [hashes[number] for number in numbers],
            seq_length=seq_length,
            threads=threads,
        )
    pieces[:, 0] = numbers[pieces[:, 0]]
    table |= {"sha256": hashes, "decision": decisions}
    made = ChunkDocuments(ids=ids, pieces=pieces, table=pa.table(table, schema=DOCUMENT_SCHEMA))
    return made, {"engine": engine.name, "compared_bytes": compared_bytes}


def _decided(
    loaded: LoadedTokenizer, recipe: ResolvedRecipe, texts: Texts, found: TextIds
) -> tuple[NDArray[Any], TextIds]:
    """What becomes of each document, shape (num_documents,), and the ids of those that are kept."""
    decisions = np.full(len(texts), KEPT, object)
    decisions[texts.num_bytes == 0] = EMPTY
    as_text: dict[int, IdArray] = {}
    for place in found.holding(recipe.control_ids).tolist():
        reads = recipe.recipe.control_tokens == "text"
        ids = as_plain_text(loaded, recipe, texts[place]) if reads else None
        if ids is None:
            decisions[place] = CONTROL_TOKENS
        else:
            as_text[place] = ids
    return decisions, found.with_others(as_text) if as_text else found


def _framed(recipe: ResolvedRecipe, found: TextIds) -> tuple[IdArray, Pieces]:
    """A piece a text: its ids between BOS, if there is one, and EOS."""
    ends, num_tokens = found.ends, found.num_tokens
    if recipe.bos is None:
        frame, places = [recipe.eos], ends
    else:
        frame, places = [recipe.bos, recipe.eos], np.stack([ends - num_tokens, ends], 1).ravel()
    pieces = np.zeros((len(ends), 3), np.int32)
    pieces[:, 0] = np.arange(len(ends))
    pieces[:, 1] = num_tokens + len(frame)
    pieces[:, 2] = Form.PLAIN
    return np.insert(found.ids, places, np.tile(frame, len(ends))), pieces


def holds_documents_of(
    loaded: LoadedTokenizer,
    engine: Engine,
    recipe: ResolvedRecipe,
    chosen: ChosenDocuments,
    stored: ChunkDocuments,
    *,
    seq_length: int,
) -> bool:
    """Whether a stored chunk has the pieces that some documents give, and their rows of the table.

    Args:
        loaded: the tokenizer.
        engine: of it, for documents that are too long for the library itself.
        recipe: how they are framed and asked for.
        chosen: documents of the chunk.
        stored: the chunk, made with that recipe; each document has its row.
        seq_length: tokens a sample.
    """
    is_little = sum(map(len, chosen.texts)) <= _BY_LIBRARY_BYTES
    made, _ = tokenize_documents(
        loaded,
        WholeTextEngine(loaded) if is_little else engine,
        recipe,
        chosen,
        seq_length=seq_length,
        threads=1,
        where=f"file {chosen.file}",
    )
    rows = np.asarray(stored.table.column("row"))
    places = np.flatnonzero(np.isin(rows, chosen.rows))
    if rows[places].tolist() != chosen.rows.tolist():
        return False
    own = [name for name in DOCUMENT_SCHEMA.names if name != "document"]
    if not stored.table.take(places).select(own).equals(made.table.select(own)):
        return False
    inside = np.isin(stored.pieces[:, 0], places)
    expected = made.pieces.copy()
    expected[:, 0] = places[expected[:, 0]]
    ids = stored.ids[np.repeat(inside, stored.pieces[:, 1])]
    return np.array_equal(stored.pieces[inside], expected) and np.array_equal(ids, made.ids)
