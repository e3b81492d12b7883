"""The text of a parquet: any range equals the plain text's, only what it needs is read."""

import os
from collections.abc import Callable, Sequence
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from codedata.errors import CorpusError
from codedata.format.ranges import CharRange
from codedata.sources.columns import Columns
from codedata.sources.parquet.text import ParquetText
from codedata_tests import scenario

WIDE = CharRange(0, 10**9)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty cache folder of this test: nothing is counted yet."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def whole_text(path: Path) -> str:
    text = ParquetText(path)
    return text.read(text.clip(WIDE))


def refusal(path: Path, stop: int = WIDE.stop, *, expected_sha256: str | None = None) -> str:
    with pytest.raises(CorpusError) as refused:
        ParquetText(path, expected_sha256=expected_sha256).clip(CharRange(0, stop))
    assert "\n" not in str(refused.value)
    return str(refused.value)


def overwrite_pages(path: Path, *, column: str, row_groups: Sequence[int]) -> None:
    """Put garbage in the place of all pages that a column has in some row groups."""
    metadata = pq.read_metadata(path)
    paths = [metadata.schema.column(place).path for place in range(len(metadata.schema))]
    place = paths.index(column)
    data = bytearray(path.read_bytes())
    for group in row_groups:
        chunk = metadata.row_group(group).column(place)
        start = chunk.data_page_offset
        if chunk.dictionary_page_offset is not None:
            start = min(start, chunk.dictionary_page_offset)
        data[start : start + chunk.total_compressed_size] = b"\xff" * chunk.total_compressed_size
    path.write_bytes(data)


# Ranges


def test_every_range_of_a_small_text_is_right(tmp_path: Path) -> None:
    documents = ["", "ab", None, "🙂\r\n", "", "", "\0c", None, "\ufeff"]
    plain = scenario.plain_text(documents)
    for row_group_size in (1, 2, 9):
        path = scenario.write_parquet(
            tmp_path / f"{row_group_size}.parquet", documents, row_group_size=row_group_size
        )
        text = ParquetText(path)
        assert text.clip(WIDE) == CharRange(0, len(plain))
        for start in range(len(plain)):
            for stop in range(start + 1, len(plain) + 1):
                assert text.read(CharRange(start, stop)) == plain[start:stop], (start, stop)


def test_addresses_are_in_characters_and_nothing_is_normalised(tmp_path: Path) -> None:
    """Row 7: NUL, CRLF, BOM and characters beyond the BMP."""
    documents = ["\ufeffa\r\nb\0", "🙂🙂e\u0301", "\u2028\x85\x1c"]
    path = scenario.write_parquet(tmp_path / "c.parquet", documents)
    text = ParquetText(path)
    assert text.clip(WIDE) == CharRange(0, 15)
    assert text.read(CharRange(0, 6)) == "\ufeffa\r\nb\0"
    assert text.read(CharRange(7, 9)) == "🙂🙂"
    assert text.read(CharRange(9, 15)) == "e\u0301 \u2028\x85\x1c"


@pytest.mark.parametrize(
    "tail", [[], [None] * 5, ["", None]], ids=["none", "nulls", "an empty one"]
)
def test_the_space_after_the_last_document_is_not_text_whatever_nulls_follow(
    tail: list[str | None], tmp_path: Path
) -> None:
    documents = ["ab", None, "c", *tail]
    plain = scenario.plain_text(documents)
    length = len(plain)
    path = scenario.write_parquet(tmp_path / "c.parquet", documents, row_group_size=2)
    text = ParquetText(path)
    assert text.clip(CharRange(0, length)) == CharRange(0, length)
    assert text.clip(CharRange(length - 1, length + 7)) == CharRange(length - 1, length)
    assert text.read(CharRange(0, length)) == plain
    with pytest.raises(CorpusError) as refusal:
        text.clip(CharRange(length, length + 1))
    assert f"starting_character is {length}" in str(refusal.value)
    assert f"{path} has only {length} characters; choose a smaller one" in str(refusal.value)


# What is read


def test_only_the_content_of_the_needed_row_groups_is_read(
    documents: list[str], tmp_path: Path
) -> None:
    """Every other page of the file is garbage, and the window is read all the same."""
    plain = scenario.plain_text(documents)
    path = scenario.write_parquet(tmp_path / "c.parquet", documents, row_group_size=5)
    num_row_groups = len(documents) // 5
    overwrite_pages(path, column="hexsha", row_groups=range(num_row_groups))
    overwrite_pages(path, column="size", row_groups=range(num_row_groups))
    overwrite_pages(path, column="content", row_groups=range(2, num_row_groups))
    stop = len(scenario.plain_text(documents[:10])) - 5
    text = ParquetText(path)
    assert text.read(text.clip(CharRange(100, stop))) == plain[100:stop]
    damaged = refusal(path, stop + 10)
    assert f"{path} is damaged in row group 2: " in damaged
    assert "fetch it again" in damaged


