"""The guard against buying everything again: a changed template or default stops before anything is sent."""

from __future__ import annotations

import shutil
import unicodedata
from typing import TYPE_CHECKING, Any

import pytest
from PIL import Image

from tests.harness import Fal, Ran, cli
from tests.support import MINI_LOW

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

LOW = MINI_LOW


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    path.write_text("sku,thing,colour\n" + "".join(f"{n},cup,{n} red\n" for n in range(5)), encoding="utf-8")
    return path


def generate(fal: Fal, table: Path, *more: str, store: str = "store") -> Ran:
    named = ("--store", str(table.parent / store), "--dataset", "d")
    return cli(fal, "generate", str(table), *named, *more, "--json")


GIVEN: tuple[str, ...] = ("--id-column", "sku")
DERIVED: tuple[str, ...] = ()


def with_ids(changes: Mapping[str, Any]) -> list[Any]:
    """Each change of rows whose ids are given, and of rows whose ids are derived: one in quick tests, one in long."""
    return [
        pytest.param(
            change, ids, id=f"{name}-{kind}", marks=pytest.mark.long if (number % 2 == 0) != (ids == GIVEN) else ()
        )
        for number, (name, change) in enumerate(changes.items())
        for kind, ids in (("ids given", GIVEN), ("ids derived", DERIVED))
    ]


FIRST = ("--template", "a {thing}, {colour}", *LOW)
OTHER = ("--template", "one {thing}, {colour}", *LOW)


@pytest.mark.parametrize(
    ("change", "ids"),
    with_ids(
        {
            "template": (OTHER, "for $0.05"),
            "default": (
                ("--template", "a {thing}, {colour}", "--set", "quality=medium", "--set", "image_size=1024x1024"),
                "for $0.10",
            ),
            "number of images": ((*FIRST, "--set", "num_images=2"), "for $0.10"),
        }
    ),
)
def test_a_change_that_buys_everything_again_stops_with_the_sum(
    fal: Fal, table: Path, ids: tuple[str, ...], change: tuple[tuple[str, ...], str]
) -> None:
    changed, words = change
    assert generate(fal, table, *FIRST, *ids).status == 0
    bill = len(fal.bill()["rows"])
    stopped = generate(fal, table, *changed, *ids)
    assert stopped.status == 2
    assert f"5 of the 5 rows that have images would be bought again, {words}" in stopped.stderr
    assert "--allow-rebuy" in stopped.stderr
    assert len(fal.bill()["rows"]) == bill == 5
    named = ("--store", str(table.parent / "store"), "--dataset", "d")
    planned = cli(None, "plan", str(table), *named, *changed, *ids)
    assert planned.status == 0
    assert "5 of the 5 rows" in planned.stderr
    allowed = generate(fal, table, *changed, *ids, "--allow-rebuy")
    assert allowed.status == 0, allowed.stderr
    assert allowed.summary["bought"] >= 5
    assert generate(fal, table, *changed, *ids).summary["bought"] == 0
    # Back again costs nothing: the first images are there.
    assert generate(fal, table, *FIRST, *ids).summary == generate(fal, table, *FIRST, *ids).summary | {
        "seconds": pytest.approx(0, abs=60)
    }


def test_rows_that_are_new_or_edited_are_no_rebuy(fal: Fal, table: Path) -> None:
    assert generate(fal, table, *FIRST, "--id-column", "sku").status == 0
    text = table.read_text(encoding="utf-8")
    table.write_text(text.replace("red", "blue") + "99,hat,green\n", encoding="utf-8")
    assert generate(fal, table, *FIRST, "--id-column", "sku").summary["bought"] == 6


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


NAMES = ["Café crème", "naïve “art”", "a \u2013 b"]


def products(path: Path, texts: list[str], header: str = "sku,prompt", *more: str) -> None:
    rows = [f'{n},"{text} {n}"{"".join(f",{value}" for value in more)}' for n, text in enumerate(texts)]
    path.write_text("\n".join([header, *rows]), encoding="utf-8")


FORMS: dict[str, Callable[[str], str]] = {
    "accents": lambda text: unicodedata.normalize("NFD", text),
    "a blank": lambda text: f"{text} ",
    "quotes": lambda text: text.replace("“", "'").replace("”", "'").replace("\u2013", "-").replace("é", "e\u0301"),
    "no-break spaces": lambda text: text.replace(" ", "\u00a0"),
    "case": str.upper,
}


@pytest.mark.parametrize(("change", "ids"), with_ids(FORMS))
def test_the_same_texts_in_another_form_are_bought_again_only_when_somebody_means_it(
    fal: Fal, table: Path, ids: tuple[str, ...], change: Callable[[str], str]
) -> None:
    texts = [f"{name} {n}é" for n in range(2) for name in NAMES]
    products(table, texts)
    assert generate(fal, table, *LOW, *ids).status == 0
    products(table, [change(text) for text in texts])
    ran = generate(fal, table, *LOW, *ids)
    assert (ran.status, len(fal.charged())) == (2, 6)
    assert "6 of the 6 rows that have images would be bought again, for $0.06" in ran.stderr
    assert "differ in form only" in ran.stderr
    named = ("--store", str(table.parent / "store"), "--dataset", "d")
    assert "a run stops here" in cli(None, "plan", str(table), *named, *LOW, *ids).stderr
    assert generate(fal, table, *LOW, *ids, "--allow-rebuy").summary["bought"] == 6
    assert generate(fal, table, *LOW, *ids).summary["bought"] == 0


