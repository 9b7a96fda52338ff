"""Google's, ByteDance's and Black Forest Labs' models from table to images; the bill is the judge."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from dagster_gptimg.store.manifest_columns import DETAILS
from tests.harness import Fal, Ran, cli, records

SMALL: dict[str, tuple[str, ...]] = {
    "nano-banana-2": ("resolution=0.5K", "aspect_ratio=1:1"),
    "nano-banana-pro": ("limit_generations=true", "output_format=jpeg"),
    "seedream-5-pro": ("image_size=1024x1024",),
    "seedream-5-lite": ("image_size=auto_2K",),
    "flux-2": ("image_size=512x512", "seed=7", "guidance_scale=3"),
    "flux-2-pro": ("image_size=square", "safety_tolerance=5"),
}
"""Models, and arguments that make small images of known prices."""

TOLD = {"seedream-5-lite": {"seed"}, "flux-2": {"seed", "timings", "nsfw"}, "flux-2-pro": {"seed"}}
"""What results of these models say besides their images."""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


def table(folder: Path, rows: list[dict[str, Any]]) -> str:
    path = folder / "t.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    return str(path)


def call(fal: Fal | None, command: str, source: str, store: Path, model: str, *more: str) -> Ran:
    said = [part for each in SMALL[model] for part in ("--set", each)]
    named = ("--store", str(store), "--dataset", "d", "--model", model, "--references-from", str(Path(source).parent))
    return cli(fal, command, source, *named, *said, *more, "--json")


@pytest.mark.long  # up to a minute of waiting for the history; tests/e2e/test_open_questions.py has the quick one
@pytest.mark.parametrize("history", ["sent", "processed"])
@pytest.mark.parametrize("model", SMALL)
def test_images_and_edits_are_bought_once_also_when_replies_are_lost(
    model: str, history: str, fal: Fal, store: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "mug.png")
    rows: list[dict[str, Any]] = [{"prompt": f"a red cup, {n}"} for n in range(4)]
    rows += [{"prompt": "a blue mug", "image_urls": "mug.png"}]
    source = table(tmp_path, rows)
    fal.set(faults={"submit_lost": 0.4}, history_input=history)
    planned = call(None, "plan", source, store, model)
    assert (planned.status, planned.summary["bought"]) == (0, 5), planned.stderr
    ran = call(fal, "generate", source, store, model, "--settle", "20")
    assert (ran.status, ran.summary["images"]) == (0, 5), ran.stderr
    assert len(fal.charged()) == 5
    low, high = (Decimal(str(planned.summary["cost_usd"][end])) for end in ("low", "high"))
    assert low <= Decimal(fal.bill()["total_usd"]) <= high
    found = records(store, "d")
    assert sum(Decimal(str(row["cost_usd"])) for row in found) == pytest.approx(Decimal(fal.bill()["total_usd"]))
    assert len({row["endpoint"] for row in found}) == 2
    told = {name for name in DETAILS for row in found if row[name] is not None}
    assert told == {"black", "c2pa"} | TOLD.get(model, set())
    assert model != "flux-2" or {(row["seed"], row["nsfw"]) for row in found} == {(7, False)}
    assert call(fal, "generate", source, store, model).summary["bought"] == 0
    assert len(fal.charged()) == 5


def test_as_many_images_are_kept_as_may_come_and_each_is_counted(fal: Fal, store: Path, tmp_path: Path) -> None:
    source = table(tmp_path, [{"sku": str(n), "prompt": f"cups, {n}"} for n in range(4)])
    more = ("--set", "num_images=2", "--set", "max_images=2", "--id-column", "sku")
    planned = call(None, "plan", source, store, "seedream-5-lite", *more)
    assert planned.summary["bought"] == 16  # at most
    assert planned.summary["cost_usd"] == {"low": 0.28, "high": 0.56, "billed": 0.0}
    assert call(fal, "generate", source, store, "seedream-5-lite", *more, "--max-cost", "0.13").summary["bought"] == 0
    ran = call(fal, "generate", source, store, "seedream-5-lite", *more)
    assert ran.status == 0, ran.stderr
    found = records(store, "d")
    assert ran.summary["images"] == len(found) == fal.bill()["images"]
    assert 8 <= len(found) <= 16
    assert {row["images_wanted"] for row in found} == {4}
    assert ran.summary["cost_usd"]["billed"] == pytest.approx(float(fal.bill()["total_usd"])) == 0.035 * len(found)


def test_images_beyond_what_may_come_are_told_and_not_fetched(fal: Fal, store: Path, tmp_path: Path) -> None:
    fal.fail("cups", "more_images")
    source = table(tmp_path, [{"prompt": "cups"}])
    ran = call(fal, "generate", source, store, "seedream-5-lite", "--set", "num_images=2", "--set", "max_images=2")
    assert (ran.status, ran.summary["images"]) == (0, 4), ran.stderr
    assert len(list(store.rglob("*.png"))) == 4
    assert ran.summary["cost_usd"]["billed"] == float(fal.bill()["total_usd"]) == 0.175
    assert "fal returned 5 images instead of 4: 1 were not fetched" in ran.stderr
    assert all("1 were not fetched" in row["notes"] for row in records(store, "d"))
    [outcome] = store.rglob("*.outcome.*.json")
    assert "fal returned 5 images instead of 4: 1 were not fetched" in outcome.read_text()


def test_a_seed_that_would_buy_one_image_twice_is_refused_before_anything_is_sent(
    fal: Fal, store: Path, tmp_path: Path
) -> None:
    rows = [{"prompt": "a red cup", "seed": 7, "num_images": 1}, {"prompt": "a blue cup", "seed": 7, "num_images": 2}]
    ran = call(fal, "generate", table(tmp_path, rows), store, "nano-banana-2")
    assert ran.status == 2
    assert "with one seed it makes the same image each time, and each is billed" in ran.stderr
    assert fal.bill()["rows"] == []
