"""The fast engine: pre-tokens found by byte class, each distinct one merged once.

UTF-8 -> ids. Blocks, cut where no id can change, are tokenized side by side by compiled code that
needs no lock (`kernels`); what is not plain ASCII, and small blocks that hold an added token, are
left to the tokenizers library. Measured in docs/performance.md.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.tokenize.engines.base import PieceEngine, Span, cut_text
from codedata.tokenize.engines.kernels import (
    BLANK,
    DIGIT,
    EMPTY,
    LETTER,
    LONGEST_RECORD,
    MAX_PRETOKEN_BYTES,
    NEWLINE,
    NOT_ASCII,
    PUNCTUATION,
    SPACE,
    SYMBOL,
    Merges,
    Table,
    fill_pairs,
    fill_words,
    find_any,
    tokenize_ascii,
)
from codedata.tokenize.engines.side_by_side import each_piece
from codedata.tokenize.structure import (
    BYTE_CHARACTERS,
    Pretokenizer,
    Rules,
    normalizes_to_nfc_only,
)
from codedata.tokenize.tokenizer import LoadedTokenizer

_SMALL_BLOCK_BYTES = 1 << 10
"""Blocks that hold an added token are cut so small, and those that do go to the library."""

_TABLE_SLOTS = 1 << 18
_ARENA_IDS = 1 << 20

_SPANS = 1 << 12
"""Spans left to the library in one call."""


def byte_classes(rules: Rules) -> NDArray[np.uint8]:
    r"""The class of each byte, uint8, shape (256,).

    Only deepseek-coder's family tells punctuation (\p{P}) from the other symbols and controls.
    """
    classes = np.full(256, NOT_ASCII, np.uint8)
    for byte in range(128):
        character = chr(byte)
        if character in "\r\n":
            classes[byte] = NEWLINE
        elif character == " ":
            classes[byte] = SPACE
        elif character in "\t\v\f":
            classes[byte] = BLANK
        elif character.isdigit():
            classes[byte] = DIGIT
        elif character.isalpha():
            classes[byte] = LETTER
        elif rules.isolating and character not in "!\"#%&'()*,-./:;?@[\\]_{}":
            classes[byte] = SYMBOL
        else:
            classes[byte] = PUNCTUATION
    return classes


def new_table(num_slots: int = _TABLE_SLOTS, arena_ids: int = _ARENA_IDS) -> Table:
    """An empty table of at most 16 bytes a slot and 4 an id; by default 8 MiB, used as it fills.

    Args:
        num_slots: a power of two; half of them are filled at most.
        arena_ids: int32s of records.
    """
    return Table(
        slots=np.zeros(2 * num_slots, np.uint64),
        arena=np.zeros(max(arena_ids, 2 * LONGEST_RECORD), np.int32),
        used=np.zeros(2, np.int64),
        symbols=np.zeros(MAX_PRETOKEN_BYTES, np.int32),
        candidates=np.zeros(MAX_PRETOKEN_BYTES, np.int64),
    )


def build_merges(model: dict[str, Any]) -> Merges:
    """The merges of a BPE model, given as `model` of a tokenizer.json."""
    vocab: dict[str, int] = model["vocab"]
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    size = 1 << (2 * len(merges) + 1).bit_length()
    pairs, results = np.full(size, EMPTY, np.uint64), np.zeros(size, np.int64)
    ids = [(vocab[left], vocab[right], vocab[left + right]) for left, right in merges]
    fill_pairs(pairs, results, np.array(ids, np.int64).reshape(-1, 3))
    words = new_table(1, 0)
    if model.get("ignore_merges"):
        bytes_of = {character: byte for byte, character in BYTE_CHARACTERS.items() if byte < 128}
        ascii_words = [
            (bytes(bytes_of[character] for character in word), token_id)
            for word, token_id in vocab.items()
            if len(word) <= MAX_PRETOKEN_BYTES and all(c in bytes_of for c in word)
        ]
        num_slots = 1 << (2 * len(ascii_words)).bit_length()
        words = new_table(num_slots, 64 * len(ascii_words))
        text = np.frombuffer(b"".join(word for word, _ in ascii_words), np.uint8)
        ends = np.cumsum([len(word) for word, _ in ascii_words], dtype=np.int64)
        fill_words(words, text, ends, np.array([i for _, i in ascii_words], np.int32))
    byte_ids = [vocab.get(BYTE_CHARACTERS[byte], -1) for byte in range(256)]
    return Merges(np.array(byte_ids, np.int32), pairs, results, words)


class PretokensEngine(PieceEngine):
    """Merges each distinct pre-token once; remembers them from chunk to chunk."""

    name = "pretokens"
    piece_bytes = 1 << 18
    """Tokenized by one call: long beside the call's overhead, short beside a chunk."""

    @classmethod
    def why_not(cls, structure: dict[str, Any], pretokenizer: Pretokenizer) -> str | None:
        """See `PieceEngine.why_not`: whether an ASCII pre-token is plain merges of its bytes."""
        if pretokenizer.rules is None:
            return f"{pretokenizer.what} proves cuts, but not what lies between them"
        model: dict[str, Any] = structure.get("model") or {}
        if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
            return "its model marks where words start or end"
        vocab = model.get("vocab") or {}
        if missing := [byte for byte in range(128) if BYTE_CHARACTERS[byte] not in vocab]:
            return f"its vocabulary has no token for {len(missing)} of the ASCII characters"
        if normalizes_to_nfc_only(structure):
            for token in structure.get("added_tokens") or []:
                content: str = token.get("content", "")
                if len(content) > 1 and not content.isascii() and token.get("normalized"):
                    return f"its added token {content!r} is looked for in normalized text"
        return None

    def __init__(self, loaded: LoadedTokenizer, pretokenizer: Pretokenizer) -> None:
        super().__init__(loaded, pretokenizer)
        assert pretokenizer.rules is not None, "see why_not"
        self._rules = pretokenizer.rules
        self._classes = byte_classes(self._rules)
        self._merges = build_merges(loaded.structure["model"])
        added = loaded.tokenizer.get_added_tokens_decoder().values()
        # Those of one character beyond ASCII lie within a foreign span, which the library has.
        words = [t.content.encode() for t in added if len(t.content) > 1 or t.content.isascii()]
        self._words = np.array(list(b"".join(words)), np.uint8)
        self._word_ends = np.cumsum([len(word) for word in words], dtype=np.int64)
        self._firsts = np.isin(np.arange(256), [word[0] for word in words if word])
        self._tables: deque[Table] = deque()

    def encode_pieces(
        self, text: Utf8, pieces: Sequence[Span], *, threads: int
    ) -> Iterable[IdArray]:
        """See `PieceEngine.encode_pieces`."""
        return each_piece(lambda piece: self._encode_block(text, *piece), pieces, threads)

    def _encode_block(self, text: Utf8, start: int, stop: int) -> IdArray:
        found = np.empty(stop - start, np.int64)
        num_found = find_any(text, start, stop, self._words, self._word_ends, self._firsts, found)
        if not num_found:
            return self._encode_plain(text, start, stop)
        small = [
            start + end
            for _, end in cut_text(text[start:stop], self._pretokenizer.cut, _SMALL_BLOCK_BYTES)
        ]
        holding = set(np.searchsorted(small, found[:num_found], "right").tolist())
        pieces = [
            self.by_library(text, [(low, high)])[0]
            if place in holding
            else self._encode_plain(text, low, high)
            for place, (low, high) in enumerate(pairwise([start, *small]))
        ]
        return np.concatenate(pieces)

    def _encode_plain(self, text: Utf8, start: int, stop: int) -> IdArray:
        """Tokenize what holds no added token but those of one character beyond ASCII."""
        try:
            table = self._tables.pop()
        except IndexError:
            table = new_table()
        ids = np.empty(stop - start, self._dtype)
        spans = np.empty((_SPANS, 3), np.int64)
        pieces: list[IdArray] = []
        while start < stop:
            start, num_ids, num_spans = tokenize_ascii(
                text, start, stop, self._classes, self._rules, self._merges, table, ids, spans
            )
            foreign = self.by_library(text, [(s, e) for s, e, _ in spans[:num_spans].tolist()])
            place = 0
            for others, upto in zip(foreign, spans[:num_spans, 2].tolist(), strict=True):
                pieces += [ids[place:upto].copy(), others]
                place = upto
            pieces.append(ids[place:num_ids].copy())
        self._tables.append(table)
        return np.concatenate(pieces) if len(pieces) > 1 else pieces[0]
