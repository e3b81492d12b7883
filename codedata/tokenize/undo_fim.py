"""The pieces of a document, as samples hold them -> the bytes that it was made of."""

from collections.abc import Callable, Sequence
from hashlib import sha256
from itertools import groupby
from operator import itemgetter

import numpy as np

from codedata.format.documents import Form
from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.format.texts import Texts
from codedata.recipe.documents import ResolvedRecipe
from codedata.tokenize.engines.base import Engine
from codedata.tokenize.fim_forms import PERMUTED, other_than_form
from codedata.tokenize.plain_text import ids_as_text
from codedata.tokenize.token_bytes import TokenBytes, token_bytes
from codedata.tokenize.tokenizer import LoadedTokenizer

PieceOfDocument = tuple[IdArray, int]
"""The ids of a piece, framing included, and its form."""


def gives_back(
    loaded: LoadedTokenizer,
    engine: Engine,
    recipe: ResolvedRecipe,
    pieces: Sequence[PieceOfDocument],
    document_sha256: str,
    text: Callable[[], Utf8],
) -> bool:
    """Whether undoing the pieces of a document gives it back, and each has its form.

    Its bytes; or, where a tokenizer changes text by design (it composes characters, drops white
    space, ...), a text that has the same bare ids; or its bare ids, where none is permuted.

    Args:
        loaded: the tokenizer.
        engine: of it.
        recipe: that they were made by.
        pieces: of the document, whole and in order, framing included.
        document_sha256: of its text.
        text: reads it; asked where the bytes are others.
    """
    if any(int(ids.max(initial=0)) >= loaded.vocab_size for ids, _ in pieces):
        return False
    rows = np.array([(0, len(ids), form) for ids, form in pieces], np.int32)
    whole = np.concatenate([ids for ids, _ in pieces])
    if len(other_than_form(recipe, whole, rows, lambda _: document_sha256)):
        return False
    made = undone(loaded, recipe, pieces)
    if sha256(made).hexdigest() == document_sha256:
        return True
    if all(form not in PERMUTED for _, form in pieces):
        [own] = ids_as_text(loaded, engine, recipe, Texts.of([text()]))
        found = np.concatenate(_without_frame(recipe, pieces))
        return own is not None and np.array_equal(own, found)
    try:
        made.decode()
    except UnicodeDecodeError:
        return False
    own, found = ids_as_text(
        loaded, engine, recipe, Texts.of([text(), np.frombuffer(made, np.uint8)])
    )
    return own is not None and found is not None and np.array_equal(own, found)


def undone(
    loaded: LoadedTokenizer, recipe: ResolvedRecipe, pieces: Sequence[PieceOfDocument]
) -> bytes:
    """The bytes that a document's pieces stand for, the parts of each in the text's order again.

    Args:
        loaded: the tokenizer.
        recipe: that they were made by.
        pieces: of the document, whole and in order, framing included.
    """
    tokens = token_bytes(loaded)
    own = _without_frame(recipe, pieces)
    found = b""
    forms = [form if form in PERMUTED else Form.PLAIN for _, form in pieces]
    for form, some in groupby(zip(forms, own, strict=True), key=itemgetter(0)):
        each = [ids for _, ids in some]
        for ids in [np.concatenate(each)] if form == Form.PLAIN else each:
            found += _piece_bytes(tokens, recipe, ids, form, continues=bool(found))
    return found


def _without_frame(recipe: ResolvedRecipe, pieces: Sequence[PieceOfDocument]) -> list[IdArray]:
    own = [ids for ids, _ in pieces]
    if recipe.bos is not None:
        own[0] = own[0][1:]
    return [*own[:-1], own[-1][:-1]]


def _piece_bytes(
    tokens: TokenBytes, recipe: ResolvedRecipe, ids: IdArray, form: int, *, continues: bool
) -> bytes:
    """The bytes that a piece without framing stands for.

    Args:
        tokens: what ids stand for.
        recipe: that it was made by.
        ids: of the piece.
        form: of it.
        continues: whether some text of its document stands before.
    """
    parts = [ids]
    if form != Form.PLAIN and recipe.fim is not None:
        sentinels = [recipe.fim.prefix, recipe.fim.suffix, recipe.fim.middle]
        places = np.flatnonzero(np.isin(ids, sentinels))
        _, before, behind, within = np.split(ids, places)
        parts = [before[1:], within[1:], behind[1:]]  # SPM's prefix stands with its middle
    found = b""
    for part in parts:
        found += tokens.bytes_of(part, continues=continues or bool(found))
    return found
