"""The fast engine: pre-tokens found by classes of characters, each distinct one merged once.

UTF-8 -> ids. Blocks, cut where no id can change, are tokenized side by side by compiled code that
needs no lock (`kernels`); long pre-tokens, and small blocks that hold an added token of more than
one character, are left to the tokenizers library. Measured in docs/performance.md.
"""

from collections import deque
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.tokenize.engines.alone import Counted, Stretch
from codedata.tokenize.engines.compiling import loading_compiled
from codedata.tokenize.engines.kernels import (
    ALONE,
    BLANK,
    CJK,
    EMPTY,
    LETTER,
    LONGEST_RECORD,
    MAX_MERGES,
    MAX_PRETOKEN_BYTES,
    NOT_ASCII,
    OTHER,
    PUNCTUATION,
    SPACE,
    Classes,
    Merges,
    Table,
    fill_pairs,
    fill_words,
    find_any,
    tokenize,
)
from codedata.tokenize.engines.stretches import StretchEngine
from codedata.tokenize.structure import (
    BYTE_CHARACTERS,
    Pretokenizer,
    Rules,
    normalizes_to_nfc_only,
)
from codedata.tokenize.tokenizer import LoadedTokenizer
from codedata.tokenize.unicode_classes import UnicodeClass, ambiguous_code_points, unicode_classes

_SMALL_BLOCK_BYTES = 1 << 10
"""Blocks that hold an added token are cut so small, and those that do go to the library."""

_TABLE_SLOTS = 1 << 18
_ARENA_IDS = 1 << 20

_SPANS = 1 << 12
"""Spans left to the library in one call."""


def character_classes(rules: Rules) -> NDArray[np.uint8]:
    """The class of each code point in a family, uint8, shape (0x110000,)."""
    found = unicode_classes()
    classes = np.full(len(found), OTHER, np.uint8)
    classes[found & UnicodeClass.LETTER != 0] = LETTER
    classes[found & UnicodeClass.WHITE_SPACE != 0] = BLANK
    if rules.isolating:
        classes[found & UnicodeClass.PUNCTUATION != 0] = PUNCTUATION
        classes[found & UnicodeClass.CJK != 0] |= CJK
        classes[[ord("\r"), ord("\n")]] = ALONE
    else:
        classes[ord(" ")] = SPACE
    classes[found & UnicodeClass.NUMERIC != 0] = ALONE
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
        order=np.zeros(MAX_PRETOKEN_BYTES, np.uint32),
        before=np.zeros(MAX_PRETOKEN_BYTES, np.int32),
        after=np.zeros(MAX_PRETOKEN_BYTES, np.int32),
    )


def build_merges(model: dict[str, Any], added: dict[str, int]) -> Merges:
    """The merges of a BPE model, given as `model` of a tokenizer.json.

    Args:
        model: of a byte-level vocabulary.
        added: added tokens of one character, and their ids.
    """
    vocab: dict[str, int] = model["vocab"]
    merges = [m.split(" ") if isinstance(m, str) else m for m in model["merges"]]
    size = 1 << (2 * len(merges) + 1).bit_length()
    pairs, ranks = np.full(size, EMPTY, np.uint64), np.zeros(size, np.int32)
    ids = [(vocab[left], vocab[right]) for left, right in merges]
    fill_pairs(pairs, ranks, np.array(ids, np.int32).reshape(-1, 2))
    merged = np.array([vocab[left + right] for left, right in merges], np.int32)
    text = np.frombuffer(b"".join(word.encode() for word in added), np.uint8)
    ends = np.cumsum([len(word.encode()) for word in added], dtype=np.int64)
    words = new_table(1 << (2 * len(added)).bit_length(), 0)
    fill_words(words, text, ends, np.array([*added.values()], np.int32))
    byte_ids = [vocab.get(BYTE_CHARACTERS[byte], -1) for byte in range(256)]
    return Merges(np.array(byte_ids, np.int32), pairs, ranks, merged, words)


def _why_not_merged(model: dict[str, Any]) -> str | None:
    """Why a pre-token may be more than plain merges of its bytes; None where it is no more."""
    if model.get("continuing_subword_prefix") or model.get("end_of_word_suffix"):
        return "its model marks where words start or end"
    if len(model.get("merges") or []) > MAX_MERGES:
        return f"its model has more than {MAX_MERGES:,} merges"
    if model.get("ignore_merges"):
        return "its model takes whole words, whatever their merges"
    vocab = model.get("vocab") or {}
    if missing := [byte for byte in range(128) if BYTE_CHARACTERS[byte] not in vocab]:
        return f"its vocabulary has no token for {len(missing)} of the ASCII characters"
    return None


