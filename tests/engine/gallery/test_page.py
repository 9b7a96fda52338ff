"""The gallery in a real browser, opened from disk. (Marked as Dagster's UI is: both need Debian's chromium.)"""

from __future__ import annotations

import csv
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine import operations
from tests import galleries
from tests.definitions.ui import until
from tests.engine.gallery.hostile import LONG, TEXTS
from tests.node_packages import installed

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset
    from tests.engine.gallery.conftest import Opened, Opening

pytestmark = [pytest.mark.dagster, pytest.mark.xdist_group("gallery")]

HERE = Path(__file__).parent
MOST_NODES = 1_200
"""Elements of the page, whatever the number of records: some 8 a tile, for the tiles in and near sight."""

DRAWN = "new Promise(done => requestAnimationFrame(() => requestAnimationFrame(done)))"
"""Comes when what was typed has been looked for, and the page is drawn."""

FILES = 10
"""The page's own: HTML, CSS, scripts, its description."""


def download(opening: Opening, how: str) -> list[dict[str, str]]:
    with opening.page.expect_download() as expected:
        opening.page.keyboard.press(how)
    assert expected.value.suggested_filename == "verdicts.csv"
    with Path(expected.value.path()).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def tab_to(opening: Opening, name: str) -> None:
    """Press Tab until an element has the focus."""
    for _ in range(40):
        if opening.page.evaluate("document.activeElement.id") == name:
            return
        opening.page.keyboard.press("Tab")
    raise AssertionError(f"{name} cannot be reached with Tab")


def test_it_shows_all_records_of_all_statuses_with_their_reasons(opened: Opened, shop_page: str) -> None:
    with opened(shop_page) as gallery:
        assert gallery.counts() == "235 records, 230 images, $2.30"
        gallery.page.locator("#filters summary").click()
        gallery.page.locator("[data-facet='field:status']").select_option("refused")
        assert gallery.counts() == "3 of 235 records, 0 images, $0.00"
        assert "content policy" in gallery.page.locator(".tile").first.inner_text()
        gallery.page.locator(".tile").first.click()
        assert "content policy" in gallery.page.locator("#v-details").inner_text()
        assert "category\nmugs" in gallery.page.locator("#v-details").inner_text()


