"""`plan` with several `--model`: the same table with each of them, side by side."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.harness import Fal, Ran, cli

LOW = ("--set", "quality=low", "--set", "image_size=1024x1024")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    lines = [f"{n},a thing number {n},{'transparent' if n < 2 else ''}" for n in range(5)]
    path.write_text("\n".join(["sku,prompt,background", *lines]), encoding="utf-8")
    return path


def plan(table: Path, models: list[str], *more: str) -> Ran:
    named = ("--store", str(table.parent / "store"), "--dataset", "d", "--id-column", "sku", "--json")
    return cli(None, "plan", str(table), *named, *(part for name in models for part in ("--model", name)), *more)


def cells(ran: Ran, row: str) -> list[str]:
    """The cells of a row of the table, which are two blanks apart at least."""
    [line] = [line for line in ran.stderr.splitlines() if line.startswith(row)]
    return [cell.strip() for cell in line[len(row) :].split("  ") if cell.strip()]


def by_model(ran: Ran) -> dict[str, Any]:
    return {found["model"]: found for found in ran.summary["models"]}


def test_candidates_stand_side_by_side(table: Path) -> None:
    models = ["gpt-image-2", "gpt-image-2.5-flare", "nano-banana-2", "gpt-image-1-mini"]
    ran = plan(table, models, "--set", "quality=high", "--set", "image_size=1024x1024")
    assert ran.status == 0, ran.stderr
    assert ran.stderr.splitlines()[0].split() == models
    assert cells(ran, "cost") == ["$1.05", "$0.26", "$0.40", "$0.20"]
    assert cells(ran, "images to buy") == ["5", "5", "5", "5"]
    assert cells(ran, "images reused") == ["0"] * 4
    assert cells(ran, "rows refused") == ["0"] * 4
    assert cells(ran, "not carried over") == ["background", "-", "quality, image_size, background", "-"]
    meant = ["high (7,024 tokens)", "high (1,756 tokens)", "has none; resolution 1K", "high"]
    assert cells(ran, "quality (tokens of 1024x1024)") == meant
    assert cells(ran, "images per request") == ["4", "10", "4", "4"]
    assert cells(ran, "until, then") == ["-", "-", "-", "2026-12-01, gpt-image-2.5-flare"]
    left = "does not carry over to gpt-image-2: background (in 2 rows): gpt-image-2 does not have this input"
    assert left in " ".join(ran.stderr.split())
    found = by_model(ran)
    assert list(found) == models
    assert found["gpt-image-2"]["square_tokens"]["high"] == 4 * found["gpt-image-2.5-flare"]["square_tokens"]["high"]
    assert found["nano-banana-2"]["plan"]["cost_usd"] == {"low": 0.4, "high": 0.4, "billed": 0.0}
    assert [left["name"] for left in found["nano-banana-2"]["not_carried"]] == ["quality", "image_size", "background"]
    assert found["gpt-image-1-mini"]["successor"] == "gpt-image-2.5-flare"


def test_what_is_stored_is_told_by_model(fal: Fal, table: Path) -> None:
    named = ("--store", str(table.parent / "store"), "--dataset", "d", "--id-column", "sku")
    ran = cli(fal, "generate", str(table), *named, "--model", "gpt-image-2.5-flare", *LOW, "--json")
    assert ran.status == 0, ran.stderr
    planned = plan(table, ["gpt-image-2.5-flare", "gpt-image-2.5-sunburst"], *LOW)
    assert cells(planned, "images reused") == ["5", "0"]
    assert cells(planned, "images to buy") == ["0", "5"]
    assert cells(planned, "cost")[0] == "$0.00"
    assert "gpt-image-2.5-sunburst: 5 of the 5 rows that have images would be bought again" in " ".join(
        planned.stderr.split()
    )


def test_rows_that_a_model_refuses_are_counted_and_the_others_are_planned(table: Path) -> None:
    table.write_text("sku,prompt,num_images,seed\n0,ab,2,\n1,a hat,1,7\n2,no,4,\n", encoding="utf-8")
    ran = plan(table, ["nano-banana-2", "flux-2"])
    assert ran.status == 0, ran.stderr
    assert cells(ran, "rows refused") == ["2", "0"]
    assert cells(ran, "cost")[0] == "-"
    assert "nano-banana-2 refuses 2 rows:" in ran.stderr
    found = by_model(ran)
    assert (found["nano-banana-2"]["refused_rows"], found["nano-banana-2"]["plan"]) == (2, None)
    assert found["flux-2"]["plan"]["images"] == 7
    assert "at least 3 characters" in found["nano-banana-2"]["refusal"]
    assert "flux-2, not certain: fal's page says $0.012 a megapixel" in ran.stderr


def test_what_cannot_be_together_with_a_model_is_not_carried_over(table: Path) -> None:
    table.write_text("sku,prompt,num_images,seed\n0,a cup,2,7\n1,a hat,1,7\n", encoding="utf-8")
    ran = plan(table, ["nano-banana-2", "flux-2"])
    assert cells(ran, "not carried over") == ["seed", "-"]
    assert "does not carry over to nano-banana-2: seed (in 1 row): with one seed it makes the same image" in ran.stderr


def test_a_mistake_for_all_models_is_one(table: Path) -> None:
    ran = plan(table, ["gpt-image-2", "nano-banana-2"], "--set", "qualty=low")
    assert (ran.status, "did you mean quality?" in ran.stderr, ran.stdout) == (2, True, "")
    ran = plan(table, ["gpt-image-2", "no-such-model"])
    assert (ran.status, "there is no model 'no-such-model'" in ran.stderr) == (2, True)
    named = ("--store", str(table.parent / "store"), "--dataset", "d")
    ran = cli(None, "plan", "-", *named, "--model", "gpt-image-2", "--model", "flux-2", stdin=b"prompt\na cup\n")
    assert (ran.status, "standard input cannot" in ran.stderr) == (2, True)


def test_a_model_from_a_file_has_its_price(table: Path, fal: Fal) -> None:
    printed = cli(fal, "openapi", "fal-ai/gpt-image-1.5")
    (table.parent / "own.json").write_text(json.dumps(json.loads(printed.stdout)), encoding="utf-8")
    own = str(table.parent / "own.json")
    ran = plan(table, ["nano-banana-2", own], "--price", "0.5")
    assert cells(ran, "cost") == ["$0.40", "$2.50"]
    ran = plan(table, ["nano-banana-2", "flux-2"], "--price", "0.5")
    assert (ran.status, "--price is only for a model from a file" in ran.stderr) == (2, True)


def test_one_model_is_planned_as_ever(table: Path) -> None:
    once, twice = plan(table, ["gpt-image-2"]), plan(table, ["gpt-image-2", "gpt-image-2"])
    assert once.stderr.startswith("5 rows, 0 images reused; 5 images to buy")
    assert once.stderr == twice.stderr
    assert once.summary["model"] == "gpt-image-2"


def test_a_plan_says_why_its_price_is_a_range(table: Path) -> None:
    table.write_text("sku,prompt\n0,a cup\n", encoding="utf-8")
    why = "the price is a range: With `limit_generations: false` the model follows a prompt"
    assert why in plan(table, ["nano-banana-pro"]).stderr
    exact = plan(table, ["nano-banana-pro"], "--set", "limit_generations=true")
    assert "1 image to buy for $0.15\n" in exact.stderr
    assert "the price is a range" not in exact.stderr
