"""Folders of source code as a parquet: its order, its columns by hand, what is left out."""

import errno
import os
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from codedata.errors import CorpusError
from codedata.sources import folders
from codedata.sources.folders import Walk, header_folders, write_source_parquet
from codedata.sources.languages import LANGUAGES, with_extensions
from codedata.sources.source_files import MAX_FILE_BYTES

EXTENSIONS = ["c", "h", "cpp"]


def write_files(folder: Path, files: dict[str, str | bytes]) -> Path:
    """Files by their path below the folder, all of the same time."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        os.utime(path, ns=(10**18, 10**18))
    return folder


def walk_folders(
    places: dict[str, Path], extensions: Sequence[str], exclude: Sequence[str] = ()
) -> Walk:
    return folders.walk_folders(places, with_extensions(extensions), exclude, gitignore=places)


def rows_of(walk: Walk, path: Path) -> list[dict[str, Any]]:
    write_source_parquet(walk, path)
    return pq.read_table(path).to_pylist()


def names_of(walk: Walk) -> Sequence[str]:
    return [file.name for file in walk.files]


def test_files_of_several_folders_come_sorted_by_the_name_they_have_in_the_corpus(
    tmp_path: Path,
) -> None:
    late = write_files(tmp_path / "1", {"z.c": "z", "a/b.c": "b", "a.c": "a", "a/B.h": "B"})
    early = write_files(tmp_path / "2", {"x.cpp": "x", "notes.txt": "no", "Makefile": "no"})
    walk = walk_folders({"zoo": late, "art": early}, EXTENSIONS)
    expected = ["art/x.cpp", "zoo/a.c", "zoo/a/B.h", "zoo/a/b.c", "zoo/z.c"]
    assert names_of(walk) == expected
    rows = rows_of(walk, tmp_path / "c.parquet")
    assert [row["max_stars_repo_path"] for row in rows] == expected
    assert [row["content"] for row in rows] == ["x", "a", "B", "b", "z"]


STACK = {
    "hexsha": "string", "size": "int64", "ext": "string", "lang": "string",
    "max_stars_repo_path": "string", "content": "string", "avg_line_length": "double",
    "max_line_length": "int64", "alphanum_fraction": "double",
}  # fmt: skip
"""The columns of The Stack."""


def test_the_columns_of_tiny_files_are_the_stack_s_as_worked_out_by_hand(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path / "p", {"a.c": "int x = 1;\n", "b.h": "ü_1\nab", "c.cpp": "\r\n\r\n"}
    )
    rows = rows_of(walk_folders({"p": folder}, EXTENSIONS), tmp_path / "c.parquet")
    # ü takes two bytes; a line and an empty one after it; an underscore is not alphanumeric.
    assert [tuple(row.values()) for row in rows] == [
        ("becfe27ccbf31e1415f201ea3cdf961d29681a47", 11, "c", "C", "p/a.c", "int x = 1;\n",
         5.5, 10, 5 / 11),
        ("f195b4f64d0cad4a3dd379cc49d8d391f834a453", 7, "h", "C", "p/b.h", "ü_1\nab",
         3.0, 3, 4 / 6),
        ("99a8091366e2ac7f301452706d5cfdff5e320a0d", 4, "cpp", "C++", "p/c.cpp", "\r\n\r\n",
         4 / 3, 1, 0.0),
    ]  # fmt: skip
    schema = pq.read_schema(tmp_path / "c.parquet")
    assert {field.name: str(field.type) for field in schema} == STACK


def test_links_are_not_followed_and_what_is_no_plain_file_is_passed_over(tmp_path: Path) -> None:
    outside = write_files(tmp_path / "outside", {"o.c": "o", "deep/d.c": "d"})
    folder = write_files(tmp_path / "p", {"a.c": "a", "folder.c/b.c": "b"})
    os.mkfifo(folder / "pipe.c")
    (folder / "file.c").symlink_to(outside / "o.c")
    (folder / "dangling.c").symlink_to(outside / "none.c")
    (folder / "folder").symlink_to(outside / "deep")
    (folder / "loop").symlink_to(folder)
    assert names_of(walk_folders({"p": folder}, ["c"])) == ["p/a.c", "p/folder.c/b.c"]


def test_empty_large_and_undecodable_files_are_left_out_and_counted(tmp_path: Path) -> None:
    files = {
        "a.c": "a", "empty_1.c": "", "empty_2.c": "", "empty_3.c": "", "z.c": "z",
        "large_but_right.c": "x" * MAX_FILE_BYTES, "too_large_1.c": "x" * (MAX_FILE_BYTES + 1),
        "too_large_2.c": "ü" * (MAX_FILE_BYTES // 2 + 1), "latin_1.c": "übergibt".encode("latin-1"),
    }  # fmt: skip
    folder = write_files(tmp_path / "p", files)
    has_any_name = sys.platform != "darwin"
    if has_any_name:
        Path(os.fsdecode(os.fsencode(folder) + b"/\xff.c")).write_bytes(b"b")
    skipped = write_source_parquet(walk_folders({"p": folder}, ["c"]), tmp_path / "c.parquet")
    assert {reason: number for reason, number in skipped.items() if number} == {
        "empty": 3, "too_large": 2, "not_utf8": 1 + has_any_name,
    }  # fmt: skip
    names = pq.read_table(tmp_path / "c.parquet")["max_stars_repo_path"].to_pylist()
    assert names == ["p/a.c", "p/large_but_right.c", "p/z.c"]


def test_excluded_folders_are_not_looked_into_by_name_anywhere_or_by_path(tmp_path: Path) -> None:
    files = [
        "a.c", ".git/a.c", "b/.git/a.c", "b/build/a.c", "build/a.c", "build.c", "c/d/a.c", "d/a.c",
        "x[1]/a.c", "x1/a.c",
    ]  # fmt: skip
    folder = write_files(tmp_path / ".p", dict.fromkeys(files, "a"))
    walk = walk_folders({"p": folder}, ["c"], [".*", "p/build", "p/c/d", "p/x[[]1]", "*.c"])
    assert names_of(walk) == ["p/a.c", "p/b/build/a.c", "p/build.c", "p/d/a.c", "p/x1/a.c"]


def test_row_groups_have_a_thousand_rows(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "p", {f"{index:04d}.c": f"{index}" for index in range(1001)})
    rows = rows_of(walk_folders({"p": folder}, ["c"]), tmp_path / "c.parquet")
    assert [row["content"] for row in rows] == [str(index) for index in range(1001)]
    metadata = pq.read_metadata(tmp_path / "c.parquet")
    assert [metadata.row_group(i).num_rows for i in range(metadata.num_row_groups)] == [1000, 1]


def test_the_same_files_give_the_same_bytes_wherever_and_whenever_they_were_made(
    tmp_path: Path,
) -> None:
    files = {f"{index % 7}/{index}.c": f"int x{index};\n" * index for index in range(1, 60)}
    forwards = write_files(tmp_path / "one", {**files})
    backwards = write_files(tmp_path / "two", dict(reversed(files.items())))
    written: list[bytes] = []
    fingerprints: set[str] = set()
    for place in (forwards, backwards):
        walk = walk_folders({"p": place}, ["c"])
        write_source_parquet(walk, tmp_path / "c.parquet")
        written.append((tmp_path / "c.parquet").read_bytes())
        fingerprints.add(walk.fingerprint)
    assert written[0] == written[1]
    assert len(fingerprints) == 1


CHANGES: dict[str, Callable[[Path], object]] = {
    "its size": lambda folder: write_files(folder, {"a.c": "longer"}),
    "its time": lambda folder: os.utime(folder / "a.c", ns=(0, 10**18 + 1)),
    "its name": lambda folder: (folder / "a.c").rename(folder / "b.c"),
    "a new file": lambda folder: write_files(folder, {"b.c": ""}),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_the_fingerprint_changes_with_a_file_s_size_time_and_name(
    change: Callable[[Path], object], tmp_path: Path
) -> None:
    folder = write_files(tmp_path / "p", {"a.c": "a", "z.c": "z"})
    before = walk_folders({"p": folder}, ["c"]).fingerprint
    assert walk_folders({"p": folder}, ["c"]).fingerprint == before
    assert walk_folders({"q": folder}, ["c"]).fingerprint != before
    change(folder)
    assert walk_folders({"p": folder}, ["c"]).fingerprint != before


def test_a_missing_folder_is_refused_by_its_path(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "p", {"a.c": "a"})
    for missing in (tmp_path / "none", folder / "a.c"):
        with pytest.raises(CorpusError, match=f"the folder {missing} of the corpus does not exist"):
            walk_folders({"p": folder, "q": missing}, ["c"])


def test_folders_without_such_a_file_are_refused_with_what_was_looked_for(tmp_path: Path) -> None:
    folder = write_files(tmp_path / "p", {"a.py": "a", "c": "no ending"})
    with pytest.raises(
        CorpusError, match=f"no file ending in c, h lies in {folder}; name a folder that holds some"
    ):
        walk_folders({"p": folder}, ["c", "h"])
    with pytest.raises(CorpusError, match="no file ending in c lies in no folder at all"):
        walk_folders({}, ["c"])


@contextmanager
def as_nobody() -> Iterator[None]:
    """Without root's right to read everything, where the tests have it."""
    own = os.geteuid()
    if own == 0:
        os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(own)


