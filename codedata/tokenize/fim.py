"""Documents whose ids are known -> pieces, some of them asked as fill-in-the-middle.

What goes into a sample is cut out of a document's ids, framing included, and ends between
characters, so that the text of a piece is known. A piece that is drawn is cut in three at two of
its characters; each part is tokenized alone, and they are put together again behind three
sentinels, the middle last.

Draws are a hash of the seed, the document's sha256 and the piece's number, so that a document's
pieces depend on it, the tokenizer and the recipe alone: chunks, workers and their order change
nothing.

Cost: ten microseconds a piece, and tokenizing the text of those that are drawn; a kilobyte for each
document of a group, of which there is one at a time.
"""

from collections.abc import Iterator, Sequence
from itertools import pairwise
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codedata.format.documents import PIECE_COLUMNS, Form, Pieces
from codedata.format.packing import IdArray, id_dtype
from codedata.format.ranges import Utf8
from codedata.format.texts import Texts
from codedata.recipe.documents import FIM_ROOM, ResolvedRecipe
from codedata.tokenize.bare_ids import TextIds
from codedata.tokenize.engines.base import Engine, as_utf8
from codedata.tokenize.fim_forms import PERMUTED, Draws, draws
from codedata.tokenize.plain_text import ids_as_text, plain_tokenizer
from codedata.tokenize.token_bytes import FIRST, Stops, TokenBytes, token_bytes
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata.tokenize.undo_fim import gives_back

_Ids = list[IdArray]
"""One behind the other."""

_GROUP_BYTES = 1 << 24
"""Of the documents that are gone through together: enough for all threads."""

_GROUP_DOCUMENTS = 1 << 14
"""At most: their objects take some 20 MB."""


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
    job = _Job(
        loaded=loaded,
        engine=engine,
        recipe=recipe,
        seq_length=seq_length,
        threads=threads,
        tokens=token_bytes(loaded),
        before=np.array([] if recipe.bos is None else [recipe.bos], ids.ids.dtype),
        after=np.array([recipe.eos], ids.ids.dtype),
    )
    arrays, rows = [ids.ids[:0]], [np.empty((0, len(PIECE_COLUMNS)), np.int32)]
    for places in _groups(texts.ends):
        documents = [_Framed(job, texts[place], ids[place]) for place in places]
        own_ids, own_rows = _pieces_of(job, documents, [sha256s[place] for place in places])
        own_rows[:, 0] += places.start
        arrays.append(own_ids)
        rows.append(own_rows)
    return np.concatenate(arrays), np.concatenate(rows)


def _groups(ends: NDArray[np.int64]) -> Iterator[range]:
    """The places of texts that are gone through together, by where each ends."""
    start = 0
    while start < len(ends):
        first_byte = int(ends[start - 1]) if start else 0
        stop = int(np.searchsorted(ends, first_byte + _GROUP_BYTES, "right"))
        stop = min(max(stop, start + 1), start + _GROUP_DOCUMENTS)
        yield range(start, stop)
        start = stop


class _Job(NamedTuple):
    """What is the same for all documents.

    Attributes:
        before: what stands before each.
        after: what stands after each.
    """

    loaded: LoadedTokenizer
    engine: Engine
    recipe: ResolvedRecipe
    seq_length: int
    threads: int
    tokens: TokenBytes
    before: IdArray
    after: IdArray


def _pieces_of(
    job: _Job, documents: "Sequence[_Framed]", sha256s: Sequence[str]
) -> tuple[IdArray, Pieces]:
    """The pieces of some documents; see `fim_pieces`."""
    loaded, engine, recipe = job.loaded, job.engine, job.recipe
    pieces = [
        [*_cut(document, sha256_)] for document, sha256_ in zip(documents, sha256s, strict=True)
    ]
    permuted = iter(_permuted(job, documents, pieces))
    arrays: list[IdArray] = []
    rows: list[tuple[int, int, int]] = []
    for place, (document, some) in enumerate(zip(documents, pieces, strict=True)):
        made = [document.made(piece, next(permuted) if piece.parts else None) for piece in some]
        if document.may_lose and any(form in PERMUTED for _, form in made):
            whole = [(np.concatenate(own), form) for own, form in made]
            text = document.text
            if not gives_back(loaded, engine, recipe, whole, sha256s[place], lambda own=text: own):
                made = [document.made(piece, None) for piece in some]
        for own, form in made:
            arrays += own
            rows.append((place, sum(map(len, own)), form))
    return np.concatenate(arrays), np.array(rows, np.int32)


class _Piece(NamedTuple):
    """Tokens `start` to `stop` of a document, framing included.

    Attributes:
        parts: of one that is drawn: the bytes of the document that its prefix, middle and suffix
            start at, and that the last one stops at; else none.
    """

    start: int
    stop: int
    form: Form
    parts: tuple[int, ...]


