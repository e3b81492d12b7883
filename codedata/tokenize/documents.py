"""The documents of a chunk -> their pieces: each tokenized alone, framed, some permuted.

A document's pieces depend on its text, the tokenizer and the recipe alone; those whose text has a
control token are dropped, or tokenized as plain text.
"""

from collections.abc import Sequence
from hashlib import sha256
from typing import Any

import numpy as np
import pyarrow as pa

from codedata.format.documents import CONTROL_TOKENS, EMPTY, KEPT, ChunkDocuments, Form
from codedata.format.packing import id_dtype
from codedata.format.sidecars import DOCUMENT_SCHEMA
from codedata.recipe.documents import ResolvedRecipe
from codedata.sources.documents import ChosenDocuments
from codedata.tokenize.bare_ids import TextIds, Texts, bare_ids
from codedata.tokenize.engines.base import Engine
from codedata.tokenize.fim import PieceOfDocument, fim_pieces
from codedata.tokenize.tokenizer import LoadedTokenizer


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

    Args:
        loaded: the tokenizer.
        engine: of it.
        recipe: how they are framed and asked for.
        documents: of the chunk.
        seq_length: tokens a sample.
        threads: that the engine may use.
        where: what the chunk is, for messages.

    Returns:
        What they were made to; the name of the `engine`, and how many bytes were compared.

    Raises:
        ExactnessError: naming the document and the first difference.
    """
    assert where
    texts = Texts.of(documents.texts)
    found = bare_ids(engine, texts, threads=threads)
    hashes = [sha256(text.data).hexdigest() for text in documents.texts]
    decisions = [_decision(recipe, texts, found, place) for place in range(len(texts))]
    if recipe.fim is None:
        pieces = [[_framed(recipe, found[place])] for place in range(len(texts))]
    else:
        pieces = fim_pieces(
            loaded, engine, recipe, texts, found, hashes, seq_length=seq_length, threads=threads
        )
    rows: list[tuple[int, int, int]] = []
    ids: list[Any] = [np.empty(0, id_dtype(loaded.vocab_size - 1))]
    for number, (decision, each) in enumerate(zip(decisions, pieces, strict=True)):
        if decision == KEPT:
            rows += [(number, len(piece), form) for piece, form in each]
            ids += [piece for piece, _ in each]
    table = pa.table(
        {
            "document": range(len(texts)),
            "file": [documents.file] * len(texts),
            "row": documents.rows,
            "characters": documents.num_chars,
            "sha256": hashes,
            **documents.origins,
            "decision": decisions,
        },
        schema=DOCUMENT_SCHEMA,
    )
    made = ChunkDocuments(
        ids=np.concatenate(ids), pieces=np.array(rows, np.int32).reshape(-1, 3), table=table
    )
    return made, {"engine": engine.name, "compared_bytes": 0}


def _decision(recipe: ResolvedRecipe, texts: Texts, found: TextIds, place: int) -> str:
    if not len(texts[place]):
        return EMPTY
    return CONTROL_TOKENS if np.isin(found[place], recipe.control_ids).any() else KEPT


def _framed(recipe: ResolvedRecipe, ids: Any) -> PieceOfDocument:
    before: Sequence[int] = [] if recipe.bos is None else [recipe.bos]
    return np.concatenate(
        [before, ids, [recipe.eos]], dtype=ids.dtype, casting="unsafe"
    ), Form.PLAIN
