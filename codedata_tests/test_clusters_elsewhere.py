"""Dask over TLS, on Kubernetes, under Slurm: what of it one machine can run is run."""

import os
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import yaml

from codedata.store.dataset_folder import open_dataset
from codedata_tests.howto_pages import PAGES, ROOT, do_page
from codedata_tests.services import free_port, process, waited_for
from codedata_tests.test_deploy import SERVICES

BIN = Path(sys.executable).parent
OBJECTS: list[dict[str, Any]] = list(
    yaml.safe_load_all((ROOT / "deploy" / "kubernetes.yaml").read_text(encoding="utf-8"))
)
PODS = {
    each["metadata"]["name"]: each["spec"]["template"]
    for each in OBJECTS
    if each["kind"] != "Service"
    if "template" in each["spec"]
}


def test_the_pods_run_what_the_compose_file_runs() -> None:
    assert list(PODS) == ["dask-scheduler", "dask-worker", "train"]
    scheduler, worker, run = (pod["spec"]["containers"][0] for pod in PODS.values())
    assert scheduler["command"] == SERVICES["scheduler"]["command"]
    limits = {each["name"]: each["value"] for each in scheduler["env"]}
    assert limits == SERVICES["scheduler"]["environment"]
    assert worker["command"][:2] == SERVICES["worker"]["command"][:2]
    address = next(e["value"] for e in run["env"] if e["name"] == "CODEDATA_DASK_ADDRESS")
    assert worker["command"][2] == address
    assert (
        address
        == f"tcp://{OBJECTS[0]['metadata']['name']}:{OBJECTS[0]['spec']['ports'][0]['port']}"
    )
    workers, memory = worker["args"][1], worker["args"][-1].removesuffix("GiB")
    assert worker["resources"]["requests"] == {
        "cpu": workers,
        "memory": f"{int(workers) * int(memory)}Gi",
    }


def test_pods_are_nobody_special_and_only_they_reach_each_other() -> None:
    for pod in PODS.values():
        assert pod["metadata"]["labels"]["cluster"] == "codedata"
        assert pod["spec"]["securityContext"]["runAsNonRoot"] is True
        [container] = pod["spec"]["containers"]
        assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
        assert container["securityContext"]["allowPrivilegeEscalation"] is False
    [policy] = [each["spec"] for each in OBJECTS if each["kind"] == "NetworkPolicy"]
    [who] = policy["ingress"][0]["from"]
    assert who["podSelector"] == policy["podSelector"]
    dockerfile = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
    uid = PODS["train"]["spec"]["securityContext"]["runAsUser"]
    assert f"useradd --uid {uid} " in dockerfile


ASK = """
import sys
from codedata.progress import SILENT
from codedata.run import cluster
from codedata.run.placement import cluster_of
place = cluster_of(None, sys.argv[1])
cluster._ANSWER_SECONDS = 2 if sys.argv[2:] else 300
with cluster.dask_workers(place, num_workers=1, folder=None, reporter=SILENT) as workers:
    print("made", workers.submit(abs, -1024).result(timeout=300))
"""


@pytest.mark.campaign
def test_by_the_page_on_tls_work_is_done_for_who_has_the_key_and_refused_to_who_has_not(
    tmp_path: Path,
) -> None:
    own = {name: value for name, value in os.environ.items() if not name.startswith("DASK_")}
    do_page("dask-tls.md", tmp_path, own)
    assert (tmp_path / "dask/dask.key").stat().st_mode & 0o077 == 0
    with_key = {**own, "DASK_CONFIG": str(tmp_path / "dask")}
    scheduler = [str(BIN / "dask"), "scheduler", "--protocol", "tls", "--host", "127.0.0.1"]
    worker = [str(BIN / "dask"), "worker", "--nworkers", "1", "--nthreads", "1", "--no-dashboard"]
    with ExitStack() as processes:
        log = processes.enter_context(
            process([*scheduler, "--port", "0", "--no-dashboard"], tmp_path, with_key)
        )
        address = waited_for(log, r"Scheduler at:\s+(tls://127\.0\.0\.1:\d+)")
        processes.enter_context(process([*worker, address], tmp_path, with_key))
        ask = [sys.executable, "-c", ASK, address]
        done = subprocess.run(
            ask, cwd=tmp_path, env=with_key, capture_output=True, text=True, check=False
        )
        assert done.stdout == "made 1024\n", done.stderr
        for wrong in (address, address.replace("tls", "tcp")):
            done = subprocess.run(
                [*ask[:-1], wrong, "soon"],
                cwd=tmp_path,
                env=own,
                capture_output=True,
                text=True,
                check=False,
            )
            assert f"SettingsError: no Dask scheduler answers at {wrong} " in done.stderr
            assert not done.stdout


@pytest.mark.long
@pytest.mark.timeout(1200)
def test_the_script_for_slurm_makes_a_split_with_a_stand_in_for_srun(tmp_path: Path) -> None:
    """`srun` starts here what it would on each node; all of it ends with the script."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name, script in (("srun", 'exec "$@"'), ("hostname", "echo 127.0.0.1")):
        (programs / name).write_text(f"#!/bin/sh\n{script}\n", encoding="utf-8")
        (programs / name).chmod(0o755)
    foreign = ("CODEDATA_", "DAGSTER_", "DASK_")
    own = {name: value for name, value in os.environ.items() if not name.startswith(foreign)}
    own |= {"PATH": f"{programs}:{own['PATH']}", "PYTHONPATH": str(ROOT), "CODEDATA_BIN": str(BIN)}
    own |= {"SLURM_CPUS_PER_TASK": "2", "DASK_PORT": str(free_port())}
    own |= {"CODEDATA_DEMO_TRAIN_CHARS_TO_TOKENIZE": "2000000"}
    script = ["bash", str(ROOT / "deploy" / "slurm.sh"), "demo_train"]
    done = subprocess.run(
        script,
        cwd=tmp_path,
        env=own,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    assert "one is given up after 30s without a sign of life" in done.stdout
    assert open_dataset(tmp_path / "data/datasets/demo_train", verify=True).num_samples > 100
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", int(own["DASK_PORT"])), timeout=5)


def test_pages_that_were_not_run_say_so() -> None:
    for name in ("kubernetes.md", "slurm.md"):
        assert "\n> Not run " in (PAGES / name).read_text(encoding="utf-8")
