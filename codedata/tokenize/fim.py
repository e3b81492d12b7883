"""Documents whose ids are known -> pieces, some of them asked as fill-in-the-middle.

What goes into a sample is cut out of a document's ids, framing included, and ends between
characters, so that the text of a piece is known. A piece that is drawn is cut in three at two of
its characters; each part is tokenized alone, and they are put together again behind three
sentinels, the middle last.

Draws are a hash of the seed, the document's sha256 and the piece's number, so that a document's
pieces depend on it, the tokenizer and the recipe alone: chunks, workers and their order change
nothing.

Cost: ten microseconds a piece, and tokenizing the text of those that are drawn.
"""

import struct
from collections.abc import Iterator, Sequence
from hashlib import sha256
from itertools import pairwise
from typing import NamedTuple

import numpy as np

from codedata.format.documents import Form, Pieces
from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.format.texts import Texts
from codedata.recipe.documents import FIM_ROOM, Fim, ResolvedRecipe
from codedata.tokenize.bare_ids import TextIds
from codedata.tokenize.engines.base import Engine, as_utf8
from codedata.tokenize.plain_text import ids_as_text, tokenizer_of
from codedata.tokenize.token_bytes import FIRST, Stops, TokenBytes, token_bytes
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata.tokenize.undo_fim import have_same_ids, piece_bytes

_BITS = 64
"""Of each of the four numbers that are drawn."""


class Draws(NamedTuple):
    """What was drawn for a piece: numbers below 2**64.

    Attributes:
        fim: decides whether it is asked as fill-in-the-middle.
        spm: and whether its suffix comes first.
        first: a place to cut it at.
        second: the other one.
    """

    fim: int
    spm: int
    first: int
    second: int

    def form(self, fim: Fim) -> Form:
        """The form of the piece."""
        if self.fim >= fim.rate * 2**_BITS:
            return Form.PLAIN
        return Form.SPM if self.spm < fim.spm_rate * 2**_BITS else Form.PSM

    def cuts(self, num_chars: int) -> tuple[int, int]:
        """The characters before the middle and before the suffix: 0 to all, each as likely."""
        places = [(number * (num_chars + 1)) >> _BITS for number in (self.first, self.second)]
        return min(places), max(places)


def draws(seed: int, document_sha256: str, piece: int) -> Draws:
    """What is drawn for a piece of a document, by its number in it."""
    drawn = sha256(f"{seed}:{document_sha256}:{piece}".encode()).digest()
    return Draws(*struct.unpack(">4Q", drawn))


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
) -> tuple[IdArray, Pieces]:
    """The pieces of documents, in their order, and of each in the order of its text.

    Args:
        loaded: the tokenizer.
        engine: of it.
        recipe: with fill-in-the-middle.
        texts: of the documents, none of them empty.
        ids: theirs, bare; without control tokens.
        sha256s: of their texts.
        seq_length: tokens a sample.
        threads: that may work on them.

    Returns:
        Their ids, one piece behind the other, shape (num_tokens,), and a row a piece; the document
        is its place in `texts`.
    """
    tokens = token_bytes(loaded)
    documents = [_Framed(tokens, recipe, texts[at], ids[at]) for at in range(len(texts))]
    pieces = [
        piece
        for place, document in enumerate(documents)
        for piece in _cut(document, place, sha256s[place], seq_length)
    ]
    drawn = [piece for piece in pieces if piece.parts]
    permuted = iter(_permuted(tokens, engine, recipe, texts, drawn, threads))
    arrays: list[IdArray | list[int]] = [ids.ids[:0]]
    rows: list[tuple[int, int, int]] = []
    for piece in pieces:
        before, body, after = documents[piece.document].part(piece.start, piece.stop)
        form = piece.form
        if piece.parts:
            found = next(permuted)
            if found is None:
                form = Form.PLAIN
            elif len(before) + len(found) + len(after) > seq_length:
                form = Form.TOO_LONG
            else:
                body = found
        arrays += (before, body, after)
        rows.append((piece.document, len(before) + len(body) + len(after), form))
    flat = np.concatenate(arrays, dtype=ids.ids.dtype, casting="unsafe")
    return flat, np.array(rows, np.int32).reshape(-1, 3)


class _Piece(NamedTuple):
    """Tokens `start` to `stop` of a document, framing included.

    Attributes:
        parts: of one that is drawn: the bytes of the document that its prefix, middle and suffix
            start at, and that the last one stops at; else none.
    """

    document: int
    start: int
    stop: int
    form: Form
    parts: tuple[int, ...]


class _Framed:
    """A document's ids between those that frame it."""

    def __init__(
        self, tokens: TokenBytes, recipe: ResolvedRecipe, text: Utf8, ids: IdArray
    ) -> None:
        self.text, self.recipe = text, recipe
        self._tokens, self._ids = tokens, ids
        self._num_before = 0 if recipe.bos is None else 1
        self.num_tokens = self._num_before + len(ids) + 1

    def part(self, start: int, stop: int) -> tuple[list[int], IdArray, list[int]]:
        """Tokens `start` to `stop`: those before, within and behind the document's own."""
        bos, num_before = self.recipe.bos, self._num_before
        before = [] if bos is None or start else [bos]
        after = [self.recipe.eos] if stop == self.num_tokens else []
        own = self._ids[max(start - num_before, 0) : max(stop - num_before, 0)]
        return before, own, after

    def stops(self) -> Stops:
        """See `TokenBytes.stops`; of the document's own tokens."""
        tokenizer = tokenizer_of(self._tokens.loaded, self.recipe)
        return self._tokens.stops(self._ids, self.text, tokenizer)

    def border(self, stops: Stops, place: int) -> int:
        """The byte of the text at which token `place` begins; -1 where that is no character's."""
        byte = int(stops[min(max(place - self._num_before, 0), len(self._ids))])
        is_border = byte == len(self.text) or self.text[byte] & 0xC0 != 0x80
        return byte if is_border else -1


