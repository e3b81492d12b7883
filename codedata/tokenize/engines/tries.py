"""The compiled part of the engine for Unigram and WordPiece: words by byte class -> ids.

A word is what the pre-tokenizer leaves whole, normalized byte by byte. Its tokens are found in a
trie of the vocabulary's bytes: Unigram's best path, in the library's own order of additions and
comparisons of float64, so that equal scores are decided as it does; or WordPiece's longest matches.

All of it is in this one file for numba's sake, as in `kernels`.
"""
# Compiled code has numpy's integers where plain Python's are declared.
# pyright: reportReturnType=false, reportArgumentType=false

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from codedata.tokenize.engines.kernels import compiled

INSIDE, SPACE, ALONE, OTHER = range(4)
"""Classes of bytes: of a word, between words, a word by itself, left to the library."""

NUM_ASCII = 128

MARK = (0xE2, 0x96, 0x81)
"""A Metaspace mark, UTF-8."""

MAX_WORD_BYTES = 256
"""Pieces with longer words go to the library: what a word needs stays in the processor's cache."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
"""2^64 over the golden ratio: multiplying by it spreads keys over the high bits (Knuth, 6.4)."""


class Splitting(NamedTuple):
    """How text is split into words (flags, for compiled code).

    Attributes:
        at_spaces: a space begins a word, as a Metaspace mark; otherwise it is dropped.
        merges_spaces: spaces side by side are one.
        first_has_mark: a word that begins the text gets one.
        each_has_mark: every word gets one.
    """

    at_spaces: bool = False
    merges_spaces: bool = False
    first_has_mark: bool = False
    each_has_mark: bool = False


class Trie(NamedTuple):
    """A vocabulary's tokens, byte by byte, and the model's rules.

    Attributes:
        slots: uint64, a power of two of them: (node << 8 | byte) + 1 and, below, the node that it
            leads to, 32 bits each. Zero is a free slot. A node where a token ends has its id as
            number; the others have greater ones than all ids.
        root: the node of no bytes, the first that is no token.
        singles: int32, shape (NUM_ASCII + 1,): the node of each character that may begin a token,
            a Metaspace mark last; -1 for none.
        pairs: int32, shape (NUM_ASCII + 1, NUM_ASCII): the node of it and one more.
        scores: float64, shape (root,): of each token.
        is_unigram: takes the best path; otherwise the longest matches.
        unk_id: of what no token has.
        leaves_unknown: words of Unigram that need it are the library's.
        unk_score: of a character that no token is.
        inner: the node from which tokens within a word are looked for; -1 where there are none.
        max_chars: a longer word is unknown as a whole.
    """

    slots: NDArray[np.uint64]
    root: int
    singles: NDArray[np.int32]
    pairs: NDArray[np.int32]
    scores: NDArray[np.float64]
    is_unigram: bool
    unk_id: int
    leaves_unknown: bool
    unk_score: float
    inner: int
    max_chars: int


class Work(NamedTuple):
    """Working space for a word; for one thread at a time.

    Attributes:
        word: uint8, its bytes.
        scores: float64, the score of the best path up to each byte.
        starts: int64, where the last token of that path starts; -1 for no path yet.
        ids: int64, the id of that token.
    """

    word: NDArray[np.uint8]
    scores: NDArray[np.float64]
    starts: NDArray[np.int64]
    ids: NDArray[np.int64]


@compiled
def _slot(slots: NDArray[np.uint64], key: np.uint64) -> np.uint64:
    """Where a key is, or the free slot where it belongs."""
    mask = np.uint64(len(slots) - 1)
    slot = ((key * _SPREAD) >> np.uint64(32)) & mask
    while slots[slot] != np.uint64(0) and slots[slot] >> np.uint64(32) != key:
        slot = (slot + np.uint64(1)) & mask
    return slot


@compiled
def child_of(slots: NDArray[np.uint64], node: int, byte: int) -> int:
    """The node that a byte leads to; -1 for none."""
    key = ((np.uint64(node) << np.uint64(8)) | np.uint64(byte)) + np.uint64(1)
    found = slots[_slot(slots, key)]
    if found == np.uint64(0):
        return np.int64(-1)
    return np.int64(found & np.uint64(0xFFFFFFFF))


@compiled
def _add_child(slots: NDArray[np.uint64], node: int, byte: int, child: int) -> None:
    key = ((np.uint64(node) << np.uint64(8)) | np.uint64(byte)) + np.uint64(1)
    slots[_slot(slots, key)] = (key << np.uint64(32)) | np.uint64(child)


@compiled
def add_tokens(
    slots: NDArray[np.uint64],
    nodes: NDArray[np.int64],
    text: NDArray[np.uint8],
    ends: NDArray[np.int64],
    ids: NDArray[np.int64],
) -> int:
    """Enter tokens, which lie one after the other in a text, in a trie of numbered nodes.

    Args:
        slots: written; the root is node 0.
        nodes: written with the id of the token that ends at each; of equal tokens the last counts.
        text: the tokens' bytes.
        ends: where each ends.
        ids: of each.

    Returns:
        Number of nodes.
    """
    num_nodes = np.int64(1)
    start = np.int64(0)
    for index in range(len(ends)):
        node = np.int64(0)
        for place in range(start, ends[index]):
            child = child_of(slots, node, text[place])
            if child < 0:
                child = num_nodes
                num_nodes += 1
                _add_child(slots, node, text[place], child)
            node = child
        nodes[node] = ids[index]
        start = ends[index]
    return num_nodes


@compiled
def renumber(
    slots: NDArray[np.uint64], nodes: NDArray[np.int64], renumbered: NDArray[np.uint64]
) -> None:
    """Copy a trie with other numbers for its nodes."""
    for found in slots:
        if found != np.uint64(0):
            key = (found >> np.uint64(32)) - np.uint64(1)
            node = nodes[np.int64(key >> np.uint64(8))]
            child = nodes[np.int64(found & np.uint64(0xFFFFFFFF))]
            _add_child(renumbered, node, np.int64(key & np.uint64(0xFF)), child)


@compiled
def fill_pairs(
    slots: NDArray[np.uint64], root: int, singles: NDArray[np.int32], pairs: NDArray[np.int32]
) -> None:
    """Write down the nodes of single characters and of two, which most look-ups are for."""
    for first in range(len(singles)):
        if first < NUM_ASCII:
            node = child_of(slots, root, first)
        else:
            node = np.int64(root)
            for byte in MARK:
                node = child_of(slots, node, byte) if node >= 0 else node
        singles[first] = node
        for second in range(NUM_ASCII):
            pairs[first, second] = child_of(slots, node, second) if node >= 0 else -1


@compiled
def _token_at(trie: Trie, word: NDArray[np.uint8], start: int, stop: int) -> int:
    """The token that has exactly these bytes; -1 for none."""
    node = np.int64(trie.root)
    for place in range(start, stop):
        node = child_of(trie.slots, node, word[place])
        if node < 0:
            break
    return node if node < trie.root else np.int64(-1)


@compiled
def _find_path(trie: Trie, work: Work, num_bytes: int, mark: int) -> None:
    """Find Unigram's best path through a word, of which the first `mark` bytes are one character.

    As `encode_optimized` of the library's models/unigram/model.rs: starts from left to right,
    tokens from short to long, and only a better score replaces one.
    """
    word, scores, starts = work.word, work.scores, work.starts
    starts[: num_bytes + 1] = -1
    scores[0] = 0.0
    start = np.int64(0)
    while start < num_bytes:
        score = scores[start]
        first = NUM_ASCII if start < mark else np.int64(word[start])
        next_start = start + (mark if start < mark else 1)
        node = np.int64(trie.singles[first])
        has_single = 0 <= node < trie.root
        stop = next_start
        while node >= 0:
            if node < trie.root:
                candidate = trie.scores[node] + score
                if starts[stop] < 0 or candidate > scores[stop]:
                    scores[stop] = candidate
                    starts[stop] = start
                    work.ids[stop] = node
            if stop == num_bytes:
                break
            if stop == next_start:
                node = np.int64(trie.pairs[first, word[stop]])
            else:
                node = child_of(trie.slots, node, word[stop])
            stop += 1
        candidate = trie.unk_score + score
        if not has_single and (starts[next_start] < 0 or candidate > scores[next_start]):
            scores[next_start] = candidate
            starts[next_start] = start
            work.ids[next_start] = trie.unk_id
        start = next_start


@compiled
def _best_path(
    trie: Trie, work: Work, num_bytes: int, mark: int, ids: NDArray[Any], num_ids: int
) -> int:
    """Unigram's ids of a word; unknown characters side by side are one token."""
    _find_path(trie, work, num_bytes, mark)
    starts = work.starts
    count = num_ids
    stop = np.int64(num_bytes)
    while stop > 0:
        start, token = starts[stop], work.ids[stop]
        if token == trie.unk_id:
            if trie.leaves_unknown:
                return np.int64(-1)
            while start > 0 and work.ids[start] == trie.unk_id:
                start = starts[start]
            known = _token_at(trie, work.word, start, stop)
            token = known if known >= 0 else token
        ids[count] = token
        count += 1
        stop = start
    low, high = num_ids, count - 1
    while low < high:
        ids[low], ids[high] = ids[high], ids[low]
        low += 1
        high -= 1
    return count


