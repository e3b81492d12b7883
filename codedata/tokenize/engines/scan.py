"""A text, words and code points -> where in it they stand, and the pieces to cut out around them.

What an engine does not do exactly as the tokenizers library does is looked for before it gets a
text, and the library has the pieces that hold it, from one proven cut to the next. Looking costs a
tenth of the fastest engine's time, by numpy alone: compiled code would first have to be loaded.
"""

import re
from collections.abc import Iterable, Iterator

import numpy as np
from numpy.typing import NDArray

from codedata.format.ranges import Utf8
from codedata.tokenize.engines.base import Span
from codedata.tokenize.unicode_classes import NUM_CODE_POINTS

_SLICE_BYTES = 1 << 17
"""Looked through at a time: it and what is computed of it stay in the processor's cache."""
_LEAD = 0xC2
_FILTERED_BYTES = 4
"""Of a word so many bytes are compared for all places at once, the rest for each that is left."""
_NEAR_BYTES = 512


class Exceptions:
    """Words and code points that are looked for.

    Args:
        words: UTF-8, none of them empty.
        code_points: sorted ranges, shape (n, 2), stop exclusive, none below 128.
    """

    def __init__(self, words: Iterable[bytes], code_points: NDArray[np.int32]) -> None:
        self._words: dict[int, tuple[bytes, ...]] = {}
        for word in sorted(set(words)):
            self._words[word[0]] = (*self._words.get(word[0], ()), word)
        self._filters = {
            first: [_members(word[depth] for word in words) for depth in range(1, shortest)]
            for first, words in self._words.items()
            if (shortest := min(_FILTERED_BYTES, *map(len, words)))
        }
        self._is_one = np.zeros(NUM_CODE_POINTS, bool)
        for start, stop in code_points.tolist():
            self._is_one[start:stop] = True
        leads = {
            chr(code_point).encode(errors="surrogatepass")[0]
            for code_point in _one_a_block(self._is_one)
        }
        self._leads = _members(leads)

    def find(self, text: Utf8, *, is_ascii: bool) -> list[Span]:
        """Where they stand, in order of their starts.

        Args:
            text: UTF-8, from a character's start to another's.
            is_ascii: whether it holds ASCII alone.

        Returns:
            Bytes of the text.
        """
        found: list[Span] = []
        for start in range(0, len(text), _SLICE_BYTES):
            part = text[start : start + _SLICE_BYTES]
            for first in self._words:
                if len(places := np.flatnonzero(part == first)):
                    found += self._words_at(text, places + start)
            if not is_ascii and len(places := np.flatnonzero(part >= _LEAD)):
                found += self._code_points_at(text, places + start)
        return sorted(found)

    def _words_at(self, text: Utf8, places: NDArray[np.int64]) -> Iterator[Span]:
        """Words at some places, which hold the same byte, the first one of a word."""
        first = int(text[places[0]])
        for depth, members in enumerate(self._filters[first], 1):
            places = places[places + depth < len(text)]
            places = places[members[text[places + depth]]]
        words = self._words[first]
        longest = max(map(len, words))
        for place in places.tolist():
            here = text[place : place + longest].tobytes()
            length = max((len(word) for word in words if here.startswith(word)), default=0)
            if length:
                yield place, place + length

    def _code_points_at(self, text: Utf8, places: NDArray[np.int64]) -> Iterator[Span]:
        """Code points at some places, where characters beyond ASCII start."""
        places = places[self._leads[text[places]]]
        if len(places):
            code_points, lengths = decode_at(text, places)
            here = self._is_one[code_points]
            yield from zip(
                places[here].tolist(), (places[here] + lengths[here]).tolist(), strict=True
            )


def _members(values: Iterable[int]) -> NDArray[np.bool_]:
    """Which bytes are among some values, shape (256,)."""
    members = np.zeros(256, bool)
    members[list(values)] = True
    return members


def _one_a_block(is_one: NDArray[np.bool_]) -> list[int]:
    """The first code point of each 64 that hold one: all of them start with the same byte."""
    return (np.flatnonzero(is_one.reshape(-1, 64).any(axis=1)) * 64).tolist()


def decode_at(text: Utf8, places: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The code points that start at some places, none of them ASCII, and their lengths in bytes."""
    first = text[places].astype(np.int64)
    lengths = 2 + (first >= 0xE0) + (first >= 0xF0)  # of UTF-8's leading bytes
    code_points = first & (0xFF >> (lengths + 1))
    for depth in range(1, 4):
        goes_on = lengths > depth
        follows = text[np.minimum(places + depth, len(text) - 1)].astype(np.int64) & 0x3F
        code_points = np.where(goes_on, (code_points << 6) | follows, code_points)
    return code_points, lengths


def cut_around(text: Utf8, found: Iterable[Span], cut: re.Pattern[bytes]) -> list[Span]:
    """The shortest pieces, from a cut to a cut or an end of the text, that hold what was found.

    Args:
        text: in which it was found.
        found: in order.
        cut: where the text may be cut, none of them within what was found.
    """
    pieces: list[Span] = []
    for start, stop in found:
        if pieces and stop <= pieces[-1][1]:
            continue
        low = pieces[-1][1] if pieces and start < pieces[-1][1] else _last_cut(text, start, cut)
        after = cut.search(text.data, stop)
        high = after.start() if after else len(text)
        if pieces and low <= pieces[-1][1]:
            pieces[-1] = pieces[-1][0], high
        else:
            pieces.append((low, high))
    return pieces


def _last_cut(text: Utf8, place: int, cut: re.Pattern[bytes]) -> int:
    """The last place up to a given one where a text may be cut; 0 if there is none."""
    width = _NEAR_BYTES
    while True:
        low = max(0, place - width)
        found = cut.finditer(text.data, low, min(place + 1, len(text)))
        cuts = [each.start() for each in found if each.start() <= place]
        if cuts:
            return cuts[-1]
        if not low:
            return 0
        width *= 8