def test_search_filters_order_and_groups(opened: Opened, shop_page: str) -> None:
    with opened(shop_page) as gallery:
        page = gallery.page
        columns = page.locator(".line").first.locator(".tile").count()
        assert columns == 6
        page.locator("#search").fill("HATS studio")
        page.evaluate(DRAWN)
        assert set(gallery.shown()) == {f"sku-{n:05}" for n in range(120) if n % 5 == 1 and n // 5 % 3 == 0}
        page.locator("#search").fill("")
        page.evaluate(DRAWN)
        page.locator("#filters summary").click()
        page.locator("[data-facet='column:category']").select_option("lamps")
        page.locator("[data-facet='input:quality']").select_option("high")
        assert set(gallery.shown()) == {f"sku-{n:05}" for n in range(120) if n % 5 == 4 and n % 4 == 0}
        page.locator("#reset").click()
        page.locator("#sort").select_option("newest")
        assert gallery.shown()[0] == "sku-00119"
        page.locator("#group").select_option("column:style")
        assert page.locator(".heading").first.inner_text().startswith(("studio (", "flat lay (", "outdoor ("))
        page.locator("#search").fill("nothing has this")
        page.evaluate(DRAWN)
        assert page.locator("#nothing").is_visible()
        page.locator("#reset-too").click()
        assert len(gallery.shown()) == 235
        assert page.locator(".line").first.locator(".tile").count() == columns


NAIVE = """
text => gallery.records.filter(one => text.toLowerCase().split(/\\s+/).filter(Boolean).every(word =>
  [one.row_id, one.prompt, one.status, one.error, ...one.flags, ...one.columns.values()]
    .some(part => part && part.toLowerCase().includes(word)))).map(one => one.row_id)
"""


def test_a_search_finds_what_every_text_was_looked_through_for(opened: Opened, dataset: Dataset) -> None:
    words = ("red", "Reddish", "redder", "re", "d", "ÄÖ", "ß", "🪑", "x-1", "-1", "\\", "1 1", "\x00", "constructor")
    texts = [f"{words[n % 14]} {words[n % 5]}{words[n % 3]} {n}" for n in range(1_200)]
    rows = [galleries.Row(f"x-{n}", text, (), "failed", (("c", words[n % 7]),)) for n, text in enumerate(texts)]
    galleries.write(dataset, rows)
    with opened(operations.gallery(dataset).uri) as gallery:

        def found(text: str) -> list[str]:
            gallery.page.locator("#search").fill(text)
            gallery.page.evaluate(DRAWN)
            return gallery.shown()

        typed = ["redder 12"[:length] for length in (0, 1, 3, 6, 8, 9)]  # each one narrows the last
        for text in (*typed, *reversed(typed), *words, "red äö", "-1 x-2 red", "nothing has this", "d c e"):
            assert found(text) == gallery.page.evaluate(NAIVE, text), text


def test_copies_stand_side_by_side(opened: Opened, shop_page: str) -> None:
    with opened(shop_page) as gallery:
        gallery.page.locator("#list").focus()
        gallery.page.keyboard.press("Enter")
        assert gallery.page.locator("#v-stage figure").count() == 1
        gallery.page.keyboard.press("c")
        images = gallery.page.locator("#v-stage figure img")
        assert images.count() == 2
        until(
            gallery.page,
            "[...document.querySelectorAll('#v-stage img')].every(i => i.src.includes('/images/') && i.naturalWidth)",
        )
        assert gallery.page.locator("#v-stage [aria-current]").count() == 1
        gallery.page.keyboard.press("ArrowRight")
        assert gallery.page.locator("#v-place").inner_text() == "2 of 235"


def test_keys_alone_do_a_whole_review(opened: Opened, shop_page: str) -> None:
    with opened(shop_page) as gallery:
        keys = gallery.page.keyboard
        tab_to(gallery, "list")
        for key in ("a", "ArrowRight", "r", "ArrowRight", "r", "u", "ArrowRight", "Enter", "r"):
            keys.press(key)
        tab_to(gallery, "v-note")
        keys.type('too "dark", a bit')
        keys.press("Escape")
        until(gallery.page, "document.activeElement.id === 'list'")
        for _ in range(4):
            keys.press("ArrowDown")
        keys.press("a")
        fifth = gallery.page.evaluate("gallery.recordAt(gallery.active())")
        for _ in range(40):
            if gallery.page.evaluate("document.activeElement.id") == "download":
                break
            keys.press("Shift+Tab")
        found = download(gallery, "Enter")
    told = [(line["row_id"], line["image_index"], line["verdict"], line["note"], line["seen"]) for line in found]
    assert told == [
        ("sku-00000", "0", "approved", "", "0"),
        ("sku-00000", "1", "rejected", "", "0"),
        ("sku-00001", "1", "rejected", 'too "dark", a bit', "0"),
        (fifth["row_id"], str(fifth["image_index"]), "approved", "", "0"),
    ]
    assert found[-1]["sha256"] == fifth["sha256"]
    assert list(found[0]) == ["row_id", "image_index", "sha256", "verdict", "note", "seen"]


def test_keys_act_on_the_list_as_soon_as_it_is_open_and_wherever_no_field_has_them(
    opened: Opened, shop_page: str
) -> None:
    with opened(shop_page) as gallery:
        page, keys = gallery.page, gallery.page.keyboard
        assert has_focus(gallery) == "list"
        keys.press("ArrowRight")
        keys.press("r")
        assert verdicts(gallery) == {1: "rejected"}
        for element in ("#title", "#filters summary"):
            page.locator(element).click()
            assert has_focus(gallery) != "list"
            keys.press("ArrowRight")
            keys.press("a")
            assert has_focus(gallery) == "list"
        assert verdicts(gallery) == {1: "rejected", 2: "approved", 3: "approved"}
        page.locator("#filters summary").focus()
        keys.press("Enter")
        assert page.locator("#filters[open]").count() == 0, "a button keeps the keys that press it"
        for field in ("#sort", "#group", "#search"):
            page.locator(field).focus()
            for key in ("r", "a", "Home"):
                keys.press(key)
            assert has_focus(gallery) == field[1:]
        assert page.locator("#search").input_value() == "ra"
        assert len(verdicts(gallery)) == 3
        page.locator("#search").fill("")
        for way, text in (("Enter", "hats"), ("ArrowDown", "lamps"), ("Escape", "mugs")):
            keys.press("/")
            page.locator("#search").select_text()
            keys.type(text)
            keys.press(way)
            assert (has_focus(gallery), page.locator("#search").input_value()) == ("list", text)
            assert 0 < len(gallery.shown()) < 100, "what was typed last is looked for"
        keys.press("r")
        first = page.evaluate("gallery.recordAt(0).number")
        assert verdicts(gallery)[first] == "rejected"
        assert page.locator("#search").input_value() == "mugs"


def has_focus(opening: Opening) -> str:
    """The id of the element that has the focus."""
    return str(opening.page.evaluate("document.activeElement.id"))


def verdicts(opening: Opening) -> dict[int, str]:
    """All verdicts in the page, by the number of their record."""
    found: list[tuple[int, str]] = opening.page.evaluate(
        "gallery.records.map(one => [one.number, gallery.verdictOf(one).verdict]).filter(([, verdict]) => verdict)"
    )
    return dict(found)


def test_the_rest_is_approved_at_once_after_a_question_that_says_how_many(opened: Opened, shop_page: str) -> None:
    with opened(shop_page) as gallery:
        page, keys = gallery.page, gallery.page.keyboard
        tally = page.locator("#tally")
        assert tally.inner_text() == "0 approved, 0 rejected, 230 undecided"
        keys.press("r")
        assert tally.inner_text() == "0 approved, 1 rejected, 229 undecided"
        page.locator("#search").fill("mugs")
        keys.press("Enter")
        shown = len(gallery.shown())
        numbers: set[int] = set(
            page.evaluate(
                "[...Array(gallery.places()).keys()].map(gallery.recordAt).filter(o => o.sha256).map(o => o.number)"
            )
        )
        left = numbers - set(verdicts(gallery))
        assert 0 < len(left) < shown, "one is rejected, or has no image"
        keys.press("Shift+A")
        assert page.locator("#rest-title").inner_text() == f"Approve {len(left)} images?"
        keys.press("Escape")
        until(page, "document.activeElement.id === 'list'")
        assert len(verdicts(gallery)) == 1
        keys.press("Shift+A")
        keys.press("Enter")
        until(page, "document.activeElement.id === 'list'")
        given = verdicts(gallery)
        assert {number for number, verdict in given.items() if verdict == "approved"} == left
        assert [verdict for number, verdict in given.items() if number not in left] == ["rejected"]
        assert page.locator(".tile .mark.approved").count() > 10
        assert page.locator("#rest-ask").is_disabled()
        page.locator("#search").fill("")
        until(page, "gallery.places() === 235")
        assert tally.inner_text() == f"{len(left)} approved, 1 rejected, {229 - len(left)} undecided"
        for _ in range(40):
            if has_focus(gallery) == "download":
                break
            keys.press("Tab")
        found = download(gallery, "Enter")
        assert sorted(line["verdict"] for line in found) == ["approved"] * len(left) + ["rejected"]


@pytest.mark.parametrize("has_storage", [True, False])
def test_verdicts_outlast_a_reload_where_there_is_storage_and_work_without(
    opened: Opened, shop_page: str, *, has_storage: bool
) -> None:
    none = "Object.defineProperty(window, 'localStorage', {get() { throw new Error('none'); }});"
    with opened(shop_page, before="" if has_storage else none) as gallery:
        gallery.page.locator("#list").focus()
        gallery.page.keyboard.press("r")
        assert gallery.page.locator("#download").inner_text() == "Download verdicts.csv (1)"
        assert gallery.page.locator(".tile .rejected").count() == 1
        gallery.page.on("dialog", lambda dialog: dialog.accept())
        gallery.page.reload()
        until(gallery.page, "window.gallery && gallery.isLoaded")
        assert gallery.page.locator(".tile .rejected").count() == int(has_storage)
        gallery.page.locator("#filters summary").click()
        gallery.page.locator("[data-facet=verdict]").select_option("rejected")
        assert len(gallery.shown()) == int(has_storage)


STRANGE = """
[...document.querySelectorAll('#lines *, #viewer *, header *')].filter(one =>
  !/^(A|BDI|BUTTON|DD|DETAILS|DIV|DL|DT|FIGCAPTION|FIGURE|H1|H2|IMG|INPUT|KBD|LABEL|OPTION|P|SECTION|SELECT|SPAN|SUMMARY)$/
    .test(one.tagName) || [...one.attributes].some(own => own.name.startsWith('on') || own.name === 'srcdoc'))
  .map(one => one.outerHTML.slice(0, 200))
"""
"""The elements that are none of the page's own: markup that was made of a text."""


def test_no_hostile_text_runs_or_becomes_markup(opened: Opened, dataset: Dataset, tmp_path: Path) -> None:
    assert len(TEXTS) == 50
    assert len(LONG) == 10_000
    rows = []
    for number, text in enumerate(TEXTS):
        own = ((text, text), ("url", text), ("kind", TEXTS[number % 20]))
        image = (galleries.picture(number),) if number % 2 else ()
        rows.append(galleries.Row(text, text, image, "stored" if image else text, own, (("style", text),), error=text))
    galleries.write(dataset, rows, "</script><script>window.hit()</script>")
    before = "window.hits = 0; window.hit = () => { window.hits++; }; window.alert = window.hit;"
    with opened(operations.gallery(dataset, to=str(tmp_path / "to")).uri, before) as gallery:
        page = gallery.page
        assert page.evaluate(STRANGE) == []  # first: what it has broken would be waited for
        assert gallery.shown() == list(TEXTS)
        page.locator("#filters summary").click()
        page.locator("#group").select_option("row")
        page.locator("#list").focus()
        page.keyboard.press("Enter")
        for number, text in enumerate(TEXTS):
            assert page.evaluate(STRANGE) == []
            until(page, "document.querySelectorAll('#v-details dd').length > 5")
            assert page.evaluate(STRANGE) == []
            assert page.evaluate("document.getElementById('v-prompt').textContent") == text
            links: list[str] = page.evaluate("[...document.querySelectorAll('#viewer a[href]')].map(a => a.protocol)")
            assert set(links) <= {"file:", "https:"}, text
            page.keyboard.press("a")
            if number < len(TEXTS) - 1:
                page.keyboard.press("ArrowRight")
                until(page, f"document.getElementById('v-place').textContent.startsWith('{number + 2} ')")
        page.keyboard.press("Escape")
        assert page.evaluate("window.hits") == 0
        assert page.evaluate("Object.keys(Object.prototype).length") == 0
        assert (
            page.evaluate("document.querySelectorAll('script:not([src]), iframe, svg, form, style, base').length") == 0
        )
        assert not gallery.said
        assert outside(gallery, tmp_path) == []
        verdicts = page.evaluate("gallery.verdictsCsv()")
    found = list(csv.DictReader(verdicts.splitlines(keepends=True)))
    assert {line["row_id"] for line in found} >= {text for n, text in enumerate(TEXTS) if n % 2 and text.isprintable()}


def outside(gallery: Opening, folder: Path) -> list[str]:
    """What was asked for that is not within a folder, and not in memory."""
    own = (folder.as_uri() + "/", "blob:", "data:,")
    return [url for url in gallery.asked if not url.startswith(own)]


def test_few_elements_and_files_however_many_records(opened: Opened, dataset: Dataset) -> None:
    images = [galleries.picture(number, 32) for number in range(50)]
    rows = (galleries.Row(f"r{n}", f"prompt {n}", (images[n % 50],)) for n in range(3_000))
    galleries.write(dataset, rows, has_thumbnails=True)
    with opened(operations.gallery(dataset).uri) as gallery:
        assert gallery.nodes() < MOST_NODES
        assert len([url for url in gallery.asked if url.endswith(".js") and "/data/" in url]) == 3
        assert len(gallery.asked) < FILES + 3 + 50
        step, blank = 600, []
        for top in range(0, 30_000, step):
            gallery.page.evaluate(f"document.getElementById('list').scrollTop = {top}")
            gallery.page.evaluate(DRAWN)
            if not gallery.page.evaluate("!!document.elementFromPoint(100, 500).closest('.tile, .line')"):
                blank.append(top)
            assert gallery.nodes() < MOST_NODES
        assert not blank
        gallery.page.locator("#list").focus()
        gallery.page.keyboard.press("End")
        gallery.page.keyboard.press("Enter")
        until(gallery.page, "document.querySelectorAll('#v-details dd').length > 5")
        assert gallery.page.locator("#v-title").inner_text() == "r2999"
        details = [url for url in gallery.asked if "/data/" in url]
        assert len(details) == 3 + 1
        assert not outside(gallery, Path(dataset.store.root))
        assert not gallery.said


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
def test_axe_finds_nothing_serious(opened: Opened, shop_page: str, scheme: Any, width: int) -> None:
    axe = (installed(HERE / "javascript", "axe-core") / "axe.min.js").read_text(encoding="utf-8")
    with opened(shop_page, color_scheme=scheme, viewport={"width": width, "height": 740}) as gallery:
        page = gallery.page

        def judge() -> None:
            page.evaluate(axe)
            found = page.evaluate("axe.run(document, {resultTypes: ['violations']}).then(r => r.violations)")
            bad = [
                (one["id"], one["nodes"][0]["html"][:200]) for one in found if one["impact"] in {"serious", "critical"}
            ]
            assert not bad
            assert page.evaluate("document.documentElement.scrollWidth") <= width

        page.locator("#list").focus()
        page.keyboard.press("a")
        page.keyboard.press("ArrowRight")
        page.keyboard.press("r")
        judge()
        page.locator("#filters summary").click()
        page.locator("#group").select_option("row")
        judge()
        page.locator("#list").focus()
        page.keyboard.press("Enter")
        until(page, "document.querySelectorAll('#v-details dd').length > 5")
        judge()
        page.keyboard.press("c")
        judge()
        page.keyboard.press("Escape")
        page.keyboard.press("Shift+A")
        until(page, "document.getElementById('rest').open")
        judge()


def test_a_copy_of_the_folder_is_whole(opened: Opened, shop: Dataset, tmp_path: Path) -> None:
    operations.gallery(shop, to=str(tmp_path / "first"))
    (tmp_path / "first").rename(tmp_path / "moved")
    with opened((tmp_path / "moved" / "index.html").as_uri()) as gallery:
        gallery.page.locator(".tile").first.click()
        until(gallery.page, "document.querySelector('#v-stage img').naturalWidth === 96")
        assert "/moved/images/" in gallery.page.evaluate("document.querySelector('#v-stage img').src")
        assert not outside(gallery, tmp_path / "moved")
