"""A folder of one's own code -> a source and its corpus, and YAMLs over them for `codedata init`.

What others made is left out of it, and the new project: hidden folders, installed packages, virtual
environments, caches and builds. The YAML says so, folder by folder, so that it can be said anew.
"""

import json
import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from glob import escape
from itertools import accumulate
from pathlib import Path
from typing import TYPE_CHECKING

from codedata.errors import SettingsError
from codedata.layout import ROOT_VARIABLE, Layout
from codedata.progress import TERMINAL

if TYPE_CHECKING:
    from codedata.sources.kinds.folders import FoldersSource
    from codedata.sources.record import Corpus

_LEAST_BYTES = 2_000
"""Less is hardly a sample for each split."""

_MIN_CHUNK, _MAX_CHUNK = 100_000, 10_000_000
"""One's own code is tokenized in eight chunks, so that a change costs one of them: but not in
smaller ones than are worth a file, nor in larger ones than The Stack."""

_NOT_OWN = [".*", "node_modules", "site-packages"]
"""Hidden folders, and where installed packages lie."""

_MARKS = {"pyvenv.cfg", "CACHEDIR.TAG", "CMakeCache.txt"}
"""In a virtual environment, in a cache (Cargo's `target` too: https://bford.info/cachedir), in a
build of CMake."""

_BUILDS, _BUILT_BY = {"build", "dist"}, {"pyproject.toml", "setup.py", "package.json"}
"""What builders make beside these files."""

_FEW = 8
"""Folders that are named one by one."""


@dataclass(frozen=True, kw_only=True)
class OwnCode:
    """Code that was found.

    Attributes:
        source: as the YAML will have it.
        num_files: that the walk found.
        left_out: folders below it, by their path within it, sorted.
    """

    source: "FoldersSource"
    num_files: int
    left_out: list[str]


def find_own_code(code: Path, project: Path, layout: Layout) -> OwnCode:
    """The source code below a folder.

    Args:
        code: the folder, links resolved.
        project: the new project, links resolved; it may lie in the folder, and is left out.
        layout: where its corpus will be.

    Raises:
        SettingsError: there is too little code, or the project is the folder, or there is a corpus
            already.
        CorpusError: there is no such folder, or something in it cannot be listed.
    """
    # Arrow, only where it is used
    from codedata.sources.folders import walk_folders
    from codedata.sources.kinds.folders import FoldersSource
    from codedata.sources.languages import CODE_EXTENSIONS, with_extensions
    from codedata.sources.record import RECORD_NAME
    from codedata.store import state

    if project == code:
        raise SettingsError(
            f"{code} is the new project itself; name a folder of code outside of it"
        )
    record = layout.corpus("my_corpus") / RECORD_NAME
    state.pull(layout, record)
    if (record if layout.url else record.parent).exists():
        where = record.parent if layout.url is None else f"corpus my_corpus in {layout.url}"
        raise SettingsError(
            f"{where} is there already, of another project with the same {ROOT_VARIABLE}; set "
            "that to another, or remove this one"
        )
    if code.is_file():
        raise SettingsError(
            f"{code} is a file; --folder takes a folder of source code; for a parquet, make the "
            "project without --folder, and give it a corpus of kind local"
        )
    name = code.name or "root"
    with TERMINAL.waiting(f"looking for code below {code}"):
        own = [f"{name}/{project.relative_to(code).as_posix()}"] if code in project.parents else []
        exclude = [*_NOT_OWN, *_patterns(own)]
        found = sorted(_made_by_others(code, name, exclude))
        marked = [inside for inside, is_marked in found if is_marked]
        exclude += _patterns(marked)
        taken = with_extensions(CODE_EXTENSIONS)
        files = walk_folders({name: code}, taken, exclude, gitignore=[name]).files
    if (num_bytes := sum(file.num_bytes for file in files)) < _LEAST_BYTES:
        raise SettingsError(
            f"the code below {code} has {num_bytes:,} bytes; name a folder with at least "
            f"{_LEAST_BYTES:,}"
        )
    extensions = sorted({file.path.suffix[1:] for file in files})
    return OwnCode(
        source=FoldersSource(folders={name: str(code)}, extensions=extensions, exclude=exclude),
        num_files=len(files),
        left_out=[inside.removeprefix(f"{name}/") for inside, _ in found],
    )


def _made_by_others(code: Path, name: str, exclude: list[str]) -> Iterator[tuple[str, bool]]:
    """The folders that are left out, and whether that is by a mark, not by `exclude`.

    What cannot be listed is passed over here; the walk that follows refuses it.
    """
    from codedata.sources.folders import is_excluded

    for place, folders, files in os.walk(code):
        inside = Path(name, Path(place).relative_to(code)).as_posix()
        if place != str(code) and not _MARKS.isdisjoint(files):
            folders.clear()
            yield inside, True
        for folder in [*folders]:
            path = f"{inside}/{folder}"
            is_build = folder in _BUILDS and not _BUILT_BY.isdisjoint(files)
            if is_build or is_excluded(path, exclude):
                folders.remove(folder)
                yield path, is_build


