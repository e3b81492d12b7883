"""The progress line of a run."""

import re
from pathlib import Path

from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.ranges import CharRange
from codedata.progress import ChunkProgress
from codedata.store.chunks import TokenChunk
from codedata.store.local import LocalStore


def chunk_of(start: int, stop: int, num_tokens: int) -> TokenChunk:
    fingerprint = ChunkFingerprint(
        corpus_sha256="c", tokenizer_sha256="t", chars=CharRange(start, stop)
    )
    return TokenChunk(
        fingerprint=fingerprint,
        num_tokens=num_tokens,
        ids_sha256="0",
        engine="whole",
        compared_bytes=0,
        seconds=1.0,
        store=LocalStore(Path()),
    )


def test_a_progress_line_has_count_rate_and_the_time_that_is_left() -> None:
    """One chunk of five was reused; 3 of the 12 million characters took ten seconds."""
    progress = ChunkProgress(num_chunks=5, reused=1, num_chars=12_000_000)
    progress._started -= 10
    assert progress.line(chunk_of(4_000_000, 7_000_000, 1_234_567)) == (
        "chunk 0004000000-0007000000: 1,234,567 tokens; 2 of 5 chunks, "
        "0.3 M characters/s, 30 s left"
    )


def test_the_last_progress_line_leaves_nothing() -> None:
    progress = ChunkProgress(num_chunks=2, reused=0, num_chars=250)
    lines = [progress.line(chunk_of(0, 200, 9)), progress.line(chunk_of(200, 250, 0))]
    assert "; 1 of 2 chunks, " in lines[0]
    assert re.fullmatch(
        r"chunk 0000000200-0000000250: 0 tokens; 2 of 2 chunks, [\d.]+ M characters/s, 0 s left",
        lines[1],
    )
