"""Processes that start in a moment, also as programs on machines of their own.

As far as files and the environment go.
"""

import multiprocessing
import os
import runpy
import sys
import tempfile
from pathlib import Path

PROCESSES = multiprocessing.get_context("forkserver")
"""Each from a process that has imported what they need, and asked no server for anything."""

PROCESSES.set_forkserver_preload([
    "codedata_tests.campaigns.small_versions", "codedata_tests.run.cluster_runs",
    "codedata_tests.campaigns.document_run", "codedata_tests.campaigns.training_process",
    "distributed.cli.dask_worker", "s3fs", __name__,
])  # fmt: skip


def run(folder: Path, environment: dict[str, str], module: str, *arguments: str) -> None:
    """Run a module as a program, in a process that was made for it; it prints to `folder/out`."""
    from dask import config  # which has read the environment

    os.environ.clear()
    os.environ.update(environment)
    os.chdir(folder)
    tempfile.tempdir = None
    config.refresh()
    out = os.open("out", os.O_WRONLY | os.O_CREAT)
    os.dup2(out, 1)
    os.dup2(out, 2)
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