def _patterns(paths: Iterable[str]) -> Iterator[str]:
    """Patterns of these very paths, but for those that are no UTF-8: no corpus has their files."""
    return (escape(path) for path in paths if path.encode("utf-8", "ignore").decode() == path)


def write_own_corpus(own: OwnCode, layout: Layout) -> "Corpus":
    """Write the corpus of a new project: its windows go by the length of its text.

    Raises:
        CorpusError: a file cannot be read, or changed since it was found.
    """
    from codedata.sources.stored_text import store_corpus  # with Arrow

    folder = layout.corpus("my_corpus")
    folder.mkdir(parents=True, exist_ok=layout.url is not None)
    with TERMINAL.waiting(f"writing the corpus, {own.num_files:,} files"):
        corpus = own.source.materialize(0, folder, TERMINAL, update=False)
        return store_corpus(layout, folder, corpus)


def said_of(own: OwnCode, corpus: "Corpus") -> str:
    """What a corpus is of."""
    [place] = own.source.folders.values()
    endings = ", ".join(own.source.extensions)
    return f"{corpus.num_rows:,} files, {corpus.num_chars:,} characters: {endings} below {place}"


def said_of_left_out(own: OwnCode, corpus: "Corpus", yaml: str) -> str:
    """What of a folder of code is not in its corpus; empty where all is."""
    skipped: Mapping[str, int] = corpus.origin["skipped"]
    files = {
        "ignored": "or folders, by .gitignore", "too_large": "over 1 MB", "binary": "binary",
        "lfs_pointer": "pointers of Git LFS", "not_utf8": "not UTF-8", "empty": "empty",
    }  # fmt: skip
    few = own.left_out[:_FEW]
    more = [f"{len(own.left_out) - _FEW} more folders"] if len(own.left_out) > _FEW else []
    counted = [f"files {why}: {skipped[key]:,}" for key, why in files.items() if skipped[key]]
    said = [f"{', '.join([*few, *more])} (exclude in {yaml})"] if few else []
    return "; ".join([*said, *counted])


def yamls_over(own: OwnCode, corpus: "Corpus", templates: Mapping[str, str]) -> dict[str, str]:
    """YAMLs with the source, and with windows that touch and take all.

    Args:
        own: the code.
        corpus: that was written of it.
        templates: by their names, those of `my_corpus`, `my_train` and `my_validation` among them.
    """
    defs, source = dict(templates), own.source
    with TERMINAL.waiting("looking for the border of two documents"):
        border, num_chars = _border(corpus), corpus.num_chars
    _set(
        defs,
        "my_corpus",
        f"Files ending in {', '.join(source.extensions)}, one document a row.",
        headers_of=f"folders: {_flow(dict(source.folders))}",
        extensions=f"extensions: [{', '.join(source.extensions)}]\n"
        f"    exclude: {_flow(source.exclude)}",
    )
    chunk_size = min(max(1, num_chars // (8 * _MIN_CHUNK)) * _MIN_CHUNK, _MAX_CHUNK)
    for split, start, stop in (("train", 0, border), ("validation", border, num_chars)):
        _set(
            defs,
            f"my_{split}",
            f"Characters {start:,} to {stop:,} of {num_chars:,}.",
            seq_length="seq_length: 512",
            min_sample_length="min_sample_length: 0",
            starting_character=f"starting_character: {start}",
            chars_to_tokenize=f"chars_to_tokenize: {stop - start}",
            chunk_size=f"chunk_size: {chunk_size}",
        )
    return defs


def _flow(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)


def _set(defs: dict[str, str], name: str, description: str, **lines: str) -> None:
    """Set fields of a YAML, each the one line that begins with its name."""
    lines["description"] = f"description: {_flow(description)}"
    for field, line in lines.items():
        said = re.compile(rf"^( +){field}: .*$", re.MULTILINE)
        defs[name], found = said.subn(lambda old, line=line: old[1] + line, defs[name])
        assert found == 1, (name, field)


def _border(corpus: "Corpus") -> int:
    """Where the last tenth of a text begins: between two documents, where there are some."""
    documents = corpus.open_text().first_documents(corpus.num_rows)
    starts = accumulate(len(document) + 1 for document in documents)
    wanted = corpus.num_chars * 9 // 10
    near = [start for start in starts if corpus.num_chars // 2 < start < corpus.num_chars]
    return min(near, key=lambda start: abs(start - wanted), default=wanted)
