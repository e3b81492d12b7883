"""YAMLs of a test -> a package of their own, as Dagster loads it."""

from collections.abc import Mapping
from importlib import import_module
from pathlib import Path

import dagster as dg
import pytest

from codedata.resources import resources


def tree_of(folder: Path, yamls: Mapping[str, str]) -> dg.ComponentTree:
    """The components of `<name>/defs.yaml` for each text, in a module of its own for each test."""
    package = folder / f"own_{folder.name}"
    for name, text in yamls.items():
        (package / name).mkdir(parents=True)
        (package / name / "defs.yaml").write_text(text, encoding="utf-8")
    (package / "__init__.py").touch()
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(folder)
        module = import_module(package.name)
    return dg.ComponentTree.from_module(defs_module=module, project_root=folder)


def jobs_of(tree: dg.ComponentTree) -> list[str]:
    """The names of a tree's jobs, for which all its definitions are resolved."""
    defs = dg.Definitions.merge(tree.build_defs(), dg.Definitions(resources=resources))
    return [job.name for job in defs.resolve_all_job_defs()]
