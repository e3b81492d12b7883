"""Text in, array of ids out: the one interface that chunks are tokenized through.

An engine gives, for any text, exactly the ids that the tokenizer's own files define
(`reference_ids`), special tokens included. Three are there; `choose_engine` takes the fastest that
the structure of the tokenizer.json proves exact:

- `pretokens` (`codedata.tokenize.engines.interned`): each distinct pre-token is merged once;
- `blocks`: the tokenizers library, on blocks cut where no id can change;
- `whole`: the tokenizers library on the whole chunk as one string, right for every tokenizer.
"""

import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Literal, Protocol, get_args

import numpy as np

from codedata.errors import SettingsError
from codedata.format.packing import IdArray, id_dtype
from codedata.sources.parquet.text import Utf8
from codedata.tokenize.structure import (
    Pretokenizer,
    find_pretokenizer,
    why_not_interned,
)
from codedata.tokenize.tokenizer_files import LoadedTokenizer

logger = logging.getLogger(__name__)

EngineName = Literal["pretokens", "blocks", "whole"]
EngineChoice = Literal["auto", "pretokens", "blocks", "whole"]
ENGINE_CHOICES: tuple[EngineChoice, ...] = get_args(EngineChoice)

_ASKED_FOR = "it was asked for"

_BLOCK_BYTES = 8_000
"""Blocks of this size are the library's fastest of 2,000 to 128,000: the work per call is spread,
and the pieces of one block stay in the processor's cache."""

_BATCH_BLOCKS = 16
"""Blocks encoded in one call, in parallel; bounds the memory of their `Encoding` objects."""


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


class Engine(Protocol):
    """Tokenizes chunks.

    Attributes:
        name: for the switch that forces it.
        reason: why it was chosen, or why no faster one.
        vocab_size: one more than the largest id.
    """

    name: EngineName
    reason: str
    vocab_size: int

    @property
    def cut(self) -> re.Pattern[bytes] | None:
        """Matches, with no characters, where its texts may be cut; None where nothing is proven."""
        ...

    def encode(self, text: Utf8, *, threads: int = 1) -> Encoded:
        """Tokenize one chunk, with up to so many threads of the caller's choice."""
        ...


def as_utf8(text: str) -> Utf8:
    """A text as engines take it."""
    return np.frombuffer(text.encode(), np.uint8)


def reference_ids(loaded: LoadedTokenizer, text: str) -> list[int]:
    """The ids of one chunk as the contract states them: the measure for every engine."""
    ids = loaded.tokenizer.encode(text).ids
    first, last = _missing_frame(loaded, ids)
    return first + ids + last


def _missing_frame(
    loaded: LoadedTokenizer, ids: IdArray | list[int]
) -> tuple[list[int], list[int]]:
    """The BOS and EOS that tokenizer_config.json asks for and the ids do not have yet."""
    bos, eos = loaded.bos_id, loaded.eos_id
    first = [] if bos is None or (len(ids) and ids[0] == bos) else [bos]
    last = [] if eos is None or (len(ids) and ids[-1] == eos) else [eos]
    return first, last


def vocabulary_size(loaded: LoadedTokenizer) -> int:
    """One more than the largest id that the tokenizer can give."""
    return max(loaded.tokenizer.get_vocab().values()) + 1


class WholeTextEngine:
    """The tokenizers library on the whole chunk as one string: right for every tokenizer."""

    name: EngineName = "whole"
    cut: re.Pattern[bytes] | None = None

    def __init__(self, loaded: LoadedTokenizer, reason: str) -> None:
        self.reason = reason
        self.vocab_size = vocabulary_size(loaded)
        self._loaded = loaded

    def encode(self, text: Utf8, *, threads: int = 1) -> Encoded:  # noqa: ARG002
        """See `Engine.encode`; one string is tokenized by one thread."""
        [encoding] = self._loaded.tokenizer.encode_batch_fast([str(text.data, "utf-8")])
        ids = np.array(encoding.ids, id_dtype(self.vocab_size - 1))
        first, last = _missing_frame(self._loaded, ids)
        return Encoded(ids=_concatenated([first, ids, last], ids.dtype), marks=[])


