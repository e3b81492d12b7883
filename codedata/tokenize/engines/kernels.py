r"""The compiled part of the fast engine: UTF-8 -> pre-tokens, by class -> ids, by merges.

*Pre-tokens.* Two families of pre-tokenizers are known (`Rules`): deepseek-coder's, which isolates
newlines, letters, punctuation, ideographs and numerals one after the other, and StarCoder's, which
isolates numerals and then has GPT-2's pattern of alternatives. Both go by the classes of characters
(`Classes`), so a pre-token's end is decided by those of its characters and of the two behind it.
What is longer than `MAX_PRETOKEN_BYTES`, or holds a byte that the vocabulary has no token for, is
left out: the tokenizers library has it, as a text of its own, which has the same ids.

*Ids.* Each pre-token is merged once, as BPE models do: as long as a neighbouring pair has a merge,
the pair with the lowest rank becomes one token, the leftmost first where ranks are equal. The ids
are kept in an open-addressing table (`Table`), bounded in memory: when it is full, it is emptied.
No two pre-tokens are ever mistaken for one: keys are compared whole.

All of it is in this one file because numba, which compiles a function when it is first called
(seconds) and keeps the result on the disk (later processes load it in milliseconds), compiles it
again only when the function's own file changes.
"""
# Compiled code has numpy's integers where plain Python's are declared, and numba's own calls.
# pyright: reportReturnType=false, reportArgumentType=false, reportCallIssue=false

import logging
import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple, TypeVar, cast

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic
from numpy.typing import NDArray

from codedata.tokenize.engines.compiling import announce_compiling

logger = logging.getLogger(__name__)

F = TypeVar("F", bound=Callable[..., Any])

LETTER, PUNCTUATION, OTHER, SPACE, BLANK, ALONE, NOT_ASCII = range(7)
"""Classes of characters; what is alone is a pre-token, and borders on nothing."""

CJK = 8
"""Added to the class of those that deepseek-coder's family parts from their neighbours."""

MAX_PRETOKEN_BYTES = 128
"""Longer pre-tokens are left to the tokenizers library: merging here takes quadratic time."""

LONGEST_RECORD = 2 * MAX_PRETOKEN_BYTES
_KEY_BYTES = 8
"""Pre-tokens of up to so many bytes are their own key; longer ones have a hash of their bytes."""

_APOSTROPHE = ord("'")

MAX_MERGES = 2**24 - 1
"""A rank has 24 bits, so that it and a place in a pre-token are one number."""
_NO_MERGE = np.uint32(2**32 - 1)
EMPTY = _ONES = np.uint64(2**64 - 1)
_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: multiplying by it spreads keys over the high bits (Knuth, 6.4)."""


class Classes(NamedTuple):
    """The classes of characters.

    Attributes:
        bytes: uint8, shape (256,): of those of ASCII; NOT_ASCII beyond.
        code_points: uint8, shape (0x110000,): of all.
    """

    bytes: NDArray[np.uint8]
    code_points: NDArray[np.uint8]


class Merges(NamedTuple):
    """The merges of a vocabulary, as a hash table.

    Attributes:
        byte_ids: int32, shape (256,): the id of each byte; -1 where the vocabulary has none.
        pairs: uint64, a power of two of them: left id << 32 | right id, or all ones.
        ranks: int32, as many: of the merge of each pair.
        merged: int32, by rank: the id that a pair becomes.
        words: pre-tokens that are tokens whole, whatever their merges: added tokens.
    """

    byte_ids: NDArray[np.int32]
    pairs: NDArray[np.uint64]
    ranks: NDArray[np.int32]
    merged: NDArray[np.int32]
    words: "Table"


class Table(NamedTuple):
    """Pre-tokens and their ids, with the working space to merge more; for one thread at a time.

    Attributes:
        slots: uint64, shape (2 * number of slots,): key and description of each pre-token. The
            description is its bytes (8 bits), its ids (8 bits) and, above, the id itself where
            it is alone and the key short, else where its record starts. Zero is a free slot.
        arena: int32, records: the ids, then the bytes of a long pre-token as pairs of int32.
        used: int64, shape (2,): pre-tokens, and int32s of the arena.
        symbols: int32, the tokens of the pre-token being merged.
        order: uint32, when each is merged with its right neighbour.
        before: int32, where its left neighbour stands.
        after: int32, where its right neighbour stands.
    """

    slots: NDArray[np.uint64]
    arena: NDArray[np.int32]
    used: NDArray[np.int64]
    symbols: NDArray[np.int32]
    order: NDArray[np.uint32]
    before: NDArray[np.int32]
    after: NDArray[np.int32]


def compiled(function: F) -> F:
    """Compile a function of numbers and arrays; it runs in many threads at once."""
    announce_compiling()
    return cast("F", njit(nogil=True, cache=_can_be_kept(), _nrt=False)(function))


@cache
def _can_be_kept() -> bool:
    """Whether numba finds a folder for what it compiled; without one, it is compiled each time.

    For a user without a home it would make a folder `~` in the working folder, and load compiled
    code from what lies there, so that one is not tried.
    """
    folders = [Path(__file__).parent / "__pycache__", os.environ.get("NUMBA_CACHE_DIR", "")]
    has_home = Path(os.path.expanduser("~")).is_absolute()  # noqa: PTH111 - the same as numba
    if has_home or any(os.access(folder, os.W_OK) for folder in folders):
        try:
            njit(cache=True)(_can_be_kept.__wrapped__)
        except RuntimeError as error:  # no folder can be written
            why = str(error)
        else:
            return True
    else:
        why = "this user has no home folder"
    logger.warning("compiling in every process anew: %s; NUMBA_CACHE_DIR may name a folder", why)
    return False


@intrinsic
def _eight_bytes(_context: Any, data: Any, _offset: Any) -> Any:
    """The uint64 at any byte offset of a uint8 array, aligned or not; the caller keeps inside."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        array = context.make_array(signature.args[0])(context, builder, arguments[0])
        address = builder.gep(array.data, [arguments[1]])
        return builder.load(builder.bitcast(address, ir.IntType(64).as_pointer()), align=1)

    return types.uint64(data, types.int64), generate


