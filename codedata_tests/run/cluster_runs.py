"""A driver of a cluster: chunks and a version of a corpus in an object store, as the assets do it.

As a program it takes a pickled `Run` and says each chunk as it is made, so that a test knows when
to kill it, or a worker.
"""

import os
import pickle
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from codedata.format.facts import Origin
from codedata.progress import Reporter
from codedata.recipe.documents import DocumentRecipe
from codedata.recipe.settings import Settings
from codedata.run.assemble import assemble_version, origin_of
from codedata.run.cluster import DaskWorkers, dask_workers
from codedata.run.placement import Cluster
from codedata.run.plan import ChunkTask, Plan, open_plan
from codedata.run.tokenize import tokenize
from codedata.sources.parquet.text import Text
from codedata.store.chunks import ObjectChunks
from codedata.store.object_store import ObjectStore
from codedata.store.versions import DatasetLog, Version
from codedata.tokenize.stored_tokenizer import store_tokenizer
from codedata.tokenize.tokenizer_files import find_tokenizer


@dataclass(frozen=True, kw_only=True)
class Run:
    """What is made, where, and by whom.

    Attributes:
        url: of the root.
        address: of the scheduler.
        text: of the corpus, in the root.
        tokenizer: its folder, which workers do not see.
        settings: the switches.
        name: of the split.
        engine: that tokenizes.
        recipe: how documents become samples; None is the reference mode.
    """

    url: str
    address: str
    text: Text
    tokenizer: Path
    settings: Settings
    name: str = "set"
    engine: str = "whole"
    recipe: DocumentRecipe | None = None

    @property
    def root(self) -> ObjectStore:
        return ObjectStore(self.url)

    @property
    def chunks(self) -> ObjectChunks:
        return ObjectChunks(self.root.below(f"chunks/{self.name}"))

    @property
    def log(self) -> DatasetLog:
        return DatasetLog(self.root.below(f"datasets/{self.name}"))

    def plan(self) -> Plan:
        files = find_tokenizer(str(self.tokenizer))
        return open_plan(
            {0: self.text}, self.settings, files, engine=self.engine, recipe=self.recipe
        )

    def tasks(self, plan: Plan) -> list[ChunkTask]:
        tokenizer, chunks = store_tokenizer(self.root, plan.tokenizer), self.chunks
        return plan.tasks(lambda _: chunks, tokenizer=tokenizer)


@contextmanager
def connected(
    address: str | None,
    say: Callable[[str], None] = lambda _: None,
    *,
    folder: Path | None = None,
) -> Iterator[DaskWorkers]:
    """The workers of a cluster, or two of this machine."""
    reporter = Reporter(say, in_terminal=False)
    cluster = Cluster(address=address)
    with dask_workers(cluster, num_workers=2, folder=folder, reporter=reporter) as workers:
        yield workers


def drive(run: Run, say: Callable[[str], None] = lambda _: None) -> tuple[Version, list[bool]]:
    """Make the chunks, pack and publish them; the version, and of which chunks were reused."""
    reporter, plan = Reporter(say, in_terminal=False), run.plan()
    with connected(run.address, say) as workers:
        made = []
        for each in tokenize(plan, run.tasks(plan), workers, reporter, root=None, name=run.name):
            say(f"made {each[0].chars.key}")
            made.append(each)
        chunks = sorted((chunk for chunk, _ in made), key=lambda chunk: chunk.chars)
        origin: Origin = origin_of(plan.tokenizer, chunks, "drive", {"sha256": run.text.sha256})
        tokenizer = store_tokenizer(run.root, plan.tokenizer)
        version = assemble_version(
            plan, chunks, run.log, origin, workers, reporter, tokenizer=tokenizer
        ).publish()
    return version, [reused for _, reused in made]


def die(_: object) -> None:
    """What memory that runs out does to a worker."""
    os._exit(9)


def run_short_of_memory(tries: tuple[Path, int]) -> int:
    """Fail so many times, counted by files in a folder, for want of memory; then the count."""
    folder, num_failures = tries
    num_tries = len(list(folder.iterdir())) + 1
    (folder / str(num_tries)).touch()
    if num_tries <= num_failures:
        raise MemoryError
    return num_tries


if __name__ == "__main__":
    drive(pickle.loads(Path(sys.argv[1]).read_bytes()), lambda line: print(line, flush=True))
