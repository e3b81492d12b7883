"""`codedata materialize`: the jobs of splits, one after the other, in this process."""

import argparse
import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from codedata.cli.definition_errors import require_all_defined, user_error
from codedata.cli.instance import open_instance, prepare_dagster_home
from codedata.errors import CodedataError, SettingsError
from codedata.layout import Layout
from codedata.printable import say
from codedata.progress import SHOW_BARS, TERMINAL
from codedata.store.dataset_folder import Dataset
from codedata.store.owners import explained_at
from codedata.store.verified import open_once


def materialize_splits(options: argparse.Namespace) -> int:
    """Make the datasets of splits, and say what they are.

    Raises:
        CodedataError: one cannot be made.
    """
    layout = Layout.from_environment()
    home = prepare_dagster_home(TERMINAL)
    # Seconds of imports that the other commands do not need.
    import dagster as dg

    from codedata.components.default_pad import require_fitting_default

    jobs = _load_jobs()
    _require_splits(jobs, options.splits)
    for split in options.splits:
        with _about(split):
            require_fitting_default(jobs[split].tags, layout, TERMINAL, update=options.update)
    SHOW_BARS.set(True)
    # Ctrl-C may come while a connection is closed, which its pool would log with a traceback.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    made: list[Dataset] = []
    with open_instance(home) as instance:
        for split in options.splits:
            for job, tags in runs_of(jobs, split):
                config = _run_config(job, options)
                try:
                    with _about(split):
                        job.execute_in_process(instance=instance, run_config=config, tags=tags)
                except dg.DagsterExecutionInterruptedError as error:  # Ctrl-C
                    raise KeyboardInterrupt from error
            made.append(open_once(layout.dataset(split)))
    for dataset in made:
        say(
            f"{dataset.folder}: {len(dataset.shards)} files, {dataset.num_samples} samples of "
            f"{dataset.seq_length} tokens, {dataset.num_tokens} tokens, digest {dataset.digest}"
        )
    return 0


@contextmanager
def _about(split: str) -> Iterator[None]:
    """Name the split in what fails."""
    import dagster as dg

    try:
        yield
    except PermissionError as error:
        said = explained_at(str(error), Path(error.filename)) if error.filename else str(error)
        raise CodedataError(f"split {split!r}: {said}") from error
    except (CodedataError, OSError, dg.Failure) as error:
        raise CodedataError(f"split {split!r}: {error}") from error


def _require_splits(jobs: dict[str, Any], names: Sequence[str]) -> None:
    from codedata.components.split_spec import SPLIT_TAG

    splits = sorted(name for name, job in jobs.items() if SPLIT_TAG in job.tags)
    if unknown := [name for name in names if name not in splits]:
        raise SettingsError(f"there is no split {unknown[0]!r}; there are {', '.join(splits)}")


def _load_jobs() -> dict[str, Any]:
    """The jobs of the code location, by name.

    Raises:
        CodedataError: a YAML or an environment variable sets a switch to what it cannot be.
    """
    shown, warnings.formatwarning = warnings.formatwarning, _one_line
    try:
        from codedata.definitions import defs

        require_all_defined(defs)
        jobs = [*defs.resolve_all_job_defs()]
    except Exception as error:
        if (cause := user_error(error)) is not None:
            raise cause from error
        raise
    finally:
        warnings.formatwarning = shown
    return {job.name: job for job in jobs if not job.name.startswith("__")}


def _one_line(message: Warning | str, *_: object) -> str:
    return f"codedata: warning: {message}\n"


def runs_of(jobs: dict[str, Any], split: str) -> Iterator[tuple[Any, dict[str, str]]]:
    """The jobs to run for a split, each with its tags: the files of its corpus, then its own."""
    from codedata.components.raw_corpus import file_key
    from codedata.components.split_spec import FILES_TAG

    files_job, *ranges = jobs[split].tags.get(FILES_TAG, "-").split()
    for each in ranges:
        first, last = map(int, each.split("-"))
        yield (
            jobs[files_job],
            {
                "dagster/asset_partition_range_start": file_key(first),
                "dagster/asset_partition_range_end": file_key(last),
            },
        )
    yield jobs[split], {}


def _run_config(job: Any, options: argparse.Namespace) -> dict[str, Any]:
    ops: dict[str, Any] = {}
    for name in job.graph.node_dict:
        if name.endswith("__raw_parquet"):
            ops[name] = {"config": {"update": options.update}}
        if name.endswith("__token_chunks"):
            ops[name] = {"config": {"force": options.force, "update": options.update}}
    return {"ops": ops, "loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