@compiled
def _longest_matches(
    trie: Trie, work: Work, num_bytes: int, mark: int, ids: NDArray[Any], num_ids: int
) -> int:
    """WordPiece's ids of a word, of which the first `mark` bytes are one character."""
    word = work.word
    start = np.int64(0)
    count = num_ids
    if num_bytes - (mark - 1 if mark else 0) <= trie.max_chars:
        while start < num_bytes:
            node = np.int64(trie.root if start == 0 else trie.inner)
            stop = start
            place = start
            while node >= 0 and place < num_bytes:
                node = child_of(trie.slots, node, word[place])
                place += 1
                if 0 <= node < trie.root:
                    ids[count] = node
                    stop = place
            if stop == start:
                break
            count += 1
            start = stop
        if start == num_bytes:
            return count
    ids[num_ids] = trie.unk_id
    return num_ids + 1


@compiled
def _word_end(text: NDArray[np.uint8], place: int, stop: int, classes: NDArray[np.uint8]) -> int:
    """Where the word that starts at a place ends; -1 where the library has to say."""
    if place < stop and classes[text[place]] == ALONE:
        return place + 1
    while place < stop and classes[text[place]] == INSIDE:
        place += 1
    return np.int64(-1) if place < stop and classes[text[place]] == OTHER else np.int64(place)


