"""The tokenizers library on blocks of a chunk, side by side."""

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.tokenize.engines.alone import Counted, Stretch, each_alone
from codedata.tokenize.engines.base import PieceEngine, Span
from codedata.tokenize.engines.side_by_side import each_piece
from codedata.tokenize.structure import Pretokenizer

_GROUP_BYTES = 1 << 18
"""Of texts that are tokenized alone, blocks that the library gets at a time."""


class BlocksEngine(PieceEngine):
    """Exact for every tokenizer whose texts may be cut at all."""

    name = "blocks"
    piece_bytes = 8_000
    """The library's fastest of 2,000 to 128,000: the work per call is spread, and the pieces of one
    block stay in the processor's cache."""

    @classmethod
    def why_not(cls, structure: dict[str, Any], pretokenizer: Pretokenizer) -> str | None:  # noqa: ARG003
        """See `PieceEngine.why_not`: cuts are all that it needs."""
        return None

    def encode_pieces(
        self, text: Utf8, pieces: Sequence[Span], *, threads: int
    ) -> Iterable[IdArray]:
        """See `PieceEngine.encode_pieces`.

        A call for one block runs in the thread that makes it: a tenth less CPU than a call for many
        in the library's own threads, which wait for each other.
        """
        return each_piece(lambda piece: self.by_library(text, [piece])[0], pieces, threads)

    def encode_each(
        self, text: Utf8, ends: NDArray[np.int64], *, threads: int = 1
    ) -> tuple[IdArray, NDArray[np.int64]]:
        """See `Engine.encode_each`."""

        def encode(stretch: Stretch) -> Counted:
            ids = self.by_library(text, stretch.spans, begins=stretch.begins)
            return np.concatenate(ids), np.array([*map(len, ids)])

        stretch = Stretch.of(ends).cut(text, self._pretokenizer.cut, self.piece_bytes)
        return each_alone(
            encode, stretch, ends, group_bytes=_GROUP_BYTES, threads=threads, dtype=self._dtype
        )
