"""Fill-in-the-middle: what is drawn for the pieces of a document, and whether pieces have it.

Draws are a hash of the seed, the document's sha256 and the piece's number in it, so that all can
draw again who have the document's hash.
"""

import struct
from collections.abc import Callable
from hashlib import sha256
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from codedata.format.documents import Form, Pieces
from codedata.format.packing import IdArray
from codedata.recipe.documents import Fim, ResolvedRecipe

PERMUTED = (Form.PSM, Form.SPM)

_BITS = 64
"""Of each of the four numbers that are drawn."""


class Draws(NamedTuple):
    """What was drawn for a piece: numbers below 2**64.

    Attributes:
        fim: decides whether it is asked as fill-in-the-middle.
        spm: and whether its suffix comes first.
        first: a place to cut it at.
        second: the other one.
    """

    fim: int
    spm: int
    first: int
    second: int

    def form(self, fim: Fim) -> Form:
        """The form of the piece."""
        if self.fim >= fim.rate * 2**_BITS:
            return Form.PLAIN
        return Form.SPM if self.spm < fim.spm_rate * 2**_BITS else Form.PSM

    def cuts(self, num_chars: int) -> tuple[int, int]:
        """The characters before the middle and before the suffix: 0 to all, each as likely."""
        places = [(number * (num_chars + 1)) >> _BITS for number in (self.first, self.second)]
        return min(places), max(places)


def draws(seed: int, document_sha256: str, piece: int) -> Draws:
    """What is drawn for a piece of a document, by its number in it."""
    drawn = sha256(f"{seed}:{document_sha256}:{piece}".encode()).digest()
    return Draws(*struct.unpack(">4Q", drawn))


def other_than_form(
    recipe: ResolvedRecipe, ids: IdArray, pieces: Pieces, sha256_of: Callable[[int], str]
) -> NDArray[np.int64]:
    """Those pieces whose tokens are not of their form, by their numbers, ascending.

    A permuted one has its three sentinels once each, in their order, the first at its beginning
    (behind BOS, if it is the first of its document); the second follows at once if the suffix comes
    first. All others have none. A prefix of no tokens looks the same: then what is drawn decides.

    Args:
        recipe: that they were made by.
        ids: of all pieces, one behind the other.
        pieces: of whole documents.
        sha256_of: gives that of the text of a document, by its number.
    """
    numbers, num_tokens, forms = pieces.T
    permuted = np.isin(forms, PERMUTED)
    fim = recipe.recipe.fim
    if recipe.fim is None or fim is None:
        return np.flatnonzero(forms != Form.PLAIN)
    sentinels = [recipe.fim.prefix, recipe.fim.suffix, recipe.fim.middle]
    places = np.flatnonzero(np.isin(ids, sentinels))
    stops = np.cumsum(num_tokens, dtype=np.int64)
    num_sentinels = np.bincount(np.searchsorted(stops, places, "right"), minlength=len(pieces))
    wrong = num_sentinels != np.where(permuted, len(sentinels), 0)
    of_right = np.repeat(~wrong, num_sentinels)
    whole = np.flatnonzero(permuted & ~wrong)
    of_each = places[of_right].reshape(-1, len(sentinels))
    is_first = np.diff(numbers, prepend=-1) != 0
    starts = stops - num_tokens + (is_first & (recipe.bos is not None))
    suffix_follows = np.diff(of_each[:, :2]).ravel() == 1
    wrong[whole] = (ids[of_each] != sentinels).any(axis=1) | (of_each[:, 0] != starts[whole])
    wrong[whole] |= ~suffix_follows & (forms[whole] == Form.SPM)
    firsts = np.searchsorted(numbers, numbers)
    for piece in whole[suffix_follows & ~wrong[whole]].tolist():
        document = int(numbers[piece])
        drawn = draws(fim.seed, sha256_of(document), piece - int(firsts[piece]))
        wrong[piece] = drawn.form(fim) != forms[piece]
    return np.flatnonzero(wrong)
