"""The documents of a chunk, and where they lie in samples: arrays and their bytes.

A chunk's documents -> pieces -> samples. A piece is what goes into one sample unless packing has to
cut it: a document with the tokens that frame it, or a part of one, in the text's order or permuted.

Beside each shard lie its spans, `dump-N.documents.npy`, and what its documents are,
`dump-N.documents.parquet`.

Invariants: the spans of a sample follow each other from its first token on, and what is behind them
is padding; those of a document, in the order of their first tokens, follow each other likewise.
"""

from dataclasses import dataclass
from enum import IntEnum
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.format.packing import IdArray


class Form(IntEnum):
    """In which form a piece asks for its text."""

    PLAIN = 0
    PSM = 1
    SPM = 2
    TOO_LONG = 3
    """Plain, since the permuted form that was drawn fits into no sample; spans say PLAIN."""
    LEFT_PLAIN = 4
    """Drawn likewise, but its parts cannot be tokenized alone, or would not give the text back."""


KEPT, EMPTY, CONTROL_TOKENS = "kept", "empty", "control tokens"
"""What is decided of a document: those of no character, and of control tokens, are left out."""

PIECE_COLUMNS = ("document", "num_tokens", "form")
SPAN_COLUMNS = ("sample", "start", "stop", "document", "first_token", "form")

Pieces = NDArray[np.int32]
"""Shape (num_pieces, 3): `PIECE_COLUMNS`. The document is its number in the chunk."""

Spans = NDArray[np.int32]
"""Shape (num_spans, 6): `SPAN_COLUMNS`. The sample is its row in the shard, start and stop are
tokens of it, first_token says how many tokens of the document stand before."""


@dataclass(frozen=True, kw_only=True, eq=False)
class ChunkDocuments:
    """What the documents of a chunk were made to.

    Attributes:
        ids: of all pieces, one after the other, shape (num_tokens,), uint16 or int32.
        pieces: in the order of their documents, and within each of its text.
        table: a row a document, in order, dropped ones too: an Arrow table of `DOCUMENT_SCHEMA`.
    """

    ids: IdArray
    pieces: Pieces
    table: Any


@dataclass(frozen=True, kw_only=True)
class DocumentCounts:
    """What became of the documents of a chunk, or of a dataset; they add up.

    Attributes:
        documents: whose first character is in the chunk; null contents are none.
        empty: those of no character, which are left out.
        with_control_tokens: dropped for that.
        tokens: of all pieces, framing and sentinels included.
        tokens_packed: of those, what samples hold.
        tokens_dropped: the rest of a chunk that `concat` leaves out.
        cut: documents that lie in more than one sample, or of which `concat` dropped a part.
        cut_though_short: those of them that a sample could hold whole, sentinels included.
        pieces: of which samples hold at least a part; packing may have cut them.
        psm: of those, permuted, the prefix first.
        spm: permuted, the suffix first.
        fim_too_long: drawn, and left plain since the permuted form fits into no sample.
        fim_left_plain: drawn, and left plain for another reason: a part would be a control token,
            the permuted pieces would not give the document back, there is no text but framing.
        padding: tokens that fill up samples.
    """

    documents: int = 0
    empty: int = 0
    with_control_tokens: int = 0
    tokens: int = 0
    tokens_packed: int = 0
    tokens_dropped: int = 0
    cut: int = 0
    cut_though_short: int = 0
    pieces: int = 0
    psm: int = 0
    spm: int = 0
    fim_too_long: int = 0
    fim_left_plain: int = 0
    padding: int = 0

    def __add__(self, other: "DocumentCounts") -> "DocumentCounts":
        """Of both together."""
        return DocumentCounts(**{n: v + getattr(other, n) for n, v in vars(self).items()})


def text_tokens(spans: Spans, num_samples: int) -> NDArray[np.int32]:
    """How many tokens of each sample of a shard are documents', shape (num_samples,)."""
    sizes = spans[:, 2] - spans[:, 1]
    return np.bincount(spans[:, 0], sizes, num_samples).astype(np.int32)
