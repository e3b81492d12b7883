"""Packing what is stored: the plan's own chunks, in order; no more shards than there may be."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from codedata.errors import ChunkMismatchError, SettingsError
from codedata.format.fingerprint import ChunkFingerprint
from codedata.format.meta import ShardEntry
from codedata.recipe.settings import Settings
from codedata.run import assemble, packing
from codedata.run.plan import open_plan
from codedata.sources.parquet.text import ParquetText
from codedata.store.chunks import LocalChunks
from codedata.store.publishing import open_staging
from codedata.tokenize.tokenizer_files import find_tokenizer
from codedata_tests.format.test_facts import ORIGIN

SETTINGS = Settings(seq_length=3, min_sample_length=0, max_dump_size=1, pad_token=0, chunk_size=9)

Chosen = Callable[[list[ChunkFingerprint]], Sequence[ChunkFingerprint]]
Pack = Callable[[Chosen], list[ShardEntry]]


@pytest.fixture
def pack(corpus: Path, tokenizer_folder: Path, tmp_path: Path) -> Pack:
    """Packs chunks of four tokens each, of a plan of two files of two chunks."""
    texts = {0: ParquetText(corpus), 3: ParquetText(corpus)}
    settings = replace(SETTINGS, chars_to_tokenize=18)
    plan = open_plan(texts, settings, find_tokenizer(str(tokenizer_folder)))

    def pack(choose: Chosen) -> list[ShardEntry]:
        ids = np.arange(4, dtype=np.uint16)
        with open_staging(tmp_path / "set") as staging:
            chunks = [
                LocalChunks(tmp_path / str(n)).put(each, ids, engine="", compared_bytes=0)
                for n, each in enumerate(choose(plan.fingerprints))
            ]
            staged = assemble.assemble(plan, chunks, staging, ORIGIN, num_workers=1)
        assert staged.dataset is not None
        return list(staged.dataset.entries)

    return pack


def test_the_chunks_of_all_files_are_packed_in_their_order(pack: Pack) -> None:
    entries = pack(list)
    places = [(0, 0), (9, 0), (0, 3), (9, 3)]
    assert [
        (entry.chars.start, entry.chars.file, entry.last_sample_tokens)
        for entry in entries
        if entry.chars
    ] == [(*place, tokens) for place in places for tokens in (3, 1)]


NOT_THE_PLAN_S: dict[str, Chosen] = {
    "one missing": lambda chunks: chunks[:-1],
    "another order": lambda chunks: chunks[::-1],
    "another corpus": lambda chunks: [replace(chunks[0], corpus_sha256="c" * 64), *chunks[1:]],
    "a tokenizer": lambda chunks: [*chunks[:3], replace(chunks[3], tokenizer_sha256="c" * 64)],
    "a code version": lambda chunks: [*chunks[:3], replace(chunks[3], code_version=0)],
}


@pytest.mark.parametrize("choose", NOT_THE_PLAN_S.values(), ids=NOT_THE_PLAN_S)
def test_other_chunks_than_the_plan_s_are_refused(pack: Pack, choose: Chosen) -> None:
    with pytest.raises(ChunkMismatchError, match=r"a chunk is missing|chunk \d+-\d+ is another"):
        pack(choose)


def test_more_shards_than_a_dataset_may_have_are_refused(
    pack: Pack, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(packing, "MAX_SHARDS", 8)
    assert len(pack(list)) == 8
    monkeypatch.setattr(packing, "MAX_SHARDS", 7)
    with pytest.raises(SettingsError, match=r"fill 8 shards, more than the 7 .* max_dump_size"):
        pack(list)
