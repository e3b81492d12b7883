"""The engine for Unigram and WordPiece: words of ASCII found by byte class, each cut into tokens.

UTF-8 -> ids. Small pieces, cut where no id can change, are tokenized by compiled code that needs no
lock (`tries`) where they are plain ASCII; those that are not, or hold an added token, are left to
the tokenizers library. Measured in docs/performance.md.
"""

import json
from collections import deque
from collections.abc import Sequence
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from codedata.format.ranges import Utf8
from codedata.tokenize.cuts import MARK
from codedata.tokenize.engines.alone import Counted, Stretch
from codedata.tokenize.engines.base import as_utf8
from codedata.tokenize.engines.compiling import loading_compiled
from codedata.tokenize.engines.kernels import find_any
from codedata.tokenize.engines.side_by_side import read_only
from codedata.tokenize.engines.stretches import StretchEngine
from codedata.tokenize.engines.tries import (
    ALONE,
    INSIDE,
    MAX_WORD_BYTES,
    NUM_ASCII,
    OTHER,
    SPACE,
    Splitting,
    Trie,
    Work,
    add_tokens,
    child_of,
    encode_words,
    fill_pairs,
    renumber,
)
from codedata.tokenize.library import LibraryTokenizer
from codedata.tokenize.structure import Pretokenizer, steps_of
from codedata.tokenize.tokenizer import LoadedTokenizer

Step = dict[str, Any]

_SMALL_PIECE_BYTES = 1 << 9
"""Pieces are cut so small, and those that hold what is not plain ASCII go to the library."""

_MAX_NODES = 1 << 24
"""A node of the trie and a byte are one key of 32 bits; nodes are numbered behind the ids."""

_UNK_PENALTY = 10.0
"""`K_UNK_PENALTY` of the library's models/unigram/model.rs: below the lowest score of all."""

_WHITE_SPACE = " \t\n\v\f\r"
_PUNCTUATION = "!\"#$%&'()*+,-./:;<=>?@[\\]^_`{|}~"

_BYTEWISE = (
    *("BertNormalizer", "Lowercase", "NFC", "NFD", "NFKC", "NFKD", "Nmt", "Precompiled"),
    "StripAccents",
)
"""Normalizers that change an ASCII character whatever ASCII characters stand beside it; only to
Precompiled, a carriage return and a newline are one."""


def _splitting(structure: dict[str, Any]) -> Splitting | str:
    """How text is split into words; or the reason why that is not known."""
    steps = steps_of(structure.get("pre_tokenizer"), "pretokenizers")
    kinds = [step.get("type") for step in steps]
    merged = _merged_spaces(steps_of(structure.get("normalizer"), "normalizers"))
    if merged not in (None, " ", MARK):
        return merged
    if kinds == ["BertPreTokenizer"] and merged != MARK:
        return Splitting()
    if kinds in (["Metaspace"], ["WhitespaceSplit", "Metaspace"]):
        prefix = steps[-1].get("prepend_scheme", "always")
        if steps[-1].get("replacement") == MARK and steps[-1].get("split") is not False:
            if len(kinds) == 1:
                return Splitting(
                    at_spaces=True,
                    merges_spaces=merged is not None,
                    first_has_mark=prefix != "never",
                )
            if prefix != "first" and merged != MARK:
                return Splitting(each_has_mark=prefix == "always")
    return "its pre-tokenizer is not BERT's or Metaspace as T5 has it"


def _merged_spaces(normalizer: Sequence[Step]) -> str | None:
    """What a normalizer makes of spaces side by side, None where it leaves them; or a reason.

    Nothing but that and stripping the ends of a text may look at more than one ASCII character.
    """
    merged = None
    for step in normalizer:
        kind = step.get("type")
        if kind == "Replace" and step.get("pattern") == {"Regex": " {2,}"} and merged is None:
            merged = step.get("content")
            if merged not in (" ", MARK):
                return f"its normalizer makes {merged!r} of spaces"
        elif kind != "Strip" and (kind not in _BYTEWISE or merged is not None):
            return f"its normalizer {kind} may look at more than one character"
    return merged


