"""The forecast of a run: what each row is expected to come to, and the range of its cost, before anything is bought."""

from __future__ import annotations

from decimal import Decimal
from itertools import islice
from typing import TYPE_CHECKING

from dagster_gptimg.base.digest_columns import KEY
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.purchase_rules import state_of
from dagster_gptimg.engine.record.manifest_rows import all_ended, row_status
from dagster_gptimg.engine.record.results import Result, RunResults, Unsettled
from dagster_gptimg.engine.record.summary import Tally
from dagster_gptimg.fal.registry.price_formulas import Price
from dagster_gptimg.store.settled.rows import Settled

if TYPE_CHECKING:
    from dagster_gptimg.engine.job import Job
    from dagster_gptimg.engine.plan.plan import Plan, PlanBatch, PlannedRow, Request
    from dagster_gptimg.engine.record.manifest_rows import Content
    from dagster_gptimg.engine.recover.open_receipts import OpenReceipts
    from dagster_gptimg.store.settled.rows import Brief


def forecast(
    job: Job, planned: Plan, receipts: OpenReceipts, results: RunResults, content: Content | None = None
) -> Tally:
    """Return the expected counts if every request ends well. Blocks.

    Args:
        job: its `again` buys ended requests once more.
        planned: the rows.
        receipts: what earlier runs left open.
        results: what has an outcome, by the settled index.
        content: updated with the values of a manifest of these rows, as far as they have ended.
    """
    return _Forecast(job, receipts, results).of(planned, content)


class _Forecast:
    def __init__(self, job: Job, receipts: OpenReceipts, results: RunResults) -> None:
        self._job, self._receipts, self._results, self._facts = job, receipts, results, receipts.facts

    def of(self, planned: Plan, content: Content | None) -> Tally:
        tally = Tally(self._results.run)
        places = self._results.index.places(planned.keys())
        for batch in planned.batches():
            briefs = batch.by_row(self._results.briefs(batch.keys, islice(places, len(batch.keys) // KEY)))
            ended = self._ended(batch, briefs)
            if content is not None:
                content.add(ended)
            tally.ended(row for row in ended if row is not None)
            for row, known, done in zip(batch, briefs, ended, strict=True) if None in ended else ():
                if done is None:
                    self._expect(row, known, tally)
        return tally

    def _ended(self, batch: PlanBatch, briefs: list[list[Brief | None]]) -> list[list[Brief] | None]:
        """Return each row's requests if all have ended and nothing is to be done for them; else None."""
        found = [all_ended(row) for row in briefs]
        if self._results.index.has_missing:  # missing images are handled
            found = [None if any(brief.is_missing for brief in done or ()) else done for done in found]
        for number, row in enumerate(batch if self._facts or self._job.options.again else ()):
            again = any(self._receipts.is_again(row.row_id, brief.status) for brief in found[number] or ())
            if again or any(key in self._facts for key in row.keys):
                found[number] = None
        return found

    def _expect(self, row: PlannedRow, briefs: list[Brief | None], tally: Tally) -> None:
        """Count a row that has not ended by its expected result. `briefs`: its requests in the index."""
        if not any(briefs) and not any(key in self._facts or self._results.has_dealt_with(key) for key in row.keys):
            tally.new(row.prices, sum(row.images))  # the fast path, for a million rows
            return
        results = [self._expected(request) for request in row.requests]
        tally.row(row_status(results))
        for request, result, price in zip(row.requests, results, row.prices, strict=True):
            buys = self._receipts.is_to_buy(request.key, request.row_id)
            is_missing = self._receipts.is_missing(request.key)
            if is_missing:
                price = Price(Decimal(0), price.high)  # noqa: PLW2901 - fal may have it still
            may_buy = self._may_be_free(request.key)
            tally.expect(result, price, request.images, buys=buys, may_buy=may_buy, is_missing=is_missing)

    def _may_be_free(self, key: str) -> bool:
        """Return whether a request that is read again may turn out free, so that it is bought again."""
        attempts = self._facts.get(key, [])
        return bool(attempts) and any(o is not None and o.is_doubtful for o in attempts[-1].outcomes.values())

    def _expected(self, request: Request) -> Result:
        key, settled = request.key, self._results.get(request.key)
        is_open = self._receipts.is_open(key)
        is_held = is_open and state_of(self._facts[key], self._receipts.owns(key)).state == "held"
        if isinstance(settled, Settled) and not (is_held and settled.kind == "missing"):
            is_again = self._receipts.is_again(request.row_id, settled.status)
            return Unsettled(key=key, status=RowStatus.NOT_SUBMITTED) if is_again else settled
        if is_held:
            return Unsettled(key=key, status=RowStatus.HELD)
        return Unsettled(key=key, status=RowStatus.IN_FLIGHT if is_open else RowStatus.NOT_SUBMITTED)
