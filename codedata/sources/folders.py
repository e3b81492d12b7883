"""Folders of source code -> their files, and of them a parquet with the columns of The Stack.

Files are walked in sorted order, so that the same files give the same rows. Folders named `.git`,
excluded ones and those that a .gitignore names are not looked into, and links are counted, not
followed. What else is left out: `codedata.sources.source_files`. Nothing is beyond that: what
cannot be listed or read (EACCES, EIO, ESTALE), or changes between walk and reading, is refused by
its path, for a corpus without it would be another one.
"""

import hashlib
import os
import stat
import sysconfig
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import BinaryIO, NamedTuple

from codedata.errors import CorpusError
from codedata.sources.gitignore import Ignored, ignored_in
from codedata.sources.languages import Taken, unusual_language
from codedata.sources.source_files import MAX_FILE_BYTES, SourceFile, write_source_files
from codedata.store.files import open_no_link

_HEADERS = {"numpy": "_core/include"}
"""Where a package has its headers, if not in its folder `include`."""


class FoundFile(NamedTuple):
    """A file that the walk found.

    Attributes:
        name: its path within the corpus: the folder's name and the path below it.
        path: where it is.
        num_bytes: its size.
        modified_ns: when it was last changed.
        language: that it is of, as far as that is known.
    """

    name: str
    path: Path
    num_bytes: int
    modified_ns: int
    language: str | None


@dataclass(frozen=True)
class Walk:
    """The files of some folders.

    Attributes:
        files: sorted by name.
        passed_over: how many links there are, and how many files and whole folders git leaves out.
    """

    files: Sequence[FoundFile]
    passed_over: Mapping[str, int]

    @cached_property
    def fingerprint(self) -> str:
        """A sha256 over names, sizes, times and unusual languages: the same files, unchanged."""
        digest = hashlib.sha256()
        for file in self.files:
            line = f"{file.name}\0{file.num_bytes}\0{file.modified_ns}\n"
            line += unusual_language(file.path.name, file.language)
            digest.update(
                (line + unusual_language(file.path.name, file.language)).encode(
                    "utf-8", "surrogateescape"
                )
            )
        return digest.hexdigest()


def walk_folders(
    folders: Mapping[str, Path],
    taken: Taken,
    exclude: Sequence[str] = (),
    *,
    gitignore: Collection[str] = (),
) -> Walk:
    """Find the source files of folders.

    Args:
        folders: by the name that stands before each file's path in the corpus.
        taken: which files.
        exclude: patterns of the folders below them that are left out, see `is_excluded`.
        gitignore: names of the folders of which what git leaves out is left out.

    Raises:
        CorpusError: a folder does not exist, none holds such a file, or one below them cannot be
            listed.
    """
    files, passed_over = list[FoundFile](), {"link": 0, "ignored": 0}
    for name, folder in folders.items():
        if not _is_folder(folder):
            raise CorpusError(
                f"the folder {folder} of the corpus does not exist; name a folder of source files"
            )
        ignored = None
        if name in gitignore:
            with _refusing_unreadable(folder):
                ignored = ignored_in(folder)
        for inside, path in _files_below(folder, name, taken, exclude, ignored, passed_over):
            with _refusing_unreadable(path):
                found = path.lstat()
            if stat.S_ISREG(found.st_mode):
                language = taken.language(path.name)
                files.append(FoundFile(inside, path, found.st_size, found.st_mtime_ns, language))
    if not files:
        or_ignored = f"; {passed_over['ignored']} that git leaves out come with gitignore: false"
        raise CorpusError(
            f"no file {taken.said} lies in "
            f"{', '.join(str(folder) for folder in folders.values()) or 'no folder at all'}"
            "; name a folder that holds some, or other extensions"
            f"{or_ignored if passed_over['ignored'] else ''}"
        )
    return Walk(files=sorted(files, key=lambda file: file.name), passed_over=passed_over)


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
    folder: Path,
    name: str,
    taken: Taken,
    exclude: Sequence[str],
    ignored: Ignored | None,
    passed_over: dict[str, int],
) -> Iterator[tuple[str, Path]]:
    """What has a name that is taken, each with its path within the corpus, in any order.

    `os.walk` passes over what it cannot list.

    Raises:
        CorpusError: naming the folder or the file that cannot be looked at.
    """
    waiting = [(name, folder, ignored)]
    while waiting:
        above, place, ignored = waiting.pop()
        with _refusing_unreadable(place), os.scandir(place) as entries:
            for entry in entries:
                path, inside = Path(place, entry.name), f"{above}/{entry.name}"
                with _refusing_unreadable(path):
                    is_folder = entry.is_dir(follow_symlinks=False)
                    if is_folder:
                        is_wanted = entry.name != ".git" and not is_excluded(inside, exclude)
                    else:
                        is_wanted = entry.is_symlink() or entry.name in taken
                    if not is_wanted:
                        continue
                    if ignored and ignored.has(entry.name, is_folder=is_folder):
                        passed_over["ignored"] += 1
                    elif is_folder:
                        within = ignored and ignored.entered(entry.name, path)
                        waiting.append((inside, path, within))
                    elif entry.is_symlink():
                        passed_over["link"] += 1
                    else:
                        yield inside, path


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
    """Write the files of a walk as a parquet.

    Returns:
        How many were left out, and why.

    Raises:
        CorpusError: a file cannot be read, or is not what the walk found.
    """
    files = (SourceFile(f.name, f.language, f.num_bytes, _read(f)) for f in walk.files)
    return {**write_source_files(files, where), **walk.passed_over}


def _read(file: FoundFile) -> bytes:
    """The bytes of a file; none of one that is too large.

    Raises:
        CorpusError: it cannot be read, or is no longer what the walk found.
    """
    with _refusing_unreadable(file.path), open(file.path, "rb", opener=open_no_link) as opened:
        found = os.fstat(opened.fileno())
        is_same = stat.S_ISREG(found.st_mode) and (found.st_size, found.st_mtime_ns) == file[2:4]
        is_read = is_same and file.num_bytes <= MAX_FILE_BYTES
        data = opened.read(file.num_bytes + 1) if is_read else b""
    if not is_same or (is_read and len(data) != file.num_bytes):
        raise CorpusError(
            f"{file.path} changed while the corpus was written; run again once nothing writes there"
        )
    return data
