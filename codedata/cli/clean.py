"""`codedata clean`: what lies below the root and no split of the project uses, removed.

Chunks of ranges that a split no longer has, what runs left that did not finish, and row groups of
the hub's files that no corpus takes. All of it can be made or fetched again; datasets, corpora and
reports stay. What is newer than some days stays, too: a run may be at work with it. Chunks of
splits that the project does not define may be those of another one that shares the root: they go
only where the user says so.
"""

import argparse
import re
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from codedata.arguments import whole_number
from codedata.cli.code_location import add_module_option, find_code_location, load_definitions
from codedata.cli.commands import Commands
from codedata.cli.dataset_names import layout_of_root, shown_path
from codedata.errors import CorpusError, SettingsError, TargetError
from codedata.format.ranges import CharRange
from codedata.layout import ROOT_VARIABLE, Layout
from codedata.printable import say
from codedata.progress import megabytes
from codedata.sources.record import PARTS_NAME, read_corpus
from codedata.store.files import is_temporary
from codedata.store.publishing import Staging, open_staging, unfinished

if TYPE_CHECKING:
    from codedata.components.split_spec import SplitSpec

_CHUNK = re.compile(r"(\d{5,7})/(\d{10,19})-(\d{10,19})\.arrow", re.ASCII)

_DAYS = 7
_DAY_SECONDS = 86_400.0


