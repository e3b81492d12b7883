"""A root -> where each of its things lies: in folders of this machine, or in an object store.

Of a root in an object store there are: `chunks/`, `datasets/`, `parts/` and `tokenizers/<sha256>/`,
which are immutable and named by what they are made of; and `state/`, small files that are replaced
(records, lists, pins): those of `Layout.root`, path by path.
"""

from codedata.layout import Layout
from codedata.store.object_store import ObjectStore

MOST_FETCHED_BYTES = 10**10
"""Of a dataset or of texts that a step brings here to describe or compare them, where the root is
in an object store: some minutes. What is larger is told to be left out, with the command for it."""


def objects_of(layout: Layout) -> ObjectStore | None:
    """The object store that a root is in; None where it is a folder."""
    return None if layout.url is None else ObjectStore(layout.url)


def require_conditional_writes(layout: Layout) -> None:
    """Refuse a root, before any work, in whose object store two runs at once would lose data.

    Raises:
        StoreError: see `ObjectStore.require_conditional_writes`.
    """
    if (objects := objects_of(layout)) is not None:
        objects.require_conditional_writes()