def test_a_row_group_before_the_window_is_not_decoded_once_it_is_counted(
    documents: list[str], tmp_path: Path, own_cache: Path
) -> None:
    """The sidecar of the sound file is given to a copy whose first row groups are garbage."""
    plain = scenario.plain_text(documents)
    path = scenario.write_parquet(tmp_path / "c.parquet", documents, row_group_size=5)
    counted = ParquetText(path)
    counted.clip(WIDE)
    [sidecar] = (own_cache / "codedata" / "text-index-2").iterdir()
    assert sidecar.name == f"{counted.sha256}.json"
    overwrite_pages(path, column="content", row_groups=[0, 1, 2])
    damaged = ParquetText(path)
    assert damaged.sha256 != counted.sha256
    with pytest.raises(CorpusError, match="is damaged in row group 0"):
        damaged.clip(WIDE)
    sidecar.rename(sidecar.with_name(f"{damaged.sha256}.json"))
    text = ParquetText(path)
    start = len(scenario.plain_text(documents[:15])) + 1
    assert text.read(text.clip(CharRange(start, len(plain)))) == plain[start:]
    with pytest.raises(CorpusError, match="is damaged in row group 2"):
        text.read(CharRange(start - 2, start + 5))


def test_reading_a_part_of_one_large_row_group_does_not_hold_the_file(tmp_path: Path) -> None:
    documents = [os.urandom(5_000).hex() for _ in range(5_000)]
    path = scenario.write_parquet(tmp_path / "c.parquet", documents, row_group_size=10**6)
    num_bytes = path.stat().st_size
    assert num_bytes > 49_000_000
    previous = pa.default_memory_pool()
    pool = pa.proxy_memory_pool(previous)
    pa.set_memory_pool(pool)
    try:
        text = ParquetText(path)
        read = text.read(text.clip(CharRange(10_000_000, 11_000_000)))
    finally:
        pa.set_memory_pool(previous)
    assert read == scenario.plain_text(documents)[10_000_000:11_000_000]
    assert 1_000_000 < (pool.max_memory() or 0) < num_bytes * 2 // 3


# Sidecars


GARBAGE_SIDECARS = (
    b"",
    b"\x00\xff",
    b"[[5, 1",
    b"[" * 100_000,
    b"[5]",
    b'{"0": [1, 1, 0]}',
    b"[[5.5,1,0]]",
    b"[[3, 1, 0], [0, 0, 1], [3, 1, 0], [9, 1, 0]]",  # a row group more than the file has
    b"[[0, 0, 0]]",  # fewer rows than the row group has
    b"[[0, 1, 0]]",  # fewer characters than documents
    b"[[3, 2, -1]]",
    b"[[3, -1, 2]]",
)


def sidecar_of(path: Path) -> Path:
    sidecar = ParquetText(path)._sidecar
    assert sidecar is not None
    sidecar.parent.mkdir(parents=True, exist_ok=True)
    return sidecar


def test_a_garbage_sidecar_is_ignored_and_counted_again(tmp_path: Path) -> None:
    path = scenario.write_parquet(tmp_path / "c.parquet", ["ab", None, "cd"], row_group_size=1)
    for garbage in GARBAGE_SIDECARS:
        sidecar_of(path).write_bytes(garbage)
        assert whole_text(path) == "ab cd"
        right = [(3, 1, 0), (0, 0, 1), (3, 1, 0)]
        assert ParquetText(path).index.groups == right, "and a right one is in its place"


def test_a_sidecar_whose_counts_are_another_file_s_is_refused_with_the_remedy(
    tmp_path: Path,
) -> None:
    path = scenario.write_parquet(tmp_path / "c.parquet", ["ab", "cd"], row_group_size=1)
    sidecar = sidecar_of(path)
    sidecar.write_bytes(b"[[3, 1, 0], [9, 1, 0]]")
    with pytest.raises(CorpusError) as refused:
        whole_text(path)
    assert str(path) in str(refused.value)
    assert f"the index {sidecar} does not agree with the file; remove it and" in str(refused.value)


