"""Models of one's own, prices that nobody knows, and the move from one model to another; the bill is the judge."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from decimal import Decimal
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import dagster as dg
import httpx
import pytest

from dagster_gptimg import FalModel, ImageStoreResource, build_gptimg_asset
from dagster_gptimg.errors import ArgumentsError
from dagster_gptimg.fal.registry.builtin import all_models
from dagster_gptimg.fal.registry.price_formulas import per_image, unknown_price
from tests.harness import Fal, Ran, begin, cli, records, until
from tests.support import ROOT

MINI = str(ROOT / "tests" / "fixtures" / "openapi" / "gpt-image-1-mini.json")
LOW = ("--set", "quality=low", "--set", "image_size=1024x1024")


@pytest.fixture
def table(tmp_path: Path) -> Path:
    path = tmp_path / "t.csv"
    lines = [f"{n},a thing number {n},{'transparent' if n < 2 else ''},{'auto' if n == 3 else ''}" for n in range(5)]
    path.write_text("\n".join(["sku,prompt,background,quality", *lines]), encoding="utf-8")
    return path


def call(fal: Fal | None, command: str, table: Path, *more: str) -> Ran:
    named = ("--store", str(table.parent / "store"), "--dataset", "d", "--id-column", "sku")
    return cli(fal, command, str(table), *named, *more, "--json")


def test_an_endpoint_from_a_file_with_its_price(fal: Fal, table: Path) -> None:
    model = ("--model", MINI, "--price", "0.25", *LOW)
    planned = call(None, "plan", table, *model)
    assert planned.summary["cost_usd"] == {"low": 1.25, "high": 1.25, "billed": 0.0}
    ran = call(fal, "generate", table, *model, "--max-cost", "0.24")
    assert (ran.status, ran.summary["not_submitted"]) == (4, 5), ran.stderr
    assert "the limit of $0.24" in ran.stderr
    ran = call(fal, "generate", table, *model, "--max-cost", "0.50")
    assert (ran.status, ran.summary["bought"]) == (0, 5), ran.stderr
    assert ran.summary["cost_usd"]["billed"] == float(fal.bill()["total_usd"])  # what was billed is fal's word
    # The registry's own entry of this endpoint knows these images: the keys are the same.
    assert call(fal, "generate", table, *LOW).summary["bought"] == 0
    assert len(fal.charged()) == 5


def test_a_price_that_nobody_knows_is_unknown_and_fits_no_budget(fal: Fal, table: Path) -> None:
    model = ("--model", MINI, *LOW)
    planned = call(None, "plan", table, *model)
    assert "5 images to buy for an unknown price" in planned.stderr
    assert planned.summary["cost_usd"] == {"low": None, "high": None, "billed": 0.0}
    refused = call(fal, "generate", table, *model, "--max-cost", "100")
    assert refused.status == 2
    assert "a run cannot be limited to $100" in refused.stderr
    assert not fal.bill()["rows"]
    ran = call(fal, "generate", table, *model)
    assert (ran.status, ran.summary["bought"]) == (0, 5)
    assert ran.summary["cost_usd"]["billed"] == float(fal.bill()["total_usd"])
    receipts = (table.parent / "store" / "d" / "receipts").rglob("*.intent.json")
    assert {json.loads(path.read_text())["cost_high_usd"] for path in receipts} == {None}


def test_a_file_that_is_no_document_is_told(table: Path) -> None:
    for model, words in ((str(table), "no model"), ("none.json", "cannot be read"), (MINI, "")):
        ran = call(None, "plan", table, "--model", model)
        assert (ran.status == 0) == (not words)
        assert words in ran.stderr
    ran = call(None, "plan", table, "--price", "1")
    assert "--price is only for a model from a file" in ran.stderr


def test_a_plan_for_another_model_says_what_the_move_costs_and_what_stays_behind(fal: Fal, table: Path) -> None:
    first = call(fal, "generate", table, *LOW, "--set", "output_format=webp", "--model", "gpt-image-1-mini")
    assert first.status == 0, first.stderr
    assert "warning: gpt-image-1-mini" in first.stderr
    assert "2026-12-01 according to its maker's page; move to gpt-image-2.5-flare" in first.stderr
    bill = fal.bill()
    moved = ("--set", "output_format=webp", *LOW, "--set", "background=opaque")
    planned = call(None, "plan", table, "--model", "openai/gpt-image-2", *moved)
    assert planned.status == 0, planned.stderr
    # Row 3 has quality `auto`, so its price is a range.
    assert "5 images to buy for $0.0295 to $0.23" in planned.stderr
    assert "5 of the 5 rows that have images would be bought again, for $0.0295 to $0.23" in planned.stderr
    assert "does not carry over to gpt-image-2: background (for all rows): gpt-image-2 does not" in planned.stderr
    assert "does not carry over to gpt-image-2: background (in 2 rows): gpt-image-2 does not" in planned.stderr
    told = [(left["name"], left["rows"]) for left in planned.summary["not_carried"]]
    assert told == [("background", None), ("background", 2)]
    assert planned.summary["bought"] == 5
    # 1.5 has a background; `auto` is what it does not take.
    other = call(None, "plan", table, "--model", "gpt-image-1.5", *LOW)
    assert [(left["name"], left["rows"]) for left in other.summary["not_carried"]] == [("quality", 1)]
    assert "'auto' is not one of low, medium, high" in other.stderr
    # A typing mistake is one for both models: it stays an error.
    wrong = call(None, "plan", table, "--model", "gpt-image-2", "--set", "qualty=low")
    assert wrong.status == 2
    assert "did you mean quality?" in wrong.stderr
    # A run does not guess: it refuses, and stops before it buys again.
    refused = call(fal, "generate", table, "--model", "gpt-image-2", *moved)
    assert (refused.status, fal.bill()) == (2, bill)
    stopped = call(fal, "generate", table, "--model", "gpt-image-2", "--set", "output_format=webp", *LOW)
    assert (stopped.status, "5 of the 5 rows" in stopped.stderr, fal.bill()) == (2, True, bill)
    moving = ("--model", "gpt-image-2", "--set", "output_format=webp", *LOW, "--allow-rebuy")
    ran = call(fal, "generate", table, *moving)
    assert (ran.status, ran.summary["bought"]) == (0, 5), ran.stderr
    low, high = (Decimal(str(planned.summary["cost_usd"][end])) for end in ("low", "high"))
    assert low <= Decimal(str(ran.summary["cost_usd"]["billed"])) <= high
    assert {record["endpoint"] for record in records(table.parent / "store", "d")} == {"openai/gpt-image-2"}
    # There and back again: what was bought once is there.
    assert call(fal, "generate", table, *LOW, "--set", "output_format=webp").summary["bought"] == 0


@pytest.mark.parametrize(("old", "new"), [("gpt-image-2", "gpt-image-1-mini"), ("gpt-image-1-mini", "gpt-image-2")])
def test_what_is_in_flight_at_the_old_model_is_collected_at_its_own_price(
    fal: Fal, table: Path, old: str, new: str
) -> None:
    table.write_text("sku,prompt\n0,a cup\n", encoding="utf-8")
    fal.set(latency=3.0)
    named = ("--store", str(table.parent / "store"), "--dataset", "d", "--id-column", "sku", *LOW)
    running = begin(fal, "generate", str(table), *named, "--model", old)
    until("it is on record", lambda: list((table.parent / "store" / "d").rglob("*.accepted.*")))
    running.kill()
    running.join()
    table.write_text("sku,prompt\n1,a hat\n", encoding="utf-8")
    ran = call(fal, "generate", table, *LOW, "--model", new)
    assert (ran.status, ran.summary["bought"]) == (0, 1), ran.stderr
    assert len(fal.charged()) == 2
    outcomes = [json.loads(path.read_text()) for path in (table.parent / "store" / "d").rglob("*.outcome.*")]
    assert sum(Decimal(outcome["cost_usd"]) for outcome in outcomes) == Decimal(fal.bill()["total_usd"])
    rebuilt = cli(None, "rebuild", "--store", str(table.parent / "store"), "--dataset", "d", "--model", new)
    assert rebuilt.status == 0, rebuilt.stderr


def asset(fal: Fal, tmp_path: Path, model: str | FalModel, config: dict[str, Any] | None = None, **more: Any) -> Any:
    rows = [{"sku": str(n), "prompt": f"cup {n}", "background": "opaque"} for n in range(3)]
    made = build_gptimg_asset("cups", prompts=rows, id_column="sku", model=model, **more)
    return dg.materialize(
        [made],
        resources={"fal": fal.resource, "image_store": ImageStoreResource(root=str(tmp_path / "store"))},
        run_config={"ops": {"cups": {"config": config or {}}}},
        raise_on_error=False,
    )


def logged(result: Any) -> str:
    return "\n".join(str(event.message) for event in result.all_events)


def test_an_asset_takes_a_model_of_ones_own(fal: Fal, tmp_path: Path) -> None:
    text = Path(MINI).read_text(encoding="utf-8")
    low = {"quality": "low", "image_size": "1024x1024"}
    mine = FalModel.from_openapi(text, price=per_image("0.01"), name="mine")
    result = asset(fal, tmp_path, mine, arguments=low, max_cost_usd=1.0)
    assert result.success
    [event] = result.asset_materializations_for_node("cups")
    assert (event.metadata["bought"].value, event.metadata["cost_usd"].value) == (3, 0.03)
    unknown = FalModel.from_openapi(text, price=unknown_price)
    refused = asset(fal, tmp_path, unknown, arguments=low, max_cost_usd=1.0)
    [failed] = [e for e in refused.all_node_events if e.is_step_failure]
    assert "a run cannot be limited to $1" in failed.step_failure_data.user_failure_data.description
    assert len(fal.bill()["rows"]) == 3


def test_an_asset_says_when_its_model_ends_and_what_a_move_would_cost(
    fal: Fal, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    low = {"quality": "low", "image_size": "1024x1024"}
    result = asset(fal, tmp_path, "gpt-image-1-mini", arguments=low)
    [event] = result.asset_materializations_for_node("cups")
    assert "2026-12-01 according to its maker's page; move to gpt-image-2.5-flare" in str(
        event.metadata["warnings"].value
    )
    assert "2026-12-01 according to its maker's page" in capfd.readouterr().err
    made = build_gptimg_asset("cups", prompts=[], arguments=low, model="gpt-image-1-mini")
    assert made.metadata_by_key[dg.AssetKey("cups")]["model_ends"] == "2026-12-01; move to gpt-image-2.5-flare"
    planned = asset(fal, tmp_path, "gpt-image-1-mini", {"plan_model": "gpt-image-2"}, arguments=low)
    assert planned.success
    assert not planned.asset_materializations_for_node("cups")
    said = capfd.readouterr().err
    plan = "plan only, nothing was bought: 3 rows, 0 images reused; 3 images to buy for $0.0177 to $0.0178. 3 of the 3"
    assert plan in said
    assert "does not carry over to gpt-image-2: background (in 3 rows): gpt-image-2 does not have this input" in said
    assert len(fal.bill()["rows"]) == 3


LEFT_OUT = {"birefnet-v2": {"output_mask"}}
"""Inputs that the registry leaves out: a second file would be paid for and not kept."""

UNVERIFIED = {"birefnet-v2": {"mask_only"}}
"""Inputs whose default fal's pages do not agree on: the registry freezes none."""