@compiled
def word_at(data: NDArray[np.uint8], offset: int, num_bytes: int) -> np.uint64:
    """Up to 8 bytes as a number, the first lowest; bytes beyond `num_bytes` count as zero."""
    if offset + 8 <= len(data):
        return _eight_bytes(data, offset) & (_ONES >> np.uint64(64 - 8 * min(num_bytes, 8)))
    word = np.uint64(0)
    for place in range(min(num_bytes, 8)):
        word |= np.uint64(data[offset + place]) << np.uint64(8 * place)
    return word


@compiled
def fill_pairs(
    pairs: NDArray[np.uint64], ranks: NDArray[np.int32], merges: NDArray[np.int32]
) -> None:
    """Enter merges of shape (num_merges, 2): left, right; of equal pairs the last one."""
    mask = np.uint64(len(pairs) - 1)
    for rank in range(len(merges)):
        pair = (np.uint64(merges[rank, 0]) << np.uint64(32)) | np.uint64(merges[rank, 1])
        slot = ((pair * _SPREAD) >> np.uint64(32)) & mask
        while pairs[slot] != EMPTY and pairs[slot] != pair:
            slot = (slot + np.uint64(1)) & mask
        pairs[slot] = pair
        ranks[slot] = rank


@compiled
def fill_words(
    words: Table, text: NDArray[np.uint8], ends: NDArray[np.int64], ids: NDArray[np.int32]
) -> None:
    """Enter pre-tokens of one id each, which lie one after the other in a text."""
    start = np.int64(0)
    for index in range(len(ids)):
        num_bytes = ends[index] - start
        words.symbols[0] = ids[index]
        key = key_of(text, start, num_bytes)
        slot, _ = find_pretoken(words.slots, words.arena, key, text, start, num_bytes)
        _remember(words, slot, key, text, start, num_bytes, 1)
        start = ends[index]


@compiled
def _place_in_order(merges: Merges, left: int, right: int, place: int) -> np.uint32:
    """Of the pairs of a pre-token the smallest is merged first: rank << 8 | place of the left."""
    mask = np.uint64(len(merges.pairs) - 1)
    pair = (np.uint64(left) << np.uint64(32)) | np.uint64(right)
    slot = ((pair * _SPREAD) >> np.uint64(32)) & mask
    while merges.pairs[slot] != EMPTY:
        if merges.pairs[slot] == pair:
            return np.uint32((np.int64(merges.ranks[slot]) << np.int64(8)) | np.int64(place))
        slot = (slot + np.uint64(1)) & mask
    return _NO_MERGE


