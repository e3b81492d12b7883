"""What assets are given: where things lie, where chunks run, and datasets to train on."""

from collections.abc import Iterator
from concurrent.futures import Executor
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import dagster as dg
from pydantic import Field

from codedata.layout import Layout
from codedata.parallel import available_cores, check_num_workers, chunk_executor

if TYPE_CHECKING:
    from codedata.pickle_dataset import PickledTrainerDataset


class Store(dg.ConfigurableResource):
    """The root folder of corpora, tokenizers, chunks and datasets."""

    root: str = Field(description="Folder that holds everything; relative to the working folder.")

    @property
    def layout(self) -> Layout:
        """The folders under the root."""
        return Layout(Path(self.root).absolute())


class ChunkExecutor(dg.ConfigurableResource):
    """Where the chunks of a run are tokenized."""

    kind: Literal["process", "inline"] = Field(
        default="process",
        description="Worker processes on this machine, or the run's own process.",
    )
    num_workers: int = Field(default=0, description="Worker processes; 0 is one a core.")

    @contextmanager
    def executor(self, num_chunks: int) -> Iterator[Executor]:
        """An executor for `num_chunks` calls; leaving it ends its workers."""
        num_workers = check_num_workers(self.num_workers or available_cores())
        with chunk_executor(1 if self.kind == "inline" else num_workers, num_chunks) as executor:
            yield executor


class Datasets(dg.ConfigurableResource):
    """Published datasets, for assets downstream that train or analyse."""

    store: Store

    def load(self, split: str, *, verify: bool = False) -> "PickledTrainerDataset":
        """The dataset of a split.

        Raises:
            DatasetError: it was not materialized, or is damaged.
        """
        from codedata.pickle_dataset import PickledTrainerDataset  # torch, only where it is used

        return PickledTrainerDataset([self.store.layout.dataset(split)], quiet=True, verify=verify)


class DatasetIOManager(dg.ConfigurableIOManager):
    """Loads `<split>/dataset` as a PickledTrainerDataset; the assets write the files themselves."""

    store: Store

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Refuse: a dataset is published by `<split>/pickle_shards`, not by returning a value.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"{context.asset_key.to_user_string()} returned a {type(obj).__name__}; assets with "
            "this IO manager publish their folder and return a MaterializeResult"
        )

    def load_input(self, context: dg.InputContext) -> "PickledTrainerDataset":
        """The dataset of the split that the upstream asset belongs to."""
        return Datasets(store=self.store).load(context.asset_key.path[0])
