"""Packing what is stored: chunks that do not belong together are not made one dataset."""

import os
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codedata.errors import ChunkMismatchError, SettingsError
from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.meta import ShardEntry
from codedata.format.ranges import CharRange
from codedata.recipe.settings import Settings
from codedata.run import assemble
from codedata.run.plan import Plan
from codedata.store.chunks import put_chunk
from codedata.store.local import LocalStore
from codedata.store.publishing import open_staging
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests.format.test_facts import ORIGIN

FIRST = ChunkFingerprint(corpus_sha256="a" * 64, tokenizer_sha256="b" * 64, chars=CharRange(0, 9))
SETTINGS = Settings(seq_length=3, min_sample_length=0, max_dump_size=1, pad_token=0)

Stage = Callable[[ChunkFingerprint], list[ShardEntry]]


@pytest.fixture
def stage(tokenizer_folder: Path, tmp_path: Path) -> Stage:
    """Stages two chunks of four tokens each: two shards of a sample of three."""
    files = find_tokenizer(str(tokenizer_folder))
    plan = Plan(settings=SETTINGS, tokenizer=files, engine_choice="auto", windows=())

    def stage(second: ChunkFingerprint) -> list[ShardEntry]:
        ids = np.arange(4, dtype=np.uint16)
        with open_staging(tmp_path / "set") as staging:
            chunks = [
                put_chunk(
                    LocalStore(tmp_path / str(place)), each, ids, engine="whole", compared_bytes=0
                )
                for place, each in enumerate((FIRST, second))
            ]
            staged = assemble.assemble(plan, chunks, staging, ORIGIN, num_workers=1)
        assert staged.dataset is not None
        return list(staged.dataset.entries)

    return stage


NEXT = replace(FIRST, chars=CharRange(9, 18))
OTHER_FILE = replace(FIRST, corpus_sha256="c" * 64, chars=CharRange(0, 9, 1))


@pytest.mark.parametrize("second", [NEXT, OTHER_FILE])
def test_chunks_of_one_origin_are_packed_together(stage: Stage, second: ChunkFingerprint) -> None:
    entries = stage(second)
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
    stage: Stage, tmp_path: Path, second: ChunkFingerprint, differing: str
) -> None:
    with pytest.raises(ChunkMismatchError, match=f"do not belong together: .* {differing};"):
        stage(second)
    assert not os.path.lexists(tmp_path / "set")


def test_more_shards_than_can_be_mapped_are_refused(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(assemble, "MAX_SHARDS", 4)
    assert len(stage(NEXT)) == 4
    monkeypatch.setattr(assemble, "MAX_SHARDS", 3)
    with pytest.raises(SettingsError, match=r"fill 4 shards, more than the 3 .* max_dump_size"):
        stage(NEXT)
