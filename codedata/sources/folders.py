"""Folders of source code -> a parquet with the columns of The Stack.

Files are walked in sorted order, so that the same files give the same rows. Links are not followed,
and excluded folders not looked into. Left out and counted: files that are empty, over 1 MB (The
Stack leaves those out too) or not UTF-8. Nothing else is: what cannot be listed or read (EACCES,
EIO, ESTALE), or changes between walk and reading, is refused by its path, for a corpus without it
would be another one.
"""

import hashlib
import os
import re
import stat
import sysconfig
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from importlib.util import find_spec
from itertools import islice
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import pyarrow as pa
import pyarrow.parquet as pq

from codedata.errors import CorpusError
from codedata.store.files import open_no_link

MAX_FILE_BYTES = 1_000_000
"""The Stack's own limit: https://huggingface.co/datasets/bigcode/the-stack"""

_ROW_GROUP_ROWS = 1_000
"""As in The Stack's files."""

_NOT_ALPHANUMERIC = re.compile(r"[\W_]+")

_HEADERS = {"numpy": "_core/include"}
"""Where a package has its headers, if not in its folder `include`."""

_EXTENSIONS = {
    "Assembly": "asm s", "C": "c h", "C#": "cs",
    "C++": "c++ cc cpp cxx h++ hh hpp hxx inl ipp tcc tpp", "CMake": "cmake", "CSS": "css",
    "Clojure": "clj cljc cljs", "Cuda": "cu cuh", "Dart": "dart", "Elixir": "ex exs",
    "Erlang": "erl hrl", "F#": "fs fsi fsx", "FORTRAN": "f f03 f08 f77 f90 f95 for", "Go": "go",
    "Groovy": "groovy", "HTML": "htm html", "Haskell": "hs", "JSON": "json", "Java": "java",
    "JavaScript": "cjs js jsx mjs", "Julia": "jl", "Jupyter Notebook": "ipynb", "Kotlin": "kt kts",
    "Lua": "lua", "Markdown": "markdown md", "OCaml": "ml mli", "PHP": "php", "Perl": "pl pm",
    "PowerShell": "ps1 psm1", "Protocol Buffer": "proto", "Python": "py pyi", "R": "R r",
    "Ruby": "rb", "Rust": "rs", "SQL": "sql", "Scala": "scala", "Scheme": "scm",
    "Shell": "bash sh zsh", "Swift": "swift", "SystemVerilog": "sv svh", "TOML": "toml",
    "TeX": "tex", "TypeScript": "ts tsx", "VHDL": "vhd vhdl", "Verilog": "v", "XML": "xml",
    "YAML": "yaml yml", "Zig": "zig",
}  # fmt: skip
"""Endings by the name of their language, as the column `lang` of The Stack has it. The common ones:
an ending that several languages share without one being the usual (m: MATLAB, Objective-C) is none
of them."""

LANGUAGES = {ending: name for name, endings in _EXTENSIONS.items() for ending in endings.split()}

_NOT_CODE = {"CSS", "HTML", "JSON", "Jupyter Notebook", "Markdown", "TOML", "TeX", "XML", "YAML"}

CODE_EXTENSIONS = sorted(ending for ending, name in LANGUAGES.items() if name not in _NOT_CODE)
"""The endings of programming languages, those of data, markup and text left out."""

SCHEMA = pa.schema({
    "hexsha": pa.string(), "size": pa.int64(), "ext": pa.string(), "lang": pa.string(),
    "max_stars_repo_path": pa.string(), "content": pa.string(), "avg_line_length": pa.float64(),
    "max_line_length": pa.int64(), "alphanum_fraction": pa.float64(),
})  # fmt: skip


class SourceFile(NamedTuple):
    """A file that the walk found.

    Attributes:
        name: its path within the corpus: the folder's name and the path below it.
        path: where it is.
        num_bytes: its size.
        modified_ns: when it was last changed.
    """

    name: str
    path: Path
    num_bytes: int
    modified_ns: int


@dataclass(frozen=True)
class Walk:
    """The files of some folders, sorted by name."""

    files: Sequence[SourceFile]

    @cached_property
    def fingerprint(self) -> str:
        """A sha256 over names, sizes and times: the same files, unchanged."""
        digest = hashlib.sha256()
        for file in self.files:
            line = f"{file.name}\0{file.num_bytes}\0{file.modified_ns}\n"
            digest.update(line.encode("utf-8", "surrogateescape"))
        return digest.hexdigest()


def walk_folders(
    folders: Mapping[str, Path], extensions: Sequence[str], exclude: Sequence[str] = ()
) -> Walk:
    """Find the source files of folders.

    Args:
        folders: by the name that stands before each file's path in the corpus.
        extensions: without the dot.
        exclude: patterns of the folders below them that are left out, see `is_excluded`.

    Raises:
        CorpusError: a folder does not exist, none holds such a file, or one below them cannot be
            listed.
    """
    files: list[SourceFile] = []
    for name, folder in folders.items():
        if not _is_folder(folder):
            raise CorpusError(
                f"the folder {folder} of the corpus does not exist; name a folder of source files"
            )
        for inside, path, found in _files_below(folder, name, extensions, exclude):
            files.append(SourceFile(inside, path, found.st_size, found.st_mtime_ns))
    if not files:
        raise CorpusError(
            f"no file ending in {', '.join(extensions)} lies in "
            f"{', '.join(str(folder) for folder in folders.values()) or 'no folder at all'}"
            "; name a folder that holds some, or other extensions"
        )
    return Walk(files=sorted(files, key=lambda file: file.name))


