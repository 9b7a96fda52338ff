"""The round of a review: verdicts on record into the gallery, those of its page into the store, and back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine import operations
from dagster_gptimg.engine.maintain.review import Reviewed, review, review_rows
from dagster_gptimg.engine.maintain.verdict_file import parse_verdicts
from dagster_gptimg.store.manifest import read_manifest
from tests import galleries
from tests.definitions.ui import until
from tests.engine.gallery.test_build import built

if TYPE_CHECKING:
    from dagster_gptimg.store.dataset import Dataset
    from tests.engine.gallery.conftest import Opened, Opening


@pytest.fixture
def dataset(dataset: Dataset) -> Dataset:
    """Rows a, b and c with an image each. No verdict is in the image table as it was written."""
    galleries.write(dataset, [galleries.Row(row, "p", (galleries.picture(n),)) for n, row in enumerate("abc")])
    return dataset


def verdicts(dataset: Dataset) -> list[tuple[Any, ...]]:
    """What a gallery that is built now says of the rows."""
    names = ("row_id", "verdict", "verdict_note", "verdict_number")
    return [tuple(entry[name] for name in names) for entry in built(dataset).entries()]


def csv_of(opening: Opening) -> bytes:
    return str(opening.page.evaluate("gallery.verdictsCsv()")).encode()


def imported(dataset: Dataset, data: bytes) -> Reviewed:
    return review(dataset, parse_verdicts(data, "verdicts.csv"), "ann")


def test_a_gallery_has_the_verdicts_that_were_given_after_the_image_table_was_written(dataset: Dataset) -> None:
    assert verdicts(dataset) == [("a", None, None, 0), ("b", None, None, 0), ("c", None, None, 0)]
    review_rows(dataset, ["a"], "approved", "good", "ann")
    review_rows(dataset, ["b"], "rejected", None, "ann")
    review_rows(dataset, ["b"], "cleared", None, "ann")
    assert verdicts(dataset) == [("a", "approved", "good", 1), ("b", None, None, 2), ("c", None, None, 0)]
    assert dict(built(dataset).details()[0][1])["verdict_by"] == "ann"
    galleries.write(dataset, [galleries.Row("a", "p", (galleries.picture(7),))])  # another image of the same request
    (entry,) = built(dataset).entries()
    assert (entry["verdict"], entry["verdict_number"], entry["flags"]) == (None, 0, ["its verdict does not count"])


@pytest.mark.dagster
@pytest.mark.xdist_group("gallery")
def test_the_verdicts_of_a_page_are_applied_once_on_top_of_those_it_showed(opened: Opened, dataset: Dataset) -> None:
    review_rows(dataset, ["a", "c"], "approved", "good", "ben")
    with opened(operations.gallery(dataset).uri) as gallery:
        assert gallery.page.locator(".tile .approved").count() == 2
        gallery.page.locator("#list").focus()
        for key in ("u", "ArrowRight", "r", "ArrowRight", "r"):
            gallery.page.keyboard.press(key)
        data = csv_of(gallery)
    found = imported(dataset, data)
    assert (found.recorded, found.unchanged, found.not_applied) == (3, 0, [])
    assert verdicts(dataset) == [("a", None, None, 2), ("b", "rejected", None, 1), ("c", "rejected", "good", 2)]
    found = imported(dataset, data)
    assert (found.recorded, found.unchanged, found.not_applied) == (0, 3, [])
    assert [row["verdict_number"] for row in read_manifest(dataset, None).to_pylist()] == [2, 1, 2]


@pytest.mark.dagster
@pytest.mark.xdist_group("gallery")
def test_a_verdict_kept_in_the_browser_is_on_what_was_seen_until_it_is_given_again(
    opened: Opened, dataset: Dataset
) -> None:
    def reload() -> None:
        operations.gallery(dataset)
        gallery.page.reload()
        until(gallery.page, "window.gallery && gallery.isLoaded")
        gallery.page.locator("#list").focus()

    with opened(operations.gallery(dataset).uri) as gallery:
        gallery.page.on("dialog", lambda dialog: dialog.accept())
        gallery.page.locator("#list").focus()
        gallery.page.keyboard.press("a")
        review_rows(dataset, ["a"], "rejected", "two handles", "ben")
        reload()
        found = imported(dataset, csv_of(gallery))
        assert [one.why for one in found.not_applied] == ["stale"]
        assert verdicts(dataset)[0] == ("a", "rejected", "two handles", 1)
        gallery.page.keyboard.press("a")
        found = imported(dataset, csv_of(gallery))
        assert (found.recorded, found.not_applied) == (1, [])
        reload()  # what is on record by now is no longer the page's own
        assert gallery.page.locator(".tile .approved").count() == 1
        assert csv_of(gallery).count(b"\r\n") == 1
