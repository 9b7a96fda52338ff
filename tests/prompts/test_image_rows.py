"""Tables whose rows are images, for models that need no prompt."""

from __future__ import annotations

from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from dagster_gptimg.base.image_size import image_size
from dagster_gptimg.engine.plan.plan import Plan, PlannedRow
from dagster_gptimg.engine.plan.request_keys import request_key
from dagster_gptimg.errors import TableError
from dagster_gptimg.fal.registry.builtin import get_model
from dagster_gptimg.fal.registry.price_formulas import Price
from dagster_gptimg.prompts import PromptSpec, ReferenceRoot, References, read_rows

if TYPE_CHECKING:
    from pathlib import Path

BIREFNET, CLARITY, TOPAZ = map(get_model, ("birefnet-v2", "clarity-upscaler", "topaz-precision"))


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    for name, form, size in (("a", "png", (64, 48)), ("b", "jpeg", (1000, 2000)), ("c", "webp", (10, 20))):
        Image.new("RGB", size, "red").save(tmp_path / f"{name}.{form}")
    (tmp_path / "again.png").write_bytes((tmp_path / "a.png").read_bytes())
    return tmp_path


def planned(table: Any, folder: Path, model: Any = BIREFNET, **spec: Any) -> list[PlannedRow]:
    found = PromptSpec(model, references=References([ReferenceRoot(str(folder))]), **spec)
    with Plan(read_rows(table, found), model) as plan:
        return list(plan)


def test_a_row_is_an_image_and_its_key_is_by_its_content(pictures: Path) -> None:
    first, second = planned([{"image_url": "a.png"}, {"image_url": "b.jpeg"}], pictures)
    [request] = first.requests
    assert request.arguments.keys() == {"image_url"}
    assert first.prompt == ""
    assert first.keys == [request_key(BIREFNET, request.arguments, 0)] != second.keys
    [moved] = planned([{"photo": "again.png", "prompt": "a cup"}], pictures, image_columns=("photo",))
    assert (moved.keys, moved.row_id) == (first.keys, first.row_id)
    assert moved.columns == '{"photo": "again.png", "prompt": "a cup"}'


def test_equal_images_of_one_table_are_told_apart_by_their_order(pictures: Path) -> None:
    first, second = planned([{"image_url": "a.png"}, {"image_url": "again.png"}], pictures)
    assert second.keys == [request_key(BIREFNET, first.requests[0].arguments, 1)]
    assert second.row_id == f"{first.row_id}-2"


def test_a_price_is_by_the_pixels_of_each_row(pictures: Path) -> None:
    table = [{"image_url": name} for name in ("a.png", "b.jpeg", "c.webp", "https://example.com/d.png")]
    rows = planned(table, pictures, TOPAZ, arguments={"upscale_factor": 4})
    dollars = map(Decimal, ("0.08", "0.16", "0.08"))
    assert [row.prices for row in rows[:3]] == [[Price(each, each)] for each in dollars]
    assert not rows[3].prices[0].is_known
    assert [request.sizes for row in rows for request in row.requests] == [
        {rows[0].requests[0].arguments["image_url"]: (64, 48)},
        {rows[1].requests[0].arguments["image_url"]: (1000, 2000)},
        {rows[2].requests[0].arguments["image_url"]: (10, 20)},
        {},
    ]


def test_a_prompt_that_is_not_needed_is_sent_where_a_row_has_one(pictures: Path) -> None:
    table = [{"image_url": "a.png", "prompt": "sharp"}, {"image_url": "a.png", "prompt": " "}, {"image_url": "a.png"}]
    rows = planned(table, pictures, CLARITY)
    assert [row.requests[0].arguments.get("prompt") for row in rows] == ["sharp", None, None]
    for row, copy in zip(rows, (0, 0, 1), strict=True):
        assert row.keys == [request_key(CLARITY, row.requests[0].arguments, copy)]
    [templated] = planned([{"image_url": "a.png", "thing": "cup"}], pictures, CLARITY, template="a {thing}")
    assert templated.requests[0].arguments["prompt"] == "a cup"


def test_a_table_without_a_column_of_images_is_told_what_to_name(pictures: Path) -> None:
    with pytest.raises(TableError, match=r"has no column of images, and birefnet-v2 works on an image: name the image"):
        planned([{"photo": "a.png"}], pictures)
    with pytest.raises(TableError, match="works on an image, but the row has none") as caught:
        planned([{"image_url": "a.png"}, {"image_url": ""}], pictures)
    assert [problem.line for problem in caught.value.problems] == [2]
    with pytest.raises(TableError, match="image_url"):
        planned([{"photo": "a.png", "more": "b.jpeg"}], pictures, image_columns=("photo", "more"))


def test_sizes_are_read_from_headers_and_not_from_what_is_no_image(pictures: Path) -> None:
    assert image_size((pictures / "b.jpeg").read_bytes()) == (1000, 2000)
    for data in (b"", b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR", b"RIFF\0\0\0\0WEBP", b"\xff\xd8\xff\xe0"):
        assert image_size(data) is None
