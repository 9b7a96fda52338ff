"""The bill as tests and people read it."""

from __future__ import annotations

import json
from typing import Any

from dagster_gptimg.emulator.account.account import Account
from dagster_gptimg.emulator.account.deliveries import Delivery
from dagster_gptimg.emulator.account.records import Record
from dagster_gptimg.emulator.http.replies import iso
from dagster_gptimg.emulator.models.prices import dollars


def bill(account: Account, *, rows: bool) -> dict[str, Any]:
    """What this emulator charges so far. Sums count requests and images that cost something.

    A request has its price from the moment in which it is accepted, and loses it when it ends free.
    """
    account.now()
    totals = account.database.totals()
    sums: dict[str, Any] = {
        "origin": account.database.id,
        "requests": totals.requests,
        "images": totals.images,
        "in_flight": totals.in_flight,
        "total_usd": dollars(totals.cost),
    }
    if not rows:
        return sums
    webhooks = account.database.deliveries.everything()
    return {**sums, "rows": [_row(record, webhooks.get(record.seq)) for record in account.database.everything()]}


def _row(record: Record, webhook: Delivery | None) -> dict[str, Any]:
    row = {
        "request_id": record.request_id,
        "endpoint_id": record.endpoint_id,
        "prompt": record.prompt,
        "arguments": json.loads(record.arguments),
        "status": record.state.value,
        "outcome": record.outcome.value,
        "images": record.images,
        "cost_usd": dollars(record.cost),
        "submitted_at": iso(record.submitted_at),
        "started_at": iso(record.started_at),
        "completed_at": iso(record.completed_at),
        "headers": json.loads(record.headers),
        "tags": json.loads(record.tags),
        "webhook": _webhook(webhook),
    }
    return {**row, **({"twin_of": record.twin_of} if record.twin_of else {})}


def _webhook(delivery: Delivery | None) -> dict[str, Any] | None:
    return None if delivery is None else {"url": delivery.url, "attempts": delivery.attempts, "ended": delivery.ended}
