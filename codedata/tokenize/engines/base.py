"""Text in, array of ids out: what an engine is, and what holds for every one.

An engine gives, for any text, exactly the ids that the tokenizer's own files define
(`reference_ids`), special tokens included. It gets the text in pieces, between places where the
structure of the tokenizer.json proves that a cut changes no id, and gives the ids that each has in
the text; here they are joined and framed. So a sample of every chunk can be compared, from a cut to
a cut, with the tokenizers library. A tokenizer for which no cut is proven is the library's own
(`codedata.tokenize.engines.whole`): there is nothing to compare it with.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Container, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from codedata.format.packing import IdArray, id_dtype
from codedata.format.ranges import Utf8
from codedata.tokenize.engines.alone import Counted, Span, Stretch, cut_text, each_alone
from codedata.tokenize.library import LibraryTokenizer
from codedata.tokenize.structure import Pretokenizer
from codedata.tokenize.tokenizer import LoadedTokenizer


class NotProvenError(Exception):
    """An engine is not proven exact for a tokenizer; the message says why."""


@dataclass(frozen=True, kw_only=True)
class Encoded:
    """The ids of a chunk.

    Attributes:
        ids: shape (num_tokens,), uint16 or int32, special tokens included.
        marks: places where both sides are known, as pairs of bytes of the text and ids before
            them: what follows a mark was tokenized as if the text began there.
    """

    ids: IdArray
    marks: list[tuple[int, int]]


class Engine(ABC):
    """Tokenizes the chunks of one tokenizer, in any number of threads at once.

    Args:
        loaded: the tokenizer.

    Attributes:
        name: for the switch that forces it, the log and the facts.
        reason: why it was chosen, or why no faster one.
        cut: matches, with no characters, where its texts may be cut; None where nothing is proven.
        lead: see `Pretokenizer.lead`.
        vocab_size: one more than the largest id.
    """

    name: ClassVar[str]
    reason: str
    cut: re.Pattern[bytes] | None = None
    lead: str = ""

    def __init__(self, loaded: LoadedTokenizer) -> None:
        self.vocab_size = loaded.vocab_size
        self._loaded = loaded
        self._dtype = id_dtype(loaded.vocab_size - 1)

    @abstractmethod
    def encode(self, text: Utf8, *, threads: int = 1) -> Encoded:
        """Tokenize one chunk, with up to so many threads of the caller's choice."""

    @abstractmethod
    def encode_each(
        self, text: Utf8, ends: NDArray[np.int64], *, threads: int = 1
    ) -> tuple[IdArray, NDArray[np.int64]]:
        """Tokenize texts that stand one behind the other, each as if it stood alone, unframed.

        Args:
            text: all of them.
            ends: where each ends, shape (num_texts,).
            threads: as `encode` has them.

        Returns:
            Their ids, shape (num_tokens,), uint16 or int32, and where those of each end, shape
            (num_texts,).
        """

    def settle(self) -> None:  # noqa: B027  (most have nothing to wait for)
        """Wait for what is found out in the background and makes it faster; mostly nothing is."""


