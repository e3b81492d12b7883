"""Addresses: any range is that slice of the plain text, however the file is cut and kept."""

import pickle
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from codedata.format.ranges import CharRange
from codedata.sources import documents as unit
from codedata.sources.documents import join
from codedata.sources.origins import documents_of
from codedata.sources.parquet import decode
from codedata.sources.parquet import text as kept
from codedata.sources.parquet.text import ParquetText
from codedata_tests import scenario

TEXTS = st.one_of(
    st.text(max_size=9), st.sampled_from(["", " ", "🙂🜲", "e\u0301", "x" * 70, "é🙂x" * 30])
)
DOCUMENTS = st.lists(st.one_of(st.none(), TEXTS), min_size=1, max_size=25)
WIDE = CharRange(0, 10**9)


@settings(max_examples=60, deadline=None)
@given(
    documents=DOCUMENTS,
    row_group_size=st.integers(1, 30),
    is_categorical=st.booleans(),
    batch_bytes=st.sampled_from([1, 40, 10**6]),
    block_bytes=st.sampled_from([1, 3, 1 << 16]),
    least_kept=st.sampled_from([1, 50, 10**6]),
    cuts=st.lists(st.integers(0, 400), max_size=6),
)
def test_any_range_is_that_slice_of_the_plain_text_and_of_its_documents(
    documents: list[str | None],
    row_group_size: int,
    is_categorical: bool,
    batch_bytes: int,
    block_bytes: int,
    least_kept: int,
    cuts: list[int],
) -> None:
    assume(any(documents))
    plain = scenario.plain_text(documents)
    column = pa.array(documents, pa.string())
    column = column.dictionary_encode() if is_categorical else column
    with TemporaryDirectory() as folder, pytest.MonkeyPatch.context() as patch:
        patch.setattr(decode, "SLICE_BYTES", batch_bytes)
        patch.setattr(kept, "_kept_chars", range(least_kept, 10**9))
        patch.setattr(unit, "_BLOCK_BYTES", block_bytes)
        path = Path(folder) / "c.parquet"
        pq.write_table(pa.table({"content": column}), path, row_group_size=row_group_size)
        ParquetText(path).clip(CharRange(0, len(plain) // 2 + 1))
        text = ParquetText(path)  # whose counts come in part from the sidecar
        assert text.read(text.clip(WIDE)) == plain
        borders = sorted({0, len(plain), *(cut % len(plain) for cut in cuts)})
        begun: list[tuple[int, str]] = []
        for start, stop in pairwise(borders):
            chars = CharRange(start, stop)
            assert text.read(chars) == plain[start:stop]
            held = list(text.documents(chars))
            for batch in held:
                assert batch.file == 0
                addresses = zip(batch.rows, batch.starts, batch.stops, strict=True)
                for found, (row, first, last) in zip(
                    batch.texts.to_pylist(), addresses, strict=True
                ):
                    assert plain[first:last] == documents[row] == found
                    assert first < stop
                    assert last > start or first >= start
            rows = [int(row) for batch in held for row in batch.rows]
            assert rows == sorted(set(rows))
            joined = join(held, chars)
            assert joined is not None
            assert bytes(joined) == plain[start:stop].encode()
            chosen = documents_of(text, chars)
            texts = [bytes(each).decode() for each in chosen.texts]
            assert chosen.num_chars.tolist() == [*map(len, texts)]
            begun += zip(chosen.rows.tolist(), texts, strict=True)
    whole = [(row, each) for row, each in enumerate(documents) if each is not None]
    assert begun == whole, "of adjoining ranges each document begins in one, and is whole"


def test_a_cut_inside_a_long_document_is_made_at_the_character(tmp_path: Path) -> None:
    document = "aé🙂" * 100_000
    path = scenario.write_parquet(tmp_path / "c.parquet", [document, "b"])
    text = ParquetText(path)
    text.clip(WIDE)
    for start, stop in ((0, 1), (1, 3), (99_999, 200_002), (299_998, 300_002), (300_000, 300_001)):
        assert text.read(CharRange(start, stop)) == f"{document} b"[start:stop]


def test_threads_that_need_the_same_row_group_share_it_and_another_process_reads_its_own(
    documents: list[str], corpus: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "_kept_chars", range(1, 10**9))
    plain = scenario.plain_text(documents)
    text = ParquetText(corpus)
    chars = text.clip(WIDE).cut(1_000)
    with ThreadPoolExecutor(8) as threads:
        assert "".join(threads.map(text.read, chars)) == plain
    copy: ParquetText = pickle.loads(pickle.dumps(text))
    assert copy.read(chars[3]) == plain[3_000:4_000]