class _Framed:
    """A document's ids between those that frame it."""

    __slots__ = ("_ids", "job", "num_tokens", "text")

    def __init__(self, job: _Job, text: Utf8, ids: IdArray) -> None:
        self.job, self.text, self._ids = job, text, ids
        self.num_tokens = len(job.before) + len(ids) + len(job.after)

    @property
    def may_lose(self) -> bool:
        """See `TokenBytes.may_lose`."""
        return self.job.tokens.may_lose(self._ids, self.text)

    def made(self, piece: _Piece, permuted: _Ids | None) -> tuple[_Ids, Form]:
        """The ids of a piece and its form; plain where the permuted ids are none, or too many."""
        before = self.job.before if piece.start == 0 else self.job.before[:0]
        after = self.job.after if piece.stop == self.num_tokens else self.job.after[:0]
        form = piece.form
        if piece.parts:
            if permuted is not None:
                framed = [before, *permuted, after]
                if sum(map(len, framed)) <= self.job.seq_length:
                    return framed, form
            form = Form.LEFT_PLAIN if permuted is None else Form.TOO_LONG
        start, stop = (max(at - len(self.job.before), 0) for at in (piece.start, piece.stop))
        return [before, self._ids[start:stop], after], form

    def stops(self) -> Stops:
        """See `TokenBytes.stops`; of the document's own tokens."""
        recipe, loaded = self.job.recipe, self.job.loaded
        control = recipe.control_ids if recipe.recipe.control_tokens == "text" else ()
        return self.job.tokens.stops(self._ids, self.text, lambda: plain_tokenizer(loaded, control))

    def border(self, stops: Stops, place: int) -> int:
        """The byte of the text at which token `place` begins; -1 where that is no character's."""
        byte = int(stops[min(max(place - len(self.job.before), 0), len(self._ids))])
        is_border = byte == len(self.text) or self.text[byte] & 0xC0 != 0x80
        return byte if is_border else -1


def _cut(document: _Framed, sha256_: str) -> Iterator[_Piece]:
    """The pieces of a document, as they are drawn."""
    fim, num_tokens = document.job.recipe.recipe.fim, document.num_tokens
    seq_length = document.job.seq_length
    assert fim is not None
    stops: Stops | None = None
    start = number = first = 0
    while start < num_tokens:
        drawn = draws(fim.seed, sha256_, number)
        form, stop, last = drawn.form(fim), num_tokens, len(document.text)
        if fim.level == "document":
            form = Form.TOO_LONG if form and num_tokens > seq_length else form
        elif stop - start > (room := max(seq_length - FIM_ROOM, 0) if form else seq_length):
            stops = document.stops() if stops is None else stops
            stop = start + room
            while (last := document.border(stops, stop)) < 0 and stop > start:
                stop -= 1
            if stop == start:  # a character has more tokens than there is room for
                form = Form.TOO_LONG if form else form
                stop = min(start + seq_length, num_tokens)
                last = document.border(stops, stop)
        parts: tuple[int, ...] = ()
        if form in PERMUTED:
            parts = _parts(document.text, first, last, drawn) if 0 <= first < last else ()
            form = form if parts else Form.LEFT_PLAIN
        yield _Piece(start, stop, form, parts)
        start, first, number = stop, last, number + 1


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
    job: _Job, documents: Sequence[_Framed], pieces: Sequence[Sequence[_Piece]]
) -> list[_Ids | None]:
    """The ids of all pieces that are drawn, permuted, without framing.

    None where a part cannot be had alone: its ids would have a control token, or merge with those
    of the lead.
    """
    recipe, tokens = job.recipe, job.tokens
    assert recipe.fim is not None
    lead = as_utf8(tokens.lead)
    parts: list[Utf8] = []
    leads: list[bool] = []
    spm: list[bool] = []
    for document, some in zip(documents, pieces, strict=True):
        for piece in some:
            for start, stop in pairwise(piece.parts):
                part = document.text[start:stop]
                leads.append(start > 0 and len(lead) > 0)
                parts.append(np.concatenate([lead, part]) if leads[-1] else part)
            if piece.parts:
                spm.append(piece.form == Form.SPM)
    found = ids_as_text(job.loaded, job.engine, recipe, Texts.of(parts), threads=job.threads)
    if tokens.lead:
        found = [
            _behind(tokens.lead_ids, ids) if has_lead else ids
            for ids, has_lead in zip(found, leads, strict=True)
        ]
    prefix, suffix, middle = (
        np.array([each], id_dtype(job.loaded.vocab_size - 1))
        for each in (recipe.fim.prefix, recipe.fim.suffix, recipe.fim.middle)
    )
    permuted: list[_Ids | None] = []
    for suffix_first, before, within, behind in zip(
        spm, found[::3], found[1::3], found[2::3], strict=True
    ):
        if before is None or within is None or behind is None:
            permuted.append(None)
        elif suffix_first:
            permuted.append([prefix, suffix, behind, middle, before, within])
        else:
            permuted.append([prefix, before, suffix, behind, middle, within])
    return permuted


def _behind(leading: Sequence[int], ids: IdArray | None) -> IdArray | None:
    """What follows the ids of a lead; None where they are not there."""
    if ids is None or ids[: len(leading)].tolist() != leading:
        return None
    return ids[len(leading) :]