@dataclass(frozen=True, kw_only=True)
class _Unused:
    """Files that can go, of one folder.

    Attributes:
        folder: that holds them.
        files: which.
        why: they can.
        remove: removes them.
        of_unknown_split: whether the code location defines no such split.
    """

    folder: Path
    files: tuple[Path, ...]
    why: str
    remove: Callable[[], None]
    of_unknown_split: bool = False

    @property
    def num_bytes(self) -> int:
        return sum(file.lstat().st_size for file in self.files)

    @property
    def newest(self) -> float:
        """When the last of them was written, in seconds since the epoch."""
        return max(file.lstat().st_mtime for file in (self.folder, *self.files))


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "clean",
        help="remove chunks and parts that no split uses",
        description="Remove chunks that the project's splits no longer use, what runs left that "
        "did not finish, and fetched parts of files that no corpus takes. Datasets, corpora and "
        "reports stay, and so do chunks of splits that the project does not define: another one "
        "may share the root.",
    )
    parser.add_argument(
        "--older-than",
        type=_days,
        default=_DAYS,
        metavar="DAYS",
        help=f"leave what was written within so many days (default {_DAYS}): a run, or another "
        "project in the same root, may be at work with it",
    )
    parser.add_argument(
        "--unknown-splits",
        action="store_true",
        help="remove the chunks of splits that the project does not define, too",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would go; remove nothing")
    add_module_option(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def _days(text: str) -> int:
    days = whole_number(text)
    if days < 0:
        raise argparse.ArgumentTypeError(f"{days} is in the future; write 0 for whatever there is")
    return days


def run(options: argparse.Namespace) -> int:
    """Remove what nothing uses, and say what it was.

    Raises:
        CodedataError: the definitions, which say what is used, cannot be loaded; or the root is no
            folder.
    """
    layout = layout_of_root()
    if layout.url is not None:
        raise SettingsError(
            f"{ROOT_VARIABLE} is {layout.url}, where `codedata prune` removes versions, and with "
            "--chunks chunks, that nothing uses; `codedata clean` is for folders"
        )
    location = find_code_location(options.module, Path.cwd())
    defs = load_definitions(location)
    from codedata.components.split_recipe import specs_of  # with dagster, loaded by now

    found = [*_chunks(layout, specs_of(defs)), *_work_folders(layout), *_parts(layout)]
    unused = [each for each in found if options.unknown_splits or not each.of_unknown_split]
    before = time.time() - options.older_than * _DAY_SECONDS
    old = [each for each in unused if each.newest <= before]
    freed = 0
    for each in old:
        num_bytes = each.num_bytes
        try:
            if not options.dry_run:
                each.remove()
        except TargetError as error:
            say(f"kept: {error}")
            continue
        freed += num_bytes
        say(f"{megabytes(num_bytes):>12}  {shown_path(each.folder)}: {each.why}")
    newer = sum(each.num_bytes for each in unused if each not in old)
    if freed:
        what = "can go; without --dry-run it does" if options.dry_run else "removed"
        more = f"; {megabytes(newer)} more are newer than {options.older_than} days"
        say(f"{megabytes(freed)} {what}{more if newer else ''}")
    elif newer:
        say(f"nothing is older than {options.older_than} days; {megabytes(newer)} are newer")
    else:
        say("nothing is unused")
    if kept := [each for each in found if each not in unused]:
        splits = ", ".join(sorted({each.folder.parent.name for each in kept}))
        say(
            f"{megabytes(sum(each.num_bytes for each in kept))} are chunks of splits that "
            f"{location.module} does not define ({splits}); --unknown-splits takes them, too"
        )
    return 0


def _chunks(layout: Layout, specs: Mapping[str, "SplitSpec"]) -> Iterator[_Unused]:
    """Chunks of ranges that a split no longer has, and of splits that there are no longer."""
    for folder in _folders(layout.root / "chunks", "*/*"):
        split = folder.parent.name
        files = _files(folder, ".arrow")
        if (spec := specs.get(split)) is not None:
            files = [path for path in files if not _is_used(spec, layout, path)]
        if files:
            if split in specs:
                yield _of_files(folder, files, f"{len(files)} files are no chunks of its windows")
            else:
                gone = _of_files(folder, files, f"there is no split {split}")
                yield replace(
                    gone, of_unknown_split=True, remove=partial(_remove_of_split, gone, folder)
                )


def _remove_of_split(chunks: _Unused, folder: Path) -> None:
    """Remove chunks, and with the last of a split what it kept beside them."""
    from codedata.components.split_partitions import RECORD_NAME

    chunks.remove()
    record = folder.parent / RECORD_NAME
    if record.exists() and [*folder.parent.iterdir()] == [record]:
        record.unlink()
        folder.parent.rmdir()


def _is_used(spec: "SplitSpec", layout: Layout, path: Path) -> bool:
    """Whether a file is a chunk of a split."""
    found = _CHUNK.fullmatch(f"{path.parent.name}/{path.name}")
    if found is None:
        return False
    file, start, stop = map(int, found.groups())
    num_chars = None
    with suppress(CorpusError):
        num_chars = read_corpus(spec.corpus_folder(layout, file)).num_chars
    return spec.has_chunk(CharRange(start, stop, file), num_chars)


def _work_folders(layout: Layout) -> Iterator[_Unused]:
    """What runs left that did not finish; their finished chunks lie elsewhere."""
    for target in unfinished(layout.root / "datasets"):
        folder = Staging(target).folder
        files = tuple(path for path in folder.rglob("*") if not path.is_dir())
        why = f"a run of {target.name} did not finish"
        yield _Unused(folder=folder, files=files, why=why, remove=partial(_recover, target))


def _recover(target: Path) -> None:
    """Have the store set right what a run left, as the next one would."""
    with open_staging(target) as left:
        left.discard_chunks()


def _parts(layout: Layout) -> Iterator[_Unused]:
    """Fetched row groups of files, or of bytes that files had, that no record names."""
    corpora = layout.root / "corpora"
    for pattern in (f"*/{PARTS_NAME}/*", f"*/*/{PARTS_NAME}/*"):
        for folder in _folders(corpora, pattern):
            corpus = folder.parent.parent
            with suppress(CorpusError):  # there is no record: nothing says that they are used
                if read_corpus(corpus).path == str(folder):
                    continue
            why = f"corpus {corpus.relative_to(corpora)} takes others"
            yield _of_files(folder, _files(folder, ".parquet"), why)


def _folders(top: Path, pattern: str) -> list[Path]:
    """Folders below another, none of them reached through a link that somebody put there."""
    root = top.resolve()
    return sorted(
        path
        for path in top.glob(pattern)
        if path.is_dir() and path.resolve() == root / path.relative_to(top)
    )


def _files(folder: Path, ending: str) -> list[Path]:
    """The files of a kind, and those that a killed run left under a temporary name."""
    return [
        path
        for path in sorted(folder.iterdir())
        if (path.suffix == ending or is_temporary(path.name)) and not path.is_dir()
    ]


def _of_files(folder: Path, files: list[Path], why: str) -> _Unused:
    """Files, and with them their folder and the one above it, where those hold nothing else."""

    def remove() -> None:
        for file in files:
            file.unlink(missing_ok=True)
        with suppress(OSError):  # it holds what is used
            folder.rmdir()
            folder.parent.rmdir()

    return _Unused(folder=folder, files=tuple(files), why=why, remove=remove)
