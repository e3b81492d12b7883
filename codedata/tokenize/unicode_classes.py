r"""The tokenizers library -> what it takes each code point for, as a table of bits.

Nobody else's table will do: its regular expressions (Oniguruma's) and its step `Digits` (Rust's
`char::is_numeric`) are of two versions of Unicode, and Python's `unicodedata` of a third. So the
library itself is asked, with a text of all code points, once for each of its versions on a machine:
a third of a second of work; the answer is noted. It is not shipped, since a version that nobody
foresaw would have to be asked all the same.
"""

from enum import IntFlag
from functools import cache

import numpy as np
import tokenizers
from numpy.typing import NDArray
from tokenizers import Regex, pre_tokenizers

from codedata.store.notes import read_note, write_note
from codedata.tokenize.patterns import DEEPSEEK_CJK

NUM_CODE_POINTS = 0x110000

_NOTES = "unicode-classes-1"
_SURROGATES = 0xD800
_ASKED_AT_ONCE = 0x800
"""Code points in one text: more take longer each; as many as there are surrogates, which no text
has."""


class UnicodeClass(IntFlag):
    r"""What a code point may be: \p{L}, \p{P}, \s, \p{N}, numeric for Rust, of `DEEPSEEK_CJK`."""

    LETTER = 1
    PUNCTUATION = 2
    WHITE_SPACE = 4
    NUMBER = 8
    NUMERIC = 16
    CJK = 32


_PATTERNS = {
    UnicodeClass.LETTER: r"\p{L}",
    UnicodeClass.PUNCTUATION: r"\p{P}",
    UnicodeClass.WHITE_SPACE: r"\s",
    UnicodeClass.NUMBER: r"\p{N}",
    UnicodeClass.CJK: DEEPSEEK_CJK,
}


@cache
def unicode_classes() -> NDArray[np.uint8]:
    """The `UnicodeClass` of each code point, shape (0x110000,); read only."""
    found = read_note(_NOTES, tokenizers.__version__)
    if found is None:
        found = _ask_the_library()
        write_note(_NOTES, tokenizers.__version__, found)
    lengths = np.diff(found["starts"], append=NUM_CODE_POINTS)
    classes = np.repeat(np.array(found["classes"], np.uint8), lengths)
    classes.flags.writeable = False
    return classes


def ambiguous_code_points() -> NDArray[np.int64]:
    r"""Those that are two of letter, punctuation, white space and numeric, or \p{N} without that.

    None of today; a release might have its tables of versions too far apart.
    """
    classes = unicode_classes()
    apart = UnicodeClass.LETTER | UnicodeClass.PUNCTUATION | UnicodeClass.WHITE_SPACE
    what = classes & np.uint8(apart | UnicodeClass.NUMERIC)
    numbers = classes & np.uint8(UnicodeClass.NUMBER | UnicodeClass.NUMERIC)
    return np.flatnonzero((what & (what - np.uint8(1)) != 0) | (numbers == UnicodeClass.NUMBER))


def _ask_the_library() -> dict[str, list[int]]:
    """Runs of code points of the same classes: where each starts, and what it is."""
    numeric = pre_tokenizers.Digits(individual_digits=False)
    splits = [
        pre_tokenizers.Split(Regex(f"{pattern}+"), "isolated") for pattern in _PATTERNS.values()
    ]
    all_of_them = pre_tokenizers.Sequence([*splits, numeric])
    starts = [
        first + start
        for first in range(0, NUM_CODE_POINTS, _ASKED_AT_ONCE)
        if first != _SURROGATES
        for _, (start, _) in all_of_them.pre_tokenize_str(
            "".join(map(chr, range(first, first + _ASKED_AT_ONCE)))
        )
    ]
    one_of_each = "".join(map(chr, starts))
    classes = np.zeros(len(starts), np.uint8)
    for bit, pattern in _PATTERNS.items():
        matches = pre_tokenizers.Split(Regex(pattern), "removed", invert=True)
        for _, (start, stop) in matches.pre_tokenize_str(one_of_each):
            classes[start:stop] |= np.uint8(bit)
    # What is numeric and what is not take turns, and NUL, the first, is not.
    for _, (start, stop) in numeric.pre_tokenize_str(one_of_each)[1::2]:
        classes[start:stop] |= np.uint8(UnicodeClass.NUMERIC)
    return {"starts": starts, "classes": classes.tolist()}
