"""Parts of documents that came in order: the same whatever they were in, bounded, and whole."""

from collections import namedtuple
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.progress import SILENT, Reporter
from codedata.sources import parts
from codedata.sources.columns import Columns
from codedata.sources.formats.registry import format_of
from codedata.sources.formats.rows import BadRows, batches_of
from codedata.sources.record import LeadingText, TextPart, record_corpus
from codedata_tests import scenario

DOCUMENTS = [None, "", *scenario.c_documents(30), None, "ü🙂" * 500, ""]
TEXT = scenario.plain_text(DOCUMENTS)


def batches(documents: Iterable[str | None] = DOCUMENTS) -> Iterator[pa.RecordBatch]:
    return batches_of(([text if text is None else text.encode()] for text in documents), [])


def write(folder: Path, given: Iterable[pa.RecordBatch] | None = None, **options: Any) -> TextPart:
    reporter = options.pop("reporter", SILENT)
    return parts.write_parts(
        batches() if given is None else given,
        folder,
        name="c.jsonl",
        identity="known by this",
        file_bytes=7,
        reporter=reporter,
        **options,
    )


@pytest.fixture
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "GROUP_CHARS", 2_000)


@pytest.mark.usefixtures("small_groups")
def test_parts_hold_the_text_and_are_recorded_as_a_corpus(tmp_path: Path) -> None:
    part = write(tmp_path / "parts")
    assert len(part.parts) > 5
    assert max(each.num_chars for each in part.parts) < 2_000 + max(len(d or "") for d in DOCUMENTS)
    assert (part.num_chars, part.ends_here, part.num_groups) == (
        len(TEXT),
        True,
        len(part.parts),
    )
    assert (part.etag, part.file_bytes, part.columns) == (
        "known by this",
        7,
        {"content": "large_string"},
    )
    corpus = record_corpus(tmp_path, tmp_path / "parts", {"kind": "test"}, part=part)
    assert (corpus.num_rows, corpus.num_null_rows) == (len(DOCUMENTS), 2)
    text = corpus.open_text()
    assert text.read(text.clip(CharRange(0, 10**9))) == TEXT
    assert text.read(CharRange(3_000, 7_000)) == TEXT[3_000:7_000]


@pytest.mark.usefixtures("small_groups")
def test_a_text_is_the_same_whatever_file_it_was_in(tmp_path: Path) -> None:
    table = pa.table({"content": DOCUMENTS, "lang": ["C"] * len(DOCUMENTS)})
    pq.write_table(table, tmp_path / "c.parquet", row_group_size=7)
    frame = table.to_pandas()
    frame.to_json(tmp_path / "c.json", orient="records")
    frame.to_json(tmp_path / "c.jsonl.gz", orient="records", lines=True)
    frame.to_feather(tmp_path / "c.feather")
    found = [write(tmp_path / "plain")]
    for name in ("c.parquet", "c.json", "c.jsonl.gz", "c.feather"):
        with (tmp_path / name).open("rb") as opened:
            rows = format_of(name).read(opened, name, Columns(), BadRows())
            found.append(write(tmp_path / name[2:], rows))
            assert found[-1].columns.keys() == {"content", "lang"}
    assert {part.fingerprint for part in found} == {found[0].fingerprint}
    again = write(tmp_path / "again")
    assert again == found[0], "the parts' bytes too, whose hashes are their names"
    assert write(tmp_path / "other", batches([*DOCUMENTS, ""])).fingerprint != again.fingerprint


@settings(max_examples=40, deadline=None)
@given(
    st.lists(
        st.one_of(st.none(), st.text(st.characters(codec="utf-8"), max_size=40)),
        min_size=1,
        max_size=12,
    ),
    st.lists(st.integers(1, 9)),
    st.integers(1, 60),
)
def test_groups_and_fingerprints_go_by_documents_not_by_batches(
    documents: list[str | None], cuts: list[int], size: int
) -> None:
    whole = pa.concat_batches([*batches(documents)])
    cut, place = [], 0
    for each in [*cuts, len(whole)]:
        cut.append(whole.slice(place, each))
        place = min(place + each, len(whole))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(parts, "GROUP_CHARS", size)
        groups, others = [*parts._groups([whole])], [*parts._groups(cut)]
    assert pa.concat_batches(groups).equals(whole)
    assert [group.num_rows for group in groups] == [group.num_rows for group in others]
    lengths = [[len(text or "") + (text is not None) or 1 for text in g] for g in texts(groups)]
    assert all(sum(each) >= size > sum(each[:-1]) for each in lengths[:-1])
    seen, other = parts._Seen(), parts._Seen()
    for group in groups:
        seen.add(group.column(0))
    for batch in cut:
        other.add(batch.column(0))
    assert (seen.counts, seen.fingerprint()) == (other.counts, other.fingerprint())


