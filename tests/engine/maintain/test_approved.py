"""Approved images: what is published, what still stands of it, and which verdicts it was made from."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest

from dagster_gptimg.engine.maintain.approved import publish, standing, verdicts_used
from dagster_gptimg.engine.maintain.review import review_rows
from dagster_gptimg.errors import UsageError
from dagster_gptimg.store.approved_table import erase_from_approved, read_approved
from dagster_gptimg.store.verdicts.verdict_columns import NO_VERDICTS, LastVerdicts
from tests import galleries
from tests.galleries import BEGAN, Row, picture

if TYPE_CHECKING:
    from collections.abc import Sequence

    from dagster_gptimg.store.dataset import Dataset


@pytest.fixture
def dataset(request: pytest.FixtureRequest) -> Dataset:
    """Three cups, stored a second after one another, and a hat in another partition."""
    made = galleries.dataset_in(f"memory://{request.node.name}")
    galleries.write(made, [Row(f"cup-{n}", "a cup", (picture(n),)) for n in range(3)], "cups")
    galleries.write(made, [Row("hat", "a hat", (picture(9),))], "hats")
    return made


def judge(dataset: Dataset, rows: Sequence[str], verdict: Any = "approved") -> None:
    assert review_rows(dataset, rows, verdict, None, "ann").recorded == len(rows)


def digests(dataset: Dataset) -> dict[str | None, str]:
    verdicts = LastVerdicts(dataset)
    found = {key: verdicts_used(dataset, verdicts, key) for key in ("cups", "hats", "bags")}
    return {key: used.digest for key, used in found.items() if used is not None}


def test_an_image_is_overdue_when_it_has_waited_for_longer_than_allowed(dataset: Dataset) -> None:
    judge(dataset, ["cup-0"], "rejected")
    stored = BEGAN + timedelta(seconds=20)  # the first one
    for after, waited, overdue in (
        (None, 0.0, ("cup-1", "cup-2")),
        (60.0, 60.0, ()),
        (60.0, 61.5, ("cup-1",)),
        (60.0, 62.5, ("cup-1", "cup-2")),
    ):
        given = None if after is None else timedelta(seconds=after)
        found = standing(dataset, "cups", given, stored + timedelta(seconds=waited))
        assert (found.overdue, found.images, found.without_verdict) == (overdue, 3, 2)


def test_verdicts_are_told_apart_by_the_images_that_they_are_on(dataset: Dataset) -> None:
    assert digests(dataset) == {"cups": NO_VERDICTS, "hats": NO_VERDICTS}
    judge(dataset, ["cup-0"])
    first = digests(dataset)
    assert first == {"cups": publish(dataset, "cups").used.digest, "hats": NO_VERDICTS}
    judge(dataset, ["hat"])
    assert digests(dataset) == first | {"hats": publish(dataset, "hats").used.digest}
    judge(dataset, ["cup-0"], "cleared")
    again = digests(dataset)
    assert again["cups"] not in {first["cups"], NO_VERDICTS}
    assert publish(dataset, "cups").used == (1, again["cups"])


def test_what_was_published_stays_as_it_was_until_it_is_published_again(dataset: Dataset) -> None:
    judge(dataset, ["cup-0", "cup-1"])
    assert standing(dataset, "cups").is_published is False
    publish(dataset, "cups")
    judge(dataset, ["cup-1"], "rejected")
    assert read_approved(dataset, "cups")["row_id"].to_pylist() == ["cup-0", "cup-1"]
    found = standing(dataset, "cups")
    assert (found.withdrawn, found.unpublished, found.is_published) == (("cup-1",), 0, True)
    publish(dataset, "cups")
    assert read_approved(dataset, "cups")["row_id"].to_pylist() == ["cup-0"]
    assert standing(dataset, "cups").withdrawn == ()


def test_no_receipt_is_looked_at(dataset: Dataset, monkeypatch: pytest.MonkeyPatch) -> None:
    looked, true = list[str](), dataset.store.names

    def names(folder: str, *rest: Any) -> Any:
        looked.append(folder)
        return true(folder, *rest)

    monkeypatch.setattr(dataset.store, "names", names)
    judge(dataset, ["cup-0"])
    publish(dataset, "cups")
    standing(dataset, "cups")
    digests(dataset)
    assert looked
    assert not [folder for folder in looked if "receipts" in folder]


def test_erased_images_leave_the_published_table_and_one_that_cannot_be_read_goes(dataset: Dataset) -> None:
    judge(dataset, ["cup-0", "cup-1", "hat"])
    publish(dataset, "cups")
    publish(dataset, "hats")
    keys = read_approved(dataset, "cups")["request_key"].to_pylist()
    dataset.store.write("d/manifests/hats/approved.parquet", b"a cut file with a prompt in it")
    erase_from_approved(dataset, keys[:1])
    assert read_approved(dataset, "cups")["request_key"].to_pylist() == keys[1:]
    with pytest.raises(FileNotFoundError):
        read_approved(dataset, "hats")


def test_without_an_image_table_nothing_is_published(dataset: Dataset) -> None:
    for ask in (publish, standing):
        with pytest.raises(UsageError, match="partition 'bags' of dataset 'd' has no image table yet, so nothing can"):
            ask(dataset, "bags")
    with pytest.raises(FileNotFoundError):
        read_approved(dataset, "bags")
