"""From rows and results to the manifest's records, and to the summary over them."""

from __future__ import annotations

import hashlib
import json
import struct
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Protocol, cast

from dagster_gptimg.base.money import rounded
from dagster_gptimg.base.row_status import RowStatus
from dagster_gptimg.engine.record.results import Unsettled
from dagster_gptimg.engine.record.summary import Tally, worst
from dagster_gptimg.store.manifest import SCHEMA

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from dagster_gptimg.engine.job import Options
    from dagster_gptimg.engine.plan.plan import Request
    from dagster_gptimg.engine.record.results import Result, RunResults
    from dagster_gptimg.fal.registry.price_formulas import Price
    from dagster_gptimg.store.dataset import Dataset
    from dagster_gptimg.store.settled.rows import Brief

_LINE = struct.Struct("<I?")
_CENTS_OF_A_CENT = Decimal("0.000001")
NOTHING = Decimal(0)
"""US dollars that an image costs which another partition has bought."""


class Row(Protocol):
    """A row: of a plan, or from receipts."""

    @property
    def row_id(self) -> str:
        """The row's id."""

    @property
    def prompt(self) -> str:
        """The row's prompt."""

    @property
    def columns(self) -> str:
        """The row's other columns, as JSON."""

    @property
    def images(self) -> Sequence[int]:
        """The number of images of each of its requests."""

    @property
    def keys(self) -> Sequence[str]:
        """The keys of its requests."""

    @property
    def requests(self) -> Sequence[Request]:
        """The row's requests."""

    @property
    def take(self) -> int:
        """The row's take; 0 is the first."""


class Rows(Protocol):
    """Rows with their requests and prices: a plan, or from receipts."""

    def __iter__(self) -> Iterator[Row]:
        """Yield the rows, in the order of the manifest."""

    def price(self, request: Request) -> Price:
        """Return the price in US dollars."""


class Content:
    """A digest of a manifest's content: the rows of the plan, and their results."""

    def __init__(
        self, dataset: Dataset, partition: str | None, plan_digest: str, options: Options, verdicts: str = ""
    ) -> None:
        """Begin with what is the same for all rows.

        Args:
            dataset: where the images are.
            partition: its key, or None.
            plan_digest: digest of the plan.
            options: the run's options.
            verdicts: digest of the verdicts on the dataset's images.
        """
        about: list[object] = [dataset.uri(""), partition, plan_digest, SCHEMA.to_string(), verdicts]
        about += [options.recipe, options.table, options.is_limited]
        self._hash = hashlib.blake2b(json.dumps(about).encode(), digest_size=16)
        self._whole = True

    def add(self, rows: Sequence[Sequence[Brief] | None]) -> None:
        """Add rows; one that has not ended leaves the manifest without a digest, since its record will change."""
        if None in rows:
            self._whole = False
        lines = [_LINE.pack(brief.version, brief.is_missing) for row in rows for brief in row or ()]
        self._hash.update(b"".join(lines))

    def __str__(self) -> str:
        return self._hash.hexdigest() if self._whole else ""