def test_a_subfolder_that_may_not_be_listed_is_refused_by_its_path() -> None:
    base = Path(tempfile.mkdtemp())  # the folders above tmp_path are root's alone
    folder = write_files(base / "p", {"a.c": "a", "closed/b.c": "b", "open/c.c": "c"})
    base.chmod(0o777)
    (folder / "closed").chmod(0)
    try:
        denied = "of the corpus cannot be read: Permission denied; a corpus without it would be"
        with as_nobody(), pytest.raises(CorpusError, match=f"{folder}/closed {denied}"):
            walk_folders({"p": folder}, ["c"])
        (folder / "closed").chmod(0o755)
        (folder / "open" / "c.c").chmod(0)
        with as_nobody(), pytest.raises(CorpusError, match=rf"c\.c {denied}"):
            write_source_parquet(walk_folders({"p": folder}, ["c"]), base / "c.parquet")
    finally:
        shutil.rmtree(base)


@pytest.mark.parametrize(
    ("number", "where"), [(errno.EIO, "p"), (errno.ESTALE, "p/sub"), (errno.ENOENT, "p/sub")]
)
def test_a_fault_of_the_disk_while_folders_are_listed_is_refused(
    number: int, where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = write_files(tmp_path / "p", {"a.c": "a", "sub/b.c": "b"})
    real = os.scandir

    def scandir(path: Path) -> Any:
        if path == tmp_path / where:
            raise OSError(number, os.strerror(number), str(path))
        return real(path)

    monkeypatch.setattr(os, "scandir", scandir)
    with pytest.raises(
        CorpusError, match=f"{tmp_path / where} of the corpus cannot be read: {os.strerror(number)}"
    ):
        walk_folders({"p": folder}, ["c"])


def test_a_fault_while_header_folders_are_looked_for_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def stat(path: Path) -> Any:
        raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))

    monkeypatch.setattr(Path, "stat", stat)
    with pytest.raises(CorpusError, match="of the corpus cannot be read: Input/output error"):
        header_folders(["numpy"])


