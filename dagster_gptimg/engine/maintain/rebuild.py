"""Rebuild derived data from receipts: the settled index, and missing or unreadable manifests.

Receipts are the truth; index and manifests only make answers fast. Receipts do not have the table's other columns and
rows that were never sent. Running the table again writes its manifest completely, and buys nothing that exists.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.plan.plan import Request
from dagster_gptimg.engine.purchase_rules import Found, accepted_at, owners, state_of
from dagster_gptimg.engine.record.manifest_rows import Records
from dagster_gptimg.engine.record.results import EARLIER, RunResults, Unsettled, settled_of
from dagster_gptimg.errors import UnreadableError
from dagster_gptimg.fal.registry.builtin import model_at
from dagster_gptimg.store.manifest import read_manifest, write_manifest
from dagster_gptimg.store.takes import families

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from dagster_gptimg.engine.job import Io
    from dagster_gptimg.engine.purchase_rules import Owns
    from dagster_gptimg.fal.registry.model import FalModel
    from dagster_gptimg.fal.registry.price_formulas import Price
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.receipts.facts import Attempt, Intent


class Rebuilt(NamedTuple):
    """The result of a rebuild.

    Attributes:
        keys: number of request keys with receipts.
        settled: number of these that are done or refused: lines of the new index.
        manifests: partitions whose manifests were written; readable ones are kept.
    """

    keys: int
    settled: int
    manifests: list[str | None]


async def rebuild(dataset: Dataset, model: FalModel, io: Io, run: str) -> Rebuilt:
    """Read all receipts of a dataset, and write the index and missing manifests from them.

    Raises:
        StoreError: the store cannot be used.
    """
    facts, results = await io(_facts, dataset), RunResults(dataset, io, run)
    owner = owners(
        Found(key, n, request_id, how, accepted_at(attempt, request_id))
        for key, attempts in facts.items()
        for n, attempt in enumerate(attempts)
        for request_id, (how, _) in attempt.accepted.items()
    )
    settled = [line for key, atts in facts.items() if (line := settled_of(key, atts, _owns(owner, key), EARLIER))]
    await io(results.index.replace, run, settled)
    await results.look_at_images()
    for key in facts.keys() - {line.key for line in settled}:
        results.leave(_unsettled(key, facts[key], _owns(owner, key)))
    written, takes = [], await io(families, dataset)
    for partition, rows in _by_partition(facts).items():
        if await io(_is_missing, dataset, partition):
            records = Records(dataset, partition, _ReceiptRows(rows, model, takes), results)
            await io(write_manifest, dataset, partition, records)
            written.append(partition)
    return Rebuilt(len(facts), len(settled), written)


@dataclass(frozen=True, slots=True)
class _ReceiptRow:
    """A row, from its intents."""

    row_id: str
    prompt: str
    requests: Sequence[Request]
    columns: str = "{}"
    take: int = 0

    @property
    def keys(self) -> list[str]:
        return [request.key for request in self.requests]

    @property
    def images(self) -> list[int]:
        return [request.images for request in self.requests]


class _ReceiptRows:
    """Rows, from their intents."""

    def __init__(
        self, rows: Mapping[str, list[Request]], model: FalModel, takes: Mapping[str, tuple[str, ...]]
    ) -> None:
        """`takes`: as `families` returns them."""
        self._rows, self._model, self._takes = rows, model, takes

    def __iter__(self) -> Iterator[_ReceiptRow]:
        for row_id, every in self._rows.items():
            take, requests = self._newest(every)
            yield _ReceiptRow(row_id, str(requests[0].arguments.get("prompt", "")), requests, take=take)

    def _newest(self, every: Sequence[Request]) -> tuple[int, list[Request]]:
        """Return a row's newest take of which each request is on record, and its requests."""
        by_take: dict[int, list[Request]] = {}
        for request in every:
            by_take.setdefault(self._takes.get(request.key, (request.key,)).index(request.key), []).append(request)
        most = max(map(len, by_take.values()))
        take = max(number for number, requests in by_take.items() if len(requests) == most)
        return take, by_take[take]

    def price(self, request: Request) -> Price:
        return model_at(request.endpoint, self._model).cost(request.arguments)


def _facts(dataset: Dataset) -> dict[str, list[Attempt]]:
    return {key: dataset.receipts.read(names) for key, names in dataset.receipts.by_key()}


def _owns(owner: Mapping[str, tuple[str, int]], key: str) -> Owns:
    return lambda attempt, request_id: owner.get(request_id, (key, attempt)) == (key, attempt)


def _unsettled(key: str, attempts: Sequence[Attempt], owns: Owns) -> Unsettled:
    view = state_of(attempts, owns)
    if view.state == "in_flight":
        return Unsettled(key=key, status=RowStatus.IN_FLIGHT, request_id=view.request_id)
    return Unsettled(
        key=key, status=RowStatus.HELD if view.state == "held" else RowStatus.FAILED, error=view.reason or None
    )


def _by_partition(facts: Mapping[str, Sequence[Attempt]]) -> dict[str | None, dict[str, list[Request]]]:
    """Return requests by partition and row, from their first readable intents."""
    found: dict[str | None, dict[str, list[Request]]] = {}
    for key, attempts in sorted(facts.items()):
        intent: Intent | None = next((a.intent for a in attempts if a.intent is not None), None)
        if intent is not None:
            rows = found.setdefault(intent.partition, {})
            rows.setdefault(intent.row_id, []).append(Request(key, intent.row_id, intent.endpoint, intent.arguments))
    return found


def _is_missing(dataset: Dataset, partition: str | None) -> bool:
    try:
        read_manifest(dataset, partition)
    except (FileNotFoundError, UnreadableError):
        return True
    return False