def test_a_cache_folder_or_a_sidecar_that_cannot_be_written_is_no_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = scenario.write_parquet(tmp_path / "c.parquet", ["ab", "cd"])
    sidecar = sidecar_of(path)
    sidecar.mkdir()
    assert whole_text(path) == "ab cd"
    assert os.listdir(sidecar.parent) == [sidecar.name], "no temporary file is left"
    monkeypatch.setenv("XDG_CACHE_HOME", str(path))
    assert whole_text(path) == "ab cd"


# Types


def invalid_text(values: Sequence[bytes | None], type_: pa.DataType) -> pa.Array:
    """A column of bytes that claims to be of a text type, whatever the bytes are."""
    if pa.types.is_dictionary(type_):
        unique = [value for value in dict.fromkeys(values) if value is not None]
        indices = [None if value is None else unique.index(value) for value in values]
        return pa.DictionaryArray.from_arrays(
            pa.array(indices, type_.index_type),
            invalid_text(unique, type_.value_type),
        )
    if pa.types.is_string_view(type_):
        return pa.array(values, pa.binary_view()).view(type_)
    if pa.types.is_large_string(type_) or pa.types.is_large_binary(type_):
        return pa.array(values, pa.large_binary()).view(type_)
    if pa.types.is_binary_view(type_):
        return pa.array(values, type_)
    return pa.array(values, pa.binary()).view(type_)