class PieceEngine(Engine):
    """An engine that gets a text in pieces: what to derive from for a new one.

    Args:
        loaded: the tokenizer, which `why_not` has nothing against.
        pretokenizer: what its structure proves, the cuts among it.

    Raises:
        NotProvenError: making it shows that it is not exact for this tokenizer after all.

    Attributes:
        piece_bytes: the pieces are so long at least, the last one of a text excepted.
    """

    piece_bytes: ClassVar[int]

    def __init__(self, loaded: LoadedTokenizer, pretokenizer: Pretokenizer) -> None:
        super().__init__(loaded)
        self.cut, self.lead = pretokenizer.cut, pretokenizer.lead
        self._pretokenizer = pretokenizer

    @classmethod
    @abstractmethod
    def why_not(cls, structure: dict[str, Any], pretokenizer: Pretokenizer) -> str | None:
        """Why it is not proven exact for a tokenizer whose texts may be cut; None where it is.

        Args:
            structure: the parsed tokenizer.json; its model's merges are a sequence that is parsed
                once it is looked at.
            pretokenizer: what that proves.
        """

    @abstractmethod
    def encode_pieces(
        self, text: Utf8, pieces: Sequence[Span], *, threads: int
    ) -> Iterable[IdArray]:
        """The ids that pieces of a text have in it, without special tokens that frame it.

        Any integers; a piece that does not begin the text is tokenized behind `lead`.

        Args:
            text: UTF-8.
            pieces: of it, each where the one before ends.
            threads: that may work on them.
        """

    def encode(self, text: Utf8, *, threads: int = 1) -> Encoded:
        """See `Engine.encode`."""
        spans = list(cut_text(text, self._pretokenizer.cut, self.piece_bytes))
        before, after = self._frame
        pieces = [before, *self.encode_pieces(text, spans, threads=threads), after]
        edges = [id_ for piece in pieces if len(piece) for id_ in (piece[0], piece[-1])]
        first, last = missing_frame(self._loaded, edges)
        framed = [np.array(first, self._dtype), *pieces, np.array(last, self._dtype)]
        places = np.cumsum([len(piece) for piece in framed[:-3]])[1:].tolist()
        return Encoded(
            ids=np.concatenate(framed, dtype=self._dtype, casting="unsafe"),
            marks=[(start, place) for (start, _), place in zip(spans, places, strict=True)],
        )

    def encode_each(
        self, text: Utf8, ends: NDArray[np.int64], *, threads: int = 1
    ) -> tuple[IdArray, NDArray[np.int64]]:
        """See `Engine.encode_each`; here by a call of `encode_pieces` for each text."""

        def encode(stretch: Stretch) -> Counted:
            [(start, stop)] = stretch.spans
            alone = text[start:stop]
            spans = list(cut_text(alone, self._pretokenizer.cut, self.piece_bytes))
            ids = np.concatenate([*self.encode_pieces(alone, spans, threads=threads)])
            return ids, np.array([len(ids)])

        return each_alone(
            encode, Stretch.of(ends), ends, group_bytes=1, threads=1, dtype=self._dtype
        )

    def by_library(
        self, text: Utf8, spans: Sequence[Span], *, begins: Container[int] = (0,)
    ) -> list[IdArray]:
        """The tokenizers library's ids of some spans of a text, without special tokens.

        Args:
            text: of which they are.
            spans: each from a cut, or where a text begins.
            begins: where texts begin; what starts elsewhere is tokenized behind `lead`.
        """
        if not spans:  # a call of the library takes longer than a glance
            return []
        texts = [str(text[start:stop].data, "utf-8") for start, stop in spans]
        leads = ["" if start in begins else self.lead for start, _ in spans]
        found = ids_behind(self._loaded, leads, texts)
        return [np.array(ids, self._dtype) for ids in found]

    @cached_property
    def _frame(self) -> tuple[IdArray, IdArray]:
        """The ids that the post-processor puts before and after every text."""
        first, last = constant_frame(self._loaded.tokenizer)
        return np.array(first, self._dtype), np.array(last, self._dtype)


def constant_frame(tokenizer: LibraryTokenizer) -> tuple[list[int], list[int]]:
    """The ids that a post-processor which only frames texts puts before and after each."""
    encodings = map(tokenizer.encode, _texts_with_ids(tokenizer))
    encoding = next((each for each in encodings if 0 in each.special_tokens_mask), None)
    encoding = encoding or tokenizer.encode("")  # no text has ids
    ids, mask = encoding.ids, encoding.special_tokens_mask
    start, stop = (mask.index(0), len(mask) - mask[::-1].index(0)) if 0 in mask else (0, 0)
    return ids[:start], ids[stop:]


def _texts_with_ids(tokenizer: LibraryTokenizer) -> Iterator[str]:
    """Texts some of which have ids: a vocabulary may lack any character."""
    yield from map(chr, range(128))
    yield from tokenizer.get_vocab()


def as_utf8(text: str) -> Utf8:
    """A text as engines take it."""
    return np.frombuffer(text.encode(), np.uint8)


def ids_behind(
    loaded: LoadedTokenizer, leads: Sequence[str], texts: Sequence[str]
) -> list[list[int]]:
    """The tokenizers library's ids of texts, each behind its lead, whose own ids are left out."""
    of_leads = {
        lead: loaded.tokenizer.encode(lead, add_special_tokens=False).ids for lead in {*leads}
    }
    together = [lead + text for lead, text in zip(leads, texts, strict=True)]
    found = loaded.tokenizer.encode_batch_fast(together, add_special_tokens=False)
    return [each.ids[len(of_leads[lead]) :] for lead, each in zip(leads, found, strict=True)]


def reference_ids(loaded: LoadedTokenizer, text: str) -> list[int]:
    """The ids of one chunk as the contract states them: the measure for every engine."""
    ids = loaded.tokenizer.encode(text).ids
    first, last = missing_frame(loaded, ids)
    return first + ids + last


def missing_frame(loaded: LoadedTokenizer, ids: IdArray | list[int]) -> tuple[list[int], list[int]]:
    """The BOS and EOS that tokenizer_config.json asks for and the ids do not have yet."""
    bos, eos = loaded.bos_id, loaded.eos_id
    first = [] if bos is None or (len(ids) and ids[0] == bos) else [bos]
    last = [] if eos is None or (len(ids) and ids[-1] == eos) else [eos]
    return first, last
