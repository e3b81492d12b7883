"""The tokenizers library on blocks of a chunk, in parallel."""

from collections.abc import Iterator, Sequence
from typing import Any

from codedata.format.packing import IdArray
from codedata.format.ranges import Utf8
from codedata.tokenize.engines.base import PieceEngine, Span
from codedata.tokenize.structure import Pretokenizer

_BATCH_BLOCKS = 16
"""Blocks encoded in one call, in parallel; bounds the memory of their `Encoding` objects."""


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
        self,
        text: Utf8,
        pieces: Sequence[Span],
        *,
        threads: int,  # noqa: ARG002
    ) -> Iterator[IdArray]:
        """See `PieceEngine.encode_pieces`; the threads are the library's, `$RAYON_NUM_THREADS`."""
        for first in range(0, len(pieces), _BATCH_BLOCKS):
            yield from self.by_library(text, pieces[first : first + _BATCH_BLOCKS])
