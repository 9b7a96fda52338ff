"""Adopt: the user names the request at fal that belongs to a held row."""

from __future__ import annotations

from typing import TYPE_CHECKING

from dagster_gptimg.engine.purchase_rules import searching
from dagster_gptimg.engine.record.receipts_by_key import every_key
from dagster_gptimg.engine.submit.submit import accepted_fact
from dagster_gptimg.errors import ReadError, UsageError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from dagster_gptimg.engine.job import Fal, Runtime
    from dagster_gptimg.fal.types import HistoryItem, Json
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.receipts.facts import Intent

NOTHING = "Nothing was recorded"


async def adopt(dataset: Dataset, fal: Fal, runtime: Runtime, request_id: str, row: str) -> str:
    """Record that a request at fal belongs to a row in doubt; return a sentence. The next run collects it.

    Args:
        dataset: the row's dataset.
        fal: the client.
        runtime: the environment.
        request_id: fal's id.
        row: the row's id, or its request key.

    Raises:
        UsageError: this is not possible: the row is not in doubt, the id is already on record, fal does not show it, or
            shows different arguments. Nothing was recorded.
        StoreError: the store cannot be used.
    """
    doubts = await runtime.io(lambda: list(_in_doubt(dataset, row)))
    if not doubts:
        raise UsageError(f"no request of row {row!r} is in doubt, so there is nothing to adopt. {NOTHING}")
    if await runtime.io(dataset.receipts.known, [request_id], ("reply", "webhook", "history")):
        raise UsageError(f"request {request_id} is already on record. {NOTHING}")
    why = ""
    for key, n, intent in doubts:
        item = await _shown(fal, intent, request_id)
        why = _other(intent, item)
        if not why:
            fact = accepted_fact(fal.request(intent.endpoint, request_id), item.sent_at)
            await runtime.io(dataset.receipts.create_accepted, key, n, "history", fact)
            return f"request {request_id} is now on record for row {intent.row_id!r}: `generate` collects it"
    raise UsageError(f"request {request_id} does not belong to row {row!r}: {why}. {NOTHING}")


def _in_doubt(dataset: Dataset, row: str) -> Iterator[tuple[str, int, Intent]]:
    """Yield the attempts of a row that may or may not have reached fal: (key, attempt, intent)."""
    for facts in every_key(dataset):
        for n in searching(facts.attempts, facts.owns):
            intent = facts.attempts[n].intent
            if intent is not None and row in {intent.row_id, facts.key}:
                yield facts.key, n, intent


async def _shown(fal: Fal, intent: Intent, request_id: str) -> HistoryItem:
    try:
        item = await fal.lookup(intent.endpoint, request_id)
    except ReadError as error:
        raise UsageError(f"fal's history cannot be read now ({error}). {NOTHING}") from error
    if item is None:
        raise UsageError(
            f"fal's history of {intent.endpoint} does not show a request {request_id}: it may be of another account, "
            f"or older than 90 days. {NOTHING}"
        )
    return item


def _other(intent: Intent, item: HistoryItem) -> str:
    """Return in words how a request differs from an intent; empty if they agree, as far as fal shows it."""
    if item.json_input is None:
        return ""
    for name, value in intent.arguments.items():
        if not _is_reference(value) and item.json_input.get(name, value) != value:
            return f"its {name} is different"
    shows = "prompt" in item.json_input or "prompt" not in intent.arguments
    return "" if shows else "fal shows no prompt of it"


def _is_reference(value: Json) -> bool:
    """Return whether a value is an uploaded image, which fal shows by its URL."""
    some = value if isinstance(value, list) else [value]
    return any(isinstance(one, str) and one.startswith("sha256:") for one in some)