def _cut(document: _Framed, place: int, sha256_: str, seq_length: int) -> Iterator[_Piece]:
    """The pieces of a document, as they are drawn."""
    fim, num_tokens = document.recipe.recipe.fim, document.num_tokens
    assert fim is not None
    stops: Stops | None = None
    start = number = 0
    while start < num_tokens:
        drawn = draws(fim.seed, sha256_, number)
        form, stop = drawn.form(fim), num_tokens
        if fim.level == "document":
            form = Form.TOO_LONG if form and num_tokens > seq_length else form
        elif stop - start > (room := max(seq_length - FIM_ROOM, 0) if form else seq_length):
            stops = document.stops() if stops is None else stops
            stop = start + room
            while stop > start and document.border(stops, stop) < 0:
                stop -= 1
            if stop == start:  # a character has more tokens than there is room for
                form = Form.TOO_LONG if form else form
                stop = min(start + seq_length, num_tokens)
        parts: tuple[int, ...] = ()
        if form in (Form.PSM, Form.SPM):
            first, last = 0, len(document.text)
            if stops is not None:
                first, last = document.border(stops, start), document.border(stops, stop)
            parts = _parts(document.text, first, last, drawn) if 0 <= first < last else ()
            form = form if parts else Form.PLAIN
        yield _Piece(place, start, stop, form, parts)
        start, number = stop, number + 1


def _parts(text: Utf8, first: int, last: int, drawn: Draws) -> tuple[int, int, int, int]:
    """Where the three parts of some bytes of a text start, and where the last one stops."""
    is_first = text[first:last].view(np.int8) >= FIRST
    num_chars = int(np.count_nonzero(is_first))
    middle, suffix = drawn.cuts(num_chars)
    if num_chars < last - first:
        starts = np.append(np.flatnonzero(is_first), last - first)
        middle, suffix = int(starts[middle]), int(starts[suffix])
    return first, first + middle, first + suffix, last


def _permuted(
    tokens: TokenBytes,
    engine: Engine,
    recipe: ResolvedRecipe,
    texts: Texts,
    drawn: Sequence[_Piece],
    threads: int,
) -> list[IdArray | None]:
    """The ids of pieces without framing, permuted; None where a part cannot be had alone.

    Its ids have a control token, or do not give back its text.
    """
    assert recipe.fim is not None
    lead = as_utf8(tokens.lead)
    parts: list[Utf8] = []
    num_leading: list[int] = []
    for piece in drawn:
        text = texts[piece.document]
        for start, stop in pairwise(piece.parts):
            leads = bool(tokens.lead) and start > 0
            parts.append(np.concatenate([lead, text[start:stop]]) if leads else text[start:stop])
            num_leading.append(len(tokens.lead_ids) if leads else 0)
    found = ids_as_text(tokens.loaded, engine, recipe, Texts.of(parts), threads=threads)
    if tokens.lead:
        leading = zip(found, num_leading, strict=True)
        found = [_behind(tokens.lead_ids[:num_ids], ids) for ids, num_ids in leading]
    ids_of = recipe.fim
    prefix, suffix, middle = [ids_of.prefix], [ids_of.suffix], [ids_of.middle]
    permuted: list[IdArray | None] = []
    for piece, before, within, behind in zip(
        drawn, found[::3], found[1::3], found[2::3], strict=True
    ):
        if before is None or within is None or behind is None:
            permuted.append(None)
            continue
        if piece.form == Form.PSM:
            order = [prefix, before, suffix, behind, middle, within]
        else:
            order = [prefix, suffix, behind, middle, before, within]
        permuted.append(np.concatenate(order, dtype=within.dtype, casting="unsafe"))
    if tokens.table is None:
        for at in _not_given_back(tokens, engine, recipe, texts, drawn, permuted):
            permuted[at] = None
    return permuted


def _behind(leading: Sequence[int], ids: IdArray | None) -> IdArray | None:
    """What follows the ids of a lead; None where they are not there."""
    if ids is None or ids[: len(leading)].tolist() != leading:
        return None
    return ids[len(leading) :]


def _not_given_back(
    tokens: TokenBytes,
    engine: Engine,
    recipe: ResolvedRecipe,
    texts: Texts,
    drawn: Sequence[_Piece],
    permuted: Sequence[IdArray | None],
) -> list[int]:
    """Those pieces whose text does not come back, nor one that has the same ids."""
    doubtful: dict[int, tuple[Utf8, Utf8]] = {}
    for at, (piece, ids) in enumerate(zip(drawn, permuted, strict=True)):
        if ids is not None:
            start, *_, stop = piece.parts
            text = texts[piece.document][start:stop]
            made = piece_bytes(tokens, recipe, ids, piece.form, continues=start > 0)
            if made != text.tobytes():
                doubtful[at] = np.frombuffer(made, np.uint8), text
    same = have_same_ids(tokens.loaded, engine, recipe, [*doubtful.values()])
    return [at for at, is_same in zip(doubtful, same, strict=True) if not is_same]