def _why_not_vocabulary(model: dict[str, Any]) -> str | None:
    if model.get("type") not in ("Unigram", "WordPiece"):
        return "its model is neither Unigram nor WordPiece"
    vocab = cast("Sequence[Any] | dict[str, int]", model["vocab"])
    if model["type"] == "WordPiece":
        tokens, has_unknown = list(vocab), model["unk_token"] in vocab
    else:
        tokens, has_unknown = [token for token, _ in vocab], model.get("unk_id") is not None
    if not has_unknown:
        return "its vocabulary has no token for what is unknown"
    largest = max(vocab.values()) if isinstance(vocab, dict) else len(vocab)
    num_nodes = largest + 2 + sum(len(token.encode()) for token in tokens)
    if not all(tokens) or num_nodes > _MAX_NODES:
        return "its vocabulary has a token of no characters, or too many of them or too large ids"
    return None


def build_trie(model: dict[str, Any]) -> Trie:
    """The tokens that words of ASCII may have, at most one Metaspace mark before them.

    Args:
        model: of a tokenizer.json as the library writes it: it reads some scores otherwise than
            Python does, by the last bit.
    """
    is_unigram = model["type"] == "Unigram"
    scored = model["vocab"] if is_unigram else [(token, 0.0) for token in model["vocab"]]
    ids = list(range(len(scored)) if is_unigram else model["vocab"].values())
    tokens = [
        (token.encode(), token_id)
        for (token, _), token_id in zip(scored, ids, strict=True)
        if token.removeprefix(MARK).isascii()
    ]
    text = b"".join(token for token, _ in tokens)
    slots = np.zeros(_num_slots(len(text)), np.uint64)
    nodes = np.full(len(text) + 1, -1, np.int64)
    num_nodes = add_tokens(
        slots,
        nodes,
        np.frombuffer(text, np.uint8),
        np.cumsum([len(token) for token, _ in tokens], dtype=np.int64),
        np.array([token_id for _, token_id in tokens], np.int64),
    )
    nodes = nodes[:num_nodes]
    root = max(ids) + 1
    nodes[nodes < 0] = root + np.arange(np.count_nonzero(nodes < 0))
    renumbered = np.zeros(_num_slots(num_nodes), np.uint64)
    renumber(slots, nodes, renumbered)
    singles = np.empty(NUM_ASCII + 1, np.int32)
    pairs = np.empty((NUM_ASCII + 1, NUM_ASCII), np.int32)
    fill_pairs(renumbered, root, singles, pairs)
    inner = root
    for byte in b"" if is_unigram else model["continuing_subword_prefix"].encode():
        inner = child_of(renumbered, inner, byte) if inner >= 0 else inner
    scores = np.zeros(root)
    scores[ids] = [score for _, score in scored]
    return Trie(
        slots=renumbered,
        root=root,
        singles=singles,
        pairs=pairs,
        scores=scores,
        is_unigram=is_unigram,
        unk_id=model["unk_id"] if is_unigram else model["vocab"][model["unk_token"]],
        leaves_unknown=bool(model.get("byte_fallback")),
        unk_score=scores[ids].min() - _UNK_PENALTY,
        inner=inner,
        max_chars=0 if is_unigram else model["max_input_chars_per_word"],
    )


def _num_slots(num_entries: int) -> int:
    """A power of two, filled by half at most."""
    return 1 << (2 * num_entries + 1).bit_length()


