"""One browser for all tests of the gallery's page."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import pytest
from playwright.sync_api import sync_playwright

from dagster_gptimg.engine import operations
from tests import galleries
from tests.definitions.ui import CHROMIUM, FLAGS, WAIT, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from pathlib import Path

    from playwright.sync_api import Browser, Page

    from dagster_gptimg.store.dataset import Dataset

    Opened = Callable[..., AbstractContextManager["Opening"]]


BROKEN = """
window.broken = [];
for (const kind of ['error', 'unhandledrejection', 'securitypolicyviolation'])
  addEventListener(kind, event => window.broken.push(`${kind}: ${event.message || event.reason || event.blockedURI}`));
"""
"""Notes what a page does not survive, so that nobody waits until it is loaded."""


@dataclass
class Opening:
    """A gallery in a browser, with what it has asked for and complained of."""

    page: Page
    asked: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)

    def counts(self) -> str:
        """The line that says how many records are shown."""
        return self.page.locator("#counts").inner_text()

    def shown(self) -> list[str]:
        """The ids of the records that are shown, in order."""
        return list(self.page.evaluate("Array.from({length: gallery.places()}, (_, n) => gallery.recordAt(n).row_id)"))

    def nodes(self) -> int:
        return int(self.page.evaluate("document.querySelectorAll('*').length"))


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A browser that ends with its module: Playwright keeps an event loop running, beside which none can be run."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture
def opened(chromium: Browser) -> Opened:
    """Opens a gallery, and waits until all entries are there."""

    @contextmanager
    def opening(url: str, before: str = "", *, is_awaited: bool = True, **context: Any) -> Iterator[Opening]:
        given: dict[str, Any] = {"viewport": {"width": 1280, "height": 800}, "accept_downloads": True, **context}
        with chromium.new_context(**given) as made:
            page = made.new_page()
            page.set_default_timeout(WAIT)
            found = Opening(page)
            page.on("request", lambda request: found.asked.append(request.url))
            page.on("console", lambda message: found.said.append(message.text))
            page.on("pageerror", lambda error: found.said.append(str(error)))
            page.add_init_script(BROKEN)
            if before:
                page.add_init_script(before)
            page.goto(url)
            if "token=" in url:
                page.wait_for_url(url.partition("?")[0])
            if is_awaited:
                until(page, "(window.gallery && gallery.isLoaded) || window.broken.length")
                assert page.evaluate("window.broken") == []
            yield found
            page.close(run_before_unload=False)

    return opening


@pytest.fixture(scope="session")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """120 rows with two images each; some are refused or have failed."""
    dataset = galleries.dataset_in(tmp_path_factory.mktemp("shop"), "shop")
    galleries.write(dataset, galleries.catalog(120, images=2), has_thumbnails=True)
    return dataset


@pytest.fixture(scope="session")
def shop_page(shop: Dataset) -> str:
    return operations.gallery(shop).uri


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    """An empty dataset."""
    return galleries.dataset_in(tmp_path / "store")
