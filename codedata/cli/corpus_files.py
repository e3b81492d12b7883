"""Definitions, loaded once the files of corpora are listed that have to be asked for elsewhere.

A list is kept under the root; what loads definitions goes by it and asks nobody. So whoever makes a
list here loads them again.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from codedata.cli.code_location import CodeLocation, load_definitions
from codedata.layout import Layout
from codedata.progress import TERMINAL

if TYPE_CHECKING:
    import dagster as dg


def load_with_files(
    location: CodeLocation, layout: Layout, splits: Iterable[str] | None, *, refresh: bool
) -> "dg.Definitions":
    """The definitions of a code location, with the files of the corpora of its splits.

    Args:
        location: which.
        layout: the root.
        splits: whose corpora; None is all of them.
        refresh: ask for every list anew, not for missing ones alone.

    Raises:
        CodedataError: they cannot be loaded, or a list cannot be had.
    """
    from codedata.components.collecting import refreshed
    from codedata.components.split_recipe import source_of, specs_of

    defs = load_definitions(location)
    is_other = False
    specs = specs_of(defs)
    names = specs.keys() if splits is None else [name for name in splits if name in specs]
    for corpus in sorted({corpus for name in names for corpus in specs[name].corpora}):
        source = source_of(defs, corpus)
        if source is None or source.asked is None or not (refresh or source.listing is None):
            continue
        with TERMINAL.waiting(f"listing the files of corpus {corpus}"):
            found = refreshed(source, layout, corpus, TERMINAL)
        is_other |= found.listing != source.listing
    return load_definitions(location, again=True) if is_other else defs
