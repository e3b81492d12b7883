"""Finished chunks -> log lines with rate and remaining time, and where a bar is wanted instead."""

import time
from contextvars import ContextVar

from codedata.io.chunk_store import TokenChunk

SHOW_BARS = ContextVar("SHOW_BARS", default=False)
"""Whether runs in this context belong to a terminal that shows progress bars."""


class ChunkProgress:
    """Counts the chunks of one run.

    Args:
        num_chunks: chunks of the run, reused ones included.
        reused: the chunks that an earlier run left.
        num_chars: characters that are left to tokenize.
    """

    def __init__(self, num_chunks: int, reused: int, num_chars: int) -> None:
        self._num_chunks = num_chunks
        self._done = reused
        self._num_chars = num_chars
        self._chars_done = 0
        self._started = time.monotonic()

    def line(self, chunk: TokenChunk) -> str:
        """Count a finished chunk and say how far the run is."""
        self._done += 1
        self._chars_done += chunk.chars.num_chars
        rate = self._chars_done / max(time.monotonic() - self._started, 1e-9)
        left = (self._num_chars - self._chars_done) / rate
        return (
            f"chunk {chunk.chars.key}: {chunk.num_tokens:,} tokens; {self._done} of "
            f"{self._num_chunks} chunks, {rate / 1e6:.1f} M characters/s, {left:.0f} s left"
        )