def write_within(path: Path, column: pa.Array, row_group_size: int = 7) -> Path:
    """As `m.in.text`, where the fourth row has no `m`; all pages of other columns are garbage."""
    rows = range(len(column))
    is_null = pa.array([row == 3 for row in rows])
    inner = pa.StructArray.from_arrays([column, pa.array([["x"]] * len(column))], ["text", "tags"])
    outer = pa.StructArray.from_arrays([pa.array(rows), inner], ["n", "in"], mask=is_null)
    pq.write_table(pa.table({"id": rows, "m": outer}), path, row_group_size)
    for garbage in ("id", "m.n", "m.in.tags.list.element"):
        overwrite_pages(path, column=garbage, row_groups=range(-(-len(column) // row_group_size)))
    return path


def write_column(path: Path, column: pa.Array, row_group_size: int = 7) -> Path:
    pq.write_table(pa.table({"id": range(len(column)), "content": column}), path, row_group_size)
    return path


LARGE_CATEGORIES = pa.dictionary(pa.int8(), pa.large_string())
"""Arrow itself decodes these, and refuses their row group before a row is known."""

TEXT_TYPES = [
    pa.string(),
    pa.large_string(),
    pa.string_view(),
    pa.binary(),
    pa.large_binary(),
    pa.binary_view(),
    pa.dictionary(pa.int32(), pa.string()),
    LARGE_CATEGORIES,
    pa.dictionary(pa.int32(), pa.binary()),
]


@pytest.mark.parametrize("type_", TEXT_TYPES, ids=str)
def test_a_column_of_any_text_or_bytes_type_is_read(type_: pa.DataType, tmp_path: Path) -> None:
    """Row 4."""
    documents = ["int i;\r\n", None, "🙂 a long document beyond twelve bytes", "", "int i;\r\n"]
    column = invalid_text([None if d is None else d.encode() for d in documents], type_)
    column.validate(full=True)
    assert column.type == type_
    path = write_column(tmp_path / "c.parquet", column, row_group_size=2)
    assert whole_text(path) == scenario.plain_text(documents)
    assert ParquetText(path).index.total().num_nulls == 1


@pytest.mark.parametrize("type_", [*TEXT_TYPES, pa.json_(pa.string())], ids=str)
def test_within_structs_only_the_column_itself_is_read_and_a_null_around_it_is_a_null(
    type_: pa.DataType, tmp_path: Path
) -> None:
    documents = ['{"i": 1}', None, '"🙂 a long document beyond twelve bytes"', "1", '{"i": 1}']
    values = [None if each is None else each.encode() for each in documents]
    if isinstance(type_, pa.JsonType):
        column = pa.array(documents, pa.string()).cast(type_)
    else:
        column = invalid_text(values, type_)
    is_view = type_ in (
        pa.string_view(),
        pa.binary_view(),
    )  # which pyarrow writes in one piece only
    path = write_within(tmp_path / "c.parquet", column, row_group_size=9 if is_view else 2)
    text = ParquetText(path, columns=Columns(text="m.in.text"))
    documents[3] = None
    assert text.read(text.clip(WIDE)) == scenario.plain_text(documents)
    rows = [row for batch in text.documents(CharRange(0, 12)) for row in batch.rows]
    assert rows == [0, 2]
    assert text.index.total().num_nulls == 2


def test_bytes_of_a_fixed_size_are_text(tmp_path: Path) -> None:
    column = pa.array([b"ab", None, "é".encode(), b"ab"], pa.binary(2))
    for each in (column, column.dictionary_encode()):
        assert whole_text(write_column(tmp_path / "c.parquet", each, row_group_size=3)) == "ab é ab"
    refused = refusal(
        write_column(tmp_path / "c.parquet", pa.array([b"ab", b"a\xff"], pa.binary(2)))
    )
    assert "'content' of row 1 of" in refused
    assert "is not valid UTF-8 (byte 1: invalid start byte)" in refused


def test_of_a_column_within_a_struct_the_message_names_the_whole_path_and_the_row(
    tmp_path: Path,
) -> None:
    values = [b"fine", None, b"fine", b"\xff", b"fine", b"\xff"]  # the struct of the fourth is null
    path = write_within(tmp_path / "c.parquet", invalid_text(values, pa.string()), 3)
    text = ParquetText(path, columns=Columns(text="m.in.text"))
    with pytest.raises(CorpusError, match=f"'m.in.text' of row 5 of {path} is not valid UTF-8"):
        text.clip(WIDE)


INVALID = {
    "latin-1": (b"caf\xe9 in latin-1", 3),
    "an encoded surrogate": (b"\xed\xa0\x80", 0),
    "an overlong NUL": (b"\xc0\x80", 0),
    "cut off": (b"cut \xf0\x9f\x99", 4),
}
SOME_TYPES = [type_ for type_ in TEXT_TYPES if type_ != LARGE_CATEGORIES]


@pytest.mark.parametrize(
    ("type_", "name"), [*zip(SOME_TYPES, 2 * list(INVALID), strict=True)], ids=str
)
def test_invalid_utf8_is_refused_with_its_row(
    type_: pa.DataType, name: str, tmp_path: Path
) -> None:
    """Row 6; in the second row group, after a null."""
    invalid, place = INVALID[name]
    values = [b"fine", None, "\u00e9".encode(), b"fine too", None, invalid, b"fine"]
    path = write_column(tmp_path / "c.parquet", invalid_text(values, type_), row_group_size=3)
    assert ParquetText(path).clip(CharRange(0, 3)) == CharRange(0, 3), "what is before it is usable"
    refused = refusal(path)
    assert f"'content' of row 5 of {path} is not valid UTF-8 (byte {place}: " in refused
    assert "repair or remove that row" in refused


def test_the_row_of_invalid_utf8_counts_on_beyond_one_batch(tmp_path: Path) -> None:
    values = [b"fine"] * 700
    values[613] = b"\xff"
    path = write_column(tmp_path / "c.parquet", invalid_text(values, pa.string()), 400)
    assert "row 613 of" in refusal(path)


# Files that are no parquet of documents


def table(*columns: pa.Array, names: Sequence[str] = ("content",)) -> pa.Table:
    return pa.Table.from_arrays(columns, names=list(names))


TEXT = pa.array(["a"])
LFS = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n"
NO_TEXT = "column 'content' of PATH has type "
RENAME = "rename the one that holds the documents"
REFUSED: dict[str, tuple[bytes | pa.Table | list[str | None] | None, str]] = {
    "nothing": (None, "PATH cannot be read: No such file or directory"),
    "an empty file": (b"", "PATH is empty; fetch it again"),
    "a web page": (b"\n<!DOCTYPE html><title>Sign in</title>", "PATH is a web page"),
    "an LFS pointer": (LFS, "is a Git LFS pointer, not the file it stands for; run `git lfs pull`"),
    "magic alone": (b"PAR1", "PATH is a parquet file cut off after 4 bytes; fetch it again"),
    "magic twice": (b"PAR1PAR1", "PATH is a parquet file cut off after 8 bytes; fetch it again"),
    "CSV": (b"content,size\nint,3\n", "PATH is not a parquet file: it starts with b'content,'"),
    "a garbage footer": (b"PAR1" + b"\xff" * 50 + b"PAR1", "PATH is not a readable parquet file: "),
    "a long footer": (
        b"PAR1" + b"\xff" * 23 + b"\x7fPAR1",
        "PATH is not a readable parquet file: ",
    ),
    "ints": (table(pa.array([1, 2])), f"{NO_TEXT}int64; it must be text"),
    "categories": (table(pa.array([1, 2]).dictionary_encode()), f"{NO_TEXT}int64"),
    "lists": (table(pa.array([["a"], ["b"]])), f"{NO_TEXT}list<"),
    "structs": (table(pa.array([{"a": "b"}])), f"{NO_TEXT}struct<"),
    "no type": (table(pa.nulls(2)), f"{NO_TEXT}null"),
    "another name": (
        table(TEXT, TEXT, names=["Content", "text"]),
        f"PATH has no columns named 'content'; its columns are Content, text; {RENAME}",
    ),
    "two columns": (
        table(TEXT, TEXT, names=["content"] * 2),
        f"PATH has 2 columns named 'content'; its columns are content, content; {RENAME}",
    ),
    "no columns": (
        table(names=[]),
        f"no columns named 'content'; its columns are (none); {RENAME[:6]}",
    ),
    "no rows": ([], "PATH holds no text: 0 rows, of which 0 have a null and 0 an empty 'content'"),
    "nulls": ([None] * 3, "holds no text: 3 rows, of which 3 have a null and 0 an empty 'content'"),
    "one empty": ([""], "holds no text: 1 rows, of which 0 have a null and 1 an empty 'content'"),
    "an empty and a null": (["", None, ""], "3 rows, of which 1 have a null and 2 an empty"),
    "invalid large categories": (
        table(invalid_text([b"fine", b"\xff"], LARGE_CATEGORIES)),
        "PATH is damaged in row group 0: Invalid UTF8",
    ),
}


@pytest.mark.parametrize(("content", "found"), REFUSED.values(), ids=REFUSED)
def test_a_file_that_is_no_parquet_of_documents_is_refused_by_what_it_is(
    content: bytes | pa.Table | list[str | None] | None, found: str, tmp_path: Path
) -> None:
    """Rows 1, 3, 4 and 8."""
    path = tmp_path / "c.parquet"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif isinstance(content, pa.Table):
        pq.write_table(content, path)
    elif content is not None:
        scenario.write_parquet(path, content, row_group_size=1)
    for stop in (1, 10**9):
        assert found.replace("PATH", str(path)) in refusal(path, stop)


def test_a_parquet_that_is_cut_off_anywhere_is_refused_by_name(tmp_path: Path) -> None:
    path = scenario.write_parquet(tmp_path / "whole.parquet", ["a", "b"], row_group_size=1)
    data = path.read_bytes()
    cut = tmp_path / "cut.parquet"
    for num_bytes in range(1, len(data), 7):
        cut.write_bytes(data[:num_bytes])
        why = f"cut off after {num_bytes} bytes" if num_bytes >= 4 else "is not a parquet file"
        assert why in refusal(cut)
        assert str(cut) in refusal(cut)


# Files that change


def touch(path: Path) -> None:
    os.utime(path, ns=(0, path.stat().st_mtime_ns + 1))


def replace(path: Path) -> None:
    modified_ns = path.stat().st_mtime_ns
    copy = path.with_suffix(".copy")
    copy.write_bytes(path.read_bytes())
    os.utime(copy, ns=(modified_ns, modified_ns))
    copy.replace(path)


@pytest.mark.parametrize("change", [touch, replace])
def test_a_file_that_changes_after_it_was_opened_is_refused(
    change: Callable[[Path], None], tmp_path: Path
) -> None:
    path = scenario.write_parquet(tmp_path / "c.parquet", ["ab", "cd"])
    text = ParquetText(path)
    window = text.clip(WIDE)
    change(path)
    with pytest.raises(CorpusError, match=f"{path} changed while it was being read; run again"):
        text.read(window)


def test_the_documents_of_a_window_are_those_it_has_a_character_of(tmp_path: Path) -> None:
    """Against a plain count, over row groups of two; a null and empty documents among them."""
    documents = ["ab", "", None, "cüd", "e", "", "fg h", "i"]
    text = ParquetText(scenario.write_parquet(tmp_path / "c.parquet", documents, row_group_size=2))
    present = [document for document in documents if document is not None]
    ends = list(accumulate(len(document) + 1 for document in present))
    places = [(end - 1 - len(each), end - 1, each) for end, each in zip(ends, present, strict=True)]
    length = ends[-1] - 1
    for start in range(length):
        for stop in range(start + 1, length + 1):
            window = text.clip(CharRange(start, stop))
            found = [
                (int(begin), int(end), document)
                for batch in text.documents(window)
                for begin, end, document in zip(
                    batch.starts, batch.stops, batch.texts.to_pylist(), strict=True
                )
            ]
            assert [each for each in found if each[2]] == [
                each for each in places if each[2] and each[0] < stop and each[1] > start
            ]
            assert [each for each in found if not each[2]] == [
                each for each in places if not each[2] and start <= each[0] < stop
            ]
