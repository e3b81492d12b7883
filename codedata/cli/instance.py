"""The Dagster instance of the command line: below the root, and shared by all who may write there.

Dagster keeps it in SQLite, which gives its files to their maker alone (0644) whatever the umask
says. Here they get what the umask says. Who may not write them must not even open them: what SQLite
then leaves beside a file locks its owner out, too. They get an instance of their own.
"""

import functools
import os
import stat
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from codedata.errors import SettingsError
from codedata.layout import ROOT_VARIABLE, Layout
from codedata.places import local_path
from codedata.progress import Reporter
from codedata.store.files import replace_atomically
from codedata.store.owners import close_to_strangers, explained_at, is_closed, whose

if TYPE_CHECKING:
    import dagster as dg

INSTANCE_YAML = """\
# A Dagster instance for one machine: https://docs.dagster.io/deployment/oss/dagster-yaml
# Put it as dagster.yaml into the folder that DAGSTER_HOME names; `codedata materialize` does so.

# A launched run starts within a second; `dagster dev` has the daemon that starts it.
run_coordinator:
  module: dagster.core.run_coordinator
  class: QueuedRunCoordinator
  config:
    dequeue_interval_seconds: 1

telemetry:
  enabled: false

# No dialogue at the first visit of the UI.
nux:
  enabled: false
"""

_BATCH_EVENTS = 1_000
"""Some megabytes."""

_SHARED = ("history/runs.db", "history/runs/index.db", "schedules/schedules.db")
"""What every run writes, as Dagster names it; a run's own events lie beside the second."""


def prepare_dagster_home(reporter: Reporter) -> Path:
    """Set DAGSTER_HOME to a folder below the root, unless it is set, and make it an instance.

    Args:
        reporter: told where the one below the root is another's, and this user gets their own.

    Raises:
        SettingsError: it cannot be made, or is named and may not be written.
    """
    named = os.environ.get("DAGSTER_HOME")
    layout = Layout.from_environment()
    home = local_path(named, "DAGSTER_HOME").absolute() if named else layout.dagster_home
    closed = next(filter(is_closed, _written_by_every_run(home, named=bool(named))), None)
    if closed is not None and named:
        cannot = explained_at(f"the Dagster instance of {home} cannot be written", closed)
        raise SettingsError(f"{cannot}; or set DAGSTER_HOME to a folder of your own")
    if closed is not None:
        home = layout.own_dagster_home(os.geteuid())
    os.environ["DAGSTER_HOME"] = str(home)
    make_instance(home)
    if not named:
        _require_own(home, layout.history)
    if closed is not None:
        reporter.say(f"codedata: runs are recorded in {home}, since {whose(closed)}")
    return home


def make_instance(home: Path) -> None:
    """Make a folder a Dagster instance, unless it is one.

    Raises:
        SettingsError: it cannot be made.
    """
    os.umask(_umask() | stat.S_IWOTH)  # what Dagster makes is not for everybody to write
    try:
        home.mkdir(parents=True, exist_ok=True)
        if not (home / "dagster.yaml").exists():
            replace_atomically(home / "dagster.yaml", INSTANCE_YAML.encode())
    except OSError as error:
        cannot = explained_at(f"Dagster's folder {home} cannot be made: {error.strerror}", home)
        raise SettingsError(
            f"{cannot}; set DAGSTER_HOME, or {ROOT_VARIABLE} above it, to a folder that can be "
            "written"
        ) from error


def _require_own(home: Path, root: Path) -> None:
    """Refuse an instance that a stranger made: its dagster.yaml names code that runs."""
    for path in (home, home / "dagster.yaml"):
        if why := close_to_strangers(path, root):
            raise SettingsError(
                f"the Dagster instance {path} is not taken: {why}, and it names code that would "
                "run; run as its owner, have it given to you (chown -R), or set DAGSTER_HOME to a "
                "folder of your own"
            )


