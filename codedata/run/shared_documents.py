"""The windows of a split and of those it is held out from -> documents that stand in both.

Held out means: no character of a text is in both windows. A document that a corpus holds twice may
still stand in both, once in each; and where two windows adjoin, their border cuts one. Here both
are counted. Documents are the same where their bytes are, by a hash of 16 bytes; empty ones are no
text and are left out. A split that marks documents has those whole that begin in its window, and
of the others nothing.

In memory are the hashes and lengths of the split's own documents, 24 bytes each and a few times
that while they are sorted (ten million documents: 240 MB, and 700), and a batch of the others'.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from hashlib import blake2b
from itertools import chain
from math import ceil
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.format.ranges import CharRange
from codedata.parallel import available_cores
from codedata.run.checks import CheckOutcome
from codedata.sources.documents import Documents
from codedata.sources.parquet.text import Window

_HASH_BYTES = 16
"""Of a billion documents two different ones have equal hashes once in 10^20 times."""

_SHOWN_CUTS = 3

_HASH = np.dtype(f"S{_HASH_BYTES}")


_Read = tuple[NDArray[np.bytes_], NDArray[np.int64], list[CharRange]]

_NOTHING: list[_Read] = [(np.empty(0, _HASH), np.empty(0, np.int64), [])]


@dataclass(frozen=True, kw_only=True)
class _Taken:
    """A window, and whether documents are taken by where they begin, or characters."""

    window: Window
    is_whole: bool

    def part_of(self, documents: Documents) -> NDArray[np.bool_]:
        """Which of some documents it has, or has a part of, if they are of its text."""
        chars = self.window.chars
        if self.is_whole:
            return (documents.starts >= chars.start) & (documents.starts < chars.stop)
        return (documents.starts < chars.stop) & (documents.stops > chars.start)


_Piece = tuple[_Taken, CharRange]


@dataclass(frozen=True, kw_only=True)
class SharedDocuments:
    """What a split shares with those that it is held out from.

    Attributes:
        num_documents: of the split, whole or in part.
        num_shared: of them those that stand, byte for byte, in any of the others.
        shared_with: the same for each of the others, by name.
        cut: documents of which both the split and another one have a part.
    """

    num_documents: int
    num_shared: int
    shared_with: Mapping[str, int]
    cut: Sequence[CharRange]


def find_shared(
    own: Sequence[Window],
    others: Mapping[str, Sequence[Window]],
    *,
    is_whole: bool = False,
    whole: Collection[str] = (),
) -> SharedDocuments:
    """Count the documents of some windows that others hold too.

    A document that both have a part of counts as cut; as shared only if another copy of it stands
    in the others.

    Args:
        own: windows of the split.
        others: of the others, by their names.
        is_whole: whether the split has the documents that begin in its windows, each whole.
        whole: which of the others have.
    """
    mine = [_Taken(window=window, is_whole=is_whole) for window in own]
    theirs = {
        name: [_Taken(window=window, is_whole=name in whole) for window in windows]
        for name, windows in others.items()
    }
    all_others = [*chain.from_iterable(theirs.values())]
    with ThreadPoolExecutor(available_cores()) as threads:

        def read_own(piece: _Piece) -> list[_Read]:
            return [*_read(piece, all_others)]

        read = threads.map(read_own, _pieces(mine))
        hashes, num_chars, cut = zip(*_NOTHING, *chain.from_iterable(read), strict=True)
        known, copies = np.unique(np.concatenate(hashes), return_counts=True)
        lengths = np.unique(np.concatenate(num_chars))
        del hashes, num_chars, read

        def find(piece: _Piece) -> NDArray[np.bool_]:
            found = np.zeros(len(known), bool)
            for hashed, _, _ in _read(piece, mine, lengths):
                places = _places(known, hashed)
                found[places[places >= 0]] = True
            return found

        found = {
            name: np.logical_or.reduce(list(threads.map(find, _pieces(taken))))
            for name, taken in theirs.items()
        }
    in_any = np.logical_or.reduce([np.zeros(len(known), bool), *found.values()])
    return SharedDocuments(
        num_documents=int(copies.sum()),
        num_shared=int(copies[in_any].sum()),
        shared_with={name: int(copies[each].sum()) for name, each in found.items()},
        cut=list(chain.from_iterable(cut)),
    )


def _pieces(taken: Sequence[_Taken]) -> list[_Piece]:
    """Windows in pieces for as many threads as there are cores."""
    return [
        (each, piece)
        for each in taken
        for chars in [each.window.chars]
        for piece in chars.cut(ceil(chars.num_chars / available_cores()))
    ]


def _read(
    of: _Piece, others: Sequence[_Taken], lengths: NDArray[np.int64] | None = None
) -> Iterator[_Read]:
    """The documents that begin in a piece of a window, or, cut, in its first one reach into it.

    Args:
        of: a window, and some of its characters.
        others: what is compared with.
        lengths: documents of others are left out, as are those that `others` have a part of.

    Yields:
        Of a batch, hashes and lengths of what is no empty one, and what `others` have a part of.
    """
    taken, piece = of
    window = taken.window
    has_parts = piece.start == window.chars.start and not taken.is_whole
    for batch in window.text.documents(piece):
        first = 0 if has_parts else int(np.searchsorted(batch.starts, piece.start))
        if first == len(batch):
            continue
        some = batch.part(first)
        cut = np.zeros(len(some), bool)
        for other in others:
            if other.window.text.sha256 == window.text.sha256:
                cut |= other.part_of(some)
        wanted = some.num_chars > 0
        if lengths is not None:
            wanted &= ~cut & (_places(lengths, some.num_chars) >= 0)
        which = np.flatnonzero(wanted)
        texts = (blake2b(text.data, digest_size=_HASH_BYTES).digest() for text in some.utf8(which))
        yield (
            np.frombuffer(b"".join(texts), _HASH),
            some.num_chars[which],
            [
                CharRange(int(some.starts[at]), int(some.stops[at]), some.file)
                for at in np.flatnonzero(cut)
            ],
        )


def _places(known: NDArray[Any], values: NDArray[Any]) -> NDArray[np.int64]:
    """Where values stand among sorted ones; -1 where they do not."""
    if not len(known):
        return np.full(len(values), -1)
    places = np.minimum(np.searchsorted(known, values), len(known) - 1)
    return np.where(known[places] == values, places, -1)


def judge_shared(
    name: str, shared: SharedDocuments, not_here: Mapping[str, str] | None = None
) -> CheckOutcome:
    """What is to be said of a split.

    It fails where a document is shared, and where that is not known. That a border cuts a document
    is said and fails nothing: windows that adjoin nearly always cut one.

    Args:
        name: of the split.
        shared: with the splits whose texts are here.
        not_here: why the texts of others are not, by their names.
    """
    names, total = ", ".join(shared.shared_with), f"{shared.num_documents:,} documents of {name}"
    said: list[str] = []
    if shared.num_shared:
        said.append(f"{shared.num_shared:,} of {total} stand, byte for byte, in {names} too")
    elif names:
        said.append(f"none of {total} stands, byte for byte, in {names}")
    if shared.cut:
        some = ", ".join(f"{each.start} to {each.stop}" for each in shared.cut[:_SHOWN_CUTS])
        more = ", ..." if len(shared.cut) > _SHOWN_CUTS else ""
        said.append(
            f"{len(shared.cut):,} more, cut by the border, begins in one split and goes on in the "
            f"other (characters {some}{more})"
        )
    said += [f"not compared with {other}: {why}" for other, why in (not_here or {}).items()]
    return CheckOutcome(
        passed=not shared.num_shared and not not_here,
        description="; ".join(said),
        numbers={
            "documents": shared.num_documents,
            "shared documents": shared.num_shared,
            "cut documents": len(shared.cut),
            **{f"in {other}": count for other, count in shared.shared_with.items()},
        },
    )
