"""The reports of a small split: what the UI shows of them, and what a held-out split is told."""

import re
import shutil
from base64 import b64decode
from dataclasses import replace
from typing import Any

import dagster as dg
import pytest

from codedata.components.dataset_asset import dataset_asset
from codedata.components.report_assets import report_assets
from codedata.components.split_parts import SplitPart
from codedata.format.ranges import CharRange
from codedata.reporting import published
from codedata.resources import DataRoot, DatasetIOManager
from codedata.store.copies import facts_at
from codedata.store.object_store import ObjectStore
from codedata.store.versions import DatasetLog
from codedata_tests.components.small_platform import MadePlatform, SmallPlatform

OTHER = {"other": [SplitPart(corpus="c", window=CharRange(101_000, 121_000))]}


def metadata_of(result: dg.ExecuteInProcessResult, name: str) -> dict[str, Any]:
    [event] = [
        event
        for event in result.get_asset_materialization_events()
        if event.asset_key and event.asset_key.path == ["small", name]
    ]
    return {key: value.value for key, value in event.materialization.metadata.items()}


def report_against_other(platform: SmallPlatform) -> dg.ExecuteInProcessResult:
    """Both reports of `small` alone, held out from `other`."""
    assets = report_assets(replace(platform.spec, held_out_from=OTHER))
    return dg.materialize([assets], resources={"store": platform.store}, instance=platform.instance)


def pictures_in(markdown: str) -> dict[str, bytes]:
    found = re.findall(r"!\[([^\]]*)\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown)
    assert all(len(data) < 100_000 for _, data in found)
    return {title: b64decode(data) for title, data in found}


def test_the_token_figures_has_figures_samples_and_pictures(made: MadePlatform) -> None:
    metadata = metadata_of(made.first_run, "token_figures")
    assert list(pictures_in(metadata["report"])) == [
        "Token frequency",
        "Document lengths",
        "Tokens per chunk",
    ]
    assert all(svg.startswith(b"<svg") for svg in pictures_in(metadata["report"]).values())
    assert metadata["documents"] > 10


def test_the_report_is_a_page_under_the_root(made: MadePlatform) -> None:
    metadata = metadata_of(made.first_run, "report")
    page = made.root / "reports" / "small.html"
    assert str(metadata["page"]).endswith("/root/reports/small.html")
    assert metadata["bytes"] == page.stat().st_size
    assert page.read_bytes().startswith(b"<!doctype html>")


def test_a_held_out_split_is_compared_with_what_it_is_held_out_from(
    made: MadePlatform,
) -> None:
    datasets = made.root / "datasets"
    shutil.copytree(datasets / "small", datasets / "other")
    metadata = metadata_of(report_against_other(made), "report")
    # It is a copy: the same tokens, and no document that the other window does not have a part of.
    assert metadata["unseen tokens (other)"] == 0
    assert metadata["divergence in bits (other)"] == 0
    assert (metadata["exact duplicates (other)"], metadata["near duplicates (other)"]) == (0, 0)
    pictures = pictures_in(metadata["against other"])
    assert list(pictures) == ["Token frequency", "Document lengths"]
    page = (made.root / "reports" / "small.html").read_text(encoding="utf-8")
    assert "small against other" in page


def test_a_split_that_is_not_made_yet_is_noted_and_stops_nothing(made: MadePlatform) -> None:
    result = report_against_other(made)
    assert result.success
    note = metadata_of(result, "report")["not compared"]
    assert note.startswith("small is not compared with other: split 'other' has no dataset in ")
    assert note.endswith("or set CODEDATA_ROOT to the folder that holds it")


def test_under_a_url_the_dataset_is_what_is_on_record_and_the_page_lies_beside_it(
    made: MadePlatform, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(made.root / "cache"))
    objects = ObjectStore("memory://report-assets")
    record = made.root / "corpora" / "c" / "corpus.json"
    objects.put("state/corpora/c/corpus.json", record.read_bytes())
    log = DatasetLog(objects.below("datasets/small"))
    staged = log.stage("made")
    for path in made.dataset_folder.iterdir():
        staged.put(path.name, path.read_bytes())
    version = staged.publish()
    store = DataRoot(root=objects.url)
    resources = {"store": store, "dataset_io_manager": DatasetIOManager(store=store)}

    def run(*assets: dg.AssetsDefinition) -> dg.ExecuteInProcessResult:
        return dg.materialize(assets, resources=resources, instance=made.instance)

    result = run(dataset_asset(made.spec), report_assets(made.spec))
    told = metadata_of(result, "dataset")
    assert (told["samples"], told["digest"]) == (version.num_samples, version.digest)
    assert told["path"] == log.store.url
    assert metadata_of(result, "token_figures")["documents"] > 10
    assert metadata_of(result, "report")["page"] == objects.where("reports/small.html")
    assert objects.read("reports/small.html").startswith(b"<!doctype html>")
    assert version.made_of == facts_at(log.store.url) == facts_at(made.dataset_folder)

    monkeypatch.setattr(published, "MOST_FETCHED_BYTES", 1000)
    why = metadata_of(run(report_assets(made.spec)), "report")["no report"]
    assert f"`codedata fetch {log.store.url} FOLDER`, then `codedata report FOLDER` makes" in why
