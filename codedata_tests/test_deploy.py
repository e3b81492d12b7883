"""deploy/: the files say what the how-to says of them, and Docker's own reading accepts them."""

import os
import re
import shutil
import subprocess
import tomllib
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
import yaml

from codedata import definitions
from codedata.store.cache import CACHE_VARIABLE
from codedata_tests.howto_pages import PAGES, ROOT, blocks_of

DEPLOY = ROOT / "deploy"
COMPOSE: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text(encoding="utf-8"))
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
OURS = {name: each for name, each in SERVICES.items() if "build" in each}
SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "DAGSTER_PG_PASSWORD")


def docker_compose() -> list[str] | None:
    """The command that reads compose files, from version 2 on."""
    for command in (["docker", "compose"], ["docker-compose"]):
        if shutil.which(command[0]) is None:
            continue
        done = subprocess.run(
            [*command, "version", "--short"], capture_output=True, text=True, check=False
        )
        if done.returncode == 0 and not done.stdout.startswith("1."):
            return command
    return None


def test_docker_compose_accepts_the_file_once_what_it_asks_for_is_set(tmp_path: Path) -> None:
    command = docker_compose()
    if command is None:
        pytest.skip("no docker compose")
    config = [*command, "-f", str(DEPLOY / "compose.yaml")]
    environment = {name: value for name, value in os.environ.items() if name not in SECRETS}
    for missing in (None, *SECRETS):
        given = [f"{name}=x" for name in SECRETS if name != missing]
        (tmp_path / "env").write_text("\n".join(given), encoding="utf-8")
        done = subprocess.run(
            [*config, "--env-file", str(tmp_path / "env"), "config", "--quiet"],
            env=environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert (done.returncode == 0) == (missing is None), done.stderr
        assert missing is None or f"{missing} is missing a value: set it in deploy" in done.stderr


def test_the_example_of_the_environment_asks_for_what_the_file_requires() -> None:
    text = (DEPLOY / "compose.yaml").read_text(encoding="utf-8")
    example = (DEPLOY / "env.example").read_text(encoding="utf-8")
    assert set(re.findall(r"\$\{(\w+):\?", text)) == set(SECRETS)
    assert re.findall(r"^(\w+)=$", example, re.MULTILINE) == list(SECRETS)
    optional = set(re.findall(r"^# (\w+)=", example, re.MULTILINE))
    assert optional <= set(re.findall(r"\$\{(\w+):-", text))


def test_nothing_is_published_beyond_loopback_and_our_services_have_no_rights_to_spare() -> None:
    assert set(OURS) == {"webserver", "daemon", "scheduler", "worker", "bucket"}
    ports = [port for each in SERVICES.values() for port in each.get("ports", ())]
    assert len(ports) == 2
    assert all(port.startswith("127.0.0.1:") for port in ports)
    for each in OURS.values():
        assert each["cap_drop"] == ["ALL"]
        assert each["security_opt"] == ["no-new-privileges:true"]
    for name, each in SERVICES.items():
        assert name in OURS or re.fullmatch(r"[\w/]+:\d[\w.-]+", each["image"]), "pinned"
    assert "DAGSTER_PG_PASSWORD" not in SERVICES["worker"]["environment"]


def test_the_scheduler_gets_the_two_limits() -> None:
    given = SERVICES["scheduler"]["environment"]
    assert given == {
        "DASK_DISTRIBUTED__SCHEDULER__WORKER_TTL": "30s",
        "DASK_DISTRIBUTED__SCHEDULER__ALLOWED_FAILURES": "3",
    }


def test_the_instance_is_that_of_the_page_on_a_shared_one() -> None:
    ours = yaml.safe_load((DEPLOY / "dagster.yaml").read_text(encoding="utf-8"))
    [page] = [b.text for b in blocks_of("shared-instance.md") if "dagster.yaml" in (b.title or "")]
    shared = yaml.safe_load(page)
    assert ours["storage"] == shared["storage"]
    asked = {
        each["env"] for each in ours["storage"]["postgres"]["postgres_db"].values() if "env" in each
    }
    assert asked <= SERVICES["daemon"]["environment"].keys()
    assert SERVICES["daemon"]["environment"] == SERVICES["webserver"]["environment"]


def test_the_image_has_what_it_copies_and_the_extras_that_there_are() -> None:
    text = (DEPLOY / "Dockerfile").read_text(encoding="utf-8")
    lines = (DEPLOY / "Dockerfile.dockerignore").read_text(encoding="utf-8").splitlines()
    let_in = [line[1:] for line in lines if line.startswith("!")]
    copied = [
        source
        for line in re.findall(r"^COPY (?!--from)(.+) \S+$", text, re.MULTILINE)
        for source in line.split()
        if not source.startswith("--")
    ]
    assert sorted(copied) == sorted(let_in)
    assert all((ROOT / source).exists() for source in copied)
    [extras] = re.findall(r"'\.\[([\w,]+)\]'", text)
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    assert set(extras.split(",")) <= project["project"]["optional-dependencies"].keys()
    pins = (ROOT / "constraints.txt").read_text(encoding="utf-8")
    for package in ("distributed", "s3fs", "dagster-postgres", "psycopg2-binary"):
        assert re.search(rf"^{package}==", pins, re.MULTILINE)
    bases = re.findall(r"^FROM (\S+)", text, re.MULTILINE)
    assert len(set(bases)) == 1
    assert fnmatch(bases[0], "python:3.*-slim-*")
    assert re.findall(r"^USER (\w+)$", text, re.MULTILINE) == ["codedata"]
    [home] = re.findall(r"DAGSTER_HOME=(\S+)", text)
    assert f"install -d -o codedata -g codedata {home}\n" in text, "Dagster writes there"


def test_the_cache_of_a_pod_is_bounded_below_the_volume_that_it_is_in() -> None:
    text = (DEPLOY / "kubernetes.yaml").read_text(encoding="utf-8")
    specs = [each["spec"] for each in yaml.safe_load_all(text)]
    pods = [each["template"]["spec"] for each in specs if "template" in each]
    bounded = [pod for pod in pods if "volumes" in pod]
    assert len(bounded) == 2, "the workers' and the run's"
    for pod in bounded:
        [volume], [container] = pod["volumes"], pod["containers"]
        env = {each["name"]: each["value"] for each in container["env"]}
        [mount] = container["volumeMounts"]
        assert mount == {"name": volume["name"], "mountPath": env["XDG_CACHE_HOME"]}
        limit = re.fullmatch(r"(\d+)Gi", volume["emptyDir"]["sizeLimit"])
        assert limit is not None
        assert int(env[CACHE_VARIABLE]) < 0.8 * int(limit[1]) * 2**30
    assert not any("tmpfs" in each for each in SERVICES.values()), "compose bounds no volume"
    assert not any(each for each in COMPOSE["volumes"].values())


def test_the_launchpad_takes_what_the_page_on_clusters_gives_it() -> None:
    page = (PAGES / "cluster.md").read_text(encoding="utf-8")
    [config] = re.findall(r"`(resources: \{chunk_executor: .*\})`", page)
    job = definitions.defs.resolve_job_def("demo_train")
    found = dg.validate_run_config(job, yaml.safe_load(config))["resources"]["chunk_executor"]
    assert found["config"]["kind"] == "dask"
    with pytest.raises(dg.DagsterInvalidConfigError):
        dg.validate_run_config(job, yaml.safe_load(config.replace("kind", "sort")))
