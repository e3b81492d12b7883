"""Fixtures that every test may ask for."""

import importlib
import logging
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import huggingface_hub.constants
import pytest
from hypothesis import HealthCheck, settings
from xdist.remote import Producer
from xdist.scheduler import LoadFileScheduling

from codedata_tests import scenario
from codedata_tests.demo import DEMO_SPLITS, Demo
from codedata_tests.object_roots import bucket, gated, s3_gate, s3_server
from codedata_tests.said import Said
from codedata_tests.script_runs import OLD, PAD_ID, run_here

__all__ = ["bucket", "gated", "s3_gate", "s3_server"]  # fixtures, for every test

os.environ.setdefault("OMP_NUM_THREADS", "1")  # for torch, in whose tiny models threads only wait

settings.register_profile("unhurried", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("unhurried")  # on a busy machine any example may be slow

TOGETHER = {
    "demo": ["components/test_webserver", "test_demo", "test_docs", "test_examples"],
    "made": ["components/test_report_assets", "components/test_split_assets",
             "components/test_staleness"],
}  # fmt: skip
"""Modules whose tests take a fixture that is worth making once: they run in one worker."""

SCOPES = {
    f"codedata_tests/{module}.py": fixture
    for fixture, modules in TOGETHER.items()
    for module in modules
}


class ModulesTogether(LoadFileScheduling):
    """A module's tests run in one worker, and so do those of `TOGETHER`."""

    def _split_scope(self, nodeid: str) -> str:
        module = super()._split_scope(nodeid)
        return SCOPES.get(module, module)


def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> ModulesTogether:
    return ModulesTogether(config, log)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        for fixture in TOGETHER.keys() & {*getattr(item, "fixturenames", ())}:
            assert SCOPES.get(item.nodeid.partition("::")[0]) == fixture, item.nodeid


@pytest.fixture(scope="session", autouse=True)
def own_environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Sidecars and hub files go to a folder of this run, and no test reaches the network."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        patch.setenv("HF_HUB_OFFLINE", "1")
        # What the client reads once, and some test module may have imported already.
        importlib.reload(huggingface_hub.constants)
        yield


@pytest.fixture(scope="session", autouse=True)
def no_waiting_for_the_disk() -> Iterator[None]:
    """No test pulls the plug: what this process writes is not forced to the disk."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        yield


@pytest.fixture(scope="session", autouse=True)
def first_on_this_machine_or_not() -> None:
    """Whichever test is the one for which functions are compiled, its stderr is the same."""
    logging.getLogger("codedata.tokenize.engines.compiling").disabled = True


@pytest.fixture(scope="session")
def tokenizer_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tokenizer of deepseek-coder's structure, whose config asks for BOS; a model's type."""
    tokenizer = scenario.train_tokenizer(scenario.deepseek_like())
    folder = scenario.save_tokenizer(
        tokenizer,
        tmp_path_factory.mktemp("deepseek-like"),
        add_bos_token=True,
        bos_token=scenario.BOS,
    )
    (folder / "config.json").write_text('{"model_type": "llama"}', encoding="utf-8")
    return folder


@pytest.fixture(scope="session")
def documents() -> list[str]:
    """About 200 kB of C-like text."""
    return scenario.c_documents(60)


@pytest.fixture(scope="session")
def corpus(documents: list[str], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The documents as a parquet of several row groups."""
    return scenario.write_parquet(tmp_path_factory.mktemp("corpus") / "c.parquet", documents)


@pytest.fixture(scope="session")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Demo:
    """The demo's three splits, made by the command of the README in an empty root."""
    root = tmp_path_factory.mktemp("demo")
    environment = {name: value for name, value in os.environ.items() if name != "DAGSTER_HOME"}
    environment["CODEDATA_ROOT"] = str(root)
    command = [sys.executable, "-m", "codedata", "materialize", *DEMO_SPLITS]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    environment["DAGSTER_HOME"] = str(root / ".dagster")
    return Demo(root=root, environment=environment, stdout=done.stdout, stderr=done.stderr)


@pytest.fixture
def said() -> Said:
    """What the run of this test says."""
    return Said()


@pytest.fixture
def switches(corpus: Path, tokenizer_folder: Path, tmp_path: Path) -> list[str]:
    """Switches that all runs of the script share; the dataset is `tmp_path / "data" / "set"`."""
    return [
        *("--data_file", str(corpus), "--tokenization_folder", str(tmp_path / "data" / "set")),
        *("--tokenizer_base", str(tokenizer_folder), "--pad_token", str(PAD_ID)),
        *("--min_sample_length", "0"),
    ]


@pytest.fixture
def target(switches: list[str]) -> Path:
    """The dataset's folder with an old dataset in it, all that is in its parent."""
    folder = Path(switches[3])
    assert run_here([*switches, *OLD]) == 0
    assert os.listdir(folder.parent) == [folder.name]
    return folder