@compiled
def _encode_piece(
    text: NDArray[np.uint8],
    start: int,
    stop: int,
    begins: bool,
    classes: NDArray[np.uint8],
    normal: NDArray[np.uint8],
    splitting: Splitting,
    trie: Trie,
    work: Work,
    ids: NDArray[Any],
    num_ids: int,
) -> int:
    """Tokenize a piece, which may begin a text.

    Returns:
        How many ids are there now, or -1 for one that is the library's.
    """
    word = work.word
    place = np.int64(start)
    while place < stop and num_ids >= 0:
        is_space = classes[text[place]] == SPACE
        if is_space and not splitting.at_spaces:
            place += 1
            continue
        is_first = begins and place == start
        if splitting.at_spaces and not is_space and not is_first:
            return np.int64(-1)
        has_mark = is_space or splitting.each_has_mark or (splitting.first_has_mark and is_first)
        while is_space and place < stop and classes[text[place]] == SPACE:
            place += 1
            is_space = splitting.merges_spaces
        mark = 3 if has_mark else 0
        end = _word_end(text, place, stop, classes)
        num_bytes = mark + end - place
        if end < 0 or num_bytes > MAX_WORD_BYTES:
            return np.int64(-1)
        if has_mark:
            word[0], word[1], word[2] = MARK
        for offset in range(end - place):
            word[mark + offset] = normal[text[place + offset]]
        if trie.is_unigram:
            num_ids = _best_path(trie, work, num_bytes, mark, ids, num_ids)
        else:
            num_ids = _longest_matches(trie, work, num_bytes, mark, ids, num_ids)
        place = end
    return num_ids


@compiled
def encode_words(
    text: NDArray[np.uint8],
    edges: NDArray[np.int64],
    borders: NDArray[np.bool_],
    classes: NDArray[np.uint8],
    normal: NDArray[np.uint8],
    splitting: Splitting,
    trie: Trie,
    work: Work,
    left: NDArray[np.bool_],
    ids: NDArray[Any],
    num_ids: NDArray[np.int64],
) -> None:
    """Tokenize the pieces between edges but those that are left to the library already.

    Args:
        text: UTF-8.
        edges: shape (num_pieces + 1,), in bytes.
        borders: shape (num_pieces + 1,): those where a text begins or ends.
        classes: shape (256,): the class of each byte.
        normal: shape (256,): what each is normalized to.
        splitting: into words.
        trie: the vocabulary.
        work: for a word.
        left: shape (num_pieces,): those that are the library's are set.
        ids: written from the start; has room for two a byte.
        num_ids: shape (num_pieces,): written with how many ids there are up to each piece's end.
    """
    count = np.int64(0)
    for piece in range(len(left)):
        if not left[piece]:
            upto = _encode_piece(
                text, edges[piece], edges[piece + 1], borders[piece], classes, normal, splitting,
                trie, work, ids, count,
            )  # fmt: skip
            left[piece] = upto < 0
            count = max(count, upto)
        num_ids[piece] = count
