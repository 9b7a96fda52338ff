"""`gallery`: how quickly a page of many images opens, searches, filters and scrolls, from disk, in Debian's chromium.

The images are small WebP files and serve as their own thumbnails: what is measured is the page.
"""

from __future__ import annotations

import statistics
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks.results import Measured
from dagster_gptimg.engine import operations
from tests import galleries
from tests.definitions import ui

if TYPE_CHECKING:
    from collections.abc import Iterator

    from playwright.sync_api import Page

IMAGES = 10_000
ROWS = 100_000
PICTURES = 500
"""Different files that the rows of the large table share: the page does not know, and making them takes minutes."""

FIRST = """
new Promise(done => {
  const look = () => [...document.querySelectorAll('.tile img')].some(i => i.naturalWidth) ? done(performance.now())
    : requestAnimationFrame(look);
  look();
})
"""
LOADED = """
new Promise(done => {
  const look = () => window.gallery && gallery.isLoaded ? done(performance.now()) : setTimeout(look, 20);
  look();
})
"""
TYPED = """
text => new Promise(done => {
  const began = performance.now(), search = document.getElementById('search');
  search.value = text;
  search.dispatchEvent(new Event('input'));
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
})
"""
CHOSEN = """
([facet, value]) => new Promise(done => {
  const began = performance.now(), select = document.querySelector(`[data-facet="${facet}"]`);
  select.value = value;
  select.dispatchEvent(new Event('change'));
  requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now() - began)));
})
"""
SCROLLED = """
new Promise(done => {
  const list = document.getElementById('list'), frames = [];
  let blank = 0, top = 0, last = performance.now();
  const step = () => {
    const now = performance.now();
    frames.push(now - last);
    last = now;
    const box = list.getBoundingClientRect();
    const hits = y => (document.elementFromPoint(box.left + 100, y) || list).closest('.tile, .heading');
    const has = y => hits(y) || hits(y + 20);  // 12 pixels are between two lines
    blank += !(has(box.top + 40) && has(box.top + box.height / 2) && has(box.bottom - 60));
    if (top >= list.scrollHeight - list.clientHeight) return done({blank, frames});
    top += list.clientHeight * 0.9;
    list.scrollTop = top;
    requestAnimationFrame(() => requestAnimationFrame(step));
  };
  step();
})
"""


def measure(scale: float = 1.0) -> Measured:
    """A table of images, one of rows, each opened from disk in a new browser."""
    found = Measured()
    images, rows = max(500, int(IMAGES * scale)), max(1000, int(ROWS * scale))
    with tempfile.TemporaryDirectory(prefix="gallery-") as folder:
        url, took = built(Path(folder, "images"), galleries.catalog(images))
        found.add(f"writing the gallery of {images:,} rows, thumbnails there already", took, "s")
        with ui.browser() as page:
            measure_page(found, page, url, images)
        url, took = built(Path(folder, "rows"), many(rows), has_originals=False)
        found.add(f"writing the gallery of {rows:,} rows", took, "s")
        with ui.browser() as page:
            page.goto(url, wait_until="commit")
            found.add(f"{rows:,} rows: first thumbnail after opening", page.evaluate(FIRST) / 1000, "s")
            found.add(f"{rows:,} rows: all loaded", page.evaluate(LOADED) / 1000, "s")
            found.add(f"{rows:,} rows: a search", typed(page), "ms")
            found.add(f"{rows:,} rows: elements of the page", elements(page), "elements")
    return found


def measure_page(found: Measured, page: Page, url: str, images: int) -> None:
    """Open, search, filter, and scroll from end to end."""
    name = f"{images:,} images"
    page.goto(url, wait_until="commit")
    found.add(f"{name}: first thumbnail after opening", page.evaluate(FIRST) / 1000, "s", 2)
    found.add(f"{name}: all entries loaded", page.evaluate(LOADED) / 1000, "s")
    found.add(f"{name}: a search, until it is drawn", typed(page), "ms", 200)
    chosen = [page.evaluate(CHOSEN, ["column:category", value]) for value in ("hats", "mugs", "lamps", "")]
    found.add(f"{name}: a filter, until it is drawn", max(chosen), "ms", 200)
    scrolled: dict[str, Any] = page.evaluate(SCROLLED)
    found.add(f"{name}: blank pages, scrolled from end to end", scrolled["blank"], "pages", 0)
    found.add(f"{name}: between two draws while scrolling, 95 % below", percentile(scrolled["frames"]), "ms")
    found.add(f"{name}: elements of the page", elements(page), "elements", 1_200)


def typed(page: Page) -> float:
    """Milliseconds of the slowest of some searches."""
    return max(
        float(page.evaluate(TYPED, text)) for text in ("s", "studio", "studio mugs", "number 77", "nothing at all", "")
    )


def elements(page: Page) -> int:
    """The number of elements of the page."""
    return int(page.evaluate("document.querySelectorAll('*').length"))


def percentile(values: list[float]) -> float:
    """The value that 95 % are below."""
    return statistics.quantiles(values, n=20)[-1]


def many(rows: int) -> Iterator[galleries.Row]:
    """Rows that share a few hundred pictures."""
    pictures = [galleries.picture(number) for number in range(PICTURES)]
    for number in range(rows):
        prompt = f"Studio photo of item number {number}, soft light, on a plain background, as on page {number % 7}"
        own = (("category", ("bags", "hats", "mugs")[number % 3]),)
        yield galleries.Row(f"sku-{number:06}", prompt, (pictures[number % PICTURES],), columns=own)


def built(folder: Path, rows: Any, *, has_originals: bool = True) -> tuple[str, float]:  # noqa: ANN401 - rows of any kind
    """The address of a new gallery, and the seconds that it took to write."""
    dataset = galleries.dataset_in(folder)
    galleries.write(dataset, rows, has_thumbnails=True, has_originals=has_originals)
    began = time.monotonic()
    return operations.gallery(dataset).uri, time.monotonic() - began
