"""The page that `review serve` shows, in a real browser: verdicts go on record, and none is lost on the way."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.cli.review_server.process import way_in
from dagster_gptimg.engine.maintain.review import review_rows
from dagster_gptimg.store.manifest import read_manifest
from tests import galleries
from tests.definitions.ui import until
from tests.engine.gallery.test_page import tab_to
from tests.harness import cli
from tests.node_packages import installed
from tests.review_server import serving

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset
    from tests.engine.gallery.conftest import Opened, Opening
    from tests.review_server import Serving

pytestmark = [pytest.mark.dagster, pytest.mark.xdist_group("gallery")]

HOSTILE = "<img src=x onerror=window.hit()>"
BEFORE = "window.hits = 0; window.hit = () => { window.hits++; };"
HERE = Path(__file__).parent
ROWS = 12


@pytest.fixture
def dataset(dataset: Dataset) -> Dataset:
    """Rows r0 to r11 with an image each."""
    rows = [galleries.Row(f"r{n}", "p", (galleries.picture(n),)) for n in range(ROWS)]
    galleries.write(dataset, rows, has_thumbnails=True)
    return dataset


def on_record(dataset: Dataset) -> dict[str, tuple[Any, ...]]:
    """The rows with a verdict: it, its note, who gave it, and its number."""
    names = ("verdict", "verdict_note", "verdict_by", "verdict_number")
    rows = read_manifest(dataset, None).to_pylist()
    return {row["row_id"]: tuple(row[name] for name in names) for row in rows if row["verdict_number"]}


def said(opening: Opening) -> str:
    return opening.page.locator("#server-said").inner_text()


def is_sent(opening: Opening) -> None:
    until(opening.page, "gallery.judged() === 0 && !/not sent|Sending/.test(gallery.named('server-said').textContent)")


def is_named(opening: Opening, name: str) -> None:
    """Answer the question for the reviewer's name, with keys."""
    until(opening.page, "document.activeElement.id === 'who-name'")
    opening.page.keyboard.type(name)
    opening.page.keyboard.press("Enter")
    until(opening.page, "!document.getElementById('who').open")


def see(opening: Opening, row: int, verdict: str) -> None:
    """Wait until the tile of a row shows a verdict; empty for none."""
    until(opening.page, f"document.getElementById('tile-{row}').dataset.verdict === '{verdict}'")


def test_keys_alone_put_a_review_on_record_and_the_name_is_asked_once(opened: Opened, dataset: Dataset) -> None:
    with serving(dataset) as server, opened(server.url) as gallery:
        keys = gallery.page.keyboard
        assert gallery.page.url == f"{server.base}/"
        tab_to(gallery, "list")
        keys.press("a")
        is_named(gallery, "ann")
        is_sent(gallery)
        assert on_record(dataset) == {"r0": ("approved", None, "ann", 1)}
        until(gallery.page, "document.activeElement.id === 'list'")
        for key in ("ArrowRight", "r", "ArrowRight", "a", "u", "ArrowRight", "Enter", "r"):
            keys.press(key)
        tab_to(gallery, "v-note")
        keys.type("too dark")
        until(gallery.page, "gallery.named('v-record').textContent === 'On record by ann.'")
        keys.press("Escape")
        is_sent(gallery)
        found = on_record(dataset)
        assert found["r1"] == ("rejected", None, "ann", 1)
        assert found["r3"] in {("rejected", "too dark", "ann", number) for number in (1, 2)}
        assert found.get("r2", (None,))[0] is None
        assert gallery.page.locator("#download").is_hidden()
        gallery.page.reload()  # without a question: nothing is only in the page
        until(gallery.page, "window.gallery && gallery.isLoaded")
        see(gallery, 1, "rejected")
        gallery.page.locator("#list").focus()
        keys.press("u")
        is_sent(gallery)
        see(gallery, 0, "")
        assert on_record(dataset)["r0"] == (None, None, None, 2)
        assert not gallery.said


def test_a_browser_is_led_to_the_page_without_the_token_in_its_arguments(
    opened: Opened, dataset: Dataset, tmp_path: Path
) -> None:
    with serving(dataset) as server, opened(f"{server.base}/", is_awaited=False) as gallery:
        assert gallery.page.inner_text("body").startswith("Open the address")
        uri = way_in(tmp_path, server.url)
        assert server.token not in uri
        assert (tmp_path / "open.html").stat().st_mode & 0o077 == 0
        gallery.page.goto(uri)
        gallery.page.wait_for_url(f"{server.base}/")
        until(gallery.page, "window.gallery && gallery.isLoaded")


