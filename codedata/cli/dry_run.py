"""`codedata materialize --dry-run`: what the runs of splits would fetch, write and take.

Nothing is made. A tokenizer of the hub that is not here is fetched, some megabytes, since tokens
are counted with it; of a corpus that is not here, its size is asked for, and no more. What a hub
that is not reached would say is said to be unknown.
"""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from codedata.cli.changed_inputs import changed_inputs, corpus_key
from codedata.errors import CodedataError, CorpusError, TokenizerError
from codedata.layout import Layout
from codedata.places import local_path
from codedata.printable import say
from codedata.progress import TERMINAL, megabytes
from codedata.sources.record import read_corpus
from codedata.tokenize.tokenizer_files import TokenizerFiles

if TYPE_CHECKING:
    import dagster as dg

    from codedata.components.split_parts import SplitPart
    from codedata.components.split_spec import SplitSpec


class DryRun:
    """What the runs of some splits would take, each after those before it."""

    def __init__(self, defs: "dg.Definitions", splits: Sequence[str], *, force: bool) -> None:
        """Look at what the splits are made of.

        Args:
            defs: of the code location.
            splits: their names.
            force: whether stored chunks would be tokenized again.
        """
        from codedata.components.split_recipe import specs_of
        from codedata.resources import ChunkExecutor

        self._defs = defs
        self._layout = Layout.from_environment()
        self._force = force
        self._specs = specs_of(defs)
        specs = [self._specs[split] for split in splits]
        self._changed = changed_inputs(defs, specs, self._layout)
        found = (defs.resources or {}).get("chunk_executor")
        # Where it is the user's own, threads of this machine stand in.
        self._executor = found if isinstance(found, ChunkExecutor) else ChunkExecutor()
        self._told = set[tuple[str, int]]()
        self._unknown = set[str]()
        self._tokenizers: dict[str, TokenizerFiles | None] = {}

    def say(self, split: str) -> None:
        """Say what the run of a split would take.

        Raises:
            CodedataError: it would refuse its corpus, tokenizer or switches.
        """
        spec = self._specs[split]
        say(f"{split}: {', then '.join(map(_taken, spec.parts))}")
        num_bytes = sum(self._say_fetch(spec, part) for part in spec.parts)
        changed = self._changed[split]
        for why in changed.values():
            say(f"  again     all chunks: {why}")
        missing = [
            part.corpus
            for part in spec.parts
            if corpus_key(part.corpus) in changed or not self._has_corpus(part)
        ]
        tokenizer = self._tokenizer(spec, may_ask=not missing or not self._unknown)
        if not missing and tokenizer is not None:
            self._say_estimate(spec, tokenizer)
        else:
            self._say_guess(spec, tokenizer, num_bytes, missing)

    def _say_fetch(self, spec: "SplitSpec", part: "SplitPart") -> int:
        """Say how much comes over the network, of each file once; how many bytes."""
        from codedata.components.split_recipe import source_of

        corpus = part.corpus
        source = source_of(self._defs, corpus)
        if source is None:
            return 0
        new = [file for file in part.files if (corpus, file) not in self._told]
        self._told |= {(corpus, file) for file in new}
        num_bytes = 0
        try:
            if corpus not in self._unknown:
                for file in new:
                    folder = part.alone.folder(self._layout, file)
                    num_bytes += source.bytes_to_fetch(file, folder, TERMINAL)
        except CorpusError as error:
            _require_unreached(error)
            self._unknown.add(corpus)
        of_corpus = f" of {corpus}" if len(spec.parts) > 1 else ""
        if corpus in self._unknown:
            say(f"  fetch     not known{of_corpus}: the hub is not reached")
            return 0
        nothing = "nothing" if new else "nothing more"
        say(f"  fetch     {f'about {megabytes(num_bytes)}' if num_bytes else nothing}{of_corpus}")
        return num_bytes

    def _has_corpus(self, part: "SplitPart") -> bool:
        try:
            for number in part.numbers:
                read_corpus(part.folder(self._layout, number))
        except CorpusError:
            return False
        return True

    def _tokenizer(self, spec: "SplitSpec", *, may_ask: bool) -> TokenizerFiles | None:
        """The tokenizer; None where it is not trained yet, or the hub not reached or asked."""
        from codedata.components.split_spec import split_tokenizer

        source = spec.settings.tokenizer_base
        is_local = local_path(source, "tokenizer").exists()
        if not is_local and (spec.tokenizer_asset is not None or not may_ask):
            return None
        if source not in self._tokenizers:
            try:
                self._tokenizers[source] = split_tokenizer(spec, self._layout, TERMINAL)
            except TokenizerError as error:
                _require_unreached(error)
                self._tokenizers[source] = None
        return self._tokenizers[source]

    def _say_estimate(self, spec: "SplitSpec", tokenizer: TokenizerFiles) -> None:
        from codedata.components.split_spec import chunk_tasks, open_split
        from codedata.run.estimate import estimate, finished

        layout, executor = self._layout, self._executor
        plan = open_split(spec, layout, tokenizer, engine=executor.engine)
        partitions = chunk_tasks(spec, plan, layout, spec.partition_keys).values()
        tasks = [task for each in partitions for task in each]
        is_again = self._force or self._changed[spec.name]
        stored = [] if is_again else finished(tasks)
        found = estimate(plan, stored, threads=executor.threads)
        self._say_size(spec, found.num_tokens, "", found.num_samples, found.num_bytes)
        kept = f"{len(stored)} of {len(tasks)} chunks are finished"
        say(f"  tokenize  about {_duration(found.seconds)}, {executor.threads} threads; {kept}")

    def _say_guess(
        self,
        spec: "SplitSpec",
        tokenizer: TokenizerFiles | None,
        fetched: int,
        missing: Sequence[str],
    ) -> None:
        from codedata.run.estimate import guess

        is_here = "are here" if len(missing) > 1 else "is here"
        what = " and ".join(f"{corpus}/raw_parquet" for corpus in missing)
        what = what or spec.tokenizer_asset or spec.settings.tokenizer_base
        if spec.takes_all:
            say(f"  tokens    how many, and how long they take, is known when {what} {is_here}")
            return
        chunks = list(spec.chunk_ranges.values())
        found = guess(spec.settings, chunks, tokenizer, spec.recipe)
        ratio = f", at {found.chars_per_token:.2g} characters a token"
        self._say_size(spec, found.num_tokens, ratio, found.num_samples, found.num_bytes + fetched)
        say(f"  tokenize  how long is known when {what} {is_here}")

    def _say_size(
        self, spec: "SplitSpec", num_tokens: int, ratio: str, num_samples: int, num_bytes: int
    ) -> None:
        from codedata.run.estimate import free_bytes

        samples = f"{num_samples:,} samples of {spec.settings.seq_length:,}"
        say(f"  tokens    about {num_tokens:,}{ratio}; {samples}")
        if self._layout.url is not None:
            say(f"  store     about {megabytes(num_bytes)}")
            return
        free = megabytes(free_bytes(self._layout.root))
        say(f"  disk      about {megabytes(num_bytes)}; {free} free")


def _taken(part: "SplitPart") -> str:
    """How much is taken of a corpus."""
    num_files, window = len(part.files), part.window
    of_files = f"{num_files:,} files of " if num_files > 1 else ""
    how_many = "all" if window.is_open else f"up to {window.num_chars * num_files:,}"
    return f"{how_many} characters of {of_files}{part.corpus}"


def _require_unreached(error: CodedataError) -> None:
    """Have an error pass unless it is that the hub is not reached.

    Raises:
        CodedataError: the error.
    """
    from codedata.hub.refusals import UnreachableError  # a second of imports

    if not isinstance(error.__cause__, UnreachableError):
        raise error


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
