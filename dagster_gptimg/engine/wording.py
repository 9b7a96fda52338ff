"""A run in words, for all interfaces: the forecast of a plan, and the statuses of a request."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING

from dagster_gptimg.base.plain_text import counted, plain
from dagster_gptimg.base.row_status import TOLD, RowStatus
from dagster_gptimg.engine.events import Updated

if TYPE_CHECKING:
    from dagster_gptimg.engine.record.summary import Summary
    from dagster_gptimg.prompts import PromptSpec

EXPECTED = frozenset({RowStatus.IN_FLIGHT, RowStatus.NOT_SUBMITTED})
"""Statuses of rows that a plan expects to get their images: it tells these in images."""

LONGEST_LINE = 500
"""Maximum characters of a line of a model's log."""


def update_lines(event: Updated) -> list[str]:
    """Return fal's statuses of a request in flight as lines, with control characters escaped."""
    place = "" if event.position is None else f", {event.position} before it"
    lines = [f"{event.status}{place}", *(line.message[:LONGEST_LINE] for line in event.logs)]
    return [f"row {plain(event.row_id[:80])}: {plain(line)}" for line in lines]


def plan_lines(summary: Summary, spec: PromptSpec) -> list[str]:
    """Return a plan for people: the forecast, inputs that the other model does not accept, and the end of the model."""
    left = spec.move.not_carried() if spec.move is not None else []
    notice = spec.model.notice(datetime.now(UTC).date())
    lines = [
        forecast(summary),
        model_line(spec),
        *([f"the price is a range: {why}"] if (why := spec.model.uncertainty) and _is_range(summary) else []),
        *columns_lines(spec),
        *(f"does not carry over to {spec.model.name}: {one}" for one in left),
        *(f"quality means something else: {words}" for words in (spec.move.other_meanings() if spec.move else ())),
    ]
    return [*lines, f"warning: {notice}"] if notice else lines


def _is_range(summary: Summary) -> bool:
    """Return whether the images to buy have no exact price."""
    return summary.cost_low != summary.cost_high


def model_line(spec: PromptSpec) -> str:
    """The model, and why it is this one."""
    return f"model: {spec.model.name} ({spec.chosen or 'as given'})"


def columns_lines(spec: PromptSpec) -> list[str]:
    """Return the roles of the table's columns, and a warning if its partition has no row, after the table was read."""
    told = [spec.seen.sentence(spec.model.input_names), spec.seen.warning and f"warning: {spec.seen.warning}"]
    return list(filter(None, told))


def forecast(summary: Summary) -> str:
    """Return a plan in one line: existing images, images to buy, their cost."""
    parts = [counted(summary.rows, "row"), f"{counted(summary.reused, 'image')} reused"]
    if summary.reattached:
        parts.append(f"{summary.reattached} paid for and not collected yet")
    statuses = [status for status in TOLD if status not in EXPECTED]
    parts += [f"{counted(n, 'row')} {status.words}" for status in statuses if (n := getattr(summary, status))]
    if summary.refetched:
        parts.append(f"at most {counted(summary.refetched, 'image')} fetched again from fal at no cost")
    told = f". {summary.message}" if summary.message and not summary.stop else ""
    return f"{', '.join(parts)}; {counted(summary.bought, 'image')} to buy for {summary.cost}{told}"
