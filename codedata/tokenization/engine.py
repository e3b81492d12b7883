"""Text in, array of ids out: the one interface that chunks are tokenized through.

An engine gives, for any text, exactly the ids that the tokenizer's own files define
(`reference_ids`), special tokens included.
"""

import logging
from collections.abc import Iterator
from typing import Protocol

import numpy as np

from codedata.core.packing import IdArray, id_dtype
from codedata.tokenization.loading import LoadedTokenizer
from codedata.tokenization.structure import framing_is_constant, why_newline_cuts_may_change_ids

logger = logging.getLogger(__name__)

_BLOCK_CHARS = 8_000
"""Blocks of this size are the fastest of 2,000 to 128,000: the work per call is spread, and the
pieces of one block stay in the processor's cache."""

_BATCH_BLOCKS = 16
"""Blocks encoded in one call, in parallel; bounds the memory of their `Encoding` objects."""


class Engine(Protocol):
    """Tokenizes chunks."""

    name: str
    reason: str
    vocab_size: int

    def encode(self, text: str) -> IdArray:
        """The ids of one chunk, shape (num_tokens,), uint16 or int32, special tokens included."""
        ...


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
    return max(loaded.tokenizer.get_vocab(with_added_tokens=True).values()) + 1


class WholeTextEngine:
    """The tokenizers library on the whole chunk as one string: right for every tokenizer."""

    name = "tokenizers, whole chunks"

    def __init__(self, loaded: LoadedTokenizer, reason: str) -> None:
        self.reason = reason
        self.vocab_size = vocabulary_size(loaded)
        self._loaded = loaded

    def encode(self, text: str) -> IdArray:
        """See `Engine.encode`."""
        [encoding] = self._loaded.tokenizer.encode_batch_fast([text])
        ids = np.array(encoding.ids, id_dtype(self.vocab_size - 1))
        return _joined(self._loaded, [ids])


class NewlineBlocksEngine:
    """The tokenizers library on blocks cut after newlines, in parallel.

    Only for tokenizers whose structure proves the cuts exact; see `structure`.
    """

    name = "tokenizers, blocks cut after newlines"
    reason = "the structure of tokenizer.json proves cuts after newlines exact"

    def __init__(self, loaded: LoadedTokenizer) -> None:
        self.vocab_size = vocabulary_size(loaded)
        self._loaded = loaded
        self._before, self._after = _framing(loaded)

    def encode(self, text: str) -> IdArray:
        """See `Engine.encode`."""
        dtype = id_dtype(self.vocab_size - 1)
        pieces: list[IdArray] = [np.array(self._before, dtype)]
        for blocks in _batches(text):
            encodings = self._loaded.tokenizer.encode_batch_fast(blocks, add_special_tokens=False)
            pieces.extend(np.array(encoding.ids, dtype) for encoding in encodings)
        pieces.append(np.array(self._after, dtype))
        return _joined(self._loaded, pieces)


def _joined(loaded: LoadedTokenizer, pieces: list[IdArray]) -> IdArray:
    """The pieces as one array, framed where tokenizer_config.json asks for it."""
    ids = np.concatenate(pieces)
    first, last = (np.array(frame, ids.dtype) for frame in _missing_frame(loaded, ids))
    return np.concatenate([first, ids, last]) if len(first) + len(last) else ids


def _framing(loaded: LoadedTokenizer) -> tuple[list[int], list[int]]:
    """The ids that the post-processor puts before and after every text."""
    bare = loaded.tokenizer.encode("a", add_special_tokens=False).ids
    full = loaded.tokenizer.encode("a").ids
    extra = len(full) - len(bare)
    before = next(n for n in range(extra + 1) if full[n : n + len(bare)] == bare)
    return full[:before], full[before + len(bare) :]


def _batches(text: str) -> Iterator[list[str]]:
    """The text as blocks that end after a newline, some at a time."""
    blocks: list[str] = []
    start = 0
    while start < len(text):
        stop = text.find("\n", start + _BLOCK_CHARS) + 1 or len(text)
        blocks.append(text[start:stop])
        start = stop
        if len(blocks) == _BATCH_BLOCKS:
            yield blocks
            blocks = []
    if blocks:
        yield blocks


def choose_engine(loaded: LoadedTokenizer) -> Engine:
    """The fastest engine that the structure of the tokenizer.json proves exact."""
    why_not = why_newline_cuts_may_change_ids(loaded.structure)
    if why_not is None and not framing_is_constant(loaded.structure):
        why_not = "its post-processor may do more than frame the ids"
    engine: Engine = WholeTextEngine(loaded, why_not) if why_not else NewlineBlocksEngine(loaded)
    logger.info("engine of %s: %s (%s)", loaded.files.source, engine.name, engine.reason)
    return engine
