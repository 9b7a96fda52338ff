"""The guard against buying everything again: a changed template or default stops before anything is sent."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from tests.harness import Fal, Ran, cli

if TYPE_CHECKING:
    from pathlib import Path

LOW = ("--set", "quality=low", "--set", "image_size=1024x1024")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("sku,thing,colour\n" + "".join(f"{n},cup,{n} red\n" for n in range(10)), encoding="utf-8")
    return path


def generate(fal: Fal, table: Path, *more: str, store: str = "store") -> Ran:
    named = ("--store", str(table.parent / store), "--dataset", "d")
    return cli(fal, "generate", str(table), *named, *more, "--json")


FIRST = ("--template", "a {thing}, {colour}", *LOW)
OTHER = ("--template", "one {thing}, {colour}", *LOW)


@pytest.mark.parametrize("ids", [("--id-column", "sku"), ()], ids=["ids given", "ids derived"])
@pytest.mark.parametrize(
    ("change", "words"),
    [
        (OTHER, "for $0.10"),
        (
            ("--template", "a {thing}, {colour}", "--set", "quality=medium", "--set", "image_size=1024x1024"),
            "for $0.20",
        ),
        ((*FIRST, "--set", "num_images=2"), "for $0.20"),
    ],
    ids=["template", "default", "number of images"],
)
def test_a_change_that_buys_everything_again_stops_with_the_sum(
    fal: Fal, table: Path, ids: tuple[str, ...], change: tuple[str, ...], words: str
) -> None:
    assert generate(fal, table, *FIRST, *ids).status == 0
    bill = len(fal.bill()["rows"])
    stopped = generate(fal, table, *change, *ids)
    assert stopped.status == 2
    assert f"10 of the 10 rows that have images would be bought again, {words}" in stopped.stderr
    assert "--allow-rebuy" in stopped.stderr
    assert len(fal.bill()["rows"]) == bill == 10
    named = ("--store", str(table.parent / "store"), "--dataset", "d")
    planned = cli(None, "plan", str(table), *named, *change, *ids)
    assert planned.status == 0
    assert "10 of the 10 rows" in planned.stderr
    allowed = generate(fal, table, *change, *ids, "--allow-rebuy")
    assert allowed.status == 0, allowed.stderr
    assert allowed.summary["bought"] >= 10
    assert generate(fal, table, *change, *ids).summary["bought"] == 0
    # Back again costs nothing: the first images are there.
    assert generate(fal, table, *FIRST, *ids).summary == generate(fal, table, *FIRST, *ids).summary | {
        "seconds": pytest.approx(0, abs=60)
    }


def test_rows_that_are_new_or_edited_are_no_rebuy(fal: Fal, table: Path) -> None:
    assert generate(fal, table, *FIRST, "--id-column", "sku").status == 0
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("red", "blue") + "99,hat,green\n", encoding="utf-8")
    assert generate(fal, table, *FIRST, "--id-column", "sku").summary["bought"] == 11


def test_a_tenth_may_be_bought_again(fal: Fal, table: Path) -> None:
    """Rows whose text stays the same under another template are found again, and do not count."""
    lines = ["sku,thing,colour", *(f"{n},cup,{n} red" for n in range(18)), "18,a,18 red", "19,a,19 red"]
    table.write_text("\n".join(lines), encoding="utf-8")
    store = ("--store", str(table.parent / "store"), "--dataset", "d")
    ids = ("--id-column", "sku")
    assert generate(fal, table, "--template", "{thing} {colour}", *LOW, *ids).status == 0
    text = table.read_text(encoding="utf-8").replace("sku,thing", "sku,text,thing").splitlines()
    rows = [line.split(",") for line in text[1:]]
    made = [f"{i},{'cup' if int(i) < 18 else 'one'} {colour},{thing},{colour}" for i, thing, colour in rows]
    table.write_text("\n".join([text[0], *made]), encoding="utf-8")
    ran = cli(fal, "generate", str(table), *store, "--prompt-column", "text", *LOW, *ids, "--json")
    assert ran.status == 0, ran.stderr
    assert ran.summary["bought"] == 2


def test_a_broken_manifest_does_not_stop_a_run(fal: Fal, table: Path) -> None:
    assert generate(fal, table, *FIRST).status == 0
    [manifest] = table.parent.glob("store/d/manifests/*/manifest.parquet")
    manifest.write_bytes(b"not Parquet")
    assert generate(fal, table, *FIRST).summary["bought"] == 0


def asset_result(fal: Fal, tmp_path: Path, name: str, config: dict[str, Any], **more: Any) -> Any:
    import dagster as dg

    from dagster_gptimg import ImageStoreResource, build_gptimg_asset

    rows = [{"sku": str(n), "thing": f"cup {n}"} for n in range(4)]
    asset = build_gptimg_asset(name, prompts=rows, id_column="sku", arguments={"quality": "low"}, **more)
    resources = {"fal": fal.resource, "image_store": ImageStoreResource(root=str(tmp_path / "store"))}
    run_config = {"ops": {name: {"config": config}}}
    return dg.materialize([asset], resources=resources, run_config=run_config, raise_on_error=False)


def test_an_asset_stops_too_and_a_renamed_one_keeps_its_images(fal: Fal, tmp_path: Path) -> None:
    assert asset_result(fal, tmp_path, "cups", {}, template="a {thing}").success
    stopped = asset_result(fal, tmp_path, "cups", {}, template="one {thing}")
    [event] = [e for e in stopped.all_node_events if e.is_step_failure]
    told = event.step_failure_data.user_failure_data
    assert (told.metadata["reason"].value, "4 of the 4 rows" in told.description) == ("rebuy", True)
    assert len(fal.bill()["rows"]) == 4
    renamed = asset_result(fal, tmp_path, "mugs", {}, template="a {thing}", dataset="cups")
    [event] = renamed.asset_materializations_for_node("mugs")
    assert (event.metadata["bought"].value, event.metadata["reused"].value) == (0, 4)
    assert asset_result(fal, tmp_path, "mugs", {"allow_rebuy": True}, template="one {thing}", dataset="cups").success
    assert len(fal.bill()["rows"]) == 8