@compiled
def _merge(
    merges: Merges, table: Table, text: NDArray[np.uint8], start: int, num_bytes: int
) -> int:
    """Merge a pre-token; its ids are the first of `table.symbols`, as many as returned.

    None is where a byte has no token. A symbol stands where its first byte stood.
    """
    symbols, order, before, after = table.symbols, table.order, table.before, table.after
    for place in range(num_bytes):
        symbols[place] = merges.byte_ids[text[start + place]]
        if symbols[place] < 0:
            return 0
        before[place], after[place] = place - 1, place + 1
    order[num_bytes - 1] = _NO_MERGE
    for place in range(num_bytes - 1):
        order[place] = _place_in_order(merges, symbols[place], symbols[place + 1], place)
    while True:
        best = _NO_MERGE
        for each in order[:num_bytes]:
            best = min(best, each)
        if best == _NO_MERGE:
            break
        place = np.int64(best) & np.int64(0xFF)
        right = after[place]
        symbols[place] = merges.merged[np.int64(best) >> np.int64(8)]
        order[right] = _NO_MERGE
        right = after[place] = after[right]
        order[place] = _NO_MERGE
        if right < num_bytes:
            before[right] = place
            order[place] = _place_in_order(merges, symbols[place], symbols[right], place)
        left = before[place]
        if left >= 0:
            order[left] = _place_in_order(merges, symbols[left], symbols[place], left)
    count = place = 0
    while place < num_bytes:
        symbols[count] = symbols[place]
        count += 1
        place = after[place]
    return count


@compiled
def key_of(text: NDArray[np.uint8], start: int, num_bytes: int) -> np.uint64:
    """The key of a pre-token: its bytes where it is short, else a hash of them."""
    key = word_at(text, start, num_bytes)
    for place in range(_KEY_BYTES, num_bytes, 8):
        key = (key ^ word_at(text, start + place, num_bytes - place)) * _SPREAD
        key ^= key >> np.uint64(29)
    return key


@compiled
def first_slot(key: np.uint64, num_bytes: int, mask: np.uint64) -> np.uint64:
    """Where the search for a pre-token starts; it goes on slot by slot."""
    return (((key ^ np.uint64(num_bytes)) * _SPREAD) >> np.uint64(32)) & mask


@compiled
def _is_at(
    arena: NDArray[np.int32],
    description: np.uint64,
    text: NDArray[np.uint8],
    start: int,
    num_bytes: int,
) -> bool:
    """Whether the long pre-token of a description has the bytes of this one."""
    record = np.int64(description >> np.uint64(16))
    record += np.int64((description >> np.uint64(8)) & np.uint64(0xFF))
    for place in range(0, num_bytes, 8):
        word = word_at(text, start + place, num_bytes - place)
        low, high = np.uint32(arena[record]), np.uint32(arena[record + 1])
        if (np.uint64(high) << np.uint64(32)) | np.uint64(low) != word:
            return False
        record += 2
    return True


