"""A user at the UI: headless Chromium looks, clicks, waits and looks again."""

import os
import re
import shutil
from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from codedata.cli.instance import INSTANCE_YAML
from codedata_tests.components.dagster_dev import dagster_dev

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")

SMALL = {
    "CODEDATA_DEMO_TRAIN_CHARS_TO_TOKENIZE": "2000000",
    "CODEDATA_DEMO_TRAIN_CHUNK_SIZE": "500000",
    "CODEDATA_DEMO_VALIDATION_STARTING_CHARACTER": "2000000",
    "CODEDATA_DEMO_VALIDATION_CHARS_TO_TOKENIZE": "500000",
}
ASSETS = ["token_chunks", "pickle_shards", "meta_json", "dataset", "token_figures", "report"]
LOADING_MS = 100_000
RUN_MS = 500_000
expect.set_options(timeout=100_000)  # other tests keep the cores busy

pytestmark = [
    pytest.mark.campaign,
    pytest.mark.skipif(CHROMIUM is None, reason="needs Chromium (apt-get install chromium)"),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def address(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The UI over an empty root, where the demo's splits are small."""
    home = tmp_path_factory.mktemp("browser") / ".dagster"
    home.mkdir()
    (home / "dagster.yaml").write_text(INSTANCE_YAML, encoding="utf-8")
    places = {"CODEDATA_ROOT": str(home.parent), "DAGSTER_HOME": str(home)}
    with dagster_dev({**os.environ, **SMALL, **places}) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        # The sandbox needs rights that a container's root does not have.
        running = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield running
        running.close()


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    opened = browser.new_page(viewport={"width": 1600, "height": 900})
    opened.set_default_timeout(LOADING_MS)
    yield opened
    opened.close()


def materialized(page: Page, address: str) -> None:
    """Open the split's lineage and wait until all of it is made and every check has passed."""
    page.goto(f"{address}/locations/codedata/asset-groups/demo_train")
    expect(page.get_by_text("Materialized", exact=True)).to_have_count(
        len(ASSETS) - 1, timeout=RUN_MS
    )
    expect(page.get_by_text("4 partitions", exact=True)).to_be_visible()
    for passed, num_assets in {"4 / 4 Passed": 1, "3 / 3 Passed": 1, "2 / 2 Passed": 2}.items():
        expect(page.get_by_text(passed)).to_have_count(num_assets)


def test_the_demo_is_materialized_by_clicking(page: Page, address: str) -> None:
    page.goto(f"{address}/locations/codedata/asset-groups/demo_train")
    for asset in ASSETS:
        expect(page.get_by_text(asset, exact=True).first).to_be_visible()
    expect(page.get_by_text("Materialized", exact=True)).to_have_count(0)

    page.goto(f"{address}/locations/codedata/jobs/demo_train")
    page.get_by_text("Materialize all").first.click()
    page.get_by_role("button", name="All", exact=True).click()
    page.get_by_role("button", name="Launch backfill").click()
    expect(page.get_by_role("button", name="Launch backfill")).to_be_hidden()

    materialized(page, address)


def test_figures_plot_themselves_over_runs(page: Page, address: str) -> None:
    materialized(page, address)
    page.goto(f"{address}/assets/demo_train/pickle_shards")
    for owner_tag_or_kind in ("data", "codedata/corpus: demo_corpus", "pickle"):
        expect(page.get_by_text(owner_tag_or_kind, exact=True).first).to_be_visible()
    page.get_by_role("button", name="Plots").click()
    for figure in ("samples", "tokens", "tokens per character", "padding share", "seconds"):
        expect(page.get_by_text(figure, exact=True).first).to_be_visible()
    expect(page.locator("canvas").first).to_be_visible()


def test_a_partition_shows_its_own_figures(page: Page, address: str) -> None:
    materialized(page, address)
    page.goto(f"{address}/assets/demo_train/token_chunks?view=partitions")
    # Each key stands there twice: once to be measured, unseen.
    keys = page.get_by_text("00000/0000500000-0001000000")
    keys.filter(visible=True).first.click()
    for figure in ("tokens", "characters", "M characters/s", "engine", "reused"):
        expect(page.get_by_text(figure, exact=True).first).to_be_visible()
    expect(page.get_by_text(re.compile(r"500,?000")).first).to_be_visible()


def test_checks_show_the_numbers_that_they_judged_by(page: Page, address: str) -> None:
    materialized(page, address)
    page.goto(f"{address}/assets/demo_train/pickle_shards?view=checks")
    page.get_by_text("sample_counts", exact=True).first.click()
    expect(page.get_by_text("as many samples as its tokens").first).to_be_visible()


def test_pictures_are_shown_on_either_ground(page: Page, address: str) -> None:
    materialized(page, address)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.goto(f"{address}/assets/demo_train/token_figures")
        page.get_by_text("Show markdown").first.click()
        shown = page.locator(".dagster-markdown img")
        expect(shown).to_have_count(3)
        for index in range(3):
            expect(shown.nth(index)).to_have_js_property("complete", value=True)
            widths = "image => [image.clientWidth, image.parentElement.clientWidth]"
            width, room = shown.nth(index).evaluate(widths)
            assert width == room > 600, "as wide as the dialogue"
