"""An engine that tokenizes pieces which follow each other by one call: of a chunk, or of documents.

Stretch -> the ids of its pieces, by compiled code that frees the interpreter's lock, in threads.
"""

from abc import abstractmethod
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray

from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.tokenize.engines.alone import Counted, Span, Stretch, each_alone
from codedata.tokenize.engines.base import PieceEngine
from codedata.tokenize.engines.side_by_side import each_piece, read_only


class StretchEngine(PieceEngine):
    """A `PieceEngine` that takes stretches, any number of them at once."""

    @abstractmethod
    def _encode(self, text: Utf8, stretch: Stretch) -> Counted:
        """The ids of each piece of a stretch of a text that is `read_only`."""

    def encode_pieces(
        self, text: Utf8, pieces: Sequence[Span], *, threads: int
    ) -> Iterable[IdArray]:
        """See `PieceEngine.encode_pieces`."""
        text = read_only(text)
        return each_piece(
            lambda piece: self._encode(text, Stretch.within(piece, len(text)))[0], pieces, threads
        )

    def encode_each(
        self, text: Utf8, ends: NDArray[np.int64], *, threads: int = 1
    ) -> tuple[IdArray, NDArray[np.int64]]:
        """See `Engine.encode_each`."""
        text = read_only(text)
        return each_alone(
            lambda group: self._encode(text, group),
            Stretch.of(ends).cut(text, self._pretokenizer.cut, self.piece_bytes),
            ends,
            group_bytes=self.piece_bytes,
            threads=threads,
            dtype=self._dtype,
        )