@pytest.mark.parametrize("model", [model for model in all_models() if "/edit" not in model.name], ids=lambda m: m.name)
def test_the_registry_and_fals_documents_say_the_same(fal: Fal, tmp_path: Path, model: FalModel) -> None:
    """The registry was written from fal's pages; the emulator's documents are in the shape of fal's own."""
    for part in filter(None, (model, model.edit)):
        printed = cli(fal, "openapi", part.endpoint)
        assert printed.status == 0, printed.stderr
        read = FalModel.from_openapi(printed.stdout, price=part.price)
        left_out, unverified = LEFT_OUT.get(part.name, set()), UNVERIFIED.get(part.name, set())
        defaults = {name: value for name, value in read.key_defaults.items() if name not in left_out | unverified}
        assert (read.endpoint, defaults) == (part.endpoint, dict(part.key_defaults))
        assert (read.max_images_per_request, set(read.required)) == (part.max_images_per_request, set(part.required))
        assert set(read.inputs.model_fields) == set(part.inputs.model_fields) | left_out
        own = part if part is model.edit else replace(part, edit=None)
        assert (set(read.reference_inputs), read.main_reference) == (set(own.reference_inputs), own.main_reference)
        for name in part.inputs.model_fields.keys() & {"quality", "image_size", "background", "output_format"}:
            for value in ("auto", "low", "high", "1024x1024", "square_hd", "transparent", "png", "huge", "LOW"):
                assert taken(read, name, value) == taken(part, name, value), (part.name, name, value)


