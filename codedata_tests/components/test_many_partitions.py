"""A split of 10,000 files: its code location, and its pages in a browser, with all of it made."""

import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from codedata.cli.event_batches import BatchedEventLog
from codedata.cli.instance import make_instance, open_instance
from codedata_tests.cli.test_event_batches import materialized
from codedata_tests.components.test_browser import CHROMIUM, browser, page
from codedata_tests.howto_pages import ROOT
from codedata_tests.services import free_port

__all__ = ["browser", "page"]  # fixtures

BIN = Path(sys.executable).parent
NUM_FILES = 10_000
MOST_SECONDS = 5.0
BATCH = 1_000

pytestmark = [
    pytest.mark.long,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
    pytest.mark.timeout(1200),
]

YAMLS = {
    "c": """\
type: codedata.components.RawCorpus
attributes:
  name: c
  source: {kind: local, path: "/no/such/folder/{00000..09999}.parquet"}
""",
    "s": """\
type: codedata.components.DatasetSplit
attributes: {name: s, corpus: c, pad_token: 0}
""",
}


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The UI of a project whose one split has 10,000 files, each of which was made."""
    folder = tmp_path_factory.mktemp("many")
    shutil.copytree(ROOT / "codedata" / "cli" / "project", folder / "mine")
    shutil.rmtree(folder / "mine" / "defs", ignore_errors=True)
    for name, text in YAMLS.items():
        path = folder / "mine" / "defs" / name / "defs.yaml"
        path.parent.mkdir(parents=True)
        path.write_text(text, encoding="utf-8")
    (folder / "mine" / "__init__.py").touch()
    (folder / "mine" / "pyproject.toml").rename(folder / "pyproject.toml")
    project = (folder / "pyproject.toml").read_text(encoding="utf-8")
    (folder / "pyproject.toml").write_text(project.replace("my_project", "mine"), encoding="utf-8")
    home = folder / ".dagster"
    make_instance(home)
    with open_instance(home) as instance:
        log = instance.event_log_storage
        assert isinstance(log, BatchedEventLog)
        for first in range(0, NUM_FILES, BATCH):
            log.store_event_batch([materialized(first + each) for each in range(BATCH)])
    port = free_port()
    process = subprocess.Popen(
        [BIN / "dagster-webserver", "-m", "mine.definitions", "-p", str(port)],
        cwd=folder,
        env={**os.environ, "DAGSTER_HOME": str(home), "CODEDATA_ROOT": str(folder / "data")},
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + 300
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/server_info", timeout=5).close()
                break
            except OSError:
                time.sleep(0.2)
        yield f"http://127.0.0.1:{port}"
    finally:
        os.killpg(process.pid, signal.SIGINT)
        process.wait(300)


PAGES = {
    "lineage of the group": ("/locations/mine.definitions/asset-groups/s", "10,000 partitions"),
    "partitions": ("/assets/s/token_chunks?view=partitions", f"Materialized ({NUM_FILES})"),
    "partitions of the corpus": ("/assets/c/raw_parquet?view=partitions", "10,000 Partitions"),
    "asset": ("/assets/s/token_chunks", "Latest materialization"),
    "job": ("/locations/mine.definitions/jobs/s", "token_chunks"),
    "runs": ("/runs", "Launched by"),
}


@pytest.mark.parametrize(("path", "said"), PAGES.values(), ids=PAGES)
def test_a_page_of_ten_thousand_partitions_opens(
    path: str, said: str, address: str, page: Page, browser: Browser
) -> None:
    page.goto(f"{address}/overview")  # the UI's own program is loaded once
    page.wait_for_load_state("networkidle")
    started = time.monotonic()
    page.goto(address + path)
    expect(page.get_by_text(said).filter(visible=True).first).to_be_visible()
    seconds = time.monotonic() - started
    print(f"{path}: {seconds:.1f} s")
    assert seconds < MOST_SECONDS