def test_several_reviewers_see_one_another_and_who_comes_second_is_told(opened: Opened, dataset: Dataset) -> None:
    with serving(dataset) as server, opened(server.url, BEFORE) as first, opened(server.url, BEFORE) as second:
        for gallery, name in ((first, "ann"), (second, HOSTILE)):
            gallery.page.locator("#list").focus()
            gallery.page.keyboard.press("End")
            gallery.page.keyboard.press("u")
            is_named(gallery, name)
            is_sent(gallery)
        first.page.keyboard.press("Home")
        first.page.keyboard.press("a")
        see(second, 0, "approved")
        second.page.keyboard.press("Home")
        second.page.keyboard.press("r")
        see(first, 0, "rejected")
        ran = cli(None, "review", "reject", "r1", "--by", "cli", "--store", dataset.store.root, "--dataset", "d")
        assert ran.status == 0, ran.stderr
        for gallery in (first, second):
            see(gallery, 1, "rejected")
        assert on_record(dataset) == {"r0": ("rejected", None, HOSTILE, 2), "r1": ("rejected", None, "cli", 1)}

        # Verdicts at the same moment: the page has not seen the other one yet.
        first.page.evaluate("gallery.activate(2)")
        first.page.context.set_offline(True)
        first.page.keyboard.press("a")
        until(first.page, "gallery.stateOf(gallery.recordAt(2)) === 'not sent'")
        second.page.evaluate("gallery.activate(2)")
        second.page.keyboard.press("r")
        is_sent(second)
        first.page.context.set_offline(False)
        see(first, 2, "rejected")
        until(first.page, "gallery.stateOf(gallery.recordAt(2)) === 'yours not recorded'")
        assert "1 not recorded" in said(first)
        first.page.keyboard.press("Enter")
        told = first.page.locator("#v-record").inner_text()
        assert told == f"Your approved was not recorded: {HOSTILE} rejected it since. Give it again to overrule that."
        first.page.keyboard.press("a")
        until(first.page, "gallery.named('v-record').textContent === 'On record by ann.'")
        see(second, 2, "approved")
        assert on_record(dataset)["r2"] == ("approved", None, "ann", 2)
        for gallery in (first, second):
            assert gallery.page.evaluate("window.hits") == 0
            assert gallery.page.evaluate("document.querySelectorAll('#viewer img[onerror], #server img').length") == 0


def test_verdicts_outlast_a_server_that_hangs_or_ends_and_go_on_record_later(opened: Opened, dataset: Dataset) -> None:
    with serving(dataset, "--by", "ann") as server, opened(server.url) as gallery:
        keys, pid = gallery.page.keyboard, server.process.pid or 0
        gallery.page.locator("#list").focus()
        os.kill(pid, signal.SIGSTOP)
        keys.press("a")
        keys.press("ArrowRight")
        keys.press("r")
        assert gallery.page.evaluate("gallery.judged()") == 2
        os.kill(pid, signal.SIGCONT)
        is_sent(gallery)
        assert {row: told[0] for row, told in on_record(dataset).items()} == {"r0": "approved", "r1": "rejected"}
        server.process.terminate()
        server.process.join(20)
        for key in ("ArrowRight", "a", "ArrowRight", "r"):
            keys.press(key)
        until(gallery.page, "/2 verdicts not sent: kept in this page/.test(gallery.named('server-said').textContent)")
        assert gallery.page.locator(".tile .trouble", has_text="not sent").count() == 2
        assert gallery.page.locator("#download").inner_text() == "Download verdicts.csv (2)"
        with serving(dataset, "--by", "ann", port=server.port) as anew:
            until(gallery.page, "/started anew/.test(gallery.named('server-said').textContent)")
            assert len(on_record(dataset)) == 2
            gallery.page.on("dialog", lambda dialog: dialog.accept())
            gallery.page.goto(anew.url)
            gallery.page.wait_for_url(f"{anew.base}/")
            until(gallery.page, "window.gallery && gallery.isLoaded")
            is_sent(gallery)
            assert {row: told[:1] for row, told in on_record(dataset).items()} == {
                "r0": ("approved",), "r1": ("rejected",), "r2": ("approved",), "r3": ("rejected",),
            }  # fmt: skip


def test_a_verdict_whose_answer_was_lost_is_recorded_once_and_the_next_one_follows_it(
    opened: Opened, dataset: Dataset
) -> None:
    is_lost = [True]

    def lose(route: Any) -> None:
        if not is_lost:
            route.continue_()
            return
        route.fetch()
        route.abort()

    with serving(dataset, "--by", "ann") as server, opened(server.url) as gallery:
        gallery.page.locator("#list").focus()
        gallery.page.route("**/verdicts", lose)
        gallery.page.keyboard.press("a")
        until(gallery.page, "gallery.stateOf(gallery.recordAt(0)) === 'not sent'")
        gallery.page.keyboard.press("ArrowRight")
        gallery.page.keyboard.press("r")
        gallery.page.keyboard.press("u")
        gallery.page.keyboard.press("ArrowLeft")
        gallery.page.keyboard.press("r")
        is_lost.clear()  # not `unroute`, which would take a route from a handler that is at work
        is_sent(gallery)
        see(gallery, 0, "rejected")
        found = on_record(dataset)
        assert found["r0"] == ("rejected", None, "ann", 2)
        assert found.get("r1", (None,))[0] is None
        assert "not recorded" not in said(gallery)


