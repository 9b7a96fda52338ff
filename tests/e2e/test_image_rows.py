"""Tables whose rows are images, by the command line and `generate()`: the price before, the bill after, each once."""

from __future__ import annotations

import json
import shutil
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from PIL import Image

from dagster_gptimg import generate
from dagster_gptimg.fal.settings import FalSettings, FalUrls
from tests.harness import Fal, Ran, cli, records

if TYPE_CHECKING:
    from pathlib import Path

TOPAZ = "topaz/upscale/image/precision"


def photos(folder: Path, sides: tuple[int, ...] = (64, 1300)) -> Path:
    folder.mkdir()
    for side in sides:
        Image.new("RGB", (side, side), "red").save(folder / f"{side}.png")
    return folder


def call(fal: Fal, command: str, table: Path, model: str, *more: str) -> Ran:
    named = (
        "--store",
        str(table.parent / "store"),
        "--dataset",
        "d",
        "--references-from",
        str(table.parent / "photos"),
    )
    return cli(fal, command, str(table), *named, "--model", model, "--image-column", "photo", *more, "--json")


def test_the_command_line_plans_by_pixels_and_buys_each_image_once(fal: Fal, tmp_path: Path) -> None:
    folder, table = photos(tmp_path / "photos"), tmp_path / "t.csv"
    table.write_text("photo,shelf\n64.png,a\n1300.png,b\n", encoding="utf-8")
    large = ("--set", "upscale_factor=4")  # 27 megapixels are two blocks of 24
    planned = call(fal, "plan", table, TOPAZ, *large).summary["cost_usd"]
    assert (planned["low"], planned["high"]) == (0.24, 0.24)
    made = call(fal, "generate", table, TOPAZ, *large)
    assert (made.status, made.summary["bought"]) == (0, 2), made.stderr
    assert made.summary["cost_usd"]["billed"] == 0.24
    stored = records(tmp_path / "store", "d")
    assert sorted(record["width"] for record in stored) == [256, 5200]
    assert {record["prompt"] for record in stored} == {""}

    shutil.move(folder / "64.png", folder / "moved.png")
    table.write_text("photo,shelf\n1300.png,b\nmoved.png,a\n", encoding="utf-8")
    again = call(fal, "generate", table, TOPAZ, *large)
    assert (again.summary["bought"], again.summary["reused"]) == (0, 2)
    assert len(fal.charged()) == 2


def test_other_images_of_the_same_number_are_no_repurchase(fal: Fal, tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    photos(tmp_path / "photos", tuple(range(1, 25)))
    for first in (1, 13):  # so many edited rows would stop a run
        table.write_text("\n".join(["photo", *(f"{n}.png" for n in range(first, first + 12))]), encoding="utf-8")
        made = call(fal, "generate", table, "bria-background-remove")
        assert (made.status, made.summary["bought"]) == (0, 12), made.stderr


def test_a_notebook_hands_images_on_and_a_price_that_is_not_known_fits_into_no_budget(fal: Fal, tmp_path: Path) -> None:
    settings = FalSettings("test-key", FalUrls.at(fal.url))
    photo = photos(tmp_path / "photos", (64,)) / "64.png"
    common: dict[str, Any] = {"store": tmp_path / "store", "settings": settings, "progress": False}
    cut = generate(
        [{"image_url": str(photo)}],
        dataset="cutouts",
        model="fal-ai/birefnet/v2",
        references_from=[str(photo.parent)],
        **common,
    )
    large = generate(
        [{"image_url": image.uri} for image in cut], dataset="large", model="clarity-upscaler", max_cost=0.05, **common
    )
    assert (large.summary.bought, [image.width for image in large]) == (1, [128])
    assert [image.arguments for image in large] == [{"image_url": f"sha256:{image.sha256}"} for image in cut]
    url = [{"image_url": "https://example.com/a.png"}]
    plan = generate(url, dataset="large", model="clarity-upscaler", plan_only=True, **common)
    assert not plan.summary.cost.is_known
    refused = generate(url, dataset="large", model="clarity-upscaler", max_cost=100, **common)
    assert (refused.summary.bought, refused.summary.not_submitted) == (0, 1)
    assert sum(Decimal(str(row["cost_usd"])) for row in fal.charged()) <= Decimal("0.12")
    assert json.dumps([row["endpoint_id"] for row in fal.charged()]).count("clarity") == 1