class Framing:
    """The ids before and after every text: the post-processor's, and the config's BOS and EOS."""

    def __init__(self, loaded: LoadedTokenizer) -> None:
        bare = loaded.tokenizer.encode("a", add_special_tokens=False).ids
        full = loaded.tokenizer.encode("a").ids
        extra = len(full) - len(bare)
        before = next(n for n in range(extra + 1) if full[n : n + len(bare)] == bare)
        self._before, self._after = full[:before], full[before + len(bare) :]
        self._loaded = loaded

    def join(self, starts: list[int], pieces: list[IdArray], dtype: np.dtype[Any]) -> Encoded:
        """The chunk of which the pieces, each from its start in bytes on, are the bare ids."""
        bare = [self._before, *pieces, self._after]
        full = [piece for piece in bare if len(piece)]
        edges = [int(full[0][0]), int(full[-1][-1])] if full else []
        first, last = _missing_frame(self._loaded, edges)
        ids = _concatenated([first, *bare, last], dtype)
        counts = [len(first) + len(self._before), *(len(piece) for piece in pieces)]
        places = np.cumsum(counts)[:-1].tolist()
        return Encoded(ids=ids, marks=list(zip(starts, places, strict=True)))


def _concatenated(pieces: Sequence[IdArray | list[int]], dtype: np.dtype[Any]) -> IdArray:
    return np.concatenate([np.asarray(piece, dtype) for piece in pieces])


def cut_text(text: Utf8, cut: re.Pattern[bytes], num_bytes: int) -> Iterator[tuple[int, int]]:
    """Start and stop, in bytes, of blocks of at least `num_bytes`, the last one excepted."""
    start = 0
    while start < len(text):
        found = cut.search(text.data, start + num_bytes)
        stop = found.start() if found else len(text)
        yield start, stop
        start = stop


class BlocksEngine:
    """The tokenizers library on blocks, in parallel, cut where the structure proves it exact."""

    name: EngineName = "blocks"

    def __init__(self, loaded: LoadedTokenizer, pretokenizer: Pretokenizer, reason: str) -> None:
        self.reason = reason
        self.vocab_size = vocabulary_size(loaded)
        self.cut = pretokenizer.cut
        self._tokenizer = loaded.tokenizer
        self._framing = Framing(loaded)

    def encode(self, text: Utf8, *, threads: int = 1) -> Encoded:  # noqa: ARG002
        """See `Engine.encode`; the library has threads of its own, `$RAYON_NUM_THREADS`."""
        dtype = id_dtype(self.vocab_size - 1)
        blocks = list(cut_text(text, self.cut, _BLOCK_BYTES))
        pieces: list[IdArray] = []
        for first in range(0, len(blocks), _BATCH_BLOCKS):
            batch = blocks[first : first + _BATCH_BLOCKS]
            texts = [str(text[start:stop].data, "utf-8") for start, stop in batch]
            encodings = self._tokenizer.encode_batch_fast(texts, add_special_tokens=False)
            pieces.extend(np.array(encoding.ids, dtype) for encoding in encodings)
        return self._framing.join([start for start, _ in blocks], pieces, dtype)


def choose_engine(loaded: LoadedTokenizer, choice: EngineChoice = "auto") -> Engine:
    """The fastest engine that the structure of the tokenizer.json proves exact.

    Args:
        loaded: the tokenizer.
        choice: `auto`, or the one to take.

    Raises:
        SettingsError: the choice is not proven exact for this tokenizer.
    """
    engine = _make_engine(loaded, "pretokens" if choice == "auto" else choice)
    if choice not in ("auto", engine.name):
        raise SettingsError(
            f"engine {choice!r} is not proven exact for {loaded.files.tokenizer_json}: "
            f"{engine.reason}; choose 'auto' or {engine.name!r}"
        )
    logger.info("engine of %s: %s (%s)", loaded.files.source, engine.name, engine.reason)
    return engine


def _make_engine(loaded: LoadedTokenizer, best: EngineName) -> Engine:
    """The fastest engine that is proven, but none faster than `best`."""
    found = find_pretokenizer(loaded.structure)
    if best == "whole" or isinstance(found, str):
        return WholeTextEngine(loaded, found if isinstance(found, str) else _ASKED_FOR)
    why_not = _ASKED_FOR if best == "blocks" else why_not_interned(loaded.structure, found)
    if why_not is not None:
        return BlocksEngine(loaded, found, why_not)
    from codedata.tokenize.engines.interned import PretokensEngine  # numba, only where it is used

    return PretokensEngine(loaded, found)