def _written_by_every_run(home: Path, *, named: bool) -> Iterator[Path]:
    """The files and folders of an instance; a named one may have its storage elsewhere."""
    if not named:
        yield home
    for path in (home / each for each in _SHARED):
        yield path.parent
        yield from (path.with_name(f"{path.name}{end}") for end in ("", "-wal", "-shm"))


@contextmanager
def open_instance(home: Path) -> Iterator["dg.DagsterInstance"]:
    """The Dagster instance of a folder; its files get the mode that the umask says.

    Raises:
        SettingsError: its dagster.yaml does not fit, or what it names is not reached.
    """
    import dagster as dg

    if home.parent == Layout.from_environment().history:
        _require_own(home, home.parent)  # once more: imports took seconds

    # Steps' output belongs in this terminal: Dagster's processes that copy it into the instance
    # would each print a traceback at Ctrl-C.
    no_copies = {
        "module": "dagster.core.storage.noop_compute_log_manager",
        "class": "NoOpComputeLogManager",
    }
    try:
        overrides = {"compute_logs": no_copies, **_batches(home)}
        opened = dg.DagsterInstance.local_temp(str(home), overrides=overrides)
    except Exception as error:
        raise SettingsError(
            f"the Dagster instance of {home} cannot be opened: {type(error).__name__}: "
            f"{' '.join(str(error).split())}; correct its dagster.yaml, or unset DAGSTER_HOME"
        ) from error
    with opened as instance:
        _share(home)
        try:
            yield instance
        finally:
            _share(home)


def _batches(home: Path) -> dict[str, Any]:
    """What has Dagster store events in batches, in its own SQLite files or on Postgres."""
    import yaml  # loaded by Dagster

    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(_BATCH_EVENTS))
    config: Any = yaml.safe_load((home / "dagster.yaml").read_bytes())
    of_user = [key for key in config or () if "storage" in str(key)]
    if of_user == ["storage"] and [*(config["storage"] or ())] == ["postgres"]:
        storage = {
            "module": "codedata.cli.postgres_batches",
            "class": "BatchedPostgres",
            "config": config["storage"]["postgres"],
        }
        return {"storage": {"custom": storage}}
    if of_user:
        return {}
    log = {
        "module": "codedata.cli.event_batches",
        "class": "BatchedEventLog",
        "config": {"base_dir": str(home / "history" / "runs")},
    }
    return {"event_log_storage": log}


def materialized_versions(keys: Sequence["dg.AssetKey"]) -> Mapping["dg.AssetKey", str | None]:
    """With which code version assets were last made, as far as there is an instance that tells.

    Nothing is made where none is, and one that this user may not write is not opened.
    """
    named, layout = os.environ.get("DAGSTER_HOME"), Layout.from_environment()
    own = layout.own_dagster_home(os.geteuid())
    homes = [local_path(named, "DAGSTER_HOME")] if named else [own, layout.dagster_home]
    home = next((each for each in homes if (each / "dagster.yaml").exists()), None)
    if not keys or home is None:
        return {}
    if any(map(is_closed, _written_by_every_run(home, named=bool(named)))):
        return {}
    with open_instance(home.absolute()) as instance:
        return instance.get_latest_materialization_code_versions(keys)


def _share(home: Path) -> None:
    """Let whom the umask does not exclude write this user's SQLite files, where they may read."""
    wanted = stat.S_IWGRP & ~_umask()
    if not wanted:
        return
    for path in (path for each in ("history", "schedules") for path in (home / each).rglob("*.db")):
        with suppress(FileNotFoundError):  # a run that was deleted just now
            status = path.stat()
            mode = stat.S_IMODE(status.st_mode)
            shared = mode | (wanted & mode >> 1)
            if shared != mode and status.st_uid == os.geteuid():
                path.chmod(shared)


@functools.cache
def _umask() -> int:
    """The process's, asked once and early: it is read by setting it, which other threads notice."""
    umask = os.umask(0o077)
    os.umask(umask)
    return umask