def test_new_images_are_told_and_shown_when_the_page_is_loaded_again(opened: Opened, dataset: Dataset) -> None:
    with serving(dataset, "--by", "ann") as server, opened(server.url) as gallery:
        assert gallery.counts().startswith(f"{ROWS} records")
        assert gallery.page.locator("#server-reload").is_hidden()
        gallery.page.locator("#list").focus()
        gallery.page.keyboard.press("a")
        is_sent(gallery)
        rows = [galleries.Row(f"r{n}", "p", (galleries.picture(n),)) for n in range(ROWS + 3)]
        galleries.write(dataset, rows, has_thumbnails=True)
        gallery.page.locator("#server-reload").click()
        until(gallery.page, f"window.gallery && gallery.isLoaded && gallery.records.length === {ROWS + 3}")
        see(gallery, 0, "approved")
        assert "new images" not in said(gallery)
        asked = [url for url in gallery.asked if not url.startswith((server.base, "data:,"))]
        assert asked == []


def test_the_rest_goes_on_record_whatever_its_number_and_no_verdict_of_others_is_overruled(
    opened: Opened, dataset: Dataset
) -> None:
    rows = [galleries.Row(f"r{n}", "p", (galleries.picture(n % 12),)) for n in range(120)]
    galleries.write(dataset, rows, has_thumbnails=True)
    review_rows(dataset, ["r1"], "rejected", None, "ben")
    with serving(dataset) as server, opened(server.url) as gallery:
        page, keys = gallery.page, gallery.page.keyboard
        see(gallery, 1, "rejected")
        keys.press("Shift+A")
        assert page.locator("#rest-title").inner_text() == "Approve 119 images?"
        review_rows(dataset, ["r2"], "rejected", None, "ben")  # while the question is open
        see(gallery, 2, "rejected")
        keys.press("Enter")
        is_named(gallery, "ann")
        is_sent(gallery)
        assert page.locator("#tally").inner_text() == "118 approved, 2 rejected, 0 undecided"
        found = on_record(dataset)
        assert len(found) == 120
        assert {row for row, told in found.items() if told != ("approved", None, "ann", 1)} == {"r1", "r2"}
        assert found["r1"] == found["r2"] == ("rejected", None, "ben", 1)


@pytest.mark.parametrize(
    ("width", "height", "scheme"), [(1400, 1000, "light"), (1280, 740, "dark"), (360, 740, "dark")]
)
def test_the_question_for_a_name_is_as_small_as_its_words_and_nothing_is_wrong_until_it_is_closed(
    opened: Opened, dataset: Dataset, width: int, height: int, scheme: Any
) -> None:
    with (
        serving(dataset) as server,
        opened(server.url, color_scheme=scheme, viewport={"width": width, "height": height}) as gallery,
    ):
        page, keys = gallery.page, gallery.page.keyboard
        keys.press("Enter")
        keys.press("a")
        until(page, "document.activeElement.id === 'who-name'")
        box = page.locator("#who").bounding_box()
        assert box is not None
        assert box["height"] < 260
        assert box["width"] < min(430, width)
        assert abs(box["y"] + box["height"] / 2 - height / 2) < 3, "in the middle"
        assert page.locator("#v-record").text_content() == "It will be recorded with your name."
        assert page.locator("#server-said").text_content() == "1 verdict will be recorded with your name."
        assert page.evaluate("document.querySelectorAll('.trouble, [data-state=trouble]').length") == 0
        keys.press("Escape")
        until(page, "/your name is missing/.test(gallery.named('v-record').textContent)")
        assert page.locator("#v-record.trouble").count() == page.locator("#server[data-state=trouble]").count() == 1


@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_serious_in_what_the_server_adds(opened: Opened, dataset: Dataset, width: int) -> None:
    axe = (installed(HERE / "javascript", "axe-core") / "axe.min.js").read_text(encoding="utf-8")
    scheme = "dark" if width == 360 else "light"
    review_rows(dataset, ["r1"], "rejected", None, "ben")
    with (
        serving(dataset) as server,
        opened(server.url, color_scheme=scheme, viewport={"width": width, "height": 740}) as gallery,
    ):
        page = gallery.page

        def judge() -> None:
            page.evaluate(axe)
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)")
            assert not [(one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in SERIOUS]
            assert page.evaluate("document.documentElement.scrollWidth") <= width

        judge()
        page.locator("#list").focus()
        page.keyboard.press("a")
        until(page, "document.activeElement.id === 'who-name'")
        judge()
        page.keyboard.press("Escape")
        until(page, "/your name is missing/.test(gallery.named('server-said').textContent)")
        judge()
        page.locator("#server-who").click()
        is_named(gallery, "ann")
        is_sent(gallery)
        stop(server)
        page.locator("#list").focus()
        page.keyboard.press("r")
        until(page, "gallery.stateOf(gallery.recordAt(0)) === 'not sent'")
        judge()
        page.keyboard.press("Enter")
        until(page, "/Not on record/.test(gallery.named('v-record').textContent)")
        judge()


SERIOUS = {"serious", "critical"}


def stop(server: Serving) -> None:
    server.process.terminate()
    server.process.join(20)