@compiled
def find_pretoken(
    slots: NDArray[np.uint64],
    arena: NDArray[np.int32],
    key: np.uint64,
    text: NDArray[np.uint8],
    start: int,
    num_bytes: int,
) -> tuple[np.uint64, np.uint64]:
    """The slot of a pre-token and its description, or the free slot where it belongs and zero."""
    mask = np.uint64(len(slots) // 2 - 1)
    slot = first_slot(key, num_bytes, mask)
    while True:
        description = slots[2 * slot + np.uint64(1)]
        if description == np.uint64(0):
            return slot, description
        if (
            slots[2 * slot] == key
            and description & np.uint64(0xFF) == np.uint64(num_bytes)
            and (num_bytes <= _KEY_BYTES or _is_at(arena, description, text, start, num_bytes))
        ):
            return slot, description
        slot = (slot + np.uint64(1)) & mask


@compiled
def _remember(
    table: Table,
    slot: np.uint64,
    key: np.uint64,
    text: NDArray[np.uint8],
    start: int,
    num_bytes: int,
    count: int,
) -> None:
    """Enter a pre-token whose ids are the first `count` of `table.symbols` in a free slot."""
    payload = np.int64(table.symbols[0])
    if num_bytes > _KEY_BYTES or count > 1:
        payload = table.used[1]
        record = payload
        for place in range(count):
            table.arena[record] = table.symbols[place]
            record += 1
        if num_bytes > _KEY_BYTES:
            for place in range(0, num_bytes, 8):
                word = word_at(text, start + place, num_bytes - place)
                table.arena[record] = np.int32(np.uint32(word & np.uint64(0xFFFFFFFF)))
                table.arena[record + 1] = np.int32(np.uint32(word >> np.uint64(32)))
                record += 2
        table.used[1] = record
    table.used[0] += 1
    table.slots[2 * slot] = key
    table.slots[2 * slot + np.uint64(1)] = (
        np.uint64(num_bytes)
        | (np.uint64(count) << np.uint64(8))
        | (np.uint64(payload) << np.uint64(16))
    )


@compiled
def append_known(
    arena: NDArray[np.int32],
    description: np.uint64,
    num_bytes: int,
    ids: NDArray[Any],
    num_ids: int,
) -> int:
    """Write the ids of a pre-token of the table; returns how many ids are there now."""
    count = np.int64((description >> np.uint64(8)) & np.uint64(0xFF))
    payload = np.int64(description >> np.uint64(16))
    if num_bytes <= _KEY_BYTES and count == 1:
        ids[num_ids] = payload
    else:
        for place in range(count):
            ids[num_ids + place] = arena[payload + place]
    return num_ids + count


@compiled
def append_new(
    merges: Merges,
    table: Table,
    slot: np.uint64,
    key: np.uint64,
    text: NDArray[np.uint8],
    start: int,
    num_bytes: int,
    ids: NDArray[Any],
    num_ids: int,
) -> int:
    """Merge a pre-token that is not in the table, write its ids and enter it.

    Args:
        merges: of the vocabulary.
        table: where it is entered.
        slot: the free one where it belongs.
        key: of the pre-token.
        text: UTF-8.
        start: of the pre-token, in bytes.
        num_bytes: of the pre-token, 1 to MAX_PRETOKEN_BYTES.
        ids: written from `num_ids` on; has room for `num_bytes` more.
        num_ids: how many are there already.

    Returns:
        How many ids are there now; no more than before where a byte has no token.
    """
    word = np.uint64(0)
    if merges.words.used[0] > 0:
        slots, arena = merges.words.slots, merges.words.arena
        _, word = find_pretoken(slots, arena, key, text, start, num_bytes)
    if word != np.uint64(0):
        count = append_known(merges.words.arena, word, num_bytes, table.symbols, 0)
    else:
        count = _merge(merges, table, text, start, num_bytes)
        if count == 0:
            return num_ids
    for place in range(count):
        ids[num_ids + place] = table.symbols[place]
    full = 4 * table.used[0] >= len(table.slots)
    if full or table.used[1] + LONGEST_RECORD > len(table.arena):
        table.slots[:] = np.uint64(0)
        table.used[:] = 0
        slot, _ = find_pretoken(table.slots, table.arena, key, text, start, num_bytes)
    _remember(table, slot, key, text, start, num_bytes, count)
    return num_ids + count


@compiled
def _class_at(text: NDArray[np.uint8], place: int, classes: Classes) -> int:
    """The class of the character that starts at a place."""
    first = text[place]
    kind = classes.bytes[first]
    if kind != NOT_ASCII:
        return kind
    point = np.int64(first & np.uint8(0x1F)) << 6 | np.int64(text[place + 1] & np.uint8(0x3F))
    if first >= 0xE0:
        point = (point & 0x3FF) << 6 | np.int64(text[place + 2] & np.uint8(0x3F))
    if first >= 0xF0:
        point = (point & 0x7FFF) << 6 | np.int64(text[place + 3] & np.uint8(0x3F))
    return classes.code_points[point]


@compiled
def _after(text: NDArray[np.uint8], place: int) -> int:
    """Where the character that starts at a place ends."""
    first = text[place]
    if first < 0x80:
        return place + 1
    return place + 2 + np.int64(first >= 0xE0) + np.int64(first >= 0xF0)


@compiled
def _is_word(kind: int) -> bool:
    return kind & ~CJK <= PUNCTUATION


@compiled
def _run_end(text: NDArray[np.uint8], place: int, stop: int, classes: Classes, kind: int) -> int:
    """Where the characters of one class that start at a place end."""
    while True:
        while place < stop and classes.bytes[text[place]] == kind:
            place += 1
        if place == stop or text[place] < 0x80 or _class_at(text, place, classes) != kind:
            return place
        place = _after(text, place)


@compiled
def _ascii_run_end(text: NDArray[np.uint8], place: int, stop: int, classes: Any, kind: int) -> int:
    while place < stop and classes[text[place]] == kind:
        place += 1
    return place


@compiled
def _isolated_ascii_end(
    text: NDArray[np.uint8], start: int, stop: int, classes: Any, kind: int
) -> int:
    """As `_isolated_end`, where neither the pre-token nor what follows is beyond ASCII."""
    place = start + 1
    if kind == ALONE:
        return place
    if kind == BLANK and place < stop:
        following = classes[text[place]]
        if following == LETTER or following == PUNCTUATION:
            return _ascii_run_end(text, place, stop, classes, following)
    if kind == LETTER or kind == PUNCTUATION:
        return _ascii_run_end(text, place, stop, classes, kind)
    while place < stop:
        kind = classes[text[place]]
        if kind == BLANK:
            following = classes[text[place + 1]] if place + 1 < stop else np.uint8(ALONE)
            if following == LETTER or following == PUNCTUATION:
                break
        elif kind != OTHER:
            break
        place += 1
    return place


@compiled
def _isolated_end(
    text: NDArray[np.uint8], start: int, stop: int, classes: Classes, kind: int
) -> int:
    """Where deepseek-coder's family ends the pre-token that starts at `start`, of class `kind`."""
    place = _after(text, start)
    if kind == ALONE:
        return place
    if kind & ~CJK == BLANK and place < stop:
        following = _class_at(text, place, classes)
        if _is_word(following):
            if (following ^ kind) & CJK:
                return place
            return _run_end(text, place, stop, classes, following)
    if _is_word(kind):
        return _run_end(text, place, stop, classes, kind)
    cjk = kind & CJK
    while place < stop:
        kind = _class_at(text, place, classes)
        if kind != OTHER | cjk:
            if kind != BLANK | cjk:
                break
            after = _after(text, place)
            if after < stop and _is_word(_class_at(text, after, classes)):
                break
        place = _after(text, place)
    return place


@compiled
def _contraction_end(text: NDArray[np.uint8], start: int, stop: int) -> int:
    """Where the contraction that starts at an apostrophe ends; `start` if there is none."""
    first = text[start + 1] if start + 1 < stop else np.uint8(0)
    second = text[start + 2] if start + 2 < stop else np.uint8(0)
    if first in (ord("s"), ord("t"), ord("m"), ord("d")):
        return start + 2
    if second == ord("e") and first in (ord("r"), ord("v")):
        return start + 3
    if first == ord("l") and second == ord("l"):
        return start + 3
    return start


@compiled
def _alternative_end(
    text: NDArray[np.uint8], start: int, stop: int, classes: Classes, kind: int
) -> int:
    """Where StarCoder's family ends the pre-token that starts at `start`, of class `kind`.

    A numeral is alone; then GPT-2's alternatives in their order, up to the next numeral.
    """
    place = _after(text, start)
    if kind == ALONE:
        return place
    if text[start] == _APOSTROPHE:
        end = _contraction_end(text, start, stop)
        if end > start:
            return end
    if kind == SPACE and place < stop:
        following = _class_at(text, place, classes)
        if following == LETTER or following == OTHER:
            return _run_end(text, place, stop, classes, following)
    if kind == LETTER or kind == OTHER:
        return _run_end(text, place, stop, classes, kind)
    last = start
    while place < stop:
        kind = _class_at(text, place, classes)
        if kind != SPACE and kind != BLANK:
            return place if kind == ALONE or last == start else last
        last = place
        place = _after(text, place)
    return place


@compiled
def tokenize(
    text: NDArray[np.uint8],
    start: int,
    edges: NDArray[np.int64],
    left: NDArray[np.bool_],
    isolating: bool,
    classes: Classes,
    merges: Merges,
    table: Table,
    ids: NDArray[Any],
    spans: NDArray[np.int64],
    counts: NDArray[np.int64],
) -> tuple[int, int, int]:
    """Tokenize pieces from an end of a pre-token on, leaving out what is not for the kernel.

    Args:
        text: UTF-8.
        start: where to start, in bytes: in one of the pieces.
        edges: where they start and stop, shape (num_pieces + 1,): ends of texts or of pre-tokens.
        left: shape (num_pieces,): those that are left out.
        isolating: see `Rules`.
        classes: of characters, for these rules.
        merges: of the vocabulary.
        table: pre-tokens seen before, those of this text included afterwards.
        ids: written from the start; has room for an id a byte.
        spans: written with what is left out, a row each: start and stop in bytes, and how many
            ids come before it.
        counts: shape (num_pieces,): how many ids a piece got is added.

    Returns:
        Where it stopped (before the last edge if `spans` is full), number of ids, number of spans.
    """
    piece = np.searchsorted(edges, start, "right") - 1
    num_ids = num_spans = 0
    while piece < len(left) and num_spans < len(spans):
        stop = edges[piece + 1]
        if left[piece]:
            spans[num_spans, 0] = start
            spans[num_spans, 1] = stop
            spans[num_spans, 2] = num_ids
            start = stop
            num_spans += 1
        else:
            before = num_ids
            start, num_ids, num_spans = _tokenize_piece(
                text, start, stop, isolating, classes, merges, table, ids, num_ids, spans, num_spans
            )
            counts[piece] += num_ids - before
        piece += 1
    return start, num_ids, num_spans


@compiled
def _tokenize_piece(
    text: NDArray[np.uint8],
    start: int,
    stop: int,
    isolating: bool,
    classes: Classes,
    merges: Merges,
    table: Table,
    ids: NDArray[Any],
    num_ids: int,
    spans: NDArray[np.int64],
    num_spans: int,
) -> tuple[int, int, int]:
    """`tokenize` of one piece, behind ids and spans that there are; returns where it stopped."""
    slots, arena = table.slots, table.arena
    mask = np.uint64(len(slots) // 2 - 1)
    kind = classes.bytes[text[start]] if start < stop else np.uint8(ALONE)
    while start < stop and num_spans < len(spans):
        if isolating:
            end = _isolated_ascii_end(text, start, stop, classes.bytes, kind)
            following = classes.bytes[text[end]] if end < stop else np.uint8(ALONE)
            if kind == NOT_ASCII or following == NOT_ASCII:
                end = _isolated_end(text, start, stop, classes, _class_at(text, start, classes))
                following = classes.bytes[text[end]] if end < stop else np.uint8(ALONE)
        else:
            end = _alternative_end(text, start, stop, classes, _class_at(text, start, classes))
            following = classes.bytes[text[end]] if end < stop else np.uint8(ALONE)
        num_bytes = end - start
        before = num_ids
        if num_bytes <= MAX_PRETOKEN_BYTES:
            if num_bytes <= _KEY_BYTES:  # what `find_pretoken` does, without the cost of its call
                key = word_at(text, start, num_bytes)
                slot = first_slot(key, num_bytes, mask)
                description = slots[2 * slot + np.uint64(1)]
                while description != np.uint64(0) and not (
                    slots[2 * slot] == key and description & np.uint64(0xFF) == np.uint64(num_bytes)
                ):
                    slot = (slot + np.uint64(1)) & mask
                    description = slots[2 * slot + np.uint64(1)]
            else:
                key = key_of(text, start, num_bytes)
                slot, description = find_pretoken(slots, arena, key, text, start, num_bytes)
            if description == np.uint64(0):
                num_ids = append_new(merges, table, slot, key, text, start, num_bytes, ids, num_ids)
            else:
                num_ids = append_known(arena, description, num_bytes, ids, num_ids)
        if num_ids == before:
            spans[num_spans, 0] = start
            spans[num_spans, 1] = end
            spans[num_spans, 2] = num_ids
            num_spans += 1
        start, kind = end, following
    return start, num_ids, num_spans


@compiled
def find_any(
    text: NDArray[np.uint8],
    start: int,
    stop: int,
    words: NDArray[np.uint8],
    ends: NDArray[np.int64],
    firsts: NDArray[np.bool_],
    found: NDArray[np.int64],
) -> int:
    """Find where any of some words starts.

    Args:
        text: UTF-8.
        start: where to start looking, in bytes.
        stop: where the text to look at ends.
        words: the words' bytes, one after the other.
        ends: where each word ends in `words`.
        firsts: shape (256,): whether a word starts with that byte.
        found: written with the places.

    Returns:
        Number of places; `len(found)` may mean that there are more.
    """
    count = 0
    for place in range(start, stop):
        if not firsts[text[place]]:
            continue
        word_start = np.int64(0)
        for word_end in ends:
            length = word_end - word_start
            same = place + length <= stop
            for offset in range(length):
                if not same or text[place + offset] != words[word_start + offset]:
                    same = False
                    break
            if same:
                found[count] = place
                count += 1
                if count == len(found):
                    return count
                break
            word_start = word_end
    return count