def taken(model: FalModel, name: str, value: str) -> object:
    try:
        return model.check({name: value})[name]
    except ArgumentsError:
        return None


def test_a_document_from_fal_is_used_as_it_was_printed(fal: Fal, table: Path) -> None:
    printed = cli(fal, "openapi", "fal-ai/gpt-image-1.5")
    (table.parent / "model.json").write_text(printed.stdout, encoding="utf-8")
    table.write_text("sku,prompt\n0,a cup\n1,a hat\n", encoding="utf-8")
    model = ("--model", str(table.parent / "model.json"), "--price", "0.02", *LOW)
    ran = call(fal, "generate", table, *model)
    assert (ran.status, ran.summary["bought"]) == (0, 2), ran.stderr
    assert {row["endpoint_id"] for row in fal.charged()} == {"fal-ai/gpt-image-1.5"}
    unknown = cli(fal, "openapi", "fal-ai/nothing")
    assert unknown.status == 2
    assert "no OpenAPI document for fal-ai/nothing" in unknown.stderr
    assert (
        f"{fal.url} knows bytedance/seedream/v5/lite/edit, bytedance/seedream/v5/lite/text-to-image, " in unknown.stderr
    )
    near = cli(fal, "openapi", "fal-ai/gpt-image-1-mni")
    assert "Did you mean fal-ai/gpt-image-1-mini?" in near.stderr