class Records:
    """The manifest's records of one run, made row by row; `tally` counts them during the iteration.

    Iterate once, then read `tally`.
    """

    def __init__(
        self, dataset: Dataset, partition: str | None, plan: Rows, results: RunResults, content: Content | None = None
    ) -> None:
        """`content`: is updated with the records' values."""
        self._dataset, self._partition = dataset, partition
        self._plan, self._results, self._content = plan, results, content
        self.tally = Tally(results.run, results.spent)

    def count(self) -> None:
        """Count without making records, from memory only: also possible if nothing can be written."""
        for row in self._plan:
            statuses = set[str]()
            for request in row.requests:
                brief = self._results.brief(request.key)
                if brief is not None:
                    statuses.add(brief.status)
                    self.tally.brief(brief)
                    continue
                result = self._results.held_in_memory(request.key) or Unsettled(
                    key=request.key, status=RowStatus.NOT_SUBMITTED
                )
                statuses.add(result.status)
                self.tally.request(result, self._plan.price(request))
            self.tally.row(worst(statuses))
        self.tally.take_as_own(self._results.written)

    def content(self) -> str:
        """The digest of the records, after the iteration; empty if records will change."""
        return str(self._content or "")

    def __iter__(self) -> Iterator[dict[str, Any]]:
        """Yield every record, in table order."""
        for row in self._plan:
            self.add_content([all_ended([self._results.brief(key) for key in row.keys])])
            yield from self.of_row(row)

    def add_content(self, rows: Sequence[Sequence[Brief] | None]) -> None:
        """Add rows to the digest of the content, in table order; None is a row that has not ended."""
        if self._content is not None:
            self._content.add(rows)

    def of_row(self, row: Row) -> Iterator[dict[str, Any]]:
        """Yield the records of a row, and count them."""
        requests = row.requests
        results = [self._results.get(r.key) or Unsettled(key=r.key, status=RowStatus.NOT_SUBMITTED) for r in requests]
        self.tally.row(row_status(results))
        index = 0
        for request, result in zip(requests, results, strict=True):
            self.tally.request(result, self._plan.price(request))
            for record in self._of(row, request, result, index):
                index += record["image_index"] is not None
                yield record

    def _of(self, row: Row, request: Request, result: Result, first: int) -> Iterator[dict[str, Any]]:
        common = self._common(row, request, result)
        if isinstance(result, Unsettled):
            yield common | {"status": result.status, "submitted_at": result.submitted_at}
            return
        common |= {"billable_units": result.billable_units, "submitted_at": result.submitted_at}
        common |= {"completed_at": result.completed_at, "stored_at": result.stored_at}
        common["inference_s"] = result.inference_s
        is_buyer = result.partition == self._partition
        common["shared_with"] = None if is_buyer else result.partition or ""
        if result.kind == "erased":  # the table may still have the row, but its texts must not be written again
            common |= {"prompt": "", "arguments": "{}", "columns": "{}", "error": None}
        if result.kind != "stored":
            yield common | {"status": result.status, "cost_usd": result.cost_usd if is_buyer else NOTHING}
            return
        costs = shares(result.cost_usd if is_buyer else NOTHING, len(result.images))
        nothing = [None] * len(result.images)
        notes, details = result.notes or nothing, result.details or nothing
        for place, (image, cost, note, more) in enumerate(zip(result.images, costs, notes, details, strict=True)):
            own = {"image_index": first + place, "cost_usd": cost, "status": RowStatus.STORED, "notes": note}
            yield common | self._image(image) | own | (json.loads(more) if more else {})

    def _common(self, row: Row, request: Request, result: Result) -> dict[str, Any]:
        return {
            "row_id": row.row_id,
            "prompt": row.prompt,
            "image_index": None,
            "images_wanted": sum(row.images),
            "request_key": request.key,
            "request_id": result.request_id,
            "endpoint": request.endpoint,
            "arguments": json.dumps(request.arguments, ensure_ascii=False),
            "error_type": result.error_type,
            "error": result.error,
            "columns": row.columns,
            "take": row.take,
        }

    def _image(self, image: dict[str, Any]) -> dict[str, Any]:
        names = ("sha256", "bytes", "width", "height", "content_type")
        return {"uri": self._dataset.uri(image["path"])} | {name: image[name] for name in names}


def all_ended(row: list[Brief | None]) -> list[Brief] | None:
    """Return a row's requests if all have ended; else None."""
    return None if None in row else cast("list[Brief]", row)


def row_status(results: list[Result]) -> RowStatus:
    """Return a row's status from the results of its requests."""
    return worst({result.status for result in results})


def shares(cost: Decimal | None, images: int) -> Sequence[Decimal | None]:
    """Divide a request's cost among its images, exactly; the first image gets the remainder."""
    cost = rounded(cost)
    if cost is None:
        return [None] * images
    share = (cost / images).quantize(_CENTS_OF_A_CENT)
    return [cost - share * (images - 1)] + [share] * (images - 1)
