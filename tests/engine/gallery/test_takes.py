"""Takes in the gallery: the current one first, the others beside it, with what was said of each."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg import GeneratedImages, generate, open_dataset
from dagster_gptimg.engine import operations
from dagster_gptimg.engine.maintain.current_images import CurrentImages
from dagster_gptimg.engine.maintain.review import review
from dagster_gptimg.engine.maintain.verdict_file import parse_verdicts
from dagster_gptimg.fal.settings import FalSettings, FalUrls
from dagster_gptimg.store.gallery_layout import thumbnail_name
from dagster_gptimg.store.verdicts.verdicts import ImageId, image_of
from tests.definitions.ui import until
from tests.engine.gallery.test_build import built
from tests.galleries import picture
from tests.harness import emulator

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from dagster_gptimg.store.dataset import Dataset
    from tests.engine.gallery.conftest import Opened

    Made = Callable[..., GeneratedImages]

pytestmark = pytest.mark.xdist_group("gallery")

HEAD = "row_id,image_index,sha256,verdict,note,seen\n"
ROWS = [{"id": row, "prompt": f"cup {row}"} for row in "abc"]


@pytest.fixture(scope="module")
def made_by(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[Path], Made]]:
    """Calls of `generate` for three rows in a store."""
    with emulator(tmp_path_factory.mktemp("fal") / "state", "--latency", "0.02", "--slots", "20") as fal:
        settings = FalSettings("test-key", FalUrls.at(fal.url))
        given: dict[str, Any] = {"dataset": "d", "model": "gpt-image-1-mini", "id_column": "id", "progress": False}
        given |= {"arguments": {"quality": "low", "image_size": "1024x1024"}, "settings": settings}
        yield lambda store: lambda **more: generate(**{"prompts": ROWS, "store": store, **given, **more})


@pytest.fixture
def made(made_by: Callable[[Path], Made], store: Path) -> Made:
    """Row a has a rejected first take, and another; row b an approved first take, and another; row c one."""
    found = made_by(store)
    images = found()
    images.reject("a", note="no handle")
    images.approve("b")
    found(again=["rejected"])
    images.regenerate("b")
    return found


def takes(dataset: Dataset) -> list[tuple[Any, ...]]:
    names = ("row_id", "take", "is_other", "has_thumbnail", "verdict", "verdict_note")
    return [tuple(entry[name] for name in names) for entry in built(dataset).entries()]


def test_images_of_other_takes_are_behind_those_of_the_image_table(made: Made, store: Path) -> None:
    images = open_dataset(store, "d")
    assert takes(images.dataset) == [
        ("a", 1, 0, 1, None, None),
        ("b", 0, 0, 1, "approved", None),
        ("c", 0, 0, 1, None, None),
        ("a", 0, 1, 1, "rejected", "no handle"),
        ("b", 1, 1, 1, None, None),
    ]
    assert built(images.dataset).about["others"] == 2
    every = images.all_takes
    assert [(one.row_id, one.take) for one in every] == [("a", 1), ("b", 0), ("c", 0), ("a", 0), ("b", 1)]
    for one in every:
        assert one.sha256 is not None
        assert (store / "d" / thumbnail_name(one.sha256)).is_file()
    every.approve(every[3], by="ann")
    assert next((one.row_id, one.take, one.verdict) for one in open_dataset(store, "d")) == ("a", 1, None)
    assert made().summary.bought == 0
    assert next((one.row_id, one.take, one.verdict) for one in open_dataset(store, "d")) == ("a", 0, "approved")
    assert takes(images.dataset)[3] == ("a", 1, 1, 1, None, None)
    assert len(images) == 3, "a gallery adds nothing to the image table"


@pytest.mark.dagster
@pytest.mark.usefixtures("made")
def test_takes_stand_side_by_side_and_an_earlier_one_is_approved_after_all(opened: Opened, store: Path) -> None:
    dataset = open_dataset(store, "d").dataset
    with opened(operations.gallery(dataset).uri) as gallery:
        page, keys = gallery.page, gallery.page.keyboard
        assert gallery.shown() == ["a", "b", "c"]
        assert gallery.counts().startswith("3 of 5 records, 3 images")
        assert page.locator(".tile .copy").all_inner_texts() == ["take 2 of 2", "take 1 of 2", ""]
        page.locator("#list").focus()
        keys.press("Enter")
        assert "take 2 of 2, current" in page.locator("#v-status").inner_text()
        keys.press("c")
        captions = page.locator("#v-stage figcaption")
        until(page, "[...document.querySelectorAll('#v-stage img')].every(i => i.src.includes('/images/'))")
        assert captions.all_inner_texts() == ["take 1 of 2, not current rejected", "take 2 of 2, current"]
        page.locator("#v-stage figure img").first.click()
        assert "take 1 of 2, not current" in page.locator("#v-status").inner_text()
        assert page.locator("#v-note").input_value() == "no handle"
        keys.press("a")
        assert captions.first.inner_text() == "take 1 of 2, not current approved"
        keys.press("t")
        assert "take 2 of 2, current" in page.locator("#v-status").inner_text()
        keys.press("ArrowRight")
        keys.press("ArrowRight")
        assert page.locator("#v-take").is_hidden()
        keys.press("Escape")
        page.locator("#filters summary").click()
        page.locator("[data-facet=take]").select_option("not current")
        assert gallery.shown() == ["a", "b"]
        assert page.locator(".tile .other").count() == 2
        page.locator("#reset").click()
        assert len(gallery.shown()) == 5
        assert page.locator("#tally").inner_text() == "2 approved, 0 rejected, 3 undecided"
        page.locator("#rest-ask").click()
        assert page.locator("#rest-title").inner_text() == "Approve 2 images?"
        assert "not current stay as they are: 1 without" in page.locator("#rest-said").inner_text()
        page.locator("#rest-cancel").click()
        assert not gallery.said
        verdicts = str(page.evaluate("gallery.verdictsCsv()")).encode()
    found = review(dataset, parse_verdicts(verdicts, "verdicts.csv"), "ann")
    assert (found.recorded, found.not_applied) == (1, [])
    assert {(one.row_id, one.take): one.verdict for one in open_dataset(store, "d").all_takes} == {
        ("a", 0): "approved", ("a", 1): None, ("b", 0): "approved", ("b", 1): None, ("c", 0): None
    }  # fmt: skip


def test_a_server_of_a_review_takes_verdicts_on_every_take(made: Made, store: Path) -> None:
    images = open_dataset(store, "d")
    every = [image_of(record) for record in images.all_takes.table.to_pylist()]
    there = CurrentImages(images.dataset)
    assert len(every) == 5
    assert all(image is not None and there.has(image) for image in every)
    assert not there.has(ImageId("0" * 64, 0, "0" * 64))


def test_a_verdict_on_takes_of_the_same_bytes_is_on_the_current_one(
    made_by: Callable[[Path], Made], store: Path, tmp_path: Path
) -> None:
    """What a provider gives for a censored image is the same each time, and so is a cut-out."""
    (tmp_path / "a.png").write_bytes(picture(3, kind="PNG"))
    given = {"model": "birefnet-v2", "arguments": {}, "references_from": [str(tmp_path)]}
    rows = [{"id": "a", "image_url": str(tmp_path / "a.png")}]
    made = partial(made_by(store), prompts=rows, **given)
    made().reject("a")
    made(again=["rejected"])
    images = open_dataset(store, "d")
    now, before = images.all_takes
    assert (now.take, before.take, now.sha256) == (1, 0, before.sha256)
    assert [entry["flags"] for entry in built(images.dataset).entries()] == [["duplicate"]] * 2
    line = f"a,0,{now.sha256},rejected,,"
    for recorded in (1, 0):
        found = review(images.dataset, parse_verdicts(f"{HEAD}{line}".encode(), "verdicts.csv"), "ann")
        assert (found.recorded, found.not_applied) == (recorded, [])
    assert made(again=["rejected"]).summary.bought == 1
    assert [(one.take, one.verdict) for one in open_dataset(store, "d").all_takes] == [
        (2, None),
        (0, "rejected"),
        (1, "rejected"),
    ]
