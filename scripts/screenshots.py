"""Take the pictures of the docs from a real Dagster UI: `make screenshots`. Needs Debian's chromium.

The demo is run first, so that the UI has something to show. Each picture is looked at by whoever commits it.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.request
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from playwright.sync_api import Page, sync_playwright

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parent.parent
IMAGES = ROOT / "docs" / "images"
CHROMIUM = "/usr/bin/chromium"
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


def main() -> None:
    """Run the demo, open the UI, take the pictures."""
    IMAGES.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder) / "catalogue"
        home.mkdir()
        env = {**os.environ, "EXAMPLE_HOME": str(home / ".demo"), "PYTHONPATH": str(ROOT)}
        subprocess.run([sys.executable, "-m", "example_project.demo"], env=env, cwd=home, check=True)
        env["DAGSTER_HOME"] = str(home / ".demo" / "dagster")
        with webserver(env) as url, sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
            page = browser.new_page(viewport={"width": 1440, "height": 900})
            take(page, url)
            browser.close()


@contextmanager
def webserver(env: dict[str, str]) -> Iterator[str]:
    """Dagster's webserver on the example's definitions."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "dagster_webserver", "-f", str(ROOT / "definitions.py"), "-p", str(port)]
    process = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=ROOT)
    url = f"http://127.0.0.1:{port}"
    try:
        wait_for(f"{url}/server_info")
        yield url
    finally:
        process.terminate()
        process.wait(20)


def wait_for(url: str) -> None:
    """Wait until something answers there; at most a minute."""
    end = time.monotonic() + 60
    while True:
        try:
            with urllib.request.urlopen(url, timeout=5):
                return
        except OSError:
            if time.monotonic() > end:
                raise
            time.sleep(0.3)


def take(page: Page, url: str) -> None:
    """The asset's page with its counts and its preview opened, and the lineage."""
    page.goto(f"{url}/assets/catalog_images?view=partitions&partition=shoes", wait_until="networkidle")
    page.get_by_text("cost_usd").first.wait_for(timeout=30_000)
    shoot(page, "asset.png")
    # One plain click: Playwright would click again through the dialog that the first one opens.
    page.get_by_text("[Show Markdown]").first.dispatch_event("click")
    page.locator("img[src^='data:image/webp']").first.wait_for(timeout=10_000)
    shoot(page, "preview.png")
    page.set_viewport_size({"width": 1440, "height": 420})
    page.goto(f"{url}/asset-groups", wait_until="networkidle")
    page.get_by_text("contact_sheet").first.wait_for(timeout=30_000)
    shoot(page, "lineage.png")


def shoot(page: Page, name: str) -> None:
    """One picture, once the page has come to rest."""
    page.wait_for_timeout(1500)
    page.screenshot(path=IMAGES / name)


if __name__ == "__main__":
    main()