MEANWHILE: dict[str, tuple[Callable[[Path], object], str]] = {
    "gone": (lambda path: path.unlink(), "cannot be read: No such file"),
    "another size": (lambda path: path.write_text("longer"), "changed while the corpus"),
    "another time": (lambda path: os.utime(path, ns=(0, 7)), "changed while the corpus"),
    "a pipe": (lambda path: (path.unlink(), os.mkfifo(path)), "changed while the corpus"),
    "a link": (lambda path: (path.unlink(), path.symlink_to("b.c")), "cannot be read: Too many"),
}


@pytest.mark.parametrize("num_chars", [1, 0, MAX_FILE_BYTES + 1])
@pytest.mark.parametrize(("change", "said"), MEANWHILE.values(), ids=MEANWHILE)
def test_a_file_that_is_not_what_the_walk_found_is_refused_by_its_path(
    change: Callable[[Path], object], said: str, num_chars: int, tmp_path: Path
) -> None:
    """Also where the walk found it empty or too large, and would have left it out."""
    folder = write_files(tmp_path / "p", {"a.c": "a" * num_chars, "b.c": "b"})
    walk = walk_folders({"p": folder}, ["c"])
    change(folder / "a.c")
    with pytest.raises(CorpusError, match=f"{folder / 'a.c'} .*{said}"):
        write_source_parquet(walk, tmp_path / "c.parquet")


def test_languages_are_named_as_the_stack_names_them(tmp_path: Path) -> None:
    folder = write_files(
        tmp_path / "p", {f"a.{ending}": "x" for ending in ("py", "rs", "cs", "xyz")}
    )
    rows = rows_of(walk_folders({"p": folder}, ["py", "rs", "cs", "xyz"]), tmp_path / "c.parquet")
    assert [row["lang"] for row in rows] == ["C#", "Python", "Rust", None]
    assert [LANGUAGES[ending] for ending in ("c", "h", "hpp", "R")] == ["C", "C", "C++", "R"]
