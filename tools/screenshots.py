"""The demo, materialized three times -> the pictures of the UI and of a report that docs/ shows.

    python tools/screenshots.py [FOLDER]

makes the demo as the README has it (the second time with samples of another length, so that the
plots have something to say) in a root of its own, and takes each picture into docs/images.
"""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

from codedata_tests.components.dagster_dev import dagster_dev

CODEDATA = Path(sys.executable).with_name("codedata")
SPLITS = ["demo_train", "demo_validation"]
IMAGES = Path(__file__).parent.parent / "docs" / "images"


def main() -> None:
    """Make the demo and take all pictures."""
    images = Path(sys.argv[1]) if len(sys.argv) > 1 else IMAGES
    with tempfile.TemporaryDirectory() as root:
        home = f"{root}/.dagster"  # the instance in which the command keeps its runs
        environment = {**os.environ, "CODEDATA_ROOT": root, "DAGSTER_HOME": home}
        for switches in ({}, {"CODEDATA_DEMO_TRAIN_SEQ_LENGTH": "1024"}, {}):
            run = [CODEDATA, "materialize", *SPLITS]
            subprocess.run(run, env={**environment, **switches}, check=True)
        page = f"{root}/report.html"
        subprocess.run([CODEDATA, "report", *SPLITS, "-o", page], env=environment, check=True)
        with dagster_dev(environment) as port, sync_playwright() as playwright:
            browser = playwright.chromium.launch(
                executable_path=shutil.which("chromium"), args=["--no-sandbox"]
            )
            view = browser.new_page(viewport={"width": 1280, "height": 800})
            view.goto(f"file://{page}")
            view.screenshot(path=images / "report.png")
            take_pictures(view, f"http://127.0.0.1:{port}", images)


def take_pictures(view: Page, ui: str, images: Path) -> None:
    """Those of the UI."""

    def take(name: str) -> None:
        view.wait_for_timeout(2000)  # dialogues, charts and graphs grow into their place
        view.screenshot(path=images / name)

    view.goto(f"{ui}/assets/demo_train/pickle_shards?view=checks")
    view.get_by_text("sample_counts", exact=True).first.click()
    view.locator("canvas").first.wait_for()
    take("checks.png")

    for asset, name in (
        ("demo_train/token_figures", "sample"),
        ("demo_validation/report", "against"),
    ):
        view.goto(f"{ui}/assets/{asset}")
        view.get_by_text("Show markdown").first.click()
        view.locator(".dagster-markdown img").first.wait_for()
        if name == "sample":
            view.locator(".dagster-markdown pre").scroll_into_view_if_needed()
        take(f"{name}.png")

    view.set_viewport_size({"width": 1600, "height": 900})  # its axes' labels need it
    view.goto(f"{ui}/assets/demo_train/pickle_shards")
    view.get_by_role("button", name="Plots").click()
    view.get_by_text("samples", exact=True).scroll_into_view_if_needed()
    take("plots.png")

    view.set_viewport_size({"width": 1180, "height": 520})
    view.goto(f"{ui}/locations/codedata/asset-groups/demo_train")
    view.get_by_text("Hide navigation").click()
    view.reload()  # the graph is laid out for the place that it has now
    view.get_by_text("Materialized", exact=True).first.wait_for()
    view.mouse.move(0, 0)
    take("lineage.png")


if __name__ == "__main__":
    main()