def texts(groups: Iterable[pa.RecordBatch]) -> list[list[str | None]]:
    return [group.column(0).to_pylist() for group in groups]


@pytest.mark.usefixtures("small_groups")
def test_reading_stops_behind_the_first_characters(tmp_path: Path) -> None:
    read: list[str | None] = []

    def documents() -> Iterator[str | None]:
        for text in DOCUMENTS:
            read.append(text)
            yield text

    def one_by_one() -> Iterator[pa.RecordBatch]:
        for text in documents():
            yield from batches([text])

    part = write(tmp_path, one_by_one(), first_chars=5_000)
    assert (part.num_chars, part.ends_here) == (5_000, False)
    assert len(scenario.plain_text(read)) < 5_000 + 2 * 2_000
    text = LeadingText(tmp_path, part)
    assert text.read(text.clip(CharRange(0, 5_000))) == TEXT[:5_000]
    with pytest.raises(CorpusError, match="raise first_chars of its corpus to 5001"):
        text.clip(CharRange(0, 5_001))
    whole = write(tmp_path, first_chars=len(TEXT))
    assert (whole.num_chars, whole.ends_here) == (len(TEXT), True)
    assert whole.parts[: len(part.parts)] == part.parts, "more of them, the same at the start"
    assert write(tmp_path, first_chars=len(TEXT) + 1) == whole
    almost = write(tmp_path, first_chars=len(TEXT) - 1)
    assert (almost.num_chars, almost.ends_here) == (len(TEXT) - 1, False)


@pytest.mark.parametrize("documents", [[], [None], ["", None, ""]])
def test_documents_without_text_are_refused(documents: list[str | None], tmp_path: Path) -> None:
    nulls = documents.count(None)
    counts = f"{len(documents)} rows, of which {nulls} have none and {len(documents) - nulls} an"
    with pytest.raises(CorpusError, match=f"c.jsonl holds no text: {counts} empty one"):
        write(tmp_path, batches(documents))


def test_one_character_is_a_text(tmp_path: Path) -> None:
    assert write(tmp_path, batches(["x"])).num_chars == 1
    assert write(tmp_path, batches(["", "", "x"])).num_chars == 3


@pytest.mark.usefixtures("small_groups")
def test_what_was_broken_off_does_not_count_and_is_gone_after_the_next_time(tmp_path: Path) -> None:
    folder = tmp_path / "parts" / "etag"
    old = write(folder, batches(["an old text"]))

    def broken() -> Iterator[pa.RecordBatch]:
        yield from batches([*DOCUMENTS[:20]])
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write(folder, broken())
    (folder / ".unnamed.0123456789abcdef.tmp").write_bytes(b"PAR1 half of")
    assert len([*folder.iterdir()]) > 4
    assert LeadingText(folder, old).first_documents(9) == ["an old text"]
    said: list[str] = []
    reporter = Reporter(said.append, in_terminal=False)
    part = write(folder, reporter=reporter)
    assert LeadingText(folder, old).first_documents(9) == ["an old text"], "until the record is"
    parts.remove_others(tmp_path, folder, part, reporter)
    assert sorted(path.name for path in folder.iterdir()) == [each.name for each in part.parts]
    assert said[0].startswith("c.jsonl (0.0 MB) is read once, and its documents are written to ")
    assert said[-1] == f"{folder / old.parts[0].name} is removed: the text is in {folder}"


def test_a_disk_that_is_nearly_full_ends_it_before_it_is_full(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "total used free")
    monkeypatch.setattr(parts, "GROUP_CHARS", 2_000)
    monkeypatch.setattr(
        parts.shutil,
        "disk_usage",
        lambda folder: usage(100_000, 0, max(0, 9_000 - 2_000 * len([*folder.glob("*.parquet")]))),
    )
    message = r"has only 0.0 MB free after [\d,]+ characters of c.jsonl.* set first_chars"
    with pytest.raises(CorpusError, match=message):
        write(tmp_path)
    assert [path for path in tmp_path.iterdir() if path.suffix != ".parquet"] == []


def test_a_kept_column_that_no_parquet_has_is_refused(tmp_path: Path) -> None:
    odd = pa.array([(1, 2, 3)], pa.month_day_nano_interval())
    batch = pa.record_batch({"content": pa.array(["x"], pa.large_string()), "odd": odd})
    with pytest.raises(CorpusError, match=r"has a column that no parquet has.*keep_columns"):
        write(tmp_path, [batch])
    assert [*tmp_path.iterdir()] == []


def test_rows_of_nothing_but_kept_columns_are_bounded_too() -> None:
    rows = ([None, b"x" * 1_000] for _ in range(100_000))
    groups = [*parts._groups(batches_of(rows, ["kept"]))]
    assert max(group.nbytes for group in groups) < 6_000_000
    assert sum(map(len, groups)) == 100_000
