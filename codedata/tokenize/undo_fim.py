"""The spans of a document, as samples hold them -> the bytes that it was made of."""

from collections.abc import Callable, Sequence
from hashlib import sha256

import numpy as np

from codedata.format.documents import Form
from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.recipe.documents import ResolvedRecipe
from codedata.tokenize.bare_ids import Texts
from codedata.tokenize.engines.base import Engine
from codedata.tokenize.plain_text import ids_as_text
from codedata.tokenize.token_bytes import TokenBytes, token_bytes
from codedata.tokenize.tokenizer import LoadedTokenizer

SpanOfDocument = tuple[IdArray, int]
"""Some tokens of a sample, and the form of the piece that they are of."""


def gives_back(
    loaded: LoadedTokenizer,
    engine: Engine,
    recipe: ResolvedRecipe,
    spans: Sequence[SpanOfDocument],
    document_sha256: str,
    text: Callable[[], Utf8],
) -> bool:
    """Whether undoing the spans of a document gives it back.

    Its bytes; or, where a tokenizer changes text by design (it composes characters, drops white
    space, ...), a text that has the same bare ids.

    Args:
        loaded: the tokenizer.
        engine: of it.
        recipe: that they were made by.
        spans: of the document, in the order of their first tokens.
        document_sha256: of its text.
        text: reads it; asked where the bytes are others.
    """
    made = undone(loaded, recipe, spans)
    if sha256(made).hexdigest() == document_sha256:
        return True
    try:
        made.decode()
    except UnicodeDecodeError:
        return False
    [same] = have_same_ids(loaded, engine, recipe, [(np.frombuffer(made, np.uint8), text())])
    return same


def have_same_ids(
    loaded: LoadedTokenizer,
    engine: Engine,
    recipe: ResolvedRecipe,
    pairs: Sequence[tuple[Utf8, Utf8]],
) -> list[bool]:
    """Whether the two texts of each pair have the same bare ids, and such as documents may have."""
    found = ids_as_text(loaded, engine, recipe, Texts.of([text for pair in pairs for text in pair]))
    return [
        one is not None and other is not None and np.array_equal(one, other)
        for one, other in zip(found[::2], found[1::2], strict=True)
    ]


def undone(
    loaded: LoadedTokenizer, recipe: ResolvedRecipe, spans: Sequence[SpanOfDocument]
) -> bytes:
    """The bytes that a document's spans stand for, its parts in their order again.

    Args:
        loaded: the tokenizer.
        recipe: that they were made by.
        spans: of the document, in the order of their first tokens.
    """
    tokens = token_bytes(loaded)
    found = b""
    for ids, form in _pieces(recipe, spans):
        found += piece_bytes(tokens, recipe, ids, form, continues=bool(found))
    return found


def piece_bytes(
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
    if form in (Form.PSM, Form.SPM) and recipe.fim is not None:
        sentinels = [recipe.fim.prefix, recipe.fim.suffix, recipe.fim.middle]
        places = np.flatnonzero(np.isin(ids, sentinels)).tolist()
        if places[:1] == [0] and ids[places].tolist() == sentinels:
            _, before, behind, within = np.split(ids, places)
            parts = [before[1:], within[1:], behind[1:]]  # SPM's prefix stands with its middle
    found = b""
    for part in parts:
        found += tokens.bytes_of(part.tolist(), continues=continues or bool(found))
    return found


def _pieces(recipe: ResolvedRecipe, spans: Sequence[SpanOfDocument]) -> list[SpanOfDocument]:
    """The pieces of a document without its framing, plain ones that follow each other as one.

    A piece that packing cut goes on in the next span of its form; one that is permuted has its
    prefix token once.
    """
    prefix = None if recipe.fim is None else recipe.fim.prefix
    joined: list[tuple[list[IdArray], int]] = []
    has_prefix = False
    for ids, form in spans:
        begins = form in (Form.PSM, Form.SPM) and prefix in ids
        if joined and joined[-1][1] == form and not (begins and has_prefix):
            joined[-1][0].append(ids)
            has_prefix = has_prefix or begins
        else:
            joined.append(([ids], form))
            has_prefix = begins
    pieces = [(np.concatenate(some), form) for some, form in joined]
    if recipe.bos is not None and pieces:
        pieces[0] = pieces[0][0][1:], pieces[0][1]
    if pieces:
        pieces[-1] = pieces[-1][0][:-1], pieces[-1][1]
    return pieces
