"""A text by its record: planned without a byte of it, and never read as another."""

import gc
import json
import os
import pickle
import shutil
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from codedata.errors import CorpusError
from codedata.format.ranges import MAX_CHARACTERS, CharRange
from codedata.sources import hashed
from codedata.sources.hashed import sha256_noted, sha256_once
from codedata.sources.parquet.text import ParquetText, Text
from codedata.sources.record import Corpus, record_corpus
from codedata.sources.recorded_text import RecordedText
from codedata_tests import scenario

DOCUMENTS = ["int x;\n", None, "ü", "", "z" * 5, "🙂"]
PLAIN = scenario.plain_text(DOCUMENTS)


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A cache folder of the test's own; files count as settled at once."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(hashed, "_YOUNG_NS", 0)
    return tmp_path / "cache" / "codedata"


@pytest.fixture
def corpus(tmp_path: Path) -> Corpus:
    parquet = scenario.write_parquet(tmp_path / "c.parquet", DOCUMENTS, row_group_size=2)
    return record_corpus(tmp_path / "c", parquet, {"kind": "local"})


def replace_by_other_text(corpus: Corpus) -> None:
    """Put a whole parquet of as many bytes into the place of a corpus's own."""
    path, whole = Path(corpus.path), Path(corpus.path).read_bytes()
    changed = whole.replace(b"int x;\n", b"int y;\n")
    assert changed != whole
    path.write_bytes(changed)


def refused(corpus: Corpus) -> str:
    return f"but {corpus.sha256} was expected"


def test_it_has_what_the_opened_text_has(tmp_path: Path, corpus: Corpus) -> None:
    known, opened = RecordedText.of(tmp_path / "c", corpus), ParquetText(Path(corpus.path))
    assert (known.sha256, known.path) == (opened.sha256, opened.path)

    def said(text: Text, window: CharRange) -> object:
        try:
            return text.clip(window)
        except CorpusError as error:
            return str(error)

    length = len(PLAIN)
    for stop in (1, length - 1, length, length + 1, 10**9, MAX_CHARACTERS):
        for start in {0, 1, stop - 1, length - 1, length, length + 1}:
            window = CharRange(min(start, stop - 1), stop, 7)
            assert said(known, window) == said(opened, window)
    assert len(pickle.dumps(known)) < 1_000
    far = pickle.loads(pickle.dumps(known))
    with ThreadPoolExecutor(8) as threads:
        ranges = [CharRange(start, start + 3) for start in range(length - 3)] * 4
        assert list(threads.map(far.read, ranges)) == [PLAIN[each.start :][:3] for each in ranges]
    [batch] = far.documents(CharRange(0, 6))
    assert batch.texts.to_pylist() == DOCUMENTS[:1]


def test_of_a_file_of_which_nothing_is_known_here_no_byte_is_read_before_it_is_asked_for(
    tmp_path: Path, corpus: Corpus, cache: Path
) -> None:
    for note in cache.rglob("*.json"):
        note.unlink()
    replace_by_other_text(corpus)
    text = RecordedText.of(tmp_path / "c", corpus)
    window = text.clip(CharRange(2, 10**9))
    with pytest.raises(CorpusError, match=refused(corpus)):
        text.read_utf8(window)


def test_a_file_that_changed_since_it_was_hashed_is_refused_before_a_run_goes_on(
    tmp_path: Path, corpus: Corpus
) -> None:
    RecordedText.of(tmp_path / "c", corpus)
    os.utime(corpus.path)
    RecordedText.of(tmp_path / "c", corpus)  # the same bytes, hashed again
    replace_by_other_text(corpus)
    with pytest.raises(CorpusError, match=refused(corpus)):
        RecordedText.of(tmp_path / "c", corpus)
    Path(corpus.path).unlink()
    with pytest.raises(CorpusError, match="name a parquet file that exists"):
        RecordedText.of(tmp_path / "c", corpus)


def test_a_file_that_was_hashed_when_it_was_young_is_hashed_again(
    corpus: Corpus, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    [note] = (cache / "hashed-1").iterdir()
    known = json.loads(note.read_bytes())
    assert known[0] == corpus.sha256
    note.write_text(json.dumps(["noted", *known[1:]]))
    assert sha256_noted(Path(corpus.path)) == "noted", "nothing is read"
    monkeypatch.setattr(hashed, "_YOUNG_NS", 10**18)
    os.utime(corpus.path)
    assert sha256_noted(Path(corpus.path)) == sha256_once(Path(corpus.path)) == corpus.sha256
    [_, seen, is_settled] = json.loads(note.read_bytes())
    assert not is_settled
    note.write_text(json.dumps(["noted", seen, False]))
    assert sha256_noted(Path(corpus.path)) == corpus.sha256
    for damaged in ('"x"', "[1]", "nonsense"):
        note.write_text(damaged)
        assert sha256_noted(Path(corpus.path)) == corpus.sha256


def test_a_text_that_was_recorded_anew_meanwhile_is_not_read_as_the_old_one(
    tmp_path: Path, corpus: Corpus
) -> None:
    text = RecordedText.of(tmp_path / "c", corpus)
    other = scenario.write_parquet(tmp_path / "other.parquet", ["int y;"])
    record_corpus(tmp_path / "c", other, {"kind": "local"})
    with pytest.raises(CorpusError, match="recorded anew while it was being read"):
        text.read(CharRange(0, 3))


def test_of_a_text_whose_leading_part_was_fetched_that_part_is_known(tmp_path: Path) -> None:
    text = RecordedText(
        record=tmp_path, path=tmp_path, sha256="0", num_chars=1_000, ends_here=False
    )
    assert text.clip(CharRange(10, 1_000)) == text.clip(CharRange(10, MAX_CHARACTERS))
    for window, asked in {
        CharRange(10, 1_001): "characters 10 to 1001 .* raise first_chars of its corpus to 1001",
        CharRange(1_000, MAX_CHARACTERS): "characters from 1000 on .* first_chars .* to 1001",
    }.items():
        with pytest.raises(CorpusError, match=asked):
            text.clip(window)


def test_of_many_files_that_are_read_some_are_held_opened(tmp_path: Path, corpus: Corpus) -> None:
    def opened() -> int:
        gc.collect()
        return sum(issubclass(type(each), ParquetText) for each in gc.get_objects())

    before = opened()
    for number in range(100):
        shutil.copytree(tmp_path / "c", tmp_path / f"{number}")
        assert RecordedText.of(tmp_path / f"{number}", corpus).read(CharRange(0, 3)) == PLAIN[:3]
    assert 0 < opened() - before <= 64
