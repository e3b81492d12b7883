"""The files of a corpus -> here, or into the store of the root, each with its record.

What a corpus keeps (records, the list of its files, a pin) is brought here from the store before,
and put there after; under a root that is a folder it lies where it is.
"""

from collections import deque
from collections.abc import Sequence
from concurrent.futures import Future
from typing import Any

from codedata.components.split_parts import corpus_folder, pull_files
from codedata.layout import Layout
from codedata.parallel import ChunkThreads
from codedata.progress import Reporter
from codedata.sources.base import Source
from codedata.sources.listing import LISTING_NAME
from codedata.sources.record import PIN_NAME, RECORD_NAME, Corpus
from codedata.sources.stored_text import store_corpus
from codedata.store import state
from codedata.store.locks import waiting_lock
from codedata.store.roots import require_conditional_writes

_AT_ONCE = 4
"""Files on their way into a store: each waits for the one store, then for the other, and has a few
parts in memory meanwhile."""


def source_with_files(source: Source, layout: Layout, corpus: str) -> Source:
    """A source that knows its files, by the list that was made last, here or elsewhere."""
    folder = layout.corpus(corpus)
    if source.asked is not None:
        state.pull(layout, folder / LISTING_NAME)
    return source.listed_in(folder)


def refreshed(source: Source, layout: Layout, corpus: str, reporter: Reporter) -> Source:
    """A source whose files are asked for anew, and the list of them kept, here and in the store.

    Where another machine made the first list meanwhile, that one holds.
    """
    folder = layout.corpus(corpus)
    while True:
        before = state.content(folder / LISTING_NAME)
        found = source.refreshed(folder, reporter)
        if state.put_changed(layout, folder / LISTING_NAME, before):
            return found
        if (first := source.listed_in(folder)).listing is not None:  # of the same question
            return first


def pull_kept(layout: Layout, corpus: str, *, record: bool = False) -> None:
    """Have here what a corpus keeps beside its files; with the record of its only file, too."""
    names = [LISTING_NAME, PIN_NAME, *([RECORD_NAME] if record else [])]
    state.pull(layout, *(layout.corpus(corpus) / name for name in names))


class Collector:
    """Brings files of a corpus in their order: one by one, or some ahead on their way into a store.

    Args:
        source: which knows its files.
        layout: the root.
        corpus: its name.
        files: which, in the order in which they will be asked for.
        reporter: told how far it is.

    Raises:
        StoreError: the store of the root does not honour conditional writes, or is not reached.
    """

    def __init__(
        self, source: Source, layout: Layout, corpus: str, files: Sequence[int], reporter: Reporter
    ) -> None:
        require_conditional_writes(layout)
        self._source, self._layout, self._corpus = source, layout, corpus
        self._files, self._reporter = deque(files), reporter
        is_ahead = layout.url is not None and len(files) > 1
        self._threads = ChunkThreads(_AT_ONCE) if is_ahead else None
        self._under_way: deque[Future[Corpus]] = deque()
        self._is_first = True
        folders = [corpus_folder(layout, corpus, source.num_files, file) for file in files]
        pull_files(layout, corpus, folders)

    def __enter__(self) -> "Collector":
        return self

    def __exit__(self, *error: Any) -> None:
        if self._threads is not None:
            self._threads.__exit__(*error)

    def bring(self, *, update: bool = False) -> Corpus:
        """The next file; the first comes alone, and the others are of its commit.

        Args:
            update: take the newest commit of a branch or tag.

        Raises:
            CorpusError: it cannot be had, or is no usable corpus.
            StoreError: the store does not take it.
        """
        if self._threads is None or self._is_first or update:
            corpus = self._bring(self._files.popleft(), self._reporter, update=update)
            self._is_first = False
            return corpus
        quiet = Reporter(self._reporter.log, in_terminal=False)  # bars of several would be mixed
        while self._files and len(self._under_way) < _AT_ONCE:
            file = self._files.popleft()
            self._under_way.append(self._threads.submit(self._bring, file, quiet, update=False))
        return self._under_way.popleft().result()

    def _bring(self, file: int, reporter: Reporter, *, update: bool) -> Corpus:
        layout, source = self._layout, self._source
        folder = corpus_folder(layout, self._corpus, source.num_files, file)
        pin = layout.corpus(self._corpus) / PIN_NAME
        folder.mkdir(parents=True, exist_ok=True)
        # Two runs at once share the work: one does it, the other waits and finds it done.
        with waiting_lock(folder / ".lock", reporter.say):
            if layout.url is None:
                return source.materialize(file, folder, reporter, update=update)
            pinned, source = state.content(pin), source.in_parts()
            corpus = source.materialize(file, folder, reporter, update=update)
            if not state.put_changed(layout, pin, pinned):
                # Another machine began beside this one: all files are of the commit that it took.
                corpus = source.materialize(file, folder, reporter, update=False)
            return store_corpus(layout, folder, corpus, reporter)
