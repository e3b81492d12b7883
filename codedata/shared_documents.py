"""The windows of a split and of those it is held out from -> documents that stand in both.

Held out means: no character of a text is in both windows. A document that a corpus holds twice may
still stand in both, once in each; and where two windows adjoin, their border cuts one. Here both
are counted. Documents are the same where their bytes are, by a hash of 16 bytes; empty ones are no
text and are left out.

In memory are the hashes of the split's own documents, 16 bytes each and twice that while they are
sorted (ten million documents: 160 and 320 MB), and one batch of the others'.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from itertools import pairwise

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from codedata.checks import CheckOutcome
from codedata.core.settings import CharRange
from codedata.io.text_window import Window

_HASH_BYTES = 16
"""Of a billion documents two different ones have equal hashes once in 10^20 times."""

_SHOWN_CUTS = 3

Hashes = NDArray[np.bytes_]
"""Hashes of documents, shape (num_documents,), S16."""


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


def find_shared(own: Sequence[Window], others: Mapping[str, Sequence[Window]]) -> SharedDocuments:
    """Count the documents of some windows that others hold too.

    A document that both have a part of counts as cut; as shared only if another copy of it stands
    in the others.
    """
    all_others = [window for windows in others.values() for window in windows]
    batches: list[Hashes] = [np.empty(0, f"S{_HASH_BYTES}")]
    cut: list[CharRange] = []
    for window in own:
        for hashes, starts, stops in _hashed(window):
            batches.append(hashes)
            cut += [
                CharRange(int(starts[at]), int(stops[at]), window.chars.file)
                for at in np.flatnonzero(_in_any(all_others, window, starts, stops))
            ]
    known, copies = np.unique(np.concatenate(batches), return_counts=True)
    batches.clear()
    found = {name: _found(known, windows, own) for name, windows in others.items()}
    in_any = np.logical_or.reduce([np.zeros(len(known), bool), *found.values()])
    return SharedDocuments(
        num_documents=int(copies.sum()),
        num_shared=int(copies[in_any].sum()),
        shared_with={name: int(copies[each].sum()) for name, each in found.items()},
        cut=cut,
    )


def _found(known: Hashes, windows: Sequence[Window], own: Sequence[Window]) -> NDArray[np.bool_]:
    """Which of some hashes, sorted, documents of the windows have, those of `own` left out."""
    found = np.zeros(len(known), bool)
    if not len(known):
        return found
    for window in windows:
        for hashes, starts, stops in _hashed(window):
            apart = hashes[~_in_any(own, window, starts, stops)]
            places = np.minimum(np.searchsorted(known, apart), len(known) - 1)
            found[places[known[places] == apart]] = True
    return found


def _in_any(
    windows: Sequence[Window], of: Window, starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> NDArray[np.bool_]:
    """Which documents of a window's text any of the windows has a part of."""
    inside = np.zeros(len(starts), bool)
    for window in windows:
        if window.text.sha256 == of.text.sha256:
            inside |= (starts < window.chars.stop) & (stops > window.chars.start)
    return inside


def _hashed(window: Window) -> Iterator[tuple[Hashes, NDArray[np.int64], NDArray[np.int64]]]:
    """The hashes of a window's documents that are not empty, and where they start and stop."""
    for documents, starts, stops in window.text.documents(window.chars):
        some = stops > starts
        yield _hashes(documents)[some], starts[some], stops[some]


def _hashes(documents: pa.LargeStringArray) -> Hashes:
    _, offsets, data = documents.buffers()
    places = np.frombuffer(offsets, np.int64)[documents.offset :][: len(documents) + 1]
    content = memoryview(data) if data is not None else memoryview(b"")
    digests = (
        blake2b(content[start:stop], digest_size=_HASH_BYTES).digest()
        for start, stop in pairwise(places.tolist())
    )
    return np.frombuffer(b"".join(digests), f"S{_HASH_BYTES}")


def judge_shared(name: str, shared: SharedDocuments) -> CheckOutcome:
    """What is to be said of a split: that the border cuts a document is, but fails nothing."""
    names = ", ".join(shared.shared_with)
    counts = {f"in {other}": count for other, count in shared.shared_with.items()}
    said = (
        f"{shared.num_shared:,} of {shared.num_documents:,} documents of {name} stand, byte for "
        f"byte, in {names} too"
        if shared.num_shared
        else f"no document of {name} stands, byte for byte, in {names}"
    )
    if shared.cut:
        some = ", ".join(f"{each.start} to {each.stop}" for each in shared.cut[:_SHOWN_CUTS])
        more = ", ..." if len(shared.cut) > _SHOWN_CUTS else ""
        said += (
            f"; the border cuts {len(shared.cut):,} of which each has a part (characters "
            f"{some}{more})"
        )
    return CheckOutcome(
        passed=not shared.num_shared,
        description=said,
        numbers={
            "documents": shared.num_documents,
            "shared documents": shared.num_shared,
            "cut documents": len(shared.cut),
            **counts,
        },
    )
