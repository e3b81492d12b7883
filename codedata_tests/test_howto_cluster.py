"""docs/howto/cluster.md, done: a bucket of moto's, a scheduler and workers on loopback."""

import os
import shlex
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import dropwhile
from pathlib import Path

import pytest

from codedata_tests.howto_pages import blocks_of, do_page, make_clone
from codedata_tests.object_roots import fresh_bucket
from codedata_tests.services import process, waited_for

pytestmark = pytest.mark.campaign

PAGE = "cluster.md"
BIN = Path(sys.executable).parent
SCHEDULER = "tcp://scheduler:8786"


@pytest.fixture
def my_bucket(s3_server: str) -> Iterator[None]:
    """The page's bucket, and who may use it."""
    with fresh_bucket(s3_server):
        request = urllib.request.Request(f"{s3_server}/my-bucket", method="PUT")
        urllib.request.urlopen(request, timeout=10).close()
        yield


def command_of_page(program: str, *here: tuple[str, str]) -> list[str]:
    """A command of Dask on the page, on loopback and with other values of some switches."""
    lines = [line for b in blocks_of(PAGE) if b.language == "sh" for line in b.text.splitlines()]
    [line] = [line for line in lines if f"/dask {program} " in line]
    words = list(dropwhile(lambda word: "/bin/dask" not in word, shlex.split(line)))
    for name, value in here:
        words[words.index(name) + 1] = value
    return [str(BIN / "dask"), *words[1:], "--host", "127.0.0.1"]


@pytest.mark.timeout(900)  # a dozen commands, each of which imports Dagster
def test_datasets_are_made_in_a_bucket_and_on_a_cluster_as_the_page_says(
    my_bucket: None, tmp_path: Path
) -> None:
    clone = make_clone(tmp_path / "clone")
    ours = ("CODEDATA_", "DAGSTER_", "DASK_", "VIRTUAL_ENV")
    own = {name: value for name, value in os.environ.items() if not name.startswith(ours)}
    own["XDG_CACHE_HOME"] = str(tmp_path / "cache")
    own |= {
        f"CODEDATA_DEMO_{split}_CHARS_TO_TOKENIZE": "2000000" for split in ("TRAIN", "VALIDATION")
    }
    own["CODEDATA_DEMO_TRAIN_CHUNK_SIZE"] = "500000"
    [limits] = [b.text for b in blocks_of(PAGE) if b.title == "dask/limits.yaml"]
    (tmp_path / "dask").mkdir()
    (tmp_path / "dask" / "limits.yaml").write_text(limits, encoding="utf-8")
    with ExitStack() as services:
        scheduler = services.enter_context(
            process(
                [
                    *command_of_page("scheduler", ("--port", "0")),
                    "--dashboard-address",
                    "127.0.0.1:0",
                ],
                tmp_path,
                {**own, "DASK_CONFIG": str(tmp_path / "dask")},
            )
        )
        address = waited_for(scheduler, r"Scheduler at:\s+(tcp://127\.0\.0\.1:\d+)")
        worker = command_of_page("worker", ("worker", address), ("--nworkers", "1"))
        for name in ("one", "other"):
            folder = tmp_path / name
            folder.mkdir()
            shared_by_nobody = {"HOME": str(folder), "XDG_CACHE_HOME": str(folder / "cache")}
            services.enter_context(process(worker, folder, {**own, **shared_by_nobody}))
        printed = do_page(PAGE, clone, own, here={SCHEDULER: address})
    on_cluster = next(each for each in printed if address in each)
    assert "has 2 workers with 2 threads; one is given up after 30s" in on_cluster
    here = [each.name for each in (clone / "mine/data").iterdir()]
    assert here == [".dagster"], "nothing but the history of runs is on the machine"