def test_a_newer_document_that_moves_the_keys_stops_before_it_buys_again(fal: Fal, table: Path) -> None:
    table.write_text("sku,prompt\n0,a cup\n1,a hat\n", encoding="utf-8")
    path = table.parent / "model.json"
    path.write_text(Path(MINI).read_text(encoding="utf-8"), encoding="utf-8")
    given = ("--model", str(path), "--price", "0.01", "--set", "quality=low", "--set", "output_format=webp")
    assert call(fal, "generate", table, *given).status == 0
    text = path.read_text(encoding="utf-8")
    assert text.count('"default": "png"') == 1
    path.write_text(text.replace('"default": "png"', '"default": "webp"'), encoding="utf-8")
    stopped = call(fal, "generate", table, *given)
    assert (stopped.status, "2 of the 2 rows that have images would be bought again" in stopped.stderr) == (2, True)
    assert len(fal.bill()["rows"]) == 2


class Api(BaseHTTPRequestHandler):
    """fal's platform API, which says that every model is deprecated, or breaks when it is asked."""

    def do_GET(self) -> None:
        server: Any = self.server
        if self.path.startswith("/v1/models?"):
            names = parse_qs(urlsplit(self.path).query)["endpoint_id"]
            models = [{"endpoint_id": name, "metadata": {"status": "deprecated"}} for name in names]
            self.reply(server.status, {"models": models, "has_more": False})
        else:
            answer = httpx.get(
                server.fal.url + self.path, headers={"Authorization": self.headers["Authorization"] or ""}
            )
            self.reply(answer.status_code, answer.json())

    def reply(self, status: int, body: object) -> None:
        data = json.dumps(body).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *_: Any) -> None:
        pass


@pytest.mark.parametrize("status", [200, 500])
def test_a_run_and_doctor_ask_fal_whether_the_model_is_deprecated(fal: Fal, table: Path, status: int) -> None:
    table.write_text("sku,prompt\n0,a cup\n", encoding="utf-8")
    server: Any = ThreadingHTTPServer(("127.0.0.1", 0), Api)
    server.fal, server.status = fal, status
    threading.Thread(target=server.serve_forever, daemon=True).start()
    env = {"FAL_API_URL": f"http://127.0.0.1:{server.server_port}"}
    named = ("--store", str(table.parent / "store"), "--dataset", "d", "--model", "gpt-image-2", *LOW, "--json")
    ran = cli(fal, "generate", str(table), *named, env=env)
    looked = cli(fal, "doctor", "--model", "gpt-image-2", env=env)
    server.shutdown()
    server.server_close()
    assert (ran.status, looked.status) == (0, 0), ran.stderr + looked.stdout
    said = "gpt-image-2 is deprecated at fal; choose another model"
    assert (f"warning: {said}" in ran.stderr) == (status == 200)
    assert (f"ATTENTION: {said}" in looked.stdout) == (status == 200)
