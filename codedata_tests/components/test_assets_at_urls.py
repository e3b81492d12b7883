"""The last assets of a split whose root is in an object store: its dataset, and its page."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from codedata.components.report_assets import report_assets
from codedata.reporting import published
from codedata.resources import DataRoot, Datasets
from codedata.store.copies import facts_at
from codedata.store.object_store import ObjectStore
from codedata.store.versions import DatasetLog
from codedata_tests.components.small_platform import SmallPlatform

ROOT = "memory://assets-at-urls"


@dataclass
class PlatformAtUrl(SmallPlatform):
    """One of which no more lies here than what its store says."""

    @property
    def store(self) -> DataRoot:
        return DataRoot(root=ROOT)


@pytest.fixture
def platform(
    corpus: Path, tokenizer_folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[PlatformAtUrl]:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:
        yield PlatformAtUrl(tmp_path / "none", corpus, tokenizer_folder, instance)
    store = ObjectStore(ROOT)
    store.remove(store.list())


def metadata_of(result: dg.ExecuteInProcessResult, name: str) -> Mapping[str, Any]:
    assert result.success
    [event] = result.asset_materializations_for_node(name)[-1:]
    return {name: value.value for name, value in event.metadata.items()}


def test_a_run_publishes_a_version_that_downstream_assets_load_and_a_page_beside_it(
    platform: PlatformAtUrl, monkeypatch: pytest.MonkeyPatch
) -> None:
    log = DatasetLog(ObjectStore(f"{ROOT}/datasets/small"))
    told = metadata_of(platform.run(), "small__dataset")
    version = log.published()
    assert (told["samples"], told["digest"]) == (version.num_samples, version.digest)
    assert told["path"] == log.store.url
    assert version.made_of == facts_at(log.store.url)
    assert ObjectStore(ROOT).read("reports/small.html").startswith(b"<!doctype html>")
    loaded = Datasets(store=platform.store).load("small", verify=True)
    assert (len(loaded), loaded.digest) == (version.num_samples, version.digest)
    assert [each.where for each in loaded.datasets] == [f"{log.store.url}@1"]

    monkeypatch.setattr(published, "MOST_FETCHED_BYTES", 1000)
    assets, store = [report_assets(platform.spec)], {"store": platform.store}
    again = dg.materialize(assets, resources=store, instance=platform.instance)
    why = metadata_of(again, "small__token_figures")["no report"]
    assert f"`codedata fetch {log.store.url} FOLDER`, then `codedata report FOLDER` makes" in why
