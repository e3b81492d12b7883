"""What assets are given: where things lie, where chunks run, and datasets to train on.

`resources` is for code locations of their own; no definitions are loaded for it.
"""

import warnings
from collections.abc import Generator
from concurrent.futures import Executor
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import dagster as dg
from pydantic import AfterValidator, Field, PrivateAttr

warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

# The filters must stand before anything that uses beta parts of Dagster is imported, and outside of
# what imports the components: Dagster gives back the filters that it found.
from codedata.layout import Layout  # noqa: E402
from codedata.parallel import (  # noqa: E402
    ChunkThreads,
    available_cores,
    check_num_workers,
    limit_library_threads,
)
from codedata.progress import Reporter  # noqa: E402
from codedata.run.placement import Cluster, cluster_of, known_kind  # noqa: E402
from codedata.store.copies import place_of  # noqa: E402
from codedata.tokenize.engines.registry import AUTO, known_choice  # noqa: E402

if TYPE_CHECKING:
    from codedata.run.matches_transformers import TransformersCheck
    from codedata.training.dataset import PickledTrainerDataset
    from codedata.training.mixture import Mixture


class DataRoot(dg.ConfigurableResource):
    """The root folder of corpora, tokenizers, chunks and datasets."""

    root: str | None = Field(
        default=None,
        description="Folder that holds everything; by default $CODEDATA_ROOT, else data in the "
        "working folder.",
    )

    @property
    def layout(self) -> Layout:
        """The folders under the root."""
        if self.root is None:
            return Layout.from_environment()
        return Layout.at(self.root, "root of the resource store")


class ChunkExecutor(dg.ConfigurableResource):
    """Where and how the chunks of a run are tokenized."""

    num_workers: int = Field(default=0, description="Threads that tokenize; 0 is one a core.")
    engine: Annotated[str, AfterValidator(known_choice)] = Field(
        default=AUTO,
        description="How to tokenize, the ids being the same; auto is the fastest that is proven "
        "exact for the tokenizer.",
    )
    kind: Annotated[str | None, AfterValidator(known_kind)] = Field(
        default=None,
        description="threads of this machine, or dask: workers of a cluster. By default dask where "
        "there is an address, else threads.",
    )
    address: str | None = Field(
        default=None,
        description="Of the cluster's scheduler, such as tcp://10.0.0.1:8786, or local: workers of "
        "this machine; by default $CODEDATA_DASK_ADDRESS, else local.",
    )

    _cluster: ExitStack = PrivateAttr(default_factory=ExitStack)
    _workers: dict[Path | None, Executor] = PrivateAttr(default_factory=dict)
    _beside: dict[str, "TransformersCheck"] = PrivateAttr(default_factory=dict)

    @property
    def beside(self) -> dict[str, "TransformersCheck"]:
        """What goes on beside the steps of a run, by split, and ends with it."""
        return self._beside

    def setup_for_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """Have libraries that start threads of their own start no more."""
        limit_library_threads(self.threads)

    def teardown_after_execution(self, context: dg.InitResourceContext) -> None:  # noqa: ARG002
        """Stop what no step has waited for."""
        for each in self._beside.values():
            each.close()
        self._cluster.close()
        self._workers.clear()

    @property
    def threads(self) -> int:
        """Threads that tokenize."""
        return check_num_workers(self.num_workers or available_cores())

    @property
    def cluster(self) -> Cluster | None:
        """The cluster that chunks run on; None for threads of this process.

        Raises:
            SettingsError: what is given is no address of a scheduler.
        """
        return cluster_of(self.kind, self.address)

    @property
    def threads_a_chunk(self) -> int:
        """Threads that may work on one chunk; a worker of a cluster has one for each."""
        return self.threads if self.cluster is None else 1

    @contextmanager
    def executor(self, layout: Layout, reporter: Reporter) -> Generator[Executor]:
        """What tokenizes and packs chunks.

        A cluster stays connected until the run ends, so that its steps have the same workers.

        Args:
            layout: the root, which workers have to see where it is a folder.
            reporter: told of a cluster.

        Raises:
            SettingsError: no cluster answers.
        """
        if self.cluster is None:
            with ChunkThreads(self.threads) as threads:
                yield threads
            return
        folder = None if layout.url else layout.root
        if folder not in self._workers:
            from codedata.run.cluster import dask_workers  # a second that threads need not wait for

            connected = dask_workers(
                self.cluster, num_workers=self.threads, folder=folder, reporter=reporter
            )
            self._workers[folder] = self._cluster.enter_context(connected)
        yield self._workers[folder]


class Datasets(dg.ConfigurableResource):
    """Published datasets, for assets downstream that train or analyse."""

    store: DataRoot

    def load(
        self, split: str, *, mask_padding: bool = True, verify: bool = False
    ) -> "PickledTrainerDataset":
        """The dataset of a split; arguments as of `codedata.load_dataset`.

        Raises:
            DatasetError: it was not materialized, is damaged, or does not say where its padding is.
        """
        from codedata.loading import with_labels  # torch, only where it is used
        from codedata.training.dataset import PickledTrainerDataset

        place = place_of(self.store.layout, split)
        dataset = PickledTrainerDataset([place], quiet=True, verify=verify)
        return with_labels(dataset, mask_padding=mask_padding)

    def load_mixture(self, name: str, *, mask_padding: bool = True) -> "Mixture":
        """The mixture that was materialized under a name.

        Raises:
            DatasetError: it was not, or a dataset of it is another by now.
        """
        from codedata.loading import published_mixture  # as above

        return published_mixture(self.store.layout, name, mask_padding=mask_padding)


class DatasetIOManager(dg.ConfigurableIOManager):
    """Loads `<split>/dataset` as a PickledTrainerDataset, `<name>/mixture` as a Mixture.

    The assets write the files themselves.
    """

    store: DataRoot
    mask_padding: bool = Field(
        default=True,
        description="Have labels of -100 where samples are padded; else labels are the input ids.",
    )

    def handle_output(self, context: dg.OutputContext, obj: object) -> None:
        """Refuse: a dataset is published by `<split>/pickle_shards`, not by returning a value.

        Raises:
            TypeError: always.
        """
        raise TypeError(
            f"{context.asset_key.to_user_string()} returned a {type(obj).__name__}; assets with "
            "this IO manager publish their folder and return a MaterializeResult"
        )

    def load_input(self, context: dg.InputContext) -> "PickledTrainerDataset | Mixture":
        """The dataset of the split, or the mixture, that the upstream asset is."""
        datasets, (name, *what) = Datasets(store=self.store), context.asset_key.path
        load = datasets.load_mixture if what == ["mixture"] else datasets.load
        return load(name, mask_padding=self.mask_padding)


store = DataRoot()
resources = {
    "store": store,
    "chunk_executor": ChunkExecutor(),
    "datasets": Datasets(store=store),
    "dataset_io_manager": DatasetIOManager(store=store),
}
"""For code locations of their own that use the components or read the datasets."""
