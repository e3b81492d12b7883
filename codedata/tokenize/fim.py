"""Documents whose ids are known -> pieces, some of them asked as fill-in-the-middle.

Cuts are between characters; draws are a hash of the seed, the document's sha256 and the piece's
number, so that chunks, workers and their order change nothing.
"""

from collections.abc import Sequence

from codedata.format.packing import IdArray
from codedata.recipe.documents import ResolvedRecipe
from codedata.tokenize.bare_ids import TextIds, Texts
from codedata.tokenize.engines.base import Engine
from codedata.tokenize.tokenizer import LoadedTokenizer

PieceOfDocument = tuple[IdArray, int]
"""The ids of a piece, framing included, and its form."""


def fim_pieces(
    loaded: LoadedTokenizer,
    engine: Engine,
    recipe: ResolvedRecipe,
    texts: Texts,
    ids: TextIds,
    sha256s: Sequence[str],
    *,
    seq_length: int,
    threads: int = 1,
) -> list[list[PieceOfDocument]]:
    """The pieces of each document, in the order of its text.

    Args:
        loaded: the tokenizer.
        engine: of it.
        recipe: with fill-in-the-middle.
        texts: of the documents.
        ids: theirs, bare.
        sha256s: of their texts.
        seq_length: tokens a sample.
        threads: that may work on them.
    """
    raise NotImplementedError(loaded, engine, recipe, texts, ids, sha256s, seq_length, threads)
