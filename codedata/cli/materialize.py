"""`codedata materialize`: the jobs of splits and mixtures, one after the other, in this process."""

import argparse
import logging
import platform
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

from codedata.cli.code_location import (
    CodeLocation,
    add_module_option,
    find_code_location,
)
from codedata.cli.commands import Commands
from codedata.cli.corpus_files import load_with_files
from codedata.cli.dataset_names import spaced, summary
from codedata.cli.dry_run import DryRun
from codedata.cli.instance import open_instance, prepare_dagster_home
from codedata.cli.mixtures import mixtures_of, say_dry_run, say_mixture
from codedata.errors import CodedataError, SettingsError
from codedata.layout import Layout
from codedata.parallel import available_cores
from codedata.printable import did_you_mean, say
from codedata.progress import SHOW_BARS, TERMINAL, Verbosity
from codedata.recipe.settings import ALL
from codedata.store.copies import place_of, published
from codedata.store.locks import NO_LOCK_HELP
from codedata.store.owners import explained_at

SPLIT = "SPLIT"
"""What usages call the argument."""


def add_parser(commands: Commands) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "materialize",
        help="make the datasets of splits, and mixtures of them",
        description="Run the job of each split or mixture in turn, and publish its dataset if "
        "every check passes. What an earlier run finished is kept.",
    )
    parser.add_argument("splits", nargs="+", metavar=SPLIT, help="name of a split or a mixture")
    parser.add_argument(
        "--force", action="store_true", help="tokenize again what is stored and right"
    )
    parser.add_argument(
        "--update",
        action="store_true",
        help="take the newest commit of branches and tags, not the one kept here",
    )
    parser.add_argument(
        "--dry-run",
        action="store_true",
        help="say what would be fetched, written and tokenized, and how long that takes",
    )
    parser.add_argument("--no-lock", action="store_true", help=NO_LOCK_HELP)
    add_module_option(parser, default=argparse.SUPPRESS)
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> int:
    """Make the datasets of splits, and say what they are.

    Raises:
        CodedataError: one cannot be made.
    """
    started = time.monotonic()
    layout = Layout.from_environment()
    location = find_code_location(options.module, Path.cwd())
    if location.is_above:
        TERMINAL.say(f"codedata: {location.module} of {location.folder}, below {layout.shown}")
    home = None if options.dry_run else prepare_dagster_home(TERMINAL)
    defs = load_with_files(location, layout, options.splits, refresh=options.update)
    jobs = {job.name: job for job in defs.resolve_all_job_defs()}
    _require_splits(jobs, options.splits, location)
    mixtures = mixtures_of(defs)
    if home is None:
        splits = [name for name in options.splits if name not in mixtures]
        dry_run = DryRun(defs, splits, force=options.force)
        for split in options.splits:
            with _about(split):
                if split in mixtures:
                    say_dry_run(layout, split, mixtures[split])
                else:
                    dry_run.say(split)
        return 0
    # What they have imported by now; the other commands do not need it.
    import dagster as dg

    from codedata.components.default_pad import require_fitting_tokens

    for split in options.splits:
        with _about(split):
            require_fitting_tokens(jobs[split].tags, layout, TERMINAL, update=options.update)
    SHOW_BARS.set(True)
    # Ctrl-C may come while a connection is closed, which its pool would log with a traceback.
    logging.getLogger("sqlalchemy.pool").setLevel(logging.CRITICAL)
    with TERMINAL.waiting(f"making {', '.join(options.splits)}"), open_instance(home) as instance:
        for split in options.splits:
            for job, tags in runs_of(jobs, split):
                config = _run_config(job, options)
                try:
                    with _about(split):
                        job.execute_in_process(instance=instance, run_config=config, tags=tags)
                except dg.DagsterExecutionInterruptedError as error:  # Ctrl-C
                    raise KeyboardInterrupt from error
            if split in mixtures:
                say_mixture(layout, split)
            else:
                _say_split(layout, split)
            sys.stdout.flush()  # the next one may take hours
    TERMINAL.say(
        f"codedata: done in {time.monotonic() - started:.1f} s; codedata {version('codedata')}, "
        f"tokenizers {version('tokenizers')}, Python {platform.python_version()}, "
        f"{platform.system()} {platform.machine()}, {available_cores()} cores"
    )
    return 0


def _say_split(layout: Layout, split: str) -> None:
    say(f"{place_of(layout, split)}: {summary(published(layout, split))}")
    if (page := layout.report(split)).exists():
        where = page if layout.url is None else f"{layout.url}/reports/{page.name}"
        say(f"{where}: what it is made of")


@contextmanager
def _about(split: str) -> Iterator[None]:
    """Name the split in what fails."""
    import dagster as dg

    try:
        yield
    except BrokenPipeError:  # whoever reads the output has seen enough
        raise
    except PermissionError as error:
        said = explained_at(str(error), Path(error.filename)) if error.filename else str(error)
        raise CodedataError(f"split {split!r}: {said}") from error
    except (CodedataError, OSError, dg.Failure) as error:
        raise CodedataError(f"split {split!r}: {error}") from error


def _require_splits(jobs: dict[str, Any], names: Sequence[str], location: CodeLocation) -> None:
    from codedata.components.mixture import MIXTURE_TAG
    from codedata.components.split_spec import SPLIT_TAG

    splits = sorted(name for name, job in jobs.items() if {SPLIT_TAG, MIXTURE_TAG} & {*job.tags})
    unknown = next((name for name in names if name not in splits), None)
    if unknown is None:
        return
    known = ", ".join(splits) or "none"
    meant = spaced(unknown) or did_you_mean(unknown, splits)
    raise SettingsError(
        f"there is no split {unknown!r}; there are {known} in {location.module}"
        + (f"; {meant}" if meant else "")
    )


def runs_of(jobs: dict[str, Any], split: str) -> Iterator[tuple[Any, dict[str, str]]]:
    """The jobs to run for a split, each with its tags: the files of its corpora, then its own."""
    from codedata.components.raw_corpus import file_key
    from codedata.components.split_spec import FILES_TAG

    for of_corpus in filter(None, jobs[split].tags.get(FILES_TAG, "").split(";")):
        files_job, *ranges = of_corpus.split()
        if ranges == [ALL]:  # Dagster stores an event for each partition that a run names
            yield jobs[files_job], {}
            continue
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
    log_level = "INFO" if options.verbosity is Verbosity.VERBOSE else "CRITICAL"
    return {"ops": ops, "loggers": {"console": {"config": {"log_level": log_level}}}}
