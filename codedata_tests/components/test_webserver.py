"""`dagster dev` for real over the demo: its webserver launches the job and tells the results."""

import json
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from codedata_tests.components.dagster_dev import dagster_dev
from codedata_tests.demo import Demo

pytestmark = pytest.mark.campaign

LAUNCH = """
mutation($selector: JobOrPipelineSelector!, $tags: [ExecutionTag!]) {
  launchRun(executionParams: {
    selector: $selector, mode: "default", runConfigData: {}, executionMetadata: {tags: $tags}
  }) {
    __typename
    ... on LaunchRunSuccess { run { runId } }
    ... on PythonError { message }
    ... on RunConfigValidationInvalid { errors { message } }
  }
}"""
STATUS = """
query($runId: ID!) {
  runOrError(runId: $runId) { ... on Run {
    status
    assetMaterializations { assetKey { path } partition }
    eventConnection(limit: 1000) { events {
      ... on AssetCheckEvaluationEvent { evaluation { checkName success } }
    } }
  } }
}"""
LOCATION = """
{ workspaceOrError { ... on Workspace { locationEntries { name locationOrLoadError {
  __typename
  ... on PythonError { message }
  ... on RepositoryLocation { repositories { name jobs { name runTags { key value } } } }
} } } } }"""


class Webserver:
    """GraphQL over HTTP to a running webserver."""

    def __init__(self, port: int) -> None:
        self.port = port

    def query(self, query: str, **variables: Any) -> dict[str, Any]:
        request = urllib.request.Request(
            f"http://127.0.0.1:{self.port}/graphql",
            json.dumps({"query": query, "variables": variables}).encode(),
            {"Content-Type": "application/json"},
        )
        with urllib.request.urlopen(request, timeout=300) as response:
            answer = json.load(response)
        assert "errors" not in answer, answer
        return answer["data"]


@pytest.fixture(scope="module")
def webserver(demo: Demo) -> Iterator[Webserver]:
    with dagster_dev(demo.environment) as port:
        yield Webserver(port)


def listening_addresses(port: int) -> set[str]:
    """Local addresses, as /proc/net has them, of sockets that listen on a port."""
    found: set[str] = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        if Path(table).exists():
            lines = Path(table).read_text(encoding="ascii").splitlines()[1:]
            fields = (line.split() for line in lines)
            found |= {f[1].split(":")[0] for f in fields if f[3] == "0A"
                      and int(f[1].split(":")[1], 16) == port}  # fmt: skip
    return found


@pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="needs Linux's /proc/net")
def test_the_webserver_listens_on_loopback_only(webserver: Webserver) -> None:
    assert listening_addresses(webserver.port) == {"0100007F"}


def test_the_demo_s_job_launched_over_graphql_materializes_and_checks_everything(
    webserver: Webserver, demo: Demo
) -> None:
    [entry] = webserver.query(LOCATION)["workspaceOrError"]["locationEntries"]
    assert entry["name"] == "codedata"
    [repository] = entry["locationOrLoadError"]["repositories"]
    [job] = [job for job in repository["jobs"] if job["name"] == "demo_train"]
    selector = {
        "repositoryLocationName": "codedata",
        "repositoryName": repository["name"],
        "jobName": "demo_train",
    }
    launched = webserver.query(LAUNCH, selector=selector, tags=job["runTags"])["launchRun"]
    assert launched["__typename"] == "LaunchRunSuccess", launched
    deadline = time.monotonic() + 500
    while True:
        run = webserver.query(STATUS, runId=launched["run"]["runId"])["runOrError"]
        if run["status"] in ("SUCCESS", "FAILURE", "CANCELED"):
            break
        assert time.monotonic() < deadline, run["status"]
        time.sleep(0.5)
    assert run["status"] == "SUCCESS"
    materialized = [
        ("/".join(event["assetKey"]["path"]), event["partition"])
        for event in run["assetMaterializations"]
    ]
    chunks = [partition for key, partition in materialized if key == "demo_train/token_chunks"]
    assert len(chunks) == len(set(chunks)) == 8
    assert {key for key, _ in materialized} == {
        "demo_corpus/raw_parquet", "demo_tokenizer", "demo_train/token_chunks",
        "demo_train/pickle_shards", "demo_train/meta_json", "demo_train/dataset",
        "demo_train/token_figures", "demo_train/report",
    }  # fmt: skip
    events = run["eventConnection"]["events"]
    checks = [event["evaluation"] for event in events if event]
    assert all(check["success"] for check in checks)
    assert len(checks) == 11, "each check once, over all chunks"
    assert {check["checkName"] for check in checks} == {
        "held_out", "tokenizer_fidelity", "matches_library", "token_ids", "integrity",
        "sample_counts", "sequence_lengths", "known_counts", "shared_documents",
        "matches_transformers",
    }  # fmt: skip
