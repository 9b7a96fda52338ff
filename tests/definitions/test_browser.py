"""What people see: a real `dagster dev` in a real browser. The emulator's bill judges what was launched there."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Page, Route

from tests.definitions import ui
from tests.definitions.daemon import Dev, dagster_dev
from tests.harness import Fal

pytestmark = [pytest.mark.dagster, pytest.mark.xdist_group("daemon")]

KEY = "1f0c0ffe-topsecret:0badc0de"
KINDS = ("bags", "hats", "mugs", "shoes")
CODE = """
import os
import dagster as dg
from dagster_gptimg import (
    FalResource, ImageRecord, ImageStoreResource, build_gptimg_asset, build_gptimg_checks, build_prompt_table,
    by_column,
)

catalog = build_prompt_table("catalog", "catalog.csv", group_name="shop")
photos = build_gptimg_asset(
    "photos", prompts=catalog, template="photo of {product}", id_column="sku", group_name="shop",
    partitions=by_column("category", ["bags", "hats", "mugs", "shoes"]), owners=["team:creative"],
    model="gpt-image-1-mini", arguments={"quality": "low", "image_size": "1024x1024"},
)


@dg.asset(group_name="shop", ins={"photos": dg.AssetIn(metadata={"allow_missing_partitions": True})})
def contact_sheet(photos: dict[str, list[ImageRecord]]) -> None: ...


defs = dg.Definitions(
    assets=[catalog, photos, contact_sheet],
    asset_checks=build_gptimg_checks(photos, max_cost_usd=1.0),
    resources={
        "fal": FalResource(api_key=dg.EnvVar("FAL_KEY")),
        "image_store": ImageStoreResource(root="images"),
    },
    executor=dg.in_process_executor,
)
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("browser")
    rows = [f"{kind}-{n},{kind},{kind} number {n}" for kind in KINDS for n in range(3)]
    (made / "catalog.csv").write_text("\n".join(["sku,category,product", *rows]), encoding="utf-8")
    (made / "pipeline.py").write_text(CODE, encoding="utf-8")
    return made


@pytest.fixture(scope="module")
def dev(folder: Path, shared_fal: Fal) -> Iterator[Dev]:
    """Two partitions are made, one has failed, one is left; and what is around them."""
    shared_fal.fail("mugs number 1")
    with dagster_dev(folder, ["-f", "pipeline.py"], {**shared_fal.env, "FAL_KEY": KEY}) as running:
        runs = [running.launch("catalog"), *(running.launch("photos", kind) for kind in KINDS[:3])]
        assert [running.run_ended(run) for run in runs] == ["SUCCESS"] * 3 + ["FAILURE"]
        assert running.run_ended(running.launch("contact_sheet")) == "SUCCESS"
        yield running


@pytest.fixture(scope="module")
def page(dev: Dev) -> Iterator[Page]:
    with ui.browser() as opened:
        yield opened


def test_the_graph_leads_from_the_prompt_table_over_the_images_to_the_contact_sheet(page: Page, dev: Dev) -> None:
    ui.open_lineage(page, dev.url, "contact_sheet")
    page.get_by_text("50% filled (1 failed)").wait_for()
    boxes = [ui.node(page, name).bounding_box() for name in ("catalog", "photos", "contact_sheet")]
    places = [box["x"] for box in boxes if box]
    assert len(set(places)) == 3
    assert places == sorted(places)
    assert page.locator("svg path[marker-end]").count() == 2


def test_a_partition_shows_its_counts_and_cost_and_its_preview_opens_with_thumbnails(page: Page, dev: Dev) -> None:
    ui.open_partition(page, dev.url, "photos", "bags")
    page.get_by_text("cost_usd").first.wait_for()
    rows = {row.split("\t")[0].strip(): row for row in page.locator("tr").all_inner_texts()}
    assert {
        "images",
        "bought",
        "reused",
        "refused",
        "failed",
        "cost_usd",
        "run_cost_usd",
        "request_seconds_median",
    } <= rows.keys()
    assert "0.03" in rows["cost_usd"]
    assert "3" in rows["bought"]
    thumbnails = ui.open_preview(page)
    assert thumbnails.count() == 3
    loaded = thumbnails.evaluate_all("images => images.map(image => image.complete && image.naturalWidth)")
    assert loaded == [104, 104, 104]
    assert "photo of bags number 2" in page.locator("[role=dialog]").inner_text()


def test_every_partition_shows_its_state(page: Page, dev: Dev) -> None:
    ui.open_partition(page, dev.url, "photos", "mugs")
    for state in ("Failed (1)", "Materialized (2)", "Missing (1)"):
        assert page.get_by_text(state).count(), state
    page.get_by_text("failed, and did not materialize this asset").wait_for()


def test_the_prompt_table_shows_its_rows_and_its_checks(page: Page, dev: Dev) -> None:
    page.goto(f"{dev.url}/assets/catalog?view=overview", wait_until="networkidle")
    page.get_by_text("Row count").wait_for()
    assert "\n12\n" in page.locator("body").inner_text()
    page.goto(f"{dev.url}/assets/catalog?view=checks", wait_until="networkidle")
    page.get_by_text("photos_prompts_valid").first.wait_for()
    page.get_by_text("12 rows are valid, 0 are not").wait_for()
    assert page.get_by_text("Succeeded", exact=True).count() == 2


def test_a_launchpad_run_keeps_the_budget_in_its_config(page: Page, dev: Dev, shared_fal: Fal, folder: Path) -> None:
    before = len(shared_fal.charged())
    config = ui.open_launchpad(page, dev.url, "photos", "shoes")
    assert "********" in config  # Dagster's mask in place of the key: the run gets the key all the same
    assert "plan_only: false\n" in config
    run = ui.launch(page, config.replace("plan_only: false\n", "plan_only: false\n      max_cost_usd: 0.02\n"))
    assert dev.run_ended(run) == "FAILURE"
    assert [row["cost_usd"] for row in shared_fal.charged()[before:]] == ["0.01", "0.01"]
    intents = folder.glob("images/photos/receipts/*/*.intent.json")
    assert len({json.loads(path.read_bytes())["account"] for path in intents}) == 1
    page.goto(f"{dev.url}/runs/{run}", wait_until="networkidle")
    page.get_by_text("stopped (budget)").first.wait_for()
    assert "shoes" in dev.statuses("photos")["failed"]


def test_the_key_is_on_no_page_and_in_no_answer(page: Page, dev: Dev) -> None:
    told: list[str] = []

    def hear(route: Route) -> None:
        answer = route.fetch()
        told.append(answer.text())
        route.fulfill(response=answer)

    page.route("**/graphql*", hear)
    page.on("websocket", lambda socket: socket.on("framereceived", lambda frame: told.append(str(frame))))
    where = "locations/__repository__@pipeline.py"
    run = dev.ask("{ runsOrError(limit: 1) { ... on Runs { results { id } } } }")["runsOrError"]["results"][0]["id"]
    for path in ("asset-groups", "assets/photos", f"{where}/resources/fal", f"runs/{run}", "deployment", "runs"):
        page.goto(f"{dev.url}/{path}", wait_until="networkidle")
        told.append(page.content())
    told.append(ui.open_launchpad(page, dev.url, "photos", "bags"))
    told.append(page.content())
    page.unroute_all(behavior="wait")
    assert len(told) > 20
    assert any("FAL_KEY" in text for text in told)  # the variable's name is what is shown
    assert not any("topsecret" in text or "0badc0de" in text for text in told)
    assert "topsecret" not in dev.log.read_text(encoding="utf-8")
