"""Rows, images and dollars are counted once, and add up."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.record.manifest_rows import row_status, shares
from dagster_gptimg.engine.record.results import Unsettled
from dagster_gptimg.engine.record.summary import Spent, Tally
from dagster_gptimg.fal.registry.price_formulas import Price
from dagster_gptimg.store.settled.rows import Settled

NOW = datetime(2026, 11, 24, tzinfo=UTC)
PRICE = Price(Decimal("0.01"), Decimal("0.06"))
STATUSES = [RowStatus.IN_FLIGHT, RowStatus.FAILED, RowStatus.HELD, RowStatus.LOST, RowStatus.NOT_SUBMITTED]


def settled(
    kind: Any = "stored", images: int = 1, cost: str | None = "0.02", bought_by: str = "me", by: str = "me"
) -> Settled:
    price = None if cost is None else Decimal(cost)
    found: list[dict[str, Any]] = [{} for _ in range(images)]
    return Settled("k", 0, "R", kind, found, price, None, None, None, None, bought_by, by, None, NOW, NOW, NOW)


@given(st.decimals(0, 100, places=4), st.integers(1, 4))
def test_a_requests_cost_over_its_images_is_exact(cost: Decimal, images: int) -> None:
    found = shares(cost, images)
    assert len(found) == images
    assert sum(share for share in found if share is not None) == cost


def test_an_unknown_cost_stays_unknown() -> None:
    assert list(shares(None, 3)) == [None, None, None]


def test_a_row_is_as_good_as_its_worst_request() -> None:
    assert row_status([settled(), settled()]) == "stored"
    assert row_status([settled(), settled("refused")]) == "refused"
    assert row_status([settled("refused"), Unsettled(key="k", status=RowStatus.FAILED)]) == "failed"
    assert (
        row_status([Unsettled(key="k", status=RowStatus.FAILED), Unsettled(key="k", status=RowStatus.HELD), settled()])
        == "held"
    )


results = st.one_of(
    st.builds(
        Unsettled, key=st.just("k"), status=st.sampled_from(STATUSES), bought_by=st.sampled_from([None, "me", "other"])
    ),
    st.builds(
        settled,
        st.sampled_from(["stored", "refused"]),
        st.integers(1, 4),
        st.sampled_from(["0.02", "0", None]),
        st.sampled_from(["me", "other"]),
        st.sampled_from(["me", "other"]),
    ),
)


@given(st.lists(st.lists(results, min_size=1, max_size=3), max_size=20))
def test_the_sums_hold(rows: list[list[Any]]) -> None:
    tally = Tally("me")
    for row in rows:
        tally.row(row_status(row))
        for result in row:
            tally.request(result, PRICE)
    s = tally.summary(1.0)
    assert s.rows == len(rows)
    assert s.rows == s.stored + s.refused + s.failed + s.held + s.lost + s.not_submitted + s.in_flight
    assert s.images == s.bought + s.reused + s.reattached
    assert s.cost_low <= s.cost_high
    assert s.cost_billed <= s.cost_high
    assert s.as_json()["rows"] == s.rows


def test_money_in_doubt_is_in_the_upper_bound_only() -> None:
    spent = Spent()
    spent.add(None, PRICE)
    spent.add(Decimal("0.02"), PRICE)
    tally = Tally("me", spent)
    tally.request(Unsettled(key="k", status=RowStatus.HELD, bought_by="me"), PRICE)
    s = tally.summary(0)
    assert (s.cost_low, s.cost_billed, s.cost_high) == (Decimal("0.02"), Decimal("0.02"), Decimal("0.14"))


def test_what_a_row_has_cost_before_is_not_what_this_run_spends() -> None:
    """A row's cost is that of all its requests, also where nobody knows one; a run's is that of what it records."""
    spent = Spent()
    spent.add(Decimal("0.02"), PRICE)
    for cost in (None, "0.50"):
        tally = Tally("me", spent)
        tally.request(settled(cost=cost), PRICE)
        assert tally.summary(0).cost_billed == Decimal("0.02")
