"""Dagster's UI in a real browser: what the tests look at, and what the pictures of the docs are taken of."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from urllib.parse import quote

from playwright.sync_api import Locator, Page, sync_playwright

CHROMIUM = "/usr/bin/chromium"
"""Debian's. Without its own sandbox, because tests run as root in containers."""

FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
WAIT = 60_000
"""Milliseconds, only so that a hang ends: machines differ."""


@contextmanager
def browser(width: int = 1440, height: int = 900) -> Iterator[Page]:
    """An empty page of a browser of its own."""
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        page = chromium.new_page(viewport={"width": width, "height": height})
        page.set_default_timeout(WAIT)
        yield page
        chromium.close()


def until(page: Page, condition: str) -> None:
    """Wait until a JavaScript expression is true.

    Playwright's `wait_for_function` evaluates text within the page, which a content security policy forbids.
    """
    look = f"const look = () => ({condition}) ? done() : setTimeout(look, 20); look();"
    page.evaluate(
        f"new Promise((done, fail) => {{ setTimeout(() => fail(new Error('it never was')), {WAIT}); {look} }})"
    )


def open_lineage(page: Page, url: str, asset: str, only: Sequence[str] = ()) -> None:
    """The graph of all assets, or of some only, once an asset's node is drawn."""
    chosen = " or ".join(f'key:"{name}"' for name in only)
    page.goto(f"{url}/asset-groups{f'~{quote(chosen)}' if only else ''}", wait_until="networkidle")
    node(page, asset).wait_for()


def node(page: Page, asset: str) -> Locator:
    """An asset's node in the graph."""
    return page.locator("svg foreignObject", has_text=asset).first


def open_partition(page: Page, url: str, asset: str, partition: str) -> None:
    """The page of one partition, once it shows something of its last materialization, or that there is none."""
    page.goto(f"{url}/assets/{asset}?view=partitions&partition={partition}", wait_until="networkidle")
    page.get_by_text("Latest materialization").first.wait_for()


def open_preview(page: Page) -> Locator:
    """The thumbnails that a materialization's preview opens with."""
    # One plain click: Playwright would click again through the dialog that the first one opens.
    page.get_by_text("[Show Markdown]").first.dispatch_event("click")
    thumbnails = page.locator("[role=dialog] img[src^='data:image/webp;base64,']")
    thumbnails.first.wait_for()
    return thumbnails


def open_launchpad(page: Page, url: str, asset: str, partition: str) -> str:
    """The Launchpad for one partition; returns the run config that Dagster has written there."""
    page.goto(f"{url}/assets/{asset}?view=partitions", wait_until="networkidle")
    page.locator("button:has([aria-label=arrow_drop_down])").first.click()
    with answered(page, "PreviewConfigQuery"):  # it draws the page anew, and would close the list of partitions
        page.get_by_text("Open launchpad").click()
    page.locator(".CodeMirror-line", has_text="api_key").wait_for()
    page.get_by_placeholder("Partition").click()
    page.locator("[role=menuitem]", has_text=partition).first.wait_for()
    page.keyboard.type(partition)
    with answered(
        page, "PreviewConfigQuery"
    ):  # it follows a config of the partition's, which would replace what is written
        page.keyboard.press("Enter")
        page.get_by_text(f"partition: {partition}").wait_for()
    return str(page.evaluate("document.querySelector('.CodeMirror').CodeMirror.getValue()"))


@contextmanager
def answered(page: Page, operation: str) -> Iterator[None]:
    """What is done inside makes the page ask a GraphQL operation; ends when that is answered."""
    with page.expect_response(lambda answer: f'"operationName":"{operation}"' in (answer.request.post_data or "")):
        yield


def launch(page: Page, config: str) -> str:
    """Put a run config into the open Launchpad, and launch; returns the run's id."""
    write = "text => document.querySelector('.CodeMirror').CodeMirror.setValue(text)"
    # The page takes a config over some time after it was written. It says when: by what it finds wrong with it.
    page.evaluate(write, f"{config}nonsense: true\n")
    page.get_by_text("nonsense").last.wait_for()
    page.get_by_text("No errors").wait_for(state="detached")
    page.evaluate(write, config)
    page.get_by_text("No errors").wait_for()
    page.locator("[role=dialog] button", has_text="Materialize").last.click()
    page.wait_for_url("**/runs/*")
    return page.url.rpartition("/")[2]
