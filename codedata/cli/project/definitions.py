"""The code location: what the YAMLs of defs/ define, and whatever you add."""

from pathlib import Path

import dagster as dg

from codedata.resources import resources

defs = dg.Definitions.merge(
    dg.load_from_defs_folder(path_within_project=Path(__file__).parent),
    dg.Definitions(
        resources=resources,
        executor=dg.in_process_executor,  # chunks are parallel inside one process
    ),
)
