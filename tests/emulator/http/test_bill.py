"""What things cost, told in three places: result header, bill, billing events."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from dagster_gptimg.emulator.models.prices import GPT_IMAGE_1_MINI, cost
from dagster_gptimg.emulator.open_questions import Readings
from tests.emulator.harness import ADMIN, ENDPOINT, Emulator


@pytest.mark.parametrize(
    ("arguments", "dollars"),
    [
        ({"quality": "low"}, "0.01"),
        ({"quality": "medium"}, "0.02"),
        ({"quality": "high"}, "0.04"),
        ({"quality": "medium", "num_images": 4}, "0.05"),
        ({"quality": "low", "num_images": 2}, "0.02"),
        ({"quality": "low", "image_size": "1536x1024", "num_images": 4}, "0.03"),
        ({"quality": "medium", "image_size": "1024x1536"}, "0.02"),
        ({"quality": "high", "image_size": "1024x1536", "num_images": 4}, "0.21"),
        # What fal leaves open is billed as a medium square.
        ({"quality": "auto", "image_size": "auto"}, "0.02"),
    ],
)
def test_prices(arguments: dict[str, Any], dollars: str, quick: Emulator) -> None:
    handle = quick.submit("a red bag", **arguments)
    assert quick.row(handle)["cost_usd"] == dollars
    result = quick.finished(handle)
    unit_price = quick.http.get("/v1/models/pricing", params={"endpoint_id": ENDPOINT}).json()["prices"][0][
        "unit_price"
    ]
    assert Decimal(result.headers["x-fal-billable-units"]) * Decimal(str(unit_price)) == Decimal(dollars)


def test_text_is_billed_too() -> None:
    def cents(words: int) -> int:
        inputs = {"prompt": "word " * words, "quality": "low", "image_size": "1024x1024", "num_images": 1}
        return cost(GPT_IMAGE_1_MINI, inputs, Readings()) // 10_000

    # 0.005 + words * 4 tokens * 0.002 / 1000, rounded up to the cent.
    assert (cents(625), cents(626)) == (1, 2)


def test_the_sums(quick: Emulator) -> None:
    before = quick.bill()
    for arguments in ({"num_images": 2}, {"quality": "medium"}):
        quick.finished(quick.submit("sums", **arguments))
    quick.finished(quick.submit("gore"))
    after = quick.bill()
    assert after["requests"] - before["requests"] == 2
    assert after["images"] - before["images"] == 3
    assert Decimal(after["total_usd"]) - Decimal(before["total_usd"]) == Decimal("0.04")
    assert sum(Decimal(row["cost_usd"]) for row in after["rows"]) == Decimal(after["total_usd"])
    short = quick.http.get("/emulator/bill", params={"rows": 0}).json()
    assert short == {name: value for name, value in after.items() if name != "rows"}


def test_a_row(quick: Emulator) -> None:
    handle = quick.submit("a row", num_images=2)
    quick.finished(handle)
    row = quick.row(handle)
    assert row["endpoint_id"] == ENDPOINT
    assert row["arguments"]["num_images"] == row["images"] == 2
    assert (row["prompt"], row["status"], row["cost_usd"]) == ("a row", "COMPLETED", "0.02")
    assert row["submitted_at"] <= row["started_at"] < row["completed_at"]


def test_twins_are_equal_arguments_in_any_order(quick: Emulator) -> None:
    def post(**arguments: object) -> dict[str, Any]:
        return dict(quick.http.post(f"/{ENDPOINT}", json=arguments).json())

    first = post(prompt="twins", num_images=1)
    assert quick.row(post(num_images=1, prompt="twins"))["twin_of"] == first["request_id"]
    assert quick.row(post(prompt="twins"))["twin_of"] == first["request_id"], "a default is no difference"
    assert "twin_of" not in quick.row(post(prompt="twins", num_images=2))


@pytest.mark.parametrize("fault", ["failed", "failed_runner"])
def test_failures_of_fal_are_free(fault: str, quick: Emulator) -> None:
    quick.fault(fault, match=fault)
    handle = quick.submit(fault)
    reply = quick.finished(handle)
    assert reply.status_code >= 500
    assert reply.headers["x-fal-billable-units"] == "0"
    assert quick.row(handle)["cost_usd"] == "0.00"


def test_refusals_are_billed_when_told(quick: Emulator) -> None:
    assert quick.row(quick.submit("nsfw", num_images=2))["cost_usd"] == "0.00"
    quick.set(refusals_billed=True)
    handle = quick.submit("nsfw", num_images=2)
    assert quick.finished(handle).headers["x-fal-billable-units"] == "0.02"
    assert (quick.row(handle)["cost_usd"], quick.row(handle)["images"]) == ("0.02", 0)


def test_billing_events_tell_the_same(quick: Emulator) -> None:
    paid, free = quick.submit("paid", num_images=4), quick.submit("gore")
    for handle in (paid, free):
        quick.finished(handle)
    ids = [paid["request_id"], free["request_id"]]
    reply = quick.http.get("/v1/models/billing-events", params={"request_id": ids}, headers=ADMIN).json()
    (event,) = reply["billing_events"]
    assert (reply["has_more"], reply["next_cursor"]) == (False, None)
    assert event["request_id"] == paid["request_id"]
    assert event["cost_total"] == event["output_units"] * event["unit_price"] == 0.03
    assert event["cost_estimate_nano_usd"] == 30_000_000


def test_billing_events_add_up_over_pages(quick: Emulator) -> None:
    for number in range(3):
        quick.finished(quick.submit(f"page {number}"))
    events: list[dict[str, Any]] = []
    cursor: dict[str, str] = {}
    while True:
        reply = quick.http.get("/v1/models/billing-events", params={"limit": 2, **cursor}, headers=ADMIN).json()
        events += reply["billing_events"]
        if not reply["has_more"]:
            break
        cursor = {"cursor": reply["next_cursor"]}
    bill = quick.bill()
    assert bill["in_flight"] == 0
    assert len({event["request_id"] for event in events}) == len(events) == bill["requests"]
    assert f"{sum(Decimal(str(event['cost_total'])) for event in events):.2f}" == bill["total_usd"]
