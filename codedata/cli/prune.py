"""`codedata prune`: versions and chunks in an object store that nothing uses are removed."""

import argparse
import re
import time
from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING

from codedata.cli.commands import Commands
from codedata.errors import SettingsError
from codedata.layout import ROOT_VARIABLE, Layout, is_name
from codedata.printable import did_you_mean, say
from codedata.progress import megabytes

if TYPE_CHECKING:
    from codedata.store.object_store import ObjectStore
    from codedata.store.pruning import Unused

_GRACE = "7d"
_GIVEN = re.compile(r"(?P<number>[0-9]{1,6})(?P<unit>[dhms])", re.ASCII)
_SECONDS = {"d": 86_400.0, "h": 3_600.0, "m": 60.0, "s": 1.0}


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "prune",
        help="remove versions in an object store that nothing uses",
        description="Of the datasets in the object store that the root is in, remove the objects "
        "of versions that are not the dataset and were not within the grace, and of those that "
        "were never published. What a version was made of stays on record, and what codedata did "
        "not make there is left.",
    )
    parser.add_argument("splits", metavar="SPLIT", nargs="*", help="by default every split")
    parser.add_argument(
        "--grace",
        type=_seconds,
        default=_GRACE,
        metavar="TIME",
        help=f"leave what was the dataset, or was written, within this time (default {_GRACE}; "
        "units d, h, m, s): a reader may be at it, or a run be about to publish it",
    )
    parser.add_argument(
        "--chunks",
        action="store_true",
        help="of the splits that are named, remove chunks too whose range has a later one, made "
        "of another text, by another tokenizer or release, or with --force",
    )
    parser.add_argument("--dry-run", action="store_true", help="say what would go; remove nothing")
    parser.set_defaults(run=run)


def _seconds(text: str) -> float:
    found = _GIVEN.fullmatch(text)
    if found is None:
        raise argparse.ArgumentTypeError(
            f"{text!r} is no time; write a number and its unit, such as 7d, 12h, 30m or 0s"
        )
    return int(found["number"]) * _SECONDS[found["unit"]]


def run(options: argparse.Namespace) -> int:
    """Remove what nothing uses, and say what it was.

    Raises:
        SettingsError: the root is a folder, or what is named is no split, or has no object.
        StoreError: the store does not do what it is asked for.
    """
    from codedata.store.roots import objects_of  # asyncio, which the other commands do not need

    layout = Layout.from_environment()
    if (root := objects_of(layout)) is None:
        raise SettingsError(
            f"{ROOT_VARIABLE} is {layout.root}, a folder, which keeps no versions; `codedata "
            "clean` removes what nothing uses there"
        )
    if options.chunks and not options.splits:
        raise SettingsError("--chunks is for splits that are named: codedata prune SPLIT --chunks")
    splits = _named(root, options.splits)
    before = time.time() - options.grace
    freed = newer = 0
    for unused, remove in _found(root, splits, before, with_chunks=options.chunks):
        if unused.newest > before:
            newer += unused.num_bytes
        elif not unused.is_ours:
            say(
                f"left: {unused.where} is not known to be codedata's; remove it yourself if nobody "
                "needs it"
            )
        elif options.dry_run or remove():
            freed += unused.num_bytes
            say(f"{megabytes(unused.num_bytes):>12}  {unused.where}: {unused.why}")
        else:
            say(f"kept: {unused.where} came into use meanwhile")
    if freed:
        what = "can go; without --dry-run it does" if options.dry_run else "removed"
        say(f"{megabytes(freed)} {what}")
    if newer:
        say(f"{megabytes(newer)} were written within the grace, and stay")
    if not freed and not newer:
        say("nothing is unused")
    return 0


def _named(root: "ObjectStore", splits: list[str]) -> list[str]:
    """The splits that are named, each with objects; by default all that have a dataset."""
    if wrong := [split for split in splits if not is_name(split)]:
        raise SettingsError(f"{wrong[0]!r} is no name of a split; name one, such as 'train'")
    datasets = root.below("datasets").folders()
    if not (unknown := sorted({*splits} - {*datasets})):
        return splits or list(datasets)
    known = sorted({*datasets, *root.below("chunks").folders()})
    for split in unknown:
        if split not in known:
            there = f"there are {', '.join(known)}" if known else "nothing is made there"
            meant = f"{did_you_mean(split, known)} {there}".lstrip()
            raise SettingsError(f"there is no split {split!r} in {root.url}: {meant}")
    return splits


def _found(
    root: "ObjectStore", splits: list[str], before: float, *, with_chunks: bool
) -> "Iterator[tuple[Unused, Callable[[], bool]]]":
    """What can go, each with what removes it."""
    from codedata.store.pruning import remove_folder, unused_chunks, unused_folders
    from codedata.store.versions import DatasetLog

    for split in splits:
        log = DatasetLog(root.below(f"datasets/{split}"))
        for unused in unused_folders(log, before):
            yield unused, partial(remove_folder, log, unused, before)
        if with_chunks:
            chunks = root.below(f"chunks/{split}")
            for unused in unused_chunks(chunks, before):
                yield unused, partial(_remove, chunks, unused)


def _remove(store: "ObjectStore", unused: "Unused") -> bool:
    store.remove(unused.names)
    return True
