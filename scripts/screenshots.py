"""Take the pictures of the docs from a real Dagster UI: `make screenshots`. Needs Debian's chromium.

The demo is run first, so that the UI has something to show. Each picture is looked at by whoever commits it.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from dagster_gptimg import open_dataset
from tests.definitions import ui
from tests.definitions.daemon import dagster_dev
from tests.support import ROOT

if TYPE_CHECKING:
    from playwright.sync_api import FloatRect, Page

    from tests.definitions.daemon import Dev

IMAGES = ROOT / "docs" / "images"
FOLDER = Path("/tmp/catalogue")
"""Short, because it is in the pictures."""


def main() -> None:
    """Run the demo, open the UI, take the pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    shutil.rmtree(FOLDER, ignore_errors=True)
    FOLDER.mkdir()
    try:
        env = {**os.environ, "EXAMPLE_HOME": str(FOLDER / ".demo"), "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-m", "example_project.demo"], env=env, cwd=FOLDER, check=True)
        (FOLDER / "dagster_home").symlink_to(FOLDER / ".demo" / "dagster")
        with dagster_dev(FOLDER, ["-f", str(ROOT / "definitions.py")], env) as dev, ui.browser() as page:
            take(page, dev.url)
            take_way(page, dev)
        take_gallery((FOLDER / ".demo/images/catalog_images/gallery/index.html").as_uri())
    finally:
        shutil.rmtree(FOLDER, ignore_errors=True)


def take_gallery(url: str) -> None:
    """The demo's gallery with two verdicts, light; one image in dark; both at the width of a phone."""
    with ui.browser(1280, 800) as page:
        for name, width in (("gallery.png", 1280), ("gallery-narrow.png", 360)):
            page.set_viewport_size({"width": width, "height": 800})
            open_gallery(page, url, "light")
            for key in ("a", "ArrowRight", "r", "ArrowRight"):
                page.keyboard.press(key)
            shoot(page, name)
        page.set_viewport_size({"width": 1280, "height": 800})
        open_gallery(page, url, "dark")
        page.keyboard.press("Enter")
        shoot(page, "gallery-image.png")


def open_gallery(page: Page, url: str, scheme: Literal["light", "dark"]) -> None:
    """A gallery, once all entries are there, with the focus on its list."""
    page.emulate_media(color_scheme=scheme)
    page.goto(url)
    page.evaluate("localStorage.clear()")
    page.reload()
    ui.until(page, "window.gallery && gallery.isLoaded")
    page.locator("#list").focus()


def take(page: Page, url: str) -> None:
    """A partition with its counts and its preview opened, the checks, and the graph."""
    ui.open_partition(page, url, "catalog_images", "shoes")
    page.get_by_text("cost_usd").first.wait_for()
    shoot(page, "asset.png")
    ui.open_preview(page)
    shoot(page, "preview.png")
    page.goto(f"{url}/assets/catalog_images?view=checks&checkDetail=files_as_recorded", wait_until="networkidle")
    shoot(page, "checks.png")
    page.set_viewport_size({"width": 1440, "height": 760})
    ui.open_lineage(page, url, "contact_sheet")
    shoot(page, "lineage.png")


WAY = ("products", "catalog_images", "catalog_images_gallery", "approved_photos", "published_photos")
SHELVES = ("bags", "lamps", "mugs", "shoes")


def take_way(page: Page, dev: Dev) -> None:
    """The way from the table to the approved images, once the sensors have published what is approved here."""
    images = FOLDER / ".demo" / "images"
    for shelf in SHELVES:
        photos = open_dataset(images, "catalog_images", shelf)
        photos.approve(*photos, by="ann")
    dev.until("all are published", lambda: dev.statuses("published_photos")["materialized"] == [*SHELVES])
    page.set_viewport_size({"width": 1680, "height": 440})
    ui.open_lineage(page, dev.url, "published_photos", WAY)
    page.get_by_text("100% filled").nth(2).wait_for()
    page.get_by_text("Loading...").first.wait_for(state="detached")
    graph: FloatRect = {"x": 545, "y": 112, "width": 1082, "height": 320}  # without the list of assets and the buttons
    shoot(page, "approved.png", graph)


def shoot(page: Page, name: str, clip: FloatRect | None = None) -> None:
    """One picture, or a part of it, once the page has come to rest."""
    page.wait_for_timeout(1500)
    page.screenshot(path=IMAGES / name, clip=clip)


if __name__ == "__main__":
    main()