@pytest.mark.parametrize("ids", [("--id-column", "sku"), ()], ids=["ids given", "ids derived"])
def test_a_new_column_that_is_an_input_is_a_rebuy(fal: Fal, table: Path, ids: tuple[str, ...]) -> None:
    products(table, ["a cup"] * 4)
    assert generate(fal, table, *LOW, *ids).status == 0
    products(table, ["a cup"] * 4, "sku,prompt,quality", "medium")
    ran = generate(fal, table, *LOW, *ids)
    assert (ran.status, "4 of the 4 rows" in ran.stderr, len(fal.charged())) == (2, True, 4), ran.stderr
    assert "the same prompts with different arguments" in ran.stderr


@pytest.mark.parametrize(("before", "after", "bought"), [(4, 2, 2), (6, 5, 1), (3, 1, 1)])
def test_fewer_images_than_a_row_has_are_told_priced_and_guarded(
    fal: Fal, table: Path, before: int, after: int, bought: int
) -> None:
    ids = ("--id-column", "sku")
    products(table, ["a cup"] * 2, "sku,prompt,num_images", str(before))
    assert generate(fal, table, *LOW, *ids).status == 0
    bill = len(fal.charged())
    products(table, ["a cup"] * 2, "sku,prompt,num_images", str(after))
    named = ("--store", str(table.parent / "store"), "--dataset", "d")
    planned = cli(None, "plan", str(table), *named, *LOW, *ids)
    words = f"2 of the 2 rows that have images would be bought again, for $0.0{2 * bought}: another number"
    assert words in planned.stderr
    stopped = generate(fal, table, *LOW, *ids)
    assert (stopped.status, words in stopped.stderr, len(fal.charged())) == (2, True, bill)


def test_more_images_for_a_row_are_no_rebuy(fal: Fal, table: Path) -> None:
    ids = ("--id-column", "sku")
    products(table, ["a cup"] * 2, "sku,prompt,num_images", "4")
    assert generate(fal, table, *LOW, *ids).status == 0
    products(table, ["a cup"] * 2, "sku,prompt,num_images", "6")
    ran = generate(fal, table, *LOW, *ids)
    assert (ran.status, ran.summary["bought"], ran.summary["reused"]) == (0, 4, 8), ran.stderr


def test_receipts_that_are_gone_while_images_stand_are_a_rebuy(fal: Fal, table: Path) -> None:
    assert generate(fal, table, *FIRST).status == 0
    for derived in ("receipts", "settled"):
        shutil.rmtree(table.parent / "store" / "d" / derived)
    ran = generate(fal, table, *FIRST)
    assert (ran.status, len(fal.charged())) == (2, 5), ran.stderr
    assert "without any receipt" in ran.stderr


def test_edits_of_a_few_rows_and_new_rows_with_an_old_text_are_no_rebuy(fal: Fal, table: Path) -> None:
    ids = ("--id-column", "sku")
    products(table, ["a cup", "a hat", "a bag"])
    assert generate(fal, table, *LOW, *ids).status == 0
    products(table, ["a  cup", "a hat", "a bag"])  # one more blank
    assert generate(fal, table, *LOW, *ids).summary["bought"] == 1
    products(table, ["a  cup", "something else", "and another thing"])
    assert generate(fal, table, *LOW, *ids).summary["bought"] == 2
    lines = table.read_text(encoding="utf-8").splitlines()
    more = [f"{n}0,{line.partition(',')[2]}" for n, line in enumerate(lines[1:], 7)]
    table.write_text("\n".join([*lines, *more]), encoding="utf-8")  # the same texts once more, under new ids
    assert generate(fal, table, *LOW, *ids).summary["bought"] == 3


@pytest.mark.parametrize("ids", [("--id-column", "sku"), ()], ids=["ids given", "ids derived"])
def test_other_reference_images_are_an_edit(fal: Fal, table: Path, ids: tuple[str, ...]) -> None:
    for name, fill in (("one", "red"), ("two", "blue")):
        Image.new("RGB", (8, 8), fill).save(table.parent / f"{name}.png")
        rows = [f"{n},a cup {n},{name}.png" for n in range(3)]
        table.write_text("\n".join(["sku,prompt,image_urls", *rows]), encoding="utf-8")
        ran = generate(fal, table, *LOW, *ids, "--references-from", str(table.parent))
        assert (ran.status, ran.summary["bought"]) == (0, 3), ran.stderr


def test_most_of_a_larger_table_under_its_ids_is_a_rebuy(fal: Fal, table: Path) -> None:
    ids = ("--id-column", "sku")
    products(table, ["a cup"] * 12)
    assert generate(fal, table, *LOW, *ids).status == 0
    products(table, ["a hat"] * 11 + ["a cup"])
    ran = generate(fal, table, *LOW, *ids)
    assert (ran.status, "11 of the 12 rows" in ran.stderr) == (2, True)
    assert "edited prompts or other reference images" in ran.stderr
    products(table, ["a hat"] * 6 + ["a cup"] * 6)
    assert generate(fal, table, *LOW, *ids).summary["bought"] == 6


def test_a_plan_without_the_index_is_what_the_run_does(fal: Fal, table: Path) -> None:
    assert generate(fal, table, *FIRST).status == 0
    shutil.rmtree(table.parent / "store" / "d" / "settled")
    named = ("--store", str(table.parent / "store"), "--dataset", "d")
    planned = cli(None, "plan", str(table), *named, *FIRST, "--json").summary
    done = generate(fal, table, *FIRST).summary
    assert {name: done[name] for name in ("bought", "reused", "cost_usd", "images")} == {
        name: planned[name] for name in ("bought", "reused", "cost_usd", "images")
    }
    assert (planned["bought"], planned["reused"]) == (0, 5)


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
