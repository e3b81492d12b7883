"""`codedata materialize --dry-run`: what the runs of splits would fetch, write and take.

Nothing is made. A tokenizer of the hub that is not here is fetched, some megabytes, since tokens
are counted with it; of a corpus that is not here, its size is asked for, and no more.
"""

from typing import TYPE_CHECKING

from codedata.errors import CorpusError
from codedata.layout import Layout
from codedata.printable import say
from codedata.progress import TERMINAL, megabytes
from codedata.sources.base import Source
from codedata.sources.record import read_corpus

if TYPE_CHECKING:
    import dagster as dg

    from codedata.components.split_spec import SplitSpec
    from codedata.resources import ChunkExecutor


def say_estimate(defs: "dg.Definitions", split: str, *, force: bool) -> None:
    """Say what the run of a split would take.

    Args:
        defs: of the code location.
        split: its name.
        force: whether stored chunks would be tokenized again.

    Raises:
        CodedataError: a run would refuse its corpus, tokenizer or switches.
    """
    from codedata.components.split_recipe import source_of, specs_of
    from codedata.resources import ChunkExecutor

    layout, spec = Layout.from_environment(), specs_of(defs)[split]
    executor = (defs.resources or {}).get("chunk_executor")
    if not isinstance(executor, ChunkExecutor):  # the user's own; threads of this machine stand in
        executor = ChunkExecutor()
    num_chars = spec.settings.chars_to_tokenize * len(spec.files)
    say(f"{split}: up to {num_chars:,} characters of {spec.corpus}")
    _say_fetch(spec, layout, source_of(defs, spec.corpus))
    _say_work(spec, layout, executor, force=force)


def _say_fetch(spec: "SplitSpec", layout: Layout, source: Source | None) -> None:
    if source is None:
        return
    to_fetch = [
        source.bytes_to_fetch(file, spec.corpus_folder(layout, file), TERMINAL)
        for file in spec.files
    ]
    what = f"about {megabytes(sum(to_fetch))}" if sum(to_fetch) else "nothing"
    say(f"  fetch     {what}")


def _say_work(spec: "SplitSpec", layout: Layout, executor: "ChunkExecutor", *, force: bool) -> None:
    from codedata.components.split_spec import chunk_tasks, open_split, split_tokenizer
    from codedata.run.estimate import estimate, finished, free_bytes

    try:
        for file in spec.files:
            read_corpus(spec.corpus_folder(layout, file))
    except CorpusError:
        say(f"  tokens    can be estimated when {spec.corpus}/raw_parquet is materialized")
        return
    if spec.tokenizer_asset and not layout.tokenizer(spec.tokenizer_asset).exists():
        say(f"  tokens    can be estimated when {spec.tokenizer_asset} is materialized")
        return
    plan = open_split(spec, layout, split_tokenizer(spec, layout, TERMINAL), engine=executor.engine)
    tasks = list(chunk_tasks(spec, plan, layout, list(spec.chunk_ranges)).values())
    stored = [] if force else finished(tasks, root=layout.root)
    found = estimate(plan, stored, threads=executor.threads)
    samples = f"{found.num_samples:,} samples of {spec.settings.seq_length:,}"
    say(f"  tokens    about {found.num_tokens:,}, {samples}")
    say(
        f"  disk      about {megabytes(found.num_bytes)}; {megabytes(free_bytes(layout.root))} free"
    )
    kept = f"{len(stored)} of {len(tasks)} chunks are finished"
    say(f"  tokenize  about {_duration(found.seconds)}, {executor.threads} threads; {kept}")


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"