class PretokensEngine(StretchEngine):
    """Merges each distinct pre-token once; remembers them from chunk to chunk."""

    name = "pretokens"
    piece_bytes = 1 << 18
    """Tokenized by one call: long beside the call's overhead, short beside a chunk."""

    @classmethod
    def why_not(cls, structure: dict[str, Any], pretokenizer: Pretokenizer) -> str | None:
        """See `PieceEngine.why_not`."""
        if pretokenizer.rules is None:
            return f"it has no rules for {pretokenizer.what}, only deepseek-coder's and StarCoder's"
        if normalizes_to_nfc_only(structure):
            return "it takes a text as it is, and this tokenizer normalizes it"
        if len(found := ambiguous_code_points()):
            return f"this tokenizers library takes U+{found[0]:04X} for two things at once"
        return _why_not_merged(structure.get("model") or {})

    @loading_compiled()
    def __init__(self, loaded: LoadedTokenizer, pretokenizer: Pretokenizer) -> None:
        super().__init__(loaded, pretokenizer)
        assert pretokenizer.rules is not None, "see why_not"
        self._isolating = pretokenizer.rules.isolating
        added = {t.content: i for i, t in loaded.tokenizer.get_added_tokens_decoder().items()}
        # Those of one character beyond ASCII are pre-tokens; the others are looked for.
        characters = {c: i for c, i in added.items() if len(c) == 1 and not c.isascii()}
        self._merges = build_merges(loaded.structure["model"], characters)
        code_points = character_classes(pretokenizer.rules)
        code_points[[ord(character) for character in characters]] = ALONE
        bytes_ = np.where(np.arange(256) < 128, code_points[:256], NOT_ASCII).astype(np.uint8)
        self._classes = Classes(bytes_, code_points)
        words = [content.encode() for content in added if content not in characters]
        self._words = np.array(list(b"".join(words)), np.uint8)
        self._word_ends = np.cumsum([len(word) for word in words], dtype=np.int64)
        self._firsts = np.isin(np.arange(256), [word[0] for word in words if word])
        self._tables: deque[Table] = deque()
        self._encode(
            np.frombuffer(b"a", np.uint8), Stretch.within([0, 1], 1)
        )  # loads what is compiled
        self._tables.clear()

    def _encode(self, text: Utf8, stretch: Stretch) -> Counted:
        start, stop = stretch.edges[[0, -1]].tolist()
        found = np.empty(stop - start, np.int64)
        num_found = find_any(text, start, stop, self._words, self._word_ends, self._firsts, found)
        if not num_found:
            return self._encode_but(text, stretch, np.zeros(len(stretch.edges) - 1, np.bool_))
        places = found[:num_found]
        cut = self._pretokenizer.cut
        small = stretch.cut(text, cut, _SMALL_BLOCK_BYTES, stretch.holding(places))
        ids, counts = self._encode_but(text, small, small.holding(places))
        return ids, np.add.reduceat(counts, np.searchsorted(small.edges, stretch.edges[:-1]))

    def _encode_but(self, text: Utf8, stretch: Stretch, left: NDArray[np.bool_]) -> Counted:
        """Tokenize pieces of which some, those that hold added tokens, are left to the library."""
        try:
            table = self._tables.pop()
        except IndexError:
            table = new_table()
        edges = stretch.edges
        start, stop = edges[[0, -1]].tolist()
        behind = {*edges[:-1][left & ~stretch.borders[:-1]].tolist()}
        ids = np.empty(stop - start, self._dtype)
        spans = np.empty((_SPANS, 3), np.int64)
        counts = np.zeros(len(left), np.int64)
        pieces: list[IdArray] = []
        while start < stop:
            start, num_ids, num_spans = tokenize(
                text, start, edges, left, self._isolating, self._classes, self._merges, table, ids,
                spans, counts,
            )  # fmt: skip
            foreign = [(low, high) for low, high, _ in spans[:num_spans].tolist()]
            # Pre-tokens that are left to the library are what they are alone, not behind a lead.
            begins = {low for low, _ in foreign} - behind
            place = 0
            for (low, _), others, upto in zip(
                foreign,
                self.by_library(text, foreign, begins=begins),
                spans[:num_spans, 2].tolist(),
                strict=True,
            ):
                pieces += [ids[place:upto].copy(), others]
                counts[np.searchsorted(edges, low, "right") - 1] += len(others)
                place = upto
            pieces.append(ids[place:num_ids].copy())
        self._tables.append(table)
        return np.concatenate(pieces) if len(pieces) > 1 else pieces[0], counts