def is_excluded(inside: str, exclude: Sequence[str]) -> bool:
    """Whether a folder is left out.

    Args:
        inside: its path within the corpus.
        exclude: patterns of the shell; one without a slash is of names, the others of such paths.
    """
    name = inside.rpartition("/")[2]
    return any(fnmatchcase(inside if "/" in each else name, each) for each in exclude)


def header_folders(packages: Sequence[str]) -> dict[str, Path]:
    """The folders of C and C++ headers that installed packages brought; missing ones are left out.

    Packages are asked where they lie without being imported; torch would take seconds.

    Args:
        packages: `python` for the interpreter's own, or a package's import name; its headers are
            looked for in its folder `include`, or where the package is known to have them.

    Raises:
        CorpusError: the system does not say whether a folder is there.
    """
    folders: dict[str, Path] = {}
    for package in packages:
        places = [sysconfig.get_paths()["include"]]
        if package != "python":
            try:
                spec = find_spec(package)
            except ModuleNotFoundError:  # of a dotted name, the parent
                continue
            roots = (spec and spec.submodule_search_locations) or []
            places = [f"{root}/{_HEADERS.get(package, 'include')}" for root in roots]
        if places and _is_folder(Path(places[0])):
            folders[package] = Path(places[0])
    return folders


def _files_below(
    folder: Path, name: str, extensions: Sequence[str], exclude: Sequence[str]
) -> Iterator[tuple[str, Path, os.stat_result]]:
    """The plain files with such an ending, each with its path within the corpus, in any order.

    `os.walk` passes over what it cannot list.

    Raises:
        CorpusError: naming the folder or the file that cannot be looked at.
    """
    waiting = [(name, folder)]
    while waiting:
        above, place = waiting.pop()
        with _refusing_unreadable(place), os.scandir(place) as entries:
            for entry in entries:
                path, inside = Path(place, entry.name), f"{above}/{entry.name}"
                with _refusing_unreadable(path):
                    if entry.is_dir(follow_symlinks=False):
                        if not is_excluded(inside, exclude):
                            waiting.append((inside, path))
                    elif path.suffix[1:] in extensions:
                        found = entry.stat(follow_symlinks=False)
                        if stat.S_ISREG(found.st_mode):
                            yield inside, path, found


@contextmanager
def _refusing_unreadable(path: Path) -> Iterator[None]:
    """Say of which path of the corpus the system did not give what was asked for.

    Raises:
        CorpusError: naming it.
    """
    try:
        yield
    except OSError as error:
        raise CorpusError(
            f"{path} of the corpus cannot be read: {error.strerror or error}; a corpus without it "
            "would be another one: make it readable, or take what it is in out of the source"
        ) from error


def _is_folder(path: Path) -> bool:
    with _refusing_unreadable(path):
        try:
            return stat.S_ISDIR(path.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            return False


def write_source_parquet(walk: Walk, where: Path | BinaryIO) -> dict[str, int]:
    """Write the files of a walk as a parquet, some thousand rows in memory at once.

    Returns:
        How many were left out, and why.

    Raises:
        CorpusError: a file cannot be read, or is not what the walk found.
    """
    skipped = {"empty": 0, "too_large": 0, "not_utf8": 0}
    rows = _rows(walk.files, skipped)
    with pq.ParquetWriter(where, SCHEMA, compression="zstd") as writer:
        while group := [*islice(rows, _ROW_GROUP_ROWS)]:
            writer.write_table(pa.Table.from_pylist(group, SCHEMA))
    return skipped


def git_hash(data: bytes) -> str:
    """The hash that git has for a file: of its kind, its size and its bytes."""
    blob = b"blob %d\0" % len(data) + data
    return hashlib.sha1(blob, usedforsecurity=False).hexdigest()


def _read(file: SourceFile) -> bytes:
    """The bytes of a file; none of one that is too large.

    Raises:
        CorpusError: it cannot be read, or is no longer what the walk found.
    """
    with _refusing_unreadable(file.path), open(file.path, "rb", opener=open_no_link) as opened:
        found = os.fstat(opened.fileno())
        is_same = stat.S_ISREG(found.st_mode) and (found.st_size, found.st_mtime_ns) == file[2:]
        is_read = is_same and file.num_bytes <= MAX_FILE_BYTES
        data = opened.read(file.num_bytes + 1) if is_read else b""
    if not is_same or (is_read and len(data) != file.num_bytes):
        raise CorpusError(
            f"{file.path} changed while the corpus was written; run again once nothing writes there"
        )
    return data


def _rows(files: Sequence[SourceFile], skipped: dict[str, int]) -> Iterator[dict[str, Any]]:
    for file in files:
        data = _read(file)
        if not data:
            skipped["too_large" if file.num_bytes else "empty"] += 1
            continue
        try:
            text = data.decode("utf-8")
            file.name.encode("utf-8")
        except UnicodeError:
            skipped["not_utf8"] += 1
            continue
        lines = text.split("\n")
        extension = file.path.suffix[1:]
        yield {
            "hexsha": git_hash(data),
            "size": len(data),
            "ext": extension,
            "lang": LANGUAGES.get(extension),
            "max_stars_repo_path": file.name,
            "content": text,
            "avg_line_length": len(text) / len(lines),
            "max_line_length": max(map(len, lines)),
            "alphanum_fraction": len(_NOT_ALPHANUMERIC.sub("", text)) / len(text),
        }
