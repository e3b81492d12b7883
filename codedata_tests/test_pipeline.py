"""Packing what is stored: chunks that do not belong together are not made one dataset."""

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codedata import pipeline
from codedata.core.card import Origin
from codedata.core.fingerprint import ChunkFingerprint
from codedata.core.meta import ShardEntry
from codedata.core.settings import CharRange, Settings
from codedata.errors import ChunkMismatchError, SettingsError
from codedata.io.chunk_store import write_chunk
from codedata.io.publishing import open_staging

FIRST = ChunkFingerprint(corpus_sha256="a" * 64, tokenizer_sha256="b" * 64, chars=CharRange(0, 9))
SETTINGS = Settings(seq_length=3, min_sample_length=0, max_dump_size=1, pad_token=0)
ORIGIN = Origin(corpus={}, tokenizer={}, engine="", versions={}, command="")


def stage(folder: Path, second: ChunkFingerprint) -> list[ShardEntry]:
    """Stage two chunks of four tokens each: two shards of a sample of three."""
    ids = np.arange(4, dtype=np.uint16)
    with open_staging(folder / "set") as staging:
        chunks = [
            write_chunk(folder / str(place), fingerprint, ids, engine="whole", compared_bytes=0)
            for place, fingerprint in enumerate((FIRST, second))
        ]
        return pipeline.stage_dataset(chunks, SETTINGS, staging, ORIGIN, num_workers=1)


NEXT = replace(FIRST, chars=CharRange(9, 18))
OTHER_FILE = replace(FIRST, corpus_sha256="c" * 64, chars=CharRange(0, 9, 1))


@pytest.mark.parametrize("second", [NEXT, OTHER_FILE])
def test_chunks_of_one_origin_are_packed_together(tmp_path: Path, second: ChunkFingerprint) -> None:
    entries = stage(tmp_path, second)
    assert [(entry.chars, entry.last_sample_tokens) for entry in entries] == [
        (FIRST.chars, 3),
        (FIRST.chars, 1),
        (second.chars, 3),
        (second.chars, 1),
    ]


@pytest.mark.parametrize(
    ("second", "differing"),
    [
        (replace(NEXT, corpus_sha256="c" * 64), "corpus_sha256"),
        (replace(NEXT, tokenizer_sha256="c" * 64), "tokenizer_sha256"),
        (replace(NEXT, code_version=0), "code_version"),
        (replace(OTHER_FILE, tokenizer_sha256="c" * 64), "tokenizer_sha256"),
        (replace(OTHER_FILE, code_version=0), "code_version"),
    ],
)
def test_chunks_that_do_not_belong_together_are_refused_with_what_differs(
    tmp_path: Path, second: ChunkFingerprint, differing: str
) -> None:
    with pytest.raises(ChunkMismatchError, match=f"do not belong together: .* {differing};"):
        stage(tmp_path, second)
    assert not os.path.lexists(tmp_path / "set")


def test_more_shards_than_can_be_mapped_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pipeline, "MAX_SHARDS", 4)
    assert len(stage(tmp_path, NEXT)) == 4
    monkeypatch.setattr(pipeline, "MAX_SHARDS", 3)
    with pytest.raises(SettingsError, match=r"fill 4 shards, more than the 3 .* max_dump_size"):
        stage(tmp_path, NEXT)
