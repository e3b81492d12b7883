"""The code location: the defs/ folder and the resources, assembled.

The folder is read when `defs` is first asked for: a code location of its own that takes the
`resources` has splits of its own, and nothing to do with these.
"""

import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

import codedata.defs
from codedata.parallel import loading_for_good
from codedata.resources import resources

if TYPE_CHECKING:
    defs: dg.Definitions

__all__ = ["defs", "resources"]


def _assemble() -> dg.Definitions:
    # Not load_from_defs_folder, which asks for a project file above the package: a wheel has none.
    tree = dg.ComponentTree.from_module(
        defs_module=codedata.defs, project_root=Path(codedata.__file__).parent.parent
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)  # Dagster's own use of pydantic
        found = tree.build_defs()
    return dg.Definitions.merge(
        found,
        dg.Definitions(
            resources=resources,
            # In-process: a step of its own process costs seconds; chunks are parallel inside one.
            executor=dg.in_process_executor,
        ),
    )


def __getattr__(name: str) -> Any:
    if name == "defs":
        with loading_for_good():
            globals()["defs"] = found = _assemble()
        return found
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted({*globals(), "defs"})
