"""The code location: the defs/ folder and the resources, assembled."""

import warnings
from pathlib import Path

import dagster as dg

warnings.filterwarnings("ignore", category=dg.BetaWarning)
warnings.filterwarnings("ignore", category=dg.PreviewWarning)

# The filters must stand before the modules that use beta parts of Dagster are imported.
from codedata.layout import Layout  # noqa: E402
from codedata.resources import ChunkExecutor, DatasetIOManager, Datasets, Store  # noqa: E402

store = Store(root=str(Layout.from_environment().root))
resources = {
    "store": store,
    "chunk_executor": ChunkExecutor(),
    "datasets": Datasets(store=store),
    "dataset_io_manager": DatasetIOManager(store=store),
}
"""For code locations of their own that use the components or read the datasets."""

defs = dg.Definitions.merge(
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
    dg.Definitions(
        resources=resources,
        # In-process: a step of its own process costs seconds, and chunks are parallel inside one.
        executor=dg.in_process_executor,
    ),
)