def byte_tables(
    tokenizer: LibraryTokenizer, splitting: Splitting, *, punctuation: str
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """The class of each byte, and what it is normalized to, both uint8, shape (256,).

    Args:
        tokenizer: what normalizes.
        splitting: into words.
        punctuation: characters that are words by themselves.
    """
    classes, normal = np.full(256, OTHER, np.uint8), np.zeros(256, np.uint8)
    spaces = " " if splitting.at_spaces else _WHITE_SPACE
    for byte in range(128):
        made = tokenizer.normalize(f"0{chr(byte)}0")
        if made.isascii() and len(made) == len("0?0") and made[::2] == "00":
            normal[byte] = ord(made[1])
            kind = ALONE if made[1] in punctuation else INSIDE
            classes[byte] = SPACE if made[1] in spaces else kind
    if tokenizer.normalize("0\r\n0") != "0" + bytes(normal[[13, 10]]).decode() + "0":
        classes[ord("\r")] = OTHER
    return classes, normal


def _new_work() -> Work:
    size = MAX_WORD_BYTES + 1
    return Work(
        np.empty(size, np.uint8), np.empty(size), np.empty(size, np.int64), np.empty(size, np.int64)
    )


class WordsEngine(StretchEngine):
    """Cuts each ASCII word into tokens by the model's own rule."""

    name = "words"
    piece_bytes = 1 << 18
    """Tokenized by one call: long beside the call's overhead, short beside a chunk."""

    @classmethod
    def why_not(cls, structure: dict[str, Any], pretokenizer: Pretokenizer) -> str | None:  # noqa: ARG003
        """See `PieceEngine.why_not`: whether words of ASCII and their ids are certain."""
        why = _why_not_vocabulary(structure.get("model") or {})
        splitting = _splitting(structure)
        if why is None and isinstance(splitting, str):
            return splitting
        for token in structure.get("added_tokens") or []:
            if why is None and token.get("normalized") and structure.get("normalizer"):
                return f"its added token {token['content']!r} is looked for in normalized text"
        return why

    @loading_compiled()
    def __init__(self, loaded: LoadedTokenizer, pretokenizer: Pretokenizer) -> None:
        super().__init__(loaded, pretokenizer)
        splitting = _splitting(loaded.structure)
        assert isinstance(splitting, Splitting), "see why_not"
        self._splitting = splitting
        self._trie = build_trie(json.loads(loaded.tokenizer.to_str())["model"])
        has_marks = splitting.at_spaces or splitting.each_has_mark
        self._classes, self._normal = byte_tables(
            loaded.tokenizer, splitting, punctuation="" if has_marks else _PUNCTUATION
        )
        steps = steps_of(loaded.structure.get("normalizer"), "normalizers")
        self._strips = any(step.get("type") == "Strip" for step in steps)
        added = loaded.tokenizer.get_added_tokens_decoder().values()
        words = [token.content.encode() for token in added if token.content]
        self._added = np.array(list(b"".join(words)), np.uint8)
        self._added_ends = np.cumsum([len(word) for word in words], dtype=np.int64)
        self._firsts = np.isin(np.arange(256), [word[0] for word in words])
        self._work: deque[Work] = deque()
        self._encode(read_only(as_utf8("a")), Stretch.within([0, 1], 1))  # loads what is compiled

    def _encode(self, text: Utf8, stretch: Stretch) -> Counted:
        small = stretch.cut(text, self._pretokenizer.cut, _SMALL_PIECE_BYTES)
        edges, borders = small
        start, stop = edges[[0, -1]].tolist()
        found = np.empty(stop - start, np.int64)
        num_found = find_any(text, start, stop, self._added, self._added_ends, self._firsts, found)
        left = small.holding(found[:num_found])
        if self._strips:
            left |= borders[:-1] | borders[1:]
        try:
            work = self._work.pop()
        except IndexError:
            work = _new_work()
        ids, num_ids = np.empty(2 * (stop - start) + 1, self._dtype), np.empty(len(left), np.int64)
        encode_words(
            text, edges, borders, self._classes, self._normal, self._splitting, self._trie, work,
            left, ids, num_ids,
        )  # fmt: skip
        self._work.append(work)
        places = np.flatnonzero(left)
        spans = list(zip(edges[places].tolist(), edges[places + 1].tolist(), strict=True))
        others = self.by_library(text, spans, begins=small.begins)
        own = np.split(ids[: num_ids[-1]], num_ids[places])
        counts = np.diff(num_ids, prepend=0)
        counts[places] = [*map(len, others)]
        after = zip(others, own[1:], strict=True)
        joined = np.concatenate([own[0], *(part for pair in after for part in pair)])
        return joined, np.add.reduceat(counts, np.searchsorted(edges, stretch.edges[:-1]))
