"""Machines of a team: folders of their own, that share an instance on Postgres and a bucket alone.

A run is started on the next of them as Docker's and Kubernetes' launchers start one in a container:
`dagster api execute_run`, with what the code location says of the job.
"""

import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import dagster as dg
from dagster._core.launcher import LaunchRunContext, RunLauncher
from dagster._grpc.types import ExecuteRunArgs
from dagster._serdes import ConfigurableClass, ConfigurableClassData

RAN_ON = "codedata_tests/machine"
"""The tag of a run that names its machine."""


@dataclass(frozen=True)
class Machine:
    """A folder that stands for the disk of one; another's is none of its business."""

    folder: Path

    def environment(self, shared: Mapping[str, str]) -> dict[str, str]:
        """What a process here finds: nothing of the user's, and no folder of another machine."""
        own = {name: str(self.folder / name.lower()) for name in ("HOME", "TMPDIR", "DAGSTER_HOME")}
        for path in own.values():
            Path(path).mkdir(exist_ok=True)
        cache = str(self.folder / "cache")
        programs = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        return {**shared, "PATH": programs, **own, "XDG_CACHE_HOME": cache}


class NextMachine(RunLauncher[Any], ConfigurableClass):
    """Starts each run on the next machine, whose folder has the code where this one's has it."""

    def __init__(
        self, here: str, folders: Sequence[str], inst_data: ConfigurableClassData | None = None
    ) -> None:
        self._here = here
        self._machines = [Machine(Path(folder)) for folder in folders]
        self._started: list[subprocess.Popen[bytes]] = []
        self._inst_data = inst_data
        super().__init__()

    @property
    def inst_data(self) -> ConfigurableClassData | None:
        return self._inst_data

    @classmethod
    def config_type(cls) -> Any:
        return {"here": str, "folders": [str]}

    @classmethod
    def from_config_value(
        cls, inst_data: ConfigurableClassData | None, config_value: Mapping[str, Any]
    ) -> Self:
        return cls(inst_data=inst_data, **config_value)

    def launch_run(self, context: LaunchRunContext) -> None:
        machine = self._machines[len(self._started) % len(self._machines)]
        origin, run_id = context.job_code_origin, context.dagster_run.run_id
        assert origin is not None
        arguments = ExecuteRunArgs(origin, run_id, instance_ref=None).get_command_args()
        self._instance.add_run_tags(run_id, {RAN_ON: machine.folder.name})
        own = {"HOME", "TMPDIR", "DAGSTER_HOME", "XDG_CACHE_HOME", "PWD", "OLDPWD"}
        shared = {name: value for name, value in os.environ.items() if name not in own}
        with (machine.folder / f"{run_id}.log").open("wb") as log:
            started = subprocess.Popen(
                [each.replace(self._here, str(machine.folder)) for each in arguments],
                cwd=machine.folder,
                env=machine.environment(shared),
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._started.append(started)

    def terminate(self, run_id: str) -> bool:
        raise dg.DagsterInvariantViolationError(f"run {run_id} is not to be ended")
