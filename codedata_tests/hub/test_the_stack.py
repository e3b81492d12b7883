"""What ships, as a user with an account has it: two commands against a loopback Stack."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from codedata.layout import Layout
from codedata.sources.record import read_corpus
from codedata.store.dataset_folder import open_dataset
from codedata_tests.components.small_platform import environment_of_splits
from codedata_tests.hub.server import Hub

FILE = "data/c/train-00000-of-00257.parquet"


@pytest.fixture
def stack(hub: Hub, corpus: Path, tokenizer_folder: Path) -> Hub:
    """The Stack, gated, the tokenizer, and the token of somebody who was let in."""
    hub.add_repo("bigcode/the-stack", {FILE: corpus.read_bytes()}).gated = True
    tokenizer = {path.name: path.read_bytes() for path in tokenizer_folder.iterdir()}
    hub.add_repo("deepseek-ai/deepseek-coder-33b-base", tokenizer, kind="model")
    hub.tokens["hf_me"] = {"bigcode/the-stack"}
    return hub


def run(environment: dict[str, str], *command: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.campaign
def test_train_and_validation_from_the_hub_are_those_of_the_local_file(
    stack: Hub, corpus: Path, tokenizer_folder: Path, tmp_path: Path
) -> None:
    (tmp_path / "local").mkdir()
    (tmp_path / "there").mkdir()
    local = environment_of_splits(corpus, tokenizer_folder, tmp_path / "local")
    there = environment_of_splits(corpus, tokenizer_folder, tmp_path / "there")
    del there["CODEDATA_CORPUS"], there["CODEDATA_TOKENIZER"]
    there |= stack.environment(tmp_path / "home")
    command = ("codedata", "materialize", "train", "validation")

    refused = run(there, *command)
    assert refused.returncode == 1
    assert f"accept them on {stack.address}/datasets/bigcode/the-stack; make a" in refused.stderr
    assert len(refused.stderr.splitlines()) == 2, "what it did, and what was wrong"
    assert stack.bytes_sent < 1000

    there["HF_TOKEN"] = "hf_me"
    stack.fail(blobs=True, status=503)
    done = run(there, *command)
    assert done.returncode == 0, done.stderr
    assert "the hub answers 503 Service Unavailable; trying again in 1 s" in done.stderr
    assert "Traceback" not in done.stderr

    assert run(local, *command).returncode == 0
    for split in ("train", "validation"):
        made, other = (
            open_dataset(Path(environment["CODEDATA_ROOT"], "datasets", split), verify=True)
            for environment in (there, local)
        )
        assert made.digest == other.digest
    record = read_corpus(Layout(Path(there["CODEDATA_ROOT"])).corpus("the_stack_c"))
    assert record.part is not None
    assert record.origin["commit"] == stack.repos["dataset", "bigcode/the-stack"].refs["main"]

    stack.clear()
    assert run(there, *command).returncode == 0
    assert not stack.requests, "what is here and right costs no request"
    freshness = ("dagster", "job", "execute", "-m", "codedata.definitions", "-j")
    assert run(there, *freshness, "the_stack_c_freshness").returncode == 0
    assert stack.requests
    assert "HF_TOKEN" not in os.environ
