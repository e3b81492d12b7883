"""UTF-8 of a document -> hashes of its shingles: runs of neighbouring pieces of the text.

A piece is a run of letters, digits, underscores and characters beyond ASCII, or another character
that is not white space. White space only separates, so that an indented copy has the same shingles.
In a file of its own because numba compiles it again whenever its file changes.
"""
# Compiled code has numpy's integers where plain Python's are declared.
# pyright: reportReturnType=false, reportArgumentType=false

import numpy as np
from numpy.typing import NDArray

from codedata.format.ranges import Utf8
from codedata.tokenize.engines.kernels import compiled

SHINGLE_PIECES = 5
"""As Lee et al., Deduplicating Training Data Makes Language Models Better (ACL 2022), app. A, and
The Stack (https://huggingface.co/blog/dedup)."""

_SEED = np.uint64(0xCBF29CE484222325)
_PRIME = np.uint64(0x100000001B3)
"""FNV-1a (http://www.isthe.com/chongo/tech/comp/fnv/)."""

_SPREAD = np.uint64(0x9E3779B97F4A7C15)
_HALF = np.uint64(32)


def _piece_classes() -> NDArray[np.uint8]:
    """Of each byte: 0 white space or control, 1 part of a word, 2 a piece of its own."""
    classes = np.full(256, 2, np.uint8)
    classes[: ord(" ") + 1] = 0
    for byte in range(256):
        if byte >= 0x80 or chr(byte).isalnum() or chr(byte) == "_":
            classes[byte] = 1
    return classes


CLASSES = _piece_classes()


@compiled
def hash_shingles(text: Utf8, classes: NDArray[np.uint8], hashes: NDArray[np.uint64]) -> int:
    """Hash each run of `SHINGLE_PIECES` pieces; a text of fewer pieces is one shingle.

    Args:
        text: shape (num_bytes,).
        classes: `CLASSES`.
        hashes: shape (num_bytes,) at the least; the leading ones are filled.

    Returns:
        How many are filled: 0 where the text is white space alone.
    """
    pieces = np.uint64(0)
    last = (_SEED, _SEED, _SEED, _SEED, _SEED)
    place = 0
    num_shingles = 0
    num_pieces = 0
    while place < len(text):
        kind = classes[text[place]]
        if kind == 0:
            place += 1
            continue
        piece = (_SEED ^ np.uint64(text[place])) * _PRIME
        place += 1
        while kind == 1 and place < len(text) and classes[text[place]] == 1:
            piece = (piece ^ np.uint64(text[place])) * _PRIME
            place += 1
        last = (last[1], last[2], last[3], last[4], piece ^ (piece >> _HALF))
        num_pieces += 1
        pieces = _SEED
        for one in last:
            pieces = (pieces ^ one) * _SPREAD
            pieces ^= pieces >> _HALF
        if num_pieces >= SHINGLE_PIECES:
            hashes[num_shingles] = pieces
            num_shingles += 1
    if 0 < num_pieces < SHINGLE_PIECES:
        hashes[0] = pieces
        num_shingles = 1
    return num_shingles
